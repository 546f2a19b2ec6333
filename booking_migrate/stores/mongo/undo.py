"""A target collection as rollback needs it."""

from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any

from pymongo import DeleteOne
from typing_extensions import override

from booking_migrate.stores.journal import UndoableTarget
from booking_migrate.stores.mongo.client_index import client_index_name, drop_index
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import reading, writing
from booking_migrate.stores.mongo.raw import (
    SIMPLE,
    any_of,
    insert_absent,
    same_version,
    same_version_within_limits,
    stores_any,
)
from booking_migrate.stores.mongo.rejects import find_records
from booking_migrate.stores.mongo.retry import attempts, with_retry
from booking_migrate.stores.mongo.scan import find_documents
from booking_migrate.stores.ports import Replacement, TargetWriter

_AT_ONCE = 1000


class MongoUndo(UndoableTarget):
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
    @override
    def name(self) -> str:
        return self._collection.name

    @override
    def exists(self) -> bool:
        return describe(self._collection) is not None

    @override
    def has_client_index(self) -> bool:
        return client_index_name(self._collection) is not None

    @override
    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        with reading(self._collection):
            yield from find_documents(self._collection, any_of("_id", ids))

    @override
    def remove(self, documents: Sequence[bytes]) -> None:
        if documents:
            operations = [DeleteOne(same_version_within_limits(raw), collation=SIMPLE) for raw in documents]
            with writing(self._collection):
                for attempt in attempts():
                    with attempt:
                        self._collection.bulk_write(operations, ordered=False)

    @override
    def restore(self, changes: Sequence[Replacement]) -> None:
        if changes:
            self._writer.write([], changes, [])

    @override
    def insert(self, documents: Sequence[bytes]) -> None:
        if documents:
            insert_absent(self._collection, documents)

    @override
    def drop_client_index(self) -> None:
        name = client_index_name(self._collection)
        if name is not None:
            with writing(self._collection):
                with_retry(lambda: drop_index(self._collection, name))

    @override
    def drop_if_empty(self) -> bool:
        # The server knows no drop under a condition, so a moment lies between.
        if not self.exists() or self._holds_something(self._collection):
            return False
        with writing(self._collection):
            with_retry(self._collection.drop)
        return True

    @override
    def rejects(self) -> Iterator[bytes]:
        return find_records(self._rejects, source=self._source, target=self.name)

    @override
    def remove_rejects(self, kept: Collection[bytes]) -> None:
        surplus = (raw for raw in self.rejects() if sha256(raw).digest() not in kept)
        while some := list(islice(surplus, _AT_ONCE)):
            with writing(self._rejects):
                for attempt in attempts():
                    with attempt:
                        self._rejects.bulk_write(
                            [DeleteOne(same_version(raw)) for raw in some], ordered=False
                        )

    @override
    def insert_rejects(self, records: Sequence[bytes]) -> None:
        if records:
            insert_absent(self._rejects, records)

    @override
    def drop_rejects_if_empty(self) -> None:
        if describe(self._rejects) is not None and not self._holds_something(self._rejects):
            with writing(self._rejects):
                with_retry(self._rejects.drop)

    @override
    def close(self) -> None:
        self._writer.abandon()

    def _holds_something(self, collection: DriverCollection) -> bool:
        with reading(collection):
            return with_retry(lambda: stores_any(collection))
