"""``migrate --in-place``: within one collection, while the application runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from booking_migrate.cli.open_places import Places, opened
from booking_migrate.errors import BadConfiguration
from booking_migrate.stores.open_in_place import default_archive, open_in_place

if TYPE_CHECKING:
    from booking_migrate.events import Listener
    from booking_migrate.in_place.run import InPlaceOutcome, Manner
    from booking_migrate.reports.model import Report
    from booking_migrate.runs.plan import MigrationPlan
    from booking_migrate.runs.signals import SignalGuard
    from booking_migrate.stores.people import Absence

ONLY_SIDE_BY_SIDE = (
    "target",
    "rejects",
    "overwrite",
    "merge_client_documents",
    "plan",
    "engine",
    "workers",
)
"""The parameters of ``migrate`` that make no sense in place."""

ONLY_IN_PLACE = ("archive", "passes", "max_rate", "without_transactions")
"""The parameters of ``migrate`` that make sense in place only."""


@dataclass(frozen=True, slots=True)
class InPlace:
    """What is asked for beyond what ``migrate`` always takes."""

    archive: str | None
    passes: int
    maximum_rate: float | None
    without_transactions: bool

    def archive_of(self, source: str) -> str:
        """The archive's name."""
        return default_archive(source) if self.archive is None else self.archive


@dataclass(frozen=True, slots=True)
class Start:
    """How the run begins, and who hears of it."""

    run_id: str
    restart: bool
    maximum_lag: float | None
    listener: "Listener"
    signal_guard: "SignalGuard"
    config: str | None = None
    """Where the config file is, if one was given."""


def check_mode_options(ctx: typer.Context, unfit: Sequence[str], *, in_place: bool) -> None:
    """Refuse options that mean nothing here.

    Args:
        ctx: knows what was given.
        unfit: the parameters that mean nothing.
        in_place: whether ``--in-place`` is given.

    Raises:
        BadConfiguration: one of them is given.
    """
    check_options(ctx, unfit, "it means nothing with --in-place" if in_place else "it needs --in-place")


def check_options(ctx: typer.Context, unfit: Sequence[str], reason: str) -> None:
    """Refuse options that mean nothing for what is asked for; the config file may have them for other commands.

    Args:
        ctx: knows what was given.
        unfit: the parameters that mean nothing.
        reason: why they do not.

    Raises:
        BadConfiguration: one of them is given.
    """
    for parameter in unfit:
        source = ctx.get_parameter_source(parameter)
        if source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT"):
            option = "--" + parameter.replace("_", "-")
            raise BadConfiguration(option, reason)


def migrate_in_place(places: Places, plan: "MigrationPlan", asked: InPlace, start: Start) -> "Report":
    """Open the collection, let the engine do the work, and make the report of what came out."""
    # Here and not above: stores and engine are not needed to print help.
    from booking_migrate.cli.next_steps import steps_after_in_place  # noqa: PLC0415
    from booking_migrate.reports.model import report_of_migration  # noqa: PLC0415
    from booking_migrate.runs.commands import command_of  # noqa: PLC0415

    done, absences = _run(places, plan, asked, start)
    report = report_of_migration(
        done.outcome,
        run_id=done.run.run_id,
        source=places.source,
        target=places.source,
        next_steps=tuple(steps_after_in_place(done.outcome, command_of(done.run, "verify"), absences)),
    )
    return report.model_copy(update={"archive": asked.archive_of(places.source), "passes": done.passes})


def _run(
    places: Places, plan: "MigrationPlan", asked: InPlace, start: Start
) -> "tuple[InPlaceOutcome, list[Absence]]":
    from booking_migrate.cli.run_context import holder_of, run_options_of, stores_of  # noqa: PLC0415 - as above
    from booking_migrate.in_place.move_back import undo_in_place  # noqa: PLC0415
    from booking_migrate.in_place.run import migrate_in_place  # noqa: PLC0415
    from booking_migrate.runs.session import RunRequest, RunSession  # noqa: PLC0415

    archive = asked.archive_of(places.source)
    with opened(places, start.listener) as sides:
        collection = open_in_place(
            sides.connection,
            source=places.source,
            archive=archive,
            has_transactions=not asked.without_transactions,
        )
        stores = stores_of(sides.connection, target=places.source, source=places.source)
        request = RunRequest(
            run_id=start.run_id,
            source=places.source,
            target=places.source,
            options={
                **run_options_of(plan, places),
                "archive": archive,
                "without-transactions": str(asked.without_transactions),
            },
            holder=holder_of("migrate", start.run_id),
            maximum_lag=start.maximum_lag,
            restart=start.restart,
            config=start.config,
            archive=archive,
        )
        session = RunSession(
            stores,
            request,
            undo=lambda run, lock: undo_in_place(
                run, collection, stores, lock, listener=start.listener, signal_guard=start.signal_guard
            ),
        )
        done = migrate_in_place(
            plan,
            collection,
            stores=stores,
            session=session,
            request=request,
            users=sides.users,
            experts=sides.experts,
            manner=_manner(asked),
            listener=start.listener,
            signal_guard=start.signal_guard,
        )
        return done, sides.absences


def _manner(asked: InPlace) -> "Manner":
    from booking_migrate.in_place.run import Manner  # noqa: PLC0415 - as above

    return Manner(passes=asked.passes, maximum_rate=asked.maximum_rate)
