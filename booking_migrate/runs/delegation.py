"""A run, for a worker that handles its chunks.

It makes notes and checks the lock; the holder of the lock does everything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from booking_migrate.errors import LeaseLost
from booking_migrate.runs.noted_ranges import SettledHistory
from booking_migrate.stores.journal import RangeNote, RunJournal
from booking_migrate.stores.locks import Lease, LockStore


@dataclass(frozen=True, slots=True)
class RunShare:
    """What a worker has to know about a run."""

    run_id: str
    lease: Lease
    """The lock of the run, with its fencing token."""

    runs: Sequence[str]
    """The runs whose documents are in the target, this one among them; the oldest first."""


class DelegatedRun:
    """Notes are made as in a `RunSession`, and the lock is only read: its holder renews it.

    The check has the promise of `HeldLock.confirm`: whether the lock still has the run's token is read from a majority right before
    each write, and a worker whose run has lost the lock, or released it, writes nothing more.
    """

    def __init__(self, journal: RunJournal, locks: LockStore, share: RunShare) -> None:
        """Take the stores, and what is known of the run."""
        self._journal = journal
        self._locks = locks
        self._share = share
        # Including this run's own documents: a chunk may be handled a second time.
        self.history = SettledHistory(journal, share.runs, share.run_id)

    def begin(self, number: int) -> None:
        """Begin a chunk, whose notes have the number that the coordinating process has reserved."""
        self._journal.note_under(self._share.run_id, self._share.lease.token, number)

    def lock(self) -> None:
        """Do nothing: the coordinating process holds the lock."""

    def open(self) -> None:
        """Do nothing: the run is recorded already."""

    def note(self, noted: RangeNote) -> None:
        """Record durably what is about to be written.

        Raises:
            LeaseLost: another process has taken the lock over.
        """
        self.confirm()
        self._journal.note(self._share.run_id, self._share.lease.token, noted)

    def confirm(self) -> None:
        """Check that the coordinating process still holds the lock.

        Raises:
            LeaseLost: another process has taken it over.
        """
        if not self._locks.holds(self._share.lease):
            raise LeaseLost(self._share.lease.name)

    def wrote_before(self) -> bool:
        """Return False: the coordinating process knows that."""
        return False

    def checkpoint(self, documents: int, total: int | None) -> None:
        """Do nothing: the coordinating process adds up."""
