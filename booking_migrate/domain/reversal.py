"""From a client document back to the bookings it was made of, with the changes since.

A booking comes back byte for byte, except for fields of its session that differ from what it was made of: those are the
application's work since, and are carried. What the migration itself added or left out does not count as a change. Sessions
that came from no booking stay in a client document of the new shape, or become old bookings (`later_sessions`).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson.datetime_ms import DatetimeMS

from booking_migrate.bson.document import ARRAY, NULL, Document, Element, elements, read_fields, wrap
from booking_migrate.bson.format import Difference
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.domain.carried_changes import Change, carry, document_with_sessions
from booking_migrate.domain.client_document import ClientDocument, StoredSession, compose
from booking_migrate.domain.contract import TOTALS
from booking_migrate.domain.ids import session_id
from booking_migrate.domain.session import CLIENT_FIELDS

_DATES = (b"createdAt", b"updatedAt")
_DERIVED = frozenset({b"sessions", *(name.encode() for name in TOTALS), b"__v", *_DATES})


@dataclass(frozen=True, slots=True)
class Reversal:
    """What one client has in the old collection after a rollback."""

    bookings: Sequence[bytes]
    """The old bookings, in the order of the originals, each with the changes made to its session."""

    documents: Sequence[bytes]
    """The client documents beside them: those of before the migration, and one for sessions booked since."""

    changes: Sequence[Change]
    """What was carried into bookings and into client documents of before the migration."""

    missing: Sequence[Any]
    """The `_id` of bookings, and the `sessionId` of earlier sessions, that are in no session any more: they come back."""

    later: int
    """How many sessions were booked since, or 1 for a client document that has none; dropped with `discard_later`."""

    lost: Sequence[Change]
    """Changes to the client's own fields: no booking and no remaining document has a place for them."""

    converted: Sequence[bytes] = ()
    """Old bookings that sessions booked since became."""

    staying: Sequence[Any] = ()
    """The `sessionId` of the sessions booked since that stay in the new shape."""


def reverse(
    document: bytes | None,
    originals: Sequence[bytes],
    before: Sequence[bytes] = (),
    *,
    discard_later: bool = False,
    decided: Mapping[bytes, bytes | None] | None = None,
    elsewhere: Collection[bytes] = frozenset(),
    superseded: Collection[bytes] = (),
    as_booking: Callable[[ClientDocument, StoredSession], bytes | None] = lambda _document, _session: None,
) -> Reversal:
    """Work out what a rollback restores for one client.

    A lookup's result (`expertUserId`, `expertEmail`) in a booking that had none counts as the migration's, also if the
    application has changed it since.

    Args:
        document: the client document as it is now, BSON; None if it is gone.
        originals: the bookings that were migrated into it, as they were, BSON.
        before: the client documents that the client had before the migration, BSON.
        discard_later: whether everything that happened since is dropped instead of kept. The outcome still counts it.
        decided: by the sort key of `_id`, the session of a booking whose session was kept with other content by a decision,
            as kept, BSON; None if that is not known: then nothing of it is carried.
        elsewhere: the sort keys of bookings that come back among another client's; their sessions go from this document.
        superseded: the sort keys of bookings with sessions in ``before`` that the migration replaced by a decision.
        as_booking: returns the old booking that a session booked since becomes; None if it stays in the new shape.
    """
    now = _read(document)
    sessions = now.sessions if now else ()
    keys = [sort_key(read_fields(raw)["_id"]) for raw in originals]
    found, doubled = _claims(sessions, originals, keys)
    bookings = _bookings(originals, keys, found, decided or {})
    lost = [*(_doubled(now, one) for one in doubled), *bookings.lost]
    earlier = _Earlier(before)
    restored = {id(session) for session in found.values()}
    gone = {*keys, *elsewhere}
    later = [
        session
        for session in sessions
        if id(session) not in restored
        and session.legacy_key not in gone
        and session.identity not in earlier.identities
    ]
    converted, staying = _converted(now, later, as_booking)
    kept = earlier.bring_forward(now, staying, frozenset(keys), frozenset(superseded))
    documents = kept.documents
    if now is not None and not before:
        is_whole = len(staying) == len(sessions) and bool(staying or not originals)
        documents = _remaining(now, staying, is_whole=is_whole)
        lost += [] if documents else _lost(now, [*originals, *converted])
    return Reversal(
        bookings=list(originals) if discard_later else bookings.documents,
        documents=list(before) if discard_later else documents,
        changes=[*bookings.changes, *kept.changes],
        missing=[*bookings.missing, *kept.missing],
        later=len(later),
        lost=lost,
        converted=[] if discard_later else converted,
        staying=[session.fields.get("sessionId") for session in staying],
    )


def _converted(
    now: ClientDocument | None,
    later: Sequence[StoredSession],
    as_booking: Callable[[ClientDocument, StoredSession], bytes | None],
) -> tuple[list[bytes], list[StoredSession]]:
    """Return the bookings that sessions booked since become, and the sessions that stay."""
    converted: list[bytes] = []
    staying: list[StoredSession] = []
    for session in later:
        booking = None if now is None else as_booking(now, session)
        if booking is None:
            staying.append(session)
        else:
            converted.append(booking)
    return converted, staying


def _doubled(now: ClientDocument | None, session: StoredSession) -> Change:
    """Return that a session is lost because its booking has another one."""
    place = f"sessions.{session.element.name.decode()}"
    return Change(now.document_id if now else None, Difference(place, session.element, None))


@dataclass(frozen=True, slots=True)
class _Kept:
    """Documents from before the migration, with the changes since."""

    documents: Sequence[bytes]
    changes: Sequence[Change]
    missing: Sequence[Any]
    lost: Sequence[Change] = ()


def _bookings(
    originals: Sequence[bytes],
    keys: Sequence[bytes],
    found: Mapping[bytes, StoredSession],
    decided: Mapping[bytes, bytes | None],
) -> _Kept:
    """Return the bookings with the changes made to their sessions."""
    bookings: list[bytes] = []
    changes: list[Change] = []
    missing: list[Any] = []
    lost: list[Change] = []
    for key, original in zip(keys, originals, strict=True):
        session, document_id = found.get(key), read_fields(original)["_id"]
        if session is None:
            missing.append(document_id)
            bookings.append(original)
            continue
        carried, differences = carry(original, session, decided.get(key))
        is_unknown = key in decided and decided[key] is None
        into = lost if is_unknown else changes
        into += [Change(document_id, difference) for difference in differences]
        bookings.append(original if is_unknown else carried)
    return _Kept(bookings, changes, missing, lost)


def _read(raw: bytes | None) -> ClientDocument | None:
    return None if raw is None else document_with_sessions(raw)


def _claims(
    sessions: Sequence[StoredSession], originals: Sequence[bytes], keys: Sequence[bytes]
) -> tuple[dict[bytes, StoredSession], list[StoredSession]]:
    """Return the session of each booking, which claims it or has the `sessionId` it got; and further ones with other content."""
    found: dict[bytes, StoredSession] = {}
    doubled: list[StoredSession] = []
    wanted = set(keys)
    for session in sessions:
        key = session.legacy_key
        if key is None or key not in wanted:
            continue
        if key in found and found[key].element.value != session.element.value:
            doubled.append(found[key])
        found[key] = session
    unclaimed = {session.identity: session for session in sessions if session.legacy_key is None}
    for key, original in zip(keys, originals, strict=True):
        if unclaimed and key not in found:
            same = unclaimed.get(_expected_identity(read_fields(original)))
            if same is not None:
                found[key] = same
    return found, doubled


def _expected_identity(booking: Document) -> bytes:
    """Return what a session is known by that was made of a booking."""
    times = (booking.get("createdAt"), booking.get("updatedAt"))
    created_at = next((int(time) for time in times if type(time) is DatetimeMS), 0)
    return sort_key(session_id(booking["_id"], created_at))


def _remaining(now: ClientDocument, later: Sequence[StoredSession], *, is_whole: bool) -> Sequence[bytes]:
    """Return the document that sessions booked since stay in; empty without such sessions."""
    if is_whole:
        return [now.raw]
    if not later:
        return []
    has_dates = any(session.time(name.decode()) is not None for session in later for name in _DATES)
    parts = [
        Element(part.kind, part.name, wrap([])) if part.name == b"sessions" else part
        for part in now.parts
        if not (has_dates and part.name in _DATES)
    ]
    return [compose(ClientDocument(now.raw, tuple(parts)), later)]


def _lost(now: ClientDocument, originals: Iterable[bytes]) -> Sequence[Change]:
    """Return what of a client document that goes is neither the migration's nor in a booking."""
    left = {part for part in now.parts if part.name not in _DERIVED | {b"_id", b"clientId"}}
    has_clients = False
    for original in originals:
        parts = [part for part in elements(original) if part.name.decode("utf-8", "replace") in CLIENT_FIELDS]
        has_clients = has_clients or any(part.kind != NULL for part in parts)
        left.difference_update(parts)
        if has_clients and not left:
            return []
    if not has_clients:
        # They were looked up, and the result of that is not known any more.
        left = {part for part in left if part.name.decode("utf-8", "replace") not in CLIENT_FIELDS}
    return [
        Change(now.document_id, Difference(part.name.decode("utf-8", "replace"), None, part))
        for part in now.parts
        if part in left
    ]


class _Earlier:
    """The client documents that a client had before the migration."""

    def __init__(self, before: Sequence[bytes]) -> None:
        self._raw = before
        self._documents = [_read(raw) for raw in before]
        self._versions: dict[bytes, set[Element]] = {}
        for document in self._documents:
            for session in document.sessions if document else ():
                self._versions.setdefault(session.identity, set()).add(_nameless(session))

    @property
    def identities(self) -> frozenset[bytes]:
        """Return what identifies their sessions."""
        return frozenset(self._versions)

    def bring_forward(
        self,
        now: ClientDocument | None,
        later: Sequence[StoredSession],
        migrated: frozenset[bytes],
        superseded: frozenset[bytes],
    ) -> _Kept:
        """Return each of them with the changes to its sessions since; sessions booked since go to the main one.

        A session of a booking among ``migrated`` is not missing: a conflict was decided for the booking.
        """
        present = {
            session.identity: session
            for session in (now.sessions if now else ())
            if session.legacy_key not in superseded
        }
        main = self._main(now)
        documents: list[bytes] = []
        changes: list[Change] = []
        missing: list[Any] = []
        for index, (raw, document) in enumerate(zip(self._raw, self._documents, strict=True)):
            if document is None:
                documents.append(raw)
                continue
            sessions, altered = self._forward(document, present)
            changes += altered
            if not self._contradicts(document):
                missing += [
                    session.fields.get("sessionId")
                    for session in document.sessions
                    if session.identity not in present and session.legacy_key not in migrated | superseded
                ]
            own = self._own_changes(document, now) if index == main and now is not None else {}
            changes += [Change(document.document_id, difference) for difference, _ in own.values()]
            added = later if index == main else ()
            if altered or own or added:
                replaced: Mapping[bytes, Element] = {name: part for name, (_, part) in own.items()}
                documents.append(_rewritten(document, sessions, replaced, added))
            else:
                documents.append(raw)
        return _Kept(documents, changes, missing)

    def _main(self, now: ClientDocument | None) -> int | None:
        """Return the index of the one that became the client's document."""
        if now is None:
            return None
        key = sort_key(now.document_id)
        ours = [index for index, document in enumerate(self._documents) if document is not None]
        same = [
            index for index in ours if sort_key(getattr(self._documents[index], "document_id", None)) == key
        ]
        return next(iter([*same, *ours]), None)

    def _contradicts(self, document: ClientDocument) -> bool:
        """Return whether another document has a session of the same identity with other content: then it was never joined."""
        return any(len(self._versions[session.identity]) > 1 for session in document.sessions)

    def _forward(
        self, document: ClientDocument, present: Mapping[bytes, StoredSession]
    ) -> tuple[list[StoredSession], list[Change]]:
        sessions: list[StoredSession] = []
        changes: list[Change] = []
        for session in document.sessions:
            new = present.get(session.identity)
            if new is None or _nameless(new) in self._versions[session.identity]:
                sessions.append(session)
            else:
                field = f"sessions.{session.element.name.decode()}"
                changes.append(Change(document.document_id, Difference(field, session.element, new.element)))
                sessions.append(new)
        return sessions, changes

    def _own_changes(
        self, document: ClientDocument, now: ClientDocument
    ) -> dict[bytes, tuple[Difference, Element]]:
        """Return the fields beside sessions, totals and dates that the application has changed or added since."""
        known = {part for other in self._documents if other is not None for part in other.parts}
        old = {part.name: part for part in document.parts}
        filled = {
            name.encode()
            for name in CLIENT_FIELDS
            if old.get(name.encode(), Element(NULL, b"", b"")).kind == NULL
        }
        client_id = b"clientId"
        is_same_client = client_id in old and element_key(old[client_id]) == sort_key(now.client_id)
        ignored = _DERIVED | filled | {b"_id", *((client_id,) if is_same_client else ())}
        return {
            part.name: (Difference(part.name.decode("utf-8", "replace"), old.get(part.name), part), part)
            for part in now.parts
            if part not in known and part.name not in ignored
        }


def _nameless(session: StoredSession) -> Element:
    return session.element._replace(name=b"")


def _rewritten(
    document: ClientDocument,
    sessions: Sequence[StoredSession],
    replaced: Mapping[bytes, Element],
    added: Sequence[StoredSession],
) -> bytes:
    """Return a document of before with other sessions and fields, and totals derived again."""
    array = wrap([session.element._replace(name=b"%d" % index) for index, session in enumerate(sessions)])
    parts = {part.name: part for part in document.parts} | dict(replaced)
    parts[b"sessions"] = Element(ARRAY, b"sessions", array)
    return compose(ClientDocument(document.raw, tuple(parts.values())), added)
