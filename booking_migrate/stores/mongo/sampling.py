"""Some clients of a collection, chosen by the server."""

from collections.abc import Iterator
from typing import Any, cast

from booking_migrate.stores.blocks import split
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.raw import SIMPLE
from booking_migrate.stores.ports import ScannedDocument

_PARTS = 1 << 20


def scan_share(collection: DriverCollection, share: float) -> Iterator[ScannedDocument]:
    """Yield the documents of a share of the clients, in client order.

    Args:
        collection: where to look.
        share: from 0 to 1.

    Raises:
        NotPermitted, ConnectionProblem, UnusablePlace: it cannot be read.
    """
    # The hash of hashed indexes and sharding (manual: operator/aggregation/toHashedIndexKey), so equal ids agree.
    part = {"$abs": {"$mod": [{"$toHashedIndexKey": "$clientId"}, _PARTS]}}
    chosen: list[dict[str, Any]] = [
        {"$match": {"$expr": {"$lt": [part, share * _PARTS]}}},
        {"$sort": {"clientId": 1}},
    ]
    with reading(collection):
        cursor = collection.aggregate_raw_batches(chosen, collation=SIMPLE, allowDiskUse=True)
        with cursor:
            for batch in cursor:
                # The driver's annotation says document; what comes is the bytes of a whole batch.
                for raw in split(cast("bytes", batch)).documents():
                    yield ScannedDocument(raw)
