"""The driver's exceptions in terms of our own tree. No connection string and no document content gets through."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import Any, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from booking_migrate.errors import (
    BookingMigrateError,
    CredentialsMissing,
    DiskFull,
    NoMajority,
    NotPermitted,
    PlaceNotFound,
    ServerUnreachable,
    StillFailing,
    UnusablePlace,
    WriteFailed,
)
from booking_migrate.stores.mongo import retry
from booking_migrate.stores.mongo.codes import (
    AUTHENTICATION,
    DUPLICATE_KEY,
    INVALID_DOCUMENT,
    NOT_PERMITTED,
    OUT_OF_DISK_SPACE,
    UNAUTHORIZED,
    Trouble,
)
from booking_migrate.stores.mongo.refusals import refused_documents
from booking_migrate.stores.mongo.retry import trouble_of, with_retry
from booking_migrate.stores.mongo.servers import (
    connection_problem,
    described,
    hosts_of,
    members_of,
    refused_login,
    without_primary,
)
from booking_migrate.stores.own_collections import is_own

_LONGEST_TEXT = 200
_ASKING_SECONDS = 2.0
"""How long to ask who is logged in: it belongs into a message about something else."""

_COMMAND = re.compile(r"to execute command \{ (\w+):")
"""How the server names the command that a user may not send."""

T = TypeVar("T")
Failure = Callable[[str, str], BookingMigrateError]


@contextmanager
def reading(collection: Collection[Any]) -> Iterator[None]:
    """Translate what goes wrong while a collection is read.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: instead of the driver's exception.
    """
    try:
        yield
    except PyMongoError as error:
        raise translated(error, collection, UnusablePlace) from None


@contextmanager
def writing(collection: Collection[Any]) -> Iterator[None]:
    """Translate what goes wrong while a collection is written.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: instead of the driver's exception.
    """
    try:
        yield
    except (PyMongoError, BSONError) as error:
        raise translated(error, collection, WriteFailed) from None


def read(collection: Collection[Any], action: Callable[[], T], *, waits: bool = True) -> T:
    """Return the result of reading a collection; what fails for a passing reason is tried again. ``waits`` as of `retry.with_retry`.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: it cannot be read.
    """
    with reading(collection):
        return with_retry(action, waits=waits)


def write(collection: Collection[Any], action: Callable[[], T]) -> T:
    """Return the result of writing to a collection, which may be done twice: what fails for a passing reason is tried again.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it.
    """
    with writing(collection):
        return with_retry(action)


def translated(
    error: PyMongoError | BSONError, collection: Collection[Any], otherwise: Failure
) -> BookingMigrateError:
    """Return our error for one of the driver's; ``otherwise`` for one that is neither connection nor permission."""
    if isinstance(error, OperationFailure):
        return (
            _lacking_credentials(error, collection)
            or _passing_trouble(error, collection)
            or _refused_operation(error, collection, otherwise)
        )
    return connection_problem(error, collection) or otherwise(collection.name, type(error).__name__)


def _lacking_credentials(error: OperationFailure, collection: Collection[Any]) -> CredentialsMissing | None:
    """Return our error for a server with access control and a connection string without a user; None otherwise."""
    if error.code == UNAUTHORIZED and "requires authentication" in str(error):
        return CredentialsMissing(hosts_of(collection), collection.database.name)
    return None


def _passing_trouble(error: OperationFailure, collection: Collection[Any]) -> BookingMigrateError | None:
    """Return our error for trouble that did not pass although it was waited for; None if it is of another kind."""
    trouble = trouble_of(error)
    if trouble is None:
        return None
    text = bulk_text(error) if isinstance(error, BulkWriteError) else server_text(error)
    match trouble:
        case Trouble.MAJORITY:
            return NoMajority(described(members_of(collection.database.client)))
        case Trouble.PRIMARY | Trouble.SERVER:
            return without_primary(collection) or ServerUnreachable(hosts_of(collection), text)
        case Trouble.CURSOR | Trouble.CONTENTION | Trouble.OVERLOAD:
            return StillFailing(collection.full_name, hosts_of(collection), retry.RETRY_TIMEOUT, text)


def _refused_operation(
    error: OperationFailure, collection: Collection[Any], otherwise: Failure
) -> BookingMigrateError:
    """Return our error for an operation that the server was asked for and did not do."""
    place = collection.name
    if error.code in AUTHENTICATION:
        return refused_login(collection)
    if error.code in NOT_PERMITTED:
        command = _COMMAND.search(str((error.details or {}).get("errmsg", "")))
        name = command[1] if command else "this"
        database, user = collection.database.name, logged_in(collection)
        return NotPermitted(place, server_text(error), database, name, *user, databases_instead(collection))
    if isinstance(error, BulkWriteError):
        return _write_failure(collection, error, otherwise)
    if error.code in (DUPLICATE_KEY, INVALID_DOCUMENT):
        return _refused_documents(collection, [dict(error.details or {})])
    if error.code == OUT_OF_DISK_SPACE:
        return DiskFull(place, server_text(error))
    return otherwise(place, server_text(error))


def logged_in(collection: Collection[Any]) -> tuple[str, str]:
    """Return who is logged in, and where that user was created; empty if the server does not say."""
    try:
        with pymongo.timeout(_ASKING_SECONDS):
            status: Any = collection.database.command("connectionStatus")
        first = status["authInfo"]["authenticatedUsers"][0]
    except (PyMongoError, LookupError):
        return "", ""
    return str(first["user"]), str(first["db"])


def _refused_documents(
    collection: Collection[Any], problems: Sequence[Mapping[str, Any]]
) -> BookingMigrateError:
    level = "strict"
    if problems[0].get("code") == INVALID_DOCUMENT:
        with suppress(PyMongoError), pymongo.timeout(_ASKING_SECONDS):
            level = collection.options().get("validationLevel", level)
    return refused_documents(collection.name, problems, level)


def _write_failure(
    collection: Collection[Any], error: BulkWriteError, otherwise: Failure
) -> BookingMigrateError:
    """Return our error for writes of which some were refused; the first refusal that is not a duplicate decides."""
    place = collection.name
    problems: list[Mapping[str, Any]] = list(error.details.get("writeErrors") or ())
    others = [problem for problem in problems if problem.get("code") != DUPLICATE_KEY]
    if others and others[0].get("code") == INVALID_DOCUMENT:
        return _refused_documents(collection, others)
    if any(problem.get("code") == OUT_OF_DISK_SPACE for problem in others):
        return DiskFull(place, bulk_text(error))
    if others or not problems or error.details.get("writeConcernErrors"):
        return otherwise(place, bulk_text(error))
    return _refused_documents(collection, problems)


def server_text(error: OperationFailure) -> str:
    """Return what the server says, without the command or document that it quotes after its first brace."""
    name = (error.details or {}).get("codeName")
    return without_content(str((error.details or {}).get("errmsg", "")), name or f"code {error.code}")


def bulk_text(error: BulkWriteError) -> str:
    """Return what the server says about the first write that it refused."""
    problems = [*(error.details.get("writeErrors") or ()), *(error.details.get("writeConcernErrors") or ())]
    # A duplicate is often only what an earlier attempt has written.
    first: Mapping[str, Any] = min(problems, key=lambda each: each.get("code") == DUPLICATE_KEY, default={})
    return without_content(str(first.get("errmsg", "")), f"code {first.get('code')}")


def without_content(text: str, name: str) -> str:
    text = text.partition("{")[0].partition(" to execute command")[0].strip(" :")[:_LONGEST_TEXT]
    return f"{text} ({name})" if text else name


SYSTEM_DATABASES = frozenset({"admin", "config", "local"})
"""The databases of the server's own."""


def absent(collection: Collection[Any]) -> PlaceNotFound:
    """Return our error for a collection that does not exist, with names that are near to it."""
    database = collection.database
    names, near = ["?"], []
    # A user who may not list names gets the same message without a suggestion.
    with suppress(PyMongoError):
        names = database.list_collection_names(authorizedCollections=True)
        near = get_close_matches(collection.name, [each for each in names if not is_own(each)], n=1)
    others = [] if names else databases_instead(collection)
    near_databases = get_close_matches(database.name, others, n=1)
    return PlaceNotFound(
        collection.name,
        database.name,
        hosts_of(collection),
        _first(near),
        _first(near_databases),
        others,
    )


def databases_instead(collection: Collection[Any]) -> Sequence[str]:
    """Return the databases that this user sees, the nearest name first; empty if the one in use is among them, or none is known."""
    name = collection.database.name
    with suppress(PyMongoError), pymongo.timeout(_ASKING_SECONDS):
        names = sorted(set(collection.database.client.list_database_names()) - SYSTEM_DATABASES)
        near = get_close_matches(name, names, n=1)
        return [] if name in names else [*near, *(each for each in names if each not in near)]
    return []


def _first(found: Sequence[str]) -> str:
    return next(iter(found), "")
