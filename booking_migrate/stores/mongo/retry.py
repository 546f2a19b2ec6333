"""Trying again what failed for a passing reason: an election, a lost connection.

The driver tries a write once more by itself, and only some of them. Here it is tried for as long as an election may take,
with growing pauses (the package stamina). A write whose outcome is not known is never simply sent again: its author asks
`settled` first and reads back what is there.
"""

from collections.abc import Iterator

import stamina
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure, WriteConcernError
from stamina.instrumentation import set_on_retry_hooks

from booking_migrate.stores.mongo.connection import DriverCollection

PATIENCE = 60.0
"""For how many seconds something is tried again; an election takes about twelve (manual: core/replica-set-elections)."""

_TRANSIENT_CODES = frozenset({6, 7, 64, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})
"""The codes for which drivers retry (specification of retryable writes), and 64: a majority has not said so in time."""

# By default each retry is logged to standard error, which belongs to the program's own messages.
set_on_retry_hooks(())


def is_transient(error: Exception) -> bool:
    """Whether an error of the driver may go away by itself."""
    if isinstance(error, ConnectionFailure):
        return True
    if isinstance(error, BulkWriteError):
        # Documents that were refused are no matter of waiting, whatever else went wrong.
        problems = error.details.get("writeConcernErrors", [])
        return not error.details.get("writeErrors") and any(
            problem.get("code") in _TRANSIENT_CODES for problem in problems
        )
    if isinstance(error, WriteConcernError | OperationFailure):
        return error.code in _TRANSIENT_CODES
    return False


def attempts() -> Iterator[stamina.Attempt]:
    """Attempts at one thing, each to be entered with ``with``; the first that succeeds is the last."""
    return iter(
        stamina.retry_context(
            on=is_transient, attempts=None, timeout=PATIENCE, wait_initial=0.1, wait_max=3.0, wait_jitter=0.2
        )
    )


def settled(collection: DriverCollection) -> None:
    """Wait until everything that the primary has taken so far is durable, so that a majority read shows it.

    A write that changes nothing waits for a majority of the newest entry of the primary's oplog. If there is another
    primary by now, the read behind it shows what has survived.
    """
    collection.update_one({"_id": {"$in": []}}, {"$set": {"settled": True}})
