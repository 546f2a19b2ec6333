"""The unique index on `clientId`, which a target has before its first write."""

from collections.abc import Mapping
from typing import Any

from pymongo.errors import DuplicateKeyError, OperationFailure

from booking_migrate.bson.format import display_id
from booking_migrate.errors import DuplicateClientDocuments
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import reading, writing
from booking_migrate.stores.mongo.majority import build_index
from booking_migrate.stores.mongo.raw import SIMPLE
from booking_migrate.stores.mongo.retry import with_retry

_USUAL_NAME = "clientId_1"
_OTHER_NAME = "clientId_1_unique"
_NO_SUCH_INDEX = 27
_SHOWN = 5
_SHOWN_IDS = 3


def ensure_client_index(collection: DriverCollection) -> bool:
    """Create the index unless one that does the same exists; return whether it was created.

    Raises:
        DuplicateClientDocuments: clients have more than one document already.
        NotPermitted, WriteFailed, ConnectionProblem: the server does not create it.
    """
    if has_client_index(collection):
        return False
    # The usual name is what the application's own declaration of this index would choose, and then finds.
    taken = any(index["name"] == _USUAL_NAME for index in _indexes(collection))
    with writing(collection):
        try:
            with_retry(
                lambda: build_index(
                    collection,
                    [("clientId", 1)],
                    unique=True,
                    collation=SIMPLE,
                    name=_OTHER_NAME if taken else _USUAL_NAME,
                )
            )
        except DuplicateKeyError:
            raise duplicates_of(collection, {}) from None
    return True


def has_client_index(collection: DriverCollection) -> bool:
    """Return whether an index is there that keeps a client from having two documents.

    Raises:
        NotPermitted, ConnectionProblem: the server does not say.
    """
    return client_index_name(collection) is not None


def client_index_name(collection: DriverCollection) -> str | None:
    """Return the name of an index that prevents two documents of one client, or None if the collection lacks one.

    Raises:
        NotPermitted, ConnectionProblem: the server does not say.
    """
    return next((str(index["name"]) for index in _indexes(collection) if _does(index)), None)


def drop_index(collection: DriverCollection, name: str) -> None:
    """Drop an index. One that is gone already is accepted: the reply to the first attempt may have been lost."""
    try:
        collection.drop_index(name)
    except OperationFailure as error:
        if error.code != _NO_SUCH_INDEX:
            raise


def _indexes(collection: DriverCollection) -> list[Any]:
    if describe(collection) is None:
        return []
    with reading(collection):
        return with_retry(lambda: list(collection.list_indexes()))


def _does(index: Any) -> bool:
    """Return whether an index keeps a client from having two documents."""
    return (
        dict(index["key"]) in ({"clientId": 1}, {"clientId": -1})
        and bool(index.get("unique"))
        and "partialFilterExpression" not in index
        and not index.get("sparse")
        and index.get("collation", {"locale": "simple"})["locale"] == "simple"
    )


def duplicates_of(
    collection: DriverCollection, among: Mapping[str, Any], *, advice: str | None = None
) -> DuplicateClientDocuments:
    """Name the first few clients with more than one document, in MongoDB's order of their ids.

    Args:
        collection: where to look.
        among: the query for the documents that count.
        advice: what to do about them; None: join them, as a migration side by side can.
    """
    group = {
        "$group": {
            "_id": "$clientId",
            "n": {"$sum": 1},
            "ids": {"$firstN": {"input": "$_id", "n": _SHOWN_IDS}},
        }
    }
    several = {"$match": {"n": {"$gt": 1}}}
    with reading(collection):
        shown = list(
            collection.aggregate(
                [
                    {"$match": among},
                    {"$sort": {"_id": 1}},
                    group,
                    several,
                    {"$sort": {"_id": 1}},
                    {"$limit": _SHOWN},
                ],
                collation=SIMPLE,
                allowDiskUse=True,
            )
        )
        counted = list(
            collection.aggregate(
                [{"$match": among}, group, several, {"$count": "n"}], collation=SIMPLE, allowDiskUse=True
            )
        )
    lines = [
        f"{display_id(client['_id'])} ({', '.join(display_id(each) for each in client['ids'])})"
        for client in shown
    ]
    count = counted[0]["n"] if counted else len(lines)
    if advice is None:
        return DuplicateClientDocuments(lines, count)
    return DuplicateClientDocuments(lines, count, advice)
