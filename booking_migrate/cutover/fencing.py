"""Refusing writes for the last few changes only: fence, drain, settle and swap, within a limit, as often as it takes.

A cut-over and a rollback out of a reverse window do the same here; they differ in what they follow and in what is swapped.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, Protocol

from bson.timestamp import Timestamp

from booking_migrate.cutover.tail import Late
from booking_migrate.errors import BookingMigrateError, FenceBlocked
from booking_migrate.events import Listener, Warned
from booking_migrate.follow.follower import Drained, Follower

_ROUNDS = 100
"""How many rounds may pass before an attempt."""

_STEADY_ROUNDS = 8
"""A round that is no longer than so many before it shows that they get no shorter."""

_BACKOFF_SECONDS, _LONGEST_BACKOFF = 0.5, 30.0


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

    note_fence: Callable[[bool, Timestamp | None], None]
    """Records whether writes may be refused, and from which cluster time on."""

    block: Callable[[], None]
    """Refuses every user's writes, if that was asked for."""

    lift_fence: Callable[[], None]
    """Lifts the fence, and ends that."""

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
        limits = self._parts.limits
        blockers = ""
        for attempt in range(limits.attempts):
            self.report.attempts = attempt + 1
            self._await_small_backlog()
            drained = Drained()
            try:
                self._attempt(drained)
            except FenceBlocked as error:
                blockers = error.blockers
                self._parts.listener.notify(Warned(error.message))
            except TimeoutError:
                blockers = ""
                self._parts.listener.notify(
                    Warned(self._too_long(0 if drained.is_handled else len(drained.dirty)))
                )
            else:
                return
            if self._parts.is_swapped():
                # The answer came too late.
                return
            self._parts.lift_fence()
            # Even if it was handled: it may have changed again behind the time as of which that was done.
            self._follower.mark(drained.dirty)
            self._parts.note_fence(False, None)
            sleep(
                min(_BACKOFF_SECONDS * 2**attempt, _LONGEST_BACKOFF) if attempt + 1 < limits.attempts else 0.0
            )
        raise self._parts.too_slow(round(limits.outage * 1000), limits.attempts, blockers)

    def _too_long(self, left: int) -> str:
        limits, outage = self._parts.limits, self.report.outage
        parts = ", ".join(
            f"{name} {round(seconds * 1000)} ms"
            for name, seconds in (("fence", outage.fence), ("drain", outage.drain), ("settle", outage.settle))
        )
        attempt = f"attempt {self.report.attempts} of {limits.attempts}"
        return f"{attempt} aborted after {round(limits.outage * 1000)} ms ({parts}; entries left: {left}); writes are accepted"

    def _await_small_backlog(self) -> None:
        """Follow until a round takes half of the limit, or until rounds get no shorter.

        Then it may still be within the limit: behind the fence the application does not use the machine meanwhile.
        """
        last: deque[float] = deque(maxlen=_STEADY_ROUNDS)
        for _ in range(_ROUNDS):
            seconds = self._follower.round(0.0).seconds
            self._parts.confirm()
            if seconds <= self._parts.limits.outage / 2 or (
                len(last) == _STEADY_ROUNDS and seconds <= min(last)
            ):
                return
            last.append(seconds)

    def _attempt(self, drained: Drained) -> None:
        """Do one attempt.

        Raises:
            TimeoutError, FenceBlocked: the limit was passed; the fence may stand.
        """
        parts, report = self._parts, self.report
        limit = parts.limits.outage
        parts.note_fence(True, None)
        began = monotonic()
        deadline = began + limit
        report.outage = outage = Outage()
        parts.block()
        fenced = parts.swap.raise_fence(limit / 2)
        fenced_at = monotonic()
        outage.fence = fenced_at - began
        parts.note_fence(True, fenced)
        try:
            self._follower.drain(fenced, deadline, drained)
        finally:
            drained_at = monotonic()
            outage.drain = drained_at - fenced_at
        report.clients_at_fence = self._follower.handle_at(drained.dirty, fenced, deadline)
        drained.is_handled = True
        parts.check()
        parts.confirm()
        if not parts.swap.is_fenced():
            raise parts.fail("the fence was lifted by others", parts.again)
        settled_at = monotonic()
        outage.settle = settled_at - drained_at
        if settled_at > deadline:
            raise TimeoutError
        report.fenced = fenced
        report.swapped = parts.swap.swap(deadline - settled_at)
        outage.rename = monotonic() - settled_at
        report.events = dict(self._follower.progress.events)
