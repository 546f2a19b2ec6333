"""The contract as a ``$jsonSchema`` for bookings that need nothing but to be regrouped.

Source: `domain.contract.FIELDS`; MongoDB manual, reference/operator/query/jsonSchema. The schema is narrower than the
contract where the server cannot tell what the contract asks for: what passes here passes there, and what does not is
left to the stream engine, which knows. So a length in UTF-16 units is asked for as one in characters of the basic
plane, and numbers are kept to a span in which 34 decimal digits hold every sum exactly.
"""

from collections.abc import Container, Mapping
from typing import Any

from booking_migrate.domain.contract import FIELDS, RESERVED, Contract, FieldRule, Kind, Presence
from booking_migrate.domain.rejection import Reason

Schema = dict[str, Any]

_LARGEST = 1e9
_SMALLEST = 1e-3
"""The least amount but zero. Its 15 digits end at 1e-17, and the sum of a client's amounts stays below 1e15."""

_KINDS: Mapping[Kind, list[str]] = {
    # Not UUIDs, which the server does not tell from other binaries; not Decimal128, whose sums keep their exponents.
    Kind.IDENTIFIER: ["objectId", "string", "int", "long"],
    Kind.STRING: ["string"],
    Kind.NUMBER: ["int", "long", "double"],
    Kind.DATE: ["date"],
}
_CARRIED = ["string", "int", "long", "double", "decimal", "bool", "date", "objectId", "null", "binData"]
"""The types of unknown fields that the server is known to carry byte for byte, and that nest no deeper."""

_BASIC_PLANE = "[^\\x{10000}-\\x{10ffff}]"
"""A character that is one UTF-16 unit, in a regular expression (manual: reference/operator/query/regex)."""

_LONGEST_REPETITION = 65_535
_VALID_TEXT = "\\A"
"""Matches every string that is valid UTF-8: the server's regular expressions match no other, and no other is a string."""

_NEVER: Schema = {"not": {}}


def plain_booking(contract: Contract, accepted: Container[Reason]) -> Schema:
    """The ``$jsonSchema`` of a booking with an ObjectId `_id` and `clientId` that lacks nothing and keeps the contract.

    Args:
        contract: the values allowed.
        accepted: the value rules that are waived.
    """
    fields = {rule.name: _field(contract, rule, waived=rule.reason in accepted) for rule in FIELDS}
    required = [rule.name for rule in FIELDS if rule.presence is not Presence.OPTIONAL]
    return {
        "bsonType": "object",
        "required": ["_id", *required],
        "properties": {
            **fields,
            "_id": {"bsonType": "objectId"},
            "clientId": {"bsonType": "objectId"},
            **dict.fromkeys((*RESERVED, "sessions"), _NEVER),
        },
        "additionalProperties": {"bsonType": _CARRIED},
    }


def _field(contract: Contract, rule: FieldRule, *, waived: bool) -> Schema:
    is_optional = rule.presence is Presence.OPTIONAL
    types = _KINDS[rule.kind]
    schema: Schema = {"bsonType": [*types, "null"] if is_optional else types}
    match rule.kind:
        case Kind.DATE:
            return schema
        case Kind.NUMBER:
            return {**schema, **_amount(contract, rule, waived=waived)}
    words = None if waived or rule.allowed is None else getattr(contract, rule.allowed)
    if words is not None:
        return {**schema, "enum": [*words, *([None] if is_optional else [])]}
    return {**schema, "pattern": _VALID_TEXT if waived else _pattern(contract, rule)}


def _pattern(contract: Contract, rule: FieldRule) -> str:
    if rule.maximum_length is not None:
        longest = min(getattr(contract, rule.maximum_length), _LONGEST_REPETITION)
        return f"\\A{_BASIC_PLANE}{{0,{longest}}}\\z"
    return _VALID_TEXT if rule.pattern is None else f"\\A(?:{rule.pattern})\\z"


def _amount(contract: Contract, rule: FieldRule, *, waived: bool) -> Schema:
    least = None if waived or rule.minimum is None else getattr(contract, rule.minimum)
    lowest = -_LARGEST if least is None else max(least, -_LARGEST)
    span: Schema = {"minimum": lowest, "maximum": _LARGEST}
    if rule.name != "price" or lowest >= _SMALLEST:
        return span
    sound = [{"enum": [0]}, {"minimum": _SMALLEST}, *([{"maximum": -_SMALLEST}] if lowest < 0 else [])]
    return {**span, "anyOf": sound}
