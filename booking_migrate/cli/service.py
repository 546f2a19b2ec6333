"""What the commands of the booking service share: their options, its collections, and what must exist before it starts."""

import importlib.util
from typing import Annotated

from booking_migrate.cli.options import PLACES
from booking_migrate.cli.parameters import option
from booking_migrate.errors import BadPlace, MissingExtra, UnusablePlace
from booking_migrate.service.errors import StandaloneServer
from booking_migrate.service.plan import ServiceCollections
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.mongo.connection import describe
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.servers import hosts_of
from booking_migrate.stores.places import CollectionPlace, parse_place

SLOTS = "booking_migrate_slots"

LiveSource = Annotated[
    str, option(panel=PLACES, metavar="COLLECTION", help="The bookings: old ones, client documents, or both.")
]


def open_service_collections(
    connection: Connection, *, source: str, users: str | None, experts: str | None
) -> ServiceCollections:
    """Return the collections that the service works with.

    Args:
        connection: the server and the database.
        source: the name of the bookings' collection.
        users: that of the users; None: ``users``.
        experts: that of the experts; None: ``experts``.

    Raises:
        BadPlace: a place is not a collection.
        MissingUri, BadConfiguration: no server or no database is given, or the connection string cannot be used.
    """
    names = (source, users or "users", experts or "experts")
    for name in names:
        if not isinstance(parse_place(name), CollectionPlace):
            raise BadPlace(name, "the service works with collections only")
    return ServiceCollections(*(connection.collection(name) for name in (*names, SLOTS)))


def check_extra(command: str) -> None:
    """Make sure that the packages of the extra are installed.

    Raises:
        MissingExtra: one is not.
    """
    if any(
        importlib.util.find_spec(package) is None for package in ("cryptography", "fastapi", "jwt", "uvicorn")
    ):
        raise MissingExtra(command, "service")


def check_server(collections: ServiceCollections) -> None:
    """Make sure that the server has transactions and that bookings can be written.

    Raises:
        StandaloneServer: it has none.
        UnusablePlace: the bookings are a view.
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    bookings = collections.bookings
    with reading(bookings):
        hello = bookings.database.client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise StandaloneServer(hosts_of(bookings))
    listed = describe(bookings)
    if listed is not None and listed.get("type") != "collection":
        raise UnusablePlace(bookings.name, f"it is a {listed.get('type')}, which takes no bookings")
