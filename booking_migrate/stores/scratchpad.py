"""What a dry-run has to remember across clients, kept on disk so that memory does not grow with the data."""

from collections.abc import Iterable
from typing import Protocol

from typing_extensions import override

from booking_migrate.stores.appointments import Appointment, AppointmentBlock, AppointmentSpool, Overlaps
from booking_migrate.stores.spool import disk_failures, open_scratch


class Scratchpad(Protocol):
    """A place to note things down and to ask about them later."""

    def add_appointments(self, appointments: Iterable[Appointment]) -> None:
        """Record appointments, in any order."""

    def add_appointment_block(self, block: AppointmentBlock) -> None:
        """Record appointments that `appointment_block` has packed, in any order."""

    def overlapping(self, most: int) -> Overlaps:
        """Return all appointments that overlap another one of the same expert.

        Args:
            most: how many of them are named.
        """

    def add_text_client(self, object_id: bytes) -> None:
        """Record that a client's id is text that spells this ObjectId."""

    def has_text_client(self, object_id: bytes) -> bool:
        """Return whether `add_text_client` was called for this ObjectId."""

    def close(self) -> None:
        """Remove all data. May be called twice."""


class DiskScratchpad(Scratchpad):
    """A `Scratchpad` in private sqlite3 databases."""

    def __init__(self) -> None:
        self._appointments = AppointmentSpool()
        self._database = open_scratch("CREATE TABLE text_client (id BLOB PRIMARY KEY) WITHOUT ROWID")
        self._has_text_clients = False

    @override
    def add_appointments(self, appointments: Iterable[Appointment]) -> None:
        self._appointments.add(appointments)

    @override
    def add_appointment_block(self, block: AppointmentBlock) -> None:
        self._appointments.add_block(block)

    @override
    def overlapping(self, most: int) -> Overlaps:
        return self._appointments.overlapping(most)

    @override
    def add_text_client(self, object_id: bytes) -> None:
        self._has_text_clients = True
        with disk_failures():
            self._database.execute("INSERT OR IGNORE INTO text_client VALUES (?)", (object_id,))

    @override
    def has_text_client(self, object_id: bytes) -> bool:
        if not self._has_text_clients:
            return False
        with disk_failures():
            row = self._database.execute("SELECT 1 FROM text_client WHERE id = ?", (object_id,)).fetchone()
        return row is not None

    @override
    def close(self) -> None:
        self._appointments.close()
        self._database.close()
