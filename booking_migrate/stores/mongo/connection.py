"""One client for a run, and the collections behind it."""

import atexit
from collections.abc import Mapping
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.errors import ConfigurationError, InvalidName, InvalidURI, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.synchronous import monitor
from pymongo.uri_parser import parse_uri

from booking_migrate.domain.bson_document import CODEC, Document
from booking_migrate.errors import BadConfiguration, MissingUri, NotThePrimary
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.retry import majority_written, tried

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
        return MongoClient(uri, connect=False, **options)
    except (PyMongoError, ValueError, TypeError) as error:
        raise BadConfiguration("--uri", _uri_problem(uri, error)) from None


def _uri_problem(uri: str, error: Exception) -> str:
    # The driver quotes parts of a string that it cannot take apart, and with them perhaps the password.
    if "@" in uri:
        hint = "percent-encode special characters in user and password"
        return f"no valid connection string ({hint})"
    kind = (
        "no valid connection string" if isinstance(error, InvalidURI | ConfigurationError) else "a bad value"
    )
    return f"{kind}: {error}"


def find_database_name(uri: str, place: str) -> str:
    """The database in a connection string's path.

    Raises:
        MissingUri: there is none.
        BadConfiguration: the connection string cannot be used.
    """
    try:
        # The scheme with +srv would ask a name server, which the database's name does not depend on.
        parsed = parse_uri(uri.replace("mongodb+srv://", "mongodb://", 1), validate=False, warn=False)
    except (PyMongoError, ValueError) as error:
        raise BadConfiguration("--uri", _uri_problem(uri, error)) from None
    database = parsed["database"]
    if not database:
        raise MissingUri(place, "db")
    return str(database)


def open_collection(client: MongoClient[Document], database: str, name: str) -> DriverCollection:
    """A collection with majority read and write concern on the primary, whatever the connection string says.

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
        asked = tried(lambda: admin.command("hello"), waits=False)
    if "setName" not in asked or asked["isWritablePrimary"]:
        return
    if asked.get("arbiterOnly"):
        state = "an arbiter"
    else:
        state = "a secondary" if asked.get("secondary") else "neither primary nor secondary"
    raise NotThePrimary(asked["me"], state, asked["setName"], ",".join(asked.get("hosts", [asked["me"]])))


def describe(collection: DriverCollection, *, waits: bool = True) -> Mapping[str, Any] | None:
    """What the server lists about a collection or view (``type``, ``options``), or None if there is none.

    Args:
        collection: what to ask about.
        waits: whether to wait for a server to be found; see `retry.tried`.

    Raises:
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    with reading(collection):
        listed = tried(
            lambda: list(
                collection.database.list_collections(
                    filter={"name": collection.name}, authorizedCollections=True
                )
            ),
            waits=waits,
        )
        return next(iter(listed), None)
