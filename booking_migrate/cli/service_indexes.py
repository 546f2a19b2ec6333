"""The command ``service-indexes``: create the indexes that the booking service works with, in its collections."""

from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from booking_migrate.cli import run
from booking_migrate.cli.options import PLACES, ConnectionOptions, OutputOptions, PeopleOptions
from booking_migrate.cli.parameters import only, option
from booking_migrate.errors import BadPlace, UnusablePlace
from booking_migrate.reports.lifecycle import IndexesReport, ServiceIndex, report_of_indexes
from booking_migrate.service.errors import StandaloneServer
from booking_migrate.service.plan import ServiceCollections, create_index, missing_indexes, needed_indexes
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.mongo.connection import describe
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.servers import hosts_of
from booking_migrate.stores.places import CollectionPlace, parse_place

HELP = """
Indexes that do the same already are left as they are; the report says what each is for.

They are those of the bookings, by client and by expert in both shapes, a unique one that keeps a client from having two
client documents, and one of the experts by their user. Reads and writes continue while they are built.

\b
[bold]Examples[/bold]
  MONGODB_URI=mongodb://localhost booking-migrate service-indexes --db shop
  booking-migrate service-indexes --json
"""

SLOTS = "booking_migrate_slots"


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What the service works with."""

    panel: ClassVar[str] = PLACES

    source: str = option(
        "bookings", "The bookings: old ones, client documents, or both.", metavar="COLLECTION"
    )


def service_indexes(
    ctx: typer.Context,
    *,
    live: LiveOptions,
    connection: ConnectionOptions,
    people: Annotated[PeopleOptions, only("experts", "expert_user_field")],
    output: Annotated[OutputOptions, only("json", "config", "quiet", "verbose")],
) -> None:
    """Parse, create what is missing, and make the report."""

    def body(context: run.RunContext) -> IndexesReport:
        with closing(Connection(connection.uri, connection.db)) as opened:
            collections = open_service_collections(opened, live, people)
            indexes = _create_missing(collections, people.expert_user_field)
        return report_of_indexes(indexes, run_id=context.run_id, source=live.source)

    run.execute(run.Invocation(ctx, output, connection.uri, live.source), body)


def _create_missing(collections: ServiceCollections, expert_user_field: str) -> tuple[ServiceIndex, ...]:
    """Create the indexes that are missing; return all that are needed."""
    check_server(collections)
    needed = needed_indexes(collections, expert_user_field)
    missing = missing_indexes(needed)
    for index in missing:
        create_index(index)
    return tuple(
        ServiceIndex(
            collection=index.collection.name,
            fields=index.keys,
            unique=index.unique,
            purpose=index.purpose,
            created=index in missing,
        )
        for index in needed
    )


def open_service_collections(
    connection: Connection, live: LiveOptions, people: PeopleOptions
) -> ServiceCollections:
    """Return the collections that the service works with.

    Raises:
        BadPlace: a place is not a collection.
        MissingUri, BadConfiguration: no server or no database is given, or the connection string cannot be used.
    """
    names = (live.source, people.users or "users", people.experts or "experts")
    for name in names:
        if not isinstance(parse_place(name), CollectionPlace):
            raise BadPlace(name, "the service works with collections only")
    return ServiceCollections(*(connection.collection(name) for name in (*names, SLOTS)))


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
