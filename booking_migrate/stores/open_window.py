"""From a run that was cut over to what its reverse window reads and writes."""

# ruff: noqa: PLC0415 - the driver is slow to import
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from bson.timestamp import Timestamp

from booking_migrate.domain.kinds import is_client_id
from booking_migrate.stores.changes import ChangeFeed, DirtyStore, Links, Position
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open_follow import FollowedNames, open_dirty, open_feed
from booking_migrate.stores.own_collections import REJECTS_COLLECTION, WINDOW
from booking_migrate.stores.places import last_part
from booking_migrate.stores.ports import ComparedReader
from booking_migrate.stores.rejects import RejectedRecords

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.connection import DriverCollection
    from booking_migrate.stores.mongo.kept_copy import KeptCopy
    from booking_migrate.stores.mongo.reader import SnapshotFetch
    from booking_migrate.stores.mongo.window import MongoWindowNotes


class Related(NamedTuple):
    """A live document, and what of others it has a part in."""

    document_id: Any
    clients: Collection[Any]
    """Those that have to be derived with it."""

    own: Any = None
    """Its own `clientId`; None: it names no client."""

    bookings: Collection[Any] = ()
    """The bookings of other clients of which it holds a session."""


@dataclass(frozen=True, slots=True)
class WindowPlaces:
    """What a reverse window reads and writes."""

    kept: ComparedReader
    """The copy of the old collection; it never changes."""

    current: ComparedReader
    """The live collection, as a majority had it at one cluster time."""

    live: ComparedReader
    """The same, as it is."""

    restored: ComparedReader
    """What is kept ready for a rollback."""

    copy: "KeptCopy"
    """The same, for writing and reading back."""

    compare: Callable[[], Iterator[Any]]
    """Yields the `_id` values under which the kept copy and the restored collection hold something else."""

    links: Links
    """Finds documents of the live collection by the bookings of their sessions, at the same time."""

    notes: "MongoWindowNotes"
    rejected_of: Callable[[Sequence[Any]], RejectedRecords]
    now: Callable[[], Timestamp]
    prepare: Callable[[], None]
    """Creates the indexes by which single clients are looked up."""

    finish: Callable[[], object]
    """Drops those of them that are on the collection that is live after a rollback. May be repeated."""

    client_values: Callable[[], Iterator[Any]]
    """Yields every value of `clientId` on both sides, perhaps twice."""

    without_client: Callable[[Any], Iterator[Any]]
    """Yields the `_id` of the documents on both sides whose `clientId` is a value that names no client."""

    _fetch: "SnapshotFetch"

    def read_at(self, time: Timestamp) -> None:
        """Let the live collection be read as a majority had it at this time from now on."""
        self._fetch.time = time


def open_window_places(
    connection: Connection, *, source: str, target: str, kept: str, restored: str, run_id: str
) -> WindowPlaces:
    """Open what a reverse window reads and writes. Nothing is read yet.

    Args:
        connection: the server and the database.
        source: the live collection.
        target: the name that it had before the cut-over; rejected records have it.
        kept: the copy of the old collection.
        restored: the collection that is kept ready.
        run_id: the run.
    """
    from booking_migrate.stores.mongo.administration import WINDOW_CLIENTS, make_index
    from booking_migrate.stores.mongo.change_feed import cluster_time
    from booking_migrate.stores.mongo.exclusive import drop_indexes
    from booking_migrate.stores.mongo.kept_copy import KeptCopy
    from booking_migrate.stores.mongo.links import LinkedCollections, MongoLinks
    from booking_migrate.stores.mongo.reader import MongoReader, SnapshotFetch
    from booking_migrate.stores.mongo.window import MongoWindowNotes, client_values

    fetch = SnapshotFetch()
    live, before, ready, rejected = (
        connection.collection(name) for name in (source, kept, restored, REJECTS_COLLECTION)
    )
    links = MongoLinks(
        LinkedCollections(before, live, rejected, None, ""), fetch, source=last_part(source), target=target
    )

    def values() -> Iterator[Any]:
        for collection in (before, live):
            yield from client_values(collection)

    def without_client(value: Any) -> Iterator[Any]:
        for collection in (before, live):
            yield from _without_client(collection, value)

    def prepare() -> None:
        links.prepare()
        for collection in (before, live, ready):
            make_index(collection, WINDOW_CLIENTS)

    return WindowPlaces(
        kept=MongoReader(before, required=True),
        current=MongoReader(live, required=True, fetch=fetch),
        live=MongoReader(live, required=True),
        restored=MongoReader(ready, required=True),
        copy=KeptCopy(live, ready),
        compare=KeptCopy(before, ready).compare,
        links=links,
        notes=MongoWindowNotes(connection.collection(WINDOW), run_id),
        rejected_of=links.rejected_of,
        now=lambda: cluster_time(live),
        prepare=prepare,
        finish=lambda: drop_indexes(live, [WINDOW_CLIENTS.name]),
        client_values=values,
        without_client=without_client,
        _fetch=fetch,
    )


def _without_client(collection: "DriverCollection", value: Any) -> Iterator[Any]:
    from booking_migrate.bson.document import value_in
    from booking_migrate.stores.mongo.failures import reading
    from booking_migrate.stores.mongo.raw import any_of
    from booking_migrate.stores.mongo.scan import find_documents

    with reading(collection):
        for raw in find_documents(collection, any_of("clientId", [value])):
            # The query finds arrays that hold such a value, too.
            if not is_client_id(value_in(raw, b"clientId")):
                yield value_in(raw, b"_id")


def window_names(source: str, restored: str) -> FollowedNames:
    """Return the collections that the tail of a rollback in a reverse window watches: the swap renames the restored one."""
    return FollowedNames(source=source, target=restored, users=None, experts=None, expert_user_field="")


def open_window_feed(
    connection: Connection,
    names: FollowedNames,
    begin: Position | Timestamp,
    *,
    kept: str = "",
    is_tail: bool = False,
    has_restored: bool = True,
) -> ChangeFeed:
    """Open the feed of the live collection, and of what others may do to the restored one and to the kept copy.

    Args:
        connection: the server and the database.
        names: as `window_names` returns them.
        begin: where to begin.
        kept: the copy of the old collection; not for the tail.
        is_tail: whether the rename of the restored collection is to be seen, and whole documents are read.
        has_restored: whether the restored collection is watched.
    """
    if not is_tail:
        # What happens to single documents of the kept copy makes nothing dirty.
        names = replace(names, copy=names.target if has_restored else None, target=kept)
    return open_feed(connection, names, begin, is_whole=is_tail)


def window_dirty(connection: Connection, run_id: str) -> DirtyStore:
    """Open the durable set of what is dirty of a run's reverse window."""
    # Under the run's own name, so that what ends the run clears it, too.
    return open_dirty(connection, f"{run_id}/window")
