"""The command ``dry-run``: everything that ``migrate`` would do, and nothing written."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import contract_of
from booking_migrate.cli.migrate_steps import steps_about_source
from booking_migrate.cli.next_steps import (
    accepting,
    is_for_source,
    same_command,
    similar_command,
    steps_about_people,
    written_out_for,
)
from booking_migrate.cli.open import OpenPlaces, Places, current_plan, migration_plan, open_places
from booking_migrate.cli.options import (
    OUTPUT,
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
from booking_migrate.dry_run.needs import DISK_TOO_SMALL, ServerSurroundings, inspect_surroundings
from booking_migrate.dry_run.outcome import DryRunOutcome
from booking_migrate.dry_run.run import dry_run as read_everything
from booking_migrate.errors import (
    CutOverAlready,
    NotPermitted,
    OtherMode,
    OutputFailed,
    TargetBusy,
    WriteFailed,
)
from booking_migrate.events import Announced, Listener, Warned
from booking_migrate.reports.files import check_output_path, replace_file
from booking_migrate.reports.model import NextStep, Report
from booking_migrate.reports.model_dry_run import report_of_dry_run
from booking_migrate.reports.text import split_command
from booking_migrate.runs.plan import ExpectedCounts, Finding, MigrationPlan, SavedPlan
from booking_migrate.runs.provenance import TargetHistory, history_of
from booking_migrate.runs.status import refuse_other_mode
from booking_migrate.stores.connection import Connection, open_inspector, open_journal
from booking_migrate.stores.open import sample
from booking_migrate.stores.places import DEFAULT_TARGET, CollectionPlace, JsonFormat, parse_place
from booking_migrate.stores.ports import DocumentReader
from booking_migrate.stores.preview import PreviewTarget, open_preview
from booking_migrate.stores.readers import Absence
from booking_migrate.stores.scratch import Scratchpad

HELP = """
Everything is read and nothing is written: what would be migrated, what the risks are, what it needs and what it gains.

The counts are those that migrate will report, because it is the same engine. A user who may only read is enough: no
document, no index and no collection is written, on either side.

With --plan, what was read is saved: options, contract, and the data's fingerprint. migrate --plan then refuses
other options, another contract and other files, naming the difference; of a collection it says what has changed since.

\b
[bold]Examples[/bold]
  Within a database, with a report to read and one to mail:
    MONGODB_URI=mongodb://localhost booking-migrate dry-run --db shop --report report.html
  Of a file, with the bookings that would be rejected:
    booking-migrate dry-run --source bookings.jsonl --users users.jsonl --experts experts.jsonl \\
      --reject-file rejected.jsonl
  A quick look at a large collection:
    booking-migrate dry-run --db shop --sample 50000
  Look, then do exactly that:
    booking-migrate dry-run --db shop --plan plan.json && booking-migrate migrate --db shop --plan plan.json
"""


@dataclass(frozen=True, slots=True)
class DryRunPlaces(Group, panel=PLACES):
    """What is read, and how much of it."""

    source: str = source_option()
    target: str | None = option(
        None,
        "Where client documents would go.",
        metavar="PLACE",
        show_default="bookings_consolidated, taken as empty without a server",
    )
    json_format: JsonFormat | None = json_format_option()
    sample: int | None = option(
        None,
        "A quick look at about N bookings; every figure is then an estimate.",
        metavar="N",
        min=1,
        show_default="all",
    )


@dataclass(frozen=True, slots=True)
class DryRunFiles(Group, panel=OUTPUT):
    """What a dry-run writes beside its report."""

    reject_file: Path | None = option(
        None,
        "Write the bookings that would be rejected, whole and with all reasons, as JSON lines.",
        metavar="FILE",
    )
    plan: Path | None = option(
        None,
        "Save what would be migrated; migrate --plan FILE then refuses other options and files.",
        metavar="FILE",
    )


def dry_run(
    ctx: typer.Context,
    *,
    given: DryRunPlaces,
    connection: ConnectionOptions,
    people: PeopleOptions,
    rules: RuleOptions,
    writing: Annotated[WritingOptions, only("overwrite", "batch_size", "workers")],
    files: DryRunFiles,
    output: OutputOptions,
) -> None:
    options = PlaceOptions(given.source, given.target or DEFAULT_TARGET, json_format=given.json_format)
    places = Places.of(ctx, options, people, connection, overwrite=writing.overwrite)

    def body(context: run.RunContext) -> Report | run.Incomplete:
        plan = migration_plan(contract_of(ctx), rules, people, writing)
        return _dry_run(places, plan, given, files, context)

    run.execute(run.Invocation.about(ctx, output, places, files.reject_file, files.plan), body)


def _dry_run(
    places: Places,
    plan: MigrationPlan,
    given: DryRunPlaces,
    files: DryRunFiles,
    context: run.RunContext,
) -> Report | run.Incomplete:
    """Open the places, read everything, and make the report."""
    connection, listener = places.connection, context.listener
    is_in_database = isinstance(parse_place(places.source), CollectionPlace)
    if places.is_uri_from_environment and not is_in_database and given.target is None:
        # A MONGODB_URI for other programs does not mean that a server is to be asked about a file.
        places = replace(places, connection=replace(connection, uri=None))
    written = {"--reject-file": files.reject_file, "--plan": files.plan}
    places.check_distinct(written)
    for name, path in written.items():
        if path is not None:
            check_output_path(name, path)
    with open_places(places, listener, workers=plan.workers) as sides:
        # The fingerprint first: what changes while the data is read must not be part of it.
        saved = None if files.plan is None else current_plan(places, plan, sides.connection)
        lost: list[OutputFailed] = []

        def lose_rejects(error: WriteFailed) -> None:
            lost.append(OutputFailed("dry-run", "list of rejected bookings", error.place, error.problem))

        outcome = _read(
            places,
            plan,
            given.sample,
            reject_file=files.reject_file,
            on_loss=lose_rejects,
            sides=sides,
            listener=listener,
        )
        if is_in_database and isinstance(parse_place(places.target), CollectionPlace):
            outcome = _with_run_in_effect(outcome, places.source, sides.connection)
    blockers = (
        replace(each, hint=context.asked.printable(written_out_for(context.asked.ctx, "migrate", each.hint)))
        for each in outcome.blockers
    )
    outcome = replace(outcome, blockers=tuple(blockers))
    report = report_of_dry_run(
        outcome,
        run_id=context.run_id,
        source=places.source,
        target=places.target,
        rejects=str(files.reject_file)
        if files.reject_file and outcome.migration.counts.rejected and not lost
        else None,
        next_steps=tuple(
            _next_steps(
                outcome,
                context.asked.ctx,
                sides.absences,
                plan=None if outcome.sampled else files.plan,
                rejects=None if lost else files.reject_file,
            )
        ),
    )
    if report.rejects is not None:
        listener.notify(Announced(f"rejected bookings written to {report.rejects}"))
    if files.plan is not None and saved is not None:
        lost += _save_plan(files.plan, saved, outcome, listener)
    return run.Incomplete(report, lost) if lost else report


def _save_plan(
    path: Path, saved: SavedPlan, outcome: DryRunOutcome, listener: Listener
) -> Sequence[OutputFailed]:
    """Write the plan, with the counts that it expects; return why that failed, if it did."""
    if outcome.sampled is None:
        expected = ExpectedCounts.model_validate(outcome.migration.counts, from_attributes=True)
        saved = saved.model_copy(update={"expected": expected})
    try:
        replace_file(path, saved.model_dump_json(indent=2) + "\n")
    except WriteFailed as error:
        return [OutputFailed("dry-run", "plan", error.place, error.problem)]
    expects = "" if saved.expected is None else f"; it expects {saved.expected}"
    listener.notify(Announced(f"plan written to {path}{expects}"))
    return ()


def _with_run_in_effect(outcome: DryRunOutcome, source: str, connection: Connection) -> DryRunOutcome:
    """Add the finding that a run of another mode, or a cut-over, makes `migrate` side by side impossible."""
    journal, locks, _ = open_journal(connection)
    try:
        refuse_other_mode(journal, locks, source, in_place=False)
    except (OtherMode, CutOverAlready, TargetBusy) as refusal:
        title = "run that makes migrate refuse this source"
        advice = f"{refusal.message}. The commands that lead on are those of: booking-migrate status"
        finding = Finding("migrate-refused", title, 1, (), advice)
        findings = (finding, *outcome.migration.findings)
        return replace(outcome, migration=replace(outcome.migration, findings=findings))
    except NotPermitted:
        # The journal may not be read; then the missing privileges are named already.
        return outcome
    return outcome


def _read(
    places: Places,
    plan: MigrationPlan,
    sample_size: int | None,
    *,
    reject_file: Path | None,
    on_loss: Callable[[WriteFailed], None],
    sides: OpenPlaces,
    listener: Listener,
) -> DryRunOutcome:
    target = parse_place(places.target)

    def open_target() -> PreviewTarget:
        return open_preview(
            target,
            sides.connection,
            source_name=places.source,
            # A sample is not what a target file would be, so the two cannot be compared.
            overwrite=places.overwrite or sample_size is not None,
            reject_file=reject_file,
            on_loss=on_loss,
        )

    source: DocumentReader = sides.source
    if sample_size is not None:
        source = sample(source, parse_place(places.source), sides.connection, sample_size)
    with closing(Scratchpad()) as scratchpad:
        return read_everything(
            plan,
            source,
            open_target,
            surroundings=_inspect_surroundings(places, sides.connection),
            scratchpad=scratchpad,
            users=sides.users,
            experts=sides.experts,
            listener=listener,
            history=history_of_places(places, sides.connection, listener),
        )


def _next_steps(
    outcome: DryRunOutcome,
    ctx: typer.Context,
    absences: Sequence[Absence],
    *,
    plan: Path | None,
    rejects: Path | None,
) -> Iterator[NextStep]:
    """Yield the steps after a dry-run: remove blockers first, then causes of rejections, then migrate."""
    yield from steps_about_people(absences)
    yield from _steps_about_blockers(outcome, ctx)
    counts = outcome.migration.counts
    if counts.rejected:
        yield from steps_about_source(outcome.migration, ctx, "dry-run", absences)
        if is_for_source(outcome.migration.rejections, absences):
            where = "--reject-file FILE" if rejects is None else str(rejects)
            fix = "If they are bookings: fix" if counts.are_all_rejected else "Fix"
            yield NextStep(text=f"{fix} what would be rejected; {where} has it whole, with all reasons.")
        if accepted := accepting(outcome.migration.rejections, ctx):
            accepting_them = "Or, if the new application may hold such values, accept them:"
            yield NextStep(text=accepting_them, command=same_command(ctx, shlex.join(accepted)))
    if outcome.migration.findings and not ctx.params.get("report"):
        yield NextStep(
            text="What each risk means, and what to do about it, in a report:",
            command=same_command(ctx, "--report dry-run.md"),
        )
    if not outcome.blockers and counts.scanned and not (counts.are_all_rejected and outcome.sampled is None):
        if plan is not None:
            command = similar_command(ctx, "migrate", "--plan", shlex.quote(str(plan)))
            yield NextStep(text="Migrate exactly this:", command=command)
        elif outcome.sampled is None:
            yield NextStep(
                text="Save a plan, so that exactly this is migrated:",
                command=same_command(ctx, "--plan plan.json"),
            )
        else:
            yield NextStep(text="Read everything:", command=same_command(ctx, "", without="--sample"))


def _steps_about_blockers(outcome: DryRunOutcome, ctx: typer.Context) -> Iterator[NextStep]:
    """Yield what removes what prevents a migration."""
    for blocker in outcome.blockers:
        if blocker.kind == DISK_TOO_SMALL:
            yield NextStep(
                text="If the result is to be on this server: free space on its disk, or enlarge it; then look again:",
                command=same_command(ctx, ""),
            )
            yield NextStep(
                text="If the result is for another server: migrate into a file, and import it there. First look at that:",
                command=same_command(ctx, "--target clients.jsonl"),
            )
        else:
            for line in filter(None, blocker.hint.splitlines()):
                text, command = split_command(line)
                yield NextStep(text=text, command=command)


def history_of_places(places: Places, connection: Connection, listener: Listener) -> TargetHistory | None:
    """Return what earlier runs wrote to the target; None, with a warning, if this user may not read the journal."""
    if not connection.is_given or not isinstance(parse_place(places.target), CollectionPlace):
        return None
    try:
        return history_of(open_journal(connection).journal, source=places.source, target=places.target)
    except NotPermitted as error:
        listener.notify(Warned(f"what earlier runs wrote to {places.target} is not known: {error.message}"))
        return None


def _inspect_surroundings(places: Places, connection: Connection) -> ServerSurroundings:
    sides = (parse_place(places.source), parse_place(places.target))
    names = [side.name if isinstance(side, CollectionPlace) else None for side in sides]
    if not connection.is_given or names == [None, None]:
        return ServerSurroundings()
    anchor = next(name for name in names if name is not None)
    return inspect_surroundings(
        open_inspector(connection, anchor), names[0], names[1], places.people_collections
    )
