"""A rollback out of a reverse window: what it restores is ready, so writes are refused for the last few changes only.

It is a cut-over in the opposite direction (`cutover.fencing`): catch up, fence, drain, settle as of the fence's cluster
time, rename, and handle the writes that passed the fence. Before the rename everything can be aborted, and the client
documents are live as before.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bson.timestamp import Timestamp

from booking_migrate.cutover.fencing import Fencing, FencingParts, LiveReport
from booking_migrate.cutover.refusal import RefusedTime
from booking_migrate.domain.carried_changes import ChangesSince
from booking_migrate.errors import (
    LIVE_AS_BEFORE,
    BookingMigrateError,
    HistoryLost,
    LeaseLost,
    NotPermitted,
    OldBookingsLost,
    RestorationFailed,
    RollbackTooSlow,
    StreamUnavailable,
    WindowReplaced,
    WindowStopped,
    effect_of,
)
from booking_migrate.events import PhaseEnded, PhaseStarted, Warned
from booking_migrate.rollback.restore import RollbackPlan, complete, left_behind, restore
from booking_migrate.rollback.restored_clients import check_kept
from booking_migrate.rollback.swapped import was_swapped
from booking_migrate.rollback.window_parts import (
    WindowParts,
    begin_of,
    changes_in,
    clear_notes,
    close_window,
    follower_of,
    is_intact,
    note_replaced,
    replaced,
)
from booking_migrate.rollback.window_tail import WindowTailParts, apply_window_tail
from booking_migrate.runs.commands import command_of, rollback_of
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.states import check_transition
from booking_migrate.runs.undo import UndoOutcome
from booking_migrate.stores.changes import Change, ChangeFeed, Position
from booking_migrate.stores.journal import RunRecord, RunState

_SLOW = "writes are refused while everything is restored"


def restore_live(plan: RollbackPlan, run: RunRecord, lock: HeldLock) -> UndoOutcome:
    """Undo a run that was cut over: out of its reverse window, or by restoring everything behind the fence.

    Raises:
        OldBookingsLost, RestorationFailed, LeaseLost: as `restore.restore`.
        RollbackTooSlow: the limit was passed every time; the client documents are live as before, and the window stays.
    """
    if not run.window:
        return restore(plan, run, lock)
    parts = plan.window(run)
    try:
        restoration = _FromWindow(plan, run, lock, parts)
        if restoration.is_swapped():
            return restoration.finish()
        check_kept(parts.whole)
        feed = _usable_feed(plan, run, parts)
        if feed is not None:
            return restoration.carry_out(feed)
        run = restoration.without_fence()
        close_window(run, parts, plan.stores.journal, lock.confirm)
        parts.places.finish()
    except WindowStopped:
        # The restored collection cannot be used; the next rollback works without it.
        close_window(run, parts, plan.stores.journal, lock.confirm)
        raise
    except (WindowReplaced, OldBookingsLost):
        lock.confirm()
        note_replaced(run.run_id, run.window, plan.stores.journal)
        raise
    except BookingMigrateError as error:
        if not isinstance(error, LeaseLost):
            error.add_note(f"To keep a rollback ready again: {command_of(run, 'cutover')}")
        raise
    return restore(plan, run, lock)


def _usable_feed(plan: RollbackPlan, run: RunRecord, parts: WindowParts) -> ChangeFeed | None:
    """Return the feed since the window's position; None, with a warning, if the restored collection cannot be used."""
    begin = begin_of(run.window, parts)
    if begin is None:
        reason = "what a rollback restores is not complete"
    elif plan.discard_later:
        reason = "--discard-later restores what was there before the cut-over"
    elif plan.converts_later is False:
        reason = "the reverse window has made old bookings of sessions booked since"
    else:
        feed = parts.feed(begin)
        try:
            feed.check()
        except (HistoryLost, NotPermitted, StreamUnavailable) as error:
            feed.close()
            reason = error.message
        else:
            return feed
    plan.listener.notify(Warned(f"{reason}: {_SLOW}"))
    return None


class _FromWindow:
    """One rollback out of a window."""

    def __init__(self, plan: RollbackPlan, run: RunRecord, lock: HeldLock, parts: WindowParts) -> None:
        self._plan = plan
        self._run = run
        self._lock = lock
        self._parts = parts
        self._journal = plan.stores.journal
        self._live = parts.whole.live
        self._refused = RefusedTime(run.undone.get("refused_seconds", 0.0))
        self._report = LiveReport()
        self._outcome = UndoOutcome(run, unit="booking", followed=self._report)

    def is_swapped(self) -> bool:
        """Return whether an earlier process was killed behind the swap."""
        run = self._run
        if run.state is not RunState.RESTORING:
            return False
        # Its fence or swap may still be pending on the server, and must not be carried out later.
        self._live.end_own_commands()
        return was_swapped(run, self._parts.whole)

    def without_fence(self) -> RunRecord:
        """Lift the fence of an earlier process, and return the run's record."""
        if self._run.state is RunState.RESTORING:
            self._lift_fence()
        return self._run

    def carry_out(self, feed: ChangeFeed) -> UndoOutcome:
        """Restore, or leave everything unchanged."""
        run = self.without_fence()
        check_transition(run, RunState.RESTORING)
        self._lock.confirm()
        self._run = self._journal.save(
            run.run_id,
            state=RunState.RESTORING.value,
            ending_options=self._plan.ending_options,
            successor_settings=self._live.settings(),
        )
        try:
            self._swap(feed)
            return self.finish()
        except BaseException as error:
            self._abort(error)
            raise
        finally:
            feed.close()

    def _swap(self, feed: ChangeFeed) -> None:
        plan, parts, restored = self._plan, self._parts, self._parts.whole.restored
        settings = self._run.live_settings or ""
        follower = follower_of(
            parts,
            feed,
            confirm=self._lock.confirm,
            save=self._save_position,
            on_replaced=self._refuse_replaced,
        )
        plan.listener.notify(PhaseStarted(f"bringing in what has changed in {self._run.source}", None))
        follower.round(0.0)
        # Not earlier: changes that are brought in have to satisfy unique indexes one by one.
        self._outcome.indexes = restored.create_indexes(settings)
        plan.listener.notify(PhaseEnded())

        fencing = FencingParts(
            swap=parts.swap,
            limits=plan.limits,
            listener=plan.listener,
            confirm=self._lock.confirm,
            note_fence=self._note_fence,
            block=lambda: None,
            lift_fence=lambda: self._live.lift_fence(self._run.successor_settings or ""),
            note_lifted=self._note_lifted,
            undo_check=lambda: restored.unvalidate(settings),
            check=self._complete,
            end_pending=self._live.end_own_commands,
            is_swapped=lambda: self._live.is_swapped(self._run.successor_settings or ""),
            fail=lambda problem, _advice: RestorationFailed(
                self._run.run_id, self._run.source, problem, self._refused.seconds
            ),
            too_slow=RollbackTooSlow,
            again=f"To restore the old bookings: {rollback_of(self._run)}",
        )
        Fencing(follower, fencing, self._report).swap()
        self._refused.end()

    def _refuse_replaced(self, change: Change) -> None:
        raise replaced(self._parts, change)

    def _complete(self) -> None:
        """Do the last steps behind the fence."""
        parts, run = self._parts, self._run
        parts.whole.restored.validate(run.live_settings or "")
        if not is_intact(run.window, parts):
            raise WindowStopped(f"others have dropped {parts.whole.restored.name}")

    def finish(self) -> UndoOutcome:
        """Handle the writes that passed the fence, and drop what is no longer needed. May be repeated."""
        plan, parts, run, outcome = self._plan, self._parts, self._run, self._outcome
        self._live.lift_fence(run.successor_settings or "")
        outcome.refused_seconds = self._refused.before + self._report.outage.total
        fenced: Timestamp | None = run.fence_time
        if fenced is not None:
            late = WindowTailParts(parts, self._lock.confirm, plan.listener)
            self._report.take(apply_window_tail(late, fenced))
        else:
            # An earlier process has handled them, and dropped what that takes.
            self._report.late_deletes, self._report.late_writes = run.undone.get("late", (0, 0))
        outcome.restored = run.counts.get("scanned", 0)
        outcome.since = since = self._since()
        with plan.signal_guard.critical_section():
            self._lock.confirm()
            undone = {
                **run.undone,
                "since": asdict(since),
                "late": [self._report.late_deletes, self._report.late_writes],
            }
            # Without the kept copy, what passed the fence would be derived again from nothing.
            self._journal.annotate(run.run_id, undone=undone, fence_time=None)
            parts.places.finish()
            clear_notes(run, parts, self._journal)
            parts.store.clear()
            return complete(plan, run, self._lock, parts.whole, outcome)

    def _since(self) -> ChangesSince:
        """Return the changes since the cut-over: from the run's record, if an earlier process has dropped the notes."""
        known = self._run.undone.get("since")
        return changes_in(self._parts) if known is None else ChangesSince(**known)

    def _note_lifted(self, seconds: float) -> None:
        """Record that writes are accepted again."""
        self._refused.end(seconds)
        self._run = self._journal.save(
            self._run.run_id,
            fenced_at=None,
            fence_time=None,
            undone={"refused_seconds": self._refused.before},
        )

    def _note_fence(self, fenced: Timestamp | None) -> None:
        """Record that writes may be refused: if the process is killed, the journal must show it."""
        if fenced is None:
            self._run = self._journal.save(self._run.run_id, fenced_at=self._journal.now())
            self._refused.begin()
        else:
            self._run = self._journal.save(self._run.run_id, fence_time=fenced)

    def _save_position(self, position: Position) -> None:
        window: Mapping[str, Any] = {**self._run.window, **position.saved()}
        self._run = self._run.model_copy(update={"window": window})
        self._journal.annotate(self._run.run_id, window=window)

    def _abort(self, error: BaseException) -> None:
        """Leave the client documents live; if that fails, add a note: the next rollback does it."""
        if isinstance(error, LeaseLost):
            return
        run = self._run
        try:
            with self._plan.signal_guard.critical_section():
                self._lock.confirm()
                # The answer to the swap may have been lost while the server still waits to carry it out.
                self._live.end_own_commands()
                if self._live.is_swapped(run.successor_settings or ""):
                    error.add_note(
                        f"{run.source} holds the old bookings again. To finish: {rollback_of(run)}"
                    )
                    return
                self._lift_fence()
            if not effect_of(error):
                error.add_note(f"{run.source} {LIVE_AS_BEFORE}")
        except BookingMigrateError as trouble:
            error.add_note(left_behind(run, self._parts.whole, trouble))

    def _lift_fence(self) -> None:
        """Lift the fence before the swap; the restored collection is kept."""
        run = self._run
        # The fence first: whatever fails after it, the collection takes writes again.
        self._live.lift_fence(run.successor_settings or "")
        self._parts.whole.restored.unvalidate(run.live_settings or "")
        refused = self._refused.seconds
        if not self._refused.is_refusing and run.fenced_at is not None:
            # An earlier process that was killed had raised it.
            refused += max((self._journal.now() - run.fenced_at).total_seconds(), 0.0)
        self._run = self._journal.save(
            run.run_id,
            state=RunState.CUT_OVER.value,
            successor_settings=None,
            fenced_at=None,
            fence_time=None,
            undone={"refused_seconds": refused},
        )
        self._refused = RefusedTime(refused)
