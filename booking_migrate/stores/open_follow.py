"""From what the user named to what following reads and writes: the run's places at a cluster time, its feed, its copy."""

# ruff: noqa: PLC0415 - the driver is slow to import
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from booking_migrate.errors import StreamUnavailable, UnusablePlace
from booking_migrate.events import NullListener
from booking_migrate.stores.changes import ChangeFeed, DirtyStore, Links, Position, Role, TargetChanges
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.own_collections import DIRTY, REJECTS_COLLECTION
from booking_migrate.stores.places import last_part
from booking_migrate.stores.ports import ComparedReader, DocumentReader, TargetWriter
from booking_migrate.stores.readers import Kind, PeopleReader
from booking_migrate.stores.rejects import RejectedRecords

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.kept_copy import KeptCopy
    from booking_migrate.stores.mongo.live_swap import LiveSwap
    from booking_migrate.stores.mongo.reader import SnapshotFetch


@dataclass(frozen=True, slots=True)
class FollowedNames:
    """The collections of a run, all of one database."""

    source: str
    target: str
    users: str | None
    experts: str | None
    expert_user_field: str
    copy: str | None = None
    """The kept copy; None: it is not watched."""

    @property
    def roles(self) -> dict[str, Role]:
        """Return what each watched collection is."""
        named = {
            self.users: Role.USERS,
            self.experts: Role.PEOPLE if self.experts == self.users else Role.EXPERTS,
            self.target: Role.TARGET,
            self.source: Role.SOURCE,
            self.copy: Role.COPY,
        }
        return {name: role for name, role in named.items() if name is not None}


@dataclass(frozen=True, slots=True)
class FollowedPlaces:
    """The places of a run, read as they were at one cluster time; see `follow.engine.TimedPlaces`."""

    source: ComparedReader
    users: DocumentReader | None
    experts: DocumentReader | None
    links: Links
    target: TargetWriter
    written: ComparedReader
    now: Callable[[], Timestamp]
    select: Callable[[Iterable[Any]], None]
    rejected_of: Callable[[Iterable[Any]], RejectedRecords]
    _fetch: "SnapshotFetch"
    _written_then: ComparedReader
    _fetch_written: "SnapshotFetch"

    def written_at(self, time: Timestamp) -> ComparedReader:
        """Return the target at this cluster time, or at a later one that is asked for before it is read."""
        self._fetch_written.time = time
        return self._written_then

    def read_at(self, time: Timestamp) -> None:
        """Let everything but the target be read as a majority had it at this time from now on."""
        self._fetch.time = time


@dataclass(frozen=True, slots=True)
class SnapshotSides:
    """Source and target, both read as a majority had them at one cluster time."""

    source: ComparedReader
    target: ComparedReader
    _now: Callable[[], Timestamp]
    _fetch: "SnapshotFetch"

    def read_at(self, time: Timestamp) -> None:
        """Let both be read as they were at this time from here on."""
        self._fetch.time, self._fetch.is_recent = time, False

    def read_now(self) -> None:
        """Let both be read as they are now from here on."""
        self._fetch.time, self._fetch.is_recent = self._now(), True


def open_snapshot(connection: Connection, source: str, target: str) -> SnapshotSides | None:
    """Open both sides at one cluster time; None if the server has none, or cannot read one of the sides that way."""
    from booking_migrate.stores.mongo.change_feed import cluster_time
    from booking_migrate.stores.mongo.reader import MongoReader, SnapshotFetch

    fetch = SnapshotFetch()
    ours, theirs = connection.collection(source), connection.collection(target)
    sides = SnapshotSides(
        MongoReader(ours, required=False, fetch=fetch),
        MongoReader(theirs, required=False, fetch=fetch),
        lambda: cluster_time(ours),
        fetch,
    )
    try:
        sides.read_now()
        for side in (sides.source, sides.target):
            list(side.find([ObjectId()]))
    except (StreamUnavailable, UnusablePlace):
        return None
    return sides


def open_followed_places(
    connection: Connection, names: FollowedNames, *, after_swap: str | None = None
) -> FollowedPlaces:
    """Open the places of a run that is followed. Nothing is read yet.

    ``after_swap`` is the kept copy, once the target has the source's name; None: it has not.
    """
    from booking_migrate.stores.mongo.change_feed import cluster_time
    from booking_migrate.stores.mongo.links import LinkedCollections, MongoLinks
    from booking_migrate.stores.mongo.reader import MongoReader, SnapshotFetch
    from booking_migrate.stores.mongo.rejects import SelectedRejects
    from booking_migrate.stores.mongo.target import MongoTarget

    fetch, fetch_written = SnapshotFetch(), SnapshotFetch()
    read, written = (names.source, names.target) if after_swap is None else (after_swap, names.source)
    source, target, rejected = (connection.collection(name) for name in (read, written, REJECTS_COLLECTION))
    experts = None if names.experts is None else connection.collection(names.experts)
    source_name, target_name = last_part(names.source), names.target
    rejects = SelectedRejects(rejected, source=source_name, target=target_name)

    def people(name: str | None, kind: Kind) -> PeopleReader | None:
        if name is None:
            return None
        # That a collection does not exist was said when the run read it.
        reader = MongoReader(connection.collection(name), required=False, fetch=fetch)
        return PeopleReader(reader, kind, NullListener())

    links = MongoLinks(
        LinkedCollections(source, target, rejected, experts, names.expert_user_field),
        fetch,
        source=source_name,
        target=target_name,
    )
    return FollowedPlaces(
        source=MongoReader(source, required=True, fetch=fetch),
        users=people(names.users, Kind.USERS),
        experts=people(names.experts, Kind.EXPERTS),
        links=links,
        target=MongoTarget(target, rejects, is_live=after_swap is not None),
        select=rejects.select,
        written=MongoReader(target, required=True),
        now=lambda: cluster_time(source),
        rejected_of=links.rejected_of,
        _fetch=fetch,
        _written_then=MongoReader(target, required=True, fetch=fetch_written),
        _fetch_written=fetch_written,
    )


def open_feed(
    connection: Connection,
    names: FollowedNames,
    begin: Position | Timestamp,
    *,
    await_milliseconds: int = 20,
    is_whole: bool = False,
    target: TargetChanges = TargetChanges.ALL,
) -> ChangeFeed:
    """Open the feed of a run's collections at a position; arguments as of `MongoChangeFeed`."""
    from booking_migrate.stores.mongo.change_feed import MongoChangeFeed

    return MongoChangeFeed(
        connection.collection(names.source),
        {
            name: role
            for name, role in names.roles.items()
            if target is not TargetChanges.NONE or role is not Role.TARGET
        },
        begin,
        await_milliseconds=await_milliseconds,
        is_whole=is_whole,
        without_new=[names.target] if target is TargetChanges.NOT_NEW else (),
    )


def open_dirty(connection: Connection, run_id: str) -> DirtyStore:
    """Open the durable set of what is dirty of a run."""
    from booking_migrate.stores.mongo.dirty import MongoDirty

    return MongoDirty(connection.collection(DIRTY), run_id)


def open_kept_copy(connection: Connection, source: str, copy: str) -> "KeptCopy":
    """Return the kept copy of a source under a name."""
    from booking_migrate.stores.mongo.kept_copy import KeptCopy

    return KeptCopy(connection.collection(source), connection.collection(copy))


def following_unavailable(connection: Connection, source: str) -> str | None:
    """Return why the changes of a database cannot be followed; None if they can.

    Raises:
        ConnectionProblem, UnusablePlace, HistoryLost: the server cannot be asked, or fails for another cause.
    """
    from booking_migrate.stores.mongo.change_feed import unavailable_reason

    return unavailable_reason(connection.collection(source))


def cluster_time_of(connection: Connection, name: str) -> Timestamp | None:
    """Return the cluster time of the newest write that the primary has taken; None of a server without a replica set."""
    from booking_migrate.stores.mongo.change_feed import cluster_time

    try:
        return cluster_time(connection.collection(name))
    except StreamUnavailable:
        return None


def open_swap(connection: Connection, names: FollowedNames) -> "LiveSwap":
    """Return fence, guard and swap of a run's collections; of a window, those of the live and the restored one."""
    from booking_migrate.stores.mongo.live_swap import LiveSwap

    return LiveSwap(connection.collection(names.source), connection.collection(names.target))


def count_bookings(
    connection: Connection, names: FollowedNames, copy: str, before: Mapping[str, int]
) -> Mapping[str, int]:
    """Return how many bookings the kept copy has and what happened to them, by the names of a run's counts; ``before`` are those so far."""
    from booking_migrate.stores.mongo.kept_copy import count_documents
    from booking_migrate.stores.mongo.rejects import count_records

    copied = connection.collection(copy)
    rejected, conflicts = count_records(
        connection.collection(REJECTS_COLLECTION), source=last_part(names.source), target=names.target
    )
    scanned = count_documents(copied) - before.get("client_documents", 0)
    migrated = scanned - rejected - before.get("already_migrated", 0)
    return {"scanned": scanned, "rejected": rejected, "conflicts": conflicts, "migrated": max(migrated, 0)}


def oldest_change(connection: Connection) -> Timestamp | None:
    """Return the cluster time of the oldest change that the server still has; None if the user may not read the oplog."""
    from booking_migrate.stores.mongo.change_feed import oldest_in_oplog

    return oldest_in_oplog(connection.collection("oplog"))
