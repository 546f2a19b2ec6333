"""The command ``service-indexes``: create the indexes that the booking service works with."""

from contextlib import closing
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli import options, run, service_options
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.printed_commands import GivenOptions
from booking_migrate.cli.service_places import ServicePlaces, check_server
from booking_migrate.stores.connection import Connection

if TYPE_CHECKING:
    from booking_migrate.reports.service import IndexesReport

HELP = filled("""
Create the indexes that the booking service works with, unless others do the same, and say what each is for.

They are those of the bookings, by client and by expert in both shapes, a unique one that keeps a client from having two
client documents, and one of the experts by their user. Reads and writes go on while they are built.

\b
[bold]Examples[/bold]
  MONGODB_URI=mongodb://localhost booking-migrate service-indexes --db shop
  booking-migrate service-indexes --json
""")


def service_indexes(
    ctx: typer.Context,
    *,
    source: service_options.Live = "bookings",
    uri: options.Uri = None,
    db: options.Db = None,
    experts: options.Experts = None,
    expert_user_field: options.ExpertUserField = "userId",
    json: options.Json = False,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Parse, and hand over to `_create`."""
    asked = run.Invocation(
        command="service-indexes",
        source=source,
        target="",
        places=[str(path) for path in (config,) if path is not None],
        uri=uri,
        json=json,
        reports=(),
        quiet=quiet,
        verbose=verbose,
        given=GivenOptions.of(ctx),
    )
    places = ServicePlaces(source, "users", experts or "experts")

    def body(run_id: str, _listener: object) -> "IndexesReport":
        with closing(Connection(uri, db)) as connection:
            return _create(connection, places, expert_user_field, run_id)

    run.execute(asked, body)


def _create(
    connection: Connection, places: ServicePlaces, expert_user_field: str, run_id: str
) -> "IndexesReport":
    # Here and not above: the driver is not needed to print help.
    from booking_migrate.reports.service import ServiceIndex, report_of_indexes  # noqa: PLC0415
    from booking_migrate.service.indexes import create_index, missing_indexes, needed_indexes  # noqa: PLC0415

    collections = places.open(connection)
    check_server(collections)
    needed = needed_indexes(collections, expert_user_field)
    missing = missing_indexes(needed)
    for index in missing:
        create_index(index)
    shown = tuple(
        ServiceIndex(
            collection=index.collection.name,
            fields=index.keys,
            unique=index.unique,
            purpose=index.purpose,
            created=index in missing,
        )
        for index in needed
    )
    return report_of_indexes(shown, run_id=run_id, source=places.source)
