"""Bringing into a finished run's result what has changed in the source since, while nobody else writes.

It is the migration once more, which derives again every client whose bookings are other than they were.
"""

from dataclasses import dataclass

from booking_migrate.events import Listener
from booking_migrate.migrate.journaled_target import JournaledTarget, ProgressCounter
from booking_migrate.migrate.pipeline import migrate as migrate_stream
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.outcome import MigrationOutcome
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import JournalHistory, history_of
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.throttle import NullThrottle
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.notes import RangeNote
from booking_migrate.stores.ports import DocumentReader, TargetWriter


class FinishedRun:
    """A finished run, as a target asks for it that is written once more (`NotingSession`)."""

    def __init__(self, stores: RunStores, run: RunRecord, lock: HeldLock) -> None:
        """Take the run, whose target's lock is held."""
        self._journal = stores.journal
        self._run_id = run.run_id
        self._lock = lock
        self.history: JournalHistory = history_of(
            stores.journal, source=run.source, target=run.target, current=run.run_id
        )

    def lock(self) -> None:
        """The lock is held already."""

    def open(self) -> None:
        """The run is noted down already."""

    def note(self, noted: RangeNote) -> None:
        """See `RunSession.note`."""
        self._journal.note(self._run_id, self._lock.token, noted)

    def confirm(self) -> None:
        """See `RunSession.confirm`."""
        self._lock.confirm()

    def wrote_before(self) -> bool:
        """It wrote, or it would not be cut over."""
        return True

    def checkpoint(self, documents: int, total: int | None) -> None:
        """Nothing to note: how far the catching up is, is of no use after a crash."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What catching up came to."""

    migration: MigrationOutcome
    """As of the whole migration, made once more."""

    written: int
    """Client documents that were made, derived again or removed."""


def catch_up(
    plan: MigrationPlan,
    source: DocumentReader,
    target: TargetWriter,
    *,
    run: FinishedRun,
    users: DocumentReader | None,
    experts: DocumentReader | None,
    listener: Listener,
    signal_guard: SignalGuard,
) -> CaughtUp:
    """Make the target what the source has become. Only documents that are as a run left them are changed.

    Raises:
        BookingMigrateError: as `migrate.pipeline.migrate`.
    """
    kept = JournaledTarget(target, run, signal_guard, ProgressCounter(listener), NullThrottle())
    outcome = migrate_stream(
        plan, source, kept, users=users, experts=experts, listener=listener, history=kept
    )
    return CaughtUp(outcome, kept.written)
