"""Writes that stand or fall as one, and reads that are all of one moment.

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
"""Seconds: the driver takes 0 for no limit at all."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.4
"""Seconds; a pause is chosen by chance up to a bound that doubles."""

_REFUSING = frozenset({121, 371})
"""DocumentValidationFailure, UserWritesBlocked: the two ways in which a cut-over keeps writes out."""

_CONTENTION = frozenset({112, 11000})
"""WriteConflict, and DuplicateKey: somebody else made the same document in the same moment, and is found next time."""

_NO_SNAPSHOT = frozenset({239, 246})
"""SnapshotTooOld, and SnapshotUnavailable: the collection was renamed or dropped just now."""

Result = TypeVar("Result")


def in_transaction(
    client: MongoClient[Any], body: Callable[[ClientSession], Result], seconds: float
) -> Result:
    """Run a body of reads and writes in one transaction, again if somebody else's write came between.

    All its reads are of one moment; if what it writes has changed since, nothing is written and it is run again.

    Args:
        client: the client of the collections that the body uses.
        body: what is to be done; it may be called several times.
        seconds: how long all attempts may take together.

    Raises:
        Busy: others came between too often, or the collection refuses writes just now (a cut-over is going on).
    """

    def attempt(deadline: float) -> Result:
        try:
            return _transact(client, body, deadline)
        except OperationFailure as error:
            if _REFUSING & _codes(error):
                raise Busy("bookings cannot be changed just now", retry_after=5) from None
            raise

    return _persist(attempt, _CONTENTION, seconds)


def in_snapshot(client: MongoClient[Any], body: Callable[[ClientSession], Result], seconds: float) -> Result:
    """Run a body of reads that all see what a majority had in one and the same moment.

    Args:
        client: the client of the collections that the body reads.
        body: the reads; it may be called several times.
        seconds: how long all attempts may take together.

    Raises:
        Busy: there was no such moment for too long.
    """

    def attempt(deadline: float) -> Result:
        with _until(deadline), client.start_session(snapshot=True) as session:
            return body(session)

    return _persist(attempt, _NO_SNAPSHOT, seconds)


def _persist(attempt: Callable[[float], Result], passing: frozenset[int], seconds: float) -> Result:
    """Make attempts until one succeeds; codes of the server in ``passing`` are worth another one."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while time.monotonic() < deadline:
        try:
            return attempt(deadline)
        except PyMongoError as error:
            if not (error.has_error_label("TransientTransactionError") or passing & _codes(error)):
                raise
        time.sleep(random.uniform(0, pause))  # noqa: S311 - nothing secret about a pause
        pause = min(2 * pause, _LONGEST_PAUSE)
    raise Busy("too many others come between just now")


def _transact(client: MongoClient[Any], body: Callable[[ClientSession], Result], deadline: float) -> Result:
    with client.start_session() as session:
        session.start_transaction(ReadConcern("snapshot"), WriteConcern("majority"))
        try:
            with _until(deadline):
                result = body(session)
        except BaseException:
            # In a time of its own: a transaction that is left open keeps others from booking for a minute.
            with pymongo.timeout(_SECONDS_TO_ABORT):
                session.abort_transaction()
            raise
        with _until(deadline):
            _commit(session, deadline)
        return result


def _commit(session: ClientSession, deadline: float) -> None:
    """Commit; while nobody knows whether it took, ask again: a commit is only ever done once."""
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
    """The server's codes in an error, those of single writes too."""
    if not isinstance(error, OperationFailure):
        return frozenset()
    problems = (error.details or {}).get("writeErrors", ())
    return frozenset({error.code, *(problem.get("code") for problem in problems)})
