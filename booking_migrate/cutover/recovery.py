"""After a cut-over that was killed or failed: undo it before the swap, complete it after the swap."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from booking_migrate.bson.document import elements, read_value
from booking_migrate.cutover.plan import TAIL_UNREAD
from booking_migrate.cutover.readiness import carries_rejected
from booking_migrate.cutover.tail import TailChanges, TailParts, apply_tail
from booking_migrate.errors import (
    CutoverRefused,
)
from booking_migrate.runs.advice import UNREADY
from booking_migrate.runs.commands import going_back, which_application
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.session import RunRequest, RunStores
from booking_migrate.runs.states import check_transition, newest_result
from booking_migrate.stores.cutover import IndexNote, OptionNote
from booking_migrate.stores.journal import RunRecord, RunState

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.cutover import MongoLive


def abort(
    stores: RunStores,
    live: "MongoLive",
    request: RunRequest,
    tail: Callable[[RunRecord, HeldLock], TailParts],
) -> RunRecord:
    """Undo a cut-over that was killed, so that the source is live as before; the target is kept.

    Args:
        stores: which record the run.
        live: source and target.
        request: names both, and the holder of the lock.
        tail: as of `recover`.

    Raises:
        CutoverRefused: the newest run has no unfinished cut-over, or was swapped already; then the cut-over is completed.
        TargetBusy, LeaseLost: another process holds the lock of the target.
    """
    lock = HeldLock.acquire(stores.locks, request.target, request.holder)
    try:
        run = _aborted(stores, live, request, lock, tail)
    except BaseException as error:
        lock.release_after(error)
        raise
    lock.release()
    return run


def _aborted(
    stores: RunStores,
    live: "MongoLive",
    request: RunRequest,
    lock: HeldLock,
    tail: Callable[[RunRecord, HeldLock], TailParts],
) -> RunRecord:
    run = newest_result(stores.journal, request.target)
    if run is None or run.state is not RunState.CUTTING_OVER or run.source != request.source:
        problem = f"{request.source} has no unfinished cut-over"
        raise CutoverRefused(request.target, problem, "To see every run: booking-migrate status")
    run = recover(run, live, stores, lock, tail)
    if run.state is RunState.CUT_OVER:
        problem = (
            f"the collections were already swapped, and the cut-over of run {run.run_id} is complete now"
        )
        raise CutoverRefused(run.target, problem, f"{which_application(run)}\n{going_back(run, UNREADY)}")
    return run


def recover(
    run: RunRecord,
    live: "MongoLive",
    stores: RunStores,
    lock: HeldLock,
    tail: Callable[[RunRecord, HeldLock], TailParts],
) -> RunRecord:
    """Recover from a cut-over that was killed: undo it before the swap, complete it after the swap.

    Args:
        run: the run.
        live: source and target.
        stores: which record the run.
        lock: the lock of its target.
        tail: opens the parts for what passed the fence.

    Raises:
        LeaseLost: another run has taken the lock over.
    """
    lock.confirm()
    live.end_own_commands()
    settings = run.live_settings or ""
    if live.is_swapped(settings):
        run = _lifted(run, live, stores)
        check_transition(run, RunState.CUT_OVER)
        if run.fence_time is not None:
            run = note_unread(run, stores, apply_tail(tail(run, lock), run.fence_time))
        if run.is_guarded:
            live.guard(is_live=True)
        recreate_indexes(run, live)
        return stores.journal.save(run.run_id, state=RunState.CUT_OVER.value)
    # The fence first: if a later step fails, the source accepts writes again.
    run = _lifted(run, live, stores)
    live.remove_carried(bookings_of(stores.target.rejects()))
    live.unguard()
    if run.legacy is not None:
        live.drop(run.legacy)
    check_transition(run, RunState.DONE)
    return stores.journal.save(
        run.run_id,
        state=RunState.DONE.value,
        legacy=None,
        live_settings=None,
        fence_time=None,
    )


def _lifted(run: RunRecord, live: "MongoLive", stores: RunStores) -> RunRecord:
    """Lift the fence of a process that has ended, and record in one write that it is gone and for how long it refused writes.

    What follows may be interrupted, too: the next recovery must neither lose this time nor count more than this fence's.
    """
    settings = run.live_settings or ""
    if run.fenced_at is None:
        # Interrupted between its record and the fence's, or recovered before: lifting again is harmless.
        live.lift_fence(settings)
        return run
    is_refusing = live.refuses_writes(settings)
    live.lift_fence(settings)
    # If the fence was gone already, the heartbeat is the last known time of the process that raised it.
    until = stores.journal.now() if is_refusing else run.heartbeat_at
    own = max((until - run.fenced_at).total_seconds(), 0.0)
    return stores.journal.save(
        run.run_id,
        fenced_at=None,
        refused_seconds=run.refused_seconds + own,
        refusals=run.refusals + 1,
        last_refusal=own,
    )


def note_unread(run: RunRecord, stores: RunStores, late: TailChanges) -> RunRecord:
    """Record that the tail is not known, if that is so; return the run's record."""
    if late.unread is None:
        return run
    return stores.journal.save(run.run_id, follow={**run.follow, TAIL_UNREAD: late.unread})


def recreate_indexes(run: RunRecord, live: "MongoLive") -> tuple[IndexNote, ...]:
    """Create the old collection's useful indexes on the new one; return how each was handled.

    A validator of the old one that is for client documents is set on the new one, too.
    """
    live.carry_validation(run.live_settings or "")
    return tuple(live.recreate_indexes(run.live_settings or ""))


def kept_options(run: RunRecord, live: "MongoLive") -> tuple[OptionNote, ...]:
    """Return how the server handled the old collection's options."""
    return tuple(live.options(run.live_settings or ""))


def carried_bookings(run: RunRecord, stores: RunStores) -> Iterator[bytes]:
    """Yield the rejected bookings that a run's cut-over has carried along."""
    if carries_rejected(run):
        yield from bookings_of(stores.target.rejects())


def bookings_of(records: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bookings in records of rejected ones, byte for byte; a record has a deeply nested booking as binary.

    A booking whose session was kept by a decision is in the target already, and is left out.
    """
    for record in records:
        fields = {element.name: element for element in elements(record)}
        if b"decision" not in fields:
            booking = fields[b"booking"]
            value = read_value(booking)
            yield bytes(value) if isinstance(value, bytes) else booking.value
