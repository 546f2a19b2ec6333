"""Values as short text for people: ids in reports, values in the detail of a fault, two documents side by side."""

import json
import re
from ast import literal_eval
from dataclasses import dataclass
from itertools import zip_longest
from typing import Annotated, Any

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.json_util import CANONICAL_JSON_OPTIONS, RELAXED_JSON_OPTIONS, dumps
from bson.objectid import ObjectId
from pydantic import BeforeValidator

from booking_migrate.bson.document import Element, Opaque, elements, read_value, text_of

_SHOWN_BYTES = re.compile(r"""b'[^']*'|b"[^"]*\"""")

_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_OTHER_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")

_FIRST_DATE, _LAST_DATE = -62_135_596_800_000, 253_402_300_799_999
"""The dates that ISO 8601 has four digits for the year of, in milliseconds."""


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

_OPAQUE_NAMES = {0x02: "string", 0x03: "document", 0x04: "array", 0x0C: "DBPointer", 0x0E: "symbol"}
"""The types that Python can hold, but not with these bytes: with invalid UTF-8, or a name that occurs twice."""


def type_name(value: Any) -> str:
    """Return a decoded value's BSON type, for people."""
    if isinstance(value, Opaque):
        return _OPAQUE_NAMES.get(value.kind, f"BSON type {value.kind}")
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def display_id(value: Any) -> str:
    r"""Return an id as a report shows it: an ObjectId as 24 hex digits, a string as it is, others as Extended JSON.

    A string that is not valid UTF-8 is shown by its bytes, such as ``b'caf\xe9'``; `read_shown_text` reads that again.
    """
    text = _invalid_text(value)
    if text is not None:
        return shorten(repr(text))
    if isinstance(value, (ObjectId, str)):
        return shorten(str(value))
    if isinstance(value, Opaque):
        return f"{type_name(value)}: {shorten(value.value.hex())}"
    if isinstance(value, DatetimeMS):
        return f"date {int(value)} ms"
    return shorten(dumps(value, json_options=RELAXED_JSON_OPTIONS))


def in_mongosh(value: object) -> str | None:
    """Return an id as the server's shell writes it; None for types that are rare as ids."""
    if isinstance(value, ObjectId):
        return f'ObjectId("{value}")'
    return json.dumps(value) if type(value) in (str, int) else None


def describe(value: Any) -> str:
    """Return a value with its type, cut to a line: ``string 'abc'``, ``null``, ``int32 5``, ``an array``."""
    if value is None:
        return "null"
    name = type_name(value)
    text = _invalid_text(value)
    if text is not None or isinstance(value, Opaque):
        return name if text is None else f"{name} {shorten(repr(text))}"
    if isinstance(value, (dict, list)):
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    if isinstance(value, str):
        return f"{name} {shorten(value)!r}"
    if isinstance(value, (bool, int, float, Decimal128, ObjectId)):
        return f"{name} {shorten(str(value))}"
    return f"{name} {shorten(dumps(value, json_options=CANONICAL_JSON_OPTIONS))}"


def show_element(element: Element | None) -> str:
    """Return the value of a field with its type, as `describe` does, but a date of the usual years in ISO 8601."""
    if element is None:
        return "nothing"
    value = read_value(element)
    if isinstance(value, DatetimeMS) and _FIRST_DATE <= int(value) <= _LAST_DATE:
        return f"date {value.as_datetime().isoformat(timespec='milliseconds')}"
    return describe(value)


def read_shown_text(shown: str) -> str | Opaque | None:
    r"""Return the value that `display_id` shows as ``b'...'``; None if the text does not have that form."""
    if not _SHOWN_BYTES.fullmatch(shown):
        return None
    try:
        text = literal_eval(shown)
    except (SyntaxError, ValueError):
        return None
    return text_of(text)


def _invalid_text(value: Any) -> bytes | None:
    """Return the bytes of a string that is not valid UTF-8, `Opaque` or as the driver decodes it; None of any other value."""
    if isinstance(value, Opaque):
        return value.text
    if isinstance(value, str) and _ESCAPED_BYTE.search(value) and not _OTHER_SURROGATE.search(value):
        return value.encode("utf-8", "surrogateescape")
    return None


def shorten(text: str, longest: int = LONGEST) -> str:
    """Cut a text to a number of characters, the last one an ellipsis if anything is lost."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that two documents do not share."""

    field: str
    expected: Element | None
    """None if the field is in the other document only."""

    found: Element | None

    def __str__(self) -> str:
        expected, found = show_element(self.expected), show_element(self.found)
        if expected == found:
            return f"{self.field}: same value, other bytes or another place"
        return f"{self.field}: {expected} expected, {found} found"


def differences(expected: bytes, found: bytes) -> list[Difference]:
    """Return the fields of the first level in which two documents differ; empty only if the bytes are the same.

    So int 1, long 1, 1.0 and true are four values, and field order counts.
    If all fields are the same but in another order, or a name occurs twice, the first one out of place is named.
    """
    if expected == found:
        return []
    left, right = list(elements(expected)), list(elements(found))
    ours, theirs = {part.name: part for part in left}, {part.name: part for part in right}
    unlike = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if not unlike:
        pairs = zip_longest(left, right)
        unlike = [next((one or other).name for one, other in pairs if one != other)]
    return [Difference(name.decode("utf-8", "replace"), ours.get(name), theirs.get(name)) for name in unlike]


LONGEST_ID = 80
LONGEST_LINE = 1000


def one_line(text: str, longest: int = LONGEST_LINE) -> str:
    r"""Make a text fit for a report: one line, nothing that does not print, at most ``longest`` characters.

    Control characters, lone surrogates and directional marks become escapes such as ``\x1b``: they could drive a
    terminal, break XML, or make a line read other than it is. A longer text keeps its beginning and its end.
    """
    half = (longest - 1) // 2
    # Cut before escaping too: escaping a megabyte only to throw it away would be slow.
    shortened = text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"
    printable = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in shortened
    )
    return printable if len(printable) <= longest else f"{printable[:half]}…{printable[-half:]}"


def short(value: str) -> str:
    """Return an id as `Id` has it."""
    return one_line(value, LONGEST_ID)


Id = Annotated[str, BeforeValidator(short)]
"""An id as text, at most `LONGEST_ID` characters."""

Line = Annotated[str, BeforeValidator(one_line)]
"""One line of text, at most `LONGEST_LINE` characters."""


def _some_lines(text: str) -> str:
    return "\n".join(map(one_line, text.splitlines()))


Lines = Annotated[str, BeforeValidator(_some_lines)]
"""A few lines of text, each as `Line` has it: commands have lines of their own, so that they can be copied."""
