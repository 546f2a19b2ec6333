"""The usual client at a glance: its document is made once more from the bookings' bytes, and the bytes are compared.

Nearly all clients of a collection are usual: flat bookings of the second generation with ObjectIds, none of them rejected,
and a client document that holds nothing else. For them nothing has to be decoded. Whatever is unusual, and every client
whose document is not byte for byte what comes out here, is left to the thorough way (`client_check`), which also says what
is wrong. A property test compares the two.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from bson.datetime_ms import DatetimeMS

from booking_migrate.domain.bson_document import body_of, wrap_bytes
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
from booking_migrate.domain.contract import FIELDS, FieldRule, Kind, Presence
from booking_migrate.engine.verify.client_check import ClientResult
from booking_migrate.engine.verify.derivation import object_id_of_client, object_id_of_session, total_spent
from booking_migrate.engine.verify.pairs import ClientPair
from booking_migrate.engine.verify.plan import VerificationRules, holds_everything
from booking_migrate.engine.verify.rules import Check, ContractRules
from booking_migrate.stores.base import Duplicate

_CUT = frozenset({"_id", "clientId", "clientUserId", "clientEmail", "__v"})
_UNFIT = frozenset({"sessions", "sessionId", "legacyBookingId"})
_KINDS = {
    Kind.IDENTIFIER: frozenset({OBJECT_ID}),
    Kind.STRING: frozenset({STRING}),
    Kind.NUMBER: frozenset(NUMBERS),
    Kind.DATE: frozenset({DATE}),
}
_REMEMBERED, _LONGEST_REMEMBERED = 5000, 64
"""How many values that keep a field's rule are remembered, and up to which length."""

_LENGTH = struct.Struct("<i")
_SESSION_ID, _LEGACY_ID = b"\x07sessionId\x00", b"\x07legacyBookingId\x00"


class _Checked(NamedTuple):
    """A field whose values have a rule."""

    place: int
    read: Callable[[bytes], Any]
    check: Check
    kept: set[bytes]
    """Values that were found to keep the rule."""


class _Read(NamedTuple):
    """One booking, in the order in which sessions stand."""

    created: int
    booking_id: bytes
    session: bytes
    updated: int
    price: Any
    user_id: bytes
    email: bytes


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where everything is in the bookings of one layout."""

    checked: tuple[_Checked, ...]
    known: tuple[set[bytes], ...]
    """For each of them the values that keep the rule, so that most bookings take one call."""

    checked_of: Callable[[Values], Sequence[bytes]]
    kept: tuple[int, ...]
    booking_id: int
    client_id: int
    user_id: int
    email: int
    created: int
    updated: int
    price: int
    price_of: Callable[[bytes], Any]


class Glance:
    """Looks at clients, each by itself, under the rules of one verification."""

    def __init__(self, rules: VerificationRules) -> None:
        self._is_blind = rules.can_hold is not holds_everything
        self._largest = rules.maximum_document_size
        self._contract = ContractRules(rules.contract, rules.accepted)
        self._kept: dict[tuple[str, int], set[bytes]] = {}
        self._layouts = Layouts(_CUT, self._plan)

    def check(self, pair: ClientPair) -> ClientResult | None:
        """What checking a usual client comes to that is as it must be; None: it has to be checked the thorough way."""
        if self._is_blind or pair.earlier is not None or len(pair.target) != 1 or not pair.source:
            return None
        target = pair.target[0].raw
        bookings: list[_Read] = []
        client_id = b""
        for document in pair.source:
            found = self._layouts.read(document.raw)
            if found is None or document.duplicate is not Duplicate.NONE:
                return None
            read = _read(*found)
            if read is None:
                return None
            client_id = found[1][found[0].client_id]
            bookings.append(read)
        bookings.sort(key=_order)
        expected = _document(client_id, bookings)
        if expected != target or len(expected) > self._largest:
            return None
        count = len(bookings)
        return ClientResult(scanned=count, migrated=count, sessions=count)

    def _plan(self, layout: Layout) -> _Plan | None:
        kinds, place = layout.kinds, layout.place
        if kinds.get("_id") != OBJECT_ID or not _UNFIT.isdisjoint(kinds):
            return None
        checked: list[_Checked] = []
        for rule in FIELDS:
            kind = kinds.get(rule.name)
            if kind is None or kind == NULL:
                if not _may_lack(rule):
                    return None
            elif kind not in _KINDS[rule.kind]:
                return None
            elif rule.kind in (Kind.STRING, Kind.NUMBER):
                kept = self._kept.setdefault((rule.name, kind), set())
                reader = text_of if kind == STRING else NUMBERS[kind]
                checked.append(_Checked(place[rule.name], reader, self._contract.check_of(rule.name), kept))
        return _Plan(
            tuple(checked),
            tuple(each.kept for each in checked),
            itemgetter(*(each.place for each in checked)),
            layout.kept,
            booking_id=place["_id"],
            client_id=place["clientId"],
            user_id=place["clientUserId"],
            email=place["clientEmail"],
            created=place["createdAt"],
            updated=place["updatedAt"],
            price=place["price"],
            price_of=NUMBERS[kinds["price"]],
        )


def _may_lack(rule: FieldRule) -> bool:
    return rule.presence is Presence.OPTIONAL


def _order(read: _Read) -> tuple[int, bytes]:
    return read[:2]


def _read(plan: _Plan, values: Values) -> _Read | None:
    """A booking's session and what it contributes to its client document; None if it breaks a rule."""
    if not all(map(set.__contains__, plan.known, plan.checked_of(values))) and not _keeps_rules(plan, values):
        return None
    booking_id = values[plan.booking_id]
    own = b"".join([values[place] for place in plan.kept])
    body = b"%b%b%b%b%b" % (_SESSION_ID, object_id_of_session(booking_id), own, _LEGACY_ID, booking_id)
    return _Read(
        whole_number(values[plan.created]),
        booking_id,
        b"%b%b\x00" % (_LENGTH.pack(len(body) + 5), body),
        whole_number(values[plan.updated]),
        plan.price_of(values[plan.price]),
        values[plan.user_id],
        values[plan.email],
    )


def _keeps_rules(plan: _Plan, values: Values) -> bool:
    """Whether every value keeps its field's rule; those that do are remembered, since most come again."""
    for place, read, check, kept in plan.checked:
        value = values[place]
        if value not in kept:
            if check(read(value)) is not None:
                return False
            if len(kept) < _REMEMBERED and len(value) <= _LONGEST_REMEMBERED:
                kept.add(value)
    return True


def _document(client_id: bytes, bookings: Sequence[_Read]) -> bytes:
    """The client document of these bookings, which are in order."""
    last = bookings[-1]
    array = wrap_bytes(
        b"".join([b"\x03%d\x00%b" % (place, read.session) for place, read in enumerate(bookings)])
    )
    totals = body_of(
        {
            "totalSessions": len(bookings),
            "totalSpent": total_spent(read.price for read in bookings),
            "createdAt": DatetimeMS(bookings[0].created),
            "updatedAt": DatetimeMS(max(read.updated for read in bookings)),
        }
    )
    return wrap_bytes(
        b"".join(
            [
                b"\x07_id\x00", object_id_of_client(client_id),
                b"\x07clientId\x00", client_id,
                b"\x02clientUserId\x00", _LENGTH.pack(len(last.user_id)), last.user_id,
                b"\x02clientEmail\x00", _LENGTH.pack(len(last.email)), last.email,
                b"\x04sessions\x00", array, totals,
            ]
        )
    )  # fmt: skip
