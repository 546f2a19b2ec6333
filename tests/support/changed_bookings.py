"""What an application does to bookings after `migrate`: each kind of change, also all of them side by side."""

from collections.abc import Callable, Sequence
from typing import Any

from bson.datetime_ms import DatetimeMS
from pymongo.database import Database

from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Change = Callable[[Db, int], None]
CLIENTS = 4


def change(database: Db, first: int = 0) -> None:
    """Set a field of one booking, as an application does."""
    database.bookings.update_one(
        {"_id": booking(first + 5)["_id"]}, {"$set": {"status": "cancelled", "price": 7}}
    )


def retype(database: Db, first: int = 0) -> None:
    """Give a price another BSON type."""
    database.bookings.update_one(
        {"_id": booking(first + 5)["_id"]}, [{"$set": {"price": {"$toDecimal": "$price"}}}]
    )


def delete(database: Db, first: int = 0) -> None:
    """Delete one booking of a client that has others."""
    database.bookings.delete_one({"_id": booking(first + 5)["_id"]})


def delete_client(database: Db, first: int = 0) -> None:
    """Delete all bookings of a client."""
    database.bookings.delete_many({"clientId": client(first + 1)})


def move(database: Db, first: int = 0) -> None:
    """Move a booking to another client."""
    database.bookings.update_one(
        {"_id": booking(first + 5)["_id"]}, {"$set": {"clientId": client(first + 2)}}
    )


def move_to_nobody_known(database: Db, first: int = 0) -> None:
    """Move all bookings of a client to one that had none."""
    database.bookings.update_many({"clientId": client(first + 1)}, {"$set": {"clientId": client(first + 90)}})


def insert(database: Db, first: int = 0) -> None:
    """Add bookings: of a known client, earlier than its others, and of a new one."""
    database.bookings.insert_many(
        [
            booking(first + 51, clientId=client(first + 1), createdAt=DatetimeMS(10**12)),
            booking(first + 50, clientId=client(first + 50)),
        ]
    )


def spoil(database: Db, first: int = 0) -> None:
    """Make a booking of a client break the contract, so that it has to be rejected from now on."""
    database.bookings.update_one({"_id": booking(first + 5)["_id"]}, {"$set": {"duration": 5}})


def spoil_client(database: Db, first: int = 0) -> None:
    """Make all bookings of a client break the contract."""
    database.bookings.update_many({"clientId": client(first + 1)}, {"$set": {"duration": 5}})


SOUND: list[Change] = [change, retype, delete, delete_client, move, move_to_nobody_known, insert]
SPOILED: list[Change] = [spoil, spoil_client]
EVERYTHING = [*SOUND, *SPOILED]
BEHIND: dict[Change, int] = {
    **dict.fromkeys(EVERYTHING, 1),
    **dict.fromkeys((move, move_to_nobody_known, insert), 2),
}
"""How many clients are behind when it has happened."""

SPREAD = 100
"""How far the clients and bookings of one change are from those of the next."""

FEW = 12
"""How many bookings of four clients each change has for itself."""


def fill_for_each(database: Db, changes: Sequence[Change]) -> None:
    """Store bookings for each change, of clients of its own."""
    database.bookings.insert_many(
        booking(first + number, clientId=client(first + number % CLIENTS))
        for first in range(0, SPREAD * len(changes), SPREAD)
        for number in range(FEW)
    )


def make_each(database: Db, changes: Sequence[Change]) -> None:
    """Make each change among the bookings that are there for it."""
    for number, act in enumerate(changes):
        act(database, number * SPREAD)
