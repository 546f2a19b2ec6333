"""A collection as a `DocumentReader`, as a whole and in ranges of clients along its index on `clientId`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from bson.timestamp import Timestamp
from pymongo.errors import OperationFailure
from typing_extensions import override

from booking_migrate.errors import NotPermitted, UnusablePlace
from booking_migrate.events import Listener, NullListener
from booking_migrate.stores.chunks import (
    Chunk,
    ClientStream,
    DocumentBlock,
    unpack,
    whole_clients,
)
from booking_migrate.stores.mongo.client_ranges import Address, ClientRanges
from booking_migrate.stores.mongo.codes import SNAPSHOT_UNAVAILABLE
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import absent, read, reading
from booking_migrate.stores.mongo.raw import SIMPLE, any_of, stores_any
from booking_migrate.stores.mongo.raw_cursor import RawCursor
from booking_migrate.stores.mongo.read_cost import Reading
from booking_migrate.stores.mongo.retry import attempts, is_transient
from booking_migrate.stores.mongo.scan import (
    BegunSort,
    find_blocks,
    find_documents,
    find_sorted,
    repeated_ids,
)
from booking_migrate.stores.ports import ClientParts, ComparedReader, ScannedDocument
from booking_migrate.stores.readers import HoldsPeople

_NULL_LISTENER = NullListener()

HAS_SESSIONS: Mapping[str, Any] = {"sessions": {"$exists": True}}
OLD_SHAPE: Mapping[str, Any] = {"sessions": {"$exists": False}}
"""The query for client documents: a document with `sessions` is one."""

CLIENT_DOCUMENT_FIELDS: Mapping[str, Any] = {
    "_id": 1,
    "clientId": 1,
    "createdAt": 1,
    "sessions": {"$cond": [{"$isArray": "$sessions"}, [], "$sessions"]},
}


class FindDocuments(Protocol):
    """How documents are fetched: all of them or some, as they are or as they were."""

    def __call__(
        self,
        collection: DriverCollection,
        condition: Mapping[str, Any],
        *,
        fields: Mapping[str, Any] | None = None,
        by_client: bool = False,
    ) -> Iterator[bytes]:
        """Yield the documents that meet a query, as `scan.find_documents` does."""


class MongoReader(ComparedReader, HoldsPeople):
    """Reads a collection or a view; see `DocumentReader` for the promises."""

    def __init__(
        self,
        collection: DriverCollection,
        *,
        required: bool,
        fetch: FindDocuments = find_documents,
        address: Address | None = None,
        listener: Listener = _NULL_LISTENER,
    ) -> None:
        """Take the parts; nothing is sent to the server yet.

        Args:
            collection: what to read.
            required: whether it has to exist; if not, an absent one has no documents.
            fetch: how documents are fetched.
            address: where the collection is, for other processes; None: it is not known.
            listener: notified of how the collection is read in client order.
        """
        self._collection = collection
        self._required = required
        self._fetch = fetch
        self._address = address
        self._reading = Reading(collection, listener)
        self._parts: ClientRanges | None = None
        self._is_checked = False
        self._begun: BegunSort | None = None
        """The scan that has begun already."""

        self.is_sampled = False
        """Whether not all documents will be scanned, so that a scan of them is not begun early."""

        self.name = self._collection.name
        self.is_live = True

    @override
    def check(self) -> None:
        # What follows is about the documents as they are from here on.
        self._begun = None
        read(self._collection, lambda: stores_any(self._collection), waits=False)
        self._check_exists()

    def estimate_count(self) -> int | None:
        """Return what the server's own count says.

        Raises:
            PlaceNotFound, UnusablePlace, NotPermitted, ConnectionProblem: it cannot be read.
        """
        self._check_exists()
        return read(self._collection, self._collection.estimated_document_count)

    @override
    def scan_by_client(self) -> Iterator[ScannedDocument]:
        # A collection has no two documents of one `_id`.
        self._check_exists()
        if self._sorts():
            yield from unpack(self._blocks())
            return
        for raw in self._find({}, by_client=True):
            yield ScannedDocument(raw)

    @override
    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:
        # Apart are ranges along the index on `clientId`, if that is the way to read it.
        self._check_exists()
        ranges = self._ranges() if apart and not self._sorts() else None
        if ranges is None:
            yield from whole_clients(self._blocks(), documents)
            return
        yield from whole_clients(ranges.scan_below(), documents)
        for clients in ranges.ranges(documents):
            yield ranges.chunk(clients, documents)
        yield from whole_clients(ranges.scan_above(), documents)

    @override
    def partition(self) -> ClientParts | None:
        return ClientStream(self._blocks) if self._sorts() else self._ranges()

    def _blocks(self) -> Iterator[DocumentBlock]:
        """Yield all documents in client order, in one scan."""
        with reading(self._collection):
            begun, self._begun = self._begun, None
            if begun is None:
                blocks = find_blocks(self._collection, {}, sorts=self._sorts())
            else:
                blocks = find_sorted(self._collection, begun)
            try:
                # A sort is complete before its first result.
                first = next(blocks, None)
            except OperationFailure as error:
                if not self._reading.gives_up_sorting(error):
                    raise
                blocks = find_blocks(self._collection, {})
                first = next(blocks, None)
            if first is not None:
                yield first
                yield from blocks

    def _ranges(self) -> "ClientRanges | None":
        """Return the collection in ranges along its index; None if it cannot be cut, or not by another process."""
        if self._address is None:
            return None
        if self._parts is None:
            self._parts = ClientRanges(self._collection, self._address)
        try:
            return self._parts if self._parts.unsupported_reason is None else None
        except NotPermitted:
            return None

    def _sorts(self) -> bool:
        """Return whether one scan that the server sorts is cheaper than reading along the index."""
        return self._address is not None and self._reading.sorts()

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        self._begun = None
        if not self.is_sampled:
            self._check_exists()
            if self._sorts():
                # Most collections have none, and then one scan does for both.
                self._begun = BegunSort(self._collection, without="sessions")
                if self._begun.is_without():
                    return
                # Both scans read the whole collection, so they read it together; see `BegunSort`.
                self._begun = BegunSort(self._collection)
        # Most collections have none, and the server finds that out six times faster if it need not go in
        # client order.
        if any(True for _ in self._find(HAS_SESSIONS, fields={"_id": 1})):
            yield from self._find(HAS_SESSIONS, fields=CLIENT_DOCUMENT_FIELDS, by_client=True)

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        return self._find(any_of("_id", ids))

    @override
    def conflicting(self) -> Iterator[bytes]:
        # In a collection an `_id` occurs once; in a view it may occur more often.
        listed = describe(self._collection)
        if listed is None or listed["type"] != "view":
            return
        with reading(self._collection):
            for value in repeated_ids(self._collection):
                several = list(self._fetch(self._collection, any_of("_id", [value])))
                if len(set(several)) > 1:
                    yield several[0]

    @override
    def missing(self) -> str | None:
        if self._required or self._exists():
            return None
        return self._collection.full_name

    @override
    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        return self._find(any_of("clientId", client_ids))

    def close(self) -> None:
        """Do nothing: cursors close with their scans, the client with its `Connection`."""

    def _find(
        self,
        condition: Mapping[str, Any],
        *,
        fields: Mapping[str, Any] | None = None,
        by_client: bool = False,
    ) -> Iterator[bytes]:
        self._check_exists()
        with reading(self._collection):
            yield from self._fetch(self._collection, condition, fields=fields, by_client=by_client)

    def _exists(self) -> bool:
        return describe(self._collection) is not None

    def _check_exists(self) -> None:
        if self._required and not self._is_checked and not self._exists():
            raise absent(self._collection)
        self._is_checked = True


_BATCH_SIZE = 10_000
"""How many documents the server is asked for at a time; it sends fewer if they are large."""


def _is_passing_of_old(error: Exception) -> bool:
    return is_transient(error) and not (
        isinstance(error, OperationFailure) and error.code == SNAPSHOT_UNAVAILABLE
    )


class SnapshotFetch:
    """Fetches documents as a majority had them at a cluster time (manual, reference/read-concern-snapshot), for any number of `MongoReader`.

    The server keeps history for five minutes by default (minSnapshotHistoryWindowInSeconds).
    """

    def __init__(self, time: Timestamp | None = None) -> None:
        """Take the time; it may be set later, before the first document is fetched."""
        self.time = time
        self.is_recent = True
        """Whether a snapshot that the server does not have now is waited for; one of the past does not come."""

    def __call__(
        self,
        collection: DriverCollection,
        condition: Mapping[str, Any],
        *,
        fields: Mapping[str, Any] | None = None,
        by_client: bool = False,
    ) -> Iterator[bytes]:
        """Yield the documents that meet a query; they are held in memory together.

        Raises:
            UnusablePlace: the time is of the past, and the server does not have it any more.
            PyMongoError: the server refuses it.
        """
        if self.time is None:
            raise RuntimeError("the time of the snapshot is not set")
        command = {
            "find": collection.name,
            "filter": condition,
            "projection": fields or {},
            "collation": SIMPLE.document,
            "batchSize": _BATCH_SIZE,
            "readConcern": {"level": "snapshot", "atClusterTime": self.time},
            **({"sort": {"clientId": 1}} if by_client else {}),
        }
        try:
            for attempt in attempts(is_transient if self.is_recent else _is_passing_of_old):
                with attempt, RawCursor(collection, command) as cursor:
                    found = [raw for batch in cursor for raw in batch]
        except OperationFailure as error:
            if self.is_recent or error.code != SNAPSHOT_UNAVAILABLE:
                raise
            raise UnusablePlace(collection.name, str(error)) from None
        yield from found
