"""From what the user wrote to the views over a collection."""

from booking_migrate.errors import BadConfiguration, BadPlace
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.places import CollectionPlace, parse_place
from booking_migrate.stores.views import ViewStore

_OWN_PREFIX = "booking_migrate_"


def open_views(connection: Connection, *, source: str, name: str) -> ViewStore:
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
    if name.startswith(_OWN_PREFIX):
        raise BadPlace(name, "the program keeps its own records in collections of such names")
    from booking_migrate.stores.mongo.views import MongoViews  # noqa: PLC0415 - the driver is slow to import

    return MongoViews(connection.collection(source))
