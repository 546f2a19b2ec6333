"""Undoing what a run wrote to a target collection."""

from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any

from pymongo import DeleteOne

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


class MongoUndo:
    """A target collection and its rejected records, as rollback needs them.

    Raises:
        ConnectionProblem, NotPermitted, WriteFailed: it cannot be read or written (any method).
    """

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
        """Return what to call the place in messages and reports."""
        return self._collection.name

    def exists(self) -> bool:
        """Return whether it is there."""
        return describe(self._collection) is not None

    def has_client_index(self) -> bool:
        """Return whether it has a unique index on `clientId`."""
        return client_index_name(self._collection) is not None

    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the documents with these `_id` values, whole, in any order; at most a few thousand values."""
        with reading(self._collection):
            yield from find_documents(self._collection, any_of("_id", ids))

    def remove(self, documents: Sequence[bytes]) -> None:
        """Delete documents that still are these versions; others stay."""
        if documents:
            operations = [DeleteOne(same_version_within_limits(raw), collation=SIMPLE) for raw in documents]
            with writing(self._collection):
                for attempt in attempts():
                    with attempt:
                        self._collection.bulk_write(operations, ordered=False)

    def restore(self, changes: Sequence[Replacement]) -> None:
        """Put older versions (``after``) back in the place of documents that still are ``before``.

        Raises:
            TargetChanged: one of them was changed in the meantime.
        """
        if changes:
            self._writer.write([], changes, [])

    def insert(self, documents: Sequence[bytes]) -> None:
        """Insert removed documents again. One that exists already stays."""
        if documents:
            insert_absent(self._collection, documents)

    def drop_client_index(self) -> None:
        """Remove the unique index on `clientId`, if there is one."""
        name = client_index_name(self._collection)
        if name is not None:
            with writing(self._collection):
                with_retry(lambda: drop_index(self._collection, name))

    def drop_if_empty(self) -> bool:
        """Drop the collection if it is empty; return whether it was dropped."""
        # The server knows no drop under a condition, so a moment lies between.
        if not self.exists() or self._holds_something(self._collection):
            return False
        with writing(self._collection):
            with_retry(self._collection.drop)
        return True

    def rejects(self) -> Iterator[bytes]:
        """Yield the rejected records of this source and target, whole."""
        return find_records(self._rejects, source=self._source, target=self.name)

    def remove_rejects(self, kept: Collection[bytes]) -> None:
        """Delete the rejected records of this source and target whose SHA-256 is not among these."""
        surplus = (raw for raw in self.rejects() if sha256(raw).digest() not in kept)
        while some := list(islice(surplus, _AT_ONCE)):
            with writing(self._rejects):
                for attempt in attempts():
                    with attempt:
                        self._rejects.bulk_write(
                            [DeleteOne(same_version(raw)) for raw in some], ordered=False
                        )

    def insert_rejects(self, records: Sequence[bytes]) -> None:
        """Insert removed records again. One that exists already stays."""
        if records:
            insert_absent(self._rejects, records)

    def drop_rejects_if_empty(self) -> None:
        """Drop the collection of rejected records if nothing is left in it of any run."""
        if describe(self._rejects) is not None and not self._holds_something(self._rejects):
            with writing(self._rejects):
                with_retry(self._rejects.drop)

    def close(self) -> None:
        """Release everything. May be called twice."""
        self._writer.abandon()

    def _holds_something(self, collection: DriverCollection) -> bool:
        with reading(collection):
            return with_retry(lambda: stores_any(collection))
