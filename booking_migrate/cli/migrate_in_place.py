"""`migrate --in-place`: within one collection."""

from dataclasses import replace
from typing import TYPE_CHECKING

from booking_migrate.cli.migrate_steps import steps_after_in_place
from booking_migrate.cli.open import Places, open_places, open_run_stores, refuse_unready
from booking_migrate.cli.run import RunContext
from booking_migrate.in_place import run as engine
from booking_migrate.in_place.rollback import undo_in_place
from booking_migrate.reports.model import Report, report_of_migration
from booking_migrate.runs.commands import command_of
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.session import RunRequest, RunSession
from booking_migrate.stores.in_place import open_in_place
from booking_migrate.stores.own_collections import default_archive

if TYPE_CHECKING:
    from booking_migrate.cli.migrate import InPlaceOptions


def migrate_in_place(
    places: Places,
    plan: MigrationPlan,
    request: RunRequest,
    options: "InPlaceOptions",
    context: RunContext,
) -> Report:
    """Open the collection, migrate within it, and make the report."""
    source = places.source
    archive = default_archive(source) if options.archive is None else options.archive
    listener, signal_guard = context.listener, context.signal_guard
    own_options = {"archive": archive, "without-transactions": str(options.without_transactions)}
    request = replace(request, target=source, options={**request.options, **own_options}, archive=archive)
    with open_places(places, listener) as sides:
        limits_lag = request.maximum_lag is not None
        refuse_unready("migrate --in-place", places, sides.connection, limits_lag=limits_lag)
        collection = open_in_place(
            sides.connection,
            source=source,
            archive=archive,
            has_transactions=not options.without_transactions,
        )
        stores = open_run_stores(sides.connection, target=source, source=source)
        session = RunSession(
            stores,
            request,
            undo=lambda run, lock: undo_in_place(
                run, collection, stores, lock, listener=listener, signal_guard=signal_guard
            ),
            listener=listener,
        )
        done = engine.migrate_in_place(
            plan,
            collection,
            stores=stores,
            session=session,
            users=sides.users,
            experts=sides.experts,
            most_passes=options.passes,
            listener=listener,
            signal_guard=signal_guard,
        )
        absences = sides.absences
    steps = steps_after_in_place(done.outcome, context.asked.ctx, command_of(done.run, "verify"), absences)
    report = report_of_migration(
        done.outcome, run_id=done.run.run_id, source=source, target=source, next_steps=tuple(steps)
    )
    return report.model_copy(update={"archive": archive, "passes": done.passes})
