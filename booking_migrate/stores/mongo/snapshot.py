"""Reading collections as they were at one cluster time (manual, reference/read-concern-snapshot)."""

from collections.abc import Iterator, Mapping
from typing import Any

from bson.timestamp import Timestamp
from pymongo.errors import OperationFailure

from booking_migrate.errors import UnusablePlace
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.raw import SIMPLE
from booking_migrate.stores.mongo.raw_cursor import RawCursor
from booking_migrate.stores.mongo.retry import attempts, is_transient

_BATCH_SIZE = 10_000
"""How many documents the server is asked for at a time; it sends fewer if they are large."""
_UNAVAILABLE = 246
"""SnapshotUnavailable: the collection was just changed as a whole, or the time is too long ago."""


def _is_passing_of_old(error: Exception) -> bool:
    return is_transient(error) and not (isinstance(error, OperationFailure) and error.code == _UNAVAILABLE)


class SnapshotFetch:
    """Fetches documents as a majority had them at a cluster time; it may be passed to any number of `MongoReader`.

    The server keeps history for five minutes by default (minSnapshotHistoryWindowInSeconds).
    """

    def __init__(self, time: Timestamp | None = None) -> None:
        """Take the time; it may be set later, before the first document is fetched."""
        self.time = time
        self.is_recent = True
        """Whether a snapshot that the server does not have now is waited for; one of the past does not come."""

    def __call__(
        self,
        collection: DriverCollection,
        condition: Mapping[str, Any],
        *,
        fields: Mapping[str, Any] | None = None,
        by_client: bool = False,
    ) -> Iterator[bytes]:
        """Yield the documents that meet a query; they are held in memory together.

        Raises:
            UnusablePlace: the time is of the past, and the server does not have it any more.
            PyMongoError: the server refuses it.
        """
        if self.time is None:
            raise RuntimeError("the time of the snapshot is not set")
        command = {
            "find": collection.name,
            "filter": condition,
            "projection": fields or {},
            "collation": SIMPLE.document,
            "batchSize": _BATCH_SIZE,
            "readConcern": {"level": "snapshot", "atClusterTime": self.time},
            **({"sort": {"clientId": 1}} if by_client else {}),
        }
        try:
            for attempt in attempts(is_transient if self.is_recent else _is_passing_of_old):
                with attempt, RawCursor(collection, command) as cursor:
                    found = [raw for batch in cursor for raw in batch]
        except OperationFailure as error:
            if self.is_recent or error.code != _UNAVAILABLE:
                raise
            raise UnusablePlace(collection.name, str(error)) from None
        yield from found
