"""The parts of a cut-over that hold up the application: the fence, the guard and the swap, each within a time limit."""

from collections.abc import Mapping
from typing import Any

from bson import json_util
from bson.timestamp import Timestamp
from pymongo import ReadPreference
from pymongo.errors import OperationFailure, PyMongoError

from booking_migrate.errors import FenceBlocked
from booking_migrate.stores.destination import is_fenced
from booking_migrate.stores.mongo.administration import (
    NO_VALIDATION,
    comment_for,
    options_of,
    validate,
    validation_of,
)
from booking_migrate.stores.mongo.codes import LOCK_LIMIT
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import reading, writing
from booking_migrate.stores.mongo.fence import FENCE
from booking_migrate.stores.mongo.retry import is_transient, majority_written

GUARD_FIELD = "booking_migrate_guard"
_SAID = "old bookings are refused after a cut-over"
"""The text of the server's answer to a write that the guard refuses."""

_SHOWN_BLOCKERS = 3


class LiveSwap:
    """Fence and swap of one source and target.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it (any method).
    """

    def __init__(self, source: DriverCollection, target: DriverCollection) -> None:
        """Take both collections, of one database."""
        self._source = source
        self._target = target

    def raise_fence(self, seconds: float) -> Timestamp:
        """Make the source refuse inserts and updates; return the cluster time from which on it does.

        The command waits for transactions that use the source, and every write waits behind it: hence the limit.

        Raises:
            FenceBlocked: it did not get the collection in time. Whether the fence is raised has to be checked.
        """
        command = {"collMod": self._source.name, **NO_VALIDATION, "validator": FENCE}
        answer = self._within(self._source, command, seconds)
        fenced: Timestamp = answer["operationTime"]
        return fenced

    def is_fenced(self) -> bool:
        """Return whether the source refuses inserts and updates."""
        return is_fenced(options_of(self._source))

    def swap(self, seconds: float) -> Timestamp:
        """Rename the target to the source's name in one atomic step, which drops the source; return its cluster time.

        Raises:
            FenceBlocked: it did not get the collections in time. Whether it happened is to be asked.
        """
        database = self._source.database
        command = {
            "renameCollection": f"{database.name}.{self._target.name}",
            "to": f"{database.name}.{self._source.name}",
            "dropTarget": True,
        }
        answer = self._within(database.client.admin.get_collection(self._source.name), command, seconds)
        swapped: Timestamp = answer["operationTime"]
        return swapped

    def _within(
        self, collection: DriverCollection, command: Mapping[str, Any], seconds: float
    ) -> Mapping[str, Any]:
        limited = {
            **command,
            "maxTimeMS": max(1, round(seconds * 1000)),
            "writeConcern": majority_written().document,
            "comment": comment_for(self._source),
        }
        with writing(self._source):
            try:
                answer = collection.database.command(limited)
            except PyMongoError as error:
                if isinstance(error, OperationFailure) and error.code in LOCK_LIMIT:
                    raise FenceBlocked(self._source.name, self._blockers()) from None
                if is_transient(error):
                    # Whether it was carried out is asked before the next attempt.
                    raise FenceBlocked(self._source.name, "an election or a lost connection") from None
                raise
        if answer.get("writeConcernError"):
            raise FenceBlocked(self._source.name, "members that do not acknowledge it")
        return answer

    def _blockers(self) -> str:
        """Return what runs on the source or holds a transaction, for people."""
        namespace = self._source.full_name
        try:
            with reading(self._source):
                running = list(
                    self._source.database.client.get_database(
                        "admin", read_preference=ReadPreference.PRIMARY
                    ).aggregate(
                        [
                            {"$currentOp": {"idleSessions": True, "allUsers": True}},
                            {"$match": {"$or": [{"ns": namespace}, {"transaction": {"$exists": True}}]}},
                            {"$limit": _SHOWN_BLOCKERS},
                        ]
                    )
                )
        except Exception:  # noqa: BLE001 - the user may not see the operations of others; the message names the limit anyway
            return "an open transaction, or an operation that takes long"
        named = [_described(operation) for operation in running]
        return "; ".join(named) or "an operation that has ended since"


def guard(collection: DriverCollection, *, is_lenient: bool) -> None:
    """Let a collection refuse documents without an array `sessions`, beside its own validator.

    Args:
        collection: the collection.
        is_lenient: whether documents that are in it already may still be updated.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it.
    """
    options = (describe(collection) or {}).get("options", {})
    if is_guarded(options):
        return
    validate(collection, _guarded(validation_of(options), is_lenient=is_lenient))


def set_own_validation(collection: DriverCollection, validation: Mapping[str, Any]) -> None:
    """Set a validator on a collection beside the guard, if the guard is there; one of its own stays. May be repeated.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it.
    """
    options = (describe(collection) or {}).get("options", {})
    if unguarded(options).get("validator"):
        return
    if is_guarded(options):
        # In one step: in between, old bookings would be accepted.
        is_lenient = options.get("validationLevel") == "moderate"
        validate(collection, _guarded(validation, is_lenient=is_lenient))
    else:
        validate(collection, {**NO_VALIDATION, **validation})


def _guarded(validation: Mapping[str, Any], *, is_lenient: bool) -> Mapping[str, Any]:
    """Return a validation with the guard beside it."""
    own = {**NO_VALIDATION, **validation}
    level = {"validationLevel": "moderate"} if is_lenient else {}
    if own["validator"] and own["validationAction"] == "error":
        return {**own, **level, "validator": {"$and": [own["validator"], _guard(own, {})]}}
    return {**NO_VALIDATION, **level, "validator": _guard(own, own["validator"])}


def _guard(own: Mapping[str, Any], idle: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a condition that client documents meet and bookings do not.

    Its second half is met by no document: it serves to recognize the guard, and keeps what `unguard` needs.

    Args:
        own: the collection's own validation.
        idle: its own condition if that refuses nothing, and so must not be enforced beside the guard either.
    """
    kept = [_SAID, own["validationLevel"], own["validationAction"]]
    never = [{GUARD_FIELD: {"$in": kept}}, {GUARD_FIELD: {"$exists": False}}]
    return {"$or": [{"sessions": {"$type": "array"}}, {"$and": [*never, idle]}]}


def unguard(collection: DriverCollection) -> None:
    """Take the guard's validator off; the collection's own one stays, with its level and action.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it.
    """
    options = (describe(collection) or {}).get("options", {})
    if is_guarded(options):
        validate(collection, validation_of(unguarded(options)))


def unguarded(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a collection's options as they are without the guard."""
    if not is_guarded(options):
        return options
    own, condition = options["validator"].get("$and") or ({}, options["validator"])
    mark, _, idle = condition["$or"][1]["$and"]
    _, level, action = mark[GUARD_FIELD]["$in"]
    return {**options, "validator": own or idle, "validationLevel": level, "validationAction": action}


def is_guarded(options: Mapping[str, Any]) -> bool:
    """Return whether a collection of these options has the guard's validator."""
    return GUARD_FIELD in json_util.dumps(options.get("validator", {}))


def _described(operation: Mapping[str, Any]) -> str:
    seconds = operation.get(
        "secs_running", operation.get("transaction", {}).get("timeOpenMicros", 0) // 1_000_000
    )
    who = operation.get("appName") or operation.get("client") or "an unnamed client"
    what = "a transaction" if "transaction" in operation else str(operation.get("op", "an operation"))
    return f"{what} of {who}, open for {seconds} s"
