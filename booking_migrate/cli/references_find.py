"""The command ``references find``: fields of other collections that hold ids of bookings."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import ConfigFile, OwnTable, file_of
from booking_migrate.cli.next_steps import same_command, similar_command
from booking_migrate.cli.options import OUTPUT, PLACES, ConnectionOptions, OutputOptions
from booking_migrate.cli.parameters import Group, option
from booking_migrate.errors import BadConfiguration, OutputExists
from booking_migrate.init.references_text import references_text
from booking_migrate.references.find import find_references
from booking_migrate.references.outcome import FindOutcome
from booking_migrate.reports.files import check_output_path, replace_file
from booking_migrate.reports.model import NextStep
from booking_migrate.reports.references import FindReport, report_of_find
from booking_migrate.runs.states import has_live_ids
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.open_references import OpenReferences, open_references
from booking_migrate.stores.open_rewriting import open_referring_writes
from booking_migrate.stores.places import DEFAULT_SOURCE, DEFAULT_TARGET, CollectionPlace, parse_place

HELP = """
It reads every document of the other collections, and looks up each value that could be an id: ObjectIds, UUIDs, and their digits as
text or within a text, in arrays, in embedded documents, in DBRefs, and as _id. Of each field it says how many values are ids of
bookings, how many are new ids already, and how many are neither, which field beside it says the type, and which indexes and validators concern it.

It works before a migration and after a cut-over. Nothing is written to the server: a user who may only read is enough.

\b
[bold]Examples[/bold]
    MONGODB_URI=mongodb://localhost booking-migrate references find --db shop
    booking-migrate references find --db shop --output references.toml --report references.html
  A quick look at some documents of each collection:
    booking-migrate references find --db shop --sample 200
"""


@dataclass(frozen=True, slots=True)
class FindPlaces(Group, panel=PLACES):
    """Whose ids are looked for, and where."""

    source: str = option(
        DEFAULT_SOURCE, "The collection of bookings; after a cut-over, the live one.", metavar="NAME"
    )
    target: str = option(
        DEFAULT_TARGET, "The collection of client documents, if it is another one.", metavar="NAME"
    )
    collection: list[str] | None = option(
        None,
        "Search this collection only. May be repeated.",
        metavar="NAME",
        show_default="all others of the database",
    )
    sample: int | None = option(
        None,
        "Read only N documents of each collection, chosen by chance; rare references may be missed then.",
        metavar="N",
        min=1,
        show_default="all",
    )


@dataclass(frozen=True, slots=True)
class SectionOptions(Group, panel=OUTPUT):
    """Where the section for the config file goes."""

    output: Path | None = option(
        None, "Write the tables for the config file to this file; - is standard output.", metavar="FILE"
    )
    overwrite: bool = option(False, "Replace a file that exists.", negatable=True)


def find(
    ctx: typer.Context,
    *,
    given: FindPlaces,
    connection: ConnectionOptions,
    section: SectionOptions,
    output: OutputOptions,
) -> None:
    path = None if _is_stream(section) else section.output
    asked = run.Invocation(ctx, output, connection.uri, given.source, places=[path])
    run.execute(asked, lambda context: _find(given, connection, section, context))


def _is_stream(section: SectionOptions) -> bool:
    return str(section.output) == run.STANDARD_STREAM


def _find(
    given: FindPlaces, connection: ConnectionOptions, section: SectionOptions, context: run.RunContext
) -> FindReport:
    for name, value in (("--source", given.source), ("--target", given.target)):
        if not isinstance(parse_place(value), CollectionPlace):
            raise BadConfiguration(
                name, f"references are looked for in a database, and {value!r} does not name a collection"
            )
    if section.output is not None and not _is_stream(section):
        check_output_path("--output", section.output)
        if section.output.exists() and not section.overwrite:
            raise OutputExists(str(section.output))
    with connection.open() as opened:
        opened.contact(given.source)
        places = open_references(opened, source=given.source, target=given.target)
        if places.run is None:
            # A name that does not exist would look like a database without references.
            open_reader(parse_place(given.source), opened).check()
        names = _chosen(given.collection, places)
        time_series = () if given.collection else tuple(places.inspector.time_series())
        outcome = find_references(
            [places.referring(name) for name in names],
            places.ids,
            new_ids=places.ids,
            refuses=lambda name, documents: open_referring_writes(opened, name).refuses(documents),
            sample=given.sample,
            listener=context.listener,
        )
    outcome = replace(outcome, time_series=time_series)
    text = references_text(outcome)
    if _is_stream(section):
        sys.stdout.write(text)
    elif section.output is not None:
        replace_file(section.output, text)
    return report_of_find(
        outcome,
        run_id=context.run_id,
        source=given.source,
        section=text,
        output=None if section.output is None else str(section.output),
        next_steps=tuple(_next_steps(outcome, section, places.run, context.asked.ctx)),
    )


def _added_to(file: ConfigFile, output: Path) -> NextStep:
    """Return how the tables get into the config file that is in use."""
    if file.tables[OwnTable.REFERENCES]:
        text = f"Look through {output}, and put its tables into {file.path}, in place of the {OwnTable.REFERENCES.heading} there."
        return NextStep(text=text)
    return NextStep(
        text=f"Look through {output}, and append it to the config file:",
        command=f"cat {quote(str(output))} >> {quote(str(file.path))}",
    )


def _chosen(wanted: Sequence[str] | None, places: OpenReferences) -> Sequence[str]:
    """Return the names of the collections to search.

    Raises:
        BadConfiguration: one that is named is not there, or is the bookings' own.
    """
    there = places.others
    for name in wanted or ():
        if name in places.own:
            raise BadConfiguration("--collection", f"{name} holds the bookings themselves")
        if name not in there:
            raise BadConfiguration(
                "--collection", f"{name!r} is not a collection of this database that can be read"
            )
    return list(dict.fromkeys(wanted)) if wanted else there


def _next_steps(
    outcome: FindOutcome, section: SectionOptions, migration: RunRecord | None, ctx: typer.Context
) -> Iterator[NextStep]:
    if outcome.sample is not None:
        more = "" if section.output is None or _is_stream(section) else "--overwrite"
        yield NextStep(text="Read every document:", command=same_command(ctx, more, without="--sample"))
    if outcome.fields and section.output is None:
        yield NextStep(
            text="Write the tables for the config file:",
            command=same_command(ctx, "--output references.toml"),
        )
    if not outcome.fields or section.output is None or _is_stream(section):
        return
    rewrite = "booking-migrate references rewrite"
    if (file := file_of(ctx)) is None:
        rewrite += f" --config {quote(str(section.output))}"
    else:
        # A command takes one config file, and the settings of this one are needed, too.
        yield _added_to(file, section.output)
    if migration is not None and has_live_ids(migration):
        yield NextStep(text="Look through the file; then write new ids into these fields:", command=rewrite)
        return
    if migration is None:
        yield NextStep(text="First migrate:", command=similar_command(ctx, "migrate"))
    else:
        yield NextStep(
            text="Show what leads to the cut-over:",
            command=f"booking-migrate status --run {migration.run_id}",
        )
    yield NextStep(text="After the cut-over, write new ids into these fields:", command=rewrite)
