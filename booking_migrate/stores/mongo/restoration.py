"""The collection in which old bookings come together again."""

from collections.abc import Mapping, Sequence
from typing import Any

from bson import json_util
from pymongo.errors import BulkWriteError, CollectionInvalid, OperationFailure
from typing_extensions import override

from booking_migrate.bson.document import read_fields
from booking_migrate.stores.cutover import IndexNote, RestoredCollection
from booking_migrate.stores.journal import identity_of
from booking_migrate.stores.mongo.administration import (
    NO_VALIDATION,
    has_same_hash,
    rename,
    validate,
    validation_of,
)
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import reading, server_text, writing
from booking_migrate.stores.mongo.majority import build_index
from booking_migrate.stores.mongo.raw import SIMPLE, any_of, as_driver_document, find_raw
from booking_migrate.stores.mongo.retry import attempts, with_retry
from booking_migrate.stores.mongo.successor_indexes import written

_DUPLICATE_KEY = 11000
_GIVEN_BY_SERVER = frozenset({"v", "key", "ns"})


class MongoRestored(RestoredCollection):
    """See `RestoredCollection` for the promises."""

    def __init__(self, collection: DriverCollection, live: DriverCollection) -> None:
        self._collection = collection
        self._live = live

    @property
    @override
    def name(self) -> str:
        return self._collection.name

    @override
    def begin(self, settings: str) -> None:
        self.drop()
        options: dict[str, Any] = json_util.loads(settings)["options"]
        kept = {name: value for name, value in options.items() if name not in NO_VALIDATION}
        with writing(self._collection):
            for attempt in attempts():
                with attempt:
                    try:
                        self._collection.database.create_collection(self.name, **kept)
                    except CollectionInvalid:
                        # It was made by an attempt whose answer got lost.
                        continue

    @override
    def insert(self, documents: Sequence[bytes]) -> None:
        with writing(self._collection):
            for attempt in attempts():
                with attempt:
                    self._insert(documents)

    def _insert(self, documents: Sequence[bytes]) -> None:
        try:
            self._collection.insert_many(map(as_driver_document, documents), ordered=False)
        except BulkWriteError as error:
            problems = error.details["writeErrors"]
            others = [problem for problem in problems if problem["code"] != _DUPLICATE_KEY]
            if others or not problems or not self._holds([documents[each["index"]] for each in problems]):
                raise

    def _holds(self, documents: Sequence[bytes]) -> bool:
        """Return whether all of these are there, byte for byte."""
        ids = [read_fields(identity_of(raw))["_id"] for raw in documents]
        return set(documents) <= set(find_raw(self._collection, any_of("_id", ids)))

    @override
    def complete(self, settings: str) -> Sequence[IndexNote]:
        kept = json_util.loads(settings)
        notes = []
        for index in kept["indexes"]:
            keys = tuple(dict(index["key"]).items())
            if keys != (("_id", 1),):
                reason = self._create(index, keys)
                shown = written(keys)
                notes.append(IndexNote(index["name"], shown, None if reason else shown, reason))
        validation = validation_of(kept["options"])
        if validation:
            validate(self._collection, {**NO_VALIDATION, **validation})
        return notes

    def _create(self, index: Mapping[str, Any], keys: Sequence[tuple[str, Any]]) -> str | None:
        """Create an index with its old definition; return the reason if the server refuses it."""
        # Without a collation of its own an index would get the collection's.
        own = {name: value for name, value in index.items() if name not in _GIVEN_BY_SERVER}
        options = {"collation": SIMPLE, **own}
        with writing(self._collection):
            try:
                for attempt in attempts():
                    with attempt:
                        build_index(self._collection, list(keys), **options)
            except OperationFailure as error:
                return server_text(error)
        return None

    @override
    def count(self) -> int:
        with reading(self._collection):
            return with_retry(lambda: self._collection.count_documents({}))

    @override
    def is_same(self, other: str) -> bool:
        return has_same_hash(self._collection, other)

    @override
    def swap(self) -> None:
        rename(self._collection, self._live)

    @override
    def drop(self) -> None:
        with writing(self._collection):
            for attempt in attempts():
                with attempt:
                    self._collection.drop()
