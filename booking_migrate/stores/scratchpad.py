"""What a dry-run has to remember across clients, kept on disk so that memory does not grow with the data."""

import heapq
import struct
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import chain
from typing import Any, NamedTuple, Protocol

from bson.objectid import ObjectId

from booking_migrate.domain.ordering import sort_key
from booking_migrate.stores.spool import disk_failures, open_scratch

_RECORD = struct.Struct(">12sQQ12s?")
"""Expert, start and end, with a bias, `_id` or the number of its text, and which of both."""

_BIAS = 1 << 62
"""Makes minutes before 1970 positive, so that records sort as bytes."""

_AT_ONCE = 10_000
"""How many records are noted down with one statement, and looked at with one step."""


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


def mark_of(expert_id: Any) -> bytes:
    """Twelve bytes that tell experts apart: those of an ObjectId, or a digest, which no ObjectId happens to be."""
    if type(expert_id) is ObjectId:
        return expert_id.binary
    return sha256(sort_key(expert_id)).digest()[:12]


def pack_appointment(expert: bytes, start: int, end: int, booking_id: bytes) -> bytes:
    """An appointment where expert and booking have ObjectIds, which nearly all have.

    Args:
        expert: see `Appointment`.
        start: see `Appointment`.
        end: likewise.
        booking_id: the twelve bytes of the booking's `_id`.
    """
    return _RECORD.pack(expert, start + _BIAS, end + _BIAS, booking_id, False)


class Scratchpad(Protocol):
    """A place to note things down and to ask about them later."""

    def add_appointments(self, appointments: Iterable[Appointment]) -> None:
        """Note down appointments, in any order."""

    def add_packed_appointments(self, packed: bytes) -> None:
        """Note down appointments that `pack_appointment` has made, one behind the other, in any order."""

    def overlapping(self, most: int) -> Overlaps:
        """All appointments that overlap another one of the same expert.

        Args:
            most: how many of them are named.
        """

    def add_text_client(self, object_id: bytes) -> None:
        """Note down that a client's id is text that spells this ObjectId."""

    def has_text_client(self, object_id: bytes) -> bool:
        """Whether `add_text_client` was called for this ObjectId."""

    def close(self) -> None:
        """Forget everything. May be called twice."""


class DiskScratchpad:
    """A `Scratchpad` in a private sqlite3 database."""

    def __init__(self) -> None:
        self._database = open_scratch(
            "CREATE TABLE appointment (record BLOB);"
            "CREATE TABLE booking (number INTEGER PRIMARY KEY, text TEXT);"
            "CREATE TABLE number (number INTEGER PRIMARY KEY);"
            "CREATE TABLE text_client (id BLOB PRIMARY KEY) WITHOUT ROWID;"
        )
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO number VALUES (?)", ((number,) for number in range(_AT_ONCE)))
        self._has_text_clients = False

    def add_appointments(self, appointments: Iterable[Appointment]) -> None:
        """See `Scratchpad.add_appointments`."""
        with disk_failures():
            for expert, start, end, text in appointments:
                number = (
                    self._database.execute("INSERT INTO booking (text) VALUES (?)", (text,)).lastrowid or 0
                )
                record = _RECORD.pack(expert, start + _BIAS, end + _BIAS, number.to_bytes(12, "big"), True)
                self._database.execute("INSERT INTO appointment VALUES (?)", (record,))

    def add_packed_appointments(self, packed: bytes) -> None:
        """See `Scratchpad.add_packed_appointments`."""
        step = _AT_ONCE * _RECORD.size
        for first in range(0, len(packed), step):
            some = packed[first : first + step]
            with disk_failures():
                # sqlite3 takes the records apart, so that Python has no step for each: a quarter of the time.
                self._database.execute(
                    "INSERT INTO appointment SELECT substr(?1, number * ?2 + 1, ?2) FROM number WHERE number < ?3",
                    (some, _RECORD.size, len(some) // _RECORD.size),
                )

    def overlapping(self, most: int) -> Overlaps:
        """See `Scratchpad.overlapping`."""
        count = 0
        first: list[str] = []
        for found in self._overlapping():
            count += len(found)
            # Ids as text sort as their bytes do.
            usual = heapq.nsmallest(most, (booking for booking, is_text in found if not is_text))
            others = [self._text(booking) for booking, is_text in found if is_text]
            first = heapq.nsmallest(most, [*first, *others, *(booking.hex() for booking in usual)])
        return Overlaps(count, tuple(first))

    def _overlapping(self) -> Iterator[list[tuple[bytes, bool]]]:
        """The bookings of overlapping appointments, as the records have them, many at a time, each once."""
        # Until when the expert is busy, with whom last, and whether that one was named already.
        busy, until, latest, is_named = b"", 0, (b"", False), True
        for records in self._sorted_records():
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

    def _sorted_records(self) -> Iterator[bytes]:
        with disk_failures():
            rows = self._database.execute("SELECT record FROM appointment ORDER BY record")
            while some := rows.fetchmany(_AT_ONCE):
                yield b"".join(chain.from_iterable(some))

    def _text(self, booking: bytes) -> str:
        number = int.from_bytes(booking, "big")
        with disk_failures():
            (text,) = self._database.execute(
                "SELECT text FROM booking WHERE number = ?", (number,)
            ).fetchone()
        return str(text)

    def add_text_client(self, object_id: bytes) -> None:
        """See `Scratchpad.add_text_client`."""
        self._has_text_clients = True
        with disk_failures():
            self._database.execute("INSERT OR IGNORE INTO text_client VALUES (?)", (object_id,))

    def has_text_client(self, object_id: bytes) -> bool:
        """See `Scratchpad.has_text_client`."""
        if not self._has_text_clients:
            return False
        with disk_failures():
            row = self._database.execute("SELECT 1 FROM text_client WHERE id = ?", (object_id,)).fetchone()
        return row is not None

    def close(self) -> None:
        """See `Scratchpad.close`."""
        self._database.close()
