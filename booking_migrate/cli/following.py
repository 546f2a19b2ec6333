"""From the options to the parts by which a run's source is followed."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from bson.timestamp import Timestamp

from booking_migrate.cli.open import OpenPlaces, Places
from booking_migrate.domain.rules import PeopleFields
from booking_migrate.errors import HistoryLost
from booking_migrate.events import Listener, Warned
from booking_migrate.follow.backlog import Backlog
from booking_migrate.follow.engine import Engine
from booking_migrate.runs.finished import FinishedRun
from booking_migrate.runs.held_history import HeldHistory
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import JournalHistory
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.changes import ChangeFeed, Position, TargetChanges
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.open import open_target
from booking_migrate.stores.open_follow import (
    FollowedNames,
    FollowedPlaces,
    cluster_time_of,
    following_unavailable,
    open_feed,
    open_followed_places,
)
from booking_migrate.stores.places import CollectionPlace, parse_place

_NO_WAIT, _SHORT_WAIT = 1, 20
"""For how many milliseconds the server waits for a change before it says how far it has come."""

if TYPE_CHECKING:
    from booking_migrate.verify import VerificationPlan


@dataclass(frozen=True, slots=True)
class FollowContext:
    """What following takes beside the run: the same for a follower and for a cut-over."""

    places: Places
    sides: OpenPlaces
    stores: RunStores
    plan: MigrationPlan
    listener: Listener
    signal_guard: SignalGuard

    def verification(self) -> "VerificationPlan":
        """Return the strict verification of what the run wrote; most runs verify nothing, and do not import the verifier."""
        from booking_migrate.cli.behind import verification_of  # noqa: PLC0415

        return verification_of(self.plan)

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
        # A run that is followed just up to now does not wait for what may come.
        waits = _NO_WAIT if target is TargetChanges.NONE else _SHORT_WAIT
        opened = partial(open_feed, connection, names, target=target, await_milliseconds=waits)
        read = None if backlog is None else backlog.position
        position: Position | Timestamp | None = read or position_of(run)
        if position is not None:
            feed = opened(position)
            try:
                feed.check()
            except HistoryLost as error:
                self.listener.notify(Warned(f"{error.message}; everything is read again"))
            else:
                return feed, False
        now = cluster_time_of(connection, names.source)
        if now is None:
            raise RuntimeError("a server whose changes can be followed has a cluster time")
        return opened(now), True


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
