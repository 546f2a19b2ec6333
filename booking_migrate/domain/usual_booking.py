"""A short cut for the usual booking: second generation, complete, flat, with ObjectIds.

Nearly all of a collection looks like this, and it can be converted by cutting its bytes along its layout
(`domain.bson_layout`), without decoding and encoding it. Whether a layout is usual is settled once; the values are checked
by the contract's own validator, and those that keep it are remembered, since most come again and again. Whenever in doubt,
the answer is None and the thorough way (`Converter.convert`) decides; a property test compares the two.
"""

import struct
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

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
    text_of,
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
_REMEMBERED, _LONGEST_REMEMBERED = 5000, 64
"""How many values of a field are remembered, and up to which length."""

_LENGTH = struct.Struct("<i")


class _Rule(NamedTuple):
    """A field whose values are checked."""

    place: int
    read: Callable[[bytes], Any]
    validator: SchemaValidator
    kept: set[bytes]
    """Values that keep the contract."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where everything is in the bookings of one layout."""

    rules: tuple[_Rule, ...]
    known: tuple[set[bytes], ...]
    """For each of them the values that keep the contract, so that most bookings take one call."""

    checked: Callable[[Values], Sequence[bytes]]
    kept: tuple[int, ...]
    """What the session has of the booking."""

    facts: Callable[[Values], tuple[bytes, ...]]
    """The values of `_id`, `clientId`, `clientUserId`, `clientEmail`, `createdAt`, `updatedAt`, `price`, `currency`."""

    price_of: Callable[[bytes], Any]


_FACTS = ("_id", "clientId", "clientUserId", "clientEmail", "createdAt", "updatedAt", "price", "currency")


class UsualConverter:
    """Converts usual bookings under one contract."""

    def __init__(self, contract: Contract, accepted: Container[Reason] = ()) -> None:
        """Take the contract.

        Args:
            contract: the values allowed.
            accepted: the value rules that are waived.
        """
        self._contract = contract
        self._accepted = accepted
        self._kept: dict[tuple[str, int], set[bytes]] = {}
        self._layouts = Layouts(frozenset(DROPPED), self._plan)

    def convert(self, raw: bytes) -> Session | None:
        """Convert a booking if it is a usual one that keeps the contract, else None. `Session.fields` stays empty.

        Args:
            raw: the document's BSON bytes.
        """
        found = self._layouts.read(raw)
        if found is None:
            return None
        plan, values = found
        known = map(set.__contains__, plan.known, plan.checked(values))
        if not all(known) and not _keeps_contract(plan, values):
            return None
        return _session(raw, plan, values)

    def _plan(self, layout: Layout) -> _Plan | None:
        kinds, place = layout.kinds, layout.place
        if kinds.get("_id") != OBJECT_ID or not _UNFIT.isdisjoint(kinds):
            return None
        if any(not _is_usual(rule, kinds.get(rule.name)) for rule in FIELDS):
            return None
        rules = tuple(
            self._rule(rule, kinds[rule.name], place[rule.name])
            for rule in FIELDS
            if rule.kind in (Kind.STRING, Kind.NUMBER) and kinds.get(rule.name, NULL) != NULL
        )
        return _Plan(
            rules,
            tuple(rule.kept for rule in rules),
            itemgetter(*(rule.place for rule in rules)),
            layout.kept,
            itemgetter(*(place[name] for name in _FACTS)),
            NUMBERS[kinds["price"]],
        )

    def _rule(self, rule: FieldRule, kind: int, place: int) -> _Rule:
        kept = self._kept.setdefault((rule.name, kind), set())
        validator = self._contract.value_validator(rule, self._accepted)
        return _Rule(place, text_of if kind == STRING else NUMBERS[kind], validator, kept)


def _is_usual(rule: FieldRule, kind: int | None) -> bool:
    """Whether values of this BSON type may be checked here; absent and null count for optional fields only."""
    if kind is None or kind == NULL:
        return rule.presence is Presence.OPTIONAL
    return kind in _KINDS[rule.kind]


def _keeps_contract(plan: _Plan, values: Values) -> bool:
    """Whether every value keeps the contract; those that do are remembered."""
    for place, read, validator, kept in plan.rules:
        value = values[place]
        if value in kept:
            continue
        try:
            validator.validate_python(read(value))
        except ValidationError:
            return False
        if len(kept) < _REMEMBERED and len(value) <= _LONGEST_REMEMBERED:
            kept.add(value)
    return True


def _session(raw: bytes, plan: _Plan, values: Values) -> Session:
    legacy_id, client_id, user_id, email, created, updated, price, currency = plan.facts(values)
    own = b"".join([values[place] for place in plan.kept])
    body = b"\x07sessionId\x00%b%b\x07legacyBookingId\x00%b" % (session_object_id(legacy_id), own, legacy_id)
    return Session(
        b"%b%b\x00" % (_LENGTH.pack(len(body) + 5), body),
        raw,
        ObjectId(legacy_id),
        _KEY_OF_OBJECT_ID + legacy_id,
        whole_number(created),
        whole_number(updated),
        ObjectId(client_id),
        user_id[:-1].decode(),
        email[:-1].decode(),
        plan.price_of(price),
        currency[:-1].decode(),
    )
