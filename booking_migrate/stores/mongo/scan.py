"""Reading that outlives elections and lost connections.

A scan in the order of `clientId` may take hours, and the cursor behind it ends with its connection. It is opened again then,
from the client that was being read: what has been yielded is known by its place in that order, and within that client
by its `_id`. Every other read is small and is simply done again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from threading import Thread
from typing import Any, cast

from pymongo.cursor import Cursor, RawBatchCursor
from pymongo.errors import OperationFailure

from booking_migrate.bson.document import Element, elements, identity_of, value_in
from booking_migrate.bson.order import element_key
from booking_migrate.stores.chunks import DocumentBlock, split
from booking_migrate.stores.mongo.codes import CONVERSION_FAILURE
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.raw import NATURAL, SIMPLE, after, documents_in, find_raw, id_of, not_before
from booking_migrate.stores.mongo.retry import is_transient, resumed, with_retry
from booking_migrate.stores.ports import ScannedDocument

_BATCH_SIZE = 1000
_KEYS_AT_ONCE = 10_000
_AHEAD = 10
"""How many batches are read ahead: about as much as is worked on at a time."""

_AHEAD_BYTES = 8 * 1024 * 1024
"""Fewer of them if they are as large as that together."""

_PARTS = 1 << 20
_NULL, _UNDEFINED, _ARRAY = 0x0A, 0x06, 0x04
_COMPARABLE = frozenset({0x01, 0x02, 0x07, 0x10, 0x12, 0x13})
"""The BSON types of values that a query may ask to begin with: numbers, strings and ObjectIds."""

_MOST_IDS = 250_000
"""How many documents of one `clientId` are remembered: more than a client has, but very many may have none at all."""


class Bookmark:
    """How far a scan in client order has come."""

    def __init__(self) -> None:
        self._last: Element | None = None
        self._key = b""
        self._ids: set[bytes] = set()
        self._is_sure = True

    @property
    def is_sure(self) -> bool:
        """Return whether the scan can continue from here without yielding a document twice or leaving one out."""
        return self._is_sure and len(self._ids) <= _MOST_IDS

    def move(self, documents: DocumentBlock) -> None:
        """Note documents that have been yielded, in their order; there is at least one."""
        last = _client_of(documents.document(-1))
        key = element_key(last)
        if key != self._key:
            self._is_sure &= self._key < key
            self._last, self._key, self._ids = last, key, set()
        for number in reversed(range(len(documents.starts))):
            raw = documents.document(number)
            if element_key(_client_of(raw)) != key:
                break
            self._ids.add(identity_of(raw))

    def is_passed(self, raw: bytes) -> bool:
        """Return whether a document was yielded."""
        key = element_key(_client_of(raw))
        return key < self._key or (key == self._key and identity_of(raw) in self._ids)

    def is_behind(self, raw: bytes) -> bool:
        """Return whether this document, and with it all that follow, come after the client that was yielded last."""
        return self._key < element_key(_client_of(raw))

    def rest(self, condition: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a query for what is left of another one, and perhaps for some of what was yielded."""
        if self._last is None or self._last.kind not in _COMPARABLE:
            return condition
        return {"$and": [condition, not_before("clientId", self._last)]}


def find_documents(
    collection: DriverCollection,
    condition: Mapping[str, Any],
    *,
    fields: Mapping[str, Any] | None = None,
    by_client: bool = False,
) -> Iterator[bytes]:
    """Yield the documents of a collection that meet a condition, as raw BSON; passing troubles are waited out.

    Args:
        collection: where to look.
        condition: a query. If not ``by_client``, what it finds is held in memory.
        fields: a projection that cuts the documents down, but not by `_id` and `clientId`; None: they come whole.
        by_client: in the order of `clientId`; the server sorts on its disk if it has to.
    """
    if by_client:
        for batch in _scan(partial(_batches, collection, fields=fields), condition):
            yield from batch.documents()
    else:
        yield from with_retry(lambda: list(find_raw(collection, condition, fields=fields)))


def find_blocks(
    collection: DriverCollection,
    condition: Mapping[str, Any],
    at_once: int | None = None,
    *,
    sorts: bool = False,
) -> Iterator[DocumentBlock]:
    """Yield what `find_documents` does in the order of `clientId`, many documents at a time.

    Args:
        collection: where to look.
        condition: a query.
        at_once: how many documents the server is asked for at a time; it sends fewer if they are large. None: a thousand.
        sorts: whether the server scans the collection and sorts, whatever indexes it has.
    """
    return _scan(partial(_batches, collection, fields=None, at_once=at_once, sorts=sorts), condition)


def _none_has(field: str) -> Mapping[str, Any]:
    """Return the query for documents without a field that fails at the first one that has it.

    The server evaluates the second part for no other document; the name of a type cannot be converted to a number.
    """
    kind = {"$type": f"${field}"}
    fails = {"$cond": [{"$eq": [kind, "missing"]}, True, {"$toInt": kind}]}
    return {"$or": [{field: {"$exists": False}}, {"$expr": fails}]}


class BegunSort:
    """A scan of all documents that the server sorts, begun before they are asked for.

    The server sorts meanwhile; and what reads the collection beside it finds in the cache what the sort has just read.
    """

    def __init__(self, collection: DriverCollection, *, without: str | None = None) -> None:
        """Send the query, on a thread that does not keep the program from ending.

        Args:
            collection: what is sorted.
            without: a field that documents may not have: the scan that sorts finds out, see `is_without`. None: they may.
        """
        self._cursor = _cursor(collection, {} if without is None else _none_has(without), sorts=True)
        self._first: Future[bytes | None] = Future()
        Thread(target=self._begin, name="sort", daemon=True).start()

    def is_without(self) -> bool | None:
        """Wait for the sort; return whether no document has the field, or None if that is not known because it failed."""
        error = self._first.exception()
        if error is None:
            return True
        # What the server answers to `_none_has` if a document does have the field.
        has_met_one = isinstance(error, OperationFailure) and error.code == CONVERSION_FAILURE
        return False if has_met_one else None

    def _begin(self) -> None:
        try:
            first = next(iter(cast("Iterable[bytes]", self._cursor)), None)
        except BaseException as error:  # noqa: BLE001 - raised again where the first batch is taken
            self._first.set_exception(error)
        else:
            self._first.set_result(first)

    def batches(self) -> Iterator[DocumentBlock]:
        """Yield the documents, many at a time; called once."""
        with self._cursor as cursor:
            first = self._first.result()
            if first is not None:
                yield from _blocks(chain([first], cast("Iterable[bytes]", cursor)))


def find_sorted(collection: DriverCollection, begun: BegunSort) -> Iterator[DocumentBlock]:
    """Yield what `find_blocks` does of all documents where the server sorts, from a scan that has begun already."""
    left = [begun]

    def find(condition: Mapping[str, Any]) -> Iterator[DocumentBlock]:
        # After an interruption it begins again, as any other scan.
        return left.pop().batches() if left else _batches(collection, condition, fields=None, sorts=True)

    return _scan(find, {})


def scan_by_id(
    collection: DriverCollection,
    condition: Mapping[str, Any],
    *,
    fields: Mapping[str, Any] | None = None,
    at_once: int = _BATCH_SIZE,
) -> Iterator[bytes]:
    """Yield what `find_documents` does in the order of `_id`, which are values of one type; memory holds ``at_once`` of them."""

    def begin(last: list[bytes] | None) -> Iterator[list[bytes]]:
        rest = condition if last is None else {"$and": [condition, after("_id", last[-1])]}
        found = find_raw(collection, rest, fields=fields, by_id=True, at_once=at_once)
        return iter(lambda: list(islice(found, at_once)), [])

    for batch in resumed(begin):
        yield from batch


def clients_along(collection: DriverCollection, index: str) -> Iterator[Any]:
    """Yield the `clientId` of every document, decoded, in client order; the server reads nothing but an index.

    The index prevents two documents with the same `clientId`.
    """

    def begin(last: list[bytes] | None) -> Iterator[list[bytes]]:
        cursor = collection.find_raw_batches(
            {} if last is None else not_before("clientId", _client_of(last[-1])),
            projection={"_id": 0, "clientId": 1},
            sort=[("clientId", 1)],
            hint=index,
            collation=SIMPLE,
            batch_size=_KEYS_AT_ONCE,
        )
        found = documents_in(cursor)
        return iter(lambda: list(islice(found, _KEYS_AT_ONCE)), [])

    passed = b""
    for batch in resumed(begin):
        for raw in batch:
            if element_key(_client_of(raw)) > passed:
                yield value_in(raw, b"clientId")
        passed = element_key(_client_of(batch[-1]))


def repeated_ids(collection: DriverCollection) -> Iterator[Any]:
    """Yield the `_id` values that a view has more than once, decoded; any trouble ends it."""
    stages: list[dict[str, Any]] = [
        {"$group": {"_id": "$_id", "count": {"$sum": 1}}},
        {"$match": {"count": {"$gt": 1}}},
    ]
    cursor = collection.aggregate_raw_batches(stages, collation=SIMPLE, allowDiskUse=True)
    yield from map(id_of, documents_in(cursor))


def _scan(
    find: Callable[[Mapping[str, Any]], Iterator[DocumentBlock]], condition: Mapping[str, Any]
) -> Iterator[DocumentBlock]:
    bookmark = Bookmark()

    def begin(last: DocumentBlock | None) -> Iterator[DocumentBlock]:
        return find(condition) if last is None else _left(find(bookmark.rest(condition)), bookmark)

    for batch in resumed(begin, lambda error: bookmark.is_sure and is_transient(error)):
        yield batch
        bookmark.move(batch)


def _left(batches: Iterator[DocumentBlock], bookmark: Bookmark) -> Iterator[DocumentBlock]:
    """Yield what is left of a scan that was restarted."""
    for batch in batches:
        left = [raw for raw in batch.documents() if not bookmark.is_passed(raw)]
        is_new = bookmark.is_behind(batch.document(-1))
        if left:
            yield split(b"".join(left))
        if is_new:
            break
    yield from batches


def _batches(
    collection: DriverCollection,
    condition: Mapping[str, Any],
    *,
    fields: Mapping[str, Any] | None,
    at_once: int | None = None,
    sorts: bool = False,
) -> Iterator[DocumentBlock]:
    with _cursor(collection, condition, fields=fields, at_once=at_once, sorts=sorts) as cursor:
        yield from blocks_of(cursor)


def _cursor(
    collection: DriverCollection,
    condition: Mapping[str, Any],
    *,
    fields: Mapping[str, Any] | None = None,
    at_once: int | None = None,
    sorts: bool,
) -> RawBatchCursor[Any]:
    return collection.find_raw_batches(
        condition,
        projection=fields,
        sort=[("clientId", 1)],
        hint=NATURAL if sorts else None,
        collation=SIMPLE,
        allow_disk_use=True,
        batch_size=at_once or _BATCH_SIZE,
    )


def blocks_of(cursor: Cursor[Any]) -> Iterator[DocumentBlock]:
    """Yield the documents that a cursor finds, many at a time; while some are processed, the next ones are read."""
    # The driver's annotation says document; what comes is the bytes of a whole batch.
    yield from _blocks(cast("Iterable[bytes]", cursor))


def _blocks(batches: Iterable[bytes]) -> Iterator[DocumentBlock]:
    for batch in _read_ahead(batches):
        if batch:
            yield split(batch)


def _read_ahead(batches: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same batches; while some are processed, the next ones are prefetched."""
    remaining = iter(batches)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as reader:
        coming = deque([reader.submit(next, remaining, None)])
        try:
            while (batch := coming.popleft().result()) is not None:
                while len(coming) < min(_AHEAD, max(1, _AHEAD_BYTES // max(1, len(batch)))):
                    coming.append(reader.submit(next, remaining, None))
                yield batch
        finally:
            reader.shutdown(cancel_futures=True)


def _client_of(raw: bytes) -> Element:
    """Return the value by which the server sorts a document: of an array the smallest one (manual, reference/bson-type-comparison-order)."""
    found = next((each for each in elements(raw) if each.name == b"clientId"), None)
    if found is None:
        return Element(_NULL, b"clientId", b"")
    if found.kind != _ARRAY:
        return found
    return min(elements(found.value), key=element_key, default=Element(_UNDEFINED, b"clientId", b""))


def scan_share(collection: DriverCollection, share: float) -> Iterator[ScannedDocument]:
    """Yield the documents of a share of the clients, from 0 to 1, in client order."""
    # The hash of hashed indexes and sharding (manual: operator/aggregation/toHashedIndexKey), so equal ids agree.
    part = {"$abs": {"$mod": [{"$toHashedIndexKey": "$clientId"}, _PARTS]}}
    chosen: list[dict[str, Any]] = [
        {"$match": {"$expr": {"$lt": [part, share * _PARTS]}}},
        {"$sort": {"clientId": 1}},
    ]
    with reading(collection):
        cursor = collection.aggregate_raw_batches(chosen, collation=SIMPLE, allowDiskUse=True)
        yield from map(ScannedDocument, documents_in(cursor))
