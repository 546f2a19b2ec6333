"""The set of what is dirty, in the collection ``booking_migrate_dirty`` of the target's database."""

from collections.abc import Iterable, Iterator, Mapping
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
from booking_migrate.stores.mongo.failures import read, reading, writing
from booking_migrate.stores.mongo.retry import attempts, with_retry

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
        self._collection: Collection[dict[str, Any]] = collection.with_options(codec_options=TIMES)
        self._run_id = run_id
        self._versions: dict[str, ObjectId] = {}
        """The versions of the entries that were taken and not removed yet."""

    @override
    def add(self, dirty: Dirty) -> None:
        # As bytes: an id may be of a type that the driver re-types. With a new version, so that a process that handled an
        # older one does not remove it.
        self._write(
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
                for name, kind, value in self._entries(dirty)
            ]
        )

    @override
    def take(self, limit: int) -> Dirty:
        with reading(self._collection):
            found = with_retry(lambda: list(self._collection.find(self._own()).limit(limit)))
        self._versions.update((entry["_id"], entry["version"]) for entry in found)
        return _dirty(found)

    @override
    def scan(self) -> Iterator[Dirty]:
        last = f"{self._run_id}/"
        while True:
            rest = {"_id": {"$gt": last, "$lt": f"{self._run_id}0"}}
            found = read(self._collection, partial(self._found, rest))
            if not found:
                return
            yield _dirty(found)
            last = found[-1]["_id"]

    @override
    def remove(self, dirty: Dirty) -> None:
        self._write(
            [
                DeleteOne({"_id": name, "version": self._versions.pop(name)})
                for name, _, _ in self._entries(dirty)
                if name in self._versions
            ]
        )

    @override
    def count(self) -> int:
        with reading(self._collection):
            return with_retry(lambda: self._collection.count_documents(self._own()))

    @override
    def clear(self) -> None:
        with writing(self._collection):
            for attempt in attempts():
                with attempt:
                    self._collection.delete_many(self._own())

    def _found(self, condition: Mapping[str, Any]) -> list[dict[str, Any]]:
        return list(self._collection.find(condition).sort("_id", 1).limit(_AT_ONCE))

    def _own(self) -> dict[str, Any]:
        # "0" follows "/": all names of this run, by the index on `_id`.
        return {"_id": {"$gt": f"{self._run_id}/", "$lt": f"{self._run_id}0"}}

    def _entries(self, dirty: Dirty) -> Iterator[tuple[str, str, Any]]:
        for kind, entries in dirty.parts().items():
            for key, value in entries.items():
                yield f"{self._run_id}/{kind}/{sha256(key).hexdigest()}", kind, value

    def _write(self, operations: list[Any]) -> None:
        if not operations:
            return
        with writing(self._collection):
            for attempt in attempts():
                with attempt:
                    self._collection.bulk_write(operations, ordered=False)
