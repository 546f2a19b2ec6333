"""Follow the source of a finished run: up to now, or until an interruption or a cut-over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING

from bson.timestamp import Timestamp

from booking_migrate.errors import (
    BookingMigrateError,
    CollectionReplaced,
    FollowingStopped,
    LeaseLost,
    NoMajority,
    NothingToFollow,
)
from booking_migrate.events import Advanced, Announced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.follow.backlog import Backlog
from booking_migrate.follow.engine import Engine, Handled
from booking_migrate.follow.follower import Follower, Round
from booking_migrate.quantities import grouped
from booking_migrate.runs.background import meanwhile
from booking_migrate.runs.commands import command_of, cutovers_of
from booking_migrate.runs.control import MIGRATE, Setting
from booking_migrate.runs.followed import FOLLOWING, waits_until_short
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.regulator import Regulator
from booking_migrate.runs.session import RunRequest, RunStores
from booking_migrate.runs.states import newest_result
from booking_migrate.stores.changes import Change, ChangeFeed, DirtyStore, Position
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.locks import Holder

if TYPE_CHECKING:
    from booking_migrate.verify import VerificationOutcome

_SAVE_SECONDS = 1.0
"""How often the state of following is recorded."""


class FollowEnd(StrEnum):
    """Why following ended. The values are an API."""

    CAUGHT_UP = "caught-up"
    INTERRUPTED = "interrupted"
    HANDED_OVER = "handed-over"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FollowParts:
    """The parts for following one run."""

    engine: Engine
    feed: ChangeFeed
    store: DirtyStore
    now: Callable[[], Timestamp]
    catch_up: Callable[[], None]
    """Reads everything again if the feed starts over; otherwise it does nothing."""

    prepare: Callable[[], None]
    """Creates the indexes by which single clients are looked up."""

    verify: "Callable[[], VerificationOutcome]"
    """Verifies the whole target while the application writes."""

    counts: Callable[[], Mapping[str, int]]
    oplog_began: Callable[[], Timestamp | None]
    """Returns the cluster time of the oldest change that the server still has; None if the user may not read that."""

    is_proven: bool
    backlog: Backlog | None = None
    """What was read during the run, before the position at which the feed was opened."""


@dataclass(frozen=True, slots=True)
class FollowPlan:
    """The run to follow, and the parts that it needs."""

    stores: RunStores
    request: RunRequest
    parts: Callable[[RunRecord, HeldLock], FollowParts]
    listener: Listener
    outage: float
    """The outage in seconds below which a cut-over is announced as possible."""


@dataclass(frozen=True, slots=True)
class FollowOutcome:
    """The outcome of following."""

    end: FollowEnd
    time: Timestamp | None
    """The cluster time up to which the source's changes are in the target."""

    changes: int = 0
    clients: int = 0
    verified: int = 0
    taken_by: Holder | None = None
    """Which process has taken the lock over; None: it was not handed over."""


def follow(plan: FollowPlan) -> FollowOutcome:
    """Follow the source of the newest run of a target until a signal arrives or a cut-over asks for the lock.

    Raises:
        NothingToFollow: the target has no finished run from this source.
        FollowingStopped: the target has a mismatch, or others changed it.
        CollectionReplaced: others dropped or replaced a collection as a whole.
        TargetBusy, LeaseLost: another process holds the lock of the target.
        BookingMigrateError: as `Engine.handle`.
    """
    request = plan.request
    lock = HeldLock.acquire(plan.stores.locks, request.target, request.holder)
    try:
        following = _Following(plan, _run_of(plan), lock)
        try:
            end = following.run()
        except KeyboardInterrupt as signal:
            end = FollowEnd.INTERRUPTED
            if type(signal) is not KeyboardInterrupt:
                # SIGTERM and SIGHUP have exit codes of their own; Ctrl-C is the normal end.
                following.save_state(end.value)
                raise
        except BookingMigrateError as error:
            following.save_failure(error)
            raise
        following.save_state(end.value)
    except BaseException as error:
        lock.release_after(error)
        raise
    lock.release()
    return following.outcome(end)


def _run_of(plan: FollowPlan) -> RunRecord:
    """Return the run to follow.

    Raises:
        NothingToFollow: the target does not have one.
    """
    request = plan.request
    run = newest_result(plan.stores.journal, request.target)
    if run is None or run.state is not RunState.DONE or run.source != request.source:
        raise NothingToFollow(request.source, request.target)
    return run


def follow_to_now(plan: FollowPlan) -> FollowOutcome:
    """Bring in what has changed while a run read its source, so that its result is the source at one cluster time.

    Raises:
        HistoryLost, CollectionReplaced, FollowingStopped, LeaseLost, BookingMigrateError: as `follow`.
    """
    request = plan.request
    lock = HeldLock.acquire(plan.stores.locks, request.target, request.holder)
    try:
        outcome = _Following(plan, _run_of(plan), lock).to_now()
    except BaseException as error:
        lock.release_after(error)
        raise
    lock.release()
    return outcome


def _ready(commands: Sequence[str]) -> str:
    """Return the announcement that a cut-over is possible; it ends with a command that can be copied."""
    instead = " (--rejected leave leaves rejected bookings in the kept copy only)" if commands[1:] else ""
    return f"ready to cut over{instead}: {commands[0]}"


class _LockRequested(Exception):
    """A cut-over asks for the lock."""

    def __init__(self, by: Holder) -> None:
        super().__init__(str(by))
        self.by = by


class _Following:
    """One run that is followed."""

    def __init__(self, plan: FollowPlan, run: RunRecord, lock: HeldLock) -> None:
        self._plan = plan
        self._run = run
        self._lock = lock
        self._taken_by: Holder | None = None
        self._journal = plan.stores.journal
        self._parts = parts = plan.parts(run, lock)
        self._position: Position | None = None
        self._unverified: Timestamp | None = run.follow.get("unverified")
        self._marks = False  # Whether the target counts as unverified until it is proven.
        self._is_announced = False
        self._last = Round(0, 0, 0.0)
        self._handled: Timestamp | None = run.follow.get("handled", run.follow.get("time"))
        self._saved_at = 0.0
        self._regulator = Regulator(
            plan.stores.journal,
            plan.listener,
            command=MIGRATE,
            process=plan.request.holder,
            run_id=lambda: run.run_id,
            takes=(Setting.PAUSE, Setting.MAX_LAG),
            gauge=plan.stores.lag,
            maximum_lag=plan.request.maximum_lag,
        )
        self._is_held_back = False
        self._follower = Follower(
            parts.engine,
            parts.feed,
            parts.store,
            now=parts.now,
            save=self._save_position,
            on_wrong=self._stop,
            prepare=parts.prepare,
            on_replaced=self._refuse_replaced,
            begun=parts.backlog,
        )

    def to_now(self) -> FollowOutcome:
        """Follow up to the time of the call."""
        self._parts.catch_up()
        until = self._parts.now()
        while self._follower.position is None or self._follower.position.time < until:
            self._handle_round(0.0)
        self.save_state(FollowEnd.CAUGHT_UP.value)
        return self.outcome(FollowEnd.CAUGHT_UP)

    def run(self) -> FollowEnd:
        """Follow until a cut-over asks for the lock."""
        listener, parts, follower = self._plan.listener, self._parts, self._follower
        parts.catch_up()
        follower.is_verified, self._marks = parts.is_proven, True
        listener.notify(PhaseStarted(f"following {self._run.source}", None))
        try:
            while True:
                self._regulator.wait(self._beside_pause)
                self._is_held_back = False
                self._round()
                if not follower.is_verified and self._is_small():
                    self._verify()
                    listener.notify(PhaseStarted(f"following {self._run.source}", None))
                    continue
                if follower.is_verified and self._is_small() and not self._is_announced:
                    self._is_announced = True
                    # First, so that `status` is not older than the announcement.
                    self.save_state(FOLLOWING)
                    # From the current record: bookings may have been rejected since the start.
                    counts = {**self._run.counts, **parts.counts()}
                    commands = cutovers_of(self._run.model_copy(update={"counts": counts}))
                    listener.notify(Announced(_ready(commands)))
                self._check_lock_request()
        except _LockRequested as wanted:
            listener.notify(PhaseEnded())
            listener.notify(Announced(f"handed over to {wanted.by}"))
            self._taken_by = wanted.by
            return FollowEnd.HANDED_OVER

    def _check_lock_request(self) -> None:
        """Check whether a cut-over asks for the lock.

        Raises:
            _LockRequested: it does.
        """
        wanted = self._lock.requested_by()
        if wanted is not None:
            raise _LockRequested(wanted)

    def _handle_round(self, *seconds: float) -> None:
        self._last = self._follower.round(*seconds)
        if self._position is not None:
            self._handled = self._position.time

    def _round(self) -> None:
        self._handle_round()
        self._lock.confirm()
        self._plan.listener.notify(Advanced(self._last.changes))
        if monotonic() - self._saved_at >= _SAVE_SECONDS:
            self.save_state(FOLLOWING)

    def _is_small(self) -> bool:
        return self._last.estimated_outage <= self._plan.outage

    def _not_ready(self) -> str | None:
        """Return why a cut-over is not announced as possible; None: it is."""
        if self._is_held_back:
            return "it is paused; what changes meanwhile is kept, and a cut-over brings that in first"
        if not self._follower.is_verified:
            return "this process has not verified the whole target itself yet, which a verify beside it does not replace"
        if not self._is_small():
            return waits_until_short("cut-over", self._plan.outage)
        return None

    def _verify(self) -> None:
        """Verify the whole target once; what changes meanwhile is verified when it is followed.

        Raises:
            _LockRequested: a cut-over asks for the lock, which verifies what is left of it.
        """
        began, time = self._journal.now(), self._parts.now()
        outcome = meanwhile(self._parts.verify, self._beside_verification)
        is_clean = not outcome.mismatch_count
        self._journal.annotate(
            self._run.run_id, verified_at=began, verified_time=time, verified_clean=is_clean
        )
        if not is_clean:
            raise FollowingStopped(
                self._run.target,
                f"the target does not match the source, mismatches: {grouped(outcome.mismatch_count)}",
                command_of(self._run, "verify"),
            )
        self._follower.is_verified = True

    def _beside_verification(self) -> None:
        # The position in the journal stays unchanged: the verifier counts later changes as behind.
        self._follower.keep(0.0)
        self._lock.confirm()
        self._check_lock_request()

    def _beside_pause(self) -> None:
        """Keep what changes meanwhile durably, so that no history is lost, and be seen to be there."""
        self._is_held_back = True
        self._follower.keep()
        self._lock.confirm()
        self._check_lock_request()
        if monotonic() - self._saved_at >= _SAVE_SECONDS:
            self.save_state(FOLLOWING)

    def _stop(self, handled: Handled) -> None:
        if handled.foreign:
            problem = (
                f"client documents of the target were changed by others: {grouped(len(handled.foreign))}"
            )
        else:
            count = 0 if handled.verification is None else handled.verification.mismatch_count
            problem = f"the target does not match the source, mismatches: {grouped(count)}"
        raise FollowingStopped(self._run.target, problem, command_of(self._run, "verify"))

    @staticmethod
    def _refuse_replaced(change: Change) -> None:
        raise CollectionReplaced(change.collection)

    def _save_position(self, position: Position) -> None:
        self._position = position

    def save_failure(self, error: BookingMigrateError) -> None:
        """Record that an error has ended it, so that its process does not count as killed."""
        if isinstance(error, LeaseLost | NoMajority):
            # The run belongs to another process now, or a majority would not acknowledge the record.
            return
        try:
            self.save_state(FollowEnd.FAILED.value, error.message)
        except BookingMigrateError as trouble:
            error.add_note(f"The state of following could not be saved: {trouble.message}")

    def save_state(self, state: str, problem: str | None = None) -> None:
        """Record the position, and the figures that `status` shows; also the problem that has ended it."""
        self._saved_at = monotonic()
        # Not the follower's position: after an interrupted round it is past changes that are not handled.
        position = self._position
        if position is None:
            return
        began = self._parts.oplog_began()
        not_ready = self._not_ready()
        waiting = self._follower.waiting
        # The position is past the changes that are kept: in a pause, or during a verification.
        current = position.time if waiting == 0 or self._handled is None else self._handled
        facts = {
            "state": state,
            "lag_seconds": max(0, self._parts.now().time - current.time),
            "backlog": waiting or self._last.changes,
            "estimated_outage_ms": round(self._last.estimated_outage * 1000),
            "oplog_seconds_left": None if began is None else position.time.time - began.time,
            "ready": not_ready is None,
            "not_ready": not_ready,
            "problem": problem,
            "at": self._journal.now(),
        }
        if self._marks and not self._follower.is_verified:
            self._unverified = self._parts.now()
        unverified = {} if self._unverified is None else {"unverified": self._unverified}
        self._journal.annotate(
            self._run.run_id,
            follow={**position.saved(), **unverified, "handled": current, "facts": facts},
            counts={**self._run.counts, **self._parts.counts()},
        )

    def outcome(self, end: FollowEnd) -> FollowOutcome:
        """Return the outcome."""
        progress, position = self._follower.progress, self._position
        return FollowOutcome(
            end,
            None if position is None else position.time,
            progress.changes,
            progress.clients,
            progress.verified,
            self._taken_by,
        )
