"""What must not be held in memory: private sqlite3 databases, and what a dry-run has to remember across clients.

An empty file name makes sqlite3 create its file in the temporary directory (``TMPDIR``) and unlink it at once, so that
nothing is left behind however the process ends. Journal and syncing are off: nothing here outlives the process.

Appointments are records of one size that sort as bytes. They are dealt out to buckets by expert, and each bucket is sorted
separately: in memory, since very many of them are still few in each; on disk if they are not.
"""

import heapq
import sqlite3
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import chain, islice
from typing import Any, NamedTuple

from bson.objectid import ObjectId

from booking_migrate.bson.order import sort_key
from booking_migrate.errors import WriteFailed


class Scratch:
    """A private database on disk that is gone when it is closed or when the process ends.

    Raises:
        WriteFailed: the disk is full, or the temporary directory, which it names, cannot be used (any method).
    """

    def __init__(self, schema: str) -> None:
        with _disk_failures():
            # Used by one thread at a time, but not always by the same one: what is written is written on a thread of its own.
            self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._database.executescript(
                "PRAGMA page_size = 16384; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                "PRAGMA temp_store = FILE; PRAGMA cache_size = -16384; PRAGMA locking_mode = EXCLUSIVE;"
                + schema
            )

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Execute a statement that is not a query."""
        with _disk_failures():
            return self._database.execute(statement, values)

    def insert(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement once for each row."""
        with _disk_failures():
            self._database.executemany(statement, rows)

    def row(self, query: str, *values: Any) -> Any:
        """Return the first row that a query finds, or None."""
        with _disk_failures():
            return self._database.execute(query, values).fetchone()

    def rows(self, query: str, *values: Any) -> Iterator[Any]:
        """Yield the rows that a query finds."""
        with _disk_failures():
            # Not `yield from`: that would close the cursor too, which fails once the database is closed.
            for row in self._database.execute(query, values):  # noqa: UP028
                yield row

    def close(self) -> None:
        """Drop the file on disk. May be called twice."""
        self._database.close()


@contextmanager
def _disk_failures() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise WriteFailed("the temporary directory (TMPDIR)", str(error)) from error


_RECORD = struct.Struct(">12sQQ12s?")
"""Expert, start and end, with a bias, `_id` or the number of its text, and which of both."""

_BIAS = 1 << 62
"""Makes minutes before 1970 positive, so that records sort as bytes."""

_BUCKETS = 256
_IN_MEMORY = 500_000
"""How many records are sorted in memory."""

_HELD = 4 * 1024 * 1024
"""How many bytes of records are held until they are put on disk."""

_RECORDS_PER_STEP = 10_000
"""How many records are put into a table with one statement, and taken out with one step."""


class Appointment(NamedTuple):
    """When one session keeps its expert busy."""

    expert: bytes
    """What `mark_of` makes of `expertId`."""

    start: int
    """In minutes since 1970."""

    end: int
    """In minutes since 1970; the expert is free again at this minute."""

    booking_id: str
    """The booking's `_id` as text."""


class Overlaps(NamedTuple):
    """Appointments that overlap another one of the same expert."""

    appointments: int
    first: tuple[str, ...]
    """The first few of their booking ids, in the order of text."""


AppointmentBlock = Mapping[int, bytes]
"""Records, one behind the other, by bucket."""


def mark_of(value: Any) -> bytes:
    """Return twelve bytes that identify an id, decoded: those of an ObjectId, or a digest, which equals no ObjectId."""
    if type(value) is ObjectId:
        return value.binary
    return sha256(sort_key(value)).digest()[:12]


def appointment_block(appointments: Iterable[tuple[bytes, int, int, bytes]]) -> AppointmentBlock:
    """Return appointments of bookings with ObjectIds, which nearly all have.

    Args:
        appointments: as `Appointment`, but with the twelve bytes of the booking's `_id`.
    """
    buckets: defaultdict[int, list[bytes]] = defaultdict(list)
    for expert, start, end, booking_id in appointments:
        record = _RECORD.pack(expert, start + _BIAS, end + _BIAS, booking_id, False)
        buckets[expert[-1] % _BUCKETS].append(record)
    return {bucket: b"".join(records) for bucket, records in buckets.items()}


class Scratchpad:
    """What a dry-run remembers across clients, on disk: who keeps which expert busy when, and whose id is text."""

    def __init__(self) -> None:
        self._database = Scratch(
            "CREATE TABLE part (bucket INTEGER, records BLOB);"
            "CREATE INDEX by_bucket ON part (bucket);"
            "CREATE TABLE booking (number INTEGER PRIMARY KEY, text TEXT);"
            "CREATE TABLE record (record BLOB);"
            "CREATE TABLE number (number INTEGER PRIMARY KEY);"
            "CREATE TABLE text_client (id BLOB PRIMARY KEY) WITHOUT ROWID;"
        )
        self._database.execute("BEGIN")
        self._database.insert(
            "INSERT INTO number VALUES (?)", ((number,) for number in range(_RECORDS_PER_STEP))
        )
        self._held: defaultdict[int, list[bytes]] = defaultdict(list)
        self._size = 0
        self._has_text_clients = False

    def add_text_client(self, object_id: bytes) -> None:
        """Record that a client's id is text that spells this ObjectId."""
        self._has_text_clients = True
        self._database.execute("INSERT OR IGNORE INTO text_client VALUES (?)", object_id)

    def has_text_client(self, object_id: bytes) -> bool:
        """Return whether `add_text_client` was called for this ObjectId."""
        if not self._has_text_clients:
            return False
        return self._database.row("SELECT 1 FROM text_client WHERE id = ?", object_id) is not None

    def add_appointments(self, appointments: Iterable[Appointment]) -> None:
        """Take appointments, in any order."""
        for expert, start, end, text in appointments:
            added = self._database.execute("INSERT INTO booking (text) VALUES (?)", text)
            booking = (added.lastrowid or 0).to_bytes(12, "big")
            record = _RECORD.pack(expert, start + _BIAS, end + _BIAS, booking, True)
            self.add_appointment_block({expert[-1] % _BUCKETS: record})

    def add_appointment_block(self, block: AppointmentBlock) -> None:
        """Take appointments that `appointment_block` has packed, in any order."""
        for bucket, records in block.items():
            self._held[bucket].append(records)
            self._size += len(records)
        if self._size >= _HELD:
            self._put_down()

    def _put_down(self) -> None:
        rows = ((bucket, b"".join(records)) for bucket, records in self._held.items())
        self._database.insert("INSERT INTO part VALUES (?, ?)", rows)
        self._held.clear()
        self._size = 0

    def overlapping(self, most: int) -> Overlaps:
        """Return all appointments that overlap another one of the same expert, and name the first ones, at most ``most``."""
        self._put_down()
        count = 0
        first: list[str] = []
        for bucket in range(_BUCKETS):
            for found in _overlapping(self._sorted(bucket)):
                count += len(found)
                # Ids as text sort as their bytes do.
                object_ids = heapq.nsmallest(most, (booking for booking, is_text in found if not is_text))
                others = (self._text(booking) for booking, is_text in found if is_text)
                first = heapq.nsmallest(most, chain(first, others, map(bytes.hex, object_ids)))
        return Overlaps(count, tuple(first))

    def _sorted(self, bucket: int) -> Iterator[bytes]:
        """Yield the records of a bucket in order, many at a time."""
        (size,) = self._database.row(
            "SELECT ifnull(sum(length(records)), 0) FROM part WHERE bucket = ?", bucket
        )
        parts = self._database.rows("SELECT records FROM part WHERE bucket = ?", bucket)
        if size <= _IN_MEMORY * _RECORD.size:
            records = b"".join(chain.from_iterable(parts))
            starts = range(0, len(records), _RECORD.size)
            yield b"".join(sorted([records[start : start + _RECORD.size] for start in starts]))
        else:
            yield from self._sorted_on_disk(chain.from_iterable(parts))

    def _sorted_on_disk(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        self._database.execute("DELETE FROM record")
        step = _RECORDS_PER_STEP * _RECORD.size
        for part in parts:
            for start in range(0, len(part), step):
                some = part[start : start + step]
                # sqlite3 takes the records apart, so that Python has no step for each.
                self._database.execute(
                    "INSERT INTO record SELECT substr(?1, number * ?2 + 1, ?2) FROM number WHERE number < ?3",
                    some,
                    _RECORD.size,
                    len(some) // _RECORD.size,
                )
        rows = self._database.rows("SELECT record FROM record ORDER BY record")
        while found := list(islice(rows, _RECORDS_PER_STEP)):
            yield b"".join(chain.from_iterable(found))

    def _text(self, booking: bytes) -> str:
        number = int.from_bytes(booking, "big")
        (text,) = self._database.row("SELECT text FROM booking WHERE number = ?", number)
        return str(text)

    def close(self) -> None:
        """Remove all data. May be called twice."""
        self._database.close()


def _overlapping(parts: Iterable[bytes]) -> Iterator[list[tuple[bytes, bool]]]:
    """Yield the bookings of overlapping appointments, by records in order, as these have them, many at a time, each once."""
    # Until when the expert is busy, with whom last, and whether that one was named already.
    busy, until, latest, is_named = b"", 0, (b"", False), True
    for records in parts:
        found: list[tuple[bytes, bool]] = []
        for expert, start, end, booking, is_text in _RECORD.iter_unpack(records):
            if start < until and expert == busy:
                if not is_named:
                    found.append(latest)
                    is_named = True
                found.append((booking, is_text))
                if end > until:
                    until, latest = end, (booking, is_text)
            else:
                busy, until, latest, is_named = expert, end, (booking, is_text), False
        yield found
