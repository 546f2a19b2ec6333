"""Values as short text for people: ids in reports, values in the detail of a fault."""

from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.json_util import CANONICAL_JSON_OPTIONS, RELAXED_JSON_OPTIONS, dumps
from bson.objectid import ObjectId

from booking_migrate.domain.bson_document import Opaque

LONGEST = 80
"""The most characters of a value that a message shows."""

_TYPE_NAMES: dict[type, str] = {
    ObjectId: "ObjectId",
    str: "string",
    int: "int32",
    Int64: "int64",
    float: "double",
    Decimal128: "Decimal128",
    bool: "bool",
    DatetimeMS: "date",
    dict: "document",
    list: "array",
    bytes: "binary",
}


def type_name(value: Any) -> str:
    """A decoded value's BSON type, for people."""
    if isinstance(value, Opaque):
        return f"BSON type {value.kind}"
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def display_id(value: Any) -> str:
    """An id as a report shows it: an ObjectId as 24 hex digits, a string as it is, others as Extended JSON."""
    if isinstance(value, (ObjectId, str)):
        return shorten(str(value))
    if isinstance(value, Opaque):
        return f"{type_name(value)}: {shorten(value.value.hex())}"
    if isinstance(value, DatetimeMS):
        return f"date {int(value)} ms"
    return shorten(dumps(value, json_options=RELAXED_JSON_OPTIONS))


def describe(value: Any) -> str:
    """A value with its type, cut to a line: ``string 'abc'``, ``null``, ``int32 5``, ``an array``."""
    if value is None:
        return "null"
    name = type_name(value)
    if isinstance(value, (dict, list)):
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    if isinstance(value, Opaque):
        return name
    if isinstance(value, str):
        return f"{name} {shorten(value)!r}"
    if isinstance(value, (bool, int, float, Decimal128, ObjectId)):
        return f"{name} {shorten(str(value))}"
    return f"{name} {shorten(dumps(value, json_options=CANONICAL_JSON_OPTIONS))}"


def shorten(text: str, longest: int = LONGEST) -> str:
    """Cut a text to so many characters, the last one an ellipsis if anything is lost."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
