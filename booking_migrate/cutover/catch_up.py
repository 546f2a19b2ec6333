"""Bringing later changes of the source into the result of a finished run, while writes to the source are refused.

It is the migration once more, which derives again every client whose bookings have changed.
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
from booking_migrate.stores.journal import RangeNote, RunRecord
from booking_migrate.stores.ports import DocumentReader, TargetWriter


class FinishedRun:
    """A finished run whose target is written once more; it has the methods of `NotingSession`."""

    def __init__(self, stores: RunStores, run: RunRecord, lock: HeldLock) -> None:
        """Take the run, whose target's lock is held."""
        self._journal = stores.journal
        self._run_id = run.run_id
        self._lock = lock
        self.history: JournalHistory = history_of(
            stores.journal, source=run.source, target=run.target, current=run.run_id
        )

    def lock(self) -> None:
        """Do nothing: the lock is held already."""

    def open(self) -> None:
        """Do nothing: the run is recorded already."""

    def note(self, noted: RangeNote) -> None:
        """Record durably what is about to be written."""
        self._journal.note(self._run_id, self._lock.token, noted)

    def confirm(self) -> None:
        """Check that this process still holds the lock.

        Raises:
            LeaseLost: another process has taken it over.
        """
        self._lock.confirm()

    def wrote_before(self) -> bool:
        """Return True: only a run that has written something can be cut over."""
        return True

    def checkpoint(self, documents: int, total: int | None) -> None:
        """Do nothing: the progress of catching up is not needed after a crash."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """The outcome of catching up."""

    migration: MigrationOutcome
    """The outcome of the whole migration, made once more."""

    written: int
    """Client documents that were created, derived again or removed."""


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
    """Bring the target up to date with the source. Only documents that others have not changed are written.

    Raises:
        BookingMigrateError: as `migrate.pipeline.migrate`.
    """
    kept = JournaledTarget(target, run, signal_guard, ProgressCounter(listener), NullThrottle())
    outcome = migrate_stream(
        plan, source, kept, users=users, experts=experts, listener=listener, history=kept
    )
    return CaughtUp(outcome, kept.written)
