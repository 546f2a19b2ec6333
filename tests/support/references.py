"""Documents of other collections with references to bookings, in every form, and what they have to become."""

from collections.abc import Mapping
from typing import Any

import bson
from bson import DBRef, Int64
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.domain.ids import session_id
from tests.support.booking_lines import booking

Db = Database[dict[str, Any]]

FIELDS = (
    ("payments", "bookingId"),
    ("payments", "bookingIds"),
    ("payments", "items.bookingId"),
    ("payments", "hex"),
    ("payments", "url"),
    ("payments", "ref"),
    ("reviews", "meta.booking.id"),
    ("reviews", "ref.$id"),
    ("notes", "_id"),
    ("notes", "text"),
    ("events", "itemId"),
)
"""Collections and paths of the references."""


def old(number: int) -> ObjectId:
    """The `_id` of a booking."""
    found: ObjectId = booking(number)["_id"]
    return found


def new(number: int) -> ObjectId:
    """The `sessionId` that a booking has."""
    return session_id(old(number), 0)


def payment(number: int, of: Any = old) -> dict[str, Any]:
    """A document with six forms of references to bookings from a number on."""
    return {
        "_id": number,
        "amount": Int64(number),
        "bookingId": of(number),
        "bookingIds": [of(number), of(number + 1), ObjectId("0" * 24)],
        "items": [{"n": 1, "bookingId": of(number)}, {"n": 2}, {"n": 3, "bookingId": of(number + 2)}],
        "hex": str(of(number)),
        "url": f"https://shop.example/b/{of(number)}?next={of(number + 1)}",
        "ref": DBRef("bookings", of(number)),
        "note": str(old(number)),
    }


def review(number: int, of: Any = old) -> dict[str, Any]:
    """A document with a nested reference, and a DBRef with more fields."""
    return {
        "_id": f"review {number}",
        "meta": {"booking": {"id": of(number)}, "stars": 5},
        "ref": {"$ref": "bookings", "$id": of(number), "$db": "shop", "extra": 1},
    }


def note(number: int, of: Any = old) -> dict[str, Any]:
    """A document whose own `_id` is that of a booking."""
    return {"_id": of(number), "text": f"about {of(number)}", "n": number}


def event(number: int, of: Any = old) -> dict[str, Any]:
    """A document with a polymorphic reference: every other one is to something else, with an id that a booking has, too."""
    kind = "booking" if number % 2 == 0 else "invoice"
    return {"_id": number, "type": kind, "itemId": of(number) if kind == "booking" else old(number)}


MAKERS: Mapping[str, Any] = {"payments": payment, "reviews": review, "notes": note, "events": event}


def fill(database: Db, count: int) -> None:
    """Insert so many documents with references into each collection."""
    for name, make in MAKERS.items():
        database[name].insert_many([make(number) for number in range(count)])


def by_id(documents: Any) -> dict[Any, Any]:
    """Documents by their `_id`."""
    return {each["_id"]: each for each in documents}


def expected(count: int) -> dict[str, dict[Any, Any]]:
    """What the collections have to hold after a rewrite, by name."""
    # Through BSON, which makes an object of a DBRef.
    return {
        name: by_id(bson.decode(bson.encode(make(number, new))) for number in range(count))
        for name, make in MAKERS.items()
    }


def found(database: Db) -> dict[str, dict[Any, Any]]:
    """What the collections hold."""
    return {name: by_id(database[name].find()) for name in MAKERS}


def table(collection: str, field: str, **more: str) -> str:
    """A table of the config file."""
    lines = [
        f'collection = "{collection}"',
        f'field = "{field}"',
        *(f"{key} = {text}" for key, text in more.items()),
    ]
    return "\n".join(["[[references]]", *lines, ""])


def config() -> str:
    """The config file with all fields."""
    return "\n".join(
        table(name, path, **({"when": '{ type = "booking" }'} if name == "events" else {}))
        for name, path in FIELDS
    )
