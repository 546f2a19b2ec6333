"""A collection as a `DocumentReader`, as a whole and in ranges of clients along its index on `clientId`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from typing_extensions import override

from booking_migrate.bson.document import Document, value_in
from booking_migrate.errors import NotPermitted, PlaceNotFound
from booking_migrate.stores.chunks import Chunk, ClientRange, DocumentBlock, split, whole_clients
from booking_migrate.stores.mongo.connection import DriverCollection, describe, make_client, open_collection
from booking_migrate.stores.mongo.failures import read, reading
from booking_migrate.stores.mongo.raw import SIMPLE, any_of, stores_any
from booking_migrate.stores.mongo.scan import find_blocks, find_documents, repeated_ids
from booking_migrate.stores.mongo.servers import hosts_of
from booking_migrate.stores.ports import ComparedReader, ScannedDocument
from booking_migrate.stores.readers import HoldsPeople

FIRST, LAST = ObjectId(bytes(12)), ObjectId(bytes([255] * 12))
_BATCH_SIZE = 1000

HAS_SESSIONS: Mapping[str, Any] = {"sessions": {"$exists": True}}
"""The query for client documents: a document with `sessions` is one."""

CLIENT_DOCUMENT_FIELDS: Mapping[str, Any] = {
    "_id": 1,
    "clientId": 1,
    "createdAt": 1,
    "sessions": {"$cond": [{"$isArray": "$sessions"}, [], "$sessions"]},
}


class Address(NamedTuple):
    """Where a collection is, so that another process can open it. It holds a password, and is never shown."""

    uri: str
    database: str
    collection: str


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
        self.name = self._collection.name
        self.is_live = True

    @override
    def check(self) -> None:
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
    def cut(self) -> "ClientRanges | None":
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


def in_range(clients: ClientRange) -> Mapping[str, Any]:
    """Return the query for the documents of a range. It compares with ObjectIds only, and so finds nothing else."""
    return {"clientId": {"$gte": clients.first, "$lt": clients.end}}


class ClientRanges:
    """A collection, cut into ranges of clients along its index on `clientId`.

    Its documents are those below the ranges, in them, and above them.
    """

    def __init__(self, source: DriverCollection, address: Address) -> None:
        self._source = source
        self._address = address
        self._found_index: str | None = None

    def unsupported_reason(self) -> str | None:
        """Return why the collection cannot be cut, for people; None if it can.

        Raises:
            NotPermitted, ConnectionProblem: it cannot be asked.
        """
        listed = describe(self._source)
        if listed is not None and listed["type"] != "collection":
            return f"{self._source.name} is a {listed['type']}"
        if not self.index():
            return f"{self._source.name} has no index on clientId alone that holds every document"
        if self._holds_arrays():
            return f"{self._source.name} may have arrays for clientId"
        return None

    def ranges(self, documents: int, first: ObjectId | None = None) -> Iterator[ClientRange]:
        """Yield all ObjectIds but the very last in ranges of about ``documents`` documents, in their order.

        ``first`` is the client to begin with; None: the least possible one. No client is in two ranges. The server is asked
        for one range at a time, each a step of so many entries along the index.
        """
        first = first or FIRST
        while first < LAST:
            end = self._client_at(first, skip=documents)
            if end == first:
                end = self._client_at(first, skip=0, is_after=True)
            yield ClientRange(first, end)
            first = end

    def chunk(self, clients: ClientRange, documents: int) -> "RemoteRange":
        """Return the documents of a range, about so many, to be read by whichever process handles them."""
        return RemoteRange(self._address, clients, documents, self._source)

    def _client_at(self, first: ObjectId, *, skip: int, is_after: bool = False) -> ObjectId:
        """Return the client so many entries behind the first of another client, or behind all of that client's."""
        above = "$gt" if is_after else "$gte"
        condition = {"clientId": {above: first, "$lt": LAST}}
        options: dict[str, Any] = {"hint": self.index(), "collation": SIMPLE, "skip": skip, "limit": 1}
        find = partial(
            self._source.find, condition, {"clientId": 1, "_id": 0}, sort=[("clientId", 1)], **options
        )
        found = read(self._source, lambda: list(find()))
        return found[0]["clientId"] if found else LAST

    def scan_below(self) -> Iterator[DocumentBlock]:
        """Yield the documents whose `clientId` sorts before every ObjectId, or is missing; in client order."""
        return self._scan_part(least=MinKey(), end=FIRST)

    def scan_above(self) -> Iterator[DocumentBlock]:
        """Yield the documents whose `clientId` is the very last ObjectId or sorts behind it; in client order."""
        yield from self._scan_part(least=LAST, end=MaxKey())
        # A place in an index is a bound that is left out, and nothing sorts behind the greatest value of all.
        yield from self._read(self._cursor(any_of("clientId", [MaxKey()])))

    def _scan_part(self, least: Any, end: Any) -> Iterator[DocumentBlock]:
        """Yield the documents from one place of the index up to another, whatever the types of their `clientId`."""
        return self._read(self._cursor({}).min([("clientId", least)]).max([("clientId", end)]))

    def _cursor(self, condition: Mapping[str, Any]) -> Any:
        # The driver's annotation of a place in an index knows orders and not values.
        return self._source.find_raw_batches(
            condition, hint=self.index(), collation=SIMPLE, batch_size=_BATCH_SIZE
        )

    def _read(self, cursor: Any) -> Iterator[DocumentBlock]:
        with reading(self._source), cursor:
            for batch in cursor:
                yield split(batch)

    def index(self) -> str:
        """Return the name of an index along which all documents stand in client order, or nothing."""
        if self._found_index is None:
            indexes = read(self._source, lambda: list(self._source.list_indexes()))
            self._found_index = next((str(index["name"]) for index in indexes if _is_complete(index)), "")
        return self._found_index

    def _holds_arrays(self) -> bool:
        """Return whether the index has ever held an array, so that a document may stand at several places of it."""
        asked = {"find": self._source.name, "filter": {}, "hint": self.index()}
        database = self._source.database
        explained = read(self._source, lambda: database.command("explain", asked, verbosity="queryPlanner"))
        marks = list(_values(explained, "isMultiKey"))
        return not marks or any(marks)


@dataclass(frozen=True, slots=True)
class RemoteRange:
    """A range of clients that is read by whichever process is to work on it; a `Chunk` that says only where they are."""

    address: Address = field(repr=False)
    clients: ClientRange
    documents: int
    """About how many there are."""

    collection: DriverCollection | None = field(default=None, repr=False)
    """The bookings as this process has them open; another process opens them by their address."""

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """Return whatever another process needs."""
        return type(self), (self.address, self.clients, self.documents)

    def within(self, clients: ClientRange) -> "RemoteRange":
        """Return the same place, but another range."""
        return replace(self, clients=clients)

    def read(self) -> "tuple[DocumentBlock, RemoteRange | None]":
        """Return documents and the rest of the range, which begins with the first client that is not among those read."""
        collection = _opened(self.address) if self.collection is None else self.collection
        with reading(collection):
            # All of it comes in one answer, unless it is more than was counted on, or more than an answer can hold.
            scan = find_blocks(collection, in_range(self.clients), 2 * self.documents)
            chunks = whole_clients(scan, 2 * self.documents)
            chunk, following = next(chunks, split(b"")), next(chunks, None)
        if following is None:
            return chunk, None
        first = value_in(following.document(0), b"clientId")
        return chunk, self.within(self.clients._replace(first=first))


@lru_cache(maxsize=1)
def _opened(address: Address) -> DriverCollection:
    """Return a collection of this process's own client, which lives as long as the process."""
    return open_collection(make_client(address.uri), address.database, address.collection)


def _is_complete(index: Mapping[str, Any]) -> bool:
    return (
        dict(index["key"]) == {"clientId": 1}
        and not {"partialFilterExpression", "sparse", "hidden"} & {name for name in index if index[name]}
        and index.get("collation", {"locale": "simple"})["locale"] == "simple"
    )


def _values(document: Document | list[Any], name: str) -> Iterator[Any]:
    """Yield the values of a field at every depth of a document."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if key == name:
            yield value
        elif isinstance(value, dict | list):
            yield from _values(value, name)
