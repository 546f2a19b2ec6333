"""The contract as a query: which bookings need nothing but to be regrouped.

Source: `domain.contract.FIELDS`, the one definition; MongoDB manual, reference/operator/query. The query is narrower than
the contract where the server cannot tell what the contract asks for: what it finds keeps the contract, and what it does
not find is left to the stream engine, which knows. So a length in UTF-16 units is asked for as one in characters of the
basic plane, and numbers are kept to a span in which 34 decimal digits hold every sum exactly.

Why a query and no ``$jsonSchema``: one condition a field takes the server half the time of a schema (measured on 6.0.5:
5.0 against 9.5 µs a booking), because a schema asks for presence, type and value one after the other, and keeps the query
out of the server's faster engine. What a query cannot say, that no field holds anything that nests, `CARRIED` does.
"""

from collections.abc import Container, Mapping
from typing import Any

from bson.regex import Regex

from booking_migrate.domain.contract import FIELDS, RULES, Contract, FieldRule, Kind, Presence
from booking_migrate.domain.rejection import Reason

Query = dict[str, Any]

CARRIED: Mapping[str, Any] = {
    "additionalProperties": {
        "bsonType": ["string", "int", "long", "double", "bool", "date", "objectId", "null", "binData"]
    }
}
"""The ``$jsonSchema`` of a document whose fields have only types that the server is known to carry byte for byte.

Not among them are arrays and documents, which nest; symbols, which pass for strings in queries; and Decimal128, whose
sums keep their exponents.
"""

_LARGEST = 1e9
_SMALLEST = 1e-3
"""The least amount but zero. Its 15 digits end at 1e-17, and the sum of a client's amounts stays below 1e15."""

_UNITS = ("[\\x00-\\x7f]", "[^\\x{10000}-\\x{10ffff}]")
"""Characters that are one UTF-16 unit, in regular expressions of the server (manual: reference/operator/query/regex).

Nearly every text is ASCII, and the server finds that out much faster.
"""

_LONGEST_REPETITION = 65_535
_VALID_TEXT = Regex("\\A")
"""Matches every string that is valid UTF-8: the server's regular expressions match no other, and no other is a string."""


def plain_bookings(contract: Contract, accepted: Container[Reason], apart: Container[str] = ()) -> Query:
    """The query for bookings with an ObjectId `_id` that lack nothing and keep the contract.

    It takes for granted that every field has one of the types of `CARRIED`.

    Args:
        contract: the values allowed.
        accepted: the value rules that are waived.
        apart: fields that are checked elsewhere.
    """
    conditions: list[Query] = [
        {"_id": {"$type": "objectId"}},
        {"sessions": {"$exists": False}},
        # Its bytes are counted on, see `plain_clients`.
        {"$or": [{"__v": {"$type": "int"}}, {"__v": {"$exists": False}}]},
    ]
    conditions += [
        _condition(contract, rule, waived=rule.reason in accepted)
        for rule in FIELDS
        if rule.name != "clientId" and rule.name not in apart
    ]
    return {"$and": conditions}


def plain_texts(contract: Contract, accepted: Container[Reason], name: str) -> list[Any]:
    """What a required string field may be: words, or regular expressions.

    Args:
        contract: the values allowed.
        accepted: the value rules that are waived.
        name: the field.
    """
    return _texts(contract, RULES[name], waived=RULES[name].reason in accepted)


def _condition(contract: Contract, rule: FieldRule, *, waived: bool) -> Query:
    is_optional = rule.presence is Presence.OPTIONAL
    either: list[Query]
    match rule.kind:
        case Kind.IDENTIFIER:
            # No UUID, which a query does not tell from other binaries.
            either = [{rule.name: {"$type": ["objectId", "int", "long"]}}, {rule.name: _VALID_TEXT}]
        case Kind.DATE:
            either = [{rule.name: {"$type": "date"}}]
        case Kind.NUMBER:
            either = _amounts(contract, rule, waived=waived)
        case Kind.STRING:
            return {
                rule.name: {"$in": [*_texts(contract, rule, waived=waived), *([None] if is_optional else [])]}
            }
    either += [{rule.name: None}] if is_optional else []
    return either[0] if len(either) == 1 else {"$or": either}


def _texts(contract: Contract, rule: FieldRule, *, waived: bool) -> list[Any]:
    """What a string may be: words, or regular expressions."""
    words = None if waived or rule.allowed is None else getattr(contract, rule.allowed)
    if words is not None:
        return list(words)
    if waived:
        return [_VALID_TEXT]
    if rule.maximum_length is not None:
        longest = min(getattr(contract, rule.maximum_length), _LONGEST_REPETITION)
        either = "|".join(f"{unit}{{0,{longest}}}" for unit in _UNITS)
        return [Regex(f"\\A(?:{either})\\z")]
    return [_VALID_TEXT if rule.pattern is None else Regex(f"\\A(?:{rule.pattern})\\z")]


def _amounts(contract: Contract, rule: FieldRule, *, waived: bool) -> list[Query]:
    """The spans in which a number may lie; no NaN lies in any."""
    least = None if waived or rule.minimum is None else getattr(contract, rule.minimum)
    lowest = -_LARGEST if least is None else least
    if rule.name != "price":
        return [{rule.name: {"$gte": lowest, "$lte": _LARGEST}}]
    spans = [(max(lowest, _SMALLEST), _LARGEST), (max(lowest, 0), 0), (lowest, -_SMALLEST)]
    return [{rule.name: {"$gte": low, "$lte": high}} for low, high in spans if low <= high]
