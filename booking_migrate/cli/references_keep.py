"""The command ``references keep``: the index by which old ids find their session, in a live collection."""

from dataclasses import dataclass

import typer

from booking_migrate.cli import run
from booking_migrate.cli.options import PLACES, ConnectionOptions, OutputOptions
from booking_migrate.cli.parameters import Group, option
from booking_migrate.errors import BadPlace
from booking_migrate.references.keep import keep_live_index
from booking_migrate.reports.booking_map import KeptIndexReport, report_of_kept_index
from booking_migrate.stores.connection import open_journal, open_legacy_index
from booking_migrate.stores.places import DEFAULT_SOURCE, CollectionPlace, parse_place

HELP = """
References to old bookings are left as they are, and work on: by the index on sessions.legacyBookingId an old id finds its session.

An index that does the same is left as it is. Reads and writes continue while it is built. finalize keeps it; a rollback removes
it. For a collection that is not live yet: cutover --keep-index.

\b
[bold]Examples[/bold]
  MONGODB_URI=mongodb://localhost booking-migrate references keep --db shop --source bookings
"""


@dataclass(frozen=True, slots=True)
class KeepPlaces(Group, panel=PLACES):
    """Which collection."""

    source: str = option(
        DEFAULT_SOURCE, "The live collection, which has client documents.", metavar="COLLECTION"
    )


def keep(
    ctx: typer.Context, *, given: KeepPlaces, connection: ConnectionOptions, output: OutputOptions
) -> None:
    def body(context: run.RunContext) -> KeptIndexReport:
        if not isinstance(parse_place(given.source), CollectionPlace):
            raise BadPlace(given.source, "only a collection has an index")
        with connection.open() as opened:
            opened.contact(given.source)
            kept = keep_live_index(open_legacy_index(opened, given.source), open_journal(opened).journal)
        return report_of_kept_index(kept, run_id=context.run_id, seconds=context.seconds)

    run.execute(run.Invocation(ctx, output, connection.uri, given.source), body)
