"""Views that show a collection in the other shape: what may be chosen, and from what the user wrote to the views."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from booking_migrate.domain.rules import DEFAULT_PEOPLE_FIELDS, PeopleFields
from booking_migrate.errors import BadConfiguration
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.places import CollectionPlace, parse_place, refuse_own

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.views import MongoViews


class Shape(StrEnum):
    """In which shape a view shows a collection."""

    OLD = "old"
    """One document per booking."""

    NEW = "new"
    """One document per client."""


@dataclass(frozen=True, slots=True)
class PeopleNames:
    """Where the server looks up users and experts for bookings that lack them."""

    users: str = "users"
    experts: str = "experts"
    fields: PeopleFields = DEFAULT_PEOPLE_FIELDS


def open_views(connection: Connection, *, source: str, name: str) -> "MongoViews":
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

    return views.MongoViews(connection.collection(source))
