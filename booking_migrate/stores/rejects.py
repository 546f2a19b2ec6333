"""Rejected bookings as records, the same ones for a file and for a collection.

A record holds the booking whole, with every reason. It knows no clock, no run and no chance: the same rejections make
the same records, in whatever order they come.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from bson import encode
from bson.binary import Binary

from booking_migrate.bson.document import (
    MAXIMUM_DEPTH,
    Element,
    MalformedBson,
    depth,
    element_of,
    elements,
    read_fields,
    read_value,
    wrap,
    write_fields,
)
from booking_migrate.bson.format import display_id, one_line
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.rejection import Fault, Rejection
from booking_migrate.stores.files.extended_json import survives_extended_json
from booking_migrate.stores.places import last_part
from booking_migrate.stores.scratch import Scratch

_DOCUMENT, _BINARY = 0x03, 0x05
_BINARY_HEAD = 5
"""A binary's length and subtype."""

_ABSENT_ID = b""


class Record(NamedTuple):
    """One rejected booking as it is kept."""

    record_id: str
    """SHA-256 over source, target, the booking's bytes and how many equal ones came before, in hex digits."""

    raw: bytes
    """The record as BSON; it survives Extended JSON."""


class RejectsKeeper(Protocol):
    """Where a target keeps rejected bookings."""

    name: str
    """What to call the place in messages and reports."""

    def prepare(self) -> None:
        """Refuse, before anything is written, a place that cannot be used.

        Raises:
            UnusablePlace, NotPermitted: it cannot be used.
        """

    def add(self, rejected: Rejection) -> None:
        """Take one rejected booking. It need not be durable before `flush`."""

    def flush(self) -> None:
        """End a batch: what a collection took since the last one is durable when this returns.

        Raises:
            RecordTooLarge, WriteFailed, ConnectionProblem: the place cannot take it.
        """

    def finish(self) -> bool:
        """Make the records those of this run and no others; return whether the run changed anything there.

        Raises:
            TargetHoldsOther: there is a file with other records, which may not be overwritten.
            WriteFailed, ConnectionProblem: the place cannot take it.
        """

    def abandon(self) -> None:
        """Remove an unfinished file and release everything. May be called twice."""


class Ledger:
    """The records of one run, kept on disk: they are numbered and sorted without memory growing."""

    def __init__(self, source: str, target: str) -> None:
        self._source = source
        self._target = target
        self._database = Scratch(
            "CREATE TABLE record (record_id TEXT PRIMARY KEY, digest BLOB, booking BLOB, raw BLOB, record BLOB);"
            "CREATE INDEX by_digest ON record (digest);"
        )

    def add(self, rejection: Rejection) -> Record:
        """Make the record of a rejection and remember it."""
        digest = hashlib.sha256(rejection.raw).digest()
        (ordinal,) = self._database.row("SELECT count(*) FROM record WHERE digest = ?", digest)
        record = record_of(rejection, self._source, self._target, ordinal)
        booking = _ABSENT_ID if rejection.document_id is None else sort_key(rejection.document_id)
        self._database.execute(
            "INSERT INTO record VALUES (?, ?, ?, ?, ?)",
            record.record_id,
            digest,
            booking,
            rejection.raw,
            record.raw,
        )
        return record

    def include(self, record_ids: Iterable[str]) -> None:
        """Remember records that another process has made."""
        rows = ((record_id,) for record_id in record_ids)
        self._database.insert("INSERT OR IGNORE INTO record (record_id) VALUES (?)", rows)

    def __contains__(self, record_id: object) -> bool:
        """Return whether this run made the record of that id."""
        return self._database.row("SELECT 1 FROM record WHERE record_id = ?", record_id) is not None

    def __len__(self) -> int:
        """Return how many records there are."""
        (count,) = self._database.row("SELECT count(*) FROM record")
        return int(count)

    def sorted_records(self) -> Iterator[bytes]:
        """Yield the records in MongoDB's order of the bookings' ids, then of their bytes."""
        for (record,) in self._database.rows("SELECT record FROM record ORDER BY booking, raw, record_id"):
            yield record

    def close(self) -> None:
        """Close the file on disk."""
        self._database.close()


def record_of(rejection: Rejection, source: str, target: str, ordinal: int) -> Record:
    """Return the record of a rejected booking.

    Args:
        rejection: the booking, and why it is rejected.
        source: the source's name, of a file without its folders.
        target: the target's name likewise.
        ordinal: how many bookings of the same bytes came before; 0 in a collection, where `_id` is unique.
    """
    raw = rejection.raw
    identity = encode({"source": source, "target": target, "booking": raw, "ordinal": ordinal})
    record_id = hashlib.sha256(identity).hexdigest()
    first = rejection.faults[0]
    head = [
        element_of(name, value)
        for name, value in (
            ("_id", record_id),
            ("source", source),
            ("target", target),
            ("bookingId", carried_id(rejection.document_id)),
            *_described(first).items(),
            ("faults", [_described(fault) for fault in rejection.faults]),
            *(() if rejection.decision is None else (("decision", rejection.decision.value),)),
        )
    ]
    if rejection.session is not None:
        head.append(_whole(b"session", rejection.session))
    return Record(record_id, wrap([*head, _whole(b"booking", raw)]))


def _whole(name: bytes, raw: bytes) -> Element:
    """Return a document as an element of a record, where it nests one deeper; as binary if it cannot be nested unchanged."""
    fits = survives_extended_json(raw) and depth(raw) < MAXIMUM_DEPTH
    return Element(_DOCUMENT, name, raw) if fits else element_of(name.decode(), Binary(raw))


def carried_id(document_id: Any) -> Any:
    """Return the booking's id, or the BSON of ``{_id}`` if Extended JSON cannot hold it."""
    alone = write_fields({"_id": document_id})
    return document_id if survives_extended_json(alone) else Binary(alone)


def _described(fault: Fault) -> dict[str, Any]:
    return {"reason": fault.reason.value, "field": _text(fault.field), "detail": _text(fault.detail)}


def _text(text: str | None) -> str | None:
    """Return a text without surrogate escapes: a field's name need not be UTF-8."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")


class RejectedRecord(NamedTuple):
    """What is kept of one rejected booking, without the booking itself."""

    booking_id: Any
    """The booking's `_id` as decoded, or None."""

    reason: str
    """The first reason, under which it is counted."""

    reasons: frozenset[str]
    """All of them."""

    details: tuple[str, ...] = ()
    """For each fault the field and what was found there, for people."""

    decision: str | None = None
    """The decision by which the session of a conflicting booking was kept; None if the booking is rejected."""

    session: bytes | None = None
    """With a decision: the session that was kept, BSON; None if an earlier version made the record."""


class RejectedRecords:
    """The rejected bookings of one source and target, as a migration kept them; they are read, never written.

    A booking is known by its bytes. The records are read when the first of them is asked for, and put on disk: a migration
    may have rejected every booking of its source, and memory must not grow.

    Raises:
        UnusablePlace, BrokenDocument, ConnectionProblem, NotPermitted: they cannot be read (any method).
    """

    def __init__(self, name: str, read: Callable[[], Iterable[bytes]]) -> None:
        """Take what to call the place, and what yields the records as raw BSON; nothing is read yet."""
        self.name = name
        self._read = read
        self._database: Scratch | None = None
        self.superseded: frozenset[bytes] = frozenset()
        """The sort keys of the `_id` values of bookings that were migrated later in another version: no record is needed."""

    def find(self, booking: bytes) -> RejectedRecord | None:
        """Return the first record of these bytes that was not claimed yet, or None."""
        found = self._find(booking)
        return None if found is None else found[1]

    def claim(self, booking: bytes) -> RejectedRecord | None:
        """Return what `find` does, and claim it: bookings without `_id` may be equal, and each of them needs a record of its own."""
        found = self._find(booking)
        if found is None:
            return None
        self._filled().execute("UPDATE record SET claimed = 1 WHERE position = ?", found[0])
        return found[1]

    def unclaimed(self) -> Iterator[RejectedRecord]:
        """Yield the records that have not been claimed, in the order in which they were read."""
        for booking_id, reasons, session in self._filled().rows(
            "SELECT booking_id, reasons, session FROM record WHERE NOT claimed ORDER BY position"
        ):
            record = _read_record(booking_id, reasons, session)
            if not self.superseded or sort_key(record.booking_id) not in self.superseded:
                yield record

    def close(self) -> None:
        """Close the database of records. May be called twice."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _find(self, booking: bytes) -> tuple[int, RejectedRecord] | None:
        row = self._filled().row(
            "SELECT position, booking_id, reasons, session FROM record "
            "WHERE digest = ? AND booking = ? AND NOT claimed ORDER BY position LIMIT 1",
            hashlib.sha256(booking).digest(),
            booking,
        )
        return None if row is None else (row[0], _read_record(*row[1:]))

    def _filled(self) -> Scratch:
        if self._database is None:
            database = Scratch(
                "CREATE TABLE record (position INTEGER PRIMARY KEY, digest BLOB, booking BLOB, booking_id BLOB, "
                "reasons TEXT, session BLOB, claimed INTEGER DEFAULT 0); CREATE INDEX by_digest ON record (digest);"
            )
            try:
                database.execute("BEGIN")
                database.insert(
                    "INSERT INTO record (digest, booking, booking_id, reasons, session) VALUES (?, ?, ?, ?, ?)",
                    map(_row, self._read()),
                )
                database.execute("COMMIT")
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database


def _row(raw: bytes) -> tuple[bytes, bytes, bytes, str, bytes | None]:
    """Return what is kept of a record; one without a booking in it is never claimed."""
    parts = {part.name: part for part in elements(raw)}
    booking = _document(parts.get(b"booking"))
    identity = _identity(booking)
    fields = read_fields(raw)
    listed = fields.get("faults")
    faults = [fault for fault in listed if isinstance(fault, dict)] if isinstance(listed, list) else []
    reasons = [str(each.get("reason")) for each in (fields, *faults)]
    details = [f"{fault.get('field') or 'the booking'}: {fault.get('detail')}" for fault in faults]
    return (
        hashlib.sha256(booking).digest(),
        booking,
        identity,
        json.dumps([reasons, details, fields.get("decision")], default=str),
        _document(parts[b"session"]) if b"session" in parts else None,
    )


def rejection_in_words(record: bytes) -> str:
    """Return the id of a record's booking and the first reason for its rejection."""
    fields = read_fields(record)
    named = [str(fields[name]) for name in ("field", "detail") if fields.get(name) is not None]
    return (
        f"{display_id(fields.get('bookingId'))} ({one_line(': '.join([str(fields.get('reason')), *named]))})"
    )


def _identity(booking: bytes) -> bytes:
    """Return the element `_id`, or nothing: a record may have been edited."""
    try:
        return next((part.raw for part in elements(booking) if part.name == b"_id"), b"")
    except MalformedBson:
        return b""


def _document(part: Element | None) -> bytes:
    if part is None:
        return b""
    if part.kind == _BINARY:
        return part.value[_BINARY_HEAD:]
    return part.value if part.kind == _DOCUMENT else b""


def _read_record(identity: bytes, texts: str, session: bytes | None) -> RejectedRecord:
    (first, *others), details, decision = json.loads(texts)
    kind, _, rest = identity.partition(b"_id\x00")
    booking_id: Any = read_value(Element(kind[0], b"_id", rest)) if identity else None
    return RejectedRecord(booking_id, first, frozenset([first, *others]), tuple(details), decision, session)


def find_rejected(kept_in: str, source: str, target: str) -> str:
    """Return the line for mongosh that shows the records of rejected bookings in a collection."""
    records = f"{{source: {json.dumps(last_part(source))}, target: {json.dumps(target)}}}"
    return f"db.getCollection({json.dumps(kept_in)}).find({records})"
