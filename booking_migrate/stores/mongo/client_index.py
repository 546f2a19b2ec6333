"""The indexes that the program makes: the unique one on `clientId` of a target, and those of a collection in place.

In place, old bookings and client documents stand side by side, so the unique index there counts for client documents only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.errors import DuplicateKeyError, OperationFailure

from booking_migrate.bson.format import display_id
from booking_migrate.errors import DuplicateClientDocuments
from booking_migrate.stores.in_place import CLAIMED_BOOKINGS
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import read, reading, writing
from booking_migrate.stores.mongo.raw import SIMPLE
from booking_migrate.stores.mongo.replica_set import build_index
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
    taken = any(index["name"] == _USUAL_NAME for index in indexes_of(collection))
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
    return next((str(index["name"]) for index in indexes_of(collection) if _does(index)), None)


def drop_index(collection: DriverCollection, name: str) -> None:
    """Drop an index. One that is gone already is accepted: the reply to the first attempt may have been lost."""
    try:
        collection.drop_index(name)
    except OperationFailure as error:
        if error.code != _NO_SUCH_INDEX:
            raise


def indexes_of(collection: DriverCollection) -> list[Mapping[str, Any]]:
    """Return the indexes of a collection as the server lists them; none if the collection does not exist.

    Raises:
        NotPermitted, ConnectionProblem: the server does not say.
    """
    if describe(collection) is None:
        return []
    return read(collection, lambda: list(collection.list_indexes()))


def _does(index: Mapping[str, Any]) -> bool:
    """Return whether an index keeps a client from having two documents."""
    return _is_on(index, "clientId") and bool(index.get("unique")) and _is_whole(index)


def _is_whole(index: Mapping[str, Any]) -> bool:
    return "partialFilterExpression" not in index and not index.get("sparse")


def _is_on(index: Mapping[str, Any], field: str) -> bool:
    return (
        dict(index["key"]) in ({field: 1}, {field: -1})
        and index.get("collation", {"locale": "simple"})["locale"] == "simple"
    )


@dataclass(frozen=True, slots=True)
class OwnIndex:
    """An index of a collection in place, and of one that takes rejected bookings along at a cut-over."""

    name: str
    field: str
    unique: bool = False
    """Whether it keeps a client from having two client documents; any other counts for all documents."""

    def is_served_by(self, index: Mapping[str, Any]) -> bool:
        """Return whether an index does what this one does."""
        if not _is_on(index, self.field):
            return False
        if not self.unique:
            return _is_whole(index)
        is_sufficient = index.get("partialFilterExpression") in _SUFFICIENT
        return bool(index.get("unique")) and not index.get("sparse") and is_sufficient

    def build(self, collection: DriverCollection) -> None:
        """Build it; any trouble ends it."""
        options = {"unique": True, "partialFilterExpression": _IS_CLIENT_DOCUMENT} if self.unique else {}
        build_index(collection, [(self.field, 1)], name=self.name, collation=SIMPLE, **options)


_IS_CLIENT_DOCUMENT: Mapping[str, Any] = {"sessions": {"$type": "array"}}
"""A document whose `sessions` is not an array is rejected, and must not conflict with its client's document."""

_SUFFICIENT = (None, _IS_CLIENT_DOCUMENT, {"sessions": {"$exists": True}})
"""The filters of an index that keeps a client from having two client documents; None: it has no filter."""

CLIENT_DOCUMENTS_ONLY = OwnIndex("clientId_1_sessions", "clientId", unique=True)
EVERY_DOCUMENT = OwnIndex("clientId_1_every", "clientId")
"""By this, all documents of a client are found."""

CLAIMS = OwnIndex(CLAIMED_BOOKINGS, "sessions.legacyBookingId")
"""By this, the sessions of a booking are found, whatever client they stand with."""

FOLLOWED = OwnIndex("booking_migrate_legacy_ids", "sessions.legacyBookingId")
"""Side by side, following finds the clients of a booking by this."""

_ADVICE = "In place they are not joined: join them in the application, or migrate side by side with --merge-client-documents."


def has_index(collection: DriverCollection, wanted: OwnIndex) -> bool:
    """Return whether an index of a collection does what this one does.

    Raises:
        NotPermitted, ConnectionProblem: the server does not say.
    """
    return any(wanted.is_served_by(index) for index in indexes_of(collection))


def make_index(collection: DriverCollection, wanted: OwnIndex) -> None:
    """Make an index of a collection in place.

    Raises:
        DuplicateClientDocuments: clients have more than one; the index was not made.
        NotPermitted, WriteFailed, ConnectionProblem: the server does not create it.
    """
    with writing(collection):
        try:
            with_retry(lambda: wanted.build(collection))
        except DuplicateKeyError:
            raise duplicates_of(collection, _IS_CLIENT_DOCUMENT, advice=_ADVICE) from None


def duplicates_of(
    collection: DriverCollection, among: Mapping[str, Any], *, advice: str | None = None
) -> DuplicateClientDocuments:
    """Name the first few clients with more than one document, in MongoDB's order of their ids.

    Args:
        collection: where to look.
        among: the query for the documents that count.
        advice: what to do about them; None: join them, as a migration side by side can.
    """
    ids = {"$firstN": {"input": "$_id", "n": _SHOWN_IDS}}
    several: list[Mapping[str, Any]] = [
        {"$group": {"_id": "$clientId", "n": {"$sum": 1}, "ids": ids}},
        {"$match": {"n": {"$gt": 1}}},
    ]
    first = [{"$sort": {"_id": 1}}, *several, {"$sort": {"_id": 1}}, {"$limit": _SHOWN}]

    def found(stages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return list(collection.aggregate([{"$match": among}, *stages], collation=SIMPLE, allowDiskUse=True))

    with reading(collection):
        shown, counted = found(first), found([*several, {"$count": "n"}])
    lines = [
        f"{display_id(client['_id'])} ({', '.join(display_id(each) for each in client['ids'])})"
        for client in shown
    ]
    count = counted[0]["n"] if counted else len(lines)
    if advice is None:
        return DuplicateClientDocuments(lines, count)
    return DuplicateClientDocuments(lines, count, advice)
