import asyncio

from motor.motor_asyncio import AsyncIOMotorClient

store = AsyncIOMotorClient("mongodb://localhost").shop


async def expire(now):
    async for item in store.bookings.find({"status": "pending", "scheduledDate": {"$lt": now}}):
        await close(item, "system")


async def close(entry: dict, by: str) -> None:
    await store.bookings.update_one({"_id": entry["_id"]}, {"$set": {"status": "cancelled", "cancelledBy": by}})
    await notify(entry["clientEmail"], entry["startTime"], entry.get("meetingLink"))


async def notify(address, start, link) -> None:
    print(address, start, link)


async def prepare() -> None:
    await store.bookings.create_index([("expertId", 1), ("startTime", 1)], unique=True)
    await store.bookings.create_index("clientId")
    await store.tickets.create_index("status")


async def archive() -> None:
    payments = store.payments.aggregate(
        [
            {"$lookup": {"from": "bookings", "localField": "bookingId", "foreignField": "_id", "as": "b"}},
            {"$match": {"b.status": "completed", "status": "open"}},
        ]
    )
    async for payment in payments:
        print(payment["status"], payment["price"])


asyncio.run(prepare())
