"""A short cut for the usual booking: second generation, complete, flat, with ObjectIds.

Nearly all of a collection looks like this, and it can be converted by cutting its bytes along its layout
(`bson.layout`), without decoding and encoding it, and column by column, without a step for each value. Whether a layout
is usual is settled once; the values are checked by the contract's own validator. Whenever in doubt, a booking is left out and
the thorough way (`Converter.convert`) decides; a property test compares the two.
"""

import struct
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from bson.objectid import ObjectId
from pydantic_core import SchemaValidator, ValidationError

from booking_migrate.bson.layout import (
    DATE,
    NULL,
    NUMBERS,
    OBJECT_ID,
    STRING,
    Column,
    Layout,
    LayoutCache,
    LayoutGroup,
    merge_columns,
    numbers_of,
    whole_numbers_of,
)
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import FIELDS, RESERVED, Contract, FieldRule, Kind, Presence
from booking_migrate.domain.ids import session_object_id
from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.session import DROPPED, Session

_UNFIT = frozenset({"sessions", *RESERVED})
_KINDS = {
    Kind.IDENTIFIER: frozenset({OBJECT_ID}),
    Kind.STRING: frozenset({STRING}),
    Kind.NUMBER: frozenset(NUMBERS),
    Kind.DATE: frozenset({DATE}),
}
_KEY_OF_OBJECT_ID = sort_key(ObjectId(bytes(12)))[:-12]
_NEEDED = ("_id", "clientId", "createdAt", "updatedAt")
_SIZE = struct.Struct("<i")


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Where everything is in the bookings of one layout."""

    place: Mapping[str, int]
    """The places of the values; see `Layout.place`."""

    kept: tuple[int, ...]
    """The places of what the session has of the booking."""

    price: int
    """The BSON type byte of `price`."""


class FlatBookings(NamedTuple):
    """Usual bookings that keep the contract, in the order of their documents: for each of them a value in every column."""

    numbers: Sequence[int]
    """Which ones of all documents they are."""

    ids: Column
    """`_id`, twelve bytes."""

    clients: Column
    """`clientId`, twelve bytes."""

    whose: Sequence[tuple[bytes, bytes, bytes]]
    """`clientUserId`, `clientEmail` and `currency`, as BSON has strings."""

    created: Sequence[int]
    """`createdAt`, in milliseconds since 1970."""

    updated: Sequence[int]
    """`updatedAt`, likewise."""

    prices: Sequence[Any]
    """`price`, decoded."""

    own: Column
    """What the session has of the booking, as BSON."""

    alike: Sequence[LayoutGroup[Plan]]
    """The same bookings by layout, with all values."""


class FlatReader:
    """Finds the usual bookings under one contract."""

    def __init__(
        self, contract: Contract, accepted: Container[Reason] = (), wanted: Iterable[str] = ()
    ) -> None:
        """Take the contract.

        Args:
            contract: the values allowed.
            accepted: the value rules that are waived.
            wanted: names of fields whose values somebody wants to see in `FlatBookings.alike`.
        """
        checks = {
            rule.name: partial(_keeps, contract.value_validator(rule, accepted))
            for rule in FIELDS
            if rule.kind in (Kind.STRING, Kind.NUMBER)
        }
        self._layouts = LayoutCache(frozenset(DROPPED), _plan, checks, {*_NEEDED, *wanted})

    def read(self, raw: bytes, borders: Sequence[int]) -> FlatBookings:
        """The usual bookings among documents.

        Args:
            raw: bytes in which the documents' BSON stands, one behind the other.
            borders: where each of them begins, and where the last one ends.
        """
        alike = self._layouts.read(raw, borders)
        several = [_columns(each) for each in alike]
        if len(several) == 1:
            return several[0]
        merged = merge_columns([columns[:-1] for columns in several] or [_NOTHING])
        return FlatBookings._make([*merged, alike])

    def convert(self, raw: bytes) -> Session | None:
        """Convert a booking if it is a usual one that keeps the contract, else None. `Session.fields` stays empty.

        Args:
            raw: the document's BSON bytes.
        """
        usual = self.read(raw, (0, len(raw)))
        if not usual.numbers:
            return None
        user_id, email, currency = (value[4:-1].decode() for value in usual.whose[0])
        legacy_id = usual.ids[0]
        return Session(
            session_bytes(usual.own[0], legacy_id),
            raw,
            ObjectId(legacy_id),
            _KEY_OF_OBJECT_ID + legacy_id,
            usual.created[0],
            usual.updated[0],
            ObjectId(usual.clients[0]),
            user_id,
            email,
            usual.prices[0],
            currency,
        )


_NOTHING = ((),) * (len(FlatBookings._fields) - 1)


def _keeps(validator: SchemaValidator, value: Any) -> bool:
    try:
        validator.validate_python(value)
    except ValidationError:
        return False
    return True


def _plan(layout: Layout) -> Plan | None:
    kinds = layout.kinds
    if kinds.get("_id") != OBJECT_ID or not _UNFIT.isdisjoint(kinds):
        return None
    if any(not _is_flat_kind(rule, kinds.get(rule.name)) for rule in FIELDS):
        return None
    return Plan(layout.place, layout.kept, kinds["price"])


def _is_flat_kind(rule: FieldRule, kind: int | None) -> bool:
    """Whether values of this BSON type may be checked here; absent and null count for optional fields only."""
    if kind is None or kind == NULL:
        return rule.presence is Presence.OPTIONAL
    return kind in _KINDS[rule.kind]


def _columns(alike: LayoutGroup[Plan]) -> FlatBookings:
    """The columns of bookings of one layout."""
    plan, columns = alike.plan, alike.columns

    def of(name: str) -> Column:
        return columns[plan.place[name]]

    return FlatBookings(
        alike.numbers,
        of("_id"),
        of("clientId"),
        list(zip(of("clientUserId"), of("clientEmail"), of("currency"), strict=True)),
        whole_numbers_of(of("createdAt")),
        whole_numbers_of(of("updatedAt")),
        numbers_of(plan.price, of("price")),
        list(map(b"".join, zip(*[columns[place] for place in plan.kept], strict=True))),
        (alike,),
    )


def session_bytes(own: bytes, legacy_id: bytes) -> bytes:
    """The session's BSON.

    Args:
        own: what it has of the booking.
        legacy_id: the booking's `_id`, twelve bytes.
    """
    size = _SIZE.pack(len(own) + _FRAME)
    return b"".join((size, _SESSION_ID, session_object_id(legacy_id), own, _LEGACY_ID, legacy_id, b"\x00"))


_SESSION_ID, _LEGACY_ID = b"\x07sessionId\x00", b"\x07legacyBookingId\x00"
_FRAME = 4 + len(_SESSION_ID) + 12 + len(_LEGACY_ID) + 12 + 1
"""What a session has beyond what it has of the booking, in bytes."""
