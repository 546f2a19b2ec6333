"""Finalize a cut-over: verify once more, drop what only a rollback would need, and remove the guard."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from booking_migrate.errors import NoRun
from booking_migrate.events import Announced, Listener
from booking_migrate.in_place.finalize import (
    DroppedIds,
    FinalizeOutcome,
    drop_legacy_ids,
    ending_options,
    refuse_unfinished,
)
from booking_migrate.runs.lock import WINDOW_COMMAND, HeldLock
from booking_migrate.runs.provenance import runs_of_live
from booking_migrate.runs.reopening import Exists, reopen
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.states import FINALIZABLE, check_transition
from booking_migrate.stores.changes import DirtyStore
from booking_migrate.stores.cutover import OldBookings
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState
from booking_migrate.stores.locks import Holder
from booking_migrate.verify.outcome import VerificationOutcome

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.cutover import MongoLive
    from booking_migrate.stores.mongo.in_place import MongoInPlace


@dataclass(frozen=True, slots=True)
class FinalizePlan:
    """What a finalize does, and the parts that it needs."""

    run: RunRecord
    """The run that was cut over."""

    stores: RunStores
    holder: Holder
    live: "MongoLive"
    archive: Callable[[str], "MongoInPlace"]
    """Opens the live collection with a collection that keeps old bookings of it."""

    dirty: Callable[[str], DirtyStore]
    """Opens the dirty set of a run."""

    exists: Exists
    close_window: Callable[[RunRecord, Callable[[], None]], None]
    """Drops the restored collection of a run's reverse window, if any; called with a function that checks the lock."""

    old_bookings: Callable[[], OldBookings | None]
    """Finds the old bookings in the live collection."""

    verify: Callable[[], VerificationOutcome]
    confirm: Callable[[VerificationOutcome, Sequence[str]], None]
    """Called when the result is proven and nothing is changed yet, with the names of what is dropped; raises to stop."""

    check_privileges: Callable[[Sequence[str]], None]
    """Called with the names of what is dropped; raises if the user lacks a privilege for one of the steps."""

    allow_deleted: bool
    """Whether the verification allows deleted sessions, for what is suggested if it ends before it is done."""

    drop_legacy_ids: bool
    listener: Listener


def run_to_finalize(journal: RunJournal, source: str) -> RunRecord | None:
    """Return the run whose cut-over made a collection live and which was not undone; None without one.

    Raises:
        JournalTooNew, ConnectionProblem, NotPermitted: the journal cannot be read.
    """
    runs = (run for run in journal.runs() if run.source == source and run.archive is None and run.legacy)
    return next((run for run in runs if run.state in FINALIZABLE), None)


def finalize(plan: FinalizePlan) -> FinalizeOutcome:
    """Verify what was cut over, and if it is proven, end the run and every other one whose result is live with it.

    May be repeated: a finalize that was killed is continued, or begun again if it had not dropped the kept copy.

    Raises:
        UnfinishedRun: a later run in place has to be completed first.
        NotReady: the user lacks a privilege that a later step needs; nothing was changed.
        TargetBusy, LeaseLost: another process works on the target, or in place on the live collection.
    """
    run, stores = plan.run, plan.stores
    with ExitStack() as held:
        locks = [_hold(held, plan, name) for name in (run.target, run.source)]
        # Begun again if an earlier one ended before it dropped the kept copy: everything may have changed since.
        guard = partial(plan.live.guard, is_live=True)
        reopen(stores.journal, run.source, plan.exists, partial(_confirm, locks), guard)
        now = next(each for each in stores.journal.runs(run.target) if each.run_id == run.run_id)
        if now.state is RunState.FINALIZED:
            return FinalizeOutcome(now, None, is_done=True, was_finalized=True)
        if now.state not in FINALIZABLE:
            raise NoRun(f"cut-over of {run.source} to finalize")
        return _finalize(plan, runs_of_live(stores.journal, run), locks)


def _hold(held: ExitStack, plan: FinalizePlan, name: str) -> HeldLock:
    lock = HeldLock.take_over(
        plan.stores.locks,
        name,
        plan.holder,
        notify=lambda said: plan.listener.notify(Announced(said)),
        giver=WINDOW_COMMAND,
    )

    def end(_kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            lock.release()
        else:
            lock.release_after(error)

    held.push(end)
    return lock


def _confirm(locks: Sequence[HeldLock]) -> None:
    for lock in locks:
        lock.confirm()


def _finalize(plan: FinalizePlan, runs: Sequence[RunRecord], locks: Sequence[HeldLock]) -> FinalizeOutcome:
    refuse_unfinished(runs)
    own = next(run for run in runs if run.run_id == plan.run.run_id)
    kept = list(dict.fromkeys([own.legacy or "", *(run.archive for run in runs if run.archive is not None)]))
    plan.check_privileges(kept)
    verification = None
    if own.state is RunState.CUT_OVER:
        verification = plan.verify()
        if verification.mismatch_count:
            return FinalizeOutcome(own, verification, is_done=False, old_bookings=plan.old_bookings())
        plan.confirm(verification, kept)
    confirm = partial(_confirm, locks)
    # This run first: as long as the kept copy exists, none of the runs counts as finalized.
    others = [run for run in runs if run is not own]
    for run in (own, *others):
        check_transition(run, RunState.FINALIZING)
        confirm()
        plan.stores.journal.save(
            run.run_id,
            state=RunState.FINALIZING.value,
            ending_options=ending_options(
                drops_legacy_ids=plan.drop_legacy_ids, allows_deleted=plan.allow_deleted
            ),
        )
    # The server may refuse this, for whatever reason; a rollback is possible until the kept copy is dropped.
    plan.live.unguard(is_live=True)
    for name in kept:
        confirm()
        plan.archive(name).drop_archive(only_if_empty=False)
    plan.close_window(own, confirm)
    # After the drop: without these ids a rollback could not match sessions to bookings.
    done = (
        drop_legacy_ids(plan.archive(kept[0]), plan.listener, confirm)
        if plan.drop_legacy_ids
        else DroppedIds()
    )
    newest = _forget(plan, (*others, own), confirm)
    return FinalizeOutcome(
        newest,
        verification,
        is_done=True,
        dropped=tuple(kept[1:]),
        old_bookings=plan.old_bookings(),
        **done._asdict(),
    )


def _forget(plan: FinalizePlan, runs: Sequence[RunRecord], confirm: Callable[[], None]) -> RunRecord:
    """Drop the notes about runs, and mark them as finalized; return the last one."""
    journal = plan.stores.journal
    for run in runs:
        confirm()
        plan.dirty(run.run_id).clear()
        journal.forget(run.run_id)
        newest = journal.save(run.run_id, state=RunState.FINALIZED.value)
    return newest
