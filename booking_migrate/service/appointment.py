"""A new session: what the expert offers, what the client requests, and whether the result keeps the contract."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bson import encode
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC, Document
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.booking import People, Person, read_booking
from booking_migrate.domain.client_document import total
from booking_migrate.domain.contract import DEFAULT_STATUS
from booking_migrate.domain.ids import client_document_id
from booking_migrate.domain.rejection import Rejection
from booking_migrate.domain.session import Converter
from booking_migrate.service.errors import NotBookable
from booking_migrate.service.timetable import DAY, MINUTES_A_DAY, Slot, minutes_of, slot_of, time_at


@dataclass(frozen=True, slots=True)
class OfferFields:
    """The fields of experts that hold what they offer."""

    available: str = "available"
    """A boolean; an expert without it is available."""

    session_types: str = "sessionTypes"
    """An array of ``{type, price, currency}``; ``currency`` may be absent."""

    currency: str = "INR"
    """The currency of prices without one."""


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a session of one type, independent of its duration."""

    amount: Any
    """A BSON number, in its own type."""

    currency: Any


@dataclass(frozen=True, slots=True)
class Expert:
    """The part of an expert that a booking depends on."""

    expert_id: Any
    user_id: Any
    """The `_id` of its user, decoded; None if it has no user."""

    is_available: bool
    prices: Mapping[str, Price] = field(default_factory=dict)
    """By session type."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The session that a client requests."""

    session_type: str
    duration: int
    """Minutes."""

    scheduled_date: int
    """Milliseconds since 1970."""

    start_time: str
    notes: str | None = None

    @property
    def end_time(self) -> str:
        """Return its end as ``HH:MM``; an end not after the start is on the next day."""
        return time_at(minutes_of(self.start_time) + self.duration)

    @property
    def slot(self) -> Slot:
        """Return the time that it occupies."""
        return slot_of(self.scheduled_date, self.start_time, self.end_time)


def read_expert(document: Mapping[str, Any], user_field: str, fields: OfferFields) -> Expert:
    """Read an expert's document; session types without a name are ignored."""
    offered = document.get(fields.session_types)
    offers = [one for one in offered if isinstance(one, dict)] if isinstance(offered, list) else []
    return Expert(
        expert_id=document["_id"],
        user_id=document.get(user_field),
        is_available=document.get(fields.available, True) is True,
        prices={
            one["type"]: Price(one.get("price"), one.get("currency", fields.currency))
            for one in offers
            if isinstance(one.get("type"), str)
        },
    )


def check_offer(expert: Expert, wish: Wish, client_id: Any) -> Price:
    """Check that the client can book the requested session, and return its price.

    Raises:
        NotBookable: the client is the expert, or the expert is not available or does not offer it.
    """
    if expert.user_id is not None and sort_key(expert.user_id) == sort_key(client_id):
        raise NotBookable("expertId", "you cannot book a session with yourself")
    if not expert.is_available:
        raise NotBookable("expertId", "the expert is not available")
    price = expert.prices.get(wish.session_type)
    if price is None:
        raise NotBookable("sessionType", "the expert does not offer this type of session")
    if wish.duration > MINUTES_A_DAY:
        raise NotBookable("duration", f"a session takes at most {MINUTES_A_DAY} minutes")
    return price


@dataclass(frozen=True, slots=True)
class Appointment:
    """A session that passed all checks, ready to be written."""

    client: Document
    """`clientId`, `clientUserId`, `clientEmail`."""

    session: Document
    slot: Slot
    now: int
    """The time of the booking, in milliseconds since 1970."""

    @property
    def date(self) -> int:
        """Return its `scheduledDate` in milliseconds since 1970."""
        return int(self.session["scheduledDate"])

    def new_document(self) -> Document:
        """Return the client's document for a first session."""
        return {
            "_id": client_document_id(self.client["clientId"]),
            **self.client,
            "sessions": [self.session],
            "totalSessions": 1,
            "totalSpent": total([self.session["price"]]),
            "createdAt": DatetimeMS(self.now),
            "updatedAt": DatetimeMS(self.now),
        }


def appoint(
    wish: Wish,
    price: Price,
    *,
    expert_id: Any,
    expert: Person | None,
    client_id: Any,
    client: Person,
    converter: Converter,
    now: int,
) -> Appointment:
    """Build the session and check it as a migration checks an old booking, so that every session keeps the contract.

    Args:
        wish: the requested session.
        price: its price.
        expert_id: the expert's `_id`, decoded.
        expert: the expert's user; None if it does not exist, and then the expert cannot be booked.
        client_id: the client's user's `_id`, decoded.
        client: the client's user.
        converter: converts and checks by the contract.
        now: the time, in milliseconds since 1970.

    Raises:
        NotBookable: it violates the contract; the first field at fault is named.
    """
    if expert is None:
        raise NotBookable("expertId", "the expert is not a user of the platform")
    details: Document = {
        "expertId": expert_id,
        "expertUserId": expert.user_id,
        "expertEmail": expert.email,
        "sessionType": wish.session_type,
        "duration": wish.duration,
        "scheduledDate": DatetimeMS(wish.scheduled_date // DAY * DAY),
        "startTime": time_at(minutes_of(wish.start_time)),
        "endTime": wish.end_time,
        "status": DEFAULT_STATUS,
        "price": price.amount,
        "currency": price.currency,
        "paymentStatus": DEFAULT_STATUS,
        **({} if wish.notes is None else {"notes": wish.notes}),
        "createdAt": DatetimeMS(now),
        "updatedAt": DatetimeMS(now),
    }
    owner: Document = {
        "clientId": client_id,
        "clientUserId": client.user_id,
        "clientEmail": client.email,
    }
    session_id = ObjectId()
    raw = encode({"_id": session_id, **owner, **details}, codec_options=CODEC)
    checked = converter.convert(read_booking(raw), People())
    if isinstance(checked, Rejection):
        fault = checked.faults[0]
        raise NotBookable(fault.field or "expertId", f"{fault.field}: {fault.detail}")
    return Appointment(owner, {"sessionId": session_id, **details}, wish.slot, now)
