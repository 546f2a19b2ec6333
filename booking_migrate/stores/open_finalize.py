"""What a finalize asks: whether a collection exists, whether it has a guard to remove, and which records of runs stay."""

# ruff: noqa: PLC0415 - the driver is slow to import
from collections.abc import Sequence

from booking_migrate.stores.connection import Connection
from booking_migrate.stores.own_collections import RECORDS, REJECTS_COLLECTION
from booking_migrate.stores.validators import is_guarded


def collection_exists(connection: Connection, name: str) -> bool:
    """Return whether a collection exists.

    Raises:
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    from booking_migrate.stores.mongo.connection import describe

    return describe(connection.collection(name)) is not None


def has_guard(connection: Connection, name: str) -> bool:
    """Return whether a collection has the validator that refuses old bookings.

    Raises:
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    from booking_migrate.stores.mongo.administration import options_of

    return is_guarded(options_of(connection.collection(name)))


def records_left(connection: Connection) -> Sequence[str]:
    """Return the names of the collections in which the program keeps records of runs and rejected bookings, as far as they exist.

    Raises:
        ConnectionProblem, NotPermitted: the server cannot be asked.
    """
    return [name for name in (*RECORDS, REJECTS_COLLECTION) if collection_exists(connection, name)]
