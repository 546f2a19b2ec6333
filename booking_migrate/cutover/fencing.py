"""Refusing writes for the last few changes only: fence, drain, settle and swap, within a limit, as often as it takes.

A cut-over and a rollback out of a reverse window do the same here; they differ in what they follow and in what is swapped.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, Protocol

from bson.timestamp import Timestamp

from booking_migrate.cutover.refusal import Refusal
from booking_migrate.cutover.tail import Late
from booking_migrate.errors import BookingMigrateError, FenceBlocked
from booking_migrate.events import Listener, Warned
from booking_migrate.follow.follower import Drained, Follower

_ROUNDS = 100
"""How many rounds may pass before an attempt."""

_STEADY_ROUNDS = 8
"""A round that is no longer than so many before it shows that they get no shorter."""

_SHORT_SECONDS = 0.04
"""A round that takes no longer could hardly be shorter."""

_SHRINKING, _SIMILAR = 0.85, 1.25
"""Between these parts of the shortest round so far, a round is about as long as it."""

_BEFORE_LIFTING = 0.9
"""The part of the limit after which the fence is lifted, unless the swap is under way: lifting takes its time, too."""

_BACKOFF_SECONDS, _LONGEST_BACKOFF = 0.5, 30.0
_LOOK_SECONDS = 0.1
"""How often the changes are followed between two attempts."""


class Swap(Protocol):
    """Fence and swap; see `stores.mongo.live_swap.LiveSwap`."""

    def raise_fence(self, seconds: float) -> Timestamp:
        """Make the source refuse inserts and updates; return the cluster time from which on it does."""

    def is_fenced(self) -> bool:
        """Return whether the source refuses inserts and updates."""

    def swap(self, seconds: float) -> Timestamp:
        """Give the target the source's name in one atomic rename; return its cluster time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """For how long and how often writes may be refused."""

    outage: float = 0.5
    """Seconds from the fence to the swap."""

    attempts: int = 10


@dataclass(slots=True)
class Outage:
    """What the refusal of writes consisted of, in seconds."""

    fence: float = 0.0
    drain: float = 0.0
    settle: float = 0.0
    """Deriving and verifying what had changed."""

    rename: float = 0.0

    @property
    def total(self) -> float:
        """Return the sum."""
        return self.fence + self.drain + self.settle + self.rename


@dataclass(slots=True)
class LiveReport:
    """What a cut-over, or a rollback out of a reverse window, did beside an application."""

    outage: Outage = field(default_factory=Outage)
    attempts: int = 0
    aborted: list[float] = field(default_factory=list)
    """For how many seconds writes were refused by each attempt that was aborted."""

    opened: Timestamp | None = None
    """Since when the changes have been followed, T_0."""

    fenced: Timestamp | None = None
    """The cluster time of the fence, T_f."""

    swapped: Timestamp | None = None
    """The cluster time of the swap, T_r."""

    events: dict[str, int] = field(default_factory=dict)
    """How many changes of the source were read, by kind."""

    followed_clients: int = 0
    clients_at_fence: int = 0
    """How many clients were derived and verified behind the fence."""

    late_deletes: int = 0
    late_writes: int = 0
    late_updates: tuple[Any, ...] = ()
    """The `_id` values of bookings that were updated past the fence, of which the result has the version before."""

    foreign: tuple[Any, ...] = ()
    """The `_id` values of client documents that others changed while the collections were swapped."""

    foreign_copies: tuple[Any, ...] = ()
    """The `_id` values of bookings of the kept copy that others changed while the collections were swapped."""

    def take(self, late: Late) -> None:
        """Add what passed the fence."""
        self.late_deletes, self.late_writes = len(late.deleted), len(late.written)
        self.late_updates = tuple(late.updated.values())
        self.foreign, self.foreign_copies = late.foreign, late.foreign_copies


@dataclass(frozen=True, slots=True)
class FencingParts:
    """What an attempt is made with, and whom it asks."""

    swap: Swap
    limits: Limits
    listener: Listener
    confirm: Callable[[], None]
    """Checks that the lock is still held."""

    note_fence: Callable[[Timestamp | None], None]
    """Records that writes may be refused, and from which cluster time on."""

    block: Callable[[], None]
    """Refuses every user's writes, if that was asked for."""

    lift_fence: Callable[[], None]
    """Lifts the fence, and ends that; from any thread, and perhaps again."""

    note_lifted: Callable[[float], None]
    """Records that writes are accepted again, and for how many seconds they were refused."""

    take_back: Callable[[], None]
    """Undoes what `check` did, after the fence was lifted."""

    check: Callable[[], None]
    """Does what is left to do behind the fence; raises if something prevents the swap."""

    is_swapped: Callable[[], bool]
    fail: Callable[[str, str], BookingMigrateError]
    """Makes the error for a problem and its advice."""

    too_slow: Callable[[int, int, str], BookingMigrateError]
    """Makes the error for a limit in milliseconds that so many attempts passed, and what held the collection up last."""

    again: str
    """The advice for a fence that others have lifted."""


class Fencing:
    """Attempts to refuse writes, bring the last changes in, and swap."""

    def __init__(self, follower: Follower, parts: FencingParts, report: LiveReport) -> None:
        """Take the parts; the report gets what was done."""
        self._follower = follower
        self._parts = parts
        self.report = report

    def swap(self) -> None:
        """Refuse writes, bring the last changes in, and swap; as often as it takes within the limit.

        Raises:
            BookingMigrateError: the limit was passed every time (`too_slow`), or something prevents the swap.
        """
        parts, limits = self._parts, self._parts.limits
        blockers = ""
        for attempt in range(limits.attempts):
            self.report.attempts = attempt + 1
            expected = self._await_small_backlog()
            if expected >= limits.outage:
                parts.listener.notify(Warned(self._not_begun(expected)))
            else:
                drained = Drained()
                refusal = self._begin()
                try:
                    self._attempt(drained, refusal)
                except (FenceBlocked, TimeoutError) as error:
                    refused = refusal.abort()
                    blockers = error.blockers if isinstance(error, FenceBlocked) else ""
                    if parts.is_swapped():
                        # The answer came too late.
                        return
                    self._note_aborted(refused, drained, error)
                else:
                    return
                finally:
                    refusal.stop()
            if attempt + 1 < limits.attempts:
                self._pause(min(_BACKOFF_SECONDS * 2**attempt, _LONGEST_BACKOFF))
        raise parts.too_slow(round(limits.outage * 1000), limits.attempts, blockers)

    def _pause(self, seconds: float) -> None:
        """Let time pass, and follow meanwhile: what is written would only make the next attempt longer."""
        until = monotonic() + seconds
        while (left := until - monotonic()) > 0:
            self._follower.round(0.0)
            self._parts.confirm()
            sleep(min(left, _LOOK_SECONDS))

    def _begin(self) -> Refusal:
        """Record that writes may be refused from now on, and begin to measure for how long."""
        self._parts.note_fence(None)
        return Refusal(self._parts.limits.outage * _BEFORE_LIFTING, self._parts.lift_fence)

    def _note_aborted(self, refused: float, drained: Drained, error: Exception) -> None:
        """Leave what was drained to the next attempt, and say for how long writes were refused."""
        parts, report = self._parts, self.report
        parts.note_lifted(refused)
        report.aborted.append(refused)
        parts.take_back()
        # Even if it was handled: it may have changed again behind the time as of which that was done.
        self._follower.mark(drained.dirty)
        if isinstance(error, FenceBlocked):
            parts.listener.notify(Warned(error.message))
        left = 0 if drained.is_handled else len(drained.dirty)
        parts.listener.notify(Warned(self._too_long(refused, left)))

    def _not_begun(self, expected: float) -> str:
        limits = self._parts.limits
        return (
            f"attempt {self.report.attempts} of {limits.attempts} not begun: the last changes took {round(expected * 1000)} ms, "
            f"the limit is {round(limits.outage * 1000)} ms; writes are accepted"
        )

    def _too_long(self, refused: float, left: int) -> str:
        limits, outage = self._parts.limits, self.report.outage
        outage.settle = max(0.0, min(outage.settle, refused - outage.fence - outage.drain))
        parts = ", ".join(
            f"{name} {round(seconds * 1000)} ms"
            for name, seconds in (("fence", outage.fence), ("drain", outage.drain), ("settle", outage.settle))
        )
        attempt = f"attempt {self.report.attempts} of {limits.attempts}"
        return (
            f"{attempt} aborted: writes were refused for {round(refused * 1000)} ms, the limit is {round(limits.outage * 1000)} ms "
            f"({parts}; entries left: {left}); writes are accepted"
        )

    def _await_small_backlog(self) -> float:
        """Follow until a round takes half of the limit at most and no less than the ones before, or rounds get no shorter.

        Each round has what was written during the one before: beside an application that is slower than this they get
        shorter, down to what a round takes in any case, and so does the outage.

        Returns:
            For how many seconds writes would be refused, at most: what was written during the last round is as much as what
            the round had, and behind the fence the application does not use the machine.
        """
        seconds = 0.0
        last: deque[float] = deque(maxlen=_STEADY_ROUNDS)
        for _ in range(_ROUNDS):
            seconds = self._follower.round(0.0).seconds
            self._parts.confirm()
            if seconds <= _SHORT_SECONDS or self._is_shortest(seconds, last):
                break
            last.append(seconds)
        return seconds

    def _is_shortest(self, seconds: float, last: Sequence[float]) -> bool:
        """Return whether a round shows that the next ones will hardly be shorter, and is itself one of the short ones."""
        if len(last) == _STEADY_ROUNDS and seconds <= min(last):
            return True
        is_small = seconds <= self._parts.limits.outage / 2
        return is_small and bool(last) and min(last) * _SHRINKING <= seconds <= min(last) * _SIMILAR

    def _attempt(self, drained: Drained, refusal: Refusal) -> None:
        """Do one attempt.

        Raises:
            TimeoutError, FenceBlocked: the limit was passed; the fence may stand.
        """
        parts, report = self._parts, self.report
        began, deadline = monotonic(), refusal.deadline
        report.outage = outage = Outage()
        parts.block()
        fenced = parts.swap.raise_fence(parts.limits.outage / 2)
        fenced_at = monotonic()
        outage.fence = fenced_at - began
        parts.note_fence(fenced)
        try:
            self._follower.drain(fenced, deadline, drained)
        finally:
            drained_at = monotonic()
            outage.drain = drained_at - fenced_at
        try:
            report.clients_at_fence = self._follower.handle_at(drained.dirty, fenced, deadline)
            drained.is_handled = True
            parts.check()
            parts.confirm()
            if not parts.swap.is_fenced():
                if refusal.is_lifted:
                    raise TimeoutError
                raise parts.fail("the fence was lifted by others", parts.again)
            refusal.commit()
        finally:
            settled_at = monotonic()
            outage.settle = settled_at - drained_at
        report.fenced = fenced
        report.swapped = parts.swap.swap(began + parts.limits.outage - settled_at)
        outage.rename = monotonic() - settled_at
        report.events = dict(self._follower.progress.events)
