"""The rules of the migration, written a second time: the contract with the new application, ids, totals and dates.

The contract's table of fields is shared; its meaning is evaluated here again, and so is the arithmetic. The migration has code
of its own for the same rules (a validator built by pydantic-core), and a fault there must not be repeated here.
"""

import decimal
import hashlib
import math
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128, create_decimal128_context
from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import Document, write_fields
from booking_migrate.domain.contract import FIELDS, Constraint, Contract, FieldRule, Presence, ValueRule
from booking_migrate.domain.kinds import Kind
from booking_migrate.domain.rejection import Reason
from booking_migrate.verify.outcome import BrokenRule

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

Check = Callable[[Any], Reason | None]
"""Returns why a value is refused, or None."""

_Rules = Sequence[tuple[Reason, Callable[[Any], object]]]
"""Rules in their order, each with the reason for which it refuses, and a predicate of the values that keep it."""

_UUID_SUBTYPES, _UUID_BYTES = (3, 4), 16
_NULL_IS_FINE = (Presence.LOOKED_UP, Presence.OPTIONAL)
_ABSENT = object()
_PENDING = "pending"
"""The value that stands for an absent state."""

_CACHED, _LONGEST_CACHED = 5000, 64
"""The number of valid strings that are cached for each field, and the greatest length of one."""


class ContractRules:
    """The rules that one contract sets for the values of a booking's fields."""

    def __init__(self, contract: Contract, accepted: Container[Reason]) -> None:
        """Compile the rules.

        Args:
            contract: the values allowed.
            accepted: the value rules that are waived; types never are.
        """
        self._checks = [(rule, rule.name, _check(rule, contract, accepted), set[str]()) for rule in FIELDS]

    def broken_by(self, fields: Document) -> list[BrokenRule]:
        """Return every rule that a booking's own fields break, in the contract's order.

        A field that is looked up may be absent.
        """
        broken = []
        value_of = fields.get
        for rule, name, check, valid in self._checks:
            value = value_of(name, _ABSENT)
            if type(value) is str:
                # States, currencies, times of day and people repeat.
                if value in valid:
                    continue
                reason = check(value)
                if reason is None and len(valid) < _CACHED and len(value) <= _LONGEST_CACHED:
                    valid.add(value)
            elif value is _ABSENT:
                reason = _reason_if_absent(rule, check)
            elif value is None:
                reason = None if rule.presence in _NULL_IS_FINE else check(value)
            else:
                reason = check(value)
            if reason is not None:
                broken.append(BrokenRule(reason, name))
        return broken

    def broken_by_value(self, name: str, value: Any) -> BrokenRule | None:
        """Return the rule that a value breaks which was looked up for a field, or None."""
        reason = self.check_of(name)(value)
        return None if reason is None else BrokenRule(reason, name)

    def check_of(self, name: str) -> Check:
        """Return the check of a field's values."""
        return next(check for _rule, own, check, _valid in self._checks if own == name)


def _reason_if_absent(rule: FieldRule, check: Check) -> Reason | None:
    match rule.presence:
        case Presence.REQUIRED:
            return rule.missing
        case Presence.DEFAULTED:
            return check(_PENDING)
        case Presence.LOOKED_UP | Presence.FROM_ID | Presence.OPTIONAL:
            return None


def _check(field: FieldRule, contract: Contract, accepted: Container[Reason]) -> Check:
    rules = [(rule.reason, _test(rule, contract)) for rule in field.rules if rule.reason not in accepted]
    match field.kind:
        case Kind.STRING:
            return _string_check(field.wrong_type, rules)
        case Kind.NUMBER:
            return _number_check(field.wrong_type, rules)
        case Kind.DATE:
            return lambda value: None if type(value) is DatetimeMS else field.wrong_type
        case Kind.IDENTIFIER:
            # Of the two identifiers only a client's may not be empty: no user can be looked up by it.
            may_be_empty = field.wrong_type is not Reason.CLIENT_ID_INVALID
            return lambda value: None if is_identifier(value, may_be_empty=may_be_empty) else field.wrong_type


def is_identifier(value: Any, *, may_be_empty: bool) -> bool:
    """Return whether a value is an ObjectId, a string, an integer or a UUID."""
    if type(value) is Binary:
        return value.subtype in _UUID_SUBTYPES and len(value) == _UUID_BYTES
    return type(value) in (ObjectId, str, int, Int64) and (may_be_empty or value != "")


def _test(rule: ValueRule, contract: Contract) -> Callable[[Any], object]:
    """Return a predicate of the values of the right type that keep a rule."""
    match rule.constraint:
        case Constraint.ALLOWED:
            words = getattr(contract, rule.by)
            return _is_any if words is None else frozenset(words).__contains__
        case Constraint.MAXIMUM_LENGTH:
            longest: int = getattr(contract, rule.by)
            return lambda text: _utf16_units(text) <= longest
        case Constraint.PATTERN:
            return re.compile(rule.by).fullmatch
        case Constraint.MINIMUM:
            return _is_at_least(Decimal(str(getattr(contract, rule.by))))


def _is_any(_value: Any) -> bool:
    return True


def _is_at_least(least: Decimal) -> Callable[[Any], bool]:
    whole_least, double_least = math.ceil(least), float(least)

    def is_at_least(value: Any) -> bool:
        if type(value) is float:
            return value >= double_least
        return bool(value.to_decimal() >= least if type(value) is Decimal128 else value >= whole_least)

    return is_at_least


def _utf16_units(text: str) -> int:
    """Return the length of a text as the application counts it: characters beyond U+FFFF are two units."""
    return len(text) + sum(character > "\uffff" for character in text)


def _first_broken(rules: _Rules, value: Any) -> Reason | None:
    for reason, keeps in rules:
        if not keeps(value):
            return reason
    return None


def _string_check(wrong_type: Reason, rules: _Rules) -> Check:
    return lambda value: _first_broken(rules, value) if type(value) is str else wrong_type


def _number_check(wrong_type: Reason, rules: _Rules) -> Check:
    def check(value: Any) -> Reason | None:
        if type(value) in (int, Int64):
            return _first_broken(rules, value)
        if type(value) not in (float, Decimal128):
            return wrong_type
        is_finite = math.isfinite(value) if type(value) is float else value.to_decimal().is_finite()
        return _first_broken(rules, value) if is_finite else Reason.NUMBER_NOT_FINITE

    return check


class SessionFacts(NamedTuple):
    """What a session contributes to its client document."""

    price: Any
    """As decoded; None if absent."""

    created: int | None
    """In milliseconds since 1970; None if unknown."""

    updated: int | None


def facts_of(fields: Mapping[str, Any], booking_id: Any) -> SessionFacts:
    """Return the facts of a booking or its session: its dates or, if absent, the time in its id, or its other date."""
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
    """Return the facts of a session of the new application: an absent date has no substitute."""
    created, updated = _milliseconds(fields.get("createdAt")), _milliseconds(fields.get("updatedAt"))
    return SessionFacts(fields.get("price"), created, updated)


def _milliseconds(value: Any) -> int | None:
    return int(value) if type(value) is DatetimeMS else None


def object_id_time(value: Any) -> int | None:
    """Return the time in an ObjectId, in milliseconds since 1970; None for any other value."""
    return int.from_bytes(value.binary[:4], "big") * 1000 if type(value) is ObjectId else None


def session_id(booking_id: Any, created: int) -> ObjectId:
    """Return the `sessionId` of a booking.

    Args:
        booking_id: its `_id` as decoded.
        created: its creation in milliseconds since 1970; counts only if the id is not an ObjectId.
    """
    if type(booking_id) is ObjectId:
        return ObjectId(object_id_of_session(booking_id.binary))
    seconds = (created // 1000) % _SECONDS_LIMIT
    digest = hashlib.sha256(write_fields({"_id": booking_id})).digest()
    return ObjectId(seconds.to_bytes(4, "big") + digest[:8])


def object_id_of_session(old: bytes) -> bytes:
    """Return the `sessionId` of a booking whose `_id` is an ObjectId: time, counter, random bytes."""
    return old[0:4] + old[9:12] + old[4:9]


def object_id_of_client(old: bytes) -> bytes:
    """Return the `_id` of a new client document whose `clientId` is an ObjectId."""
    return old[0:4] + old[8:12] + old[4:8]


def client_document_id(client_id: Any) -> ObjectId:
    """Return the `_id` of a client document that was new: 7 as int32 and as Int64 are one client and have one id."""
    if type(client_id) is ObjectId:
        return ObjectId(object_id_of_client(client_id.binary))
    same = Int64(client_id) if isinstance(client_id, int) else client_id
    return ObjectId(hashlib.sha256(write_fields({"clientId": same})).digest()[:12])


def total_spent(prices: Iterable[Any]) -> Any:
    """Return the sum of prices in decimal, in the type that MongoDB's ``$sum`` has; values that are not numbers are ignored."""
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
    # From zero on, as `$sum` adds: of -0.0 alone it makes 0.0, and of 1E+3 alone 1000.
    total = Decimal(0)
    for term in map(_as_decimal, numbers):
        total = _EXACT.add(total, term)
    return total


def _as_decimal(number: Any) -> Decimal:
    if type(number) is Decimal128:
        return number.to_decimal()
    # The decimal number of 15 significant digits that a double stands for, as with $toDecimal.
    return Decimal(f"{number:.15g}") if type(number) is float else Decimal(int(number))


def is_same_amount(found: Any, expected: Any) -> bool:
    """Return whether two numbers are the same amount of money in 15 significant digits, whatever their types."""
    numbers = (int, Int64, float, Decimal128)
    if type(found) not in numbers or type(expected) not in numbers:
        return False
    digits = decimal.Context(prec=15, traps=[])
    one, other = digits.plus(_as_decimal(found)), digits.plus(_as_decimal(expected))
    return bool(one == other)
