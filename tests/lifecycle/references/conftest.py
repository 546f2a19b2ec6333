"""What the tests of references share: a shop whose other collections refer to bookings in every form."""

import json
from typing import Any
from uuid import UUID

import pytest
from bson.binary import Binary
from bson.dbref import DBRef
from bson.objectid import ObjectId
from pymongo.database import Database

from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]

BOOKINGS = 12
IDS = [booking(number)["_id"] for number in range(BOOKINGS)]
GONE = ObjectId("65f1a0000000000000ffffff")
"""The id of a booking that was deleted before."""


def other_id(number: int) -> ObjectId:
    """The id of something else."""
    return ObjectId(f"65f1b0{number:018x}")


@pytest.fixture
def shop(database: Db) -> Db:
    """Twelve bookings, and four collections that refer to them in eight forms, beside what only looks like that."""
    database.bookings.insert_many(map(booking, range(BOOKINGS)))
    database.payments.insert_many(
        [
            {
                "bookingId": each,
                "type": "booking" if number % 2 else "gift",
                "itemId": each if number % 2 else other_id(number),
                "payer": client(number % 4),
            }
            for number, each in enumerate(IDS)
        ]
        + [{"bookingId": GONE, "type": "gift", "itemId": other_id(99)}]
    )
    database.chats.insert_many(
        [
            {
                "about": {"bookings": [str(each), str(other_id(number))]},
                "lines": [{"text": f"See https://shop.example/bookings/{each}/edit."}, {"text": "Hello"}],
                "payload": json.dumps({"event": "booked", "booking": {"$oid": str(each)}}),
            }
            for number, each in enumerate(IDS)
        ]
    )
    database.reviews.insert_many([{"_id": each, "stars": 5} for each in IDS[:5]])
    database.calendar.insert_many(
        [
            {
                "entries": [{"ref": DBRef("bookings", each)}, {"ref": DBRef("users", client(0))}],
                "ids": [[each]],
            }
            for each in IDS
        ]
    )
    database.decoys.insert_many(
        [
            {"_id": other_id(200 + number), "sha1": f"{each}0011223344556677", "short": str(each)[:23],
             "session": Binary.from_uuid(UUID(int=number)), "bytes": each.binary, "owner": client(0)}
            for number, each in enumerate(IDS)
        ]
    )  # fmt: skip
    return database
