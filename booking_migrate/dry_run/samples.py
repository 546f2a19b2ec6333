"""A few sample bookings beside the client document that they become: a typical client, one with added values, a rejected booking.

Chosen without chance: the typical client is the first with two sessions, or else with the fewest; what was added is shown with the
first client that has the fewest sessions; the rejected booking is the first of the most frequent reason.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bson.json_util import RELAXED_JSON_OPTIONS, dumps

from booking_migrate.bson.document import (
    ARRAY,
    DOCUMENT,
    Document,
    Opaque,
    elements,
    read_fields,
    read_value,
)
from booking_migrate.bson.format import describe, display_id, shorten
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.consolidate import Consolidation
from booking_migrate.domain.privacy import is_public, shape_of, shown_value
from booking_migrate.domain.rejection import Reason, Rejection
from booking_migrate.domain.session import Session
from booking_migrate.dry_run.outcome import Sample, SampleKind
from booking_migrate.fastpath.flat import FlatClient
from booking_migrate.stores.ports import DocumentReader

_TYPICAL = 2
"""How many sessions a typical client has."""

_SHOWN = 2
"""How many bookings and sessions are shown of a client."""

_LARGEST = 64 * 1024
"""The bytes of a document that is shown at most."""

_LONGEST = 60
_MOST_LINES = 100
_GIVEN = frozenset({b"sessionId", b"legacyBookingId"})


class _Chosen(NamedTuple):
    rank: tuple[bool, int]
    client_id: Any
    document: bytes
    bookings: Sequence[bytes] | None
    """None: they have to be read again."""

    added: Sequence[str] = ()


class SampleWatch:
    """Chooses clients and bookings while they are read, in little memory."""

    def __init__(self) -> None:
        """Begin without any."""
        self._typical: _Chosen | None = None
        self._completed: _Chosen | None = None
        self._rejected: dict[Reason, tuple[bytes, Rejection]] = {}

    def on_flat_client(self, client: FlatClient) -> None:
        """Observe a flat client."""
        rank = _rank(client.sessions)
        if (self._typical is None or rank < self._typical.rank) and len(client.document) <= _LARGEST:
            self._typical = _Chosen(rank, client.client_id, client.document, None)

    def on_client(self, client_id: Any, consolidation: Consolidation) -> None:
        """Observe any other client, all of whose bookings are new."""
        document, sessions = consolidation.document, consolidation.migrated
        for rejection in consolidation.rejected:
            self.on_rejection(rejection)
        if document is None or len(sessions) != consolidation.session_count or len(document) > _LARGEST:
            return
        rank, number = _rank(len(sessions)), len(sessions)
        is_typical = self._typical is None or rank < self._typical.rank
        has_fewest = self._completed is None or (False, number) < self._completed.rank
        if not (is_typical or has_fewest):
            return
        added = sorted({name for session in sessions for name in _added(session)})
        chosen = _Chosen(rank, client_id, document, [each.booking for each in sessions[:_SHOWN]], added)
        if is_typical:
            self._typical = chosen
        if added and has_fewest:
            self._completed = chosen._replace(rank=(False, number))

    def on_rejection(self, rejection: Rejection) -> None:
        """Observe a rejected booking."""
        if len(rejection.raw) > _LARGEST:
            return
        key = sort_key(rejection.document_id)
        kept = self._rejected.get(rejection.reason)
        if kept is None or key < kept[0]:
            self._rejected[rejection.reason] = key, rejection

    def samples(self, source: DocumentReader, most_frequent: Reason | None) -> tuple[Sample, ...]:
        """Return the samples.

        Args:
            source: where bookings are read again that were not kept.
            most_frequent: the reason for which most bookings are rejected.
        """
        return tuple(self._samples(source, most_frequent))

    def _samples(self, source: DocumentReader, most_frequent: Reason | None) -> Iterator[Sample]:
        typical, completed = self._typical, self._completed
        if typical is not None and not typical.added:
            yield from _sample_of(SampleKind.TYPICAL, typical, source, "")
        if completed is not None:
            added = f"Added to sessions: {', '.join(completed.added)}"
            yield from _sample_of(SampleKind.COMPLETED, completed, source, added)
        if most_frequent in self._rejected:
            _, rejection = self._rejected[most_frequent]
            yield Sample(
                SampleKind.REJECTED,
                _why(rejection),
                None,
                (shown_document(rejection.raw),),
                None,
            )


def _why(rejection: Rejection) -> str:
    fault = rejection.faults[0]
    if fault.field is None:
        return f"Rejected: {fault.reason}"
    fields = read_fields(rejection.raw)
    found = shown_value(fault.field, fields[fault.field]) if fault.field in fields else "absent"
    return f"Rejected: {fault.reason}, {fault.field} is {found}"


def _rank(sessions: int) -> tuple[bool, int]:
    return sessions != _TYPICAL, sessions


def _added(session: Session) -> Iterator[str]:
    """Yield the fields of a session that its booking does not have, or has as null."""
    before = {element.name for element in elements(session.booking)}
    for element in elements(session.raw):
        if element.name not in before and element.name not in _GIVEN:
            yield element.name.decode("utf-8", "replace")


def _sample_of(kind: SampleKind, chosen: _Chosen, source: DocumentReader, reason: str) -> Iterator[Sample]:
    bookings = chosen.bookings
    if bookings is None:
        bookings = _read_again(chosen.document, source)
    if bookings:
        yield Sample(
            kind,
            reason,
            display_id(chosen.client_id),
            tuple(map(shown_document, bookings)),
            shown_document(chosen.document),
        )


def _read_again(document: bytes, source: DocumentReader) -> Sequence[bytes]:
    """Return the first bookings of a client document, in the order of its sessions; none if they are no longer there."""
    built = read_client_document(document)
    sessions = built.sessions[:_SHOWN] if isinstance(built, ClientDocument) else ()
    ids = [session.fields["legacyBookingId"] for session in sessions]
    found = {sort_key(read_fields(raw)["_id"]): raw for raw in source.find(ids)}
    return [found[key] for key in map(sort_key, ids) if key in found] if len(found) == len(ids) else []


def shown_document(raw: bytes) -> str:
    """Return a document as Extended JSON with a field a line, without personal data, and with the first sessions only."""
    lines = list(_lines(read_fields(raw), ""))
    return "\n".join(lines if len(lines) <= _MOST_LINES else [*lines[:_MOST_LINES], "…"])


def _lines(fields: Document, indent: str) -> Iterator[str]:
    yield f"{indent}{{"
    last = len(fields) - 1
    for number, (name, value) in enumerate(fields.items()):
        end = "" if number == last else ","
        shown = dumps(shorten(name, _LONGEST), ensure_ascii=False)
        sessions = _sessions_in(value) if name == "sessions" else None
        if sessions is not None:
            yield f"{indent}  {shown}: ["
            for session in sessions[:_SHOWN]:
                yield from _lines(session, f"{indent}    ") if isinstance(session, dict) else ()
            if len(sessions) > _SHOWN:
                yield f"{indent}    … and {len(sessions) - _SHOWN} more"
            yield f"{indent}  ]{end}"
        else:
            yield f"{indent}  {shown}: {_shown(name, value)}{end}"
    yield f"{indent}}}"


def _sessions_in(value: Any) -> Sequence[Any] | None:
    """Return the elements of an array, of one that Python cannot hold unchanged too; None if the value is not an array."""
    if isinstance(value, Opaque) and value.kind == ARRAY:
        parts = elements(value.value)
        return [read_fields(part.value) if part.kind == DOCUMENT else read_value(part) for part in parts]
    return value if isinstance(value, list) else None


def _shown(name: str, value: Any) -> str:
    """Return a value on one line; of one that may be personal only its shape, in angle brackets."""
    if not is_public(name):
        return f"<{shape_of(value)}>"
    if isinstance(value, dict | list):
        return f"<{describe(value)}>"
    try:
        return shorten(dumps(value, json_options=RELAXED_JSON_OPTIONS, ensure_ascii=False), _LONGEST)
    except TypeError:
        return f"<{shorten(describe(value), _LONGEST)}>"
