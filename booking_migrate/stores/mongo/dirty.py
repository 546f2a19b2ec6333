"""The set of what is dirty, in the collection ``booking_migrate_dirty`` of the target's database.

`RunEntries` is what it has in common with the notes of a reverse window (`window`): single things that a run keeps in a collection
that all runs share, by names that begin with the run's id.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

from bson.binary import Binary
from bson.objectid import ObjectId
from pymongo import DeleteOne, UpdateOne
from pymongo.collection import Collection
from typing_extensions import override

from booking_migrate.bson.document import read_fields, write_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.stores.changes import Dirty, DirtyStore
from booking_migrate.stores.mongo.connection import TIMES, DriverCollection
from booking_migrate.stores.mongo.failures import read, write

_ENTRIES_PER_READ = 1000


def _dirty(entries: Iterable[Mapping[str, Any]]) -> Dirty:
    dirty = Dirty()
    parts = dirty.parts()
    for entry in entries:
        value = read_fields(entry["value"])["_id"]
        parts[entry["kind"]][sort_key(value)] = value
    return dirty


class RunEntries:
    """The entries of one run."""

    def __init__(self, collection: DriverCollection, run_id: str) -> None:
        self.collection: Collection[dict[str, Any]] = collection.with_options(codec_options=TIMES)
        self._run_id = run_id

    def name(self, kind: str, key: bytes) -> str:
        """Return the `_id` of an entry."""
        return f"{self._run_id}/{kind}/{sha256(key).hexdigest()}"

    def all(self, after: str = "") -> Mapping[str, Any]:
        """Return the condition of all entries of the run, or of those behind a name; the index on `_id` serves it."""
        # "0" follows "/".
        return {"_id": {"$gt": after or f"{self._run_id}/", "$lt": f"{self._run_id}0"}}

    def of_kind(self, kind: str) -> Mapping[str, Any]:
        """Return the condition of all entries of a kind."""
        return {"_id": {"$gt": f"{self._run_id}/{kind}/", "$lt": f"{self._run_id}/{kind}0"}}

    def write(self, operations: Sequence[Any]) -> None:
        """Carry out writes that may be repeated."""
        if operations:
            write(self.collection, lambda: self.collection.bulk_write(operations, ordered=False))

    def clear(self) -> None:
        """Remove all entries of the run."""
        write(self.collection, lambda: self.collection.delete_many(self.all()))


class MongoDirty(DirtyStore):
    """See `DirtyStore` for the promises."""

    def __init__(self, collection: DriverCollection, run_id: str) -> None:
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
        found = read(self._collection, lambda: list(self._collection.find(self._entries.all()).limit(limit)))
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
    def clear(self) -> None:
        self._entries.clear()

    def _found(self, condition: Mapping[str, Any]) -> list[dict[str, Any]]:
        return list(self._collection.find(condition).sort("_id", 1).limit(_ENTRIES_PER_READ))

    def _named(self, dirty: Dirty) -> Iterator[tuple[str, str, Any]]:
        for kind, entries in dirty.parts().items():
            for key, value in entries.items():
                yield self._entries.name(kind, key), kind, value
