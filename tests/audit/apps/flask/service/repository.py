"""All access to the collection of appointments."""

from __future__ import annotations

from typing import Any, Iterable

from bson import ObjectId
from pymongo import UpdateOne

from .extensions import mongo

OPEN = ("pending", "confirmed")


def collection(name: str = "bookings"):
    return mongo.db[name]


class Repository:
    def __init__(self, source=None):
        self._source = source if source is not None else collection("bookings")

    def of_expert(self, expert: str, *, state: str | None = None) -> Iterable[dict[str, Any]]:
        query: dict[str, Any] = {"expertId": ObjectId(expert)}
        if state is not None:
            query.update(status=state)
        yield from self._source.find(query, sort=[("scheduledDate", 1)])

    def get(self, key: str) -> dict[str, Any] | None:
        return self._source.find_one({"_id": ObjectId(key)})

    def confirm(self, keys: list[str]) -> int:
        writes = [
            UpdateOne({"_id": ObjectId(key)}, {"$set": {"status": "confirmed"}})
            for key in keys
        ]
        return self._source.bulk_write(writes).modified_count

    def busy(self, expert: str) -> bool:
        return self._source.count_documents({"expertId": ObjectId(expert), "status": {"$in": OPEN}}, limit=1) > 0

    def income(self) -> dict[str, float]:
        cursor = self._source.aggregate(
            [
                {"$match": {"paymentStatus": "paid"}},
                {"$addFields": {"month": {"$dateTrunc": {"date": "$scheduledDate", "unit": "month"}}}},
                {"$group": {"_id": "$month", "sum": {"$sum": "$price"}}},
            ]
        )
        return {str(row["_id"]): row["sum"] for row in cursor}
