"""A short cut for the usual booking: second generation, complete, flat, with ObjectIds.

Nearly all of a collection looks like this, and it can be converted by cutting its bytes along its layout
(`domain.bson_layout`), without decoding and encoding it. Whether a layout is usual is settled once; the values are checked
by the contract's own validator. Whenever in doubt, the answer is None and the thorough way (`Converter.convert`) decides; a
property test compares the two.
"""

import struct
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bson.objectid import ObjectId
from pydantic_core import SchemaValidator, ValidationError

from booking_migrate.domain.bson_layout import (
    DATE,
    NULL,
    NUMBERS,
    OBJECT_ID,
    STRING,
    Layout,
    Layouts,
    Values,
    values_at,
    whole_number,
)
from booking_migrate.domain.contract import FIELDS, RESERVED, Contract, FieldRule, Kind, Presence
from booking_migrate.domain.conversion import DROPPED, Session
from booking_migrate.domain.ids import session_object_id
from booking_migrate.domain.ordering import sort_key
from booking_migrate.domain.rejection import Reason

_UNFIT = frozenset({"sessions", *RESERVED})
_KINDS = {
    Kind.IDENTIFIER: frozenset({OBJECT_ID}),
    Kind.STRING: frozenset({STRING}),
    Kind.NUMBER: frozenset(NUMBERS),
    Kind.DATE: frozenset({DATE}),
}
_KEY_OF_OBJECT_ID = sort_key(ObjectId(bytes(12)))[:-12]
_FACTS = ("_id", "clientId", "clientUserId", "clientEmail", "createdAt", "updatedAt", "price", "currency")
_LENGTH = struct.Struct("<i")


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Where everything is in the bookings of one layout."""

    place: Mapping[str, int]
    """The place of each field's value."""

    client_id: int
    """The place of `clientId`."""

    kept: Callable[[Values], tuple[bytes, ...]]
    """What the session has of the booking."""

    facts: Callable[[Values], tuple[bytes, ...]]
    """The values of `_id`, `clientId`, `clientUserId`, `clientEmail`, `createdAt`, `updatedAt`, `price`, `currency`."""

    price_of: Callable[[bytes], Any]
    """Reads a price."""


UsualBooking = tuple[bytes, Plan, Values]
"""A booking's BSON and its parts: a plain tuple, because very many are made, and nothing of them is decoded."""


class UsualBookings:
    """Finds the usual bookings under one contract."""

    def __init__(self, contract: Contract, accepted: Container[Reason] = ()) -> None:
        """Take the contract.

        Args:
            contract: the values allowed.
            accepted: the value rules that are waived.
        """
        checks = {
            rule.name: partial(_keeps, contract.value_validator(rule, accepted))
            for rule in FIELDS
            if rule.kind in (Kind.STRING, Kind.NUMBER)
        }
        self.read: Callable[[bytes], UsualBooking | None] = Layouts(frozenset(DROPPED), _plan, checks).read
        """The parts of a document if it is a usual booking that keeps the contract, else None."""

    def convert(self, raw: bytes) -> Session | None:
        """Convert a booking if it is a usual one that keeps the contract, else None. `Session.fields` stays empty.

        Args:
            raw: the document's BSON bytes.
        """
        booking = self.read(raw)
        return None if booking is None else _session(booking)


def _keeps(validator: SchemaValidator, value: Any) -> bool:
    try:
        validator.validate_python(value)
    except ValidationError:
        return False
    return True


def _plan(layout: Layout) -> Plan | None:
    kinds, place = layout.kinds, layout.place
    if kinds.get("_id") != OBJECT_ID or not _UNFIT.isdisjoint(kinds):
        return None
    if any(not _is_usual(rule, kinds.get(rule.name)) for rule in FIELDS):
        return None
    facts = values_at([place[name] for name in _FACTS])
    return Plan(place, place["clientId"], values_at(layout.kept), facts, NUMBERS[kinds["price"]])


def _is_usual(rule: FieldRule, kind: int | None) -> bool:
    """Whether values of this BSON type may be checked here; absent and null count for optional fields only."""
    if kind is None or kind == NULL:
        return rule.presence is Presence.OPTIONAL
    return kind in _KINDS[rule.kind]


def _session(booking: UsualBooking) -> Session:
    raw, plan, values = booking
    legacy_id, client_id, user_id, email, created, updated, price, currency = plan.facts(values)
    return Session(
        session_bytes(booking, legacy_id),
        raw,
        ObjectId(legacy_id),
        _KEY_OF_OBJECT_ID + legacy_id,
        whole_number(created),
        whole_number(updated),
        ObjectId(client_id),
        user_id[4:-1].decode(),
        email[4:-1].decode(),
        plan.price_of(price),
        currency[4:-1].decode(),
    )


def session_bytes(booking: UsualBooking, legacy_id: bytes) -> bytes:
    """The session's BSON.

    Args:
        booking: the booking.
        legacy_id: its `_id`, twelve bytes.
    """
    _, plan, values = booking
    own = b"".join(plan.kept(values))
    return b"%b\x07sessionId\x00%b%b\x07legacyBookingId\x00%b\x00" % (
        _LENGTH.pack(len(own) + _FRAME),
        session_object_id(legacy_id),
        own,
        legacy_id,
    )


_FRAME = len(b"SIZE\x07sessionId\x00TWELVE BYTES\x07legacyBookingId\x00TWELVE BYTES\x00")
"""What a session has beyond what it has of the booking, in bytes."""
