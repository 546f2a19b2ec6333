"""How a collection is read in client order: along its index on `clientId`, or in one scan that the server sorts.

Along the index every document is a read of its own. That is fast and divides well among workers as long as the collection fits
the server's cache, or lies in client order on disk; otherwise each document costs a page that is read and dropped again. The
server's sort reads the collection once, and spills to the server's disk.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import Any

from bson.objectid import ObjectId
from pymongo.errors import OperationFailure

from booking_migrate.errors import NotPermitted
from booking_migrate.events import Listener, ReadingChosen, ReadingWay
from booking_migrate.stores.mongo.codes import CANNOT_SORT, NOT_ANSWERED
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import read, reading
from booking_migrate.stores.mongo.raw import NATURAL, SIMPLE

_MIB = 1024 * 1024
_SMALL = 64 * _MIB
"""A collection of this number of bytes fits every server's cache: its least size is 256 MiB (manual: storage.wiredTiger)."""

_SHARE = 0.5
"""The share of the cache that a collection may take: the target, and what the application uses, need the rest."""

_PAGE = 32 * 1024
"""The size of a page in bytes: WiredTiger's leaf_page_max for collections."""

_PLACES, _ENTRIES = 8, 200
"""How many places of the index are looked at, and how many entries at each."""

_DEARER = 2.0
"""How often the data may be read along the index: as much as the scan and its sort cost."""

_SLOWER = 6.0
"""How much longer a document may take along the index than in a scan; in memory it is about twice."""

_INSTANT = 1e-9
_FIRST, _LAST = 0, (1 << 96) - 1


@dataclass(frozen=True, slots=True)
class _Size:
    """What the server says of a collection's size."""

    documents: int
    data: int
    """In bytes, as they are in the cache."""

    index: int
    """The bytes of its index on `clientId`."""

    @property
    def document(self) -> int:
        """Return the average size of a document in bytes."""
        return max(1, self.data // max(1, self.documents))


class Reading:
    """How a collection is read in client order: chosen when it is read first, and said once."""

    def __init__(self, collection: DriverCollection, listener: Listener) -> None:
        self._collection = collection
        self._listener = listener
        self._chosen: ReadingChosen | None = None
        self._is_left_to_server = False

    def sorts(self) -> bool:
        """Return whether the server is to sort. The server decides about a view, and about what may not be asked."""
        if self._chosen is None and not self._is_left_to_server:
            try:
                chosen = choose_reading(self._collection)
            except NotPermitted:
                chosen = None
            self._is_left_to_server = chosen is None
            if chosen is not None:
                self._take(chosen)
        return self._chosen is not None and self._chosen.way is ReadingWay.SORT

    def gives_up_sorting(self, error: OperationFailure) -> bool:
        """Return whether an error says that the server does not sort on its disk; from then on the index is the way."""
        if self._chosen is None or self._chosen.way is not ReadingWay.SORT or error.code not in CANNOT_SORT:
            return False
        reason = f"the server does not sort it on its disk (error {error.code})"
        self._take(ReadingChosen(self._collection.name, ReadingWay.INDEX, reason))
        return True

    def _take(self, chosen: ReadingChosen) -> None:
        self._chosen = chosen
        self._listener.notify(chosen)


def choose_reading(collection: DriverCollection) -> ReadingChosen | None:
    """Return how a collection is to be read in client order, and why; None if it is a view, or absent. It costs a few small reads.

    Raises:
        NotPermitted: the collection may not be read.
    """
    listed = describe(collection)
    if listed is None or listed["type"] != "collection":
        return None
    index = _leading_index(collection)
    size = _size_of(collection, index)
    if size is None or size.data <= _SMALL:
        return ReadingChosen(collection.name, ReadingWay.INDEX, "it is small") if index else None
    if not index:
        reason = "it does not have an index that begins with clientId"
        return ReadingChosen(collection.name, ReadingWay.SORT, reason)
    way, reason = _by_cost(collection, index, size)
    return ReadingChosen(collection.name, way, reason)


def _by_cost(collection: DriverCollection, index: str, size: _Size) -> tuple[ReadingWay, str]:
    cache = _cache_of(collection)
    total = f"{_mib(size.data + size.index)} of data and index"
    if cache is not None and size.data + size.index <= _SHARE * cache:
        return ReadingWay.INDEX, f"{total} fit the server's cache of {_mib(cache)}"
    places = _places(collection, index)
    factor = _bytes_along_index(collection, index, places, size) / size.data
    if factor <= _DEARER:
        return ReadingWay.INDEX, "its documents lie in client order on disk"
    if cache is not None:
        beyond = f"along the index about {factor:,.0f} times the data would be read"
        return ReadingWay.SORT, f"{total} do not fit the server's cache of {_mib(cache)}: {beyond}"
    times = _slowness_along_index(collection, index, places)
    measured = (
        f"a document takes {times:,.1f} times as long along the index; the size of the cache is not known"
    )
    return (ReadingWay.INDEX if times <= _SLOWER else ReadingWay.SORT), measured


def _leading_index(collection: DriverCollection) -> str:
    """Return the name of an index along which the server can read all documents in client order, or nothing."""
    indexes = read(collection, partial(_all, collection.list_indexes))
    return next((str(index["name"]) for index in indexes if leads_by_client(index)), "")


def leads_by_client(index: Mapping[str, Any]) -> bool:
    """Return whether an index, as the server lists it, has every document, and has them in client order."""
    (first, order), *_ = index["key"].items()
    return (
        first == "clientId"
        and order in (1, -1)
        and not {"partialFilterExpression", "sparse", "hidden"} & {name for name in index if index[name]}
        and index.get("collation", {"locale": "simple"})["locale"] == "simple"
    )


def _mib(number: int) -> str:
    return f"{number / _MIB:,.0f} MiB"


def _size_of(collection: DriverCollection, index: str) -> _Size | None:
    """Return what the server says of the collection's size; None if it does not."""
    statistics = _answer(collection, "collStats", collection.name)
    if statistics is None:
        return None
    sizes = statistics.get("indexSizes", {})
    return _Size(int(statistics.get("count", 0)), int(statistics.get("size", 0)), int(sizes.get(index, 0)))


def _cache_of(collection: DriverCollection) -> int | None:
    """Return the size of the server's cache in bytes; None if the user may not ask, or asks a router."""
    status = _answer(collection, "serverStatus", 1, admin=True)
    cache = (status or {}).get("wiredTiger", {}).get("cache", {})
    size = cache.get("maximum bytes configured")
    return None if size is None else int(size)


def _answer(
    collection: DriverCollection, command: str, value: Any, *, admin: bool = False
) -> Mapping[str, Any] | None:
    """Return the answer to a command; None if the server refuses it."""
    database = collection.database.client.admin if admin else collection.database

    def ask() -> Mapping[str, Any] | None:
        try:
            return database.command(command, value)
        except OperationFailure as error:
            if error.code in NOT_ANSWERED:
                return None
            raise

    return read(collection, ask)


def _places(collection: DriverCollection, index: str) -> Sequence[ObjectId]:
    """Return clients spread evenly between the first and the last one."""
    ends = []
    for order in (1, -1):
        find = partial(
            collection.find,
            {"clientId": {"$gte": _client(_FIRST), "$lte": _client(_LAST)}},
            {"clientId": 1, "_id": 0},
            sort=[("clientId", order)],
            hint=index,
            collation=SIMPLE,
            limit=1,
        )
        ends += [int.from_bytes(each["clientId"].binary) for each in read(collection, partial(_all, find))]
    if len(ends) < 2:  # noqa: PLR2004 - no client at all
        return ()
    first, last = ends
    return [_client(first + (last - first) * number // _PLACES) for number in range(_PLACES)]


def _all(find: Callable[[], Iterable[Mapping[str, Any]]]) -> Sequence[Mapping[str, Any]]:
    return list(find())


def _client(number: int) -> ObjectId:
    return ObjectId(number.to_bytes(12))


def _bytes_along_index(
    collection: DriverCollection, index: str, places: Sequence[ObjectId], size: _Size
) -> float:
    """Return about how many bytes are read if all documents are, along the index and none of them from the cache.

    Neighbours in the index whose record ids are further apart than a page has documents are on other pages.
    """
    on_a_page = max(1, _PAGE // size.document)
    steps = jumps = 0
    for place in places:
        find = partial(
            collection.find,
            {"clientId": {"$gte": place}},
            {"clientId": 1, "_id": 0},
            sort=[("clientId", 1)],
            hint=index,
            collation=SIMPLE,
            show_record_id=True,
            limit=_ENTRIES,
        )
        found = read(collection, partial(_all, find))
        # A clustered collection has other record ids than numbers, and is in the order of its `_id`.
        numbers = [each["$recordId"] for each in found if isinstance(each["$recordId"], int)]
        jumps += sum(abs(after - before) > on_a_page for before, after in pairwise(numbers))
        steps += max(0, len(numbers) - 1)
    share = 1.0 if not steps else jumps / steps
    return size.data + share * size.documents * _PAGE


def _slowness_along_index(collection: DriverCollection, index: str, places: Sequence[ObjectId]) -> float:
    """Return how many times as long as in a scan a document takes along the index, as measured with a few of them."""

    def seconds(condition: Mapping[str, Any], hint: Any) -> float:
        began = perf_counter()
        list(
            collection.find_raw_batches(
                condition, hint=hint, collation=SIMPLE, limit=_ENTRIES, batch_size=_ENTRIES
            )
        )
        return perf_counter() - began

    with reading(collection):
        # One question for another, so that the way to the server counts on both sides.
        along = sum(seconds({"clientId": {"$gte": place}}, index) for place in places)
        scanned = sum(seconds({}, NATURAL) for _ in places)
    return along / max(scanned, _INSTANT)
