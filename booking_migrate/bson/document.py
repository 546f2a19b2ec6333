"""Reading and writing BSON so that no value is ever re-typed (https://bsonspec.org/spec.html).

``bson.decode`` followed by ``bson.encode`` changes some documents: deprecated types (symbol, undefined, DBPointer)
become other types, invalid UTF-8 raises, a name that occurs twice collapses, regex flags are sorted. So a document
counts as *exact* when it comes back from that round trip byte for byte, and any other one is taken apart element by
element (`elements`), where each value that does not survive the trip becomes an `Opaque`.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from bson import decode, encode
from bson.code import Code
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError, InvalidDocument
from bson.objectid import ObjectId

Document = dict[str, Any]

CODEC: CodecOptions[Document] = CodecOptions(
    # Milliseconds as in BSON: Python's datetime ends in the year 9999 and knows no year 0.
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)

MAXIMUM_DEPTH = 181
"""How deep a document may nest, itself included: MongoDB counts 180 levels within it (measured: mongod 6.0.5 refuses 182)."""

MAXIMUM_SIZE = 16 * 1024 * 1024
"""The largest document that MongoDB stores, in bytes (manual: reference/limits, BSON Document Size)."""

DOUBLE, STRING, DOCUMENT, ARRAY, OBJECT_ID, DATE, NULL = 0x01, 0x02, 0x03, 0x04, 0x07, 0x09, 0x0A
DB_POINTER, SYMBOL = 0x0C, 0x0E
INT32, INT64, DECIMAL128 = 0x10, 0x12, 0x13
"""BSON type bytes."""

_FIXED_SIZES = {
    0x01: 8,  # double
    0x06: 0,  # undefined
    0x07: 12,  # ObjectId
    0x08: 1,  # bool
    0x09: 8,  # date
    0x0A: 0,  # null
    0x10: 4,  # int32
    0x11: 8,  # timestamp
    0x12: 8,  # int64
    0x13: 16,  # Decimal128
    0x7F: 0,  # MaxKey
    0xFF: 0,  # MinKey
}
_STRING_KINDS = frozenset({0x02, 0x0D, 0x0E})  # string, code, symbol
_REGEX = 0x0B
_OVERHEADS = {
    # What a value takes beyond the length at its start, and the least that this length may be.
    0x02: (4, 1),  # string
    0x03: (0, 5),  # document: its length counts itself
    0x04: (0, 5),  # array
    0x05: (5, 0),  # binary: length, subtype, bytes
    0x0C: (16, 1),  # DBPointer: string, ObjectId
    0x0D: (4, 1),  # code
    0x0E: (4, 1),  # symbol
    0x0F: (0, 14),  # code with scope: length, string, document
}
_INT32 = struct.Struct("<i")
_ID_FIRST = b"\x07_id\x00"


class MalformedBson(ValueError):
    """Bytes that are not a BSON document."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"byte {position}: {problem}")
        self.position = position
        self.problem = problem


class Element(NamedTuple):
    """One element of a BSON document, as bytes."""

    kind: int
    """The BSON type byte."""

    name: bytes
    value: bytes
    """The value without type byte and name."""

    @property
    def raw(self) -> bytes:
        """Return the whole element: type byte, name, NUL, value."""
        return b"%c%b\x00%b" % (self.kind, self.name, self.value)


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value that Python cannot hold without changing it; it is only ever passed on."""

    kind: int
    """The BSON type byte."""

    value: bytes
    """The value's original bytes."""

    @property
    def text(self) -> bytes | None:
        """Return the bytes of a string that is not valid UTF-8; None of any other value."""
        return self.value[4:-1] if self.kind == STRING else None


def elements(raw: bytes) -> Iterator[Element]:
    """Take a BSON document (or array) apart, one level deep, without decoding any value.

    Raises:
        MalformedBson: if the bytes are not a BSON document.
    """
    # Without the function that a named tuple has in Python for this.
    new = tuple.__new__
    end = len(raw) - 1
    if len(raw) < 5 or _INT32.unpack_from(raw)[0] != len(raw) or raw[end] != 0:  # noqa: PLR2004
        raise MalformedBson(0, "no BSON document: its length or its end is wrong")
    position = 4
    while position < end:
        kind = raw[position]
        name_end = raw.find(0, position + 1, end)
        if name_end < 0:
            raise MalformedBson(position, "a field name has no end")
        start = name_end + 1
        fixed = _FIXED_SIZES.get(kind)
        stop = start + (_size(kind, raw, start, end) if fixed is None else fixed)
        if stop > end:
            raise MalformedBson(start, "a value reaches past the end of its document")
        yield new(Element, (kind, raw[position + 1 : name_end], raw[start:stop]))
        position = stop


def _size(kind: int, raw: bytes, start: int, end: int) -> int:
    """Return how many bytes the value at ``start`` takes, of a type whose values differ in size."""
    if kind == _REGEX:
        return _regex_size(raw, start, end)
    if kind not in _OVERHEADS:
        raise MalformedBson(start, f"no BSON type has the number {kind}")
    if start + 4 > end:
        raise MalformedBson(start, "a value reaches past the end of its document")
    length: int = _INT32.unpack_from(raw, start)[0]
    overhead, smallest = _OVERHEADS[kind]
    if length < smallest:
        raise MalformedBson(start, "a value's length is too small")
    if kind in _STRING_KINDS and (start + 4 + length > end or raw[start + 3 + length] != 0):
        raise MalformedBson(start, "a string does not end where its length says")
    return overhead + length


def _regex_size(raw: bytes, start: int, end: int) -> int:
    """Return the size of a regular expression, which is two C strings: pattern and flags."""
    pattern_end = raw.find(0, start, end)
    flags_end = raw.find(0, pattern_end + 1, end) if pattern_end >= 0 else -1
    if flags_end < 0:
        raise MalformedBson(start, "a regular expression has no end")
    return flags_end + 1 - start


def check_structure(raw: bytes) -> None:
    """Check every level of a document for sound lengths, without judging its values.

    Raises:
        MalformedBson: with the position inside ``raw``, if the bytes are not a BSON document.
    """
    pending = [(0, raw)]
    while pending:
        offset, document = pending.pop()
        position = offset + 4
        try:
            for element in elements(document):
                position += 2 + len(element.name)
                if element.kind in (DOCUMENT, ARRAY):
                    pending.append((position, element.value))
                position += len(element.value)
        except MalformedBson as error:
            raise MalformedBson(offset + error.position, error.problem) from None


def depth(raw: bytes) -> int:
    """Return how deep a document nests: 1 for one without embedded documents or arrays."""
    deepest = 0
    pending = [(1, raw)]
    while pending:
        level, document = pending.pop()
        deepest = max(deepest, level)
        for element in elements(document):
            if element.kind in (DOCUMENT, ARRAY):
                pending.append((level + 1, element.value))
            elif element.kind == 0x0F:  # noqa: PLR2004 - code with scope: length, string, document
                scope = 8 + _INT32.unpack_from(element.value, 4)[0]
                pending.append((level + 1, element.value[scope:]))
    return deepest


def read_exactly(raw: bytes) -> Document | None:
    """Decode a document if nothing in it changes on the way, else None.

    Beware: JavaScript code comes as `bson.code.Code`, which passes for a string in Python. `read_fields` makes it opaque.
    """
    try:
        document = decode(raw, CODEC)
        return document if encode(document, False, CODEC) == raw else None
    except (BSONError, OverflowError, RecursionError, UnicodeError):
        return None


def decoded(raw: bytes) -> Document:
    """Return the fields of a document, decoded in the fastest way, for values that are only read."""
    try:
        return decode(raw, CODEC)
    except BSONError:
        return read_fields(raw)


def read_fields(raw: bytes) -> Document:
    """Decode a document's first level; values that would change on the way become `Opaque`.

    Of a name that occurs twice the last value counts. Names that are not UTF-8 come as surrogate escapes.
    """
    document = read_exactly(raw)
    if document is not None and Code not in map(type, document.values()):
        return document
    return {element.name.decode("utf-8", "surrogateescape"): read_value(element) for element in elements(raw)}


def read_value(element: Element) -> Any:
    """Decode one element's value, or make it `Opaque` if it would change on the way."""
    document = read_exactly(wrap([Element(element.kind, b"", element.value)]))
    if document is None or type(document[""]) is Code:
        return Opaque(element.kind, element.value)
    return document[""]


def value_in(raw: bytes, name: bytes) -> Any:
    """Return the value of a document's first field of a name, decoded, or None if the field is absent. Nothing else is decoded."""
    head = b"\x07%b\x00" % name
    for start in (4, 21) if raw.startswith(_ID_FIRST, 4) else (4,):
        # An ObjectId in the first field, or next to an ObjectId as `_id`: so nearly every document begins.
        if raw.startswith(head, start) and start + len(head) + 12 < len(raw):
            return ObjectId(raw[start + len(head) : start + len(head) + 12])
    element = next((part for part in elements(raw) if part.name == name), None)
    if element is None:
        return None
    return ObjectId(element.value) if element.kind == OBJECT_ID else read_value(element)


def wrap(parts: list[Element]) -> bytes:
    """Make a document of elements."""
    return wrap_bytes(b"".join([part.raw for part in parts]))


def wrap_bytes(body: bytes) -> bytes:
    """Make a document of the bytes of its elements."""
    return b"%b%b\x00" % (_INT32.pack(len(body) + 5), body)


def element_of(name: str, value: Any) -> Element:
    """Make an element of a value, which may be `Opaque`.

    Raises:
        InvalidDocument: the name holds a NUL character, which BSON ends names with.
    """
    key = name.encode("utf-8", "surrogateescape")
    if b"\x00" in key:
        raise InvalidDocument("a field name holds a NUL character")
    if isinstance(value, Opaque):
        return Element(value.kind, key, value.value)
    return next(elements(encode({"": value}, codec_options=CODEC)))._replace(name=key)


def holds_invalid_text(value: Any) -> bool:
    """Return whether a decoded value (or `Opaque`) has, at any depth, a text or a name that is not valid UTF-8."""
    if not isinstance(value, Opaque):
        return False
    try:
        decode(wrap([Element(value.kind, b"", value.value)]), CODEC)
    except (BSONError, UnicodeError):
        return True
    return False


def text_of(text: bytes) -> str | Opaque:
    """Return the decoded value of a BSON string of these bytes: `Opaque` if they are not valid UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return Opaque(STRING, _text(text))


def unescaped(value: Any) -> Any:
    """Return a decoded value; a text with surrogate escapes, as the driver and the command line have them, becomes `Opaque`."""
    return text_of(value.encode("utf-8", "surrogateescape")) if isinstance(value, str) else value


def _text(text: bytes) -> bytes:
    return b"%b%b\x00" % (_INT32.pack(len(text) + 1), text)


def body_of(fields: Mapping[str, Any]) -> bytes:
    """Return the bytes of a document's elements, without length and end, in the mapping's own order."""
    # bson.encode moves `_id` to the front, so a document that has it elsewhere is built element by element.
    id_elsewhere = "_id" in fields and next(iter(fields)) != "_id"
    if not id_elsewhere and Opaque not in map(type, fields.values()):
        try:
            return encode(fields, codec_options=CODEC)[4:-1]
        except UnicodeEncodeError:  # A field name that is not UTF-8.
            pass
    return b"".join([element_of(name, value).raw for name, value in fields.items()])


def write_fields(fields: Mapping[str, Any]) -> bytes:
    """Encode a document whose values may be `Opaque`, in the mapping's own order."""
    return wrap_bytes(body_of(fields))


_OBJECT_ID_FIRST = b"\x07_id\x00"
"""How nearly every document continues behind its length: an ObjectId of twelve bytes follows."""

_SIZE_WITH_OBJECT_ID = (22).to_bytes(4, "little")


def identity_of(raw: bytes) -> bytes:
    """Return the BSON of ``{_id}`` of a document. Its other fields, which may be megabytes, are not decoded."""
    if raw[4:9] == _OBJECT_ID_FIRST:
        return b"%b%b\x00" % (_SIZE_WITH_OBJECT_ID, raw[4:21])
    return wrap([next(element for element in elements(raw) if element.name == b"_id")])
