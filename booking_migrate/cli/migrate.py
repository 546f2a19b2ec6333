"""The command ``migrate``: side by side, from any place to any place, or within one collection."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import config_path, contract_of, hooks_of
from booking_migrate.cli.help_texts import filled
from booking_migrate.cli.in_place import (
    ONLY_IN_PLACE,
    ONLY_SIDE_BY_SIDE,
    InPlaceOptions,
    RunContext,
    check_mode_options,
    check_options,
    migrate_in_place,
)
from booking_migrate.cli.next_steps import steps_after_migrate
from booking_migrate.cli.open import (
    OpenPlaces,
    Places,
    current_process,
    migration_plan,
    open_places,
    open_run_stores,
    options_of_run,
)
from booking_migrate.cli.option_values import waivable
from booking_migrate.cli.options import (
    RULES,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    PlaceOptions,
    RuleOptions,
    WritingOptions,
)
from booking_migrate.cli.parameters import option
from booking_migrate.cli.plan_file import check_plan
from booking_migrate.domain.rejection import ConflictPolicy
from booking_migrate.errors import BadConfiguration, BadPlace
from booking_migrate.events import Listener, Warned
from booking_migrate.migrate.destination import SAMPLE, examine_target, findings_of
from booking_migrate.migrate.lifecycle import JournaledOutcome
from booking_migrate.migrate.lifecycle import migrate as migrate_to_collection
from booking_migrate.migrate.pipeline import migrate as migrate_to_stream
from booking_migrate.migrate.to_file import SidecarTarget, migrate_to_file
from booking_migrate.reports.model import Report, report_of_migration
from booking_migrate.runs.outcome import Finding
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.session import RunRequest
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.connection import first_and_last, open_destination
from booking_migrate.stores.destination import refuse_unfit
from booking_migrate.stores.files.atomic import Sidecar
from booking_migrate.stores.open import (
    CollectionPlace,
    FilePlace,
    StreamPlace,
    check_writable,
    open_target,
    parse_place,
    rejects_beside,
    written_beside,
)

HELP = filled(f"""
Side by side, client documents go to the target, and the source is not touched. With --in-place, everything
happens within the source collection, while the application uses it: one transaction per few clients writes their
documents and moves their old bookings to an archive.

Bookings that cannot be converted are kept whole in a place of their own, with every reason, and nothing else waits for
them. The command can be repeated: what is already there is left as it is.

A PLACE is a collection's name, a file ending in .jsonl, .ndjson, .json or .bson (each also .gz), or - for standard
input or output. A rule is waived by its REASON, one of: {", ".join(waivable())}.

Every option is also read from BOOKING_MIGRATE_ and its name, such as BOOKING_MIGRATE_BATCH_SIZE, and from the config
file; an option ranks before the environment, and that before the file.

\b
[bold]Examples[/bold]
  From a file to a file:
    booking-migrate migrate --source bookings.jsonl --target clients.jsonl \\
      --users users.jsonl --experts experts.jsonl
  Within a database:
    MONGODB_URI=mongodb://localhost booking-migrate migrate --db shop
  From a dump to a server, with a report to mail:
    booking-migrate migrate --source dump/shop/bookings.bson.gz --target clients \\
      --uri mongodb://localhost --db shop --report report.html
  In the live collection, at 2000 bookings a second:
    booking-migrate migrate --in-place --source bookings --db shop --max-rate 2000
  In a script:
    booking-migrate migrate --source bookings.jsonl --target clients.jsonl --json --quiet
""")

ENGINE_IGNORED = "--engine is ignored: the program converts all bookings itself. The option will be removed."


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """A plan to keep to."""

    panel: ClassVar[str] = RULES

    plan: Annotated[
        Path | None,
        option(
            metavar="FILE",
            show_default=False,
            help="Refuse unless options and files are still those of this plan, which dry-run --plan saved.",
        ),
    ] = None


def migrate(
    ctx: typer.Context,
    *,
    given: PlaceOptions,
    connection: ConnectionOptions,
    people: PeopleOptions,
    rules: RuleOptions,
    writing: WritingOptions,
    in_place: InPlaceOptions,
    planned: PlanOptions,
    output: OutputOptions,
) -> None:
    """Parse, and hand over to `_migrate` or to `in_place`."""
    places = Places(
        source=given.source,
        target=given.target,
        people=people,
        connection=connection,
        json_format=given.json_format,
        overwrite=writing.overwrite,
        rejects=given.rejects,
    )
    asked = output.invocation(
        ctx,
        uri=connection.uri,
        source=given.source,
        target=given.source if in_place.in_place else given.target,
        places=[*places.named, planned.plan, *_files_beside(given.target)],
    )
    signal_guard = SignalGuard()

    def body(run_id: str, listener: Listener) -> Report:
        is_in_place = in_place.in_place
        check_mode_options(ctx, ONLY_SIDE_BY_SIDE if is_in_place else ONLY_IN_PLACE, in_place=is_in_place)
        if writing.engine is not None:
            listener.notify(Warned(ENGINE_IGNORED))
        if is_in_place and rules.on_conflict is ConflictPolicy.TARGET:
            raise BadConfiguration("--on-conflict", "in place it is reject or source")
        plan = migration_plan(contract_of(ctx), rules, people, writing)
        context = RunContext(
            run_id, writing.restart, writing.max_lag, listener, signal_guard, config_path(ctx)
        )
        if not isinstance(parse_place(asked.target), CollectionPlace):
            check_options(ctx, ("max_lag",), "only a collection has secondaries that may lag behind")
        if is_in_place:
            return migrate_in_place(places, plan, in_place, context)
        return _migrate(places, plan, planned.plan, context)

    run.execute(asked, body, signal_guard, partial(hooks_of, ctx))


def _files_beside(target: str) -> list[Path]:
    """Return the files that the run writes beside a target file; a report must not be one of them."""
    try:
        return list(written_beside(parse_place(target)).values())
    except BadPlace:
        # Reported where the places are opened, like any other problem.
        return []


def _migrate(places: Places, plan: MigrationPlan, saved: Path | None, context: RunContext) -> Report:
    """Open the places, migrate, and make the report.

    Args:
        places: the places.
        plan: what to do.
        saved: the file of a plan that has to be kept to, if any.
        context: the run.
    """
    places.check_distinct({"--rejects": places.rejects})
    target = parse_place(places.target)
    check_writable(target, rejects=places.rejects)
    with open_places(places, context.listener) as sides:
        if saved is not None:
            check_plan(saved, places, plan, sides.connection, context.listener)
        if isinstance(parse_place(places.source), CollectionPlace):
            sides.connection.await_majority(places.source)
        done = _run(plan, places, context, sides)
    return report_of_migration(
        done.outcome,
        run_id=done.run_id,
        source=places.source,
        target=places.target,
        next_steps=tuple(
            steps_after_migrate(
                done.outcome, into_file=isinstance(target, FilePlace), absences=sides.absences
            )
        ),
    )


def _run(plan: MigrationPlan, places: Places, context: RunContext, sides: OpenPlaces) -> JournaledOutcome:
    """Migrate: into a collection with a journal and a lock, into a file with a sidecar, else with neither."""
    place = parse_place(places.target)
    target = open_target(
        place, sides.connection, source_name=places.source, rejects=places.rejects, overwrite=places.overwrite
    )
    request = RunRequest(
        run_id=context.run_id,
        source=places.source,
        target=places.target,
        options=options_of_run(plan, places, places.rejects),
        holder=current_process("migrate", context.run_id),
        maximum_lag=context.maximum_lag,
        restart=context.restart,
        config=context.config,
    )
    match place:
        case CollectionPlace():
            findings = _target_findings(plan, places, sides)
            stores = open_run_stores(sides.connection, target=places.target, source=places.source)
            done = migrate_to_collection(
                plan,
                sides.source,
                target,
                stores=stores,
                request=request,
                users=sides.users,
                experts=sides.experts,
                listener=context.listener,
                signal_guard=context.signal_guard,
            )
            outcome = replace(done.outcome, findings=(*done.outcome.findings, *findings))
            return replace(done, outcome=outcome)
        case FilePlace():
            written = [place.path, places.rejects or rejects_beside(place)]
            return migrate_to_file(
                plan,
                sides.source,
                SidecarTarget(target, Sidecar(place.path), request, written, context.listener),
                run_id=context.run_id,
                users=sides.users,
                experts=sides.experts,
                listener=context.listener,
            )
        case StreamPlace():
            outcome = migrate_to_stream(
                plan,
                sides.source,
                target,
                users=sides.users,
                experts=sides.experts,
                listener=context.listener,
            )
            return JournaledOutcome(outcome, context.run_id, is_resumed=False)


def _target_findings(plan: MigrationPlan, places: Places, sides: OpenPlaces) -> tuple[Finding, ...]:
    """Return what the report says about the target's indexes and options.

    Raises:
        UnfitPlace: one of them conflicts with client documents; nothing was written.
    """
    found = examine_target(
        plan,
        open_destination(sides.connection, places.target, places.source),
        first_and_last(parse_place(places.source), sides.connection, SAMPLE),
        users=sides.users,
        experts=sides.experts,
    )
    refuse_unfit(places.target, found)
    return tuple(findings_of(places.target, found))
