"""Reading a place in ranges of clients, by several processes at a time."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, Self

from bson.objectid import ObjectId

from booking_migrate.stores.blocks import DocumentBlock


class ClientRange(NamedTuple):
    """Clients whose `clientId` is an ObjectId, from one up to another."""

    first: ObjectId
    """The least `clientId` in it."""

    end: ObjectId
    """The least `clientId` beyond it."""


class RemoteChunk(Protocol):
    """The documents of a range of clients; a `Chunk` that says no more than where they are."""

    @property
    def clients(self) -> ClientRange:
        """Return the range."""

    def read(self) -> tuple[DocumentBlock, Self | None]:
        """Return documents and the rest of the range, which begins with the first client that is not among those read."""

    def within(self, clients: ClientRange) -> Self:
        """Return the same place, but another range."""


class Partitioned(Protocol):
    """A place that can be cut into ranges of clients. Its documents are those before, in the ranges, and behind."""

    def scan_below(self) -> Iterator[DocumentBlock]:
        """Yield the documents whose `clientId` sorts before every ObjectId, or is missing; in client order."""

    def scan_above(self) -> Iterator[DocumentBlock]:
        """Yield the documents whose `clientId` is the very last ObjectId or sorts behind it; in client order."""

    def ranges(self, documents: int, first: ObjectId | None = None) -> Iterator[ClientRange]:
        """Yield all ObjectIds but the very last in ranges of about ``documents`` documents, in their order.

        ``first`` is the client to begin with; None: the least possible one. No client is in two ranges. The server is asked
        for one range at a time.
        """

    def chunk(self, clients: ClientRange, documents: int) -> RemoteChunk:
        """Return the documents of a range, to be read by whichever process handles them.

        Args:
            clients: the range.
            documents: about how many it has.
        """
