"""The command ``migrate``: side by side, from any place to any place, or within one collection."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import typer

from booking_migrate.cli import run
from booking_migrate.cli.config_file import config_path, contract_of
from booking_migrate.cli.follow import RunFollowing, steps_after_following
from booking_migrate.cli.migrate_steps import steps_after_migrate
from booking_migrate.cli.open import (
    OpenPlaces,
    Places,
    current_plan,
    migration_plan,
    open_places,
    open_run_stores,
    open_shared,
    refuse_unready,
    run_request,
)
from booking_migrate.cli.options import (
    IN_PLACE,
    ConnectionOptions,
    OutputOptions,
    PeopleOptions,
    PlaceOptions,
    RuleOptions,
    WritingOptions,
    archive_option,
    check_mode,
    refuse_options,
    waivable,
)
from booking_migrate.cli.parameters import Group, option
from booking_migrate.cli.planned import PlanOptions
from booking_migrate.domain.rejection import ConflictPolicy
from booking_migrate.errors import BadConfiguration, BadPlace, ExitCode, before_start
from booking_migrate.events import Warned
from booking_migrate.migrate.journaled_run import JournaledOutcome
from booking_migrate.migrate.journaled_run import migrate as migrate_to_collection
from booking_migrate.migrate.pipeline import migrate as migrate_to_stream
from booking_migrate.migrate.preflight import SAMPLE, examine_target, findings_of
from booking_migrate.migrate.to_file import SidecarTarget, migrate_to_file
from booking_migrate.quantities import alternatives
from booking_migrate.reports.model import Report, report_of_migration
from booking_migrate.runs.plan import Finding, MigrationPlan
from booking_migrate.runs.session import RunRequest
from booking_migrate.stores.connection import first_and_last, open_destination
from booking_migrate.stores.destination import refuse_unfit
from booking_migrate.stores.files.atomic import Sidecar
from booking_migrate.stores.open import check_writable, open_target
from booking_migrate.stores.places import (
    SUFFIXES,
    CollectionPlace,
    FilePlace,
    StreamPlace,
    parse_place,
    rejects_beside,
    written_beside,
)

HELP = f"""
Side by side, client documents go to the target, and the source is not touched. With --in-place, everything
happens within the source collection, while the application uses it: one transaction per few clients writes their
documents and moves their old bookings to an archive.

Bookings that cannot be converted are kept whole in a place of their own, with every reason, and nothing else waits for
them. The command can be repeated: what is already there is left as it is.

A PLACE is a collection's name, a file ending in {alternatives(list(SUFFIXES))} (each also .gz), or - for standard
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
  Continue a run that was killed, with its own options:
    booking-migrate migrate --resume RUN --db shop
  In a script:
    booking-migrate migrate --source bookings.jsonl --target clients.jsonl --json --quiet
"""

ENGINE_IGNORED = "--engine is ignored: the program converts all bookings itself. The option will be removed."

ONLY_SIDE_BY_SIDE = (
    "target",
    "rejects",
    "overwrite",
    "merge_client_documents",
    "plan",
    "plan_tolerance",
    "engine",
    "executor",
    "follow",
)
"""The parameters that mean nothing in place."""

ONLY_IN_PLACE = ("archive", "passes", "without_transactions")
"""The parameters that mean something in place only."""


@dataclass(frozen=True, slots=True)
class InPlaceOptions(Group, panel=IN_PLACE):
    """Whether the migration is made in place, and how."""

    in_place: bool = option(
        False, "Migrate within the source collection, while the application uses it.", negatable=True
    )
    archive: str | None = archive_option()
    passes: int = option(
        10,
        "Look for bookings that were added meanwhile at most this many times.",
        metavar="N",
        min=1,
        max=1000,
    )
    without_transactions: bool = option(
        False,
        "For a server without transactions: the application must be stopped until the run is done.",
        show_default=False,
    )


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
    places = Places.of(ctx, given, people, connection, overwrite=writing.overwrite)
    is_in_place = in_place.in_place
    asked = run.Invocation.about(ctx, output, places, planned.plan, *_files_beside(given.target))
    if is_in_place:
        asked = replace(asked, target=given.source)

    if writing.resume is not None:
        # Only then, since it looks into the journal.
        from booking_migrate.cli.resume import resume_run  # noqa: PLC0415

        resume_run(ctx, asked, connection, writing.resume)

    def body(context: run.RunContext) -> Report:
        check_mode(ctx, ONLY_SIDE_BY_SIDE if is_in_place else ONLY_IN_PLACE, in_place=is_in_place)
        if writing.engine is not None:
            context.listener.notify(Warned(ENGINE_IGNORED))
        if is_in_place:
            _check_in_place(rules.on_conflict)
        plan = migration_plan(contract_of(ctx), rules, people, writing)
        if not isinstance(parse_place(asked.target), CollectionPlace):
            refuse_options(ctx, ("max_lag",), "only a collection has secondaries that may lag behind")
            refuse_options(ctx, ("max_rate",), "a file is written by this program alone")
        request = replace(
            run_request("migrate", context.run_id, places, plan, None if is_in_place else places.rejects),
            maximum_lag=writing.max_lag,
            maximum_rate=writing.max_rate,
            restart=writing.restart,
            config=config_path(ctx),
        )
        if not isinstance(parse_place(places.source), CollectionPlace):
            refuse_options(ctx, ("follow",), "only a collection of a replica set has changes to follow")
        if is_in_place:
            # The other engine is not imported for nothing.
            from booking_migrate.cli.migrate_in_place import migrate_in_place  # noqa: PLC0415

            return migrate_in_place(places, plan, request, in_place, context)
        return _migrate(places, plan, request, planned, context, is_followed=writing.follow)

    run.execute(asked, body)


def _check_in_place(on_conflict: ConflictPolicy) -> None:
    """Refuse a decision that a migration in place cannot record.

    Raises:
        BadConfiguration: it is one.
    """
    match on_conflict:
        case ConflictPolicy.TARGET:
            raise BadConfiguration("--on-conflict", "in place it is reject or source")
        case ConflictPolicy.REJECT | ConflictPolicy.SOURCE:
            return


def _files_beside(target: str) -> Sequence[Path]:
    """Return the files that the run writes beside a target file; a report must not be one of them."""
    try:
        return list(written_beside(parse_place(target)).values())
    except BadPlace:
        # Reported where the places are opened, like any other problem.
        return ()


def _migrate(
    places: Places,
    plan: MigrationPlan,
    request: RunRequest,
    planned: PlanOptions,
    context: run.RunContext,
    *,
    is_followed: bool,
) -> Report:
    """Open the places, migrate side by side, and make the report."""
    places.check_distinct({"--rejects": places.rejects})
    target = parse_place(places.target)
    with before_start():
        check_writable(target, rejects=places.rejects)
    with open_places(places, context.listener, workers=plan.workers) as sides:
        with before_start():
            expected = planned.check(
                partial(current_plan, places, plan, sides.connection), context.listener, context.asked.ctx
            )
            if isinstance(target, CollectionPlace):
                limits_lag = request.maximum_lag is not None
                refuse_unready("migrate", places, sides.connection, limits_lag=limits_lag)
            if isinstance(parse_place(places.source), CollectionPlace):
                sides.connection.await_majority(places.source)
        following = RunFollowing(places, plan, context, sides, is_forever=is_followed)
        request = following.begin(request)
        done = _run(plan, places, request, context, sides)
        followed = following.follow(request, changed=done.outcome.changed)
        after = () if followed is None else tuple(steps_after_following(followed, places, sides))
    steps = steps_after_migrate(
        done.outcome,
        context.asked.ctx,
        into_file=isinstance(target, FilePlace),
        absences=sides.absences,
    )
    is_taken_over = followed is not None and followed.taken_by is not None
    time = None if followed is None else followed.time
    report = report_of_migration(
        done.outcome,
        run_id=done.run_id,
        source=places.source,
        target=places.target,
        next_steps=after if is_taken_over else (*steps, *after),
        cluster_time=None if time is None else time.as_datetime(),
        planned=expected,
    )
    # What ends as it is meant to is resumed by the same command; a script is not to take it for a failure.
    return report.model_copy(update={"exit_code": ExitCode.DONE}) if is_followed else report


def _run(
    plan: MigrationPlan, places: Places, request: RunRequest, context: run.RunContext, sides: OpenPlaces
) -> JournaledOutcome:
    """Migrate: into a collection with a journal and a lock, into a file with a sidecar, else with neither."""
    place = parse_place(places.target)
    with before_start():
        target = open_target(
            place,
            sides.connection,
            source_name=places.source,
            rejects=places.rejects,
            overwrite=places.overwrite,
            start_pool=sides.start_pool,
        )
        shared = open_shared(places, sides, target, plan.executor)
        findings = _target_findings(plan, places, sides) if isinstance(place, CollectionPlace) else ()
        # Last, because a file is read whole.
        sides.check()
    match place:
        case CollectionPlace():
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
                shared=shared,
            )
            outcome = replace(done.outcome, findings=(*done.outcome.findings, *findings))
            return replace(done, outcome=outcome)
        case FilePlace():
            written = [place.path, places.rejects or rejects_beside(place)]
            return migrate_to_file(
                plan,
                sides.source,
                SidecarTarget(target, Sidecar(place.path), request, written),
                run_id=context.run_id,
                users=sides.users,
                experts=sides.experts,
                listener=context.listener,
                start_pool=sides.start_pool,
            )
        case StreamPlace():
            outcome = migrate_to_stream(
                plan,
                sides.source,
                target,
                users=sides.users,
                experts=sides.experts,
                listener=context.listener,
                start_pool=sides.start_pool,
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
    return tuple(findings_of(places.target, found, is_over=True))
