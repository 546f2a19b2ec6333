"""ClientRecords the lock on a target for as long as a run lasts."""

from threading import Event, Thread
from typing import Self

from booking_migrate.errors import BookingMigrateError, LeaseLost, NoMajority
from booking_migrate.stores.journal import Holder, Lease, LockStore

LEASE_SECONDS = 30.0
"""How long a run that is not heard of still counts as alive, unless its process is known to be dead."""

_RENEWALS = 3
"""How often a lease is renewed within its length, so that one lost message does not lose the lease."""


class HeldLock:
    """A lease that a thread renews, and that is confirmed right before each write.

    The fencing token decides, not the clock: `confirm` asks the server whether the lock still has this lease's token.
    A process that was paused and whose lease was taken over finds out there and writes nothing more. What remains is
    the moment between the server's answer and the arrival of the write behind it. A process that is paused exactly
    there for longer than a lease sends one batch late. It does no harm to a run that goes on: the batch inserts the very
    documents that its successor writes, which the unique index refuses, and replaces documents only while they are what
    they were when it read them. A rollback that finished within that moment is harmed; its proof covers what it saw.
    """

    def __init__(self, store: LockStore, lease: Lease, seconds: float) -> None:
        """Take a lease that was acquired; see `acquire`."""
        self._store = store
        self._lease = lease
        self._seconds = seconds
        self._stopped = Event()
        self._thread = Thread(target=self._renew, name="lease", daemon=True)

    @classmethod
    def acquire(cls, store: LockStore, name: str, holder: Holder, seconds: float = LEASE_SECONDS) -> Self:
        """Take the lock and keep it.

        Raises:
            TargetBusy: another run holds it.
        """
        lock = cls(store, store.acquire(name, holder, seconds), seconds)
        lock._thread.start()
        return lock

    @property
    def token(self) -> int:
        """Return the fencing token: larger than that of every holder before."""
        return self._lease.token

    def confirm(self) -> None:
        """Make sure that the lock is still ours, and prolong it. Called right before each write.

        Raises:
            LeaseLost: another run has taken it over.
        """
        if not self._store.renew(self._lease, self._seconds):
            raise LeaseLost(self._lease.name)

    def stop(self) -> None:
        """Renew it no longer; it expires, or somebody else has it already. May be called twice."""
        self._stopped.set()
        self._thread.join()

    def release(self) -> None:
        """Let go of it."""
        self.stop()
        self._store.release(self._lease)

    def release_after(self, error: BaseException) -> None:
        """Let go of it because of an error that is on its way; what comes of that is noted on the error.

        A lock that somebody else has taken over is left to them. Without a majority the release is not waited
        for: one that gets lost leaves the lock to expire.
        """
        self.stop()
        if isinstance(error, LeaseLost):
            return
        try:
            self._store.release(self._lease, waits=not isinstance(error, NoMajority))
        except BookingMigrateError as trouble:
            error.add_note(f"The lock could not be let go of: {trouble.message}")

    def _renew(self) -> None:
        while not self._stopped.wait(self._seconds / _RENEWALS):
            try:
                if not self._store.renew(self._lease, self._seconds):
                    return
            except BookingMigrateError:
                # The working thread meets the same trouble and reports it; the server may be back by the next time.
                continue
