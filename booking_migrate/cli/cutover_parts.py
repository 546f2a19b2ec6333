"""From the options to the parts of a cut-over beside an application: what is followed before the swap, and what passed the fence."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from booking_migrate.cli.behind import read_while_following
from booking_migrate.cli.following import FollowContext, is_proven, whole_pass
from booking_migrate.cli.verify_inputs import open_beside
from booking_migrate.cutover.live import Following
from booking_migrate.cutover.tail import TailParts
from booking_migrate.runs.finished import FinishedRun
from booking_migrate.runs.held_history import HeldHistory
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.plan import Limits
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.open_follow import (
    count_bookings,
    open_dirty,
    open_feed,
    open_kept_copy,
    open_swap,
)
from booking_migrate.stores.places import CollectionPlace
from booking_migrate.verify import VerificationOutcome, VerificationPlan


def open_following(context: FollowContext, limits: Limits) -> Callable[[RunRecord, HeldLock], Following]:
    """Return a function that opens the parts for a live cut-over of a run."""

    def opened(run: RunRecord, lock: HeldLock) -> Following:
        connection, names = context.sides.connection, context.names
        places = context.open_places()
        feed, is_lost = context.begin(run)
        finished = FinishedRun(context.stores, run, lock, HeldHistory)
        journal = context.stores.journal
        copy = run.legacy or ""
        kept = _without_position(run)

        def prepare() -> None:
            places.links.prepare()
            journal.prepare_lookup()
            if is_lost:
                whole_pass(context, run, lock)
                # An earlier verification does not count for that, also if this cut-over ends before its own.
                kept["unverified"] = places.now()

        return Following(
            engine=context.engine(places, finished, is_watched=True),
            feed=feed,
            store=open_dirty(connection, run.run_id),
            copy=open_kept_copy(connection, names.source, copy),
            watch_copy=lambda position: open_feed(connection, replace(names, copy=copy), position),
            swap=open_swap(connection, names),
            now=places.now,
            save=lambda position: journal.annotate(run.run_id, follow={**kept, **position.saved()}),
            prepare=prepare,
            verify=lambda: _verify_beside(context, copy),
            counts=lambda: count_bookings(connection, names, copy, run.counts),
            is_proven=is_proven(run) and not is_lost,
            limits=limits,
            listener=context.listener,
        )

    return opened


def open_tail(context: FollowContext) -> Callable[[RunRecord, HeldLock], TailParts]:
    """Return a function that opens the parts for what passed the fence of a run's cut-over."""

    def opened(run: RunRecord, lock: HeldLock) -> TailParts:
        connection, names = context.sides.connection, context.names
        copy = run.legacy or ""
        places = context.open_places(after_swap=copy)
        finished = FinishedRun(context.stores, run, lock, HeldHistory)
        return TailParts(
            feed=open_feed(connection, replace(names, copy=copy), run.fence_time, is_whole=True),
            copy=open_kept_copy(connection, names.source, copy),
            engine=context.engine(places, finished),
            places=places,
            history=finished.history,
            now=places.now,
            listener=context.listener,
        )

    return opened


def _without_position(run: RunRecord) -> dict[str, object]:
    return {name: value for name, value in run.follow.items() if name == "unverified"}


def _verify_beside(context: FollowContext, kept: str) -> VerificationOutcome:
    """Verify the target against the kept copy while the application writes; what the next round derives is behind."""
    plan = context.verification()
    with read_while_following(plan, context.places, context.sides.connection) as complete:
        return verify_against(context, kept, complete)


def verify_against(
    context: FollowContext, kept: str, plan: VerificationPlan | None = None
) -> VerificationOutcome:
    """Verify the target against a collection, by the rules of the run, or by a plan that knows more."""
    with (
        closing(open_reader(CollectionPlace(kept), context.sides.connection)) as source,
        open_beside(context.places, context.sides, source) as inputs,
    ):
        return inputs.verify(plan or context.verification(), context.places, context.listener)
