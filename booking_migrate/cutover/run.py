"""Making a run's target the live collection under the source's name.

Writes to the source are refused from the fence to the swap, and everything in between works on data that does not change:
catch up, copy the source, prove the target against the copy, swap. A failure before the swap lifts the fence and leaves
the source live and unchanged. If the process is killed, the journal has its last state, and the next `cutover` or
`rollback` recovers first (`recover`).
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING

from booking_migrate.bson.document import elements, read_value
from booking_migrate.cutover.catch_up import CaughtUp, FinishedRun, catch_up
from booking_migrate.cutover.readiness import RESOLVE_CONFLICTS, RejectedPolicy, check_ready
from booking_migrate.errors import (
    BookingMigrateError,
    CutoverFailed,
    CutoverRefused,
    LeaseLost,
    NoMajority,
)
from booking_migrate.events import Listener, PhaseEnded, PhaseStarted
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.session import RunRequest, RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.states import check_transition, newest_result
from booking_migrate.runs.status import abort_of, command_of, rollback_of
from booking_migrate.stores.cutover import IndexNote, OptionNote
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.ports import DocumentReader, TargetWriter
from booking_migrate.verify import VerificationOutcome

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.cutover import MongoLive


@dataclass(frozen=True, slots=True)
class CutoverPlaces:
    """What a cut-over reads and writes."""

    source: DocumentReader
    target: TargetWriter
    users: DocumentReader | None
    experts: DocumentReader | None
    live: "MongoLive"
    verify: Callable[[str], VerificationOutcome]
    """Proves the target, strictly and whole, against the collection of this name, which holds the source's documents."""


@dataclass(frozen=True, slots=True)
class CutoverOutcome:
    """What a cut-over did."""

    run: RunRecord
    caught_up: int = 0
    """Client documents that were created, derived again or removed, because the source had changed."""

    refused_seconds: float = 0.0
    """For how long writes were refused, as far as this process knows."""

    carried: int = 0
    """Rejected bookings that were carried into the live collection."""

    indexes: tuple[IndexNote, ...] = ()
    options: tuple[OptionNote, ...] = ()


def legacy_name(run: RunRecord) -> str:
    """Return the name of the collection that keeps the copy of the source."""
    return f"{run.source}_legacy_{run.run_id}"


_DELETIONS_GO_ON = (
    "Deletes are not refused: run cutover again with --block-all-writes, or while bookings are not deleted."
)
_EXAMPLES = 5
"""How many mismatches a failure names."""


@dataclass(frozen=True, slots=True)
class CutoverPlan:
    """What a cut-over does, and the parts that it works with."""

    migration: MigrationPlan
    """The plan of the run, by which bookings that were added since are converted."""

    request: RunRequest
    """Source, target and options of the run, and the holder of the lock."""

    policy: RejectedPolicy | None
    """What to do with rejected bookings; None: the cut-over fails if any booking is rejected."""

    places: CutoverPlaces
    stores: RunStores
    listener: Listener
    signal_guard: SignalGuard
    """Defers a signal during the swap."""

    before: Callable[[RunRecord], None]
    """Called when all preconditions hold and nothing is changed yet, to ask for confirmation; raises to stop."""


def cut_over(plan: CutoverPlan) -> CutoverOutcome:
    """Make the target of its newest run the live collection.

    Raises:
        CutoverRefused: a precondition does not hold; nothing was changed.
        CutoverFailed: it was aborted; the source is still live, unchanged.
        TargetBusy, LeaseLost: another process works on the target.
    """
    request = plan.request
    lock = HeldLock.acquire(plan.stores.locks, request.target, request.holder, request.lease_seconds)
    try:
        outcome = _cut_over(plan, lock)
    except BaseException as error:
        lock.release_after(error)
        raise
    lock.release()
    return outcome


def _cut_over(plan: CutoverPlan, lock: HeldLock) -> CutoverOutcome:
    live = plan.places.live
    run = newest_result(plan.stores.journal, plan.request.target)
    accepting: str | None = None
    if run is not None and run.state is RunState.CUTTING_OVER:
        if run.source != plan.request.source:
            # Recovery on another collection would take the swap for done.
            problem = f"run {run.run_id} is the cut-over of {run.source}"
            raise CutoverRefused(run.target, problem, f"Continue it: {command_of(run, 'cutover')}")
        run = recover(run, live, plan.stores, lock)
        if run.state is RunState.CUT_OVER:
            indexes, kept = _recreate_indexes(run, live), _options(run, live)
            return CutoverOutcome(run, refused_seconds=run.refused_seconds, indexes=indexes, options=kept)
        accepting = f"The interrupted cut-over was undone: {run.source} accepts writes again."
    try:
        run = check_ready(run, plan.request, plan.policy, live)
        plan.before(run)
    except (BookingMigrateError, KeyboardInterrupt) as error:
        if accepting is not None:
            error.add_note(accepting)
        raise
    return _Attempt(run, plan, lock).carry_out()


def abort(stores: RunStores, live: "MongoLive", request: RunRequest) -> RunRecord:
    """Undo a cut-over that was killed, so that the source is live as before; the target is kept.

    Args:
        stores: which record the run.
        live: source and target.
        request: names both, and the holder of the lock.

    Raises:
        CutoverRefused: the newest run has no unfinished cut-over, or the swap was done already; then it is completed.
        TargetBusy, LeaseLost: another process works on the target.
    """
    lock = HeldLock.acquire(stores.locks, request.target, request.holder, request.lease_seconds)
    try:
        run = _aborted(stores, live, request, lock)
    except BaseException as error:
        lock.release_after(error)
        raise
    lock.release()
    return run


def _aborted(stores: RunStores, live: "MongoLive", request: RunRequest, lock: HeldLock) -> RunRecord:
    run = newest_result(stores.journal, request.target)
    if run is None or run.state is not RunState.CUTTING_OVER or run.source != request.source:
        problem = f"{request.source} has no unfinished cut-over"
        raise CutoverRefused(request.target, problem, "booking-migrate status shows every run.")
    run = recover(run, live, stores, lock)
    if run.state is RunState.CUT_OVER:
        problem = (
            f"the collections were already swapped, and the cut-over of run {run.run_id} is complete now"
        )
        raise CutoverRefused(run.target, problem, f"To restore the old bookings: {rollback_of(run)}")
    return run


def recover(run: RunRecord, live: "MongoLive", stores: RunStores, lock: HeldLock) -> RunRecord:
    """Recover from a cut-over that was killed: undo it before the swap, complete it after the swap.

    Raises:
        LeaseLost: another run has taken the lock over.
    """
    lock.confirm()
    settings = run.live_settings or ""
    refused = run.refused_seconds
    if run.fenced_at is not None:
        # If the fence is gone already, the heartbeat is the last known time of the process that raised it.
        until = stores.journal.now() if live.refuses_writes(settings) else run.heartbeat_at
        refused += max((until - run.fenced_at).total_seconds(), 0.0)
    if live.is_swapped(settings):
        live.lift_fence(settings)
        check_transition(run, RunState.CUT_OVER)
        _recreate_indexes(run, live)
        return stores.journal.save(
            run.run_id, state=RunState.CUT_OVER.value, fenced_at=None, refused_seconds=refused
        )
    # The fence first: if a later step fails, the source accepts writes again.
    live.lift_fence(settings)
    live.take_back_carried(_bookings_of(stores.target.rejects()))
    live.drop(run.legacy or legacy_name(run))
    check_transition(run, RunState.DONE)
    return stores.journal.save(
        run.run_id,
        state=RunState.DONE.value,
        legacy=None,
        live_settings=None,
        fenced_at=None,
        refused_seconds=refused,
    )


def _recreate_indexes(run: RunRecord, live: "MongoLive") -> tuple[IndexNote, ...]:
    return tuple(live.recreate_indexes(run.live_settings or ""))


def _options(run: RunRecord, live: "MongoLive") -> tuple[OptionNote, ...]:
    return tuple(live.options(run.live_settings or ""))


class _Attempt:
    """One attempt at a cut-over."""

    def __init__(self, run: RunRecord, plan: CutoverPlan, lock: HeldLock) -> None:
        self._run = run
        self._refused_before = run.refused_seconds
        self._plan = plan.migration
        self._policy = plan.policy
        self._places = plan.places
        self._live = plan.places.live
        self._stores = plan.stores
        self._lock = lock
        self._listener = plan.listener
        self._shield = plan.signal_guard
        self._fenced_at: float | None = None
        self._legacy = legacy_name(run)

    def carry_out(self) -> CutoverOutcome:
        """Cut over, or leave the source live and unchanged."""
        check_transition(self._run, RunState.CUTTING_OVER)
        self._lock.confirm()
        self._run = self._stores.journal.save(
            self._run.run_id,
            state=RunState.CUTTING_OVER.value,
            legacy=self._legacy,
            live_settings=self._live.settings(),
        )
        try:
            caught_up, carried = self._prepare()
            with self._shield.critical_section():
                # From here on, only `rollback` can undo the cut-over.
                self._lock.confirm()
                self._live.swap()
                self._live.lift_fence(self._run.live_settings or "")
                refused = self._refused_seconds()
                # Before the state is saved: if that is missing, recovery recreates the indexes again.
                indexes = _recreate_indexes(self._run, self._live)
                self._run = self._stores.journal.save(
                    self._run.run_id,
                    state=RunState.CUT_OVER.value,
                    counts=asdict(caught_up.migration.counts),
                    fenced_at=None,
                )
        except BaseException as error:
            self._give_up(error)
            raise
        options = _options(self._run, self._live)
        return CutoverOutcome(self._run, caught_up.written, refused, carried, indexes, options)

    def _prepare(self) -> tuple[CaughtUp, int]:
        """Do everything up to the swap; return what was caught up, and how many rejected bookings were carried."""
        journal = self._stores.journal
        # Before the fence: if the process is killed after it, the journal must show that writes are refused.
        self._run = journal.save(self._run.run_id, fenced_at=journal.now())
        self._fenced_at = monotonic()
        self._live.raise_fence()
        places = self._places
        decided = _decisions(self._stores.target.rejects())
        caught_up = catch_up(
            self._plan,
            places.source,
            places.target,
            run=FinishedRun(self._stores, self._run, self._lock),
            users=places.users,
            experts=places.experts,
            listener=self._listener,
            signal_guard=self._shield,
        )
        counts = caught_up.migration.counts
        if counts.conflicts:
            raise self._failure(
                f"bookings conflict with sessions that others have changed: {counts.conflicts}",
                RESOLVE_CONFLICTS,
            )
        if _decisions(self._stores.target.rejects()) != decided:
            raise self._failure(
                "the conflicts have changed since they were decided with --on-conflict target",
                "Run migrate again, then verify, which lists each conflict.",
            )
        rejected = counts.rejected
        if rejected and self._policy is None:
            raise self._failure(
                f"bookings that were added or changed since the migration were rejected: {rejected}",
                "Run cutover again with --rejected carry or --rejected leave.",
            )
        self._keep_copy()
        outcome = places.verify(self._legacy)
        if outcome.mismatch_count:
            raise self._mismatched(outcome)
        carried = 0
        if self._policy is RejectedPolicy.CARRY and rejected:
            self._lock.confirm()
            carried = self._live.carry(_bookings_of(self._stores.target.rejects()))
        if not self._live.has_same_count(self._legacy):
            raise self._failure("bookings were deleted from the source during the cut-over", _DELETIONS_GO_ON)
        return caught_up, carried

    def _keep_copy(self) -> None:
        self._lock.confirm()
        self._listener.notify(PhaseStarted(f"copying {self._run.source} to {self._legacy}", None))
        self._live.copy(self._legacy)
        self._listener.notify(PhaseEnded())
        if not self._live.is_same(self._legacy):
            raise self._failure(
                f"the copy {self._legacy} differs from the source: bookings were deleted during the cut-over",
                _DELETIONS_GO_ON,
            )

    def _give_up(self, error: BaseException) -> None:
        """Undo the attempt, so that the source is live and unchanged; if that fails, add a note with what to run."""
        if isinstance(error, LeaseLost):
            return
        try:
            if self._run.state is not RunState.CUT_OVER:
                with self._shield.critical_section():
                    self._run = recover(self._run, self._live, self._stores, self._lock)
            if self._run.state is RunState.CUT_OVER:
                error.add_note(f"The cut-over is complete: {self._run.source} holds the client documents.")
            elif isinstance(error, KeyboardInterrupt):
                error.add_note(f"{self._run.source} is live as before and accepts writes again.")
        except NoMajority:
            error.add_note(
                "The source accepts writes again, but no majority has acknowledged that yet: run cutover or rollback again "
                "when a majority of the members is available."
            )
        except BookingMigrateError as trouble:
            error.add_note(self._left_behind(trouble))

    def _left_behind(self, trouble: BookingMigrateError) -> str:
        """Return what to say of a cut-over that could not be cleared up: above all whether writes are refused."""
        try:
            is_refusing = self._live.refuses_writes(self._run.live_settings or "")
        except BookingMigrateError:
            is_refusing = True
        if is_refusing:
            return f"The fence could not be lifted ({trouble.message}): run cutover again, or rollback, as soon as possible."
        return (
            f"{self._run.source} accepts writes again, but the cut-over could not be cleared up ({trouble.message}): "
            f"run {abort_of(self._run)} when that is possible."
        )

    def _mismatched(self, outcome: VerificationOutcome) -> CutoverFailed:
        examples = [each for result in outcome.results for each in result.examples][:_EXAMPLES]
        failure = self._failure(
            f"the target does not match the source, mismatches: {outcome.mismatch_count}",
            f"Run migrate and verify again. {_DELETIONS_GO_ON}",
        )
        failure.examples = tuple(each.place for each in examples)
        return failure

    def _failure(self, problem: str, advice: str) -> CutoverFailed:
        return CutoverFailed(self._run.target, problem, advice, self._refused_seconds())

    def _refused_seconds(self) -> float:
        return self._refused_before + (0.0 if self._fenced_at is None else monotonic() - self._fenced_at)


def _bookings_of(records: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bookings in records of rejected ones, byte for byte; a record has a booking that nests too deep as binary.

    A booking whose session was kept by a decision is in the target already, and is left out.
    """
    for record in records:
        fields = {element.name: element for element in elements(record)}
        if b"decision" not in fields:
            booking = fields[b"booking"]
            value = read_value(booking)
            yield bytes(value) if isinstance(value, bytes) else booking.value


def _decisions(records: Iterator[bytes]) -> tuple[int, int]:
    """Return the number of records with a decision, and a digest of them that does not depend on their order."""
    count = total = 0
    for record in (raw for raw in records if any(part.name == b"decision" for part in elements(raw))):
        count, total = count + 1, total ^ int.from_bytes(sha256(record).digest())
    return count, total
