"""Making a run's target the live collection under the source's name.

Writes to the source are refused from the fence to the swap, and in between everything is done on data that stands still:
catch up, copy the source, prove the target against the copy, swap. Whatever fails before the swap lifts the fence and
leaves the source live as it was. A process that is killed leaves the journal's word for where it was, and the next
`cutover` or `rollback` clears up first (`recover`).
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from time import monotonic

from booking_migrate.domain.bson_document import elements, read_value
from booking_migrate.engine.catch_up import CaughtUp, FinishedRun, catch_up
from booking_migrate.engine.commands import command_of
from booking_migrate.engine.interruption import Shield
from booking_migrate.engine.journal import check_transition, differences, in_words, newest_result
from booking_migrate.engine.lock import HeldLock
from booking_migrate.engine.plan import MigrationPlan
from booking_migrate.engine.session import RunRequest, RunStores
from booking_migrate.engine.verify import VerificationOutcome
from booking_migrate.errors import (
    BookingMigrateError,
    CutoverFailed,
    CutoverRefused,
    LeaseLost,
    NoMajority,
)
from booking_migrate.events import Listener, PhaseEnded, PhaseStarted, Reached, Step
from booking_migrate.stores.base import DocumentReader, TargetWriter
from booking_migrate.stores.cutover import IndexNote, LiveCollections, OptionNote
from booking_migrate.stores.journal import RunRecord, RunState


class RejectedPolicy(StrEnum):
    """What becomes of rejected bookings at a cut-over. The values are an API."""

    CARRY = "carry"
    """They go along in their old shape, beside the client documents."""

    LEAVE = "leave"
    """They stay in the kept copy of the old collection only."""


@dataclass(frozen=True, slots=True)
class CutoverPlaces:
    """What a cut-over reads and writes."""

    source: DocumentReader
    target: TargetWriter
    users: DocumentReader | None
    experts: DocumentReader | None
    live: LiveCollections
    verify: Callable[[str], VerificationOutcome]
    """Proves the target, strictly and whole, against the collection of this name, which holds the source's documents."""


@dataclass(frozen=True, slots=True)
class CutoverOutcome:
    """What a cut-over did."""

    run: RunRecord
    caught_up: int = 0
    """Client documents that had to be made, made anew or removed, because the source had changed."""

    refused_seconds: float = 0.0
    """For how long writes were refused, as far as this process knows."""

    carried: int = 0
    """Rejected bookings that went along."""

    indexes: tuple[IndexNote, ...] = ()
    options: tuple[OptionNote, ...] = ()


def legacy_name(run: RunRecord) -> str:
    """The name of the collection that keeps the source as it was."""
    return f"{run.source}_legacy_{run.run_id}"


_RESOLVE_CONFLICTS = "Decide with migrate --on-conflict source or --on-conflict target, then verify."
_FINISH_FIRST = "Bring it to its end: run migrate again."
_ADVICE = {
    RunState.CUT_OVER: "booking-migrate status shows every run.",
    RunState.RESTORING: "It is being rolled back: run rollback again, which goes on with that.",
}
"""What to do about a run that is in a state other than the one that a cut-over begins with."""


def check_ready(
    run: RunRecord | None, request: RunRequest, policy: RejectedPolicy | None, live: LiveCollections
) -> RunRecord:
    """Make sure that a run may be cut over; nothing is changed.

    Raises:
        CutoverRefused: it may not; also if it was made under other options, by which the bookings that came since would
            be converted otherwise.
    """
    target = request.target

    def refuse(problem: str, advice: str) -> CutoverRefused:
        return CutoverRefused(target, problem, advice)

    if run is None:
        raise refuse("no run has written to it", "Run migrate and verify first.")
    if run.state is not RunState.DONE:
        raise refuse(f"run {run.run_id} is {in_words(run.state)}", _ADVICE.get(run.state, _FINISH_FIRST))
    unlike = differences(run.options, request.options)
    if unlike:
        problem = f"run {run.run_id} was made under other options: {'; '.join(unlike)}"
        raise refuse(problem, f"Use the options that it had: {command_of(run, 'cutover')}")
    unfit = live.unfit()
    if unfit is not None:
        raise refuse(
            f"the source {run.source} cannot be replaced: {unfit}", "Only a plain collection can be."
        )
    conflicts = run.counts.get("conflicts", 0)
    if conflicts:
        raise refuse(f"bookings conflict with their sessions: {conflicts}", _RESOLVE_CONFLICTS)
    if run.verified_at is None or run.written_at is None or run.verified_at <= run.written_at:
        raise refuse(f"run {run.run_id} was not verified since it wrote last", "Run verify first.")
    if not run.verified_clean:
        raise refuse(
            "the last verification found mismatches",
            "Run migrate again, which brings in what has changed; then verify.",
        )
    rejected = run.counts.get("rejected", 0)
    if rejected and policy is None:
        advice = "--rejected carry takes them along in their old shape; --rejected leave keeps them in the copy only."
        raise refuse(f"bookings were rejected: {rejected}", advice)
    return run


@dataclass(frozen=True, slots=True)
class CutoverPlan:
    """What is to be done, and with whose help."""

    migration: MigrationPlan
    """The plan of the run: what came since is converted by it."""

    request: RunRequest
    """Source, target and options of the run, and the holder of the lock."""

    policy: RejectedPolicy | None
    """What becomes of rejected bookings; None: there must be none."""

    places: CutoverPlaces
    stores: RunStores
    listener: Listener
    shield: Shield
    """Holds a signal back while the swap must not be cut in two."""

    before: Callable[[RunRecord], None]
    """Called when everything is ready and nothing is changed yet; asks, for instance, and raises to stop."""


def cut_over(plan: CutoverPlan) -> CutoverOutcome:
    """Make the target of its newest run the live collection.

    Raises:
        CutoverRefused: a precondition does not hold; nothing was changed.
        CutoverFailed: it was given up; the source is live as it was.
        TargetBusy, LeaseLost: another run is at work on the target.
    """
    request = plan.request
    lock = HeldLock.acquire(plan.stores.locks, request.target, request.holder, request.lease_seconds)
    plan.listener.notify(Reached(Step.LOCKED))
    try:
        outcome = _cut_over(plan, lock)
    except BaseException as error:
        lock.let_go(error)
        raise
    lock.release()
    plan.listener.notify(Reached(Step.UNLOCKED))
    return outcome


def _cut_over(plan: CutoverPlan, lock: HeldLock) -> CutoverOutcome:
    live = plan.places.live
    run = newest_result(plan.stores.journal, plan.request.target)
    refused_before = 0.0
    if run is not None and run.state is RunState.CUTTING_OVER:
        if run.source != plan.request.source:
            # Cleared up on another collection, it would be taken for swapped.
            problem = f"run {run.run_id} is the cut-over of {run.source}"
            raise CutoverRefused(run.target, problem, f"Continue it: {command_of(run, 'cutover')}")
        fenced_at = run.fenced_at
        run = recover(run, live, plan.stores, lock, plan.listener)
        if fenced_at is not None:
            refused_before = (plan.stores.journal.now() - fenced_at).total_seconds()
        if run.state is RunState.CUT_OVER:
            indexes, kept = _recreate_indexes(run, live), _options(run, live)
            return CutoverOutcome(run, refused_seconds=refused_before, indexes=indexes, options=kept)
    run = check_ready(run, plan.request, plan.policy, live)
    plan.before(run)
    return _Attempt(run, plan, lock, refused_before).carry_out()


def recover(
    run: RunRecord, live: LiveCollections, stores: RunStores, lock: HeldLock, listener: Listener
) -> RunRecord:
    """Clear up after a cut-over that was killed: before the swap nothing of it stays, after the swap it is done.

    Raises:
        LeaseLost: another run has taken the lock over.
    """
    lock.confirm()
    settings = run.live_settings or ""
    if live.is_swapped(settings):
        live.lift_fence(settings)
        check_transition(run, RunState.CUT_OVER)
        _recreate_indexes(run, live)
        run = stores.journal.save(run.run_id, state=RunState.CUT_OVER.value, fenced_at=None)
        listener.notify(Reached(Step.CUT_OVER))
        return run
    # The fence first: whatever fails after it, the source takes writes again.
    live.lift_fence(settings)
    listener.notify(Reached(Step.FENCE_LIFTED))
    live.take_back_carried(_bookings_of(stores.target.rejects()))
    live.drop(run.legacy or legacy_name(run))
    check_transition(run, RunState.DONE)
    return stores.journal.save(
        run.run_id, state=RunState.DONE.value, legacy=None, live_settings=None, fenced_at=None
    )


def _recreate_indexes(run: RunRecord, live: LiveCollections) -> tuple[IndexNote, ...]:
    return tuple(live.recreate_indexes(run.live_settings or ""))


def _options(run: RunRecord, live: LiveCollections) -> tuple[OptionNote, ...]:
    return tuple(live.options(run.live_settings or ""))


class _Attempt:
    """One cut-over at work."""

    def __init__(self, run: RunRecord, plan: CutoverPlan, lock: HeldLock, refused_before: float) -> None:
        self._run = run
        self._refused_before = refused_before
        self._plan = plan.migration
        self._policy = plan.policy
        self._places = plan.places
        self._live = plan.places.live
        self._stores = plan.stores
        self._lock = lock
        self._listener = plan.listener
        self._shield = plan.shield
        self._fenced_at: float | None = None
        self._legacy = legacy_name(run)

    def carry_out(self) -> CutoverOutcome:
        """Do it, or leave everything as it was."""
        check_transition(self._run, RunState.CUTTING_OVER)
        self._lock.confirm()
        self._run = self._stores.journal.save(
            self._run.run_id,
            state=RunState.CUTTING_OVER.value,
            legacy=self._legacy,
            live_settings=self._live.settings(),
        )
        self._reach(Step.CUTOVER_NOTED)
        try:
            caught_up, carried = self._prepare()
            with self._shield.protected():
                # From here on there is no way back but `rollback`.
                self._lock.confirm()
                self._live.swap()
                self._live.lift_fence(self._run.live_settings or "")
                refused = self._refused_seconds()
                self._reach(Step.SWAPPED)
                # Before the last note: whoever finds that missing recreates them again.
                indexes = _recreate_indexes(self._run, self._live)
                self._run = self._stores.journal.save(
                    self._run.run_id,
                    state=RunState.CUT_OVER.value,
                    counts=asdict(caught_up.migration.counts),
                    fenced_at=None,
                )
                self._reach(Step.CUT_OVER)
        except BaseException as error:
            self._give_up(error)
            raise
        options = _options(self._run, self._live)
        return CutoverOutcome(self._run, caught_up.written, refused, carried, indexes, options)

    def _prepare(self) -> tuple[CaughtUp, int]:
        """Everything up to the swap."""
        journal = self._stores.journal
        # Before the fence: what is killed behind it must be known to refuse writes.
        self._run = journal.save(self._run.run_id, fenced_at=journal.now())
        self._fenced_at = monotonic()
        self._live.raise_fence()
        self._reach(Step.FENCED)
        places = self._places
        caught_up = catch_up(
            self._plan,
            places.source,
            places.target,
            run=FinishedRun(self._stores, self._run, self._lock),
            users=places.users,
            experts=places.experts,
            listener=self._listener,
            shield=self._shield,
        )
        self._reach(Step.CAUGHT_UP)
        counts = caught_up.migration.counts
        if counts.conflicts:
            raise self._failure(
                f"bookings conflict with their sessions, which others have changed: {counts.conflicts}",
                _RESOLVE_CONFLICTS,
            )
        rejected = counts.rejected
        if rejected and self._policy is None:
            raise self._failure(
                f"bookings that came since were rejected: {rejected}",
                "Give --rejected carry or --rejected leave.",
            )
        self._keep_copy()
        outcome = places.verify(self._legacy)
        if outcome.mismatch_count:
            raise self._failure(
                f"the last verification found mismatches: {outcome.mismatch_count}",
                "Run verify to see them.",
            )
        self._reach(Step.PROVEN_AGAIN)
        carried = 0
        if self._policy is RejectedPolicy.CARRY and rejected:
            self._lock.confirm()
            carried = self._live.carry(_bookings_of(self._stores.target.rejects()))
            self._reach(Step.CARRIED)
        if not self._live.has_same_count(self._legacy):
            raise self._failure("bookings were deleted from the source meanwhile", "Run cutover again.")
        return caught_up, carried

    def _keep_copy(self) -> None:
        self._lock.confirm()
        self._listener.notify(PhaseStarted(f"copying {self._run.source} to {self._legacy}", None))
        self._live.copy(self._legacy)
        self._listener.notify(PhaseEnded())
        if not self._live.is_same(self._legacy):
            raise self._failure(
                f"the copy {self._legacy} is not what the source is; somebody deletes from it",
                "Run cutover again when nobody does.",
            )
        self._reach(Step.LEGACY_COPIED)

    def _give_up(self, error: BaseException) -> None:
        """Leave the source live as it was; if even that cannot be done, say so: the next start does it."""
        if isinstance(error, LeaseLost):
            return
        try:
            with self._shield.protected():
                self._run = recover(self._run, self._live, self._stores, self._lock, self._listener)
            if isinstance(error, KeyboardInterrupt) and self._run.state is RunState.DONE:
                error.add_note(f"{self._run.source} is live as before and accepts writes again.")
        except NoMajority:
            error.add_note(
                "The source takes writes again, which no majority has acknowledged yet: run cutover again, or rollback, "
                "when the members are up."
            )
        except BookingMigrateError as trouble:
            error.add_note(
                f"The fence could not be lifted ({trouble.message}): run cutover again, or rollback, as soon as possible."
            )

    def _failure(self, problem: str, advice: str) -> CutoverFailed:
        return CutoverFailed(self._run.target, problem, advice, self._refused_seconds())

    def _refused_seconds(self) -> float:
        return self._refused_before + (0.0 if self._fenced_at is None else monotonic() - self._fenced_at)

    def _reach(self, step: Step) -> None:
        self._listener.notify(Reached(step))


def _bookings_of(records: Iterator[bytes]) -> Iterator[bytes]:
    """The bookings in records of rejected ones, byte for byte; those that nest too deep for a record are kept as binary.

    A booking whose session was kept by a decision is in the target already, and is left out.
    """
    for record in records:
        fields = {element.name: element for element in elements(record)}
        if b"decision" not in fields:
            booking = fields[b"booking"]
            value = read_value(booking)
            yield bytes(value) if isinstance(value, bytes) else booking.value
