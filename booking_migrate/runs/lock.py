"""Holding the lock on a target for as long as a run lasts."""

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic, sleep
from typing import Self

from booking_migrate.errors import BookingMigrateError, LeaseLost, NoMajority
from booking_migrate.stores.locks import Holder, Lease, LockStore

FOLLOW_COMMAND = "migrate --follow"
"""The command of a holder that hands its lock over on request."""

WINDOW_COMMAND = "cutover --reverse-window"
"""The same of a process that keeps a reverse window, and hands over to the command that uses or ends it."""

_HAND_OVER_SECONDS = 60.0
_LOOK_SECONDS = 0.1

_RENEWALS = 3
"""How often a lease is renewed within its length, so that one lost message does not lose the lease."""


class HeldLock:
    """A lease that a thread renews, and that is confirmed right before each write.

    The fencing token decides, not the clock: `confirm` asks the server whether the lock still has this lease's token.
    A process that was paused and whose lease was taken over fails there and writes nothing more. The interval between the
    server's answer and the arrival of the write after it remains: a process that is paused exactly there for longer than a
    lease sends one batch late. A run that continues is not harmed: the batch inserts the same documents as its successor,
    which the unique index refuses, and replaces documents only if they are unchanged since it read them. A rollback that
    finished within that interval is harmed; its proof covers only what it read.
    """

    def __init__(self, store: LockStore, lease: Lease) -> None:
        """Take a lease that was acquired; see `acquire`."""
        self._store = store
        self._lease = lease
        self._stopped = Event()
        self._thread = Thread(target=self._renew, name="lease", daemon=True)

    @classmethod
    def acquire(cls, store: LockStore, name: str, holder: Holder) -> Self:
        """Take the lock and keep it.

        Raises:
            TargetBusy: another run holds it.
        """
        lock = cls(store, store.acquire(name, holder))
        lock._thread.start()
        return lock

    @classmethod
    def take_over(
        cls,
        store: LockStore,
        name: str,
        holder: Holder,
        *,
        notify: Callable[[str], None],
        giver: str = FOLLOW_COMMAND,
    ) -> Self:
        """Take the lock; a process of the command ``giver``, which only follows the application, is asked to hand it over; ``notify`` gets whom this one waits for.

        Raises:
            TargetBusy: another run holds it, or a follower does not release it in time.
        """
        there = store.look(name)
        if there is not None and there.is_live and there.holder.command == giver:
            notify(f"taking over from {there.holder}, which has {_HAND_OVER_SECONDS:.0f} s to hand over")
            store.request_hand_over(name, holder)
            try:
                _await_release(store, name)
                return cls.acquire(store, name, holder)
            except BaseException:
                # Otherwise it would end for a process that no longer exists.
                store.request_hand_over(name, None)
                raise
        return cls.acquire(store, name, holder)

    def requested_by(self) -> Holder | None:
        """Return who has asked for the lock; None: no process has."""
        return self._store.requested_by(self._lease)

    @property
    def token(self) -> int:
        """Return the fencing token: larger than that of every holder before."""
        return self._lease.token

    def confirm(self) -> None:
        """Check that this process still holds the lock, and extend the lease. Called right before each write.

        Raises:
            LeaseLost: another run has taken it over.
        """
        if not self._store.renew(self._lease):
            raise LeaseLost(self._lease.name)

    def stop(self) -> None:
        """Stop renewing the lease, which expires unless another process has taken it over. May be called twice."""
        self._stopped.set()
        self._thread.join()

    def release(self) -> None:
        self.stop()
        self._store.release(self._lease)

    def release_after(self, error: BaseException) -> None:
        """Release the lock because of an error; a failure to do so is added to that error as a note.

        A lock that another process has taken over is left alone. Without a majority the call does not wait for the release
        to be acknowledged: if the release is lost, the lock expires.
        """
        self.stop()
        if isinstance(error, LeaseLost):
            return
        try:
            self._store.release(self._lease, waits=not isinstance(error, NoMajority))
        except BookingMigrateError as trouble:
            error.add_note(f"The lock could not be released: {trouble.message}")

    def _renew(self) -> None:
        while not self._stopped.wait(self._store.lease_seconds / _RENEWALS):
            try:
                if not self._store.renew(self._lease):
                    return
            except BookingMigrateError:
                # The working thread meets the same error and reports it; the server may be back at the next attempt.
                continue


def _await_release(store: LockStore, name: str) -> None:
    """Wait until the holder of a lock has released it, or the time limit has passed."""
    deadline = monotonic() + _HAND_OVER_SECONDS
    while monotonic() < deadline:
        there = store.look(name)
        if there is None or not there.is_live:
            return
        sleep(_LOOK_SECONDS)
