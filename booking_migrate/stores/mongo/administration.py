"""What is done to whole collections: options, creation, hashes, renames, fingerprints, our own indexes and commands.

A command continues in the server after the process that sent it was killed. It is known by its comment; every user may see
and end their own commands (manual, reference/operator/aggregation/currentOp, reference/command/killOp).

In place, old bookings and client documents are in one collection, so the unique index there counts for client documents only.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, DuplicateKeyError, OperationFailure, WriteConcernError

from booking_migrate.bson.format import display_id
from booking_migrate.errors import DuplicateClientDocuments, StillRunning
from booking_migrate.stores.cutover import comparable
from booking_migrate.stores.in_place import CLAIMED_BOOKINGS
from booking_migrate.stores.mongo.codes import DUPLICATE_KEY, UNAUTHORIZED
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import read, reading, server_text, write, writing
from booking_migrate.stores.mongo.raw import SIMPLE, stores_any
from booking_migrate.stores.mongo.replica_set import build_index
from booking_migrate.stores.mongo.retry import attempts, majority_written, with_retry

_COUNT: dict[str, Any] = {"_id": None, "documents": {"$sum": 1}}
_NEWEST: dict[str, Any] = {"id": {"$max": "$_id"}, "change": {"$max": "$updatedAt"}}


def run_durably(
    database: Database[Any], command: Mapping[str, Any], session: ClientSession | None = None
) -> Mapping[str, Any]:
    """Send a command that writes; return the server's answer, when a majority has what it did.

    Raises:
        PyMongoError: the server refuses it, or a majority has not acknowledged it in time, which the driver overlooks.
    """
    sent = {**command, "writeConcern": majority_written().document}
    answer: Mapping[str, Any] = database.command(sent, session=session)
    if problem := answer.get("writeConcernError"):
        raise WriteConcernError(problem.get("errmsg", ""), problem.get("code"), problem)
    return answer


def options_of(collection: DriverCollection) -> Mapping[str, Any]:
    """Return a collection's options as the server lists them; none if it does not exist."""
    options: Mapping[str, Any] = (describe(collection) or {}).get("options", {})
    return options


def identity(collection: DriverCollection) -> str | None:
    """Return what identifies a collection, whatever it is called; None if it does not exist."""
    listed = describe(collection)
    return None if listed is None else bytes(listed["info"]["uuid"]).hex()


def create(collection: DriverCollection, **options: Any) -> None:
    """Create a collection. One that is there already is accepted: it was made by an attempt whose answer got lost."""

    def make() -> None:
        with suppress(CollectionInvalid):
            collection.database.create_collection(collection.name, **options)

    write(collection, make)


def drop(collection: DriverCollection, *, only_if_empty: bool = True) -> bool:
    """Drop a collection, or only an empty one; return whether it was there and was dropped."""
    if describe(collection) is None:
        return False
    # The server lacks a conditional drop, so documents that come after the check are dropped, too.
    if only_if_empty and read(collection, lambda: stores_any(collection)):
        return False
    write(collection, collection.drop)
    return True


def create_like(collection: DriverCollection, model: DriverCollection) -> bool:
    """Create a collection with the default collation of another one that has any; return whether it was created."""
    collation = comparable("collation", options_of(model).get("collation"))
    if not collation or describe(collection) is not None:
        return False
    create(collection, collation=collation)
    return True


_NOT_UNIQUE = "it is unique, and several documents have the same value, such as client documents, which lack the fields of bookings"


def create_index(
    collection: DriverCollection, keys: Sequence[tuple[str, Any]], options: Mapping[str, Any]
) -> str | None:
    """Create an index; return the reason if the server refuses it. Without a collation of its own it compares bytes.

    Raises:
        ConnectionProblem, NoMajority: the server cannot be reached, or a majority of its members.
    """
    # Otherwise it would get the collection's collation.
    with writing(collection):
        try:
            with_retry(lambda: build_index(collection, list(keys), **{"collation": SIMPLE, **options}))
        except OperationFailure as error:
            is_duplicate = error.code == DUPLICATE_KEY
            return _NOT_UNIQUE if is_duplicate else server_text(error)
    return None


def has_same_hash(collection: DriverCollection, other: str) -> bool:
    """Return whether the server's hash of the documents of two collections is one (manual, reference/command/dbHash)."""
    names = [collection.name, other]
    hashes = read(collection, lambda: collection.database.command("dbHash", collections=names))
    digests: Mapping[str, str] = hashes["collections"]
    return digests[collection.name] == digests[other]


def rename(successor: DriverCollection, live: DriverCollection) -> None:
    """Replace a collection by another atomically; the replaced one is dropped (manual, reference/command/renameCollection).

    After a lost answer, whether it happened is asked first.
    """
    database = live.database
    name = identity(successor)
    with writing(successor):
        for attempt in attempts():
            with attempt:
                if attempt.num > 1 and identity(live) == name:
                    continue
                run_durably(
                    database.client.admin,
                    {
                        "renameCollection": f"{database.name}.{successor.name}",
                        "to": f"{database.name}.{live.name}",
                        "dropTarget": True,
                        "comment": comment_for(live),
                    },
                )


def collection_fingerprint(collection: DriverCollection, *, only_count: bool) -> dict[str, str | int]:
    """Return how many documents a collection has, and unless only that is asked for, its newest `_id` and `updatedAt`."""
    group = _COUNT if only_count else {**_COUNT, **_NEWEST}
    with reading(collection):
        found = next(iter(collection.aggregate([{"$group": group}])), {"documents": 0})
    result: dict[str, str | int] = {"documents": int(found["documents"])}
    if not only_count:
        result["newest _id"] = display_id(found.get("id"))
        result["newest updatedAt"] = display_id(found.get("change"))
    return result


_WAIT_SECONDS, _LOOK_SECONDS = 30.0, 0.1


def comment_for(collection: DriverCollection) -> str:
    """Return the comment of all commands that change a collection as a whole."""
    return f"booking-migrate {collection.full_name}"


def end_own_commands(collection: DriverCollection) -> None:
    """End what an earlier process has sent about a collection as a whole, and wait until it has ended.

    Raises:
        StillRunning: a command does not end in time.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while running := list(_running(collection)):
        if time.monotonic() > deadline:
            raise StillRunning(collection.name, str(running[0]["opid"]))
        for operation in running:
            _kill(collection, operation["opid"])
        time.sleep(_LOOK_SECONDS)


def _running(collection: DriverCollection) -> Iterator[Mapping[str, Any]]:
    admin = collection.database.client.get_database("admin", read_preference=ReadPreference.PRIMARY)
    stages: list[Mapping[str, Any]] = [
        {"$currentOp": {"allUsers": False, "idleCursors": False}},
        {"$match": {"command.comment": comment_for(collection)}},
        {"$project": {"opid": 1}},
    ]
    yield from read(collection, lambda: list(admin.aggregate(stages)))


def _kill(collection: DriverCollection, operation: Any) -> None:
    with reading(collection):
        try:
            collection.database.client.admin.command({"killOp": 1, "op": operation})
        except OperationFailure as error:
            # Then it is only waited for.
            if error.code != UNAUTHORIZED:
                raise


_DEFAULT_NAME = "clientId_1"
_OTHER_NAME = "clientId_1_unique"
_SHOWN = 5
_SHOWN_IDS = 3


def ensure_client_index(collection: DriverCollection) -> bool:
    """Create the index unless one that does the same exists; return whether it was created.

    Raises:
        DuplicateClientDocuments: clients have more than one document already.
    """
    if has_client_index(collection):
        return False
    # The usual name is what the application's own declaration of this index would choose, and then finds.
    taken = any(index["name"] == _DEFAULT_NAME for index in indexes_of(collection))
    with writing(collection):
        try:
            with_retry(
                lambda: build_index(
                    collection,
                    [("clientId", 1)],
                    unique=True,
                    collation=SIMPLE,
                    name=_OTHER_NAME if taken else _DEFAULT_NAME,
                )
            )
        except DuplicateKeyError:
            raise duplicates_of(collection, {}) from None
    return True


def has_client_index(collection: DriverCollection) -> bool:
    """Return whether an index is there that keeps a client from having two documents."""
    return client_index_name(collection) is not None


def client_index_name(collection: DriverCollection) -> str | None:
    """Return the name of an index that prevents two documents of one client, or None if the collection lacks one."""
    return next((str(index["name"]) for index in indexes_of(collection) if _does(index)), None)


def indexes_of(collection: DriverCollection) -> list[Mapping[str, Any]]:
    """Return the indexes of a collection as the server lists them; none if the collection does not exist."""
    if describe(collection) is None:
        return []
    return read(collection, lambda: list(collection.list_indexes()))


def _does(index: Mapping[str, Any]) -> bool:
    """Return whether an index keeps a client from having two documents."""
    is_whole = "partialFilterExpression" not in index and not index.get("sparse")
    return _is_on(index, "clientId") and bool(index.get("unique")) and is_whole


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

    sparse: bool = False
    """Whether documents without the field need not be in it."""

    def is_served_by(self, index: Mapping[str, Any]) -> bool:
        """Return whether an index does what this one does."""
        if not _is_on(index, self.field):
            return False
        if not self.unique:
            return "partialFilterExpression" not in index and (self.sparse or not index.get("sparse"))
        is_sufficient = index.get("partialFilterExpression") in _SUFFICIENT
        return bool(index.get("unique")) and not index.get("sparse") and is_sufficient

    def build(self, collection: DriverCollection) -> None:
        """Build it; any trouble ends it."""
        unique = {"unique": True, "partialFilterExpression": _IS_CLIENT_DOCUMENT} if self.unique else {}
        options = {**unique, **({"sparse": True} if self.sparse else {})}
        build_index(collection, [(self.field, 1)], name=self.name, collation=SIMPLE, **options)


_IS_CLIENT_DOCUMENT: Mapping[str, Any] = {"sessions": {"$type": "array"}}
"""A document whose `sessions` is not an array is rejected, and must not conflict with its client's document."""

_SUFFICIENT = (None, _IS_CLIENT_DOCUMENT, {"sessions": {"$exists": True}})
"""The filters of an index that keeps a client from having two client documents; None: it has no filter."""

CLIENT_DOCUMENTS_ONLY = OwnIndex("clientId_1_sessions", "clientId", unique=True)
EVERY_DOCUMENT = OwnIndex("clientId_1_every", "clientId")
"""By this, all documents of a client are found."""

CLAIMS = OwnIndex(CLAIMED_BOOKINGS, "sessions.legacyBookingId", sparse=True)
"""By this, the sessions of a booking are found, whatever client they belong to."""

HAS_CLAIM: Mapping[str, Any] = {CLAIMS.field: {"$exists": True}}
"""The client documents that hold a booking; any other is the application's own, and was not migrated."""

FOLLOWED = OwnIndex("booking_migrate_legacy_ids", "sessions.legacyBookingId")
"""Side by side, following finds the clients of a booking by this."""

WINDOW_CLIENTS = OwnIndex("booking_migrate_clients", "clientId")
"""By this, a reverse window finds all documents of a client, on each side."""

_ADVICE = "In place they are not joined: join them in the application, or migrate side by side with --merge-client-documents."


def has_claims(collection: DriverCollection) -> bool:
    """Return whether any session has a `legacyBookingId`; without an index, the server reads documents until one has."""
    return read(collection, lambda: collection.find_one(HAS_CLAIM, {"_id": 1})) is not None


def count_client_documents(collection: DriverCollection) -> int:
    """Return how many client documents a collection holds; the server reads all of it."""
    return read(collection, lambda: collection.count_documents(_IS_CLIENT_DOCUMENT))


def has_index(collection: DriverCollection, wanted: OwnIndex) -> bool:
    """Return whether an index of a collection does what this one does."""
    return any(wanted.is_served_by(index) for index in indexes_of(collection))


def make_index(collection: DriverCollection, wanted: OwnIndex) -> bool:
    """Make an index, unless one is there that does the same; return whether it was made.

    Raises:
        DuplicateClientDocuments: clients have more than one; the index was not made.
    """
    if has_index(collection, wanted):
        return False
    with writing(collection):
        try:
            with_retry(lambda: wanted.build(collection))
        except DuplicateKeyError:
            raise duplicates_of(collection, _IS_CLIENT_DOCUMENT, advice=_ADVICE) from None
    return True


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
        f"{display_id(client['_id'])} has those with _id {' and '.join(map(display_id, client['ids']))}"
        for client in shown
    ]
    count = counted[0]["n"] if counted else len(lines)
    if advice is None:
        return DuplicateClientDocuments(lines, count, collections=collection.name)
    return DuplicateClientDocuments(lines, count, advice, collection.name)
