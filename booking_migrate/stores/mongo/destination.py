"""A collection as a `Destination`: what is listed of it, and conditions that the server evaluates without writing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from pymongo.errors import OperationFailure
from typing_extensions import override

from booking_migrate.bson.document import value_in
from booking_migrate.bson.order import sort_key
from booking_migrate.stores.blocks import split
from booking_migrate.stores.destination import Destination, PlaceFacts
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import reading
from booking_migrate.stores.mongo.raw import any_of, as_driver_document, find_raw
from booking_migrate.stores.mongo.retry import attempts, with_retry

_COMMAND_BYTES = 12 * 1024 * 1024
"""Of documents in one command, which has MongoDB's limit on documents too."""

_UNTOLD = frozenset({13, 40324})
"""The codes for a user who may not ask and for a server before 5.1, which does not have `$documents`."""


class MongoDestination(Destination):
    """See `Destination` for the promises."""

    def __init__(self, collection: DriverCollection, beside: DriverCollection | None = None) -> None:
        """Take the collection.

        Args:
            collection: the place.
            beside: another collection that the user may read, for users who may read single collections only.
        """
        self._collection = collection
        self._beside = beside
        self._facts: PlaceFacts | None = None

    @property
    @override
    def name(self) -> str:
        return self._collection.name

    @override
    def facts(self) -> PlaceFacts | None:
        # A view has neither indexes nor documents of its own.
        listed = describe(self._collection, waits=False)
        if listed is None or listed["type"] != "collection":
            return None
        with reading(self._collection):
            indexes = with_retry(lambda: list(self._collection.list_indexes()))
        self._facts = PlaceFacts(listed.get("options", {}), indexes)
        return self._facts

    @override
    def matching(self, condition: Mapping[str, Any], documents: Sequence[bytes]) -> Sequence[bytes] | None:
        # The server compares by the collection's default collation, as it does on a write.
        options = self._facts.options if self._facts is not None else {}
        collation = options.get("collation", {"locale": "simple"})
        matching: set[bytes] = set()
        with reading(self._collection):
            for group in _groups(documents):
                found = self._matching_ids(condition, group, collation)
                if found is None:
                    return None
                matching.update(found)
        return [raw for raw in documents if _key(raw) in matching]

    @override
    def holding(self, field: str, values: Sequence[Any]) -> Sequence[bytes]:
        with reading(self._collection):
            return with_retry(
                lambda: list(find_raw(self._collection, any_of(field, values), fields={"_id": 1, field: 1}))
            )

    def _matching_ids(
        self, condition: Mapping[str, Any], documents: Sequence[bytes], collation: Mapping[str, Any]
    ) -> set[bytes] | None:
        tried_out: list[Mapping[str, Any]] = [{"$match": condition}, {"$project": {"_id": 1}}]
        listed = [{"$literal": as_driver_document(raw)} for raw in documents]
        database = self._collection.database
        try:
            return with_retry(
                lambda: _ids(database.aggregate([{"$documents": listed}, *tried_out], collation=collation))
            )
        except OperationFailure as error:
            if error.code not in _UNTOLD:
                raise
        # A user who may read a collection may have the server compute documents from its content.
        made: list[Mapping[str, Any]] = [
            {"$limit": 1},
            {"$project": {"_id": 0, "made": listed}},
            {"$unwind": "$made"},
            {"$replaceRoot": {"newRoot": "$made"}},
        ]
        for readable in (self._collection, self._beside):
            if readable is not None and readable.find_one({}, {"_id": 1}) is not None:
                return _ids(readable.aggregate([*made, *tried_out], collation=collation))
        return None


def _ids(found: Iterable[Mapping[str, Any]]) -> set[bytes]:
    return {sort_key(each["_id"]) for each in found}


def find_ends(collection: DriverCollection, count: int) -> Sequence[bytes]:
    """Return the first and the last so many documents of a collection in the order of `_id`, each once.

    They are of both generations, where there are two, and cost nothing that grows with the collection.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: it cannot be read.
    """
    found: dict[bytes, bytes] = {}
    # This may be the first contact: where no server answers, waiting for one does not help.
    if describe(collection, waits=False) is None:
        return ()
    with reading(collection):
        for direction in (1, -1):
            for attempt in attempts():
                with attempt:
                    cursor = collection.find_raw_batches({}, sort=[("_id", direction)], limit=count)
                    # The driver's annotation says document; what comes is the bytes of a whole batch.
                    raws = [
                        raw for batch in cast("Iterable[bytes]", cursor) for raw in split(batch).documents()
                    ]
            found.update((_key(raw), raw) for raw in raws)
    return list(found.values())


def _key(raw: bytes) -> bytes:
    return sort_key(value_in(raw, b"_id"))


def _groups(documents: Sequence[bytes]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for raw in documents:
        if group and size + len(raw) > _COMMAND_BYTES:
            yield group
            group, size = [], 0
        group.append(raw)
        size += len(raw)
    if group:
        yield group
