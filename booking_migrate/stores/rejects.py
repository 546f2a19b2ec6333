"""Rejected bookings as records, the same ones for a file and for a collection.

A record holds the booking whole, with every reason. It knows no clock, no run and no chance: the same rejections make
the same records, in whatever order they come.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bson import encode
from bson.binary import Binary
from typing_extensions import override

from booking_migrate.bson.document import (
    MAXIMUM_DEPTH,
    Element,
    depth,
    element_of,
    wrap,
    write_fields,
)
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.rejection import Fault, Rejection
from booking_migrate.errors import TargetHoldsOther
from booking_migrate.stores.files.atomic import (
    Output,
    check_usable,
    holds_something,
    open_output,
    write_failures,
)
from booking_migrate.stores.files.extended_json import survives_extended_json, to_json
from booking_migrate.stores.spool import disk_failures, open_scratch

_DOCUMENT = 0x03
_ABSENT_ID = b""


class Record(NamedTuple):
    """One rejected booking as it is kept."""

    record_id: str
    """SHA-256 over source, target, the booking's bytes and how many equal ones came before, in hex digits."""

    raw: bytes
    """The record as BSON; it survives Extended JSON."""


class RejectsKeeper(Protocol):
    """Where a target keeps rejected bookings."""

    @property
    def name(self) -> str:
        """Return what to call the place in messages and reports."""

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
        self._database = open_scratch(
            "CREATE TABLE record (record_id TEXT PRIMARY KEY, digest BLOB, booking BLOB, raw BLOB, record BLOB);"
            "CREATE INDEX by_digest ON record (digest);"
        )

    def add(self, rejection: Rejection) -> Record:
        """Make the record of a rejection and remember it."""
        digest = hashlib.sha256(rejection.raw).digest()
        with disk_failures():
            (ordinal,) = self._database.execute(
                "SELECT count(*) FROM record WHERE digest = ?", (digest,)
            ).fetchone()
            record = _record(rejection, self._source, self._target, ordinal)
            booking = _ABSENT_ID if rejection.document_id is None else sort_key(rejection.document_id)
            self._database.execute(
                "INSERT INTO record VALUES (?, ?, ?, ?, ?)",
                (record.record_id, digest, booking, rejection.raw, record.raw),
            )
        return record

    def __contains__(self, record_id: object) -> bool:
        """Return whether this run made the record of that id."""
        with disk_failures():
            row = self._database.execute("SELECT 1 FROM record WHERE record_id = ?", (record_id,)).fetchone()
        return row is not None

    def __len__(self) -> int:
        """Return how many records there are."""
        with disk_failures():
            (count,) = self._database.execute("SELECT count(*) FROM record").fetchone()
        return int(count)

    def sorted_records(self) -> Iterator[bytes]:
        """Yield the records in MongoDB's order of the bookings' ids, then of their bytes."""
        with disk_failures():
            for (record,) in self._database.execute(
                "SELECT record FROM record ORDER BY booking, raw, record_id"
            ):
                yield record

    def close(self) -> None:
        """Close the file on disk."""
        self._database.close()


def _record(rejection: Rejection, source: str, target: str, ordinal: int) -> Record:
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
            ("bookingId", _carried(rejection.document_id)),
            *_described(first).items(),
            ("faults", [_described(fault) for fault in rejection.faults]),
            *(() if rejection.decision is None else (("decision", rejection.decision.value),)),
        )
    ]
    if rejection.session is not None:
        head.append(_whole(b"session", rejection.session))
    return Record(record_id, wrap([*head, _whole(b"booking", raw)]))


def _whole(name: bytes, raw: bytes) -> Element:
    """Return a document as an element of a record, where it nests one deeper; as binary if it cannot stand there as it is."""
    fits = survives_extended_json(raw) and depth(raw) < MAXIMUM_DEPTH
    return Element(_DOCUMENT, name, raw) if fits else element_of(name.decode(), Binary(raw))


def _carried(document_id: Any) -> Any:
    """Return the booking's id, or the BSON of ``{_id}`` if Extended JSON cannot hold it."""
    alone = write_fields({"_id": document_id})
    return document_id if survives_extended_json(alone) else Binary(alone)


def _described(fault: Fault) -> dict[str, Any]:
    return {"reason": fault.reason.value, "field": _text(fault.field), "detail": _text(fault.detail)}


def _text(text: str | None) -> str | None:
    """Return a text without surrogate escapes: a field's name need not be UTF-8."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")


class FileRejects(RejectsKeeper):
    """Rejected bookings in a file of canonical Extended JSON lines, sorted. No rejects, no file."""

    def __init__(self, path: Path, *, source: str, target: str, overwrite: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        self._ledger = Ledger(source, target)
        self._output: Output | None = None

    @property
    def name(self) -> str:
        """Return the file's path."""
        return str(self._path)

    @override
    def prepare(self) -> None:
        check_usable(self.name, self._path)

    @override
    def add(self, rejected: Rejection) -> None:
        self._ledger.add(rejected)

    def flush(self) -> None:
        """Do nothing: the file is written in `finish`."""

    @override
    def finish(self) -> bool:
        # The file appears here, whole.
        if not len(self._ledger):
            return self._remove_stale()
        self._output = open_output(self.name, self._path, compressed=False, overwrite=self._overwrite)
        for record in self._ledger.sorted_records():
            self._output.write(to_json(record).encode() + b"\n")
        self._output.seal()
        return self._output.publish()

    @override
    def abandon(self) -> None:
        if self._output:
            self._output.abandon()
        self._ledger.close()

    def _remove_stale(self) -> bool:
        with write_failures(self.name):
            if not holds_something(self._path):
                return False
            if not self._overwrite:
                raise TargetHoldsOther(self.name)
            self._path.unlink()
        return True
