"""Trying again what failed for a passing reason: an election, a lost connection.

The driver repeats some writes, and once only. Here it is tried for as long as an election may take,
with growing pauses (the package stamina). A write whose outcome is not known is never simply sent again: its author asks
`settled` first and reads back what is there.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import stamina
from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern
from stamina.instrumentation import set_on_retry_hooks

from booking_migrate.events import Retried
from booking_migrate.stores.mongo.codes import (
    DUPLICATE_KEY,
    PASSING_LABELS,
    TRANSIENT_TRANSACTION,
    UNKNOWN_COMMIT,
    Trouble,
)
from booking_migrate.stores.mongo.codes import PASSING as _PASSING
from booking_migrate.stores.waits import WAITS, Wait

T = TypeVar("T")

RETRY_TIMEOUT = 60.0
"""For how many seconds something is tried again; an election takes about twelve (manual: core/replica-set-elections)."""

LONGEST_PAUSE = 3.0
"""How many seconds may pass between two attempts; the first pauses are shorter."""

_ACKNOWLEDGED_SECONDS = 10.0
"""How long one write waits for a majority before it counts as failed for the moment."""

# By default each retry is logged to standard error, which belongs to the program's own messages.
set_on_retry_hooks(())


def majority_written() -> WriteConcern:
    """Return the write concern of everything that has to last: a majority has it, or the write fails and is tried again."""
    return WriteConcern("majority", wtimeout=round(min(RETRY_TIMEOUT, _ACKNOWLEDGED_SECONDS) * 1000))


def trouble_of(error: Exception) -> Trouble | None:
    """Return what a passing error of the driver is about; None for any other error."""
    if isinstance(error, BulkWriteError):
        return _trouble_of_writes(error)
    if isinstance(error, OperationFailure):
        return _PASSING.get(error.code or 0) or _labelled(error)
    if isinstance(error, ServerSelectionTimeoutError | NotPrimaryError):
        return Trouble.PRIMARY
    return Trouble.SERVER if isinstance(error, ConnectionFailure) else None


def is_transient(error: Exception) -> bool:
    """Return whether an error of the driver is a passing one."""
    return trouble_of(error) is not None


def _trouble_of_writes(error: BulkWriteError) -> Trouble | None:
    """Return what keeps some of several writes from being done for the moment.

    Waiting does not help documents that were refused, whatever else went wrong; but a document that an earlier attempt
    wrote, and no majority acknowledged, is refused as a duplicate.
    """
    refused = [each.get("code") for each in error.details.get("writeErrors") or ()]
    if not all(code == DUPLICATE_KEY or code in _PASSING for code in refused):
        return None
    problems = [each.get("code") for each in error.details.get("writeConcernErrors") or ()]
    return next((_PASSING[code] for code in (*problems, *refused) if code in _PASSING), None)


def _labelled(error: PyMongoError) -> Trouble | None:
    return next((about for label, about in PASSING_LABELS.items() if error.has_error_label(label)), None)


def attempts(retried: Callable[[Exception], bool] = is_transient) -> Iterator[stamina.Attempt]:
    """Yield attempts at one action, each to be entered with ``with``; the first that succeeds is the last.

    From the first failure on, what is waited for is entered in `WAITS`.
    """
    wait: Wait | None = None
    failures = 0

    def is_retried(error: Exception) -> bool:
        nonlocal wait, failures
        if not retried(error):
            return False
        failures += 1
        WAITS.note(Retried(brief(error), failures))
        if wait is None:
            wait = WAITS.begin(trouble_of(error) or Trouble.SERVER, RETRY_TIMEOUT)
        return True

    try:
        yield from stamina.retry_context(
            on=is_retried,
            attempts=None,
            timeout=RETRY_TIMEOUT,
            wait_initial=0.1,
            wait_max=LONGEST_PAUSE,
            wait_jitter=0.2,
        )
    finally:
        if wait is not None:
            WAITS.end(wait)


def brief(error: Exception) -> str:
    """Return the kind of an error and the server's name for it; nothing else, which might hold content."""
    name = (error.details or {}).get("codeName") if isinstance(error, OperationFailure) else None
    code = getattr(error, "code", None)
    named = name or (f"code {code}" if code else "")
    return f"{type(error).__name__} ({named})" if named else type(error).__name__


def with_retry(action: Callable[[], T], *, waits: bool = True) -> T:
    """Return the result of an action that may be repeated, once it succeeds.

    Args:
        action: a read, or anything else that does no harm when it is done twice.
        waits: whether to wait for a server to be found. Not at the first contact: there may be none of that name.
    """
    retried = is_transient if waits else _is_trouble_with_a_server
    for attempt in attempts(retried):
        with attempt:
            result = action()
    return result


def resumed(
    begin: Callable[[T | None], Iterator[T]], retried: Callable[[Exception], bool] = is_transient
) -> Iterator[T]:
    """Yield what is read; after a failure that is retried it is begun again, behind what was yielded last (None: nothing was)."""
    last: T | None = None
    left = begin(last)
    while True:
        for attempt in attempts(retried):
            with attempt:
                if attempt.num > 1:
                    left = begin(last)
                found = next(left, None)
        if found is None:
            return
        yield found
        last = found


def _is_trouble_with_a_server(error: Exception) -> bool:
    return is_transient(error) and not isinstance(error, ServerSelectionTimeoutError)


def in_transaction(
    session: ClientSession, work: Callable[[ClientSession], T], read_concern: ReadConcern | None = None
) -> T:
    """Return the result of a transaction with majority writes; it, or its commit alone, is tried again as the server's labels ask for.

    The driver's own `with_transaction` has a limit of two minutes that cannot be changed, and says nothing while it waits.

    Args:
        session: where it runs; one transaction at a time.
        work: reads and writes with the session; it may be called more than once.
        read_concern: of what it reads; None: that of the client.
    """
    for attempt in attempts(_is_labelled(TRANSIENT_TRANSACTION)):
        with attempt:
            result = begun(session, work, read_concern)
            for commit in attempts(_is_labelled(UNKNOWN_COMMIT)):
                with commit:
                    session.commit_transaction()
    return result


def begun(session: ClientSession, work: Callable[[ClientSession], T], read_concern: ReadConcern | None) -> T:
    """Begin a transaction, and return the result of its work; it is aborted if that fails."""
    session.start_transaction(read_concern, majority_written(), ReadPreference.PRIMARY)
    try:
        return work(session)
    except BaseException:
        session.abort_transaction()
        raise


def _is_labelled(label: str) -> Callable[[Exception], bool]:
    return lambda error: isinstance(error, PyMongoError) and error.has_error_label(label)


def settled(collection: Collection[Any]) -> None:
    """Wait until everything that the primary has taken so far is durable, so that a majority read shows it.

    A write that changes nothing waits for a majority of the newest entry of the primary's oplog. If there is a new primary,
    the read after it shows what has survived.
    """
    collection.update_one({"_id": {"$in": []}}, {"$set": {"settled": True}})
