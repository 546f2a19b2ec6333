"""The set of what is dirty, in the collection ``booking_migrate_dirty`` of the target's database."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from bson.binary import Binary
from bson.objectid import ObjectId
from pymongo import DeleteOne, UpdateOne
from typing_extensions import override

from booking_migrate.bson.document import read_fields, write_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.stores.changes import Dirty, DirtyStore
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import read, reading
from booking_migrate.stores.mongo.retry import with_retry
from booking_migrate.stores.mongo.run_entries import RunEntries

COLLECTION = "booking_migrate_dirty"

_AT_ONCE = 1000


def _dirty(entries: Iterable[Mapping[str, Any]]) -> Dirty:
    dirty = Dirty()
    parts = dirty.parts()
    for entry in entries:
        value = read_fields(entry["value"])["_id"]
        parts[entry["kind"]][sort_key(value)] = value
    return dirty


class MongoDirty(DirtyStore):
    """See `DirtyStore` for the promises."""

    def __init__(self, collection: DriverCollection, run_id: str) -> None:
        """Take the collection, and the run whose entries are meant."""
        self._entries = RunEntries(collection, run_id)
        self._collection = self._entries.collection
        self._versions: dict[str, ObjectId] = {}
        """The versions of the entries that were taken and not removed yet."""

    @override
    def add(self, dirty: Dirty) -> None:
        # As bytes: an id may be of a type that the driver re-types. With a new version, so that a process that handled an
        # older one does not remove it.
        self._entries.write(
            [
                UpdateOne(
                    {"_id": name},
                    {
                        "$set": {
                            "version": ObjectId(),
                            "kind": kind,
                            "value": Binary(write_fields({"_id": value})),
                        }
                    },
                    upsert=True,
                )
                for name, kind, value in self._named(dirty)
            ]
        )

    @override
    def take(self, limit: int) -> Dirty:
        with reading(self._collection):
            found = with_retry(lambda: list(self._collection.find(self._entries.all()).limit(limit)))
        self._versions.update((entry["_id"], entry["version"]) for entry in found)
        return _dirty(found)

    @override
    def scan(self) -> Iterator[Dirty]:
        last = ""
        while True:
            found = read(self._collection, partial(self._found, self._entries.all(last)))
            if not found:
                return
            yield _dirty(found)
            last = found[-1]["_id"]

    @override
    def remove(self, dirty: Dirty) -> None:
        self._entries.write(
            [
                DeleteOne({"_id": name, "version": self._versions.pop(name)})
                for name, _, _ in self._named(dirty)
                if name in self._versions
            ]
        )

    @override
    def count(self) -> int:
        with reading(self._collection):
            return with_retry(lambda: self._collection.count_documents(self._entries.all()))

    @override
    def clear(self) -> None:
        self._entries.clear()

    def _found(self, condition: Mapping[str, Any]) -> list[dict[str, Any]]:
        return list(self._collection.find(condition).sort("_id", 1).limit(_AT_ONCE))

    def _named(self, dirty: Dirty) -> Iterator[tuple[str, str, Any]]:
        for kind, entries in dirty.parts().items():
            for key, value in entries.items():
                yield self._entries.name(kind, key), kind, value
