from typing import Any, AsyncIterator, Generic, Protocol, TypedDict, TypeVar

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection

from .settings import settings

T = TypeVar("T")


class Record(TypedDict, total=False):
    _id: Any
    clientId: Any
    expertId: Any
    sessionType: str
    duration: int
    scheduledDate: Any
    startTime: str
    status: str
    price: float


class Store:
    name = "things"

    def __init__(self, client: AsyncIOMotorClient):
        self.rows = client["app"][self.name]

    async def by_id(self, key):
        return await self.rows.find_one({"_id": key})

    async def every(self, **criteria):
        return [row async for row in self.rows.find(criteria)]


class BookingStore(Store):
    name = "bookings"

    async def open(self, expert) -> list[Record]:
        return await self.rows.find({"expertId": expert, "status": "pending"}).to_list(100)

    async def touch(self, key, **changes):
        await self.rows.update_one({"_id": key}, {"$set": {**changes, "status": "confirmed"}})


class NewsStore(Store):
    name = "news"
