"""Writes that stand or fall as one (MongoDB manual: core/transactions-in-applications)."""

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from booking_migrate.errors import Busy

_ATTEMPTS = 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.4
"""Seconds; a pause is chosen by chance up to a bound that doubles."""

_DOCUMENT_VALIDATION_FAILURE = 121
_CONTENTION = frozenset({112, 11000})
"""WriteConflict, and DuplicateKey: somebody else made the same document in the same moment, and is found next time."""

Result = TypeVar("Result")


def in_transaction(client: MongoClient[Any], body: Callable[[ClientSession], Result]) -> Result:
    """Run a body of reads and writes in one transaction, again if somebody else's write came between.

    All its reads are of one moment; if what it writes has changed since, nothing is written and it is run again.

    Raises:
        Busy: others came between too often, or the collection refuses writes just now (a cut-over is going on).
    """
    pause = _FIRST_PAUSE
    for _ in range(_ATTEMPTS):
        try:
            return _attempt(client, body)
        except PyMongoError as error:
            if _DOCUMENT_VALIDATION_FAILURE in _codes(error):
                raise Busy("bookings cannot be changed just now", retry_after=5) from None
            if not (error.has_error_label("TransientTransactionError") or _CONTENTION & _codes(error)):
                raise
        time.sleep(random.uniform(0, pause))  # noqa: S311 - nothing secret about a pause
        pause = min(2 * pause, _LONGEST_PAUSE)
    raise Busy("too many others book here just now")


def _attempt(client: MongoClient[Any], body: Callable[[ClientSession], Result]) -> Result:
    with client.start_session() as session:
        session.start_transaction(ReadConcern("snapshot"), WriteConcern("majority"))
        try:
            result = body(session)
        except BaseException:
            session.abort_transaction()
            raise
        _commit(session)
        return result


def _commit(session: ClientSession) -> None:
    """Commit; while nobody knows whether it took, ask again: a commit is only ever done once."""
    for remaining in reversed(range(_ATTEMPTS)):
        try:
            session.commit_transaction()
        except PyMongoError as error:
            if not remaining or not error.has_error_label("UnknownTransactionCommitResult"):
                raise
            time.sleep(_FIRST_PAUSE)
        else:
            return


def _codes(error: PyMongoError) -> frozenset[int | None]:
    """The server's codes in an error, those of single writes too."""
    if not isinstance(error, OperationFailure):
        return frozenset()
    problems = (error.details or {}).get("writeErrors", ())
    return frozenset({error.code, *(problem.get("code") for problem in problems)})
