"""The usual client at a glance: its document is made once more from the bookings' bytes, and the bytes are compared.

Nearly all clients of a collection are usual: flat bookings of the second generation with ObjectIds, none of them rejected,
and a client document that holds nothing else. For them nothing has to be decoded. Whatever is unusual, and every client
whose document is not byte for byte what comes out here, is left to the thorough way (`client_check`), which also says what
is wrong. A property test compares the two.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
    values_at,
    whole_number,
)
from booking_migrate.domain.contract import FIELDS, FieldRule, Kind, Presence
from booking_migrate.engine.verify.client_check import ClientResult
from booking_migrate.engine.verify.derivation import object_id_of_client, object_id_of_session, total_spent
from booking_migrate.engine.verify.pairs import ClientPair
from booking_migrate.engine.verify.plan import VerificationRules
from booking_migrate.engine.verify.rules import Check, ContractRules
from booking_migrate.stores.base import Duplicate, holds_everything

_CUT = frozenset({"_id", "clientId", "clientUserId", "clientEmail", "__v"})
_UNFIT = frozenset({"sessions", "sessionId", "legacyBookingId"})
_KINDS = {
    Kind.IDENTIFIER: frozenset({OBJECT_ID}),
    Kind.STRING: frozenset({STRING}),
    Kind.NUMBER: frozenset(NUMBERS),
    Kind.DATE: frozenset({DATE}),
}
_LENGTH = struct.Struct("<i")
_SESSION_ID, _LEGACY_ID = b"\x07sessionId\x00", b"\x07legacyBookingId\x00"


class _Read(NamedTuple):
    """One booking, in the order in which sessions stand."""

    created: int
    booking_id: bytes
    session: bytes
    updated: int
    price: Any
    user_id: bytes
    email: bytes
    client_id: bytes


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where everything is in the bookings of one layout."""

    kept: Callable[[Values], tuple[bytes, ...]]
    """What the session has of the booking."""

    facts: Callable[[Values], tuple[bytes, ...]]
    """The values of `_FACTS`."""

    price_of: Callable[[bytes], Any]


_FACTS = ("_id", "clientId", "clientUserId", "clientEmail", "createdAt", "updatedAt", "price")


class Glance:
    """Looks at clients, each by itself, under the rules of one verification."""

    def __init__(self, rules: VerificationRules) -> None:
        self._is_blind = rules.can_hold is not holds_everything
        self._largest = rules.maximum_document_size
        contract = ContractRules(rules.contract, rules.accepted)
        checks = {
            rule.name: partial(_keeps, contract.check_of(rule.name))
            for rule in FIELDS
            if rule.kind in (Kind.STRING, Kind.NUMBER)
        }
        self._layouts = Layouts(_CUT, _plan, checks, _FACTS)

    def check(self, pair: ClientPair) -> ClientResult | None:
        """What checking a usual client comes to that is as it must be; None: it has to be checked the thorough way."""
        if self._is_blind or pair.earlier is not None or len(pair.target) != 1 or not pair.source:
            return None
        target = pair.target[0].raw
        bookings: list[_Read] = []
        for document in pair.source:
            found = self._layouts.read(document.raw)
            if found is None or document.duplicate is not Duplicate.NONE:
                return None
            bookings.append(_read(*found))
        bookings.sort(key=_order)
        expected = _document(bookings)
        if expected != target or len(expected) > self._largest:
            return None
        count = len(bookings)
        return ClientResult(scanned=count, migrated=count, sessions=count)


def _keeps(check: Check, value: Any) -> bool:
    return check(value) is None


def _plan(layout: Layout) -> _Plan | None:
    kinds, place = layout.kinds, layout.place
    if kinds.get("_id") != OBJECT_ID or not _UNFIT.isdisjoint(kinds):
        return None
    for rule in FIELDS:
        kind = kinds.get(rule.name, NULL)
        if kind not in _KINDS[rule.kind] and not (kind == NULL and _may_lack(rule)):
            return None
    facts = values_at([place[name] for name in _FACTS])
    return _Plan(values_at(layout.kept), facts, NUMBERS[kinds["price"]])


def _may_lack(rule: FieldRule) -> bool:
    return rule.presence is Presence.OPTIONAL


def _order(read: _Read) -> tuple[int, bytes]:
    return read[:2]


def _read(plan: _Plan, values: Values) -> _Read:
    """A booking's session and what it contributes to its client document."""
    booking_id, client_id, user_id, email, created, updated, price = plan.facts(values)
    own = b"".join(plan.kept(values))
    body = b"%b%b%b%b%b" % (_SESSION_ID, object_id_of_session(booking_id), own, _LEGACY_ID, booking_id)
    return _Read(
        whole_number(created),
        booking_id,
        b"%b%b\x00" % (_LENGTH.pack(len(body) + 5), body),
        whole_number(updated),
        plan.price_of(price),
        user_id,
        email,
        client_id,
    )


def _document(bookings: Sequence[_Read]) -> bytes:
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
                b"\x07_id\x00", object_id_of_client(last.client_id),
                b"\x07clientId\x00", last.client_id,
                b"\x02clientUserId\x00", last.user_id,
                b"\x02clientEmail\x00", last.email,
                b"\x04sessions\x00", array, totals,
            ]
        )
    )  # fmt: skip
