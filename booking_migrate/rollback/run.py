"""Undo a run, at any point of its life.

Before a cut-over, what the run wrote is removed (`runs.undo`); after it, the old bookings of the live collection are
restored (`restore`, `from_window`); a run in place is undone client by client (`in_place.rollback`).
"""

from collections.abc import Sequence

from booking_migrate.cutover.recovery import recover
from booking_migrate.errors import (
    BookingMigrateError,
    Finalized,
    LaterRun,
    LeaseLost,
    NoMajority,
    NoRun,
    NothingLater,
    without_records,
)
from booking_migrate.events import Announced
from booking_migrate.in_place.rollback import undo_in_place
from booking_migrate.rollback.from_window import restore_live
from booking_migrate.rollback.restore import RollbackPlan
from booking_migrate.runs.control import ROLLBACK
from booking_migrate.runs.lock import WINDOW_COMMAND, HeldLock
from booking_migrate.runs.regulator import Regulator
from booking_migrate.runs.reopening import Exists, before_finalize, reopen
from booking_migrate.runs.states import FINAL, IN_EFFECT, LIVE
from booking_migrate.runs.undo import UndoOutcome, undo
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState
from booking_migrate.stores.own_collections import OLD_BOOKINGS_END, default_archive, kept_copy


def choose_runs(
    journal: RunJournal, exists: Exists, *, target: str | None, run_id: str | None
) -> Sequence[RunRecord]:
    """Return the runs to undo, the newest first.

    Without ``run_id`` these are all runs into the target that were not undone, or else the newest one that was rolled back
    already. With one that was cut over, those before it are undone, too: its collection of client documents has what they wrote.
    A finalize that has dropped nothing does not count.

    Args:
        journal: the journal of the target's database.
        exists: returns whether a collection exists.
        target: the target; None: that of the run.
        run_id: a single run.

    Raises:
        NoRun: no such run is known.
        LaterRun: a later run wrote over the result of the named one, and has to be undone first.
        Finalized: the old bookings were dropped.
    """
    everything = journal.runs()
    known_runs = [before_finalize(run, everything, exists) for run in everything]
    runs = [run for run in known_runs if target is None or run.target == target]
    named = f" {run_id}" if run_id else ""
    where = f" into {target}" if target else ""
    known = IN_EFFECT | FINAL | {RunState.ROLLED_BACK}
    chosen = [run for run in runs if run.run_id == (run_id or run.run_id) and run.state in known]
    if not chosen:
        elsewhere = list(dict.fromkeys(run.target for run in everything if run.state in known))
        names = kept_copy("SOURCE", "RUN"), default_archive("SOURCE"), OLD_BOOKINGS_END
        by_hand = "" if run_id else without_records(target, *names)
        raise NoRun(f"run{named}{where} to roll back", by_hand=by_hand, elsewhere=elsewhere)
    if run_id is None:
        undoable = [run for run in chosen if run.state in IN_EFFECT]
        chosen = undoable or chosen[:1]
    if chosen[0].state in FINAL:
        raise _finalized(chosen[0])
    newest = chosen[0]
    if newest.state is not RunState.ROLLED_BACK:
        _refuse_later(known_runs, newest)
    if run_id is not None and newest.state in LIVE:
        chosen = [run for run in known_runs if run.target == newest.target and run.state in IN_EFFECT]
    return chosen


def _finalized(run: RunRecord) -> Finalized:
    begin = "the cut-over" if run.archive is None else "the migration in place"
    return Finalized(run.run_id, run.archive or run.legacy or "the archive", run.source, begin)


def _refuse_later(runs: Sequence[RunRecord], run: RunRecord) -> None:
    """Refuse to undo a run if a later one wrote into its target, or in place into the collection that it made live."""
    for other in runs:
        if other.run_id == run.run_id:
            return
        is_on_top = run.state in LIVE and other.archive is not None and other.source == run.source
        if other.state in IN_EFFECT and (other.target == run.target or is_on_top):
            raise LaterRun(run.run_id, other.run_id, run.target if other.target == run.target else "")


def remaining_runs(journal: RunJournal, target: str) -> Sequence[str]:
    """Return the ids of the runs into a target that were not undone, the newest first."""
    return [run.run_id for run in journal.runs(target) if run.state in IN_EFFECT]


def roll_back(plan: RollbackPlan) -> UndoOutcome:
    """Undo a run under the lock of its target. An unfinished cut-over is aborted or completed first.

    Raises:
        TargetBusy, LeaseLost: another run is active on the target.
        Finalized: another process has dropped the old bookings.
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

    A finalize that has dropped nothing is reverted, and an unfinished cut-over is aborted or completed.
    """
    journal, run = plan.stores.journal, plan.run

    def guard() -> None:
        if run.archive is None:
            plan.places(run).live.guard(is_live=True)
        else:
            plan.in_place(run).guard()

    reopen(journal, run.source, plan.exists, lock.confirm, guard)
    now = next(each for each in journal.runs(run.target) if each.run_id == run.run_id)
    if now.state in FINAL:
        raise _finalized(now)
    if now.state is RunState.CUTTING_OVER:
        return recover(now, plan.places(now).live, plan.stores, lock, plan.tail)
    return now


def _undo(plan: RollbackPlan, run: RunRecord, lock: HeldLock) -> UndoOutcome:
    """Undo a run whose target's lock is held, as its state and mode require."""
    stores, listener, guard = plan.stores, plan.listener, plan.signal_guard
    if run.state is RunState.ROLLED_BACK:
        return UndoOutcome(run, was_rolled_back=True)
    if run.archive is not None:
        return undo_in_place(
            run,
            plan.in_place(run),
            stores,
            lock,
            listener=listener,
            signal_guard=guard,
            discard_later=plan.discard_later,
            older=plan.older,
            regulator=_regulator(plan, run),
        )
    if run.state in LIVE:
        return restore_live(plan, run, lock)
    if plan.discard_later:
        raise NothingLater(run.run_id, run.state.value)
    return undo(run, stores, lock, listener, guard, regulator=_regulator(plan, run))


def _regulator(plan: RollbackPlan, run: RunRecord) -> Regulator:
    """Return what holds the rollback of a run back by what others ask; where writes are refused, nothing does."""
    return Regulator(
        plan.stores.journal,
        plan.listener,
        command=ROLLBACK,
        process=plan.holder,
        run_id=lambda: run.run_id,
        gauge=plan.stores.lag,
    )


def _note_problem(run_id: str, journal: RunJournal, error: BaseException) -> None:
    """Record the error that ended a rollback: its process was not killed."""
    if isinstance(error, LeaseLost | NoMajority):
        # The run belongs to another process now, or a majority would not acknowledge the record.
        return
    problem = error.message if isinstance(error, BookingMigrateError) else type(error).__name__
    try:
        if any(run.run_id == run_id and run.state is RunState.ROLLING_BACK for run in journal.runs()):
            journal.annotate(run_id, problem=problem)
    except BookingMigrateError as trouble:
        error.add_note(f"The run's state could not be saved: {trouble.message}")
