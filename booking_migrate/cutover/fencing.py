"""Refuse writes for the last few changes only: fence, drain, settle and swap, within a limit and with retries.

A cut-over and a rollback out of a reverse window share it; they differ in what is followed and swapped.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, Protocol

from bson.timestamp import Timestamp

from booking_migrate.cutover.refusal import LIFTED_BY_OTHERS, Refusal, backoff, confirm_fence
from booking_migrate.cutover.tail import TailChanges
from booking_migrate.errors import BookingMigrateError, FenceBlocked, TooSlow
from booking_migrate.events import Advanced, Announced, Listener, PhaseEnded, PhaseStarted, Warned
from booking_migrate.follow.follower import Drained, Follower, Round
from booking_migrate.quantities import plural
from booking_migrate.runs.plan import Limits

_ROUNDS = 100
"""The maximum number of rounds before an attempt."""

_STEADY_ROUNDS = 8
"""If a round is not longer than any of this number of rounds before it, the duration of rounds has converged."""

_SHORT_SECONDS = 0.04
"""A round of this duration is as short as possible."""

_SHRINKING, _SIMILAR = 0.85, 1.25
"""Within these fractions of the shortest round so far, a round counts as equally long."""

_BEFORE_LIFTING = 0.9
"""The fraction of the limit after which the fence is lifted, unless the swap has been sent: lifting takes time, too."""

_LOOK_SECONDS = 0.1
"""The pause between rounds of following, between two attempts."""


class Swap(Protocol):
    """Fence and swap; see `stores.mongo.live_swap.LiveSwap`."""

    def raise_fence(self, seconds: float) -> Timestamp:
        """Make the source refuse inserts and updates; return the cluster time from which on it does."""

    def is_fenced(self) -> bool:
        """Return whether the source refuses inserts and updates."""

    def swap(self, seconds: float) -> Timestamp:
        """Rename the target to the source's name in one atomic step; return its cluster time."""


@dataclass(slots=True)
class Outage:
    """The parts of the time for which writes were refused, in seconds."""

    fence: float = 0.0
    drain: float = 0.0
    settle: float = 0.0
    """Deriving and verifying the last changes."""

    rename: float = 0.0
    """Up to the server's answer; if that was lost, until the swap was found to be carried out."""

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

    clients_at_fence: int = 0
    """How many clients were derived and verified behind the fence."""

    late_deletes: int = 0
    late_writes: int = 0
    late_updates: tuple[Any, ...] = ()
    """The `_id` values of bookings that were updated after the fence, of which the result has the earlier version."""

    foreign: tuple[Any, ...] = ()
    """The `_id` values of client documents that others changed while the collections were swapped."""

    foreign_copies: tuple[Any, ...] = ()
    """The `_id` values of bookings of the kept copy that others changed while the collections were swapped."""

    def take(self, late: TailChanges) -> None:
        """Add the changes that passed the fence."""
        self.late_deletes, self.late_writes = len(late.deleted), len(late.written)
        self.late_updates = tuple(late.updated.values())
        self.foreign, self.foreign_copies = late.foreign, late.foreign_copies


@dataclass(frozen=True, slots=True)
class FencingParts:
    """The parts and callbacks of an attempt."""

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
    """Lifts the fence, and ends the refusal of all users' writes; called from any thread, perhaps more than once."""

    note_lifted: Callable[[float], None]
    """Records that writes are accepted again, and for how many seconds they were refused."""

    undo_check: Callable[[], None]
    """Undoes what `check` did, after the fence was lifted."""

    check: Callable[[], None]
    """Does the last steps behind the fence; raises if something prevents the swap."""

    end_pending: Callable[[], None]
    """Ends what the server has not carried out yet of the swap."""

    is_swapped: Callable[[], bool]
    fail: Callable[[str, str], BookingMigrateError]
    """Makes the error for a problem and its advice."""

    too_slow: type[TooSlow]
    """The error for a limit that was passed by every attempt."""

    again: str
    """The advice for a fence that others have lifted."""


class Fencing:
    """Attempts to refuse writes, apply the last changes, and swap."""

    def __init__(self, follower: Follower, parts: FencingParts, report: LiveReport) -> None:
        """Take the parts, and the report to fill in."""
        self._follower = follower
        self._parts = parts
        self.report = report

    def swap(self) -> None:
        """Refuse writes, apply the last changes, and swap; retry while the limit is passed.

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
                    refused = self._abort(refusal)
                    blockers = error.blockers if isinstance(error, FenceBlocked) else ""
                    if parts.is_swapped():
                        # The answer came too late, or not at all: how long it took is known no better.
                        outage = self.report.outage
                        outage.rename = max(0.0, refused - outage.total)
                        return
                    self._note_aborted(refused, drained, error)
                else:
                    return
                finally:
                    refusal.stop()
            if attempt + 1 < limits.attempts:
                self._pause(backoff(attempt))
        raise parts.too_slow(round(limits.outage * 1000), limits.attempts, blockers)

    def _abort(self, refusal: Refusal) -> float:
        """Lift the fence; return for how many seconds writes were refused."""
        try:
            if refusal.is_committed:
                # If its answer was lost, the server may still wait to carry the swap out: then lifting the fence would come after it,
                # and the new live collection would get the validator of the old one.
                self._parts.end_pending()
        finally:
            refused = refusal.abort()
        return refused

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, and follow during the wait, which keeps the next attempt short."""
        until = monotonic() + seconds
        while (left := until - monotonic()) > 0:
            done = self._follower.round(0.0)
            self._parts.confirm()
            self._parts.listener.notify(Advanced(done.changes))
            sleep(min(left, _LOOK_SECONDS))

    def _begin(self) -> Refusal:
        """Record that writes may be refused from now on, and begin to measure for how long."""
        self._parts.note_fence(None)
        return Refusal(self._parts.limits.outage * _BEFORE_LIFTING, self._parts.lift_fence)

    def _note_aborted(self, refused: float, drained: Drained, error: Exception) -> None:
        """Leave the drained changes to the next attempt, and report for how long writes were refused."""
        parts, report = self._parts, self.report
        parts.note_lifted(refused)
        report.aborted.append(refused)
        parts.undo_check()
        # Even handled entries: they may have changed again after the time as of which they were handled.
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

    def _still_long(self, done: Round) -> str:
        limit = round(self._parts.limits.outage * 1000)
        return (
            f"the last {plural(done.changes, 'change')} took {round(done.seconds * 1000)} ms to bring in, and about as many have come "
            f"meanwhile: writes are accepted until that takes less than the limit of {limit} ms, which it does at once if the "
            "application is stopped"
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
        """Follow until the duration of rounds has converged, below half of the limit if possible.

        Each round handles what was written during the round before: if the application is slower than this program, rounds
        become shorter down to a minimum, and so does the outage.

        Returns:
            For how many seconds writes would be refused, at most: the changes written during the last round are about as
            many as the round handled, and behind the fence the application leaves the machine idle.
        """
        parts = self._parts
        attempt = f"attempt {self.report.attempts} of {parts.limits.attempts}"
        parts.listener.notify(PhaseStarted(f"{attempt}, bringing in the last changes", None, "change"))
        seconds, is_said = 0.0, False
        last: deque[float] = deque(maxlen=_STEADY_ROUNDS)
        for _ in range(_ROUNDS):
            done = self._follower.round(0.0)
            seconds = done.seconds
            parts.confirm()
            parts.listener.notify(Advanced(done.changes))
            if seconds <= _SHORT_SECONDS or self._has_converged(seconds, last):
                break
            # The first round has what came before it, too: only the next ones show whether the application is faster.
            if last and not is_said and seconds >= parts.limits.outage:
                is_said = True
                parts.listener.notify(Announced(self._still_long(done)))
            last.append(seconds)
        parts.listener.notify(PhaseEnded())
        return seconds

    def _has_converged(self, seconds: float, last: Sequence[float]) -> bool:
        """Return whether a round is among the shortest, and the next ones will hardly be shorter."""
        if len(last) == _STEADY_ROUNDS and seconds <= min(last):
            return True
        is_small = seconds <= self._parts.limits.outage / 2
        return is_small and bool(last) and min(last) * _SHRINKING <= seconds <= min(last) * _SIMILAR

    def _attempt(self, drained: Drained, refusal: Refusal) -> None:
        """Make one attempt.

        Raises:
            TimeoutError, FenceBlocked: the limit was passed; the fence may be raised.
        """
        parts, report = self._parts, self.report
        began, deadline = monotonic(), refusal.deadline
        report.outage = outage = Outage()
        parts.block()
        fenced = parts.swap.raise_fence(parts.limits.wait)
        fenced_at = monotonic()
        outage.fence = fenced_at - began
        confirm_fence(parts.confirm, parts.is_swapped, parts.lift_fence)
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
                raise parts.fail(LIFTED_BY_OTHERS, parts.again)
            refusal.commit()
        finally:
            settled_at = monotonic()
            outage.settle = settled_at - drained_at
        report.fenced = fenced
        report.events = dict(self._follower.progress.events)
        report.swapped = parts.swap.swap(began + parts.limits.outage - settled_at)
        outage.rename = monotonic() - settled_at
