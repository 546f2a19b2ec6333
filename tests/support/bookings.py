"""Old bookings for tests: a right one, and ways to change it."""

from typing import Any

import bson
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.rejection import Fault, Rejection
from booking_migrate.domain.rules import Rules
from booking_migrate.domain.session import Converter, People, Session, read_booking

CLIENT = ObjectId("68b6134f8e21e1ae686349f7")
EXPERT = ObjectId("68b0daa5349f0802590e2755")
BOOKING = ObjectId("68b61bd7a4c0bf9eaab38ee5")
DAY = 86_400_000
"""A day in milliseconds."""

ABSENT = object()
"""As a change: the field is taken away."""

BREAKING: dict[str, Any] = {
    "clientUserId": "906",
    "clientEmail": "nowhere",
    "expertUserId": "153a",
    "expertEmail": "a@b",
    "sessionType": "fax",
    "duration": 14,
    "startTime": "24:00",
    "endTime": "9:60",
    "status": "lost",
    "price": -1,
    "currency": "Rupees",
    "paymentStatus": "open",
    "notes": "x" * 1001,
    "cancellationReason": "x" * 501,
    "cancelledBy": "chance",
    "refundAmount": -0.5,
}
"""A value for each field with rules, which is of the right type and breaks one of them."""


def a_booking(**changes: Any) -> dict[str, Any]:
    """A booking of the second generation that keeps the contract, with some fields changed, added or `ABSENT`."""
    booking: dict[str, Any] = {
        "_id": BOOKING,
        "clientId": CLIENT,
        "expertId": EXPERT,
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
        "createdAt": DatetimeMS(1_756_765_143_359),
        "updatedAt": DatetimeMS(1_756_765_143_359),
        "__v": 0,
    }
    booking.update(changes)
    return {name: value for name, value in booking.items() if value is not ABSENT}


def raw(**changes: Any) -> bytes:
    """The BSON bytes of `a_booking`."""
    return bson.encode(a_booking(**changes), codec_options=CODEC)


def convert(
    people: People | None = None, contract: Contract | None = None, **changes: Any
) -> Session | Rejection:
    """What becomes of `a_booking`."""
    converter = Converter(Rules(contract or Contract()))
    return converter.convert(read_booking(raw(**changes)), people or People())


def session_of(people: People | None = None, **changes: Any) -> Session:
    """The session that `a_booking` becomes; fails if it is rejected."""
    result = convert(people, **changes)
    assert isinstance(result, Session), result
    return result


def faults_of(people: People | None = None, contract: Contract | None = None, **changes: Any) -> list[Fault]:
    """Why `a_booking` is rejected; fails if it is not."""
    result = convert(people, contract, **changes)
    assert isinstance(result, Rejection), result
    return list(result.faults)


def decoded(document: bytes) -> dict[str, Any]:
    """A document with dates as milliseconds."""
    return bson.decode(document, CODEC)
