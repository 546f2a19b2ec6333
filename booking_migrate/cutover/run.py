"""Make a run's target the live collection under the source's name.

Writes to the source are refused from the fence to the swap, and in between the data does not change: catch up, copy the
source, verify the target against the copy, swap. A failure before the swap lifts the fence and leaves the source live and
unchanged. If the process is killed, the journal has its last state, and the next `cutover` or `rollback` recovers first
(`recover`).
"""

from booking_migrate.cutover.attempt import Attempt
from booking_migrate.cutover.plan import CutoverOutcome, CutoverPlan
from booking_migrate.cutover.readiness import check_ready
from booking_migrate.cutover.recovery import kept_options, recover, recreate_indexes
from booking_migrate.errors import (
    BookingMigrateError,
    CutoverRefused,
)
from booking_migrate.events import Announced
from booking_migrate.runs.commands import command_of
from booking_migrate.runs.lock import FOLLOW_COMMAND, HeldLock
from booking_migrate.runs.states import newest_result
from booking_migrate.stores.journal import RunState


def cut_over(plan: CutoverPlan) -> CutoverOutcome:
    """Make the target of its newest run the live collection.

    Raises:
        CutoverRefused: a precondition does not hold; nothing was changed.
        CutoverFailed: it was aborted; the source is still live, unchanged.
        TargetBusy, LeaseLost: another process holds the lock of the target.
    """
    request = plan.request
    confirmed = _confirmed_before(plan)
    has_taken_over = False

    def announce(said: str) -> None:
        nonlocal has_taken_over
        has_taken_over = True
        plan.listener.notify(Announced(said))

    lock = HeldLock.take_over(plan.stores.locks, request.target, request.holder, notify=announce)
    try:
        outcome = _cut_over(plan, lock, confirmed)
    except BaseException as error:
        lock.release_after(error)
        run = newest_result(plan.stores.journal, request.target) if has_taken_over else None
        if run is not None and run.state is RunState.DONE:
            error.add_note(
                f"migrate --follow has handed over and ended. To follow again: {command_of(run, 'migrate')} --follow"
            )
        raise
    lock.release()
    return outcome


def _confirmed_before(plan: CutoverPlan) -> str | None:
    """Check the preconditions without the lock, so that a refusal does not end a follower; return the confirmed run.

    They are checked again under the lock. An active or unfinished run is checked only there.
    """
    request, stores = plan.request, plan.stores
    held = stores.locks.look(request.target)
    if held is not None and held.is_live and held.holder.command != FOLLOW_COMMAND:
        return None
    known = newest_result(stores.journal, request.target)
    if known is not None and known.state is RunState.CUTTING_OVER:
        return None
    run = check_ready(known, request, plan.policy, plan.places.live, stores)
    plan.confirm(run)
    return run.run_id


def _cut_over(plan: CutoverPlan, lock: HeldLock, confirmed: str | None) -> CutoverOutcome:
    live = plan.places.live
    run = newest_result(plan.stores.journal, plan.request.target)
    accepting: str | None = None
    if run is not None and run.state is RunState.CUTTING_OVER:
        if run.source != plan.request.source:
            # For another collection, recovery would conclude that the swap was done.
            problem = f"run {run.run_id} is the cut-over of {run.source}"
            raise CutoverRefused(run.target, problem, f"Continue it: {command_of(run, 'cutover')}")
        run = recover(run, live, plan.stores, lock, plan.tail)
        if run.state is RunState.CUT_OVER:
            indexes, kept = recreate_indexes(run, live), kept_options(run, live)
            return CutoverOutcome(
                run,
                refused_seconds=run.refused_seconds,
                indexes=indexes,
                options=kept,
                own_refused_seconds=run.last_refusal,
                is_completed=True,
            )
        accepting = f"The interrupted cut-over was undone: {run.source} accepts writes again."
    try:
        run = check_ready(run, plan.request, plan.policy, live, plan.stores)
        if run.run_id != confirmed:
            plan.confirm(run)
        plan.before(run)
    except (BookingMigrateError, KeyboardInterrupt) as error:
        if accepting is not None:
            error.add_note(accepting)
        raise
    return Attempt(run, plan, lock).carry_out()
