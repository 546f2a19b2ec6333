"""Reading a place in ranges of clients, by several processes at a time."""

from collections.abc import Iterator
from typing import Protocol, Self

from bson.objectid import ObjectId

from booking_migrate.stores.grouping import ClientRange
from booking_migrate.stores.packed import Packed


class RangePiece(Protocol):
    """The documents of a range of clients; a `Piece` that says no more than where they are."""

    @property
    def clients(self) -> ClientRange:
        """The range."""

    def read(self) -> tuple[Packed, Self | None]:
        """See `Piece.read`. What is left begins with the first client that is not among those read."""

    def within(self, clients: ClientRange) -> Self:
        """The same place, but another range."""


class ClientCut(Protocol):
    """A place that can be cut into ranges of clients. Its documents are those before, in the ranges, and behind."""

    def scan_before(self) -> Iterator[Packed]:
        """The documents whose `clientId` sorts before every ObjectId, or is missing; in client order."""

    def scan_behind(self) -> Iterator[Packed]:
        """The documents whose `clientId` is the very last ObjectId or sorts behind it; in client order."""

    def ranges(self, documents: int, first: ObjectId | None = None) -> Iterator[ClientRange]:
        """See `GroupingServer.ranges`."""

    def piece(self, clients: ClientRange, documents: int) -> RangePiece:
        """See `GroupingServer.piece`."""
