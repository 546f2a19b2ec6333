"""Which server and which database a run is about, known early and connected to late, and what is opened there.

The driver is slow to import, so it is imported when the first collection is opened. Every function here that opens one raises
MissingUri, BadConfiguration and ConnectionProblem as `Connection.collection` does, and reads nothing before it says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from booking_migrate.domain.rules import DEFAULT_PEOPLE_FIELDS, PeopleFields
from booking_migrate.errors import BadConfiguration, BookingMigrateError, MissingUri, before_start
from booking_migrate.stores.own_collections import (
    JOURNAL,
    RECORDS,
    REJECTS_COLLECTION,
    RUNS,
    is_own,
    refuse_own,
    restored,
)
from booking_migrate.stores.places import (
    DEFAULT_EXPERTS,
    DEFAULT_USERS,
    CollectionPlace,
    Place,
    last_part,
    parse_place,
)
from booking_migrate.stores.validators import is_guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pymongo import MongoClient

    from booking_migrate.bson.document import Document
    from booking_migrate.stores.cutover import OldBookings
    from booking_migrate.stores.journal import RunJournal, RunRecord
    from booking_migrate.stores.locks import LockStore
    from booking_migrate.stores.mongo.client_ranges import Address
    from booking_migrate.stores.mongo.connection import DriverCollection
    from booking_migrate.stores.mongo.cutover import MongoLive
    from booking_migrate.stores.mongo.inspection import MongoDestination, MongoInspector
    from booking_migrate.stores.mongo.legacy_index import MongoLegacyIndex
    from booking_migrate.stores.mongo.rollback import MongoRestored, MongoUndo
    from booking_migrate.stores.mongo.views import MongoViews
    from booking_migrate.stores.ports import LagGauge


_CLOSING_SECONDS = 0.02
"""How long closing a client is waited for."""


class Connection:
    """One client, shared by everything that a run reads and writes; made when the first collection is asked for.

    No server is contacted before a collection is used, unless the connection string names a single member of a replica
    set: that has to be the primary.
    """

    def __init__(self, uri: str | None = None, database: str | None = None) -> None:
        """Keep what the user passed.

        Args:
            uri: the connection string, if any.
            database: the database's name, if any; else the one in the connection string's path counts.
        """
        # A file with a secret ends with a line end, which does not belong to it.
        self._uri = uri.strip() if uri else uri
        self._database = database
        self._client: MongoClient[Document] | None = None

    @property
    def is_given(self) -> bool:
        """Return whether there is a connection string."""
        return bool(self._uri)

    def collection(self, name: str) -> DriverCollection:
        """Return a collection of the database.

        Raises:
            MissingUri: no server, or no database, is given.
            BadConfiguration: the connection string or the database's name cannot be used.
            NameTooLong: no server takes such a name: a command opens what it would make before it writes.
            ConnectionProblem: a single member is named, and it is not the primary or does not answer.
            AuthenticationModuleMissing: it needs a module that is not installed.
        """
        # A collection of the program's own means nothing to the user, who has named a server or a database, or has not.
        named = "" if is_own(name) else name
        if not self._uri:
            raise MissingUri(named, has_server=False)
        from booking_migrate.stores.mongo import connection as driver  # noqa: PLC0415

        if self._client is None:
            driver.check_uri(self._uri)
        if not self._database:
            self._database = driver.find_database_name(self._uri, named)
        if self._client is None:
            client = driver.make_client(self._uri)
            try:
                driver.check_member(client)
            except BookingMigrateError:
                client.close()
                raise
            self._client = client
        return driver.open_collection(self._client, self._database, name)

    def contact(self, name: str) -> None:
        """Find the server, or fail as soon as the time for that is over; what is read later waits for an election.

        Args:
            name: any collection, for messages.

        Raises:
            ConnectionProblem: no server answers, or it does not accept the user.
        """
        from booking_migrate.stores.mongo.failures import read  # noqa: PLC0415

        with before_start():
            collection = self.collection(name)
            read(collection, lambda: collection.database.command("ping"), waits=False)

    def await_majority(self, name: str) -> None:
        """Wait until a majority of the replica set has everything that the primary has taken.

        Args:
            name: a collection that the user may read.

        Raises:
            NoMajority: that does not happen in time.
        """
        from booking_migrate.stores.mongo.replica_set import await_majority  # noqa: PLC0415

        await_majority(self.collection(name))

    def address(self, name: str) -> Address:
        """Return where a collection is that `collection` was asked for."""
        from booking_migrate.stores.mongo.client_ranges import Address  # noqa: PLC0415

        return Address(self._uri or "", self._database or "", name)

    def close(self) -> None:
        """Close the client, if there is one. May be called twice."""
        client, self._client = self._client, None
        if client is not None:
            # Its sessions and cursors are ended at once. After that it waits for up to half a second until a thread of its own wakes up.
            closing = Thread(target=client.close, name="closing", daemon=True)
            closing.start()
            closing.join(_CLOSING_SECONDS)


def open_destination(connection: Connection, name: str, source_name: str | None = None) -> MongoDestination:
    """Return a collection that client documents are written to, to look at its indexes and options.

    The source, which the user may read, is named if it is known.
    """
    from booking_migrate.stores.mongo.inspection import MongoDestination  # noqa: PLC0415

    source = None if source_name is None else parse_place(source_name)
    beside = connection.collection(source.name) if isinstance(source, CollectionPlace) else None
    return MongoDestination(connection.collection(name), beside)


def first_and_last(place: Place, connection: Connection, count: int) -> Sequence[bytes]:
    """Return this number of documents at the start and at the end of a collection, by `_id`; none of a file, which can only be read whole."""
    if not isinstance(place, CollectionPlace):
        return ()
    from booking_migrate.stores.mongo.inspection import find_ends  # noqa: PLC0415

    return find_ends(connection.collection(place.name), count)


def client_index_check(connection: Connection, place: Place) -> Callable[[], bool] | None:
    """Return a function that says whether a target has the unique index on `clientId`; None for a file, which needs none."""
    if not isinstance(place, CollectionPlace):
        return None
    from booking_migrate.stores.mongo.administration import has_client_index  # noqa: PLC0415

    return partial(has_client_index, connection.collection(place.name))


def open_inspector(connection: Connection, name: str) -> MongoInspector:
    """Return an inspector of the server and the database that a collection is in."""
    from booking_migrate.stores.mongo.inspection import MongoInspector  # noqa: PLC0415

    return MongoInspector(connection.collection(name))


class JournalPlaces(NamedTuple):
    """The journal and the locks of one database, and the lag of its replica set."""

    journal: RunJournal
    locks: LockStore
    lag: LagGauge


def open_journal(connection: Connection) -> JournalPlaces:
    """Return the journal and the locks of the connection's database."""
    from booking_migrate.stores.mongo import journal, locks, replica_set  # noqa: PLC0415

    runs, ranges, before, held = map(connection.collection, JOURNAL)
    return JournalPlaces(
        journal.MongoJournal(runs, ranges, before),
        locks.MongoLocks(held),
        replica_set.MongoLag(runs),
    )


def collection_exists(connection: Connection, name: str) -> bool:
    """Return whether a collection exists."""
    from booking_migrate.stores.mongo.connection import describe  # noqa: PLC0415

    return describe(connection.collection(name)) is not None


def has_guard(connection: Connection, name: str) -> bool:
    """Return whether a collection has the validator that refuses old bookings."""
    from booking_migrate.stores.mongo.administration import options_of  # noqa: PLC0415

    return is_guarded(options_of(connection.collection(name)))


def records_left(connection: Connection) -> Sequence[str]:
    """Return the names of the collections in which the program keeps records of runs and rejected bookings, as far as they exist."""
    return [name for name in (*RECORDS, REJECTS_COLLECTION) if collection_exists(connection, name)]


def may_write_journal(connection: Connection) -> bool:
    """Return whether this user may change the record of a run; without access control every user may."""
    from booking_migrate.stores.privilege import Privilege  # noqa: PLC0415

    wanted = [Privilege(action, RUNS) for action in ("find", "update")]
    return not open_inspector(connection, RUNS).missing(wanted)


def open_undoable_target(connection: Connection, name: str, *, source_name: str) -> MongoUndo:
    """Return a target collection as rollback needs it, with the source that was given when it was written."""
    from booking_migrate.stores.mongo import rollback  # noqa: PLC0415
    from booking_migrate.stores.mongo.rejects import CollectionRejects  # noqa: PLC0415
    from booking_migrate.stores.mongo.target import MongoTarget  # noqa: PLC0415

    collection, rejects = connection.collection(name), connection.collection(REJECTS_COLLECTION)
    source = last_part(source_name)
    keeper = CollectionRejects(rejects, source=source, target=name)
    return rollback.MongoUndo(collection, rejects, MongoTarget(collection, keeper), source=source)


def open_live(
    connection: Connection, *, source: str, target: str, block_all_writes: bool = False
) -> MongoLive:
    """Return the collections of a cut-over; with ``block_all_writes``, the fence refuses all users' writes to the whole cluster."""
    from booking_migrate.stores.mongo import cutover  # noqa: PLC0415

    return cutover.MongoLive(
        connection.collection(source), connection.collection(target), blocks=block_all_writes
    )


def open_legacy_index(connection: Connection, name: str) -> MongoLegacyIndex:
    """Return the index of a collection by which the session of an old booking is found."""
    from booking_migrate.stores.mongo.legacy_index import MongoLegacyIndex  # noqa: PLC0415

    return MongoLegacyIndex(connection.collection(name))


def find_old_bookings(
    connection: Connection,
    run: RunRecord,
    carried: Callable[[], Iterable[bytes]],
    *,
    seconds: float | None,
) -> OldBookings | None:
    """Return the old bookings in the collection that a run's cut-over made live; see `mongo.cutover.find_old_bookings`."""
    from booking_migrate.stores.mongo import cutover  # noqa: PLC0415

    return cutover.find_old_bookings(connection.collection(run.source), carried, seconds=seconds)


def open_restored(connection: Connection, *, source: str, run_id: str) -> MongoRestored:
    """Return the collection in which the old bookings of a live one come together again when its cut-over is rolled back."""
    from booking_migrate.stores.mongo import rollback  # noqa: PLC0415

    names = (restored(run_id), source)
    return rollback.MongoRestored(*map(connection.collection, names))


class Shape(StrEnum):
    """In which shape a view shows a collection."""

    OLD = "old"
    """One document per booking."""

    NEW = "new"
    """One document per client."""


@dataclass(frozen=True, slots=True)
class PeopleNames:
    """Where the server looks up users and experts for bookings that lack them."""

    users: str = DEFAULT_USERS
    experts: str = DEFAULT_EXPERTS
    fields: PeopleFields = DEFAULT_PEOPLE_FIELDS


def open_views(connection: Connection, *, source: str, name: str) -> MongoViews:
    """Return the views over a collection. Nothing is contacted before they are used.

    Args:
        connection: the server and the database.
        source: the collection's name.
        name: the name of the view that is meant.

    Raises:
        BadPlace: the program keeps such names for itself.
        BadConfiguration: one of them is not a collection's name, or the connection string cannot be used.
        MissingUri: no server or no database is given.
    """
    for option, text in (("--source", source), ("--name", name)):
        if not isinstance(parse_place(text), CollectionPlace):
            raise BadConfiguration(option, f"a view is over a collection, and {text!r} does not name one")
    refuse_own(name)
    from booking_migrate.stores.mongo import views  # noqa: PLC0415 - the driver is slow to import

    # Opened for its name, which may be too long for a server.
    connection.collection(name)
    return views.MongoViews(connection.collection(source))
