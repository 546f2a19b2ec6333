"""What the commands of the booking service share: its collections, and what must be there before it works."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from booking_migrate.errors import BadPlace, MissingExtra, UnusablePlace
from booking_migrate.service.errors import StandaloneServer
from booking_migrate.stores.places import CollectionPlace, parse_place

if TYPE_CHECKING:
    from booking_migrate.service.plan import ServiceCollections
    from booking_migrate.stores.connection import Connection

SLOTS = "booking_migrate_slots"


@dataclass(frozen=True, slots=True)
class ServicePlaces:
    """The collections that the service works with, by name."""

    source: str
    users: str
    experts: str

    def open(self, connection: "Connection") -> "ServiceCollections":
        """The collections.

        Raises:
            BadPlace: a place is no collection.
            MissingUri, BadConfiguration: no server or no database is given, or the connection string cannot be used.
        """
        from booking_migrate.service.plan import ServiceCollections  # noqa: PLC0415 - not needed to print help

        names = (self.source, self.users, self.experts)
        for name in names:
            if not isinstance(parse_place(name), CollectionPlace):
                raise BadPlace(name, "the service works with collections only")
        return ServiceCollections(*(connection.collection(name) for name in (*names, SLOTS)))


def check_extra(command: str) -> None:
    """Make sure that the packages of the extra are there.

    Raises:
        MissingExtra: one is not.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - not needed to print help

    if any(find_spec(package) is None for package in ("cryptography", "fastapi", "jwt", "uvicorn")):
        raise MissingExtra(command, "service")


def check_server(collections: "ServiceCollections") -> None:
    """Make sure that the server has transactions and that bookings can be written.

    Raises:
        StandaloneServer: it has none.
        UnusablePlace: the bookings are a view.
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    from booking_migrate.stores.mongo.connection import describe  # noqa: PLC0415 - not needed to print help
    from booking_migrate.stores.mongo.failures import hosts_of, reading  # noqa: PLC0415

    bookings = collections.bookings
    with reading(bookings):
        hello = bookings.database.client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise StandaloneServer(hosts_of(bookings))
    listed = describe(bookings)
    if listed is not None and listed.get("type") != "collection":
        raise UnusablePlace(bookings.name, f"it is a {listed.get('type')}, which takes no bookings")
