"""From the options to the parts by which a run's source is followed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial

from bson.timestamp import Timestamp

from booking_migrate.cli.open import OpenPlaces, Places
from booking_migrate.domain.rules import PeopleFields
from booking_migrate.errors import HistoryLost, JournalTooNew, NotPermitted
from booking_migrate.events import Announced, Listener, Warned
from booking_migrate.follow.backlog import Backlog
from booking_migrate.follow.engine import Engine
from booking_migrate.runs.finished import FinishedRun
from booking_migrate.runs.held_history import HeldHistory
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import JournalHistory, PointHistory, standing_runs
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.states import newest_result
from booking_migrate.stores.changes import ChangeFeed, Position, TargetChanges
from booking_migrate.stores.connection import Connection, open_journal
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.open import (
    CollectionPlace,
    open_target,
    parse_place,
)
from booking_migrate.stores.open_follow import (
    FollowedNames,
    FollowedPlaces,
    cluster_time_of,
    following_unavailable,
    open_dirty,
    open_feed,
    open_followed_places,
    open_snapshot,
)
from booking_migrate.verify import VerificationPlan, VerificationRules
from booking_migrate.verify.behind import BehindClients, ChangedClients
from booking_migrate.verify.outcome import RecheckWay

_PLAIN = "clients with a difference are read again as they are, and those that change meanwhile may be listed as mismatches"


@dataclass(frozen=True, slots=True)
class FollowContext:
    """What following takes beside the run: the same for a follower and for a cut-over."""

    places: Places
    sides: OpenPlaces
    stores: RunStores
    plan: MigrationPlan
    verification: VerificationPlan
    listener: Listener
    signal_guard: SignalGuard

    @property
    def names(self) -> FollowedNames:
        """Return the collections to watch."""
        return names_of(self.places, self.plan.people)

    def open_places(self, *, after_swap: str | None = None) -> FollowedPlaces:
        """Open the places of the run at a cluster time; people in files are read as ever."""
        opened = open_followed_places(self.sides.connection, self.names, after_swap=after_swap)
        return replace(
            opened,
            users=self.sides.users if self.names.users is None else opened.users,
            experts=self.sides.experts if self.names.experts is None else opened.experts,
        )

    def engine(
        self, opened: FollowedPlaces, run: FinishedRun[HeldHistory], *, is_watched: bool = False
    ) -> Engine:
        """Return the engine over open places."""
        return Engine(
            self.plan,
            opened,
            run,
            verification=self.verification,
            listener=self.listener,
            signal_guard=self.signal_guard,
            is_watched=is_watched,
        )

    def unavailable(self) -> str | None:
        """Return why the source cannot be followed; None if it can."""
        return following_unavailable(self.sides.connection, self.places.source)

    def begin(
        self,
        run: RunRecord,
        *,
        target: TargetChanges = TargetChanges.ALL,
        backlog: Backlog | None = None,
    ) -> tuple[ChangeFeed, bool]:
        """Open the feed where the run's record says that everything before is in the target.

        Args:
            run: the run.
            target: which changes of the target are read too.
            backlog: what was read beside the run, if anything was: the feed is opened behind that.

        Returns:
            The feed; and whether everything has to be read again, since such a place is unknown, or the oplog no longer has it.
        """
        connection, names = self.sides.connection, self.names
        read = None if backlog is None else backlog.position
        position: Position | Timestamp | None = read or position_of(run)
        if position is not None:
            feed = open_feed(connection, names, position, target=target)
            try:
                feed.check()
            except HistoryLost as error:
                self.listener.notify(Warned(f"{error.message}; everything is read again"))
            else:
                return feed, False
        now = cluster_time_of(connection, names.source)
        if now is None:
            raise RuntimeError("a server whose changes can be followed has a cluster time")
        return open_feed(connection, names, now, target=target), True


def position_of(run: RunRecord) -> Position | Timestamp | None:
    """Return the place in the feed before which everything is in the run's target; None without one."""
    if "token" in run.follow:
        return Position.of(run.follow)
    time: Timestamp | None = run.follow.get("time")
    return time


def is_proven(run: RunRecord) -> bool:
    """Return whether the whole target was verified, and what was followed before that or with verification since."""
    unverified = run.follow.get("unverified")
    return run.verified_time is not None and (unverified is None or unverified <= run.verified_time)


def verification_of(plan: MigrationPlan) -> VerificationPlan:
    """Return the strict verification of a collection that a plan's migration wrote."""
    rules = plan.rules
    return VerificationPlan(
        rules=VerificationRules(
            contract=rules.contract,
            accepted=rules.accepted,
            maximum_document_size=rules.maximum_document_size,
            on_conflict=rules.on_conflict,
        ),
        people=plan.people,
    )


@contextmanager
def read_in_use(
    plan: VerificationPlan, places: Places, connection: Connection, listener: Listener
) -> Iterator[VerificationPlan]:
    """Yield a verification's plan with what separates differences of time from mismatches; what it holds is closed at the end."""
    plan = plan_in_use(plan, places, connection, listener)
    try:
        yield plan
    finally:
        if plan.behind is not None:
            plan.behind.close()


def plan_in_use(
    plan: VerificationPlan, places: Places, connection: Connection, listener: Listener
) -> VerificationPlan:
    """Return a verification's plan with what knows the clients that changed since the newest run derived them.

    Where the changes cannot be followed, or the oplog no longer has them, clients with a difference are read again at one
    cluster time, and compared with the source at the run's; a server without cluster times reads them again as they are. Each
    is said. If the journal cannot be read, nothing is known of the run's time.

    Raises:
        ConnectionProblem: the server does not answer.
    """
    if not all(isinstance(parse_place(side), CollectionPlace) for side in (places.source, places.target)):
        return plan
    run, history = _derived(places, connection)
    begin = None if run is None else position_of(run)
    if run is None or begin is None:
        plan = _reading_twice(plan, places, connection)
        if plan.both_sides is None:
            listener.notify(Announced(f"{_PLAIN}: the server cannot read both sides at one cluster time"))
        return plan
    reason = following_unavailable(connection, places.source)
    if reason is None:
        feed = open_feed(connection, names_of(places, plan.people), begin)
        try:
            feed.check()
        except HistoryLost:
            reason = "the oplog no longer has them"
        else:
            now = partial(_cluster_time, connection, places)
            known = BehindClients(feed, now, history, open_dirty(connection, run.run_id).scan)
            return replace(plan, behind=known, recheck=RecheckWay.CHANGES)
    plan = _reading_twice(plan, places, connection)
    said = f"the changes since the run cannot be read ({reason})"
    if plan.both_sides is None:
        listener.notify(Announced(f"{said}; {_PLAIN}"))
        return plan
    listener.notify(
        Announced(f"{said}: clients with a difference are read again, both sides at one cluster time")
    )
    began = begin.time if isinstance(begin, Position) else begin

    def on_lost(why: str) -> None:
        said = "what the source was when the run derived it is no longer known"
        listener.notify(Warned(f"{said} ({why}): clients that changed since are listed as mismatches"))

    return replace(
        plan,
        behind=ChangedClients(
            plan.both_sides, began, history, open_dirty(connection, run.run_id).scan, on_lost=on_lost
        ),
    )


def _derived(places: Places, connection: Connection) -> tuple[RunRecord | None, PointHistory | None]:
    """Return the run that made the newest result, and what the runs wrote; None if the journal does not say."""
    journal = open_journal(connection).journal
    try:
        run = newest_result(journal, places.target)
        if run is None or run.source != places.source:
            return None, None
        standing = standing_runs(journal, places.source, places.target)
    except (JournalTooNew, NotPermitted):
        return None, None
    return run, PointHistory(journal, [each.run_id for each in standing])


def _reading_twice(plan: VerificationPlan, places: Places, connection: Connection) -> VerificationPlan:
    sides = open_snapshot(connection, places.source, places.target)
    return replace(plan, both_sides=sides, recheck=RecheckWay.PLAIN if sides is None else RecheckWay.SNAPSHOT)


def _cluster_time(connection: Connection, places: Places) -> Timestamp:
    time = cluster_time_of(connection, places.source)
    if time is None:
        raise RuntimeError("a server whose changes can be followed has a cluster time")
    return time


def names_of(places: Places, people: PeopleFields) -> FollowedNames:
    """Return the collections of a run to watch; people in files do not change."""
    named = {
        option: place.name
        for option, (place, _) in places.people_places.items()
        if isinstance(place, CollectionPlace)
    }
    return FollowedNames(
        source=places.source,
        target=places.target,
        users=named.get("--users"),
        experts=named.get("--experts"),
        expert_user_field=people.expert_user,
    )


def whole_pass(context: FollowContext, run: RunRecord, lock: HeldLock) -> None:
    """Derive every client again, while the application writes."""
    from booking_migrate.cutover.catch_up import catch_up  # noqa: PLC0415 - few runs need it

    places, sides = context.places, context.sides
    done = catch_up(
        context.plan,
        sides.source,
        open_target(parse_place(places.target), sides.connection, source_name=places.source),
        run=FinishedRun(context.stores, run, lock, JournalHistory),
        users=sides.users,
        experts=sides.experts,
        listener=context.listener,
        signal_guard=context.signal_guard,
    )
    context.stores.journal.annotate(run.run_id, counts=asdict(done.migration.counts))
