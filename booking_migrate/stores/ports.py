"""The ports: what the verbs require of places that hold bookings. The docstrings are promises.

Every adapter passes one conformance suite (`tests/contract`). All documents cross these ports as raw BSON bytes, so that no
value changes its type, whatever the format of the place.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from booking_migrate.domain.rejection import Rejection

if TYPE_CHECKING:
    from booking_migrate.stores.chunks import Chunk, ClientRange, DocumentBlock


class Duplicate(Enum):
    """Whether a document's `_id` occurs more than once in its place (possible in files only)."""

    NONE = "none"
    COPY = "copy"
    """An earlier document has the same bytes."""

    CONFLICT = "conflict"
    """Another document of the place has this `_id` and other bytes. All of them bear this mark."""


class ScannedDocument(NamedTuple):
    """One document as a scan yields it."""

    raw: bytes
    duplicate: Duplicate = Duplicate.NONE


class ClientParts(Protocol):
    """A place divided into ranges of clients: its documents are those below the ranges, in them, and above them.

    They have to be read in this order, each range with its chunk before the next one: all of them may be one scan.
    """

    def scan_below(self) -> "Iterator[DocumentBlock]":
        """Yield the documents whose `clientId` sorts before every ObjectId, or is missing; in client order."""

    def ranges(self, documents: int) -> "Iterator[ClientRange]":
        """Yield all ObjectIds but the very last in ranges of about ``documents`` documents, in their order.

        No client is in two ranges.
        """

    def chunk(self, clients: "ClientRange", documents: int) -> "Chunk":
        """Return about ``documents`` documents of a range; ranges must be read in their order."""

    def scan_above(self) -> "Iterator[DocumentBlock]":
        """Yield the documents whose `clientId` is the very last ObjectId or sorts behind it; in client order."""


class DocumentReader(Protocol):
    """A place that is read: bookings, client documents, users, experts."""

    name: str
    """The place's name in messages and reports: a path as given, ``-``, or a collection's name."""

    def check(self) -> None:
        """Make sure that the place can be read, before anything is written; a file is read to its end.

        Raises:
            PlaceNotFound, UnusablePlace, BrokenDocument, ConnectionProblem, NotPermitted: it cannot be read.
        """

    def estimate_count(self) -> int | None:
        """Return the approximate number of documents, or None if that needs a full read."""

    def scan_by_client(self) -> Iterator[ScannedDocument]:
        """Yield every document exactly once, in MongoDB's ascending order of `clientId` (simple collation).

        Promises: all documents of a scalar `clientId` are adjacent, where "the same" is MongoDB's
        equality (7 as int32 and as Int64); documents whose `clientId` is missing, null, an array or a document come
        too, anywhere. Within a client the order is not defined. Nothing is yielded before a file has been read to its
        end, so an unreadable one is refused before anything is written. Memory does not grow with the number of documents.
        May be called more than once, except on standard input.

        Raises:
            PlaceNotFound, UnusablePlace, BrokenDocument: the place cannot be read.
            ConnectionProblem: the server is gone.
        """

    def scan_chunks(self, documents: int, *, apart: bool) -> "Iterator[Chunk]":
        """Return what `scan_by_client` yields, with the same promises, in chunks of whole clients.

        Documents without a client may come in chunks of their own, out of order.

        Args:
            documents: about how many a chunk has.
            apart: whether chunks are read in several processes at once. Then a chunk may be only the location of its
            documents, if several processes can read the place.
        """

    def scan_client_documents(self) -> Iterator[bytes]:
        """Yield the documents that have a field `sessions`, of whatever type, in the order of `scan_by_client`.

        They may be cut down to the fields `_id`, `clientId`, `createdAt` and an emptied `sessions`. Copies (`Duplicate.COPY`) and
        conflicting documents (`Duplicate.CONFLICT`) are left out.
        """

    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the documents whose `_id` equals (as MongoDB has it) one of these decoded values, in any order.

        ``ids`` holds at most a few thousand values, no two of them equal. Of a file that has an `_id` more than once,
        the last such document. A place that does not exist and need not (see `open.open_reader`) has no documents.
        """

    def close(self) -> None:
        """Release files, cursors and connections. May be called twice."""


class ComparedReader(DocumentReader, Protocol):
    """A place that can be compared with another one."""

    is_live: bool
    """Whether others may change the place while it is read: true for a collection, false for a file, which is read once."""

    is_loaded: bool = False
    """Whether all documents are in memory: then ranges of clients cost nothing, also for one process."""

    def partition(self) -> ClientParts | None:
        """Return the place divided into ranges of clients; None if that is not possible."""

    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the documents whose `clientId` equals (as MongoDB has it) one of these decoded values, in any order.

        Others may come too: a query of a collection also matches an array that holds such a value. ``client_ids``
        holds at most a few hundred values.
        """


@dataclass(frozen=True, slots=True)
class Replacement:
    """A client document that replaces an older version of itself."""

    before: bytes
    """The version that was read from the target."""

    after: bytes
    """The new version. It has the same `_id`, unless an older document of the source becomes the client's."""


CanHold = Callable[[bytes], bool]
"""Returns whether a place can hold a document; a function of a module, so that it can be sent to other processes."""


def stores_any_bson(_raw: bytes) -> bool:
    """Return True: a collection and a BSON file can hold every BSON document."""
    return True


class TargetWriter(Protocol):
    """A place where a migration's result goes: client documents, and the rejected bookings beside them."""

    name: str
    """The place's name in messages and reports."""

    rejects_name: str
    """Where the rejected bookings are kept, for messages and reports."""

    can_store: CanHold
    """The check whether this place can hold a document's BSON bytes unchanged: JSON cannot hold all of them.

    `stores_any_bson` if the place can hold all of them.
    """

    def prepare(self) -> None:
        """Prepare the place; called once, after all checks and before the first write.

        A collection gets its unique index on `clientId` here. A file gets nothing: it
        appears in `finish`.

        Raises:
            TargetInOldShape, UnusablePlace, DuplicateClientDocuments, NotPermitted, TargetBusy: it cannot be used.
        """

    def scan_client_documents(self) -> Iterator[bytes]:
        """Yield the client documents that are already there, as in `DocumentReader.scan_client_documents`.

        None from a file: a target file is replaced whole.
        """

    def scan_clients(self) -> Iterator[Any]:
        """Yield the `clientId` of each document that is already there, decoded, in client order. None from a file."""

    def may_repeat_clients(self) -> bool:
        """Return whether a client may have several client documents here: False if the place itself prevents that."""

    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the client documents that are already there for these `clientId` values (MongoDB's equality), whole.

        In any order. ``client_ids`` holds at most a few thousand values. None from a file.
        """

    def join(self, changed: Replacement, removed: Sequence[bytes]) -> None:
        """Join several client documents of one client, all of them in this place; called before `prepare` only.

        ``changed`` puts the joined document in the place of one of them; only when that is durable, ``removed``, the
        others as they were read, are deleted. A file has no such documents.

        Raises:
            TargetChanged: one of the documents is no longer the one that was read.
        """

    def refuse_taken_ids(self, documents: Sequence[bytes], freed: Container[bytes]) -> None:
        """Refuse documents whose `_id` the document of another client has; a file has no such documents.

        Args:
            documents: what is to be written next.
            freed: the BSON of ``{_id}`` of documents that go, or get another `_id`, with the same batch.

        Raises:
            DocumentIdTaken: one has.
        """

    def write(
        self,
        new: Sequence[bytes],
        changed: Sequence[Replacement],
        rejected: Sequence[Rejection],
        removed: Sequence[bytes] = (),
    ) -> None:
        """Write one batch. Batches come in client order, and so does each part of a batch.

        ``removed`` are documents of clients without bookings, as they were read; none of a file.

        When it returns, a collection has the batch durably (majority). It is idempotent: after an interruption, the caller
        looks up what was written, and writes the batch again.

        Raises:
            DuplicateKeys: others have inserted documents with these keys; the rest of the batch is written.
            TargetChanged: a document to be replaced is no longer the one that was read.
            TargetHoldsOther: an existing file differs and may not be overwritten.
            RecordTooLarge, WriteFailed, ConnectionProblem: the batch cannot be written.
        """

    def finish(self) -> bool:
        """Make the result whole and durable; return whether the run as a whole changed anything.

        A file appears under its name here, whole, rejects first. Rejected records of an earlier run into the same
        target that this run did not produce again are removed.
        """

    def abandon(self) -> None:
        """Remove an unfinished file and release everything. After `finish` it only releases."""


class Baseline(NamedTuple):
    """The state of a client document of the target before the migration."""

    document: bytes
    """The last version that others wrote, on which a run is based."""

    oldest: bytes | None
    """The version before the first run; None if it did not exist."""


class LagGauge(Protocol):
    """Measures the replication lag of the target's replica set. It only reads."""

    def seconds(self, *, waits: bool = True) -> float | str:
        """Return how far the slowest secondary is behind the primary, 0 without secondaries; or why that is not known.

        It is not known without a replica set or the privilege, and while a secondary is down or recovering.

        Args:
            waits: whether to wait for a server to be found; not at the first contact, as there may be none.

        Raises:
            ConnectionProblem: the server does not answer.
        """


Piece = TypeVar("Piece")
Result = TypeVar("Result")


class Pool(Protocol):
    """Does what is a function of bytes in other processes."""

    def each(
        self, work: Callable[[Piece], Result], chunks: Iterable[Piece]
    ) -> Iterator[tuple[Piece, Result]]:
        """Yield each piece with the result of a function for it, in order; a bounded number of them is held.

        Raises:
            WorkerLost: a worker ended before it had finished.
        """

    def submit(self, work: Callable[..., Result], *args: Any) -> Future[Result]:
        """Start some work without waiting for its result."""


StartPool = Callable[[], Pool]
"""Returns a pool, which is started when this is called first. Another one closes it."""
