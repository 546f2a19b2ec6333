"""The port of the server engine: a server that groups bookings into client documents by itself. The docstrings are promises."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from bson.objectid import ObjectId

from booking_migrate.domain.contract import Contract
from booking_migrate.domain.rejection import Reason
from booking_migrate.stores.packed import Packed, Piece


class PlainRules(NamedTuple):
    """What a client must keep to be plain, beyond what DESIGN.md, section 5 says."""

    contract: Contract
    accepted: frozenset[Reason]
    """The value rules of the contract that are waived."""

    maximum_document_size: int
    """In bytes; a client whose document would be larger is not plain."""


class ClientRange(NamedTuple):
    """Clients whose `clientId` is an ObjectId, from one up to another."""

    first: ObjectId
    """The least `clientId` in it."""

    end: ObjectId
    """The least `clientId` beyond it."""

    is_groupable: bool
    """Whether it has few enough bookings for the server to group; one client alone may have too many."""


class ClientCount(NamedTuple):
    """A client of the source."""

    client: ObjectId
    documents: int
    """How many documents it has there: bookings, or others."""


class GroupingServer(Protocol):
    """A server that holds both the bookings and the target.

    Every method may be called by several threads at a time.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: it cannot be asked (any method).
    """

    def obstacle(self) -> str | None:
        """Why this server cannot do it for these collections, for people; None if it can. Only reads."""

    def ranges(self, bookings: int, first: ObjectId | None = None) -> Iterator[ClientRange]:
        """All ObjectIds but the very last in ranges of about so many bookings, in their order, one after the other.

        ``first`` is the client to begin with; None: the least there could be.

        No client is in two ranges. The server is asked for one range at a time.
        """

    def clients(self, clients: ClientRange) -> Sequence[ClientCount]:
        """The clients of a range that have documents in the source, in their order."""

    def present(self, clients: ClientRange) -> Iterator[bytes]:
        """The target's documents of a range, whole, in client order."""

    def present_ids(self, clients: ClientRange, limit: int) -> Sequence[bytes]:
        """The first so many documents of a range in the target, cut down to `_id` and `clientId`."""

    def merge(self, clients: ClientRange, wanted: Sequence[ClientCount], run_id: str) -> str | None:
        """Write the documents of plain clients into the target; durable (majority) when it returns.

        The bytes are those that the stream engine makes. A client that is not plain, or that has another number of
        documents than given, gets no document, and nothing that is in the target is changed. The server can tell by ``run_id`` for whom it works
        (`UndoableTarget.stop_grouping`).

        Args:
            clients: the range.
            wanted: the clients in it to do this for.
            run_id: the run that asks.

        Returns:
            None if every plain client has its document. Otherwise what was wrong, for people: then some of them may have
            it, and what is in the target stays as it is from now on.
        """

    def scan(self, clients: ClientRange) -> Iterator[Packed]:
        """The source's documents of a range, whole, in client order."""

    def piece(self, clients: ClientRange, documents: int) -> Piece:
        """The source's documents of a range, to be read by whichever process is to work on them.

        Args:
            clients: the range.
            documents: about how many it has.
        """

    def scan_clients(self, clients: Sequence[ObjectId]) -> Iterator[Packed]:
        """The source's documents of some clients, given in their order, whole, in client order."""

    def scan_before(self) -> Iterator[Packed]:
        """The source's documents whose `clientId` sorts before every ObjectId, or is missing; in client order."""

    def scan_behind(self) -> Iterator[Packed]:
        """The source's documents whose `clientId` is the very last ObjectId or sorts behind it; in client order."""
