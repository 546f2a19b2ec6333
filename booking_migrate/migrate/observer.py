"""Looking over the engine's shoulder: what it tells somebody who wants to know more than counts."""

from typing import Any, Protocol

from booking_migrate.domain.consolidate import Consolidation
from booking_migrate.domain.rejection import Rejection
from booking_migrate.domain.session import Session
from booking_migrate.fastpath.build import FlatClient, Look


class Observer(Protocol):
    """Somebody who watches a migration and never changes what comes out of it. Its methods are called very often."""

    def on_booking(self, result: Session | Rejection) -> None:
        """Take note of one booking and of what the conversion made of it."""

    def on_client(self, client_id: Any, consolidation: Consolidation) -> None:
        """Take note of one client.

        Clients come in MongoDB's order of their ids, and a batch of them only after all of their bookings; no client
        has bookings in two batches.
        """

    @property
    def look(self) -> Look | None:
        """How the bookings of usual clients are looked at, which are not told about one by one; None: not at all.

        It may be called in another process.
        """

    def on_flat_bookings(self, sight: Any) -> None:
        """Take note of what a look at the bookings of some usual clients came to."""

    def on_flat_client(self, client: FlatClient) -> None:
        """Take note of a usual client. It comes in the same order as the other clients."""


class NullObserver:
    """The default observer: it sees nothing."""

    def on_booking(self, result: Session | Rejection) -> None:
        """Ignore the booking."""

    def on_client(self, client_id: Any, consolidation: Consolidation) -> None:
        """Ignore the client."""

    @property
    def look(self) -> Look | None:
        """There is nothing to be looked at."""
        return None

    def on_flat_bookings(self, sight: Any) -> None:
        """Ignore the bookings."""

    def on_flat_client(self, client: FlatClient) -> None:
        """Ignore the client."""
