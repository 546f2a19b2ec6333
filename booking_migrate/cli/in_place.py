"""``migrate --in-place``: within one collection, while the application runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from booking_migrate.cli.next_steps import steps_after_in_place
from booking_migrate.cli.open import Places, current_process, open_places, open_run_stores, options_of_run
from booking_migrate.cli.options import IN_PLACE, Archive
from booking_migrate.cli.parameters import is_from, option
from booking_migrate.errors import BadConfiguration
from booking_migrate.events import Listener
from booking_migrate.in_place import run as engine
from booking_migrate.in_place.move_back import undo_in_place
from booking_migrate.reports.model import Report, report_of_migration
from booking_migrate.runs.commands import command_of
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.session import RunRequest, RunSession
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.in_place import default_archive, open_in_place
from booking_migrate.stores.readers import Absence

ONLY_SIDE_BY_SIDE = ("target", "rejects", "overwrite", "merge_client_documents", "plan", "engine", "workers")
"""The parameters of ``migrate`` that mean nothing in place."""

ONLY_IN_PLACE = ("archive", "passes", "max_rate", "without_transactions")
"""The parameters of ``migrate`` that mean something in place only."""


@dataclass(frozen=True, slots=True)
class InPlaceOptions:
    """Whether ``migrate`` works in place, and how."""

    panel: ClassVar[str] = IN_PLACE

    in_place: Annotated[
        bool,
        option(
            negatable=True,
            show_default=False,
            help="Migrate within the source collection, while the application uses it.",
        ),
    ] = False
    archive: Archive = None
    passes: Annotated[
        int,
        option(
            metavar="N",
            min=1,
            max=1000,
            help="Look for bookings that were added meanwhile at most this many times.",
        ),
    ] = 10
    max_rate: Annotated[
        float | None,
        option(metavar="N", min=1, show_default="no limit", help="Move at most this many bookings a second."),
    ] = None
    without_transactions: Annotated[
        bool,
        option(
            show_default=False,
            help="For a server without transactions: the application must be stopped until the run is done.",
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every migration takes beside its plan and its places."""

    run_id: str
    restart: bool
    maximum_lag: float | None
    listener: Listener
    signal_guard: SignalGuard
    config: str | None = None
    """Where the config file is, if one was given."""


def check_mode_options(ctx: typer.Context, unfit: Sequence[str], *, in_place: bool) -> None:
    """Refuse options that mean nothing here.

    Args:
        ctx: the source of each parameter's value.
        unfit: the parameters that mean nothing.
        in_place: whether ``--in-place`` is given.

    Raises:
        BadConfiguration: one of them is given.
    """
    check_options(ctx, unfit, "it means nothing with --in-place" if in_place else "it needs --in-place")


def check_options(ctx: typer.Context, unfit: Sequence[str], reason: str) -> None:
    """Refuse options that mean nothing for what is asked for; the config file may have them for other commands.

    Args:
        ctx: the source of each parameter's value.
        unfit: the parameters that mean nothing.
        reason: why they do not.

    Raises:
        BadConfiguration: one of them is given.
    """
    for parameter in unfit:
        if is_from(ctx, parameter, "COMMANDLINE", "ENVIRONMENT"):
            raise BadConfiguration("--" + parameter.replace("_", "-"), reason)


def migrate_in_place(
    places: Places, plan: MigrationPlan, options: InPlaceOptions, context: RunContext
) -> Report:
    """Open the collection, migrate, and make the report."""
    archive = default_archive(places.source) if options.archive is None else options.archive
    done, absences = _run(places, plan, options, archive, context)
    report = report_of_migration(
        done.outcome,
        run_id=done.run.run_id,
        source=places.source,
        target=places.source,
        next_steps=tuple(steps_after_in_place(done.outcome, command_of(done.run, "verify"), absences)),
    )
    return report.model_copy(update={"archive": archive, "passes": done.passes})


def _run(
    places: Places, plan: MigrationPlan, options: InPlaceOptions, archive: str, context: RunContext
) -> tuple[engine.InPlaceOutcome, list[Absence]]:
    listener, signal_guard = context.listener, context.signal_guard
    with open_places(places, listener) as sides:
        collection = open_in_place(
            sides.connection,
            source=places.source,
            archive=archive,
            has_transactions=not options.without_transactions,
        )
        stores = open_run_stores(sides.connection, target=places.source, source=places.source)
        request = RunRequest(
            run_id=context.run_id,
            source=places.source,
            target=places.source,
            options={
                **options_of_run(plan, places),
                "archive": archive,
                "without-transactions": str(options.without_transactions),
            },
            holder=current_process("migrate", context.run_id),
            maximum_lag=context.maximum_lag,
            restart=context.restart,
            config=context.config,
            archive=archive,
        )
        session = RunSession(
            stores,
            request,
            undo=lambda run, lock: undo_in_place(
                run, collection, stores, lock, listener=listener, signal_guard=signal_guard
            ),
        )
        done = engine.migrate_in_place(
            plan,
            collection,
            stores=stores,
            session=session,
            request=request,
            users=sides.users,
            experts=sides.experts,
            manner=engine.Manner(passes=options.passes, maximum_rate=options.max_rate),
            listener=listener,
            signal_guard=signal_guard,
        )
        return done, sides.absences
