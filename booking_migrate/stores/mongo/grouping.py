"""Two collections of one database as a `GroupingServer`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from bson.objectid import ObjectId
from pymongo.errors import ConnectionFailure, OperationFailure

from booking_migrate.domain.bson_document import Document
from booking_migrate.stores.grouping import ClientCount, ClientRange, PlainRules
from booking_migrate.stores.mongo.client_index import client_index_name
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import reading, server_text
from booking_migrate.stores.mongo.operations import mark, stop
from booking_migrate.stores.mongo.plain_clients import in_range, pipeline
from booking_migrate.stores.mongo.raw import SIMPLE, any_of, split_batch
from booking_migrate.stores.mongo.retry import attempts, is_transient, settled, tried
from booking_migrate.stores.mongo.scan import find_documents

_FIRST, _LAST = ObjectId(bytes(12)), ObjectId(bytes([255] * 12))
_OLDEST = (6, 0)
"""The first version whose aggregations have everything that is needed (``$sortArray`` is of 5.2)."""

_BATCH_SIZE = 1000


class MongoGrouping:
    """See `GroupingServer` for the promises. Ranges are found in the source's index on `clientId`."""

    def __init__(self, source: DriverCollection, target: DriverCollection, rules: PlainRules) -> None:
        """Take the parts.

        Args:
            source: the bookings.
            target: where the client documents go; in the same database.
            rules: what a plain client keeps.
        """
        self._source = source
        self._target = target
        self._rules = rules
        self._found_index: str | None = None

    def obstacle(self) -> str | None:
        """See `GroupingServer.obstacle`."""
        with reading(self._source):
            version = tried(lambda: self._source.database.command("buildInfo"))["version"]
        if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
            return f"the server is version {version}, and its aggregations cannot do it before 6.0"
        for collection in (self._source, self._target):
            listed = describe(collection)
            if listed is not None and listed["type"] != "collection":
                return f"{collection.name} is a {listed['type']}"
        if not self._index():
            return f"{self._source.name} has no index on clientId alone that holds every document"
        if self._holds_arrays():
            return f"{self._source.name} may have arrays for clientId"
        return None

    def ranges(self, bookings: int) -> Iterator[ClientRange]:
        """See `GroupingServer.ranges`. They are steps of so many entries along the index."""
        first = _FIRST
        while first < _LAST:
            end = self._client_at(first, skip=bookings)
            is_groupable = end != first
            if not is_groupable:
                end = self._client_at(first, skip=0, is_after=True)
            yield ClientRange(first, end, is_groupable)
            first = end

    def _client_at(self, first: ObjectId, *, skip: int, is_after: bool = False) -> ObjectId:
        """The client so many entries behind the first of another client, or behind all of that client's."""
        above = "$gt" if is_after else "$gte"
        condition = {"clientId": {above: first, "$lt": _LAST}}
        with reading(self._source):
            for attempt in attempts():
                with attempt:
                    cursor = self._source.find(
                        condition, {"clientId": 1, "_id": 0}, hint=self._index(), collation=SIMPLE
                    )
                    found = list(cursor.sort("clientId", 1).skip(skip).limit(1))
        return found[0]["clientId"] if found else _LAST

    def clients(self, clients: ClientRange) -> Sequence[ClientCount]:
        """See `GroupingServer.clients`. The server reads nothing but the index."""
        stages: list[dict[str, Any]] = [
            {"$match": in_range(clients)},
            {"$group": {"_id": "$clientId", "count": {"$sum": 1}}},
        ]
        with reading(self._source):
            for attempt in attempts():
                with attempt:
                    found = list(self._source.aggregate(stages, hint=self._index(), collation=SIMPLE))
        return sorted(ClientCount(each["_id"], each["count"]) for each in found)

    def present(self, clients: ClientRange) -> Iterator[bytes]:
        """See `GroupingServer.present`."""
        name = client_index_name(self._target)
        with reading(self._target):
            for attempt in attempts():
                with attempt:
                    # The first batch comes here; what is lost later is an error of the run, which can be continued.
                    cursor = self._target.find_raw_batches(
                        in_range(clients), hint=name, collation=SIMPLE, batch_size=_BATCH_SIZE
                    ).sort("clientId", 1)
                    batches = iter(cast("Iterator[bytes]", cursor))
                    batch = next(batches, None)
            while batch is not None:
                yield from split_batch(batch)
                batch = next(batches, None)

    def present_ids(self, clients: ClientRange, limit: int) -> Sequence[bytes]:
        """See `GroupingServer.present_ids`."""
        fields = {"_id": 1, "clientId": 1}
        with reading(self._target):
            for attempt in attempts():
                with attempt:
                    cursor = self._target.find_raw_batches(in_range(clients), fields, collation=SIMPLE)
                    batches = cast("Iterator[bytes]", cursor.sort("clientId", 1).limit(limit))
                    found = [raw for batch in batches for raw in split_batch(batch)]
        return found

    def merge(self, clients: ClientRange, wanted: Sequence[ClientCount], run_id: str) -> str | None:
        """See `GroupingServer.merge`. An aggregation whose outcome is not known is not sent again."""
        if not wanted:
            return None
        stages = pipeline(clients, wanted, self._rules, self._target.name)
        comment = mark(run_id, clients.first)
        try:
            self._source.aggregate(
                stages, hint=self._index(), collation=SIMPLE, allowDiskUse=True, comment=comment
            )
        except (ConnectionFailure, OperationFailure) as error:
            if is_transient(error):
                stop(self._target, comment)
                with reading(self._target):
                    for attempt in attempts():
                        with attempt:
                            settled(self._target)
                return "the connection was lost meanwhile"
            return server_text(error) if isinstance(error, OperationFailure) else type(error).__name__
        return None

    def scan(self, clients: ClientRange) -> Iterator[bytes]:
        """See `GroupingServer.scan`."""
        with reading(self._source):
            yield from find_documents(self._source, in_range(clients), by_client=True)

    def scan_clients(self, clients: Sequence[ObjectId]) -> Iterator[bytes]:
        """See `GroupingServer.scan_clients`."""
        with reading(self._source):
            yield from find_documents(self._source, any_of("clientId", clients), by_client=True)

    def scan_before(self) -> Iterator[bytes]:
        """See `GroupingServer.scan_before`."""
        return self._scan_part(largest=_FIRST)

    def scan_behind(self) -> Iterator[bytes]:
        """See `GroupingServer.scan_behind`."""
        return self._scan_part(least=_LAST)

    def _scan_part(self, least: ObjectId | None = None, largest: ObjectId | None = None) -> Iterator[bytes]:
        """The documents between two places of the index, whatever the types of their `clientId`."""
        # The driver's annotation of a place in an index knows orders and not values.
        cursor: Any = self._source.find_raw_batches(
            {}, hint=self._index(), collation=SIMPLE, batch_size=_BATCH_SIZE
        )
        if least is not None:
            cursor = cursor.min([("clientId", least)])
        if largest is not None:
            cursor = cursor.max([("clientId", largest)])
        with reading(self._source), cursor:
            for batch in cursor:
                yield from split_batch(batch)

    def _index(self) -> str:
        """The name of an index along which all documents stand in client order, or nothing."""
        if self._found_index is None:
            with reading(self._source):
                indexes = tried(lambda: list(self._source.list_indexes()))
            self._found_index = next((str(index["name"]) for index in indexes if _is_complete(index)), "")
        return self._found_index

    def _holds_arrays(self) -> bool:
        """Whether the index has ever held an array, so that a document may stand at several places of it."""
        with reading(self._source):
            asked = {"find": self._source.name, "filter": {}, "hint": self._index()}
            explained = tried(
                lambda: self._source.database.command("explain", asked, verbosity="queryPlanner")
            )
        marks = list(_values(explained, "isMultiKey"))
        return not marks or any(marks)


def _is_complete(index: Mapping[str, Any]) -> bool:
    return (
        dict(index["key"]) == {"clientId": 1}
        and not {"partialFilterExpression", "sparse", "hidden"} & {name for name in index if index[name]}
        and index.get("collation", {"locale": "simple"})["locale"] == "simple"
    )


def _values(document: Document | list[Any], name: str) -> Iterator[Any]:
    """The values of a field at every depth of a document."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if key == name:
            yield value
        elif isinstance(value, dict | list):
            yield from _values(value, name)
