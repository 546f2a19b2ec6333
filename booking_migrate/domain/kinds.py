"""The kinds of values that fields have: their BSON types, and the pydantic-core schemas that check values of each."""

from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any

from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from pydantic_core import CoreSchema, core_schema

from booking_migrate.bson.document import DATE, DECIMAL128, DOUBLE, INT32, INT64, OBJECT_ID, STRING

_UUID_SUBTYPES = frozenset({3, 4})
_UUID_LENGTH = 16


NUMBER_TYPES = frozenset({int, Int64, float, Decimal128})
"""The Python types of BSON's numbers; bool is not among them."""


class Kind(Enum):
    """The BSON types a field may have: for people, as Python types, and as the type bytes of flat bookings.

    A match on a kind has a case for each, which mypy checks.
    """

    IDENTIFIER = (
        "an ObjectId, a string, an integer or a UUID",
        frozenset({ObjectId, str, int, Int64}),
        frozenset({OBJECT_ID}),
    )
    """Flat bookings have ObjectIds only. A UUID is one of the binary values, so `has_kind` recognizes it."""

    STRING = ("a string", frozenset({str}), frozenset({STRING}))
    NUMBER = ("a number", NUMBER_TYPES, frozenset({DOUBLE, INT32, INT64, DECIMAL128}))
    DATE = ("a date", frozenset({DatetimeMS}), frozenset({DATE}))

    def __init__(self, text: str, types: frozenset[type], flat_types: frozenset[int]) -> None:
        self.text = text
        self.types = types
        self.flat_types = flat_types


def schema_of(kind: Kind, *, may_be_empty: bool) -> CoreSchema:
    """Return a schema for all values of a kind; whether an identifier may be an empty string counts for those only."""
    match kind:
        case Kind.DATE:
            return core_schema.is_instance_schema(DatetimeMS)
        case Kind.IDENTIFIER:
            check = _check_identifier if may_be_empty else _check_client_id
            rare = core_schema.no_info_plain_validator_function(check)
            return _first_of(core_schema.is_instance_schema(ObjectId), rare)
        case Kind.NUMBER:
            return number_schema(None)
        case Kind.STRING:
            return core_schema.str_schema()


def has_kind(value: Any, kind: Kind) -> bool:
    """Return whether a decoded value is of one of the BSON types that a kind stands for."""
    return type(value) in kind.types or (kind is Kind.IDENTIFIER and _is_uuid(value))


def is_finite(value: float | Decimal128) -> bool:
    """Return whether a BSON number is neither NaN nor infinite."""
    return value.to_decimal().is_finite() if isinstance(value, Decimal128) else isfinite(value)


def is_client_id(value: Any) -> bool:
    """Return whether a decoded value can be a booking's `clientId`."""
    return type(value) is ObjectId or (has_kind(value, Kind.IDENTIFIER) and value != "")


def number_schema(least: float | None) -> CoreSchema:
    """Return a schema for finite numbers that are not less than ``least``."""
    rare = core_schema.no_info_plain_validator_function(_number_check(least))
    return _first_of(core_schema.float_schema(ge=least, allow_inf_nan=False, strict=True), rare)


def _first_of(frequent: CoreSchema, rare: CoreSchema) -> CoreSchema:
    """Return two schemas of which the first settles most values without a call into Python."""
    return core_schema.union_schema([frequent, rare], mode="left_to_right")


def _is_uuid(value: Any) -> bool:
    return type(value) is Binary and value.subtype in _UUID_SUBTYPES and len(value) == _UUID_LENGTH


def _check_client_id(value: Any) -> Any:
    if is_client_id(value):
        return value
    raise ValueError


def _check_identifier(value: Any) -> Any:
    if type(value) is ObjectId or has_kind(value, Kind.IDENTIFIER):
        return value
    raise ValueError


def _number_check(least: float | None) -> Callable[[Any], Any]:
    """Return a check for a finite number of a BSON number type, not less than ``least``."""
    types = NUMBER_TYPES
    # As the config file has it: a least price of 0.1 is one tenth, not the double nearest to it.
    floor = None if least is None else Decimal(repr(least))

    def check(value: Any) -> Any:
        if type(value) is Decimal128:
            number = value.to_decimal()
            if number.is_finite() and (floor is None or number >= floor):
                return value
        elif type(value) in types and isfinite(value) and (least is None or value >= least):
            return value
        raise ValueError

    return check


def length_schema(longest: int) -> CoreSchema:
    """Return a schema for strings of at most ``longest`` UTF-16 units, which is how the application counts."""

    def check(value: str) -> str:
        if 2 * len(value) > longest and utf16_length(value) > longest:
            raise ValueError
        return value

    return core_schema.no_info_after_validator_function(check, core_schema.str_schema())


def utf16_length(text: str) -> int:
    """Return a string's length as JavaScript counts it: in UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
