"""What follows from bookings and sessions by arithmetic: ids, totals and dates (DESIGN.md, section 2).

Written from the design alone: the migration has code of its own for the same rules, and the two must never share any.
"""

import decimal
import hashlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128, create_decimal128_context
from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import write_fields

_INT32_LIMIT, _INT64_LIMIT = 1 << 31, 1 << 63
_SECONDS_LIMIT = 1 << 32
_EXACT = decimal.Context(
    # The sum of the largest and the smallest Decimal128 has about 12,300 digits.
    prec=13_000,
    Emax=decimal.MAX_EMAX,
    Emin=decimal.MIN_EMIN,
    traps=[],
)
_ROUNDED = create_decimal128_context()
_ROUNDED.traps = dict.fromkeys(_ROUNDED.traps, False)


class SessionFacts(NamedTuple):
    """What a session contributes to its client document."""

    price: Any
    """As decoded; None if there is none."""

    created: int | None
    """In milliseconds since 1970; None if nothing says it."""

    updated: int | None


def facts_of(fields: Mapping[str, Any], booking_id: Any) -> SessionFacts:
    """The facts of a booking, or of its session: its dates or, if absent, the time in its id, or its other date."""
    own = own_facts(fields)
    if own.created is not None and own.updated is not None:
        return own
    in_id = object_id_time(booking_id)
    created = own.created if own.created is not None else in_id
    updated = own.updated if own.updated is not None else in_id
    return SessionFacts(
        own.price, created if created is not None else updated, updated if updated is not None else created
    )


def own_facts(fields: Mapping[str, Any]) -> SessionFacts:
    """The facts of a session of the new application: nothing stands in for a date that it has not."""
    created, updated = _milliseconds(fields.get("createdAt")), _milliseconds(fields.get("updatedAt"))
    return SessionFacts(fields.get("price"), created, updated)


def _milliseconds(value: Any) -> int | None:
    return int(value) if type(value) is DatetimeMS else None


def object_id_time(value: Any) -> int | None:
    """The time in an ObjectId, in milliseconds since 1970; None for any other value."""
    return int.from_bytes(value.binary[:4], "big") * 1000 if type(value) is ObjectId else None


def session_id(booking_id: Any, created: int) -> ObjectId:
    """The `sessionId` of a booking.

    Args:
        booking_id: its `_id` as decoded.
        created: its creation in milliseconds since 1970; counts only if the id is no ObjectId.
    """
    if type(booking_id) is ObjectId:
        return ObjectId(object_id_of_session(booking_id.binary))
    seconds = (created // 1000) % _SECONDS_LIMIT
    digest = hashlib.sha256(write_fields({"_id": booking_id})).digest()
    return ObjectId(seconds.to_bytes(4, "big") + digest[:8])


def object_id_of_session(old: bytes) -> bytes:
    """The `sessionId` of a booking whose `_id` is an ObjectId: time, counter, chance."""
    return old[0:4] + old[9:12] + old[4:9]


def object_id_of_client(old: bytes) -> bytes:
    """The `_id` of a new client document whose `clientId` is an ObjectId."""
    return old[0:4] + old[8:12] + old[4:8]


def client_document_id(client_id: Any) -> ObjectId:
    """The `_id` of a client document that was new: 7 as int32 and as Int64 are one client and have one id."""
    if type(client_id) is ObjectId:
        return ObjectId(object_id_of_client(client_id.binary))
    same = Int64(client_id) if isinstance(client_id, int) else client_id
    return ObjectId(hashlib.sha256(write_fields({"clientId": same})).digest()[:12])


def total_spent(prices: Iterable[Any]) -> Any:
    """The sum of prices in decimal, in the type that MongoDB's ``$sum`` would give; what is no number is left out."""
    numbers = [price for price in prices if type(price) in (int, Int64, float, Decimal128)]
    types = set(map(type, numbers))
    if types <= {int, Int64}:
        return _whole(sum(map(int, numbers)), wide=Int64 in types)
    total = _exact_sum(numbers)
    if Decimal128 in types:
        return Decimal128(_ROUNDED.plus(total))
    return float(total)


def _whole(total: int, *, wide: bool) -> Any:
    if not wide and -_INT32_LIMIT <= total < _INT32_LIMIT:
        return total
    return Int64(total) if -_INT64_LIMIT <= total < _INT64_LIMIT else float(total)


def _exact_sum(numbers: Iterable[Any]) -> Decimal:
    terms = map(_as_decimal, numbers)
    total = next(terms)
    for term in terms:
        total = _EXACT.add(total, term)
    return total


def _as_decimal(number: Any) -> Decimal:
    if type(number) is Decimal128:
        return number.to_decimal()
    # The decimal number of 15 significant digits that a double stands for, as $toDecimal has it.
    return Decimal(f"{number:.15g}") if type(number) is float else Decimal(int(number))


def is_same_amount(found: Any, expected: Any) -> bool:
    """Whether two numbers are the same amount of money in 15 significant digits, whatever their types."""
    numbers = (int, Int64, float, Decimal128)
    if type(found) not in numbers or type(expected) not in numbers:
        return False
    digits = decimal.Context(prec=15, traps=[])
    one, other = digits.plus(_as_decimal(found)), digits.plus(_as_decimal(expected))
    return bool(one == other)
