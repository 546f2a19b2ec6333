"""A cut-over beside an application that writes: what is refused is refused for as long as the last few changes take.

The copy, the proof of the whole target and all earlier changes come before the fence. Behind it, only what changed since the
last round is derived and verified, as of the fence's own cluster time. Everything before the swap can be aborted.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from time import monotonic, sleep
from typing import Any, Protocol, TypeVar

from bson.timestamp import Timestamp

from booking_migrate.bson.order import sort_key
from booking_migrate.cutover.tail import Late
from booking_migrate.errors import CutoverFailed, CutoverTooSlow, FenceBlocked
from booking_migrate.events import Listener, PhaseEnded, PhaseStarted, Warned
from booking_migrate.follow.engine import Engine, Handled, Kept
from booking_migrate.follow.follower import Drained, Follower
from booking_migrate.stores.changes import ChangeFeed, Dirty, DirtyStore, Position
from booking_migrate.verify import VerificationOutcome

_ROUNDS = 100
"""How many rounds may pass before an attempt."""

_STEADY_ROUNDS = 8
"""A round that is no longer than so many before it shows that they get no shorter."""

_BACKOFF_SECONDS, _LONGEST_BACKOFF = 0.5, 30.0


T = TypeVar("T")


class CopiedSource(Kept, Protocol):
    """The kept copy, as a cut-over needs it."""

    def create(self) -> None:
        """Copy the source. What is written to it meanwhile may be missing."""

    def compare(self) -> Iterable[Any]:
        """Return the `_id` values under which source and copy hold something else; of a source in use, perhaps for a moment."""


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
    """What a cut-over beside an application did."""

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

    def take(self, late: Late) -> None:
        """Add what passed the fence."""
        self.late_deletes, self.late_writes = len(late.deleted), len(late.written)
        self.late_updates = tuple(late.updated.values())
        self.foreign = late.foreign


@dataclass(frozen=True, slots=True)
class Following:
    """The parts by which a cut-over follows the application."""

    engine: Engine
    feed: ChangeFeed
    store: DirtyStore
    copy: CopiedSource
    swap: Swap
    now: Callable[[], Timestamp]
    save: Callable[[Position], None]
    prepare: Callable[[], None]
    """Creates the indexes by which single clients are looked up."""

    verify: Callable[[], VerificationOutcome]
    """Verifies the whole target against the kept copy."""

    counts: Callable[[], Mapping[str, int]]
    """Returns how many bookings there are, were rejected, and conflict, by the names in a run's counts."""

    is_proven: bool
    """Whether the whole target was verified, and all that changed since is followed with verification."""

    limits: Limits
    listener: Listener


class LivePreparation:
    """Everything of a live cut-over up to the swap."""

    def __init__(
        self,
        parts: Following,
        *,
        fail: Callable[[str, str], CutoverFailed],
        confirm: Callable[[], None],
        note_fence: Callable[[bool, Timestamp | None], None],
        block: Callable[[], None],
        lift_fence: Callable[[], None],
        check: Callable[[], None],
        is_swapped: Callable[[], bool],
    ) -> None:
        """Take the parts.

        Args:
            parts: by which the application is followed.
            fail: makes the error for a problem and its advice.
            confirm: checks that the lock is still held.
            note_fence: records whether writes may be refused, and from which cluster time on.
            block: refuses every user's writes, if that was asked for.
            lift_fence: lifts the fence, and ends that.
            check: raises if conflicts or rejected bookings prevent the swap.
            is_swapped: returns whether the target has the source's name.
        """
        self._parts = parts
        self._fail = fail
        self._confirm = confirm
        self._note_fence = note_fence
        self._block = block
        self._lift_fence = lift_fence
        self._check = check
        self._is_swapped = is_swapped
        self.report = LiveReport()
        self._follower = Follower(
            parts.engine,
            parts.feed,
            parts.store,
            now=parts.now,
            save=parts.save,
            on_wrong=self._refuse_wrong,
            prepare=lambda: None,
        )

    def prepare(self) -> None:
        """Do everything that takes long, while the application writes."""
        parts, follower = self._parts, self._follower
        parts.prepare()
        follower.is_verified = parts.is_proven
        self._round("following the changes since the last run")
        self._copy()
        if not parts.is_proven:
            self._prove()

    def _round(self, label: str) -> None:
        self._parts.listener.notify(PhaseStarted(label, None))
        self._follower.round()
        self._parts.listener.notify(PhaseEnded())
        self._confirm()

    def _meanwhile(self, action: Callable[[], T]) -> T:
        """Return what a long action comes to; meanwhile the feed is read, so that the oplog does not lose what it needs."""
        answers: SimpleQueue[T | BaseException] = SimpleQueue()

        def work() -> None:
            try:
                answers.put(action())
            except BaseException as error:  # noqa: BLE001 - raised again where the answer is taken
                answers.put(error)

        # A daemon, so that a signal ends the program; what the server still does then is ended by the next one.
        Thread(target=work, name="meanwhile", daemon=True).start()
        while answers.empty():
            self._follower.keep()
            self._confirm()
        answer = answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _copy(self) -> None:
        """Copy the source, and make the copy what the source is: where they differ, it is written again and read back."""
        parts = self._parts
        parts.listener.notify(PhaseStarted("copying the source", None))
        self._meanwhile(parts.copy.create)
        self._follower.kept = parts.copy
        differing = self._meanwhile(lambda: {sort_key(value): value for value in parts.copy.compare()})
        self._follower.mark(Dirty(bookings=differing))
        parts.listener.notify(PhaseEnded())
        self._round("following the changes since the copy")

    def _prove(self) -> None:
        """Verify the whole target against the kept copy: both change only here, so no difference is one of time."""
        outcome = self._meanwhile(self._parts.verify)
        if outcome.mismatch_count:
            raise self._mismatched(outcome)
        self._follower.is_verified = True

    def swap(self) -> None:
        """Refuse writes, bring the last changes in, and swap; as often as it takes within the limit.

        Raises:
            CutoverTooSlow: the limit was passed every time.
            CutoverFailed: the target is not what it has to be.
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
            if self._is_swapped():
                # The answer came too late.
                return
            self._lift_fence()
            # Even if it was handled: it may have changed again behind the time as of which that was done.
            self._follower.mark(drained.dirty)
            self._note_fence(False, None)
            sleep(
                min(_BACKOFF_SECONDS * 2**attempt, _LONGEST_BACKOFF) if attempt + 1 < limits.attempts else 0.0
            )
        raise CutoverTooSlow(round(limits.outage * 1000), limits.attempts, blockers)

    def _too_long(self, left: int) -> str:
        limits, outage = self._parts.limits, self.report.outage
        parts = ", ".join(
            f"{name} {round(seconds * 1000)} ms"
            for name, seconds in (("fence", outage.fence), ("drain", outage.drain), ("settle", outage.settle))
        )
        attempt = f"attempt {self.report.attempts} of {limits.attempts}"
        return f"{attempt} aborted after {round(limits.outage * 1000)} ms ({parts}; entries left: {left}); writes are accepted"

    @property
    def written(self) -> int:
        """Return how many client documents were written or removed since the cut-over began."""
        return self._follower.progress.written

    def _await_small_backlog(self) -> None:
        """Follow until a round takes half of the limit, or until rounds get no shorter.

        Then it may still be within the limit: behind the fence the application does not use the machine meanwhile.
        """
        last: deque[float] = deque(maxlen=_STEADY_ROUNDS)
        for _ in range(_ROUNDS):
            seconds = self._follower.round(0.0).seconds
            self._confirm()
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
        self._note_fence(True, None)
        began = monotonic()
        deadline = began + limit
        report.outage = outage = Outage()
        self._block()
        fenced = parts.swap.raise_fence(limit / 2)
        fenced_at = monotonic()
        outage.fence = fenced_at - began
        self._note_fence(True, fenced)
        try:
            self._follower.drain(fenced, deadline, drained)
        finally:
            drained_at = monotonic()
            outage.drain = drained_at - fenced_at
        report.clients_at_fence = self._follower.handle_at(drained.dirty, fenced, deadline)
        drained.is_handled = True
        self._check()
        self._confirm()
        if not parts.swap.is_fenced():
            raise self._fail("the fence was lifted by others", "Run cutover again.")
        settled_at = monotonic()
        outage.settle = settled_at - drained_at
        if settled_at > deadline:
            raise TimeoutError
        report.fenced = fenced
        self._swap_within(deadline - settled_at)
        outage.rename = monotonic() - settled_at
        report.events = dict(self._follower.progress.events)

    def _swap_within(self, seconds: float) -> None:
        self.report.swapped = self._parts.swap.swap(seconds)

    def _refuse_wrong(self, handled: Handled) -> None:
        if handled.foreign:
            raise self._fail(
                f"client documents of the target were changed by others: {len(handled.foreign)}",
                "Nothing else may write to the target before the cut-over. Run migrate, then verify.",
            )
        if handled.verification is not None and handled.verification.mismatch_count:
            raise self._mismatched(handled.verification)
        raise self._fail(
            f"documents of the copy differ from the source: {len(handled.differing)}", "Run cutover again."
        )

    def _mismatched(self, outcome: VerificationOutcome) -> CutoverFailed:
        failure = self._fail(
            f"the target does not match the source, mismatches: {outcome.mismatch_count}",
            "Run migrate and verify again.",
        )
        failure.examples = tuple(each.place for result in outcome.results for each in result.examples)[:5]
        return failure
