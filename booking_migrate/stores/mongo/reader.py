"""A collection as a `DocumentReader`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from typing_extensions import override

from booking_migrate.errors import NotPermitted, PlaceNotFound
from booking_migrate.stores.blocks import Chunk, DocumentBlock
from booking_migrate.stores.chunks import whole_clients
from booking_migrate.stores.mongo.client_ranges import Address, ClientRanges
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.raw import any_of, stores_any
from booking_migrate.stores.mongo.retry import with_retry
from booking_migrate.stores.mongo.scan import find_blocks, find_documents, repeated_ids
from booking_migrate.stores.mongo.servers import hosts_of
from booking_migrate.stores.partitions import Partitioned
from booking_migrate.stores.people import HoldsPeople
from booking_migrate.stores.ports import ComparedReader, ScannedDocument

HAS_SESSIONS: Mapping[str, Any] = {"sessions": {"$exists": True}}
"""The query for client documents: a document with `sessions` is one."""

CLIENT_DOCUMENT_FIELDS: Mapping[str, Any] = {
    "_id": 1,
    "clientId": 1,
    "createdAt": 1,
    "sessions": {"$cond": [{"$isArray": "$sessions"}, [], "$sessions"]},
}


class FindDocuments(Protocol):
    """How documents are fetched; the conformance suite puts mongomock here, which has no raw batches."""

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
        fetch_packed: Callable[[DriverCollection, Mapping[str, Any]], Iterator[DocumentBlock]] = find_blocks,
        address: Address | None = None,
        exists: Callable[[DriverCollection], bool] = lambda collection: describe(collection) is not None,
    ) -> None:
        """Take the parts; nothing is sent to the server yet.

        Args:
            collection: what to read.
            required: whether it has to exist; if not, an absent one has no documents.
            fetch: how documents are fetched.
            fetch_packed: how all of them are, in the order of `clientId`.
            address: where the collection is, for other processes; None: it is not known.
            exists: how to ask whether the collection exists.
        """
        self._collection = collection
        self._required = required
        self._fetch = fetch
        self._fetch_packed = fetch_packed
        self._address = address
        self._exists = exists
        self._is_checked = False

    @property
    def name(self) -> str:
        """Return the collection's name."""
        return self._collection.name

    @override
    def check(self) -> None:
        with reading(self._collection):
            with_retry(lambda: stores_any(self._collection), waits=False)
        self._check_exists()

    def estimate_count(self) -> int | None:
        """Return what the server's own count says.

        Raises:
            PlaceNotFound, UnusablePlace, NotPermitted, ConnectionProblem: it cannot be read.
        """
        self._check_exists()
        with reading(self._collection):
            return with_retry(self._collection.estimated_document_count)

    @override
    def scan_by_client(self) -> Iterator[ScannedDocument]:
        # A collection has no two documents of one `_id`.
        for raw in self._find({}, by_client=True):
            yield ScannedDocument(raw)

    @override
    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:
        # Apart are ranges along the index on `clientId`, if there is one.
        self._check_exists()
        cut = self.cut() if apart else None
        if cut is None:
            with reading(self._collection):
                yield from whole_clients(self._fetch_packed(self._collection, {}), documents)
            return
        yield from whole_clients(cut.scan_below(), documents)
        for clients in cut.ranges(documents):
            yield cut.chunk(clients, documents)
        yield from whole_clients(cut.scan_above(), documents)

    @override
    def cut(self) -> Partitioned | None:
        if self._address is None:
            return None
        ranges = ClientRanges(self._collection, self._address)
        try:
            return ranges if ranges.unsupported_reason() is None else None
        except NotPermitted:
            return None

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
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
        if self._required or self._exists(self._collection):
            return None
        return self._collection.full_name

    @property
    def is_live(self) -> bool:
        """Return True: a collection may be in use."""
        return True

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

    def _check_exists(self) -> None:
        if self._required and not self._is_checked and not self._exists(self._collection):
            raise PlaceNotFound(self.name, self._collection.database.name, hosts_of(self._collection))
        self._is_checked = True
