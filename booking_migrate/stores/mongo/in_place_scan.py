"""A collection in place as it is read from end to end: what is left to be moved, and both sides of its verification."""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from heapq import merge
from itertools import islice
from operator import attrgetter, itemgetter
from time import monotonic, sleep
from typing import Any, cast

from pymongo.errors import ConnectionFailure, CursorNotFound, OperationFailure, PyMongoError
from typing_extensions import override

from booking_migrate.bson.document import (
    read_fields,
    value_in,
)
from booking_migrate.bson.order import OBJECT_ID_KEY, sort_key
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.stores.chunks import Chunk, pack, split, whole_clients
from booking_migrate.stores.in_place import PendingDocument
from booking_migrate.stores.mongo import retry
from booking_migrate.stores.mongo.administration import HAS_CLAIM
from booking_migrate.stores.mongo.codes import CURSOR_ENDED
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.raw import SIMPLE, any_of, find_raw, id_of
from booking_migrate.stores.mongo.reader import HAS_SESSIONS, FindDocuments, MongoReader
from booking_migrate.stores.mongo.scan import find_documents
from booking_migrate.stores.ports import ComparedReader, ScannedDocument

_CLIENT_TYPES = ("objectId", "string", "int", "long", "binData")
"""The types of `clientId`; an operator of an aggregation does not look into arrays."""

_HAS_CLIENT: Mapping[str, Any] = {"$in": [{"$type": "$clientId"}, list(_CLIENT_TYPES)]}
_NO_ARRAY: Mapping[str, Any] = {"$ne": [{"$type": "$sessions"}, "array"]}
_LEFT: Mapping[str, Any] = {"$expr": {"$or": [{"$not": [_HAS_CLIENT]}, _NO_ARRAY]}}
"""The query for all documents that are not sound client documents."""

_SIZES: Mapping[str, Any] = {"clientId": 1, "size": {"$bsonSize": "$$ROOT"}}
_PAUSE = 0.2
_BATCH = 2000


def pending(collection: DriverCollection) -> Iterator[PendingDocument]:
    """Yield what is left to be moved or rejected, in the order that `MongoInPlace.pending` promises.

    Raises:
        PyMongoError: the collection cannot be read.
    """
    without_client = partial(_read_sorted, collection, {"$expr": {"$not": [_HAS_CLIENT]}})
    yield from _steadily(without_client, attrgetter("key"))
    with_client = partial(_read_by_client, collection, {"$expr": {"$and": [_HAS_CLIENT, _NO_ARRAY]}})
    yield from _steadily(with_client, attrgetter("client_key"))


def _steadily(
    read: Callable[[], Iterator[Sequence[PendingDocument]]], key_of: Callable[[PendingDocument], bytes]
) -> Iterator[PendingDocument]:
    """Yield what is read, in its order; a lost cursor is opened again, and what was seen is left out."""
    last = b""
    at_last: set[bytes] = set()
    deadline = monotonic() + retry.RETRY_TIMEOUT
    while True:
        try:
            for batch in read():
                for found in batch:
                    key = key_of(found)
                    if key != last:
                        if key < last:
                            continue
                        last, at_last = key, set()
                    elif found.key in at_last:
                        continue
                    at_last.add(found.key)
                    yield found
                deadline = monotonic() + retry.RETRY_TIMEOUT
        except PyMongoError as error:
            if not _is_passing(error) or monotonic() > deadline:
                raise
            sleep(_PAUSE)
        else:
            return


def _read_sorted(
    collection: DriverCollection, condition: Mapping[str, Any]
) -> Iterator[Sequence[PendingDocument]]:
    """Yield what meets a condition, which is little, in the order of `_id`."""
    stages: list[Mapping[str, Any]] = [{"$match": condition}, {"$project": _SIZES}, {"$sort": {"_id": 1}}]
    yield from _batches(
        collection.aggregate_raw_batches(stages, collation=SIMPLE, allowDiskUse=True, batchSize=_BATCH)
    )


def _read_by_client(
    collection: DriverCollection, condition: Mapping[str, Any]
) -> Iterator[Sequence[PendingDocument]]:
    """Yield what meets a condition, which is nearly everything, in the order of clients.

    The server follows its index, so that the first clients are moved while it finds the next: what it has read for this is
    still in its cache then.
    """
    yield from _batches(
        collection.find_raw_batches(
            condition,
            projection=_SIZES,
            sort=[("clientId", 1)],
            collation=SIMPLE,
            allow_disk_use=True,
            batch_size=_BATCH,
        )
    )


def _batches(cursor: Any) -> Iterator[Sequence[PendingDocument]]:
    with cursor:
        # The driver's annotation says document; what comes is the bytes of a whole batch.
        yield from map(_waiting_in, cast("Iterable[bytes]", cursor))


def located(collection: DriverCollection, ids: Sequence[Any]) -> Sequence[PendingDocument]:
    """Return the ids and sizes of documents; any trouble ends it."""
    cursor = collection.find_raw_batches(
        any_of("_id", ids), projection=_SIZES, collation=SIMPLE, batch_size=len(ids) + 1
    )
    return [found for batch in _batches(cursor) for found in batch]


def _waiting_in(batch: bytes) -> Sequence[PendingDocument]:
    return _unpacked(batch) or list(map(_waiting, split(batch).documents()))


def _waiting(raw: bytes) -> PendingDocument:
    fields = read_fields(raw)
    # Of several `clientId` the first counts: by it the server sorts.
    return PendingDocument.of(value_in(raw, b"clientId"), fields["_id"], int(fields["size"]))


_OBJECT_IDS_ONLY = struct.Struct("<i5s12s10s12s6sib")
"""A document of `_id`, `clientId` and `size` whose ids are ObjectIds."""

_FRAME = ({_OBJECT_IDS_ONLY.size}, {b"\x07_id\x00"}, {b"\x07clientId\x00"}, {b"\x10size\x00"}, {0})
"""The bytes around its values."""


def _unpacked(batch: bytes) -> Sequence[PendingDocument]:
    """Return the documents of a batch whose ids are all ObjectIds, without decoding one by one; nothing of any other batch."""
    if not batch or len(batch) % _OBJECT_IDS_ONLY.size:
        return ()
    sizes, id_names, ids, client_names, clients, names, values, ends = zip(
        *_OBJECT_IDS_ONLY.iter_unpack(batch), strict=True
    )
    if tuple(map(set, (sizes, id_names, client_names, names, ends))) != _FRAME:
        return ()
    return list(
        map(PendingDocument, map(OBJECT_ID_KEY.__add__, clients), map(OBJECT_ID_KEY.__add__, ids), values)
    )


def _is_passing(error: PyMongoError) -> bool:
    if isinstance(error, ConnectionFailure | CursorNotFound) or retry.is_transient(error):
        return True
    return isinstance(error, OperationFailure) and error.code in CURSOR_ENDED


def open_old_side(collection: DriverCollection, archive: DriverCollection) -> ComparedReader:
    """Return the old bookings: those in the archive, and those that are still, or again, in the collection."""
    return _Both(
        MongoReader(archive, required=True), MongoReader(collection, required=True, fetch=_only(_LEFT))
    )


def open_new_side(collection: DriverCollection) -> ComparedReader:
    """Return the client documents that bookings were migrated into."""
    return MongoReader(collection, required=True, fetch=_only(HAS_CLAIM))


def find_moved(copy: DriverCollection, archives: Sequence[DriverCollection]) -> Sequence[Any]:
    """Return the `_id` values of the bookings of a kept copy that are in an archive of a later run in place, too.

    A cut-over had carried them along, and the archives have the versions that were migrated.
    """
    moved: list[Any] = []
    for archive in archives:
        with reading(archive):
            ids = map(id_of, find_raw(archive, {}, fields={"_id": 1}))
            while some := list(islice(ids, _BATCH)):
                moved += map(id_of, find_raw(copy, any_of("_id", some), fields={"_id": 1}))
    return moved


def open_kept_side(
    kept: MongoReader, copy: DriverCollection, archives: Sequence[DriverCollection], moved: Sequence[Any]
) -> ComparedReader:
    """Return the old bookings after a cut-over: of the kept copy, and of the archives of later runs in place, which may be absent.

    ``kept`` reads the copy; ``moved`` is what `find_moved` returns.
    """
    old: ComparedReader = kept
    if moved:
        old = MongoReader(copy, required=True, fetch=_only({"$nor": [any_of("_id", moved)]}))
    for archive in archives:
        old = _Both(old, MongoReader(archive, required=False))
    return old


def open_live_side(collection: DriverCollection) -> ComparedReader:
    """Return the client documents of a collection that may also have old bookings."""
    return MongoReader(collection, required=True, fetch=_only(HAS_SESSIONS))


def _only(wanted: Mapping[str, Any]) -> FindDocuments:
    def fetch(
        collection: DriverCollection,
        condition: Mapping[str, Any],
        *,
        fields: Mapping[str, Any] | None = None,
        by_client: bool = False,
    ) -> Iterator[bytes]:
        return find_documents(collection, {"$and": [condition, wanted]}, fields=fields, by_client=by_client)

    return fetch


class _Both(ComparedReader):
    """Two collections read as one; see `ComparedReader` for the promises."""

    def __init__(self, first: ComparedReader, second: ComparedReader) -> None:
        self._sides = (first, second)
        self.name = " and ".join(side.name for side in self._sides)
        self.is_live = True

    @override
    def check(self) -> None:
        for side in self._sides:
            side.check()

    def partition(self) -> None:
        """Return None: two collections at a time are not cut."""

    def estimate_count(self) -> int | None:
        """Return how many both hold: the second, too, has old bookings for as long as a run is not finished."""
        counts = [side.estimate_count() for side in self._sides]
        return None if None in counts else sum(filter(None, counts))

    @override
    def scan_by_client(self) -> Iterator[ScannedDocument]:
        keyed = merge(*(_keyed(side.scan_by_client()) for side in self._sides), key=itemgetter(0))
        return (scanned for _key, scanned in keyed)

    @override
    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:
        return whole_clients(pack(self.scan_by_client()), documents)

    @override
    def scan_client_documents(self) -> Iterator[bytes]:
        for side in self._sides:
            yield from side.scan_client_documents()

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        for side in self._sides:
            yield from side.find(ids)

    @override
    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        for side in self._sides:
            yield from side.find_by_client(client_ids)

    @override
    def close(self) -> None:
        for side in self._sides:
            side.close()


def _keyed(scan: Iterator[ScannedDocument]) -> Iterator[tuple[bytes, ScannedDocument]]:
    """Yield documents with what they are ordered by; one without a client stays behind its neighbour, wherever that is."""
    key = b""
    for scanned in scan:
        client_id = value_in(scanned.raw, b"clientId")
        if is_client_id(client_id):
            key = sort_key(client_id)
        yield key, scanned
