"""Bring later changes of the source into the result of a finished run, while writes to the source are refused.

It is another migration, which derives every client again whose bookings have changed.
"""

from dataclasses import dataclass

from booking_migrate.events import Listener
from booking_migrate.migrate.journaled_target import JournaledTarget, ProgressCounter
from booking_migrate.migrate.pipeline import migrate as migrate_stream
from booking_migrate.runs.finished import FinishedRun
from booking_migrate.runs.plan import MigrationOutcome, MigrationPlan
from booking_migrate.runs.provenance import JournalHistory
from booking_migrate.runs.regulator import Unregulated
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.ports import DocumentReader, TargetWriter


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """The outcome of catching up."""

    migration: MigrationOutcome
    """The outcome of the repeated migration."""

    written: int
    """Client documents that were created, derived again or removed."""


def catch_up(
    plan: MigrationPlan,
    source: DocumentReader,
    target: TargetWriter,
    *,
    run: FinishedRun[JournalHistory],
    users: DocumentReader | None,
    experts: DocumentReader | None,
    listener: Listener,
    signal_guard: SignalGuard,
) -> CaughtUp:
    """Bring the target up to date with the source. Only documents that others have not changed are written.

    Raises:
        BookingMigrateError: as `migrate.pipeline.migrate`.
    """
    kept = JournaledTarget(target, run, signal_guard, ProgressCounter(listener), Unregulated())
    outcome = migrate_stream(
        plan, source, kept, users=users, experts=experts, listener=listener, history=kept
    )
    return CaughtUp(outcome, kept.written)
