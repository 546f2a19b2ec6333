"""From what the user wrote to the collection that client documents are written to, and to bookings to try it out with."""

from collections.abc import Callable, Sequence
from functools import partial

from booking_migrate.stores.connection import Connection
from booking_migrate.stores.destination import Destination
from booking_migrate.stores.inspection import DatabaseInspector
from booking_migrate.stores.places import CollectionPlace, Place, parse_place


def open_destination(connection: Connection, name: str, source_name: str | None = None) -> Destination:
    """Return a collection, to look at its indexes and options. Nothing is contacted before it is used.

    Args:
        connection: the server and the database.
        name: the collection's name.
        source_name: the source, which the user may read, if it is known.

    Raises:
        MissingUri, BadConfiguration: the connection string cannot be used.
    """
    from booking_migrate.stores.mongo.destination import MongoDestination  # noqa: PLC0415 - the driver is slow to import

    source = None if source_name is None else parse_place(source_name)
    beside = connection.collection(source.name) if isinstance(source, CollectionPlace) else None
    return MongoDestination(connection.collection(name), beside)


def first_and_last(place: Place, connection: Connection, count: int) -> Sequence[bytes]:
    """Return the first and the last so many documents of a collection by `_id`; none of a file, which can only be read whole.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: it cannot be read.
        MissingUri, BadConfiguration: the connection string cannot be used.
    """
    if not isinstance(place, CollectionPlace):
        return ()
    from booking_migrate.stores.mongo.destination import find_ends  # noqa: PLC0415 - as above

    return find_ends(connection.collection(place.name), count)


def client_index_check(connection: Connection, place: Place) -> Callable[[], bool] | None:
    """Return a function that says whether a target has the unique index on `clientId`; None for a file, which needs none.

    Raises:
        MissingUri, BadConfiguration: the connection string cannot be used.
    """
    if not isinstance(place, CollectionPlace):
        return None
    from booking_migrate.stores.mongo.client_index import has_client_index  # noqa: PLC0415 - as above

    return partial(has_client_index, connection.collection(place.name))


def open_inspector(connection: Connection, name: str) -> DatabaseInspector:
    """Return an inspector of the server and the database that a collection is in.

    Raises:
        MissingUri, BadConfiguration: the connection string cannot be used.
    """
    from booking_migrate.stores.mongo.inspection import MongoInspector  # noqa: PLC0415 - as above

    return MongoInspector(connection.collection(name))
