"""Looking over the engine's shoulder: what it tells somebody who wants to know more than counts.

An observer sees every booking while its fields are decoded anyway, so that it costs no second reading. It never
changes what comes out.
"""

from typing import Any, Protocol

from booking_migrate.domain.booking import Booking
from booking_migrate.domain.consolidation import Consolidation
from booking_migrate.domain.conversion import Session
from booking_migrate.domain.rejection import Rejection


class Observer(Protocol):
    """Somebody who watches a migration. Its methods are called very often, so they are quick."""

    def see_booking(self, booking: Booking, result: Session | Rejection) -> None:
        """Take note of one booking and of what the conversion made of it; all of a batch before its clients."""

    def see_client(self, client_id: Any, consolidation: Consolidation) -> None:
        """Take note of one client, with every booking of it. Clients come in MongoDB's order of their ids."""

    def end_batch(self) -> None:
        """Whole clients have been seen since the last call; what belongs to them may be forgotten."""


class Inattention:
    """The default observer: it sees nothing."""

    def see_booking(self, booking: Booking, result: Session | Rejection) -> None:
        """Ignore the booking."""

    def see_client(self, client_id: Any, consolidation: Consolidation) -> None:
        """Ignore the client."""

    def end_batch(self) -> None:
        """Ignore the batch."""
