"""What is opened to rewrite references: the journal, the collections for writing, and the feed of their changes."""

# ruff: noqa: PLC0415 - the driver is slow to import
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bson.timestamp import Timestamp

from booking_migrate.stores.changes import ChangeFeed, Position, Role
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.own_collections import REFERENCE_NOTES, REWRITES

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.reference_journal import MongoReferenceJournal
    from booking_migrate.stores.mongo.referring_writes import MongoReferringWrites


class ReferringChanges(NamedTuple):
    """How the changes of collections with references are read."""

    open_feed: Callable[[Position | Timestamp], ChangeFeed]
    now: Callable[[], Timestamp]
    """Returns the cluster time of the newest write."""


def open_reference_journal(connection: Connection) -> "MongoReferenceJournal":
    """Return the journal of rewritten references. Nothing is contacted yet."""
    from booking_migrate.stores.mongo.reference_journal import MongoReferenceJournal

    return MongoReferenceJournal(connection.collection(REWRITES), connection.collection(REFERENCE_NOTES))


def open_referring_writes(
    connection: Connection, name: str, journal: "MongoReferenceJournal | None" = None
) -> "MongoReferringWrites":
    """Return the writing side of a collection with references; it writes in the sessions that the journal has recorded."""
    from booking_migrate.stores.mongo.referring_writes import MongoReferringWrites

    return MongoReferringWrites(connection.collection(name), None if journal is None else journal.sessions)


def open_referring_changes(connection: Connection, names: Sequence[str]) -> ReferringChanges | str:
    """Return how the changes of collections are read; or why they cannot be."""
    from booking_migrate.stores.mongo.change_feed import MongoChangeFeed, cluster_time, unavailable_reason

    first = connection.collection(names[0])
    reason = unavailable_reason(first)
    if reason is not None:
        return reason
    roles = dict.fromkeys(names, Role.REFERRING)
    return ReferringChanges(lambda begin: MongoChangeFeed(first, roles, begin), lambda: cluster_time(first))


def index_old_ids(connection: Connection, live: str) -> bool:
    """Make the index by which old ids are found in client documents; return whether it was not there."""
    from booking_migrate.stores.mongo.administration import FOLLOWED, make_index

    return make_index(connection.collection(live), FOLLOWED)
