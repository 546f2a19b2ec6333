"""Old bookings as lines of Extended JSON, for tests that run the program on files."""

from typing import Any

import bson
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC
from booking_migrate.stores.files.extended_json import to_json
from tests.support.bookings import a_booking

EXPERT = ObjectId("65f0b0000000000000000001")


def client(number: int) -> ObjectId:
    """The `_id` of a client."""
    return ObjectId(f"65f0a0{number:018x}")


def booking(number: int, **changes: Any) -> dict[str, Any]:
    """A booking that keeps the contract; bookings 4 apart are of one client."""
    own = {"_id": ObjectId(f"65f1a0{number:018x}"), "clientId": client(number % 4), "expertId": EXPERT}
    return a_booking(**{**own, **changes})


def lines(*documents: dict[str, Any]) -> str:
    """Documents as JSON lines."""
    return "".join(f"{to_json(bson.encode(document, codec_options=CODEC))}\n" for document in documents)


SOUND = lines(*map(booking, range(10)))
"""Ten bookings of four clients."""

MIXED = SOUND + lines(booking(10, currency="usd"), booking(11, duration=5), booking(12, clientId=None))
"""The same, and three that are rejected for three reasons, two of which can be waived."""
