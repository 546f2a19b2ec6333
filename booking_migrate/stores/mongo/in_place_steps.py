"""A unit of work on a server without transactions: one step after the other, each of which can be taken again."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ReplaceOne
from typing_extensions import override

from booking_migrate.bson.document import value_in
from booking_migrate.bson.format import display_id
from booking_migrate.errors import TargetChanged
from booking_migrate.stores.in_place import Move, Unit
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading, writing
from booking_migrate.stores.mongo.journal import MongoJournal
from booking_migrate.stores.mongo.raw import SIMPLE, any_of, as_driver_document, find_raw, insert_absent
from booking_migrate.stores.mongo.retry import attempts
from booking_migrate.stores.ports import Replacement

CLAIM = "sessions.legacyBookingId"


class StepByStep(Unit):
    """See `Unit` for the promises. Other processes must not write to these documents meanwhile."""

    def __init__(
        self,
        collection: DriverCollection,
        archive: DriverCollection,
        runs: DriverCollection,
        journal: MongoJournal,
    ) -> None:
        """Take the parts; see `MongoInPlace`."""
        self._collection = collection
        self._archive = archive
        self._runs = runs
        self._journal = journal

    @override
    def find(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        return _found(self._collection, any_of("clientId", client_ids))

    @override
    def archived_of(self, client_ids: Sequence[Any]) -> Sequence[bytes]:
        return _found(self._archive, any_of("clientId", client_ids))

    @override
    def archived(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return _found(self._archive, any_of("_id", ids))

    @override
    def standing(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return _found(self._collection, any_of("_id", ids))

    @override
    def claiming(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return _found(self._collection, any_of(CLAIM, ids))

    @override
    def take(self, move: Move) -> None:
        # At every moment a booking is somewhere, and until the deletion it may be seen twice.
        progress = dict(move.progress)
        for noted in move.notes:
            for written in self._journal.written(move.run_id, move.token, noted):
                self._journal.put(written)
                progress["noted"] = written.fields["_id"]
        insert_missing(self._archive, move.archived)
        _replace(self._archive, move.rearchived)
        insert_missing(self._collection, move.new)
        _replace(self._collection, move.changed)
        _remove(self._collection, move.gone)
        _remove(self._archive, move.unarchived)
        self._save(move.run_id, progress)

    def _save(self, run_id: str, progress: Mapping[str, Any]) -> None:
        fields: Mapping[str, Any] = {name: {"$literal": value} for name, value in progress.items()}
        with writing(self._runs):
            for attempt in attempts():
                with attempt:
                    self._runs.update_one({"_id": run_id}, [{"$set": {**fields, "heartbeat_at": "$$NOW"}}])


def _found(collection: DriverCollection, condition: Mapping[str, Any]) -> Sequence[bytes]:
    with reading(collection):
        for attempt in attempts():
            with attempt:
                found = list(find_raw(collection, condition))
    return found


def insert_missing(collection: DriverCollection, documents: Sequence[bytes]) -> None:
    """Insert documents, some of which may be there since a step was cut off.

    Raises:
        TargetChanged: another one is there instead: another process is writing.
    """
    if insert_absent(collection, documents):
        return
    there = set(_found(collection, any_of("_id", [_id_of(raw) for raw in documents])))
    other = next((raw for raw in documents if raw not in there), None)
    if other is not None:
        raise TargetChanged(collection.name, display_id(_id_of(other)))


def replacements(changes: Sequence[Replacement]) -> list[ReplaceOne[Any]]:
    """Return the operations that replace documents by others with the same `_id`."""
    return [
        ReplaceOne(any_of("_id", [_id_of(change.after)]), as_driver_document(change.after), collation=SIMPLE)
        for change in changes
    ]


def _replace(collection: DriverCollection, changes: Sequence[Replacement]) -> None:
    if changes:
        with writing(collection):
            for attempt in attempts():
                with attempt:
                    collection.bulk_write(replacements(changes))


def _remove(collection: DriverCollection, documents: Sequence[bytes]) -> None:
    if documents:
        condition = any_of("_id", [_id_of(raw) for raw in documents])
        with writing(collection):
            for attempt in attempts():
                with attempt:
                    collection.delete_many(condition, collation=SIMPLE)


def _id_of(raw: bytes) -> Any:
    return value_in(raw, b"_id")
