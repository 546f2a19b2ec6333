"""A target collection as rollback needs it."""

from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any

from pymongo import DeleteOne
from pymongo.errors import BulkWriteError

from booking_migrate.stores.mongo.client_index import client_index_name, drop_index
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import DUPLICATE_KEY, is_on, reading, write_failure, writing
from booking_migrate.stores.mongo.raw import (
    SIMPLE,
    any_of,
    as_driver_document,
    same_version,
    same_version_within_limits,
    stores_any,
)
from booking_migrate.stores.mongo.rejects import find_records
from booking_migrate.stores.mongo.retry import attempts, is_transient, with_retry
from booking_migrate.stores.mongo.scan import find_documents
from booking_migrate.stores.ports import Replacement, TargetWriter

_AT_ONCE = 1000


class MongoUndo:
    """See `UndoableTarget` for the promises."""

    def __init__(
        self, collection: DriverCollection, rejects: DriverCollection, writer: TargetWriter, *, source: str
    ) -> None:
        """Take the parts.

        Args:
            collection: the target.
            writer: the same as a migration writes it; it knows how to replace documents.
            rejects: the collection of rejected records, which all runs of the database share.
            source: the name of the source, as it stands in those records.
        """
        self._collection = collection
        self._rejects = rejects
        self._writer = writer
        self._source = source

    @property
    def name(self) -> str:
        """See `UndoableTarget.name`."""
        return self._collection.name

    def exists(self) -> bool:
        """See `UndoableTarget.exists`."""
        return describe(self._collection) is not None

    def has_client_index(self) -> bool:
        """See `UndoableTarget.has_client_index`."""
        return client_index_name(self._collection) is not None

    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        """See `UndoableTarget.find`."""
        with reading(self._collection):
            yield from find_documents(self._collection, any_of("_id", ids))

    def remove(self, documents: Sequence[bytes]) -> None:
        """See `UndoableTarget.remove`."""
        if documents:
            operations = [DeleteOne(same_version_within_limits(raw), collation=SIMPLE) for raw in documents]
            with writing(self._collection):
                for attempt in attempts():
                    with attempt:
                        self._collection.bulk_write(operations, ordered=False)

    def restore(self, changes: Sequence[Replacement]) -> None:
        """See `UndoableTarget.restore`."""
        if changes:
            self._writer.write([], changes, [])

    def insert(self, documents: Sequence[bytes]) -> None:
        """See `UndoableTarget.insert`."""
        if documents:
            _insert_missing(self._collection, documents)

    def drop_client_index(self) -> None:
        """See `UndoableTarget.drop_client_index`."""
        name = client_index_name(self._collection)
        if name is not None:
            with writing(self._collection):
                with_retry(lambda: drop_index(self._collection, name))

    def drop_if_empty(self) -> bool:
        """See `UndoableTarget.drop_if_empty`. The server knows no drop under a condition, so a moment lies between."""
        if not self.exists() or self._holds_something(self._collection):
            return False
        with writing(self._collection):
            with_retry(self._collection.drop)
        return True

    def rejects(self) -> Iterator[bytes]:
        """See `UndoableTarget.rejects`."""
        return find_records(self._rejects, source=self._source, target=self.name)

    def remove_rejects(self, kept: Collection[bytes]) -> None:
        """See `UndoableTarget.remove_rejects`."""
        surplus = (raw for raw in self.rejects() if sha256(raw).digest() not in kept)
        while some := list(islice(surplus, _AT_ONCE)):
            with writing(self._rejects):
                for attempt in attempts():
                    with attempt:
                        self._rejects.bulk_write(
                            [DeleteOne(same_version(raw)) for raw in some], ordered=False
                        )

    def insert_rejects(self, records: Sequence[bytes]) -> None:
        """See `UndoableTarget.insert_rejects`."""
        if records:
            _insert_missing(self._rejects, records)

    def drop_rejects_if_empty(self) -> None:
        """See `UndoableTarget.drop_rejects_if_empty`."""
        if describe(self._rejects) is not None and not self._holds_something(self._rejects):
            with writing(self._rejects):
                with_retry(self._rejects.drop)

    def close(self) -> None:
        """See `UndoableTarget.close`."""
        self._writer.abandon()

    def _holds_something(self, collection: DriverCollection) -> bool:
        with reading(collection):
            return with_retry(lambda: stores_any(collection))


def _insert_missing(collection: DriverCollection, documents: Sequence[bytes]) -> None:
    """Insert documents; those whose `_id` is there already stay as they are."""
    with writing(collection):
        try:
            for attempt in attempts():
                with attempt:
                    collection.insert_many(map(as_driver_document, documents), ordered=False)
        except BulkWriteError as error:
            if is_transient(error):
                raise
            problems = error.details["writeErrors"]
            is_id_there = all(each["code"] == DUPLICATE_KEY and is_on(each, "_id") for each in problems)
            if not is_id_there or error.details["writeConcernErrors"]:
                raise write_failure(collection.name, error) from None
