"""A map as a collection: `_id` is the old id, so that looking one up needs no index but the one that every collection has.

It is written under another name and renamed, so that readers never see half of it, nor of the one before. That name is this process's
own: of two that write one map, the later one ends the earlier one.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from typing_extensions import override

from booking_migrate.bson.document import write_fields
from booking_migrate.errors import MapExists, NotAMap, UnusablePlace, WriteFailed
from booking_migrate.stores.booking_map import NAMES, BookingMap, MapEntry
from booking_migrate.stores.mongo.administration import create, identity, rename
from booking_migrate.stores.mongo.connection import DriverCollection, check_name, describe
from booking_migrate.stores.mongo.failures import read, write
from booking_migrate.stores.mongo.raw import find_raw, insert_absent
from booking_migrate.stores.own_collections import map_beside, maps_beside

_FIELDS = ("_id", *NAMES[1:])
_VALIDATOR: Mapping[str, Any] = {
    "$jsonSchema": {"title": "map of old booking ids, made by booking-migrate", "required": list(NAMES[1:])}
}
"""By this, a map is known for one: the old ids in it are not references."""

_ENTRY: dict[str, Any] = {"$and": [{name: {"$exists": True}} for name in _FIELDS]}


def is_map(options: Mapping[str, Any]) -> bool:
    """Return whether a collection with these options, as the server lists them, is a map that this program made."""
    return options.get("validator") == _VALIDATOR


class MapCollection(BookingMap):
    """A collection; see `BookingMap` for the promises."""

    def __init__(self, collection: DriverCollection, *, overwrite: bool) -> None:
        """Take the collection, and whether a map that it holds already may be replaced."""
        self.name = collection.name
        self._collection = collection
        beside = map_beside(collection.name)
        check_name(collection.database.name, beside)
        self._beside = collection.database[beside]
        self._overwrite = overwrite
        self._has_begun = False
        self._identity: str | None = None
        """What identifies the collection that was made: another process may drop it."""

        self._written = 0
        self.repeated = 0

    @override
    def prepare(self) -> None:
        listed = describe(self._collection)
        if listed is not None and listed["type"] != "collection":
            raise UnusablePlace(self.name, f"it is a {listed['type']}")
        self._holds_map()
        self._has_begun = True
        database = self._collection.database
        named = {"name": {"$regex": maps_beside(self.name)}}
        # What killed processes have left, and what an earlier one still writes.
        for each in read(self._collection, lambda: database.list_collection_names(filter=named)):
            write(database[each], database[each].drop)
        create(self._beside, validator=_VALIDATOR)
        self._identity = identity(self._beside)

    def _holds_map(self) -> bool:
        """Return whether the collection holds a map; refuse one that holds anything else."""
        if read(self._collection, lambda: self._collection.find_one({}, {"_id": 1})) is None:
            return False
        if read(self._collection, lambda: self._collection.find_one({"$nor": [_ENTRY]}, {"_id": 1})):
            raise NotAMap(self.name)
        return True

    @override
    def write(self, entries: Sequence[MapEntry]) -> None:
        documents = [write_fields(dict(zip(_FIELDS, entry, strict=True))) for entry in entries]
        # What was sent again after a lost answer, and a second entry of one old id, find the first one there.
        insert_absent(self._beside, documents)
        self._written += len(entries)

    @override
    def finish(self) -> bool:
        there = read(self._beside, lambda: self._beside.count_documents({}))
        if self._identity is None or identity(self._beside) != self._identity:
            raise WriteFailed(self.name, "another process writes this map, too, and began later")
        self.repeated = self._written - there
        # Others may have written it since the beginning.
        if self._holds_map():
            if read(self._beside, self._is_same):
                self.abandon()
                return False
            if not self._overwrite:
                raise MapExists(self.name)
        rename(self._beside, self._collection)
        self._has_begun = False
        return True

    def _is_same(self) -> bool:
        """Return whether the collection holds this very map."""
        both = (find_raw(each, {}, by_id=True) for each in (self._beside, self._collection))
        return all(one == other for one, other in zip_longest(*both))

    @override
    def abandon(self) -> None:
        if self._has_begun:
            self._has_begun = False
            write(self._beside, self._beside.drop)
