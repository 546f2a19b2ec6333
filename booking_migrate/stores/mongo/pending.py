"""The way through a collection that is migrated in place: what is left to be moved or rejected."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic, sleep
from typing import Any, cast

from pymongo.errors import ConnectionFailure, CursorNotFound, OperationFailure, PyMongoError

from booking_migrate.bson.document import read_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.stores.blocks import split
from booking_migrate.stores.in_place import Waiting
from booking_migrate.stores.mongo import retry
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.raw import SIMPLE
from booking_migrate.stores.mongo.retry import is_transient

_CLIENT_TYPES = ("objectId", "string", "int", "long", "binData")
"""The types of `clientId`; an operator of an aggregation does not look into arrays."""

_HAS_CLIENT: Mapping[str, Any] = {"$in": [{"$type": "$clientId"}, list(_CLIENT_TYPES)]}
_NO_ARRAY: Mapping[str, Any] = {"$ne": [{"$type": "$sessions"}, "array"]}
LEFT: Mapping[str, Any] = {"$expr": {"$or": [{"$not": [_HAS_CLIENT]}, _NO_ARRAY]}}
"""The query for all documents that are not sound client documents."""

_SIZES: Mapping[str, Any] = {"clientId": 1, "size": {"$bsonSize": "$$ROOT"}}
_KILLED = frozenset({43, 175, 237, 11601})
"""A cursor that no longer exists or was killed: by its age, an election, or an administrator who ends all sessions."""

_PAUSE = 0.2
_BATCH = 2000


def waiting(collection: DriverCollection) -> Iterator[Waiting]:
    """Yield what is left to be moved or rejected, in the order that `InPlaceCollection.waiting` promises.

    Raises:
        PyMongoError: the collection cannot be read.
    """
    without_client = {"$expr": {"$not": [_HAS_CLIENT]}}
    yield from _steadily(collection, without_client, "_id", lambda found: sort_key(found.document_id))
    with_client = {"$expr": {"$and": [_HAS_CLIENT, _NO_ARRAY]}}
    yield from _steadily(collection, with_client, "clientId", lambda found: sort_key(found.client_id))


def _steadily(
    collection: DriverCollection, condition: Mapping[str, Any], order: str, key_of: Callable[[Waiting], bytes]
) -> Iterator[Waiting]:
    """Yield what meets a condition, in an order; a lost cursor is opened again, and what was seen is left out."""
    last = b""
    at_last: set[bytes] = set()
    deadline = monotonic() + retry.RETRY_TIMEOUT
    while True:
        try:
            for found in _read(collection, condition, order):
                key, own = key_of(found), sort_key(found.document_id)
                if key < last or (key == last and own in at_last):
                    continue
                if key != last:
                    last, at_last = key, set()
                at_last.add(own)
                yield found
                deadline = monotonic() + retry.RETRY_TIMEOUT
        except PyMongoError as error:
            if not _is_passing(error) or monotonic() > deadline:
                raise
            sleep(_PAUSE)
        else:
            return


def _read(collection: DriverCollection, condition: Mapping[str, Any], order: str) -> Iterator[Waiting]:
    stages: Sequence[Mapping[str, Any]] = (
        {"$match": condition},
        {"$project": _SIZES},
        {"$sort": {order: 1}},
    )
    batches = collection.aggregate_raw_batches(
        list(stages), collation=SIMPLE, allowDiskUse=True, batchSize=_BATCH
    )
    with batches:
        for batch in batches:
            # The driver's annotation says document; what comes is the bytes of a whole batch.
            for raw in split(cast("bytes", batch)).documents():
                fields = read_fields(raw)
                yield Waiting(fields.get("clientId"), fields["_id"], int(fields["size"]))


def _is_passing(error: PyMongoError) -> bool:
    if isinstance(error, ConnectionFailure | CursorNotFound) or is_transient(error):
        return True
    return isinstance(error, OperationFailure) and error.code in _KILLED
