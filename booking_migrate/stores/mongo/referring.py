"""A collection that may hold ids of bookings, read; see `stores.references.ReferringCollection` for the promises."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pymongo.cursor import RawBatchCursor
from typing_extensions import override

from booking_migrate.bson.document import elements, identity_of
from booking_migrate.bson.order import element_key, id_key
from booking_migrate.stores.destination import CollectionFacts
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.failures import read, reading
from booking_migrate.stores.mongo.raw import SIMPLE, any_of, documents_in, find_all, not_before
from booking_migrate.stores.mongo.retry import resumed
from booking_migrate.stores.mongo.scan import blocks_of
from booking_migrate.stores.references import ReferringCollection

_BATCH_SIZE = 2000
"""How many documents the server sends at a time; fewer if they are large: 16 MiB at most."""


def _has(field: str) -> Iterator[Mapping[str, Any]]:
    """Yield the conditions of which documents with a field meet one: a path of the server's does not lead into arrays in arrays."""
    yield {field: {"$exists": True}}
    names = field.split(".")
    for depth in range(1, len(names)):
        yield {".".join(names[:depth]): {"$elemMatch": {"$type": "array"}}}


class MongoReferring(ReferringCollection):
    """One collection."""

    def __init__(self, collection: DriverCollection, look: Callable[[str], CollectionFacts | None]) -> None:
        """Take the collection, and what returns what the server says about a collection of its database."""
        self.name = collection.name
        self.database = collection.database.name
        self._collection = collection
        self._look = look

    @override
    def scan(self, after: bytes | None = None, fields: Sequence[str] = ()) -> Iterator[list[bytes]]:
        has_any: Mapping[str, Any] = (
            {"$or": [each for field in fields for each in _has(field)]} if fields else {}
        )
        with reading(self._collection):
            yield from resumed(partial(self._after, after, has_any))

    def _after(
        self, after: bytes | None, condition: Mapping[str, Any], last: list[bytes] | None
    ) -> Iterator[list[bytes]]:
        """Yield the documents behind the last one of a batch, or the one of an identity, in batches."""
        wanted: Any = condition
        passed = b""
        behind = identity_of(last[-1]) if last else after
        if behind is not None:
            element = next(elements(behind))
            # Values of other types come too, also those that sort before it.
            wanted = (
                {"$and": [condition, not_before("_id", element)]} if condition else not_before("_id", element)
            )
            passed = element_key(element)
        cursor: RawBatchCursor[Any] = self._collection.find_raw_batches(
            wanted, sort=[("_id", 1)], collation=SIMPLE, batch_size=_BATCH_SIZE, allow_disk_use=True
        )
        with cursor:
            for block in blocks_of(cursor):
                documents = block.documents()
                if passed:
                    if id_key(documents[-1]) <= passed:
                        continue
                    documents = [raw for raw in documents if id_key(raw) > passed]
                    passed = b""
                yield documents

    @override
    def one_with(self, field: str) -> bytes | None:
        find = partial(
            self._collection.find_raw_batches, {"$or": list(_has(field))}, collation=SIMPLE, limit=1
        )
        return next(iter(read(self._collection, lambda: list(documents_in(find())))), None)

    @override
    def sample(self, size: int) -> Iterator[bytes]:
        with reading(self._collection):
            yield from documents_in(self._collection.aggregate_raw_batches([{"$sample": {"size": size}}]))

    @override
    def find(self, ids: Sequence[Any]) -> Sequence[bytes]:
        return find_all(self._collection, any_of("_id", ids)) if ids else ()

    @override
    def facts(self) -> CollectionFacts | None:
        return self._look(self.name)
