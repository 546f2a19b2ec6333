"""What a dry-run has to remember across clients, kept on disk so that memory does not grow with the data."""

import struct
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

from bson.objectid import ObjectId

from booking_migrate.domain.ordering import sort_key
from booking_migrate.stores.spool import disk_failures, open_scratch

_RECORD = struct.Struct(">12sQQ12s")
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
    return _RECORD.pack(expert, start + _BIAS, end + _BIAS, booking_id)


class Scratchpad(Protocol):
    """A place to note things down and to ask about them later."""

    def add_appointments(self, appointments: Iterable[Appointment]) -> None:
        """Note down appointments, in any order."""

    def add_packed_appointments(self, packed: bytes) -> None:
        """Note down appointments that `pack_appointment` has made, one behind the other, in any order."""

    def overlapping(self) -> Iterator[str]:
        """The booking ids of all appointments that overlap another one of the same expert, each once."""

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
            "CREATE TABLE appointment (record BLOB, booking TEXT);"
            "CREATE TABLE number (number INTEGER PRIMARY KEY);"
            "CREATE TABLE text_client (id BLOB PRIMARY KEY) WITHOUT ROWID;"
        )
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO number VALUES (?)", ((number,) for number in range(_AT_ONCE)))
        self._has_text_clients = False

    def add_appointments(self, appointments: Iterable[Appointment]) -> None:
        """See `Scratchpad.add_appointments`."""
        rows = [(_packed(each), each.booking_id) for each in appointments]
        with disk_failures():
            self._database.executemany("INSERT INTO appointment VALUES (?, ?)", rows)

    def add_packed_appointments(self, packed: bytes) -> None:
        """See `Scratchpad.add_packed_appointments`."""
        step = _AT_ONCE * _RECORD.size
        for first in range(0, len(packed), step):
            some = packed[first : first + step]
            with disk_failures():
                # sqlite3 takes the records apart, so that Python has no step for each: a quarter of the time.
                self._database.execute(
                    "INSERT INTO appointment SELECT substr(?1, number * ?2 + 1, ?2), NULL FROM number WHERE number < ?3",
                    (some, _RECORD.size, len(some) // _RECORD.size),
                )

    def overlapping(self) -> Iterator[str]:
        """See `Scratchpad.overlapping`."""
        # The appointment that keeps the expert busy longest so far, and whether it was named already.
        busy, until, latest, is_named = b"", 0, "", True
        for record, text in self._sorted_appointments():
            expert, start, end, object_id = _RECORD.unpack(record)
            booking_id = object_id.hex() if text is None else text
            if expert == busy and start < until:
                if not is_named:
                    yield latest
                yield booking_id
                is_named = True
                if end > until:
                    until, latest = end, booking_id
            else:
                busy, until, latest, is_named = expert, end, booking_id, False

    def _sorted_appointments(self) -> Iterator[tuple[bytes, str | None]]:
        with disk_failures():
            rows = self._database.execute("SELECT record, booking FROM appointment ORDER BY record")
            while some := rows.fetchmany(_AT_ONCE):
                yield from some

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


def _packed(appointment: Appointment) -> bytes:
    expert, start, end, _ = appointment
    return pack_appointment(expert, start, end, bytes(12))
