"""The time for which writes are refused: measured, and ended at its limit even if the program is blocked."""

from collections.abc import Callable
from threading import Event, Lock
from time import monotonic, sleep
from typing import TypeVar

from booking_migrate.errors import FenceBlocked, LeaseLost
from booking_migrate.events import Listener, Warned
from booking_migrate.runs.background import in_background
from booking_migrate.runs.plan import Limits
from booking_migrate.stores.locks import LEASE_SECONDS

_LATE_SECONDS = LEASE_SECONDS / 6
"""Shorter than the lease: no other process has taken the lock over by then."""

_BACKOFF_SECONDS, _LONGEST_BACKOFF = 0.5, 30.0
_LOOK_SECONDS = 0.1

ACCEPTED, STILL_REFUSED = "writes are accepted", "writes are still refused"
LIFTED_BY_OTHERS = "the fence was lifted by others"

T = TypeVar("T")


def backoff(attempt: int) -> float:
    """Return for how many seconds to pause after an attempt, of which the first is number 0."""
    return min(_BACKOFF_SECONDS * 2.0**attempt, _LONGEST_BACKOFF)


def attempt_at_rest(
    act: Callable[[float], T],
    undo: Callable[[], str],
    limits: Limits,
    listener: Listener,
    confirm: Callable[[], None],
) -> T:
    """Return the result of a step for which others wait, if they do so within a limit; else pause and try again.

    Args:
        act: takes the step within this number of seconds.
        undo: called after an attempt that was aborted; returns what the application can do meanwhile.
        limits: for how long they may wait, and how often it is tried.
        listener: is notified of each attempt that was aborted.
        confirm: checks that the lock is still held.

    Raises:
        FenceBlocked: the collection was held by others at each attempt.
    """
    attempt = 0
    while True:
        try:
            return act(limits.wait)
        except FenceBlocked as error:
            state = undo()
            if attempt + 1 >= limits.attempts:
                raise
            said = f"attempt {attempt + 1} of {limits.attempts} aborted after {round(limits.wait * 1000)} ms"
            listener.notify(Warned(f"{said}: {error.message}; {state}"))
        until = monotonic() + backoff(attempt)
        attempt += 1
        while (left := until - monotonic()) > 0:
            confirm()
            sleep(min(left, _LOOK_SECONDS))


def confirm_fence(
    confirm: Callable[[], None], is_swapped: Callable[[], bool], lift: Callable[[], object]
) -> None:
    """Check right behind a fence that the lock is still held; lift one that was raised after it was lost.

    A process may be suspended until another one has ended its attempt, and knows of no fence.

    Raises:
        LeaseLost: another process has taken the lock over.
    """
    try:
        confirm()
    except LeaseLost:
        if not is_swapped():
            lift()
        raise


class RefusedTime:
    """For how long a run has refused writes, over all its fences."""

    def __init__(self, before: float = 0.0) -> None:
        """Take for how many seconds earlier fences have refused them."""
        self.before = before
        self._began: float | None = None

    @property
    def is_refusing(self) -> bool:
        """Return whether this process has raised a fence and not lifted it."""
        return self._began is not None

    @property
    def seconds(self) -> float:
        """Return for how many seconds writes were refused so far."""
        return self.before + (0.0 if self._began is None else monotonic() - self._began)

    def begin(self) -> None:
        """Measure from now on: the fence is about to be raised."""
        self._began = monotonic()

    def stop(self) -> None:
        """Stop measuring: writes are accepted. May be repeated; what was measured counts."""
        self.end(self.seconds - self.before)

    def end(self, seconds: float | None = None) -> None:
        """Stop measuring; add the seconds of this fence, unless they are counted elsewhere."""
        self.before, self._began = self.before + (seconds or 0.0), None


class Refusal:
    """One fence, from right before it is raised until the swap, or until it is lifted again."""

    def __init__(self, seconds: float, lift: Callable[[], None]) -> None:
        """Begin to measure, and to wait for the limit.

        Args:
            seconds: after how long the fence is lifted.
            lift: lifts it. It is called on another thread, or on that of `end`, never on both at a time.
        """
        self._seconds = seconds
        self._lift = lift
        self._began = monotonic()
        self._over = Event()
        self._lock = Lock()
        self._is_committed = False
        self._lifted: float | None = None
        self._watch()

    @property
    def deadline(self) -> float:
        """Return when the fence is lifted, by the monotonic clock."""
        return self._began + self._seconds

    @property
    def is_committed(self) -> bool:
        """Return whether the swap may have been sent."""
        return self._is_committed

    @property
    def is_lifted(self) -> bool:
        """Return whether the limit has passed and the fence was lifted."""
        return self._lifted is not None

    def _watch(self) -> None:
        # An error is not lost: the main thread lifts the fence again, and raises its error.
        in_background(self._lift_at_limit, name="fence")

    def _lift_at_limit(self) -> None:
        if self._over.wait(self._seconds):
            return
        with self._lock:
            # A process that was suspended for long must not lift the fence of another process; the main thread finds out.
            is_late = monotonic() > self.deadline + _LATE_SECONDS
            if not self._is_committed and not self._over.is_set() and not is_late:
                self._lift()
                self._lifted = monotonic()

    def commit(self) -> None:
        """Keep the fence: the swap, which has a limit of its own, is about to be sent.

        Raises:
            TimeoutError: the fence was lifted already.
        """
        with self._lock:
            if self._lifted is not None or monotonic() > self.deadline:
                raise TimeoutError
            self._is_committed = True
        self._over.set()

    def abort(self) -> float:
        """Lift the fence, first of all; return for how many seconds writes were refused."""
        self.stop()
        # In any case: a command that raises the fence may have been pending at the limit.
        self._lift()
        return (self._lifted or monotonic()) - self._began

    def stop(self) -> None:
        """Stop waiting for the limit; if the fence is being lifted, wait for that."""
        self._over.set()
        with self._lock:
            pass
