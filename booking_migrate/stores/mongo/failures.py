"""The driver's exceptions in terms of our own tree. No connection string and no document content gets through."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bson.errors import BSONError
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    InvalidName,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from booking_migrate.errors import (
    AuthenticationFailed,
    BadConfiguration,
    BookingMigrateError,
    NotPermitted,
    ServerUnreachable,
    UnusablePlace,
    WriteFailed,
)

_AUTHENTICATION_CODES = frozenset({18, 8000})  # 8000 is what Atlas says.
_NOT_PERMITTED_CODES = frozenset({13, 31, 166})
_LONGEST_TEXT = 200

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
        raise translated(error, collection.name, hosts_of(collection), UnusablePlace) from None


@contextmanager
def writing(collection: Collection[Any]) -> Iterator[None]:
    """Translate what goes wrong while a collection is written.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: instead of the driver's exception.
    """
    try:
        yield
    except (PyMongoError, BSONError) as error:
        raise translated(error, collection.name, hosts_of(collection), WriteFailed) from None


def hosts_of(collection: Collection[Any]) -> str:
    """The servers that a collection's client knows of, as ``host:port``."""
    servers = collection.database.client.topology_description.server_descriptions()
    return ", ".join(sorted(f"{host}:{port}" for host, port in servers))


def translated(
    error: PyMongoError | BSONError, place: str, hosts: str, otherwise: Failure
) -> BookingMigrateError:
    """Our error for one of the driver's; ``otherwise`` for one that is neither connection nor permission."""
    if isinstance(error, OperationFailure):
        return _refused_operation(error, place, hosts, otherwise)
    for kind, make in _CONNECTION_FAILURES:
        if isinstance(error, kind):
            return make(hosts, error)
    if isinstance(error, InvalidName):
        return BadConfiguration("--db", "no valid database name")
    if isinstance(error, ConfigurationError):
        return BadConfiguration("--uri", "the driver cannot use this connection string")
    return otherwise(place, type(error).__name__)


def _refused_operation(
    error: OperationFailure, place: str, hosts: str, otherwise: Failure
) -> BookingMigrateError:
    """Our error for an operation that the server was asked for and did not do."""
    if error.code in _AUTHENTICATION_CODES:
        return AuthenticationFailed(hosts)
    if error.code in _NOT_PERMITTED_CODES:
        return NotPermitted(place, server_text(error))
    return otherwise(place, bulk_text(error) if isinstance(error, BulkWriteError) else server_text(error))


def server_text(error: OperationFailure) -> str:
    """What the server says, without the command or document that it quotes after its first brace."""
    name = (error.details or {}).get("codeName")
    return _without_content(str((error.details or {}).get("errmsg", "")), name or f"code {error.code}")


def bulk_text(error: BulkWriteError) -> str:
    """What the server says about the first write that it refused."""
    problems = error.details.get("writeErrors") or error.details.get("writeConcernErrors") or [{}]
    first = problems[0]
    return _without_content(str(first.get("errmsg", "")), f"code {first.get('code')}")


def _without_content(text: str, name: str) -> str:
    text = text.partition("{")[0].partition(" to execute command")[0].strip(" :")[:_LONGEST_TEXT]
    return f"{text} ({name})" if text else name


def _selection_text(error: Exception) -> str:
    """The driver's reason without its timeouts and its picture of the deployment."""
    text = str(error).partition(" (configured timeouts")[0].partition(", Timeout:")[0]
    return text[:_LONGEST_TEXT]


_CONNECTION_FAILURES: tuple[tuple[type[PyMongoError], Callable[[str, Exception], ServerUnreachable]], ...] = (
    (ServerSelectionTimeoutError, lambda hosts, error: ServerUnreachable(hosts, _selection_text(error))),
    (NetworkTimeout, lambda hosts, _error: ServerUnreachable(hosts, "it took too long to answer")),
    (ConnectionFailure, lambda hosts, _error: ServerUnreachable(hosts, "the connection was lost")),
)
