"""From what the user wrote to a collection that is migrated in place."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from booking_migrate.errors import BadConfiguration, BadPlace
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.places import CollectionPlace, parse_place
from booking_migrate.stores.ports import ComparedReader

if TYPE_CHECKING:
    from booking_migrate.stores.in_place import InPlaceCollection

DEFAULT_ARCHIVE_SUFFIX = "_legacy"
_OWN_PREFIX = "booking_migrate_"


def default_archive(source: str) -> str:
    """Return the archive of a collection unless the user says otherwise."""
    return source + DEFAULT_ARCHIVE_SUFFIX


def open_in_place(
    connection: Connection, *, source: str, archive: str, has_transactions: bool = True
) -> "InPlaceCollection":
    """Return a collection with its archive. Nothing is contacted before they are used.

    Args:
        connection: the server and the database.
        source: the collection's name.
        archive: the name of the collection for the old bookings.
        has_transactions: whether transactions may be used; if not, other processes must not write.

    Raises:
        BadPlace: a collection that the program keeps for itself, or no collection.
        BadConfiguration: both are one, or the connection string cannot be used.
        MissingUri: no server or no database is given.
    """
    _check(source, archive)
    # Here and not above: the driver is slow to import.
    from booking_migrate.stores.mongo import journal, rejects  # noqa: PLC0415
    from booking_migrate.stores.mongo.in_place import MongoInPlace  # noqa: PLC0415

    runs, ranges, before = (
        connection.collection(name) for name in (journal.RUNS, journal.RANGES, journal.BEFORE)
    )
    return MongoInPlace(
        connection.collection(source),
        connection.collection(archive),
        connection.collection(rejects.COLLECTION),
        runs,
        journal.MongoJournal(runs, ranges, before),
        has_transactions=has_transactions,
    )


class Proof(NamedTuple):
    """A collection that was migrated in place, as the two sides that a verification compares."""

    old: ComparedReader
    new: ComparedReader
    has_client_index: Callable[[], bool]
    """Whether an index keeps a client from having two client documents."""


def open_proof(connection: Connection, *, source: str, archive: str) -> Proof:
    """Open both sides for reading. Nothing is contacted before they are used.

    Args:
        connection: the server and the database.
        source: the collection's name.
        archive: the name of the collection with the old bookings.

    Raises:
        BadPlace, BadConfiguration, MissingUri: as `open_in_place`.
    """
    _check(source, archive)
    # Here and not above: the driver is slow to import.
    from booking_migrate.stores.mongo.in_place_indexes import has_client_documents_index  # noqa: PLC0415
    from booking_migrate.stores.mongo.in_place_proof import open_new_side, open_old_side  # noqa: PLC0415

    collection = connection.collection(source)
    return Proof(
        open_old_side(collection, connection.collection(archive)),
        open_new_side(collection),
        partial(has_client_documents_index, collection),
    )


def _check(source: str, archive: str) -> None:
    for option, name in (("--source", source), ("--archive", archive)):
        if not isinstance(parse_place(name), CollectionPlace):
            raise BadConfiguration(option, f"in place takes a collection, and {name!r} does not name one")
        if name.startswith(_OWN_PREFIX):
            raise BadPlace(name, "the program keeps its own records in collections of such names")
    if source == archive:
        raise BadConfiguration("--archive", f"{archive} is the collection itself")
