"""Reading the rejected bookings that a migration kept (see `rejects`), as `RejectedRecords`.

They are put on disk first: a migration may have rejected every booking of its source, and memory must not grow.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection as Database
from typing import Any

from booking_migrate.bson.document import (
    Document,
    Element,
    MalformedBson,
    elements,
    read_fields,
    read_value,
)
from booking_migrate.events import NullListener
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.files.reader import FileReader
from booking_migrate.stores.open import STREAM_REJECTS, last_part, rejects_beside
from booking_migrate.stores.places import CollectionPlace, FileFormat, FilePlace, JsonFormat, Place
from booking_migrate.stores.ports import RejectedRecord
from booking_migrate.stores.spool import disk_failures, open_scratch

_DOCUMENT, _BINARY = 0x03, 0x05
_BINARY_HEAD = 5
"""A binary's length and subtype."""


class ScratchRecords:
    """The records of one place; see `RejectedRecords` for the promises."""

    def __init__(self, name: str, read: Callable[[], Iterable[bytes]]) -> None:
        """Take the parts; nothing is read yet.

        Args:
            name: what to call the place.
            read: yields the records as raw BSON.
        """
        self.name = name
        self._read = read
        self._database: Database | None = None

    def find(self, booking: bytes) -> RejectedRecord | None:
        """Return the first record of these bytes that was not claimed yet, or None."""
        found = self._find(booking)
        return None if found is None else found[1]

    def claim(self, booking: bytes) -> RejectedRecord | None:
        """Return what `find` does, and claim it."""
        found = self._find(booking)
        if found is None:
            return None
        with disk_failures():
            self._filled().execute("UPDATE record SET claimed = 1 WHERE position = ?", (found[0],))
        return found[1]

    def unclaimed(self) -> Iterator[RejectedRecord]:
        """Yield the records that have not been claimed, in the order in which they were read."""
        with disk_failures():
            for booking_id, reasons, session in self._filled().execute(
                "SELECT booking_id, reasons, session FROM record WHERE NOT claimed ORDER BY position"
            ):
                yield _record(booking_id, reasons, session)

    def close(self) -> None:
        """Close the database of records. May be called twice."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _find(self, booking: bytes) -> tuple[int, RejectedRecord] | None:
        with disk_failures():
            row = (
                self._filled()
                .execute(
                    "SELECT position, booking_id, reasons, session FROM record "
                    "WHERE digest = ? AND booking = ? AND NOT claimed ORDER BY position LIMIT 1",
                    (hashlib.sha256(booking).digest(), booking),
                )
                .fetchone()
            )
        return None if row is None else (row[0], _record(*row[1:]))

    def _filled(self) -> Database:
        if self._database is None:
            database = open_scratch(
                "CREATE TABLE record (position INTEGER PRIMARY KEY, digest BLOB, booking BLOB, booking_id BLOB, "
                "reasons TEXT, session BLOB, claimed INTEGER DEFAULT 0); CREATE INDEX by_digest ON record (digest);"
            )
            try:
                with disk_failures():
                    database.execute("BEGIN")
                    database.executemany(
                        "INSERT INTO record (digest, booking, booking_id, reasons, session) "
                        "VALUES (?, ?, ?, ?, ?)",
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
    return (
        hashlib.sha256(booking).digest(),
        booking,
        identity,
        json.dumps([_reasons(fields), _details(fields), fields.get("decision")], default=str),
        _document(parts[b"session"]) if b"session" in parts else None,
    )


def _identity(booking: bytes) -> bytes:
    """Return the element `_id`, or nothing: what stands in a record need not be a booking any more."""
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


def _faults(fields: Document) -> list[Document]:
    faults = fields.get("faults")
    return [fault for fault in faults if isinstance(fault, dict)] if isinstance(faults, list) else []


def _reasons(fields: Document) -> list[str]:
    listed = [fault.get("reason") for fault in _faults(fields)]
    return [str(reason) for reason in (fields.get("reason"), *listed)]


def _details(fields: Document) -> list[str]:
    return [f"{fault.get('field') or 'the booking'}: {fault.get('detail')}" for fault in _faults(fields)]


def _record(identity: bytes, texts: str, session: bytes | None) -> RejectedRecord:
    (first, *others), details, decision = json.loads(texts)
    kind, _, rest = identity.partition(b"_id\x00")
    booking_id: Any = read_value(Element(kind[0], b"_id", rest)) if identity else None
    return RejectedRecord(booking_id, first, frozenset([first, *others]), tuple(details), decision, session)


def open_rejected_records(
    target: Place, connection: Connection, *, source_name: str, rejects: Path | None = None
) -> ScratchRecords:
    """Open the rejected bookings of a migration, where `open_target` puts them. A place that does not exist holds none.

    Args:
        target: the migration's target.
        connection: the server and database of collections.
        source_name: the name of the migration's source as passed to the migration.
        rejects: the file that was passed for rejected bookings, if any.

    Raises:
        MissingUri: the target is a collection, but no server or no database is given.
        BadConfiguration: the connection string cannot be used.
    """
    if rejects is None and isinstance(target, CollectionPlace):
        from booking_migrate.stores.mongo.rejects import COLLECTION, find_records  # noqa: PLC0415 - the driver is slow to import

        collection = connection.collection(COLLECTION)
        return ScratchRecords(
            COLLECTION, lambda: find_records(collection, source=last_part(source_name), target=target.name)
        )
    path = rejects or _beside(target)
    return ScratchRecords(str(path), lambda: _file_records(path))


def _beside(target: Place) -> Path:
    return rejects_beside(target) if isinstance(target, FilePlace) else STREAM_REJECTS


def _file_records(path: Path) -> Iterator[bytes]:
    if not path.exists():
        return
    place = FilePlace(str(path), FileFormat.JSON_LINES)
    with closing(FileReader(place, JsonFormat.EXTENDED, NullListener())) as reader:
        for scanned in reader.scan_by_client():
            yield scanned.raw
