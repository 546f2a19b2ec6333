"""From what the user wrote to the places where a run's life is kept: those of the target's database."""

from typing import NamedTuple

from booking_migrate.stores.connection import Connection
from booking_migrate.stores.cutover import LiveCollections, RestoredCollection
from booking_migrate.stores.journal import LockStore, RunJournal, UndoableTarget
from booking_migrate.stores.lag import LagGauge
from booking_migrate.stores.open import last_part


class JournalPlaces(NamedTuple):
    """The journal and the locks of one database, and the lag of its replica set."""

    journal: RunJournal
    locks: LockStore
    lag: LagGauge


def open_journal(connection: Connection) -> JournalPlaces:
    """Return the journal and the locks of the connection's database. Nothing is contacted before they are used.

    Raises:
        MissingUri: no server or no database is given.
        BadConfiguration: the connection string cannot be used.
    """
    # Here and not above: the driver is slow to import.
    from booking_migrate.stores.mongo import journal, lag, lock  # noqa: PLC0415

    runs, ranges, before, locks = (
        connection.collection(name)
        for name in (journal.RUNS, journal.RANGES, journal.BEFORE, lock.COLLECTION)
    )
    return JournalPlaces(
        journal.MongoJournal(runs, ranges, before),
        lock.MongoLocks(locks),
        lag.MongoLag(runs),
    )


def may_write_journal(connection: Connection) -> bool:
    """Return whether this user may change the record of a run; without access control every user may.

    Raises:
        MissingUri, BadConfiguration: as `open_journal`.
        ConnectionProblem: the server cannot be asked.
    """
    # Here and not above: the driver is slow to import.
    from booking_migrate.stores.inspection import Privilege  # noqa: PLC0415
    from booking_migrate.stores.mongo.inspection import MongoInspector  # noqa: PLC0415
    from booking_migrate.stores.mongo.journal import RUNS  # noqa: PLC0415

    wanted = [Privilege(action, RUNS) for action in ("find", "update")]
    return not MongoInspector(connection.collection(RUNS)).missing(wanted)


def open_undoable_target(connection: Connection, name: str, *, source_name: str) -> UndoableTarget:
    """Return a target collection as rollback needs it.

    Args:
        connection: the server and the database.
        name: the collection's name.
        source_name: the source that was given when it was written.

    Raises:
        MissingUri, BadConfiguration: as `open_journal`.
    """
    from booking_migrate.stores.mongo.rejects import COLLECTION, CollectionRejects  # noqa: PLC0415 - as above
    from booking_migrate.stores.mongo.target import MongoTarget  # noqa: PLC0415
    from booking_migrate.stores.mongo.undo import MongoUndo  # noqa: PLC0415

    collection, rejects = connection.collection(name), connection.collection(COLLECTION)
    source = last_part(source_name)
    keeper = CollectionRejects(rejects, source=source, target=name)
    return MongoUndo(collection, rejects, MongoTarget(collection, keeper), source=source)


def open_live(
    connection: Connection, *, source: str, target: str, block_all_writes: bool = False
) -> LiveCollections:
    """Return the collections of a cut-over.

    Args:
        connection: the server and the database.
        source: the live collection's name.
        target: the name of the one that takes its place.
        block_all_writes: whether the fence refuses all users' writes to the whole cluster.

    Raises:
        MissingUri, BadConfiguration: as `open_journal`.
    """
    from booking_migrate.stores.mongo.write_block import BlockingLive  # noqa: PLC0415 - as above

    return BlockingLive(connection.collection(source), connection.collection(target), blocks=block_all_writes)


def open_restored(connection: Connection, *, source: str, run_id: str) -> RestoredCollection:
    """Return the collection in which the old bookings come together again when a cut-over is rolled back.

    Args:
        connection: the server and the database.
        source: the live collection's name.
        run_id: the run that was cut over.

    Raises:
        MissingUri, BadConfiguration: as `open_journal`.
    """
    from booking_migrate.stores.mongo.restoration import MongoRestored  # noqa: PLC0415 - as above

    name = f"booking_migrate_restored_{run_id}"
    return MongoRestored(connection.collection(name), connection.collection(source))
