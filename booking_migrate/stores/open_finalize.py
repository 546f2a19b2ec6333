"""What a finalize asks before it drops anything: whether a collection exists, and whether it has a guard to remove."""

# ruff: noqa: PLC0415 - the driver is slow to import
from booking_migrate.stores.connection import Connection


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
    from booking_migrate.stores.mongo.live_swap import is_guarded

    return is_guarded(options_of(connection.collection(name)))
