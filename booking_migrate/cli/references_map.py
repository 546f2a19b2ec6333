"""The command ``references map``: where each old booking went, or will go."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.dry_run import history_of_places
from booking_migrate.cli.open import (
    OpenPlaces,
    Places,
    is_same_place,
    migration_plan,
    open_places,
    open_run_stores,
)
from booking_migrate.cli.options import (
    PLACES,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    PlaceOptions,
    RuleOptions,
    WritingOptions,
    json_format_option,
    source_option,
)
from booking_migrate.cli.parameters import Group, only, option
from booking_migrate.cutover.recovery import bookings_of
from booking_migrate.dry_run.documents import derive_documents
from booking_migrate.errors import BadConfiguration, NotPermitted
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted, Warned
from booking_migrate.references.basis import FinishedResult, finished_result
from booking_migrate.references.map import MapWriter
from booking_migrate.reports.booking_map import BookingMapReport, report_of_map
from booking_migrate.runs.plan import Counts, MigrationPlan
from booking_migrate.stores.connection import open_journal
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.open_map import MapFilePlace, MapPlace, open_map, parse_map_place
from booking_migrate.stores.places import DEFAULT_TARGET, CollectionPlace, JsonFormat, Place, parse_place
from booking_migrate.stores.ports import Duplicate
from booking_migrate.stores.preview import open_preview

HELP = """
For each old id: the id of its session, of the client document that holds it (bookingId), and of its client. For systems outside
of the database, and for your own scripts.

The map is the same before a migration and after it, because new ids are made of old ones: before, it is derived from the
bookings as migrate would convert them, and nothing is written to source or target; after it, it is read from the client documents.
Use the same --users, --experts, --accept and \\[contract] as for the migration. Rejected bookings are left out and counted, and
the exit code is 3 then.

A file is JSON lines of Extended JSON, or CSV with a header, by its suffix; .gz may follow. A collection has the old id as _id. Either
appears as a whole, or not at all.

\b
[bold]Examples[/bold]
  For a program that reads CSV:
    MONGODB_URI=mongodb://localhost booking-migrate references map --db shop --out map.csv
  As a collection, for lookups:
    booking-migrate references map --db shop --out booking_ids
  Into another program:
    booking-migrate references map --source bookings.jsonl --out - | head
"""


@dataclass(frozen=True, slots=True)
class MapPlaces(Group, panel=PLACES):
    """What is mapped, and where the map goes."""

    out: str = option(
        ...,
        "Where the map goes: a file ending in .jsonl, .ndjson or .csv (also .gz), a collection, or -.",
        metavar="PLACE",
    )
    source: str = source_option()
    target: str | None = option(
        None,
        "Where client documents go, or have gone.",
        metavar="PLACE",
        show_default="bookings_consolidated, taken as empty without a server",
    )
    json_format: JsonFormat | None = json_format_option()


def map(  # noqa: A001 - the command's name
    ctx: typer.Context,
    *,
    given: MapPlaces,
    connection: ConnectionOptions,
    people: PeopleOptions,
    rules: RuleOptions,
    writing: Annotated[WritingOptions, only("overwrite", "batch_size", "workers")],
    output: OutputOptions,
) -> None:
    options = PlaceOptions(given.source, given.target or DEFAULT_TARGET, json_format=given.json_format)
    places = Places.of(ctx, options, people, connection, overwrite=writing.overwrite)

    def body(context: run.RunContext) -> BookingMapReport:
        plan = migration_plan(contract_of(ctx), rules, people, writing)
        return _map(places, plan, parse_map_place(given.out), context)

    run.execute(run.Invocation.about(ctx, output, places, given.out), body)


def _map(places: Places, plan: MigrationPlan, out: MapPlace, context: run.RunContext) -> BookingMapReport:
    """Open the places, write the map, and make the report."""
    listener = context.listener
    _check_distinct(places, out)
    with open_places(places, listener, workers=plan.workers) as sides:
        known = _finished(places, sides, listener)
        target = open_map(out, sides.connection, overwrite=places.overwrite)
        writer = MapWriter(target)
        counts: Counts | None = None
        try:
            target.prepare()
            if known is None:
                counts = _derive(places, plan, sides, writer, listener)
                left_out = counts.rejected
            else:
                _read(known.collection, sides, writer, listener)
                left_out = _count_rejected(known, sides)
            is_changed = writer.finish()
        finally:
            target.abandon()
    if not writer.counts.entries:
        listener.notify(Warned("the map is empty: no session has a legacyBookingId"))
    return report_of_map(
        writer.counts,
        run_id=context.run_id,
        source=places.source,
        target=places.target,
        place=out.name,
        read_from=None if known is None else known.collection,
        left_out=left_out,
        repeated=target.repeated,
        counts=counts,
        changed=is_changed,
        seconds=context.seconds,
    )


def _check_distinct(places: Places, out: MapPlace) -> None:
    """Refuse to write the map over what is read, or over the target.

    Raises:
        SamePlace, BadConfiguration: two of the places are the same.
    """
    places.check_distinct({"--out": Path(out.name)} if isinstance(out, MapFilePlace) else {})
    taken: Mapping[str, Place] = {
        "--source": parse_place(places.source),
        "--target": parse_place(places.target),
        **{name: place for name, (place, _) in places.people_places.items()},
    }
    for name, place in taken.items():
        if isinstance(out, CollectionPlace) and is_same_place(out, place):
            raise BadConfiguration("--out", f"{out.name} is also given as {name}")


def _finished(places: Places, sides: OpenPlaces, listener: Listener) -> FinishedResult | None:
    """Return the result of a migration that is whole; None: the map is derived from the bookings."""
    if not places.are_collections:
        return None
    try:
        journal = open_journal(sides.connection).journal
        return finished_result(journal, source=places.source, target=places.target)
    except NotPermitted as error:
        # What is derived is the same.
        listener.notify(Warned(f"what earlier runs did is not known: {error.message}"))
        return None


def _derive(
    places: Places, plan: MigrationPlan, sides: OpenPlaces, writer: MapWriter, listener: Listener
) -> Counts:
    """Map the client documents that a migration would make; return what it would count."""
    connection = sides.connection
    target = open_preview(
        parse_place(places.target), connection, source_name=places.source, overwrite=True, tries_out=False
    )
    outcome = derive_documents(
        plan,
        sides.source,
        target,
        writer.take,
        users=sides.users,
        experts=sides.experts,
        listener=listener,
        history=history_of_places(places, connection, listener),
    )
    return outcome.counts


def _read(collection: str, sides: OpenPlaces, writer: MapWriter, listener: Listener) -> None:
    """Map the client documents of a collection."""
    with closing(open_reader(CollectionPlace(collection), sides.connection, listener=listener)) as reader:
        reader.check()
        listener.notify(PhaseStarted(f"reading {collection}", reader.estimate_count(), "client document"))
        for document in reader.scan_by_client():
            if document.duplicate is Duplicate.NONE:
                writer.take(document.raw)
            listener.notify(Advanced(1))
        listener.notify(PhaseEnded())


def _count_rejected(known: FinishedResult, sides: OpenPlaces) -> int:
    """Return how many bookings the run has rejected, by its records of them."""
    stores = open_run_stores(sides.connection, target=known.run.target, source=known.run.source)
    return sum(1 for _ in bookings_of(stores.target.rejects()))
