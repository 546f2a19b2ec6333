"""Undoing a run, at whatever point of its life it is.

Before a cut-over what the run wrote is removed (`undo`); after it the live collection gets its old bookings back
(`restoration`); what was migrated in place is put back client by client (`in_place.rollback`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from booking_migrate.cutover.recovery import recover
from booking_migrate.errors import (
    BookingMigrateError,
    Finalized,
    LaterRun,
    LeaseLost,
    NoMajority,
    NoRun,
    NothingLater,
)
from booking_migrate.events import Announced
from booking_migrate.in_place.move_back import undo_in_place
from booking_migrate.rollback.from_window import restore_live
from booking_migrate.rollback.restore import RollbackPlan
from booking_migrate.runs.lock import WINDOW_COMMAND, HeldLock
from booking_migrate.runs.reopening import Exists, before_finalize, reopen
from booking_migrate.runs.states import FINAL, LIVE, STANDING
from booking_migrate.runs.undo import UndoOutcome, undo
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace


def choose_runs(
    journal: RunJournal, exists: Exists, *, target: str | None, run_id: str | None
) -> Sequence[RunRecord]:
    """Return the runs that a rollback is about, in the order in which they are undone: the newest first.

    Without ``run_id`` these are all runs into the target that wrote something which still stands, or the newest one
    that was rolled back already if none does. One whose finalize has dropped nothing is what it was before that.

    Args:
        journal: the journal of the target's database.
        exists: returns whether a collection exists.
        target: the target; None: that of the run.
        run_id: a single run.

    Raises:
        NoRun: no such run is known.
        LaterRun: a later run wrote on top of the one that is named, and has to be undone first.
        Finalized: what it would take was dropped.
    """
    everything = journal.runs()
    known_runs = [before_finalize(run, everything, exists) for run in everything]
    runs = [run for run in known_runs if target is None or run.target == target]
    named = f" {run_id}" if run_id else ""
    where = f" into {target}" if target else ""
    known = STANDING | FINAL | {RunState.ROLLED_BACK}
    chosen = [run for run in runs if run.run_id == (run_id or run.run_id) and run.state in known]
    if not chosen:
        raise NoRun(f"run{named}{where} to roll back")
    if run_id is None:
        standing = [run for run in chosen if run.state in STANDING]
        chosen = standing or chosen[:1]
    if chosen[0].state in FINAL:
        raise _finalized(chosen[0])
    if chosen[0].state is not RunState.ROLLED_BACK:
        _refuse_later(known_runs, chosen[0])
    return chosen


def _finalized(run: RunRecord) -> Finalized:
    return Finalized(run.run_id, run.archive or run.legacy or "the archive")


def _refuse_later(runs: Sequence[RunRecord], run: RunRecord) -> None:
    """Refuse to undo a run on top of which a later one wrote: into its target, or in place into what it made live."""
    for other in runs:
        if other.run_id == run.run_id:
            return
        is_on_top = run.state in LIVE and other.archive is not None and other.source == run.source
        if other.state in STANDING and (other.target == run.target or is_on_top):
            raise LaterRun(run.run_id, other.run_id)


def remaining_runs(journal: RunJournal, target: str) -> Sequence[str]:
    """Return the ids of the runs into a target that wrote something which still stands, the newest first."""
    return [run.run_id for run in journal.runs(target) if run.state in STANDING]


def roll_back(plan: RollbackPlan) -> UndoOutcome:
    """Undo a run under the lock of its target. What a killed cut-over left is cleared up first.

    Raises:
        TargetBusy, LeaseLost: another run is active on the target.
        Finalized: another process has dropped what it would take.
        NothingLater: something is to be dropped, but the run was never cut over; nothing was changed.
        NotRestored: the target differs from its state before the run; another process writes to it.
        RestorationFailed: after a cut-over, it was aborted; its result stays live.
    """
    run, stores = plan.run, plan.stores
    if run.state is RunState.ROLLED_BACK:
        return UndoOutcome(run, was_rolled_back=True)
    lock = HeldLock.take_over(
        stores.locks,
        run.target,
        plan.holder,
        notify=lambda said: plan.listener.notify(Announced(said)),
        giver=WINDOW_COMMAND,
    )
    try:
        outcome = _undo(plan, _current(plan, lock), lock)
    except BaseException as error:
        _note_problem(run.run_id, stores.journal, error)
        lock.release_after(error)
        raise
    lock.release()
    return outcome


def _current(plan: RollbackPlan, lock: HeldLock) -> RunRecord:
    """Return the run under its lock: another process may have continued, undone or finalized it before.

    A finalize that has dropped nothing is taken back, and what a killed cut-over left is cleared up.
    """
    journal, run = plan.stores.journal, plan.run
    reopen(journal, run.source, plan.exists, lock.confirm)
    now = next(each for each in journal.runs(run.target) if each.run_id == run.run_id)
    if now.state in FINAL:
        raise _finalized(now)
    if now.state is RunState.CUTTING_OVER:
        return recover(now, plan.places(now).live, plan.stores, lock, plan.tail)
    return now


def _undo(plan: RollbackPlan, run: RunRecord, lock: HeldLock) -> UndoOutcome:
    """Undo a run whose target's lock is held, the way that its state and mode require."""
    stores, listener, guard = plan.stores, plan.listener, plan.signal_guard
    if run.state is RunState.ROLLED_BACK:
        return UndoOutcome(run, was_rolled_back=True)
    if run.archive is not None:
        collection = plan.in_place(run)
        with _without_guard(collection, run, stores.journal):
            return undo_in_place(
                run,
                collection,
                stores,
                lock,
                listener=listener,
                signal_guard=guard,
                discard_later=plan.discard_later,
                older=plan.older,
            )
    if run.state in LIVE:
        return restore_live(plan, run, lock)
    if plan.discard_later:
        raise NothingLater(run.run_id, run.state.value)
    return undo(run, stores, lock, listener, guard)


@contextmanager
def _without_guard(collection: "MongoInPlace", run: RunRecord, journal: RunJournal) -> Iterator[None]:
    """Let a collection accept the old bookings that a run in place gives back, if it refuses them since a cut-over."""
    is_guarded = any(
        other.source == run.source
        and other.archive is None
        and other.state is RunState.CUT_OVER
        and "no-guard" not in other.cutover_options
        for other in journal.runs()
    )
    if is_guarded:
        collection.unguard()
    try:
        yield
    finally:
        if is_guarded:
            collection.guard()


def _note_problem(run_id: str, journal: RunJournal, error: BaseException) -> None:
    """Record what ended a rollback that is continued later: its process ended by itself."""
    if isinstance(error, LeaseLost | NoMajority):
        # The run belongs to another process now, or what is noted about it would not be acknowledged.
        return
    problem = error.message if isinstance(error, BookingMigrateError) else type(error).__name__
    try:
        if any(run.run_id == run_id and run.state is RunState.ROLLING_BACK for run in journal.runs()):
            journal.annotate(run_id, problem=problem)
    except BookingMigrateError as trouble:
        error.add_note(f"The run's state could not be saved: {trouble.message}")
