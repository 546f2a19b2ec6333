"""Waiting for a majority of the replica set, and no longer than patience lasts.

A primary that has lost its majority while an arbiter keeps it elected still answers: reads are of the last state that a
majority had, and writes are done and never acknowledged. So before anything is proven or written, `await_majority` makes
sure that a majority has all that the primary has taken.
"""

import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from pymongo.errors import ExecutionTimeout

from booking_migrate.errors import NoMajority
from booking_migrate.stores.mongo import retry
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.servers import can_acknowledge, described, members_of

IndexKeys = Sequence[tuple[str, Any]]

_LOOK_SECONDS = 2.0
"""How often the members are looked at while a majority does not acknowledge."""


def await_majority(collection: DriverCollection) -> None:
    """Wait until a majority has everything that the primary has taken so far; a standalone server needs none.

    With too few members up, waiting is pointless; with enough of them, a secondary that lags behind may catch up.

    Raises:
        NoMajority: a majority does not have it in time.
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    deadline = time.monotonic() + retry.RETRY_TIMEOUT
    with reading(collection):
        asked = retry.with_retry(lambda: collection.database.command("hello"), waits=False)
        newest = asked.get("operationTime")
        if newest is None or asked.get("lastWrite", {}).get("majorityOpTime", {}).get("ts", newest) >= newest:
            return
        while not _has_majority_read(collection, newest):
            members = members_of(collection.database.client)
            if not can_acknowledge(members) or time.monotonic() > deadline:
                raise NoMajority(described(members))


def _has_majority_read(collection: DriverCollection, newest: Any) -> bool:
    """Return whether a read of what a majority has comes, within a while, to what the primary had taken by a time."""
    patience = min(_LOOK_SECONDS, retry.RETRY_TIMEOUT)
    read = {
        "find": collection.name,
        "filter": {"_id": {"$in": []}},
        "readConcern": {"level": "majority", "afterClusterTime": newest},
        "maxTimeMS": round(patience * 1000),
    }
    try:
        retry.with_retry(lambda: collection.database.command(read))
    except ExecutionTimeout:
        return False
    return True


def build_index(collection: DriverCollection, keys: IndexKeys, **options: Any) -> None:
    """Build an index, and stop waiting for it when a majority has been down for too long.

    Its commit waits for all members that vote (manual, core/index-creation). A build may take hours, and the server has no
    timeout for the waiting alone; the build continues once the members are back.

    Raises:
        NoMajority: a majority has been down for as long as patience lasts.
        PyMongoError: the server refuses it.
    """
    _watched(collection, lambda: collection.create_index(keys, **options))


def _watched(collection: DriverCollection, action: Callable[[], object]) -> None:
    """Run an action that waits for other members without a limit, and stop waiting when they have been down for too long."""
    answers: SimpleQueue[Exception | None] = SimpleQueue()

    def work() -> None:
        try:
            action()
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
