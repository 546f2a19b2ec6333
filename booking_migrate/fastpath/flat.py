"""Recognise flat bookings: second generation, complete, flat, with ObjectIds; and read them column by column.

Nearly all of a collection looks like this. Such a booking is converted by slicing its bytes along its layout (`bson.layout`),
without decoding it and without a step for each value. Whether a layout is flat is decided once; the values are checked by the
contract's own validator. A booking that is not certain to be flat is declined, and the reference path
(`domain.session.Converter`) converts it; a property test compares the two.
"""

import struct
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from bson.objectid import ObjectId
from pydantic_core import SchemaValidator, ValidationError

from booking_migrate.bson.document import NULL, OBJECT_ID
from booking_migrate.bson.layout import Column, Layout, LayoutCache, LayoutGroup, merge_columns
from booking_migrate.bson.order import OBJECT_ID_KEY
from booking_migrate.domain.contract import FIELDS, FLAT_TYPES, RESERVED, FieldRule, Kind, Presence
from booking_migrate.domain.ids import session_object_id
from booking_migrate.domain.rules import DEFAULT_RULES, Rules
from booking_migrate.domain.session import DROPPED, Session

_UNFIT = frozenset({"sessions", *RESERVED})
_NEEDED = ("_id", "clientId", "createdAt", "updatedAt")
_SIZE = struct.Struct("<i")


class FlatBookings(NamedTuple):
    """Flat bookings that keep the contract, in the order of their documents: one value of each in every column."""

    numbers: Sequence[int]
    """Their positions among all documents."""

    ids: Column
    """`_id`, twelve bytes."""

    clients: Column
    """`clientId`, twelve bytes."""

    owner_fields: Sequence[tuple[bytes, bytes, bytes]]
    """`clientUserId`, `clientEmail` and `currency`, as BSON has strings."""

    created: Sequence[int]
    """`createdAt`, in milliseconds since 1970."""

    updated: Sequence[int]
    """`updatedAt`, likewise."""

    prices: Sequence[Any]
    """`price`, decoded."""

    bodies: Column
    """What the session takes over from the booking, as BSON."""

    groups: Sequence[LayoutGroup]
    """The same bookings by layout, with the values of every wanted field."""


class FlatReader:
    """Recognises the flat bookings under one contract."""

    def __init__(self, rules: Rules = DEFAULT_RULES, wanted: Iterable[str] = ()) -> None:
        """Compile the checks of the contract.

        Args:
            rules: the contract, and what is waived of it.
            wanted: names of further fields whose values `FlatBookings.groups` must have.
        """
        checks = {
            rule.name: partial(_keeps, rules.contract.value_validator(rule, rules.accepted))
            for rule in FIELDS
            if rule.kind in (Kind.STRING, Kind.NUMBER)
        }
        self._layouts = LayoutCache(frozenset(DROPPED), _is_flat, checks, {*_NEEDED, *wanted})

    def read(self, raw: bytes, offsets: Sequence[int]) -> FlatBookings:
        """Return the flat bookings among documents.

        Args:
            raw: bytes in which the documents' BSON stands, one behind the other.
            offsets: where each of them begins, and where the last one ends.
        """
        groups = self._layouts.read(raw, offsets)
        several = [_columns(group) for group in groups]
        if len(several) == 1:
            return several[0]
        merged = merge_columns([columns[:-1] for columns in several] or [_NOTHING])
        return FlatBookings._make([*merged, groups])

    def convert(self, raw: bytes) -> Session | None:
        """Convert a booking if it is flat and keeps the contract; else return None. `Session.fields` stays empty.

        Args:
            raw: the document's BSON bytes.
        """
        flat = self.read(raw, (0, len(raw)))
        if not flat.numbers:
            return None
        user_id, email, currency = (value[4:-1].decode() for value in flat.owner_fields[0])
        legacy_id = flat.ids[0]
        return Session(
            session_bytes(flat.bodies[0], legacy_id),
            raw,
            ObjectId(legacy_id),
            OBJECT_ID_KEY + legacy_id,
            flat.created[0],
            flat.updated[0],
            ObjectId(flat.clients[0]),
            user_id,
            email,
            flat.prices[0],
            currency,
        )


_NOTHING = ((),) * (len(FlatBookings._fields) - 1)


def _keeps(validator: SchemaValidator, value: Any) -> bool:
    try:
        validator.validate_python(value)
    except ValidationError:
        return False
    return True


def _is_flat(layout: Layout) -> bool:
    kinds = layout.kinds
    is_fit = kinds.get("_id") == OBJECT_ID and _UNFIT.isdisjoint(kinds)
    return is_fit and all(_is_flat_kind(rule, kinds.get(rule.name)) for rule in FIELDS)


def _is_flat_kind(rule: FieldRule, kind: int | None) -> bool:
    """Return whether values of this BSON type are checked here; absent and null are fine for optional fields only."""
    if kind is None or kind == NULL:
        return rule.presence is Presence.OPTIONAL
    return kind in FLAT_TYPES[rule.kind]


def _columns(group: LayoutGroup) -> FlatBookings:
    """Return the columns of bookings of one layout."""
    of = group.values
    return FlatBookings(
        group.numbers,
        of("_id"),
        of("clientId"),
        list(zip(of("clientUserId"), of("clientEmail"), of("currency"), strict=True)),
        group.whole_numbers("createdAt"),
        group.whole_numbers("updatedAt"),
        group.decoded_numbers("price"),
        group.remainders(),
        (group,),
    )


def session_bytes(body: bytes, legacy_id: bytes) -> bytes:
    """Return a session's BSON.

    Args:
        body: what it takes over from the booking.
        legacy_id: the booking's `_id`, twelve bytes.
    """
    size = _SIZE.pack(len(body) + _FRAME)
    return b"".join((size, _SESSION_ID, session_object_id(legacy_id), body, _LEGACY_ID, legacy_id, b"\x00"))


_SESSION_ID, _LEGACY_ID = b"\x07sessionId\x00", b"\x07legacyBookingId\x00"
_FRAME = 4 + len(_SESSION_ID) + 12 + len(_LEGACY_ID) + 12 + 1
"""The bytes of a session beside its body."""
