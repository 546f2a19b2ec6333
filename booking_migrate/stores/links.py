"""Which clients a booking or an expert belongs to, as the databases have it at one time."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol


class Links(Protocol):
    """Finds the clients that a change concerns. All lists hold at most a few thousand values.

    Raises:
        ConnectionProblem, NotPermitted: the server does not say (any method).
    """

    def prepare(self) -> None:
        """Create the indexes without which these questions would read whole collections."""

    def clients_of_bookings(self, booking_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the `clientId` of every document of the target with a session of one of these bookings.

        Of every one: a booking that moved from one client to another and back is for a moment in two documents. The
        clients that rejected bookings of these ids belonged to come too.
        """

    def documents_of_bookings(self, booking_ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield every document of the target with a session of one of these bookings, whole."""

    def clients_of_experts(self, expert_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the `clientId` of the source's bookings with these experts."""

    def experts_of_users(self, user_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield the `_id` of the experts whose user is one of these."""
