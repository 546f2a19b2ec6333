from collections import Counter, defaultdict

from app.database import get_database
from app.models import BookingOut


class Statistics:
    def __init__(self) -> None:
        self.rows = get_database().get_collection("bookings")
        self.tickets = get_database()["tickets"]

    def revenue(self, expert_id):
        pipeline = [
            {"$match": {"expertId": expert_id, "paymentStatus": "paid"}},
            {"$group": {"_id": "$currency", "total": {"$sum": "$price"}}},
            {"$sort": {"total": -1}},
        ]
        return {row["_id"]: row["total"] for row in self.rows.aggregate(pipeline)}

    def by_status(self) -> Counter:
        return Counter(row["status"] for row in self.rows.find({}, {"status": 1}))

    def kinds(self):
        return self.rows.distinct("sessionType", {"status": "completed"})

    def hours(self) -> dict:
        sums = defaultdict(float)
        for row in self.rows.find():
            sums[row["expertId"]] += row.get("duration", 0) / 60
        return sums

    def tickets_by_status(self):
        return Counter(each["status"] for each in self.tickets.find())


def summary(entries: list[BookingOut]) -> str:
    latest = max(entries, key=lambda entry: entry.scheduled_date)
    open_ones = [entry for entry in entries if entry.status == "pending"]
    return f"{len(entries)} in all, {len(open_ones)} open, last at {latest.start_time}"
