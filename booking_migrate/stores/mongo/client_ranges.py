"""A collection in ranges of clients along its index on `clientId`, which any process can read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from typing_extensions import override

from booking_migrate.bson.document import Document, value_in
from booking_migrate.stores.chunks import FIRST, LAST, ClientRange, DocumentBlock, split, whole_clients
from booking_migrate.stores.mongo.connection import DriverCollection, describe, make_client, open_collection
from booking_migrate.stores.mongo.failures import read, reading
from booking_migrate.stores.mongo.raw import SIMPLE, any_of
from booking_migrate.stores.mongo.read_cost import leads_by_client
from booking_migrate.stores.mongo.scan import find_blocks
from booking_migrate.stores.ports import ClientParts

_BATCH_SIZE = 1000


class Address(NamedTuple):
    """Where a collection is, so that another process can open it. It holds a password, and is never shown."""

    uri: str
    database: str
    collection: str


def in_range(clients: ClientRange) -> Mapping[str, Any]:
    """Return the query for the documents of a range. It compares with ObjectIds only, and so finds nothing else."""
    return {"clientId": {"$gte": clients.first, "$lt": clients.end}}


class ClientRanges(ClientParts):
    """A collection, cut into ranges of clients along its index on `clientId`."""

    def __init__(self, source: DriverCollection, address: Address) -> None:
        self._source = source
        self._address = address
        self._found_index: str | None = None

    @cached_property
    def unsupported_reason(self) -> str | None:
        """Return why the collection cannot be cut, for people; None if it can."""
        listed = describe(self._source)
        if listed is not None and listed["type"] != "collection":
            return f"{self._source.name} is a {listed['type']}"
        if not self.index():
            return f"{self._source.name} has no index on clientId alone that holds every document"
        if self._holds_arrays():
            return f"{self._source.name} may have arrays for clientId"
        return None

    @override
    def ranges(self, documents: int) -> Iterator[ClientRange]:
        # The server is asked for one range at a time, each a step of this number of entries along the index.
        first = FIRST
        while first < LAST:
            end = self._client_at(first, skip=documents)
            if end == first:
                end = self._client_at(first, skip=0, is_after=True)
            yield ClientRange(first, end)
            first = end

    @override
    def chunk(self, clients: ClientRange, documents: int) -> "RemoteRange":
        return RemoteRange(self._address, clients, documents, self._source)

    def _client_at(self, first: ObjectId, *, skip: int, is_after: bool = False) -> ObjectId:
        """Return the client this number of entries behind the first of another client, or behind all of that client's."""
        above = "$gt" if is_after else "$gte"
        condition = {"clientId": {above: first, "$lt": LAST}}
        options: dict[str, Any] = {"hint": self.index(), "collation": SIMPLE, "skip": skip, "limit": 1}
        find = partial(
            self._source.find, condition, {"clientId": 1, "_id": 0}, sort=[("clientId", 1)], **options
        )
        found = read(self._source, lambda: list(find()))
        return found[0]["clientId"] if found else LAST

    @override
    def scan_below(self) -> Iterator[DocumentBlock]:
        return self._scan_part(least=MinKey(), end=FIRST)

    @override
    def scan_above(self) -> Iterator[DocumentBlock]:
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
        """Return the name of an index along which all documents are in client order, or nothing."""
        if self._found_index is None:
            indexes = read(self._source, lambda: list(self._source.list_indexes()))
            self._found_index = next((str(index["name"]) for index in indexes if _is_complete(index)), "")
        return self._found_index

    def _holds_arrays(self) -> bool:
        """Return whether the index has ever held an array, so that a document may be at several positions of it."""
        asked = {"find": self._source.name, "filter": {}, "hint": self.index()}
        database = self._source.database
        explained = read(self._source, lambda: database.command("explain", asked, verbosity="queryPlanner"))
        marks = list(_values(explained, "isMultiKey"))
        return not marks or any(marks)


@dataclass(frozen=True, slots=True)
class RemoteRange:
    """A range of clients that is read by whichever process is to work on it; a `Chunk` that says only where they are."""

    address: Address | None = field(repr=False)
    """None: the process that reads it knows the collection, and sets it."""

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
        collection = self.collection
        if collection is None:
            if self.address is None:
                raise RuntimeError("the range has neither an address nor a collection")
            collection = _opened(self.address)
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
    return dict(index["key"]) == {"clientId": 1} and leads_by_client(index)


def _values(document: Document | list[Any], name: str) -> Iterator[Any]:
    """Yield the values of a field at every depth of a document."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if key == name:
            yield value
        elif isinstance(value, dict | list):
            yield from _values(value, name)
