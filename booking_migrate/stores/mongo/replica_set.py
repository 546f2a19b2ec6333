"""What other members of the replica set have: waiting for a majority, for a limited time, and their lag.

A primary that has lost its majority while an arbiter keeps it elected still answers: reads are of the last state that a
majority had, and writes are done and never acknowledged. So before anything is proven or written, `await_majority` makes
sure that a majority has all that the primary has taken.
"""

import time
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from pymongo.errors import ExecutionTimeout, OperationFailure
from typing_extensions import override

from booking_migrate.errors import NoMajority
from booking_migrate.stores.mongo import retry
from booking_migrate.stores.mongo.codes import NOT_PERMITTED, Trouble
from booking_migrate.stores.mongo.connection import TIMES, DriverCollection
from booking_migrate.stores.mongo.failures import reading, server_text
from booking_migrate.stores.mongo.servers import can_acknowledge, described, members_of, reported
from booking_migrate.stores.ports import LagGauge
from booking_migrate.stores.waits import WAITS

_PRIMARY, _SECONDARY, _ARBITER = 1, 2, 7
"""The states of members (manual, reference/replica-states)."""

_LOOK_SECONDS = 2.0
"""How often the members are looked at while a majority does not acknowledge."""


def await_majority(collection: DriverCollection) -> None:
    """Wait until a majority has everything that the primary has taken so far; a standalone server needs none.

    With too few members up, waiting is pointless; with enough of them, a secondary that lags behind may catch up.

    Raises:
        NoMajority: a majority does not have it in time.
    """
    deadline = time.monotonic() + retry.RETRY_TIMEOUT
    with reading(collection):
        asked = retry.with_retry(lambda: collection.database.command("hello"), waits=False)
        newest = asked.get("operationTime")
        if newest is None or asked.get("lastWrite", {}).get("majorityOpTime", {}).get("ts", newest) >= newest:
            return
        with WAITS.during(Trouble.MAJORITY, retry.RETRY_TIMEOUT):
            while not _has_majority_read(collection, newest):
                members = members_of(collection.database.client)
                if not can_acknowledge(members) or time.monotonic() > deadline:
                    raise NoMajority(described(members))


def _has_majority_read(collection: DriverCollection, newest: Any) -> bool:
    """Return whether a read of what a majority has comes, within a while, to what the primary had taken by a time."""
    timeout = min(_LOOK_SECONDS, retry.RETRY_TIMEOUT)
    read = {
        "find": collection.name,
        "filter": {"_id": {"$in": []}},
        "readConcern": {"level": "majority", "afterClusterTime": newest},
        "maxTimeMS": round(timeout * 1000),
    }
    try:
        for attempt in retry.attempts(_is_not_own_limit):
            with attempt:
                collection.database.command(read)
    except ExecutionTimeout:
        return False
    return True


def _is_not_own_limit(error: Exception) -> bool:
    return retry.is_transient(error) and not isinstance(error, ExecutionTimeout)


def build_index(collection: DriverCollection, keys: Sequence[tuple[str, Any]], **options: Any) -> None:
    """Build an index, and stop waiting for it when a majority has been down for too long.

    Its commit waits for all members that vote (manual, core/index-creation). A build may take hours, and the server has no
    timeout for the waiting alone; the build continues once the members are back.

    Raises:
        NoMajority: a majority has been down until the time limit.
        PyMongoError: the server refuses it.
    """
    answers: SimpleQueue[Exception | None] = SimpleQueue()

    def work() -> None:
        try:
            collection.create_index(keys, **options)
        except Exception as error:  # noqa: BLE001 - raised again where the answer is taken
            answers.put(error)
        else:
            answers.put(None)

    # A daemon, so that the program can end while the server still waits.
    Thread(target=work, name="watched", daemon=True).start()
    deadline = time.monotonic() + retry.RETRY_TIMEOUT
    while True:
        try:
            error = answers.get(timeout=min(_LOOK_SECONDS, retry.RETRY_TIMEOUT))
        except Empty:
            members = members_of(collection.database.client)
            if can_acknowledge(members):
                deadline = time.monotonic() + retry.RETRY_TIMEOUT
            elif time.monotonic() > deadline:
                raise NoMajority(described(members)) from None
            continue
        if error is not None:
            raise error
        return


class MongoLag(LagGauge):
    """See `LagGauge` for the promises."""

    def __init__(self, anchor: DriverCollection) -> None:
        """Take any collection of the replica set."""
        self._anchor = anchor
        self._admin = anchor.database.client.get_database("admin")

    @override
    def seconds(self, *, waits: bool = True) -> float | str:
        with reading(self._anchor):
            try:
                status = retry.with_retry(
                    lambda: self._admin.command("replSetGetStatus", codec_options=TIMES), waits=waits
                )
            except OperationFailure as error:
                if retry.is_transient(error):
                    raise
                if error.code in NOT_PERMITTED:
                    return "this user may not run replSetGetStatus"
                return server_text(error)
        return lag_of(status["members"])


def lag_of(members: Sequence[Mapping[str, Any]]) -> float | str:
    """Return the lag in what ``replSetGetStatus`` says of the members, in seconds; or the members that keep it from being known.

    Args:
        members: each with its ``name``, its ``state`` and, if it holds data, the time of its newest entry, ``optimeDate``.
    """
    holding = [member for member in members if member["state"] != _ARBITER]
    primary = next((member for member in holding if member["state"] == _PRIMARY), None)
    if primary is None or any(member["state"] not in (_PRIMARY, _SECONDARY) for member in holding):
        return f"not all members are up: {described(map(reported, members))}"
    lags: list[float] = [(primary["optimeDate"] - member["optimeDate"]).total_seconds() for member in holding]
    return max(0.0, *lags)
