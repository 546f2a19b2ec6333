"""A collection's fingerprint, counted by the server."""

from typing import Any

from booking_migrate.bson.format import display_id
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading

_COUNT: dict[str, Any] = {"_id": None, "documents": {"$sum": 1}}
_NEWEST: dict[str, Any] = {"id": {"$max": "$_id"}, "change": {"$max": "$updatedAt"}}


def collection_fingerprint(collection: DriverCollection, *, only_count: bool) -> dict[str, str | int]:
    """Return how many documents a collection has, and unless only that is asked for, its newest `_id` and `updatedAt`.

    Raises:
        NotPermitted, ConnectionProblem, UnusablePlace: it cannot be read.
    """
    group = _COUNT if only_count else {**_COUNT, **_NEWEST}
    with reading(collection):
        found = next(iter(collection.aggregate([{"$group": group}])), {"documents": 0})
    result: dict[str, str | int] = {"documents": int(found["documents"])}
    if not only_count:
        result["newest _id"] = display_id(found.get("id"))
        result["newest updatedAt"] = display_id(found.get("change"))
    return result
