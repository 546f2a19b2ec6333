"""One client for a run, and the collections behind it."""

import atexit
import warnings
from collections.abc import Mapping
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.errors import ConfigurationError, InvalidName, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.synchronous import monitor

from booking_migrate.bson.document import CODEC, Document
from booking_migrate.errors import BadConfiguration, MissingUri, NotThePrimary
from booking_migrate.stores.mongo.connection_string import ENCODING_HINT, parse, tls_problem
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.retry import majority_written, with_retry

DriverCollection = Collection[Document]

DECODED: CodecOptions[Document] = CODEC.with_options(unicode_decode_error_handler="surrogateescape")
"""For what the driver decodes itself: a text that is not valid UTF-8 comes as surrogate escapes, which lose nothing."""

TIMES: CodecOptions[Document] = CodecOptions(tz_aware=True, unicode_decode_error_handler="surrogateescape")
"""For the program's own collections, whose dates are times that Python knows."""

_SELECTION_TIMEOUT = 5000
"""How long to look for a server unless the connection string says otherwise, in milliseconds."""


def make_client(uri: str) -> MongoClient[Document]:
    """Make a client that connects when it is first used.

    Raises:
        BadConfiguration: the connection string cannot be used. The string is not quoted.
    """
    # At the end of the process the driver would wait up to half a second for its monitors to wake up and notice; they are
    # daemons, and end with it anyway.
    wait_for_monitors = getattr(monitor, "_shutdown_resources", None)
    if wait_for_monitors is not None:
        atexit.unregister(wait_for_monitors)
    options: dict[str, Any] = {"appname": "booking-migrate"}
    if "serverselectiontimeoutms" not in uri.lower():
        options["serverSelectionTimeoutMS"] = _SELECTION_TIMEOUT
    try:
        with warnings.catch_warnings():
            # What the driver would say to standard error, `connection_string.parse` has said already.
            warnings.simplefilter("ignore")
            return MongoClient(uri, connect=False, **options)
    except (OSError, ConfigurationError) as error:
        raise tls_problem(uri, error) if _has_tls(uri) else _unusable(uri, error) from None
    except (PyMongoError, ValueError, TypeError) as error:
        raise _unusable(uri, error) from None


def _has_tls(uri: str) -> bool:
    return any(name in uri.lower() for name in ("tlscafile=", "tlscertificatekeyfile=", "tlscrlfile="))


def _unusable(uri: str, error: Exception) -> BadConfiguration:
    # The driver quotes parts of a string that it cannot take apart, and with them perhaps the password.
    reason = "" if "@" in uri else f": {error}"
    return BadConfiguration(
        "--uri", f"no valid connection string{reason}", ENCODING_HINT if "@" in uri else ""
    )


def check_uri(uri: str) -> None:
    """Check a connection string, and warn of each option that has no effect.

    Raises:
        BadConfiguration: the connection string cannot be used.
        AuthenticationModuleMissing: it needs a module that is not installed.
    """
    for complaint in parse(uri).warnings:
        warnings.warn(complaint, stacklevel=2)


def find_database_name(uri: str, place: str) -> str:
    """Return the database in a connection string's path.

    Raises:
        MissingUri: the path is empty.
        BadConfiguration: the connection string cannot be used.
    """
    database = parse(uri).database
    if not database:
        raise MissingUri(place, "db")
    return database


def open_collection(client: MongoClient[Document], database: str, name: str) -> DriverCollection:
    """Return a collection with majority read and write concern on the primary, whatever the connection string says.

    The same goes for its database, and for what is opened there.

    Raises:
        BadConfiguration: the database's name is not valid.
    """
    try:
        opened = client.get_database(
            database,
            codec_options=DECODED,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
            write_concern=majority_written(),
        )
    except InvalidName as error:
        raise BadConfiguration("--db", str(error)) from None
    return opened.get_collection(name)


def check_member(client: MongoClient[Document]) -> None:
    """Refuse a connection to a single member that is not the primary: reads from a secondary may be stale.

    Raises:
        NotThePrimary: it is a secondary, an arbiter, or not ready.
        ConnectionProblem: it does not answer.
    """
    if client.topology_description.topology_type_name != "Single":
        return
    admin = client.get_database("admin")
    with reading(admin.get_collection("system.version")):
        asked = with_retry(lambda: admin.command("hello"), waits=False)
    if "setName" not in asked or asked["isWritablePrimary"]:
        return
    if asked.get("arbiterOnly"):
        state = "an arbiter"
    else:
        state = "a secondary" if asked.get("secondary") else "neither primary nor secondary"
    raise NotThePrimary(asked["me"], state, asked["setName"], ",".join(asked.get("hosts", [asked["me"]])))


def contact(collection: DriverCollection) -> None:
    """Ping the server, without waiting for an election.

    Raises:
        ConnectionProblem: no server answers, or it does not accept the user.
    """
    with reading(collection):
        with_retry(lambda: collection.database.command("ping"), waits=False)


def describe(collection: DriverCollection, *, waits: bool = True) -> Mapping[str, Any] | None:
    """Return what the server lists about a collection or view (``type``, ``options``), or None if it does not exist.

    Args:
        collection: what to ask about.
        waits: whether to wait for a server to be found; see `retry.tried`.

    Raises:
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    with reading(collection):
        listed = with_retry(
            lambda: list(
                collection.database.list_collections(
                    filter={"name": collection.name}, authorizedCollections=True
                )
            ),
            waits=waits,
        )
        return next(iter(listed), None)
