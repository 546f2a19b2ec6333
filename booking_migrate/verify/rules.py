"""The contract with the new application, evaluated rule by rule (DESIGN.md, section 2).

The table of fields is the contract's own; what it means is worked out here anew. The migration uses a validator built by
pydantic-core, and a fault there must not be repeated here.
"""

import math
import re
from collections.abc import Callable, Container
from decimal import Decimal
from typing import Any, NamedTuple

from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import Document
from booking_migrate.domain.contract import FIELDS, Contract, FieldRule, Kind, Presence
from booking_migrate.domain.rejection import Reason

Check = Callable[[Any], Reason | None]
"""Says why a value is refused, or None."""

_UUID_SUBTYPES, _UUID_BYTES = (3, 4), 16
_NULL_IS_FINE = (Presence.LOOKED_UP, Presence.OPTIONAL)
_ABSENT = object()
_PENDING = "pending"
"""What an absent state counts as."""

_REMEMBERED, _LONGEST_REMEMBERED = 5000, 64
"""How many strings that keep a field's rule are remembered, and up to which length."""


class BrokenRule(NamedTuple):
    """One reason why a booking cannot be converted."""

    reason: Reason
    field: str | None


class ContractRules:
    """The rules that one contract sets for the values of a booking's fields."""

    def __init__(self, contract: Contract, accepted: Container[Reason]) -> None:
        """Prepare the rules.

        Args:
            contract: the values allowed.
            accepted: the value rules that are waived; types never are.
        """
        self._checks = [(rule, rule.name, _check(rule, contract, accepted), set[str]()) for rule in FIELDS]

    def broken_by(self, fields: Document) -> list[BrokenRule]:
        """Every rule that a booking's own fields break, in the contract's order.

        What has to be looked up may be absent here: whether it is found is another question.
        """
        broken = []
        value_of = fields.get
        for rule, name, check, kept in self._checks:
            value = value_of(name, _ABSENT)
            if type(value) is str:
                # States, currencies, times of day and people come again and again.
                if value in kept:
                    continue
                reason = check(value)
                if reason is None and len(kept) < _REMEMBERED and len(value) <= _LONGEST_REMEMBERED:
                    kept.add(value)
            elif value is _ABSENT:
                reason = rule.missing if rule.presence is Presence.REQUIRED else None
                if rule.presence is Presence.DEFAULTED:
                    reason = check(_PENDING)
            elif value is None:
                reason = None if rule.presence in _NULL_IS_FINE else check(value)
            else:
                reason = check(value)
            if reason is not None:
                broken.append(BrokenRule(reason, name))
        return broken

    def broken_by_value(self, name: str, value: Any) -> BrokenRule | None:
        """The rule that a value breaks which was looked up for a field, or None."""
        reason = self.check_of(name)(value)
        return None if reason is None else BrokenRule(reason, name)

    def check_of(self, name: str) -> Check:
        """What says why a field's value is refused."""
        return next(check for _rule, own, check, _kept in self._checks if own == name)


def _check(rule: FieldRule, contract: Contract, accepted: Container[Reason]) -> Check:
    is_waived = rule.reason is None or rule.reason in accepted
    match rule.kind:
        case Kind.STRING:
            return _string_check(rule, None if is_waived else _string_rule(rule, contract))
        case Kind.NUMBER:
            least = (
                None if is_waived or rule.minimum is None else Decimal(str(getattr(contract, rule.minimum)))
            )
            return _number_check(rule, least)
        case Kind.DATE:
            return lambda value: None if type(value) is DatetimeMS else rule.wrong_type
        case Kind.IDENTIFIER:
            # Of the two identifiers only a client's may not be empty: nobody could be looked up by it.
            may_be_empty = rule.wrong_type is not Reason.CLIENT_ID_INVALID
            return lambda value: None if is_identifier(value, may_be_empty=may_be_empty) else rule.wrong_type


def is_identifier(value: Any, *, may_be_empty: bool) -> bool:
    """Whether a value is an ObjectId, a string, an integer or a UUID."""
    if type(value) is Binary:
        return value.subtype in _UUID_SUBTYPES and len(value) == _UUID_BYTES
    return type(value) in (ObjectId, str, int, Int64) and (may_be_empty or value != "")


def _string_rule(rule: FieldRule, contract: Contract) -> Callable[[str], object] | None:
    """Something that is true for the strings that a field may hold; None if it may hold every string."""
    words = None if rule.allowed is None else getattr(contract, rule.allowed)
    if words is not None:
        return frozenset(words).__contains__
    if rule.maximum_length is not None:
        longest: int = getattr(contract, rule.maximum_length)
        return lambda text: _utf16_units(text) <= longest
    if rule.pattern is not None:
        return re.compile(rule.pattern).fullmatch
    return None


def _string_check(rule: FieldRule, keeps: Callable[[str], object] | None) -> Check:
    def check(value: Any) -> Reason | None:
        if type(value) is not str:
            return rule.wrong_type
        return None if keeps is None or keeps(value) else rule.reason

    return check


def _utf16_units(text: str) -> int:
    """How long the application finds a text: characters beyond U+FFFF are two units."""
    return len(text) + sum(character > "\uffff" for character in text)


def _number_check(rule: FieldRule, least: Decimal | None) -> Check:
    whole_least = None if least is None else math.ceil(least)
    double_least = None if least is None else float(least)

    def check(value: Any) -> Reason | None:
        if type(value) in (int, Int64):
            return None if whole_least is None or value >= whole_least else rule.reason
        if type(value) is float:
            if not math.isfinite(value):
                return Reason.NUMBER_NOT_FINITE
            return None if double_least is None or value >= double_least else rule.reason
        if type(value) is not Decimal128:
            return rule.wrong_type
        number = value.to_decimal()
        if not number.is_finite():
            return Reason.NUMBER_NOT_FINITE
        return None if least is None or number >= least else rule.reason

    return check
