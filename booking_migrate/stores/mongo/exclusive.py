"""Commands that need a collection for themselves, each within a time limit.

Such a command waits for every transaction that has used the collection, and everyone else waits behind it: without a limit,
one open transaction would hold up the application. Building an index is not among them: it needs the collection only at its
beginning and its end, and a limit would count for all of it (manual, core/index-creation).
"""

from collections.abc import Collection, Mapping, Sequence
from time import monotonic
from typing import Any

from pymongo import ReadPreference
from pymongo.database import Database
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError
from pymongo.write_concern import WriteConcern

from booking_migrate.errors import FenceBlocked
from booking_migrate.stores.mongo.administration import comment_for, indexes_of
from booking_migrate.stores.mongo.codes import INDEX_NOT_FOUND, LOCK_LIMIT
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading, writing
from booking_migrate.stores.mongo.retry import is_transient, majority_written, settled, with_retry

_UNASKED_SECONDS = 0.5
"""For how long everyone may wait behind a command for which the user sets no limit; it is tried again."""

_SHOWN_BLOCKERS = 3
_OPEN = "transaction.timeOpenMicros"


def within(
    collection: DriverCollection,
    command: Mapping[str, Any],
    seconds: float,
    *,
    is_of_admin: bool = False,
    concern: WriteConcern | None = None,
) -> Mapping[str, Any]:
    """Send a command once; return its answer.

    Args:
        collection: what it needs.
        command: the command.
        seconds: how long it may wait.
        is_of_admin: whether it goes to the database `admin` instead of the collection's.
        concern: the write concern; None: a majority, within the same limit.

    Raises:
        FenceBlocked: it did not get the collection in time. Whether it was carried out is to be asked.
    """
    database = collection.database.client.admin if is_of_admin else collection.database
    limited = {
        **command,
        "maxTimeMS": max(1, round(seconds * 1000)),
        "writeConcern": (concern or majority_written()).document,
        "comment": comment_for(collection),
    }
    began = monotonic()
    with writing(collection):
        try:
            answer = database.command(limited)
        except PyMongoError as error:
            if isinstance(error, OperationFailure) and error.code in LOCK_LIMIT:
                raise FenceBlocked(collection.name, _blockers(collection, began)) from None
            if is_transient(error):
                # Whether it was carried out is asked before the next attempt.
                raise FenceBlocked(collection.name, "an election or a lost connection") from None
            raise
    if answer.get("writeConcernError"):
        raise FenceBlocked(collection.name, "members that do not acknowledge it")
    return answer


def rename_over(successor: DriverCollection, live: DriverCollection, seconds: float) -> Mapping[str, Any]:
    """Replace a live collection by another in one atomic step, which drops it; return the server's answer.

    Raises:
        FenceBlocked: as `within`.
    """
    command = {"renameCollection": successor.full_name, "to": live.full_name, "dropTarget": True}
    return within(live, command, seconds, is_of_admin=True)


def validate(collection: DriverCollection, validation: Mapping[str, Any], *, is_limited: bool = True) -> None:
    """Set a collection's validator; when it returns, that is durable. It is tried again while others hold the collection.

    Args:
        collection: the collection.
        validation: its validator, level and action; or another option.
        is_limited: whether others wait behind each try for half a second at most. Not where the collection refuses writes
            until it is done.

    Raises:
        FenceBlocked: others have held it during all attempts.
    """
    _repeated(collection, {"collMod": collection.name, **validation}, is_limited=is_limited)


def drop_index(collection: DriverCollection, name: str) -> None:
    """Drop an index, as `validate`. One that is gone already is accepted: the reply to the first attempt may have been lost.

    Raises:
        FenceBlocked: as `validate`.
    """
    _repeated(collection, {"dropIndexes": collection.name, "index": name}, done=frozenset({INDEX_NOT_FOUND}))


def drop_indexes(collection: DriverCollection, names: Sequence[str]) -> bool:
    """Drop those indexes that exist, as `drop_index`; return whether any did."""
    there = {index["name"] for index in indexes_of(collection)}.intersection(names)
    for name in names:
        if name in there:
            drop_index(collection, name)
    return bool(there)


def _repeated(
    collection: DriverCollection,
    command: Mapping[str, Any],
    *,
    is_limited: bool = True,
    done: Collection[int] = (),
) -> None:
    """Send a command until it is carried out, or fails with a code that says that it was, and is durable."""
    limit = {"maxTimeMS": round(_UNASKED_SECONDS * 1000)} if is_limited else {}
    # Without a majority: the limit is for those who wait behind the command, not for members that lag.
    sent = {**command, **limit, "writeConcern": {"w": 1}}
    database = collection.database
    began = monotonic()

    def attempt() -> None:
        nonlocal began
        began = monotonic()
        primary = _election(database)
        try:
            database.command(sent)
        except OperationFailure as error:
            if error.code not in done:
                raise
        settled(collection)
        if _election(database) != primary:
            raise AutoReconnect("a new primary may not have what its predecessor has done")

    with writing(collection):
        try:
            with_retry(attempt)
        except OperationFailure as error:
            if is_limited and error.code in LOCK_LIMIT:
                raise FenceBlocked(collection.name, _blockers(collection, began)) from None
            raise


def _election(database: Database[Any]) -> Any:
    """Return what identifies the primary since it was elected; None of a server that is not a member of a set, and of `mongos`."""
    return database.command("hello").get("electionId")


def _blockers(collection: DriverCollection, began: float) -> str:
    """Return what runs on a collection or holds a transaction since before a command began that has waited for it, for people."""
    # What came later does not hold the collection: it waited behind that command.
    namespace = collection.full_name
    try:
        with reading(collection):
            running = list(
                collection.database.client.get_database(
                    "admin", read_preference=ReadPreference.PRIMARY
                ).aggregate(
                    [
                        {"$currentOp": {"idleSessions": True, "allUsers": True}},
                        {"$match": {"$or": [{"ns": namespace}, {_OPEN: {"$exists": True}}]}},
                    ]
                )
            )
    except Exception:  # noqa: BLE001 - the user may not see the operations of others; the message names the limit anyway
        return "an open transaction, or an operation that takes long"
    seconds = monotonic() - began
    named = [_described(operation) for operation in running if _open_seconds(operation) >= seconds]
    return "; ".join(named[:_SHOWN_BLOCKERS]) or "an operation that has ended since"


def _described(operation: Mapping[str, Any]) -> str:
    who = operation.get("appName") or operation.get("client") or "an unnamed client"
    what = "a transaction" if _is_transaction(operation) else str(operation.get("op", "an operation"))
    return f"{what} of {who}, open for {_open_seconds(operation):.1f} s"


def _open_seconds(operation: Mapping[str, Any]) -> float:
    """Return for how long an operation has run, or its transaction has been open."""
    running: int = operation.get("microsecs_running", 0)
    return (operation["transaction"]["timeOpenMicros"] if _is_transaction(operation) else running) / 1_000_000


def _is_transaction(operation: Mapping[str, Any]) -> bool:
    # A single write that the driver may repeat has a number of this kind, too, but nothing that stays open.
    return "timeOpenMicros" in operation.get("transaction", {})
