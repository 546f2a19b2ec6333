"""Two collections of one database as a `GroupingServer`."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from bson.objectid import ObjectId
from pymongo.errors import ConnectionFailure, OperationFailure

from booking_migrate.stores.grouping import ClientCount, ClientRange, PlainRules
from booking_migrate.stores.mongo.administration import collation_of
from booking_migrate.stores.mongo.client_index import client_index_name
from booking_migrate.stores.mongo.client_ranges import Address, ClientRanges, in_range
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import reading, server_text
from booking_migrate.stores.mongo.operations import mark, stop
from booking_migrate.stores.mongo.plain_clients import pipeline
from booking_migrate.stores.mongo.raw import SIMPLE, any_of
from booking_migrate.stores.mongo.retry import attempts, is_transient, settled, tried
from booking_migrate.stores.mongo.scan import find_packed
from booking_migrate.stores.packed import Packed, Piece, split

_OLDEST = (6, 0)
"""The first version whose aggregations have everything that is needed (``$sortArray`` is of 5.2)."""

_BATCH_SIZE = 1000


class MongoGrouping:
    """See `GroupingServer` for the promises. Ranges are found in the source's index on `clientId`."""

    def __init__(
        self, source: DriverCollection, target: DriverCollection, rules: PlainRules, address: Address
    ) -> None:
        """Take the parts.

        Args:
            source: the bookings.
            target: where the client documents go; in the same database.
            rules: what a plain client keeps.
            address: where the bookings are, for other processes.
        """
        self._source = source
        self._target = target
        self._rules = rules
        self._cut = ClientRanges(source, address)

    def obstacle(self) -> str | None:
        """See `GroupingServer.obstacle`."""
        with reading(self._source):
            version = tried(lambda: self._source.database.command("buildInfo"))["version"]
        if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
            return f"the server is version {version}, and its aggregations cannot do it before 6.0"
        listed = describe(self._target)
        if listed is not None and listed["type"] != "collection":
            return f"{self._target.name} is a {listed['type']}"
        # A target that is not there yet gets the default collation of the source.
        if collation_of((listed or describe(self._source) or {}).get("options", {})) is not None:
            return "the target has a default collation, and $merge needs an index on _id that compares bytes"
        return self._cut.obstacle()

    def ranges(self, bookings: int, first: ObjectId | None = None) -> Iterator[ClientRange]:
        """See `GroupingServer.ranges`."""
        return self._cut.ranges(bookings, first)

    def clients(self, clients: ClientRange) -> Sequence[ClientCount]:
        """See `GroupingServer.clients`. The server reads nothing but the index."""
        stages: list[dict[str, Any]] = [
            {"$match": in_range(clients)},
            {"$group": {"_id": "$clientId", "count": {"$sum": 1}}},
        ]
        with reading(self._source):
            for attempt in attempts():
                with attempt:
                    found = list(self._source.aggregate(stages, hint=self._cut.index(), collation=SIMPLE))
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
                yield from split(batch).documents()
                batch = next(batches, None)

    def present_ids(self, clients: ClientRange, limit: int) -> Sequence[bytes]:
        """See `GroupingServer.present_ids`."""
        fields = {"_id": 1, "clientId": 1}
        with reading(self._target):
            for attempt in attempts():
                with attempt:
                    cursor = self._target.find_raw_batches(in_range(clients), fields, collation=SIMPLE)
                    batches = cast("Iterator[bytes]", cursor.sort("clientId", 1).limit(limit))
                    found = [raw for batch in batches for raw in split(batch).documents()]
        return found

    def merge(self, clients: ClientRange, wanted: Sequence[ClientCount], run_id: str) -> str | None:
        """See `GroupingServer.merge`. An aggregation whose outcome is not known is not sent again."""
        if not wanted:
            return None
        stages = pipeline(clients, wanted, self._rules, self._target.name)
        comment = mark(run_id, clients.first)
        try:
            self._source.aggregate(
                stages, hint=self._cut.index(), collation=SIMPLE, allowDiskUse=True, comment=comment
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

    def scan(self, clients: ClientRange) -> Iterator[Packed]:
        """See `GroupingServer.scan`."""
        with reading(self._source):
            yield from find_packed(self._source, in_range(clients))

    def piece(self, clients: ClientRange, documents: int) -> Piece:
        """See `GroupingServer.piece`."""
        return self._cut.piece(clients, documents)

    def scan_clients(self, clients: Sequence[ObjectId]) -> Iterator[Packed]:
        """See `GroupingServer.scan_clients`."""
        with reading(self._source):
            yield from find_packed(self._source, any_of("clientId", clients))

    def scan_before(self) -> Iterator[Packed]:
        """See `GroupingServer.scan_before`."""
        return self._cut.scan_before()

    def scan_behind(self) -> Iterator[Packed]:
        """See `GroupingServer.scan_behind`."""
        return self._cut.scan_behind()
