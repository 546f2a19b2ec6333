"""What else could be done with a million bookings, each written as its friends would write it.

None of them checks the contract, keeps what is rejected, notes anything down or can be undone; they are here for their speed.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from time import perf_counter
from typing import Any, cast

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

Db = Database[dict[str, Any]]
Stage = Mapping[str, Any]

TARGET = "clients"
SAMPLE = 1000
"""How many clients the loop is measured with; the rest is multiplied."""

_FIELDS = (
    "expertId", "expertUserId", "expertEmail", "sessionType", "duration", "scheduledDate", "startTime", "endTime",
    "status", "price", "currency", "paymentStatus", "notes", "createdAt", "updatedAt",
)  # fmt: skip
_MERGE: Stage = {"$merge": {"into": TARGET, "on": "_id"}}
_TOTALS: Stage = {
    "clientId": {"$first": "$clientId"},
    "clientUserId": {"$last": "$clientUserId"},
    "clientEmail": {"$last": "$clientEmail"},
    "totalSessions": {"$sum": 1},
    "totalSpent": {"$sum": "$price"},
    "createdAt": {"$min": "$createdAt"},
    "updatedAt": {"$max": "$updatedAt"},
}
_IN_ORDER: Stage = {"$sort": {"clientId": 1, "createdAt": 1}}


def copy_on_the_server(database: Db) -> float:
    """The server copies the collection as it is. Seconds."""
    return _aggregated(database, [{"$out": TARGET}])


def copy_through_a_client(database: Db) -> float:
    """A client reads the collection as bytes and inserts them as they are. Seconds."""
    began = perf_counter()
    target = _bookings(database).database[TARGET].with_options(write_concern=WriteConcern("majority"))
    batches = cast("Any", _bookings(database).find_raw_batches({}, batch_size=10_000))
    for batch in batches:
        documents = bson.decode_all(batch, bson.CodecOptions(document_class=RawBSONDocument))
        target.insert_many(cast("Any", documents), ordered=False)
    return perf_counter() - began


def aggregate_whole(database: Db) -> float:
    """One aggregation that collects whole bookings. Seconds."""
    group = {"$group": {"_id": "$clientId", "sessions": {"$push": "$$ROOT"}, **_TOTALS}}
    dropped = [f"sessions.{name}" for name in ("clientId", "clientUserId", "clientEmail", "__v")]
    return _aggregated(database, [_IN_ORDER, group, {"$unset": dropped}, _MERGE])


def aggregate_named(database: Db) -> float:
    """The aggregation that most people write, which names each field. Seconds."""
    session = {"legacyBookingId": "$_id", **{name: f"${name}" for name in _FIELDS}}
    group = {"$group": {"_id": "$clientId", "sessions": {"$push": session}, **_TOTALS}}
    return _aggregated(database, [_IN_ORDER, group, _MERGE])


def loop(database: Db) -> float:
    """A loop over the clients that finds, builds and inserts. Seconds for all of them, by a sample."""
    bookings, target = _bookings(database), database[TARGET]
    clients: Sequence[Any] = bookings.distinct("clientId")
    began = perf_counter()
    for client in islice(clients, SAMPLE):
        found = list(bookings.find({"clientId": client}).sort("createdAt", 1))
        sessions = [
            {"legacyBookingId": booking["_id"], **{name: booking.get(name) for name in _FIELDS}}
            for booking in found
        ]
        target.insert_one(
            {
                "clientId": client,
                "clientUserId": found[-1]["clientUserId"],
                "clientEmail": found[-1]["clientEmail"],
                "sessions": sessions,
                "totalSessions": len(sessions),
                "totalSpent": sum(booking["price"] for booking in found),
                "createdAt": min(booking["createdAt"] for booking in found),
                "updatedAt": max(booking["updatedAt"] for booking in found),
            }
        )
    return (perf_counter() - began) * max(1.0, len(clients) / SAMPLE)


def _bookings(database: Db) -> Collection[dict[str, Any]]:
    return database["bookings"].with_options(write_concern=WriteConcern("majority"))


def _aggregated(database: Db, stages: Sequence[Stage]) -> float:
    began = perf_counter()
    _bookings(database).aggregate(list(stages), allowDiskUse=True)
    return perf_counter() - began
