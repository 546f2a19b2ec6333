"""Writes in transactions, and reads in snapshots.

Source: MongoDB manual, core/transactions-in-applications and reference/read-concern-snapshot.
"""

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import pymongo
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from booking_migrate.service.errors import Busy

_SECONDS_TO_ABORT = 2.0
_SHORTEST = 0.001
"""Seconds: the driver takes 0 as no limit."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.4
"""Seconds; a pause is random up to a bound that doubles."""

_REFUSING = frozenset({121, 371})
"""DocumentValidationFailure, UserWritesBlocked: the two ways in which a cut-over refuses writes."""

_CONTENTION = frozenset({112, 11000})
"""WriteConflict, and DuplicateKey: a concurrent request created the same document, which the next attempt finds."""

_NO_SNAPSHOT = frozenset({239, 246})
"""SnapshotTooOld, and SnapshotUnavailable: the collection was renamed or dropped."""

Result = TypeVar("Result")


def in_transaction(
    client: MongoClient[Any], body: Callable[[ClientSession], Result], seconds: float
) -> Result:
    """Run a body of reads and writes in one transaction, and repeat it after a write conflict.

    Its reads see one snapshot; if a document that it writes has changed since, nothing is written and it is run again.

    Args:
        client: the client of the collections that the body uses.
        body: the reads and writes; it may be called several times.
        seconds: how long all attempts may take together.

    Raises:
        Busy: too many write conflicts, or the collection refuses writes during a cut-over.
    """

    def attempt(deadline: float) -> Result:
        try:
            return _transact(client, body, deadline)
        except OperationFailure as error:
            if _REFUSING & _codes(error):
                raise Busy("bookings cannot be changed at the moment", retry_after=5) from None
            raise

    return _persist(attempt, _CONTENTION, seconds)


def in_snapshot(client: MongoClient[Any], body: Callable[[ClientSession], Result], seconds: float) -> Result:
    """Run a body of reads in one snapshot of majority-committed data.

    Args:
        client: the client of the collections that the body reads.
        body: the reads; it may be called several times.
        seconds: how long all attempts may take together.

    Raises:
        Busy: the server had no snapshot of these collections within the time limit.
    """

    def attempt(deadline: float) -> Result:
        with _until(deadline), client.start_session(snapshot=True) as session:
            return body(session)

    return _persist(attempt, _NO_SNAPSHOT, seconds)


def _persist(attempt: Callable[[float], Result], passing: frozenset[int], seconds: float) -> Result:
    """Make attempts until one succeeds; errors with codes in ``passing`` are retried."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while time.monotonic() < deadline:
        try:
            return attempt(deadline)
        except PyMongoError as error:
            if not (error.has_error_label("TransientTransactionError") or passing & _codes(error)):
                raise
        time.sleep(random.uniform(0, pause))  # noqa: S311 - a pause need not be unpredictable
        pause = min(2 * pause, _LONGEST_PAUSE)
    raise Busy("too many conflicting requests at the moment")


def _transact(client: MongoClient[Any], body: Callable[[ClientSession], Result], deadline: float) -> Result:
    with client.start_session() as session:
        session.start_transaction(ReadConcern("snapshot"), WriteConcern("majority"))
        try:
            with _until(deadline):
                result = body(session)
        except BaseException:
            # With its own time limit: an open transaction blocks other bookings for a minute.
            with pymongo.timeout(_SECONDS_TO_ABORT):
                session.abort_transaction()
            raise
        with _until(deadline):
            _commit(session, deadline)
        return result


def _commit(session: ClientSession, deadline: float) -> None:
    """Commit, and repeat it while its result is unknown: a commit is idempotent."""
    while True:
        try:
            session.commit_transaction()
        except PyMongoError as error:
            if time.monotonic() > deadline or not error.has_error_label("UnknownTransactionCommitResult"):
                raise
            time.sleep(_FIRST_PAUSE)
        else:
            return


def _until(deadline: float) -> AbstractContextManager[None]:
    return pymongo.timeout(max(deadline - time.monotonic(), _SHORTEST))


def _codes(error: PyMongoError) -> frozenset[int | None]:
    """Return the server's codes in an error, including those of single writes."""
    if not isinstance(error, OperationFailure):
        return frozenset()
    problems = (error.details or {}).get("writeErrors", ())
    return frozenset({error.code, *(problem.get("code") for problem in problems)})
