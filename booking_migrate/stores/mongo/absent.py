"""A collection that does not exist, and which one was probably meant."""

from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from booking_migrate.errors import PlaceNotFound
from booking_migrate.stores.mongo.servers import hosts_of
from booking_migrate.stores.places import is_own

_SYSTEM_DATABASES = frozenset({"admin", "config", "local"})


def absent(collection: Collection[Any]) -> PlaceNotFound:
    """Return our error for a collection that does not exist, with names that are near to it."""
    database = collection.database
    near: list[str] = []
    near_databases: list[str] = []
    # A user who may not list names gets the same message without a suggestion.
    with suppress(PyMongoError):
        names = database.list_collection_names(authorizedCollections=True)
        near = get_close_matches(collection.name, [each for each in names if not is_own(each)], n=1)
        if not names:
            others = set(database.client.list_database_names()) - _SYSTEM_DATABASES
            near_databases = get_close_matches(database.name, sorted(others), n=1)
    return PlaceNotFound(
        collection.name, database.name, hosts_of(collection), *_first(near), *_first(near_databases)
    )


def _first(found: list[str]) -> list[str]:
    return found[:1] or [""]
