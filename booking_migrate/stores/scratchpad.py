"""What a dry-run has to remember across clients, kept on disk so that memory does not grow with the data."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple, Protocol

from booking_migrate.stores.spool import disk_failures, open_scratch

_ROWS = 200
"""How many appointments are noted down with one statement."""


class Appointment(NamedTuple):
    """When one session keeps its expert busy."""

    expert: bytes
    """The sort key of `expertId`."""

    start: int
    """In minutes since 1970."""

    end: int
    """In minutes since 1970; the expert is free again at this minute."""

    booking_id: str
    """The booking's `_id` as text."""


class Scratchpad(Protocol):
    """A place to note things down and to ask about them later."""

    def add_appointments(self, appointments: Sequence[tuple[bytes, int, int, str]]) -> None:
        """Note down appointments (or their plain tuples), in any order."""

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
            "CREATE TABLE appointment (expert BLOB, start INTEGER, stop INTEGER, booking TEXT);"
            "CREATE TABLE text_client (id BLOB PRIMARY KEY) WITHOUT ROWID;"
        )
        self._database.execute("BEGIN")
        self._has_text_clients = False

    def add_appointments(self, appointments: Sequence[tuple[bytes, int, int, str]]) -> None:
        """See `Scratchpad.add_appointments`."""
        # Many rows a statement take sqlite3 two thirds of the time.
        for first in range(0, len(appointments), _ROWS):
            some = appointments[first : first + _ROWS]
            rows = ", ".join(["(?, ?, ?, ?)"] * len(some))
            with disk_failures():
                self._database.execute(
                    f"INSERT INTO appointment VALUES {rows}",  # noqa: S608 - nothing but question marks
                    list(chain.from_iterable(some)),
                )

    def overlapping(self) -> Iterator[str]:
        """See `Scratchpad.overlapping`."""
        with disk_failures():
            rows = self._database.execute(
                "SELECT expert, start, stop, booking FROM appointment ORDER BY expert, start, stop"
            )
            # The appointment that keeps the expert busy longest so far, and whether it was named already.
            latest = Appointment(b"", 0, 0, "")
            is_named = True
            for row in rows:
                appointment = Appointment(*row)
                if appointment.expert == latest.expert and appointment.start < latest.end:
                    if not is_named:
                        yield latest.booking_id
                    yield appointment.booking_id
                    is_named = True
                    if appointment.end > latest.end:
                        latest = appointment
                else:
                    latest, is_named = appointment, False

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
