"""Trying again what failed for a passing reason: an election, a lost connection.

The driver tries a write once more by itself, and only some of them. Here it is tried for as long as an election may take,
with growing pauses (the package stamina). A write whose outcome is not known is never simply sent again: its author asks
`settled` first and reads back what is there.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import stamina
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    OperationFailure,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.write_concern import WriteConcern
from stamina.instrumentation import set_on_retry_hooks

T = TypeVar("T")

RETRY_TIMEOUT = 60.0
"""For how many seconds something is tried again; an election takes about twelve (manual: core/replica-set-elections)."""

LONGEST_PAUSE = 3.0
"""How many seconds may pass between two attempts; the first pauses are shorter."""

_ACKNOWLEDGED_SECONDS = 10.0
"""How long one write waits for a majority before it counts as failed for the moment."""

NOT_ACKNOWLEDGED = 64
"""The server's code for a write that a majority has not acknowledged in time."""

DUPLICATE_KEY = 11000
"""The server's code for a document that a unique index refuses."""

_TRANSIENT_CODES = frozenset({6, 7, 43, 64, 89, 91, 189, 237, 262, 9001, 10107, 11600, 11602, 13435, 13436})
"""The codes for which drivers retry (specification of retryable writes), and three more.

64: a majority has not acknowledged in time; 43 and 237: the server has closed the cursor.
"""

# By default each retry is logged to standard error, which belongs to the program's own messages.
set_on_retry_hooks(())


def majority_written() -> WriteConcern:
    """Return the write concern of everything that has to last: a majority has it, or the write fails and is tried again."""
    return WriteConcern("majority", wtimeout=round(min(RETRY_TIMEOUT, _ACKNOWLEDGED_SECONDS) * 1000))


def is_transient(error: Exception) -> bool:
    """Return whether an error of the driver may go away by itself."""
    if isinstance(error, ConnectionFailure):
        return True
    if isinstance(error, BulkWriteError):
        # Waiting does not help documents that were refused, whatever else went wrong; but a document that an earlier
        # attempt wrote, and no majority acknowledged, is refused as a duplicate.
        problems = error.details.get("writeConcernErrors", [])
        refused = error.details.get("writeErrors", [])
        return all(each.get("code") == DUPLICATE_KEY for each in refused) and any(
            problem.get("code") in _TRANSIENT_CODES for problem in problems
        )
    if isinstance(error, WriteConcernError | OperationFailure):
        return error.code in _TRANSIENT_CODES
    return False


def attempts(retried: Callable[[Exception], bool] = is_transient) -> Iterator[stamina.Attempt]:
    """Return attempts at one action, each to be entered with ``with``; the first that succeeds is the last."""
    return iter(
        stamina.retry_context(
            on=retried,
            attempts=None,
            timeout=RETRY_TIMEOUT,
            wait_initial=0.1,
            wait_max=LONGEST_PAUSE,
            wait_jitter=0.2,
        )
    )


def with_retry(action: Callable[[], T], *, waits: bool = True) -> T:
    """Return what an action comes to that may be done again, once it succeeds.

    Args:
        action: a read, or anything else that does no harm when it is done twice.
        waits: whether to wait for a server to be found. Not at the first contact: there may be none of that name.
    """
    retried = is_transient if waits else _is_trouble_with_a_server
    for attempt in attempts(retried):
        with attempt:
            result = action()
    return result


def _is_trouble_with_a_server(error: Exception) -> bool:
    return is_transient(error) and not isinstance(error, ServerSelectionTimeoutError)


def settled(collection: Collection[Any]) -> None:
    """Wait until everything that the primary has taken so far is durable, so that a majority read shows it.

    A write that changes nothing waits for a majority of the newest entry of the primary's oplog. If there is another
    primary by now, the read behind it shows what has survived.
    """
    collection.update_one({"_id": {"$in": []}}, {"$set": {"settled": True}})
