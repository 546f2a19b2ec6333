"""The data of ``examples/``: made from a fixed seed, so that anybody can make it again byte for byte.

Run ``python -m tests.support.example_data`` to write it. What a migration makes of it (``examples/expected``) is
written by the program itself and read by a person before it is committed.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bson
from bson.datetime_ms import DatetimeMS
from bson.json_util import CANONICAL_JSON_OPTIONS, dumps
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC

EXAMPLES = Path(__file__).parents[2] / "examples"

CLIENTS, EXPERTS, BOOKINGS = 40, 8, 400
SEED = 20251123
FIRST_DAY = 1_704_067_200_000
"""2024-01-01 in milliseconds."""

DAY = 86_400_000
NAMES = (
    "amara", "bela", "chidi", "dana", "emil", "farah", "goran", "hana", "ivo", "jun", "kemal", "lena", "milan", "nia",
    "omar", "pia", "quinn", "rosa", "sami", "tara",
)  # fmt: skip
NOTES = (
    "Service: Resume Review",
    "First call — please be on time",
    "Vorstellungsgespräch üben",
    "面接の練習",
    None,
)

Document = dict[str, Any]


class ExampleData:
    """Users, experts and bookings of a small platform."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)
        self._counter = self._random.randrange(1 << 24)
        client_users = [self._user(number, "client") for number in range(CLIENTS)]
        expert_users = [self._user(number, "expert") for number in range(EXPERTS)]
        self.users = client_users + expert_users
        self.experts = [self._expert(user) for user in expert_users]
        self.bookings = [self._booking(client_users, expert_users, number) for number in range(BOOKINGS)]
        self._spoil()
        self._random.shuffle(self.bookings)

    def _object_id(self, milliseconds: int) -> ObjectId:
        self._counter = (self._counter + 1) % (1 << 24)
        seconds = milliseconds // 1000
        return ObjectId(seconds.to_bytes(4) + b"\xa4\xc0\xbf\x9e\xaa" + self._counter.to_bytes(3))

    def _user(self, number: int, role: str) -> Document:
        joined = FIRST_DAY - self._random.randrange(300) * DAY
        name = f"{NAMES[number % len(NAMES)]}{number // len(NAMES) + 1}"
        return {
            "_id": self._object_id(joined),
            "user_id": f"{self._random.randrange(10_000):04}",
            "email": f"{name}.{role}@example.com",
            "role": role,
        }

    def _expert(self, user: Document) -> Document:
        return {"_id": self._object_id(FIRST_DAY), "userId": user["_id"], "available": True}

    def _booking(self, clients: list[Document], experts: list[Document], number: int) -> Document:
        choose = self._random
        # The platform's second generation began in its second year.
        is_first_generation = number < BOOKINGS // 2
        created = FIRST_DAY + number * 2 * DAY + choose.randrange(DAY)
        client = clients[min(int(choose.expovariate(0.08)), CLIENTS - 1)]
        place = choose.randrange(EXPERTS)
        start, duration = choose.randrange(8, 19), choose.choice((30, 45, 60, 90))
        booking: Document = {
            "_id": self._object_id(created),
            "clientId": client["_id"],
            "expertId": self.experts[place]["_id"],
        }
        if not is_first_generation:
            booking |= {
                "clientUserId": client["user_id"],
                "expertUserId": experts[place]["user_id"],
                "clientEmail": client["email"],
                "expertEmail": experts[place]["email"],
            }
        status = choose.choice(("pending", "confirmed", "completed", "completed", "cancelled", "no-show"))
        end = start * 60 + duration
        booking |= {
            "sessionType": choose.choice(("video", "audio", "chat", "in-person")),
            "duration": duration,
            "scheduledDate": DatetimeMS(created - created % DAY + choose.randrange(1, 30) * DAY),
            "startTime": f"{start}:00",
            "endTime": f"{end // 60:02}:{end % 60:02}",
            "status": status,
            "price": self._price(is_first_generation),
            "currency": choose.choice(("USD", "EUR", "GBP")) if is_first_generation else "INR",
            "paymentStatus": {"completed": "paid", "cancelled": "refunded"}.get(status, "pending"),
        }
        notes = choose.choice(NOTES)
        if notes is not None:
            booking["notes"] = notes
        if status == "cancelled":
            booking |= {
                "cancellationReason": "Something came up",
                "cancelledBy": choose.choice(("client", "expert", "system")),
                "cancellationTime": DatetimeMS(created + DAY),
                "refundAmount": booking["price"],
            }
        changed = created + choose.randrange(DAY)
        return booking | {"createdAt": DatetimeMS(created), "updatedAt": DatetimeMS(changed), "__v": 0}

    def _price(self, is_first_generation: bool) -> float:
        if is_first_generation:
            return self._random.choice((19.99, 24.5, 35.0, 42.75))
        return self._random.choice((500, 750, 1200, 2000))

    def _spoil(self) -> None:
        """Seven bookings that must be rejected, each for another reason."""
        first, *_, last = self.bookings
        self.bookings[15]["clientId"] = ObjectId("65a000000000000000000404")
        self.bookings[230]["currency"] = "inr"
        self.bookings[245]["duration"] = 10
        self.bookings[260]["clientId"] = None
        self.bookings[275]["startTime"] = "25:00"
        self.bookings[290]["price"] = -500
        del self.bookings[305]["expertId"]
        # Two that look odd and are fine: absent states, and an absent time that the id knows.
        del first["status"]
        del last["updatedAt"]


def reference_booking() -> Document:
    """The old booking behind the client document that the description of the new structure shows."""
    created = DatetimeMS(1_756_765_143_359)
    return {
        "_id": ObjectId("68b61bd7a4c0bf9eaab38ee5"),
        "clientId": ObjectId("68b6134f8e21e1ae686349f7"),
        "expertId": ObjectId("68b0daa5349f0802590e2755"),
        "clientUserId": "9062",
        "expertUserId": "1534",
        "clientEmail": "test0209@gmail.com",
        "expertEmail": "megha@confiido.com",
        "sessionType": "chat",
        "duration": 30,
        "scheduledDate": DatetimeMS(1_756_425_600_000),
        "startTime": "12:30",
        "endTime": "13:00",
        "status": "pending",
        "price": 20,
        "currency": "INR",
        "paymentStatus": "pending",
        "notes": "Service: Resume Review",
        "createdAt": created,
        "updatedAt": created,
        "__v": 0,
    }


def as_json_lines(documents: Iterable[Document]) -> bytes:
    """Documents as canonical Extended JSON lines."""
    return "".join(f"{dumps(one, json_options=CANONICAL_JSON_OPTIONS)}\n" for one in documents).encode()


def as_bson(documents: Iterable[Document]) -> bytes:
    """Documents as a BSON dump."""
    return b"".join(bson.encode(one, codec_options=CODEC) for one in documents)


def example_files() -> dict[str, bytes]:
    """Every generated file of ``examples/`` with its content."""
    data = ExampleData()
    collections = {"bookings": data.bookings, "users": data.users, "experts": data.experts}
    files = {f"{name}.jsonl": as_json_lines(documents) for name, documents in collections.items()}
    files |= {f"{name}.bson": as_bson(documents) for name, documents in collections.items()}
    return files | {"reference_booking.jsonl": as_json_lines([reference_booking()])}


if __name__ == "__main__":
    for name, content in example_files().items():
        (EXAMPLES / name).write_bytes(content)
