"""One unit of work as a transaction, repeated while what keeps it from succeeding is passing.

Source: MongoDB manual, core/transactions-in-applications: a transaction with the label TransientTransactionError can be
repeated as a whole, a commit with the label UnknownTransactionCommitResult can be sent again.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from booking_migrate.errors import Contended, ServerUnreachable
from booking_migrate.stores.mongo import retry
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import is_on
from booking_migrate.stores.mongo.retry import DUPLICATE_KEY

_TRANSIENT = "TransientTransactionError"
_UNKNOWN_COMMIT = "UnknownTransactionCommitResult"
_CONTENTION = frozenset({24, 112})
"""LockTimeout and WriteConflict."""

_INTERRUPTED = 11601
_PAUSE = 0.2

Result = TypeVar("Result")


def transact(
    session: ClientSession, collection: DriverCollection, work: Callable[[ClientSession], Result]
) -> Result:
    """Run a unit of work in a transaction with snapshot reads and majority writes.

    Args:
        session: where it runs; one transaction at a time.
        collection: a collection that it is about.
        work: reads and writes with the session; it may be called more than once.

    Raises:
        Contended: another client wrote to the same documents; nothing was done.
        PyMongoError: anything else, or what should have been passing has not passed.
    """
    deadline = time.monotonic() + retry.RETRY_TIMEOUT
    while True:
        try:
            return _once(session, work, deadline)
        except (PyMongoError, ServerUnreachable) as error:
            if _is_contention(error):
                raise Contended(collection.name) from None
            if not _is_passing(error) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)


def _once(session: ClientSession, work: Callable[[ClientSession], Result], deadline: float) -> Result:
    session.start_transaction(
        read_concern=ReadConcern("snapshot"),
        write_concern=retry.majority_written(),
        read_preference=ReadPreference.PRIMARY,
    )
    try:
        result = work(session)
    except BaseException:
        session.abort_transaction()
        raise
    while True:
        try:
            session.commit_transaction()
        except PyMongoError as error:
            is_unknown = error.has_error_label(_UNKNOWN_COMMIT) or _is_interrupted(error)
            if not is_unknown or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return result


def _is_passing(error: Exception) -> bool:
    if isinstance(error, ServerUnreachable) or _is_interrupted(error):
        return True
    return isinstance(error, PyMongoError) and error.has_error_label(_TRANSIENT)


def _is_interrupted(error: Exception) -> bool:
    """Return whether the operation or its session was killed; the transaction is aborted then, or was committed."""
    return isinstance(error, OperationFailure) and error.code == _INTERRUPTED


def _is_contention(error: Exception) -> bool:
    """Return whether other processes write to the same clients.

    A duplicate in the index on `clientId` is a client document that the application has just made. In any other unique
    index it will not pass by itself.
    """
    if not isinstance(error, OperationFailure):
        return False
    details = error.details or {}
    problems = [{**details, "code": error.code}, *details.get("writeErrors", ())]
    return any(
        problem.get("code") in _CONTENTION
        or (problem.get("code") == DUPLICATE_KEY and is_on(problem, "clientId"))
        for problem in problems
    )
