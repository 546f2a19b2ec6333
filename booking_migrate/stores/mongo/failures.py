"""The driver's exceptions in terms of our own tree. No connection string and no document content gets through."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from bson.errors import BSONError
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from booking_migrate.bson.format import display_id
from booking_migrate.errors import (
    AuthenticationFailed,
    BookingMigrateError,
    CredentialsMissing,
    DuplicateKeys,
    NoMajority,
    NotPermitted,
    ServerUnreachable,
    UniqueIndexViolated,
    UnusablePlace,
    ValidationFailed,
    WriteFailed,
)
from booking_migrate.stores.mongo.retry import DUPLICATE_KEY, NOT_ACKNOWLEDGED, is_transient, with_retry
from booking_migrate.stores.mongo.servers import (
    connection_problem,
    described,
    hosts_of,
    members_of,
    without_primary,
)

_OUT_OF_REACH_CODES = frozenset({6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})
"""Other members, or the primary, cannot be reached."""

_AUTHENTICATION_CODES = frozenset({18, 8000})  # 8000 is what Atlas says.
NOT_PERMITTED_CODES = frozenset({13, 31, 166})
_UNAUTHORIZED = 13
_LONGEST_TEXT = 200
_COMMAND = re.compile(r"to execute command \{ (\w+):")
"""How the server names the command that a user may not send."""


_INVALID_DOCUMENT = 121
"""The server's code for a document that a validator refuses."""

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
    """Return what reading a collection comes to; what fails for a passing reason is tried again.

    Args:
        collection: what is read.
        action: reads it.
        waits: whether to wait for a server to be found; see `retry.with_retry`.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: it cannot be read.
    """
    with reading(collection):
        return with_retry(action, waits=waits)


def write(collection: Collection[Any], action: Callable[[], T]) -> T:
    """Return what writing to a collection comes to; what fails for a passing reason is tried again.

    Args:
        collection: what is written to.
        action: writes; it may be done twice.

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
    if error.code == _UNAUTHORIZED and "requires authentication" in str(error):
        return CredentialsMissing(hosts_of(collection), collection.database.name)
    return None


def _passing_trouble(error: OperationFailure, collection: Collection[Any]) -> BookingMigrateError | None:
    """Return our error for trouble that did not pass although it was waited for; None if it is of another kind."""
    if not is_transient(error):
        return None
    code = error.code
    if isinstance(error, BulkWriteError):
        code = error.details["writeConcernErrors"][0].get("code")
    if code == NOT_ACKNOWLEDGED:
        return NoMajority(described(members_of(collection.database.client)))
    if code in _OUT_OF_REACH_CODES:
        text = bulk_text(error) if isinstance(error, BulkWriteError) else server_text(error)
        return without_primary(collection) or ServerUnreachable(hosts_of(collection), text)
    return None


def _refused_operation(
    error: OperationFailure, collection: Collection[Any], otherwise: Failure
) -> BookingMigrateError:
    """Return our error for an operation that the server was asked for and did not do."""
    place = collection.name
    if error.code in _AUTHENTICATION_CODES:
        return AuthenticationFailed(hosts_of(collection))
    if error.code in NOT_PERMITTED_CODES:
        command = _COMMAND.search(str((error.details or {}).get("errmsg", "")))
        said = (place, server_text(error), collection.database.name)
        return NotPermitted(*said, command[1]) if command else NotPermitted(*said)
    if isinstance(error, BulkWriteError):
        return write_failure(place, error, otherwise)
    if error.code in (DUPLICATE_KEY, _INVALID_DOCUMENT):
        return _refused_documents(place, [dict(error.details or {})])
    return otherwise(place, server_text(error))


def write_failure(place: str, error: BulkWriteError, otherwise: Failure = WriteFailed) -> BookingMigrateError:
    """Return our error for writes of which some were refused; the first refusal that is not a duplicate decides."""
    problems: list[Mapping[str, Any]] = list(error.details.get("writeErrors") or ())
    others = [problem for problem in problems if problem.get("code") != DUPLICATE_KEY]
    if others and others[0].get("code") == _INVALID_DOCUMENT:
        return _refused_documents(place, others)
    if others or not problems or error.details.get("writeConcernErrors"):
        return otherwise(place, bulk_text(error))
    return _refused_documents(place, problems)


def is_on(problem: Mapping[str, Any], field: str) -> bool:
    """Return whether a duplicate was refused by an index on this field alone (manual, core/index-unique)."""
    keys = problem.get("keyPattern")
    return isinstance(keys, Mapping) and list(keys) == [field]


def duplicates(place: str, problems: Sequence[Mapping[str, Any]]) -> DuplicateKeys:
    """Return our error for documents that were refused as duplicates.

    A client document that another process has made has the same `clientId`, and often the same `_id`. In any other unique
    index it is documents that do not fit beside each other, and those are named first.
    """
    others = [problem for problem in problems if not (is_on(problem, "clientId") or is_on(problem, "_id"))]
    if not others:
        return DuplicateKeys(place, len(problems), _key_text(problems[0]))
    first = others[0]
    keys = ", ".join(f"{name} {direction}" for name, direction in (first.get("keyPattern") or {}).items())
    return UniqueIndexViolated(
        place, len(others), _key_text(first), _index_name(first), keys or "its keys are unknown"
    )


def _key_text(problem: Mapping[str, Any]) -> str:
    keys = problem.get("keyValue") or {}
    return ", ".join(f"{name} {display_id(value)}" for name, value in keys.items()) or "one of an unknown key"


def _index_name(problem: Mapping[str, Any]) -> str:
    """Return the name of the index, which the server says in its text only."""
    text = str(problem.get("errmsg", "")).partition(" index: ")[2].partition(" dup key")[0]
    return text.partition(" collation: ")[0] or "of an unknown name"


def _refused_documents(place: str, problems: Sequence[Mapping[str, Any]]) -> BookingMigrateError:
    if problems[0].get("code") == DUPLICATE_KEY:
        return duplicates(place, problems)
    info = problems[0].get("errInfo") or {}
    fields = sorted(set(_fields_at_fault(info.get("details"))))
    problem = f"it does not allow {', '.join(fields)}" if fields else "one of its conditions does not hold"
    # The command of the server's shell that switches the validator off.
    remedy = f'db.runCommand({{collMod: "{place}", validationLevel: "off"}})'
    return ValidationFailed(place, problem, display_id(info.get("failingDocumentId")), remedy)


def _fields_at_fault(details: Any) -> Iterator[str]:
    """Yield the names of fields in what the server says about a document that a schema refuses; no value is among them."""
    if isinstance(details, list):
        for each in details:
            yield from _fields_at_fault(each)
    if not isinstance(details, Mapping):
        return
    yield from (f"{name} to be absent" for name in details.get("missingProperties", ()))
    yield from details.get("additionalProperties", ())
    if "propertyName" in details:
        yield str(details["propertyName"])
        return
    for name in ("schemaRulesNotSatisfied", "propertiesNotSatisfied", "details", "clausesNotSatisfied"):
        yield from _fields_at_fault(details.get(name))


def server_text(error: OperationFailure) -> str:
    """Return what the server says, without the command or document that it quotes after its first brace."""
    name = (error.details or {}).get("codeName")
    return _without_content(str((error.details or {}).get("errmsg", "")), name or f"code {error.code}")


def bulk_text(error: BulkWriteError) -> str:
    """Return what the server says about the first write that it refused."""
    problems = error.details.get("writeErrors") or error.details.get("writeConcernErrors") or [{}]
    first = problems[0]
    return _without_content(str(first.get("errmsg", "")), f"code {first.get('code')}")


def _without_content(text: str, name: str) -> str:
    text = text.partition("{")[0].partition(" to execute command")[0].strip(" :")[:_LONGEST_TEXT]
    return f"{text} ({name})" if text else name
