"""The command ``service-indexes``: create the indexes that the booking service works with."""

from contextlib import closing
from typing import Annotated

import typer

from booking_migrate.cli import run
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.options import ConnectionOptions, OutputOptions, PeopleOptions
from booking_migrate.cli.parameters import only
from booking_migrate.cli.service import LiveSource, check_server, open_service_collections
from booking_migrate.reports.lifecycle import IndexesReport, ServiceIndex, report_of_indexes
from booking_migrate.service.plan import ServiceCollections, create_index, missing_indexes, needed_indexes
from booking_migrate.stores.connection import Connection

HELP = filled("""
Indexes that do the same already are left as they are; the report says what each is for.

They are those of the bookings, by client and by expert in both shapes, a unique one that keeps a client from having two
client documents, and one of the experts by their user. Reads and writes continue while they are built.

\b
[bold]Examples[/bold]
  MONGODB_URI=mongodb://localhost booking-migrate service-indexes --db shop
  booking-migrate service-indexes --json
""")


def service_indexes(
    ctx: typer.Context,
    source: LiveSource = "bookings",
    *,
    connection: ConnectionOptions,
    people: Annotated[PeopleOptions, only("experts", "expert_user_field")],
    output: Annotated[OutputOptions, only("json", "config", "quiet", "verbose")],
) -> None:
    """Parse, create what is missing, and make the report."""

    def body(run_id: str, _listener: object) -> IndexesReport:
        with closing(Connection(connection.uri, connection.db)) as opened:
            collections = open_service_collections(opened, source=source, users=None, experts=people.experts)
            indexes = _create_missing(collections, people.expert_user_field)
        return report_of_indexes(indexes, run_id=run_id, source=source)

    run.execute(output.invocation(ctx, uri=connection.uri, source=source), body)


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
