"""Following the source of a run after its last booking: up to now, or with `migrate --follow` until it is stopped."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

from bson.timestamp import Timestamp

from booking_migrate.cli import run
from booking_migrate.cli.following import (
    FollowContext,
    is_proven,
    read_in_use,
    verification_of,
    whole_pass,
)
from booking_migrate.cli.open import (
    OpenPlaces,
    Places,
    open_run_stores,
)
from booking_migrate.cli.verify_inputs import RECHECK_SECONDS, VerifyInputs
from booking_migrate.errors import StreamUnavailable
from booking_migrate.events import Announced
from booking_migrate.follow.run import (
    FollowEnd,
    FollowOutcome,
    FollowParts,
    FollowPlan,
    follow,
    follow_to_now,
)
from booking_migrate.reports.model import NextStep
from booking_migrate.reports.text import plural
from booking_migrate.runs.commands import command_of, cutovers_of
from booking_migrate.runs.held_history import HeldHistory
from booking_migrate.runs.lock import FOLLOW_COMMAND, HeldLock
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.session import FinishedRun, RunRequest
from booking_migrate.runs.states import newest_result
from booking_migrate.stores.connection import client_index_check
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.open import (
    CollectionPlace,
    open_reader,
    open_rejected_records,
    parse_place,
)
from booking_migrate.stores.open_follow import (
    cluster_time_of,
    count_bookings,
    oldest_change,
    open_dirty,
)
from booking_migrate.verify import VerificationOutcome

_READY_SECONDS = 0.5
"""The outage below which a cut-over is announced as possible: its own default limit."""


def open_follow_parts(
    context: FollowContext, *, is_short: bool
) -> Callable[[RunRecord, HeldLock], FollowParts]:
    """Return a function that opens the parts for following a run.

    Args:
        context: what following takes.
        is_short: whether it is followed just up to now, for which the target, which only the run has written, is not watched.
    """

    def opened(run: RunRecord, lock: HeldLock) -> FollowParts:
        connection, names = context.sides.connection, context.names
        places = context.open_places()
        feed, is_lost = context.begin(run, has_target=not is_short)
        journal = context.stores.journal

        def catch_up() -> None:
            if is_lost:
                whole_pass(context, run, lock)

        def prepare() -> None:
            places.links.prepare()
            journal.prepare_lookup()

        return FollowParts(
            engine=context.engine(
                places, FinishedRun(context.stores, run, lock, HeldHistory), is_watched=not is_short
            ),
            feed=feed,
            store=open_dirty(connection, run.run_id),
            now=places.now,
            catch_up=catch_up,
            prepare=prepare,
            verify=lambda: _verify_live(context),
            counts=lambda: count_bookings(connection, names, names.source, run.counts),
            oplog_began=lambda: oldest_change(connection),
            is_proven=is_proven(run) and not is_lost,
        )

    return opened


def _verify_live(context: FollowContext) -> VerificationOutcome:
    """Verify the whole target while the application writes; what it changes meanwhile is behind."""
    places, connection = context.places, context.sides.connection
    target = parse_place(places.target)
    with (
        closing(open_reader(target, connection)) as result,
        closing(open_rejected_records(target, connection, source_name=places.source)) as rejected,
        read_in_use(
            replace(context.verification, recheck_seconds=RECHECK_SECONDS, workers=context.plan.workers),
            places,
            connection,
            context.listener,
        ) as plan,
    ):
        inputs = VerifyInputs(
            connection,
            context.sides.source,
            result,
            rejected,
            context.sides.users,
            context.sides.experts,
            client_index_check(connection, target),
        )
        return inputs.verify(plan, places, context.listener)


def follow_run(
    places: Places,
    plan: MigrationPlan,
    request: RunRequest,
    context: run.RunContext,
    sides: OpenPlaces,
    *,
    is_forever: bool,
) -> FollowOutcome | None:
    """Bring in what changed while the source was read; continue with that if the user asked for it.

    Returns:
        What was followed; None if changes cannot be followed.

    Raises:
        StreamUnavailable: the user asked for it, and the changes cannot be followed.
        FollowingStopped, TargetBusy, LeaseLost: as `follow.run.follow`.
    """
    followed = FollowContext(
        places=places,
        sides=sides,
        stores=open_run_stores(sides.connection, target=places.target, source=places.source),
        plan=plan,
        verification=verification_of(plan),
        listener=context.listener,
        signal_guard=context.signal_guard,
    )
    reason = "rejected bookings go to a file" if places.rejects else followed.unavailable()
    if reason is not None:
        if is_forever:
            raise StreamUnavailable(places.source, reason)
        return None
    what = FollowPlan(
        stores=followed.stores,
        request=replace(request, holder=request.holder._replace(command=FOLLOW_COMMAND)),
        parts=open_follow_parts(followed, is_short=not is_forever),
        listener=context.listener,
        outage=_READY_SECONDS,
    )
    if is_forever:
        done = follow(what)
        text = f"followed {plural(done.changes, 'change')}; clients derived again: {done.clients}, verified: {done.verified}"
        context.listener.notify(Announced(f"{text}; {done.end.value.replace('-', ' ')}"))
    else:
        done = follow_to_now(what)
    return done


def steps_after_following(done: FollowOutcome, places: Places, sides: OpenPlaces) -> Iterator[NextStep]:
    """Yield what to do when a follower has ended by Ctrl-C or because a cut-over has taken over."""
    if done.end is FollowEnd.CAUGHT_UP:
        return
    if done.end is FollowEnd.HANDED_OVER:
        text = "A cut-over has taken over. If it was refused, run the same command again. To see how it went:"
        yield NextStep(text=text, command="booking-migrate status")
        return
    stores = open_run_stores(sides.connection, target=places.target, source=places.source)
    followed = newest_result(stores.journal, places.target)
    if followed is None:
        return
    if not is_proven(followed):
        yield NextStep(text="Verify before a cut-over:", command=command_of(followed, "verify"))
    for number, command in enumerate(cutovers_of(followed)):
        text = "Cut over, which brings in what has changed since:"
        yield NextStep(
            text="Or, with rejected bookings in the kept copy only:" if number else text, command=command
        )
    yield NextStep(text="Continue following:", command=f"{command_of(followed, 'migrate')} --follow")


def time_before(places: Places, sides: OpenPlaces) -> Timestamp | None:
    """Return the cluster time before the source is read; None if source and target are not collections of a replica set."""
    if not all(isinstance(parse_place(side), CollectionPlace) for side in (places.source, places.target)):
        return None
    return cluster_time_of(sides.connection, places.source)
