"""A finished run whose target is written again."""

from typing import Generic, TypeVar

from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.note_compaction import NoteCompaction
from booking_migrate.runs.provenance import JournalHistory, standing_runs
from booking_migrate.runs.session import RunStores
from booking_migrate.stores.journal import RangeNote, RunRecord

History = TypeVar("History", bound=JournalHistory)


class FinishedRun(Generic[History]):
    """A finished run whose target is written again; notes are made as in a `RunSession`, and nothing else is recorded."""

    def __init__(
        self,
        stores: RunStores,
        run: RunRecord,
        lock: HeldLock,
        history: type[History],
    ) -> None:
        """Take the run, whose target's lock is held.

        Args:
            stores: which record the run.
            run: the run.
            lock: the lock of its target.
            history: how notes are looked up: by ranges of clients, or for a few clients from anywhere and often.
        """
        self._journal = stores.journal
        self._run_id = run.run_id
        self._lock = lock
        runs = [each.run_id for each in standing_runs(stores.journal, run.source, run.target)]
        self.history: History = history(stores.journal, runs, run.run_id)
        self._compaction = NoteCompaction(stores.journal, run.run_id)

    def lock(self) -> None:
        """Do nothing: the lock is held already."""

    def open(self) -> None:
        """Do nothing: the run is recorded already."""

    def note(self, noted: RangeNote) -> None:
        """Record durably what is about to be written."""
        names = self._journal.note(self._run_id, self._lock.token, noted)
        self.history.note(noted)
        self._compaction.add(names, noted)

    def confirm(self) -> None:
        """Check that this process still holds the lock.

        Raises:
            LeaseLost: another process has taken it over.
        """
        self._lock.confirm()

    def wrote_before(self) -> bool:
        """Return True: only a run that has written something can be cut over."""
        return True

    def checkpoint(self, _documents: int, _total: int | None) -> None:
        """Compact the notes, which were all carried out; the progress itself is not needed after a crash."""
        self._compaction.compact(self._lock.token, self.confirm)
