"""Old bookings as lines of Extended JSON, for tests that run the program on files."""

import json
from typing import Any


def booking(number: int, **changes: Any) -> dict[str, Any]:
    """A sound booking of generation 2; bookings 4 apart are of one client."""
    return {
        "_id": {"$oid": f"65f1a0{number:018x}"},
        "clientId": {"$oid": f"65f0a0{number % 4:018x}"},
        "expertId": {"$oid": "65f0b0000000000000000001"},
        "clientUserId": "1234",
        "clientEmail": "client@example.org",
        "expertUserId": "4321",
        "expertEmail": "expert@example.org",
        "sessionType": "video",
        "duration": 60,
        "scheduledDate": {"$date": "2024-05-01T00:00:00Z"},
        "startTime": "9:00",
        "endTime": "10:00",
        "status": "completed",
        "price": 1500,
        "currency": "INR",
        "paymentStatus": "paid",
        "createdAt": {"$date": "2024-04-01T00:00:00Z"},
        "updatedAt": {"$date": "2024-04-02T00:00:00Z"},
        "__v": 0,
        **changes,
    }


def lines(*bookings: dict[str, Any]) -> str:
    """Bookings as JSON lines."""
    return "".join(f"{json.dumps(one)}\n" for one in bookings)


SOUND = lines(*map(booking, range(10)))
"""Ten bookings of four clients."""

MIXED = SOUND + lines(booking(10, currency="usd"), booking(11, duration=5), booking(12, clientId=None))
"""The same, and three that are rejected for three reasons, two of which can be waived."""
