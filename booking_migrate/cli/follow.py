"""Following the source of a run after its last booking: up to now, or with `migrate --follow` until it is stopped."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from bson.timestamp import Timestamp

from booking_migrate.cli import run
from booking_migrate.cli.following import FollowContext, is_proven, whole_pass
from booking_migrate.cli.open import OpenPlaces, Places, open_run_stores
from booking_migrate.errors import StreamUnavailable
from booking_migrate.events import Announced
from booking_migrate.follow.backlog import BackgroundReader, Backlog
from booking_migrate.follow.run import (
    FollowEnd,
    FollowOutcome,
    FollowParts,
    FollowPlan,
    follow,
    follow_to_now,
)
from booking_migrate.quantities import grouped, plural
from booking_migrate.reports.model import NextStep, step_after_hand_over
from booking_migrate.runs.advice import CARRYING, LEAVING, STOP_THE_OLD
from booking_migrate.runs.background import ALONE
from booking_migrate.runs.commands import command_of, cutovers_of
from booking_migrate.runs.finished import FinishedRun
from booking_migrate.runs.held_history import HeldHistory
from booking_migrate.runs.lock import FOLLOW_COMMAND, HeldLock
from booking_migrate.runs.plan import Limits, MigrationPlan
from booking_migrate.runs.session import RunRequest
from booking_migrate.runs.states import newest_result
from booking_migrate.stores.changes import ChangeFeed, Position, TargetChanges
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.open_follow import (
    cluster_time_of,
    count_bookings,
    oldest_change,
    open_dirty,
    open_feed,
)

if TYPE_CHECKING:
    from booking_migrate.verify import VerificationOutcome


def background_reader(context: FollowContext, began: Timestamp, *, is_followed: bool) -> BackgroundReader:
    """Return what reads the changes while a run reads its source.

    Args:
        context: what following takes.
        began: the cluster time from which on they are read.
        is_followed: whether the run is followed after that, and the target's documents are watched.
    """

    def opened(run: RunRecord, confirm: Callable[[], None]) -> tuple[ChangeFeed, Backlog]:
        connection, journal = context.sides.connection, context.stores.journal

        def save(position: Position) -> None:
            confirm()
            journal.annotate(run.run_id, follow=position.saved())

        # What the run itself writes would only be read to be left out again.
        target = TargetChanges.NOT_NEW if is_followed else TargetChanges.NONE
        feed = open_feed(connection, context.names, began, target=target)
        return feed, Backlog(open_dirty(connection, run.run_id), save)

    return BackgroundReader(opened)


def open_follow_parts(
    context: FollowContext, *, is_short: bool, beside: BackgroundReader | None = None
) -> Callable[[RunRecord, HeldLock], FollowParts]:
    """Return a function that opens the parts for following a run.

    Args:
        context: what following takes.
        is_short: whether it is followed just up to now, for which the target, which only the run has written, is not watched.
        beside: what read the changes beside the run.
    """

    def opened(run: RunRecord, lock: HeldLock) -> FollowParts:
        connection, names = context.sides.connection, context.names
        places = context.open_places()
        backlog = None if beside is None else beside.backlog_of(run)
        target = TargetChanges.NONE if is_short else TargetChanges.ALL
        feed, is_lost = context.begin(run, target=target, backlog=backlog)
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
            backlog=backlog,
        )

    return opened


def _verify_live(context: FollowContext) -> "VerificationOutcome":
    """Verify the whole target while the application writes; what it changes meanwhile is behind."""
    # The verifier is imported only if something is verified: most runs of `migrate` do not.
    from booking_migrate.cli.behind import read_in_use  # noqa: PLC0415
    from booking_migrate.cli.verify_inputs import RECHECK_SECONDS, open_beside  # noqa: PLC0415

    places, sides = context.places, context.sides
    plan = replace(context.verification(), recheck_seconds=RECHECK_SECONDS, workers=context.plan.workers)
    with (
        open_beside(places, sides, sides.source) as inputs,
        read_in_use(plan, places, sides.connection, context.listener) as complete,
    ):
        return inputs.verify(complete, places, context.listener)


class RunFollowing:
    """Following the changes of a run of `migrate`: read beside it, brought in when it has ended, and then on if that is asked for."""

    def __init__(
        self,
        places: Places,
        plan: MigrationPlan,
        context: run.RunContext,
        sides: OpenPlaces,
        *,
        is_forever: bool,
    ) -> None:
        self._places = places
        self._plan = plan
        self._context = context
        self._sides = sides
        self._is_forever = is_forever
        self._beside: BackgroundReader | None = None

    def begin(self, request: RunRequest) -> RunRequest:
        """Return the request with the cluster time before the first read, and with what reads the changes beside the run."""
        places = self._places
        if not places.are_collections:
            return request
        began = cluster_time_of(self._sides.connection, places.source)
        if began is not None and places.rejects is None:
            self._beside = background_reader(self._opened(), began, is_followed=self._is_forever)
        return replace(request, began=began, companion=self._beside or ALONE)

    def follow(self, request: RunRequest, *, changed: bool) -> FollowOutcome | None:
        """Bring in what changed while the source was read; continue with that if the user asked for it.

        Returns:
            What was followed; None if changes cannot be followed, or need not be.

        Raises:
            StreamUnavailable: the user asked for it, and the changes cannot be followed.
            FollowingStopped, TargetBusy, LeaseLost: as `follow.run.follow`.
        """
        if not self._is_forever and (request.began is None or not changed):
            return None
        followed = self._opened()
        reason = "rejected bookings go to a file" if self._places.rejects else followed.unavailable()
        if reason is not None:
            if self._is_forever:
                raise StreamUnavailable(self._places.source, reason)
            return None
        listener = self._context.listener
        what = FollowPlan(
            stores=followed.stores,
            request=replace(request, holder=request.holder._replace(command=FOLLOW_COMMAND)),
            parts=open_follow_parts(followed, is_short=not self._is_forever, beside=self._beside),
            listener=listener,
            # A cut-over is announced as possible when it would keep its own default limit.
            outage=Limits().outage,
        )
        if not self._is_forever:
            return follow_to_now(what)
        done = follow(what)
        text = f"followed {plural(done.changes, 'change')}; clients derived again: {grouped(done.clients)}, verified: {grouped(done.verified)}"
        listener.notify(Announced(f"{text}; {done.end.value.replace('-', ' ')}"))
        return done

    def _opened(self) -> FollowContext:
        places = self._places
        return FollowContext(
            places=places,
            sides=self._sides,
            stores=open_run_stores(self._sides.connection, target=places.target, source=places.source),
            plan=self._plan,
            listener=self._context.listener,
            signal_guard=self._context.signal_guard,
        )


def steps_after_following(done: FollowOutcome, places: Places, sides: OpenPlaces) -> Iterator[NextStep]:
    """Yield what to do when a follower has ended by Ctrl-C or because a cut-over has taken over.

    In the second case that command is running: nothing else is to be started.
    """
    if done.end is FollowEnd.CAUGHT_UP:
        return
    if done.taken_by is not None:
        yield step_after_hand_over(done.taken_by)
        return
    stores = open_run_stores(sides.connection, target=places.target, source=places.source)
    followed = newest_result(stores.journal, places.target)
    if followed is None:
        return
    if not is_proven(followed):
        yield NextStep(text="Verify before a cut-over:", command=command_of(followed, "verify"))
    first, *leaving = cutovers_of(followed)
    carrying = f". In the cut-over, {CARRYING}" if leaving else ""
    text = f"Cut over, which brings in what has changed since; {STOP_THE_OLD}{carrying}:"
    yield NextStep(text=text, command=first)
    yield from (NextStep(text=f"{LEAVING}:", command=command) for command in leaving)
    text = "Continue following, which a cut-over does not need; it reads the source once more first:"
    yield NextStep(text=text, command=f"{command_of(followed, 'migrate')} --follow")
