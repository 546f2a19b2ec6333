"""The port through which a migration is observed beyond its counts; the dry-run is its user."""

from typing import Any, Protocol

from booking_migrate.domain.consolidate import Consolidation
from booking_migrate.domain.rejection import Rejection
from booking_migrate.domain.session import Session
from booking_migrate.fastpath.build import Collector, FlatClient


class Observer(Protocol):
    """Observes a migration without changing its result. Its methods are called very often."""

    collector: Collector | None
    """Collects facts about the bookings of flat clients, which are not notified one by one; None: nothing is collected."""

    def on_booking(self, result: Session | Rejection) -> None:
        """Take note of one booking and of what the conversion made of it."""

    def on_client(self, client_id: Any, consolidation: Consolidation) -> None:
        """Take note of one client.

        Clients come in MongoDB's order of their ids, and a batch of them only after all of their bookings; no client
        has bookings in two batches.
        """

    def on_flat_bookings(self, collected: Any) -> None:
        """Take note of what the collector returned for the bookings of some flat clients."""

    def on_flat_client(self, client: FlatClient) -> None:
        """Take note of a flat client. It comes in the same order as the other clients."""


class NullObserver:
    """Ignores everything; the default."""

    collector: Collector | None = None

    def on_booking(self, result: Session | Rejection) -> None:
        """Ignore the booking."""

    def on_client(self, client_id: Any, consolidation: Consolidation) -> None:
        """Ignore the client."""

    def on_flat_bookings(self, collected: Any) -> None:
        """Ignore the bookings."""

    def on_flat_client(self, client: FlatClient) -> None:
        """Ignore the client."""
