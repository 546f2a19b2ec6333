"""MongoDB's order and equality of values, as bytes that sort and compare the same way.

Source: MongoDB manual, reference/bson-type-comparison-order. Two values have the same key exactly when MongoDB calls
them equal (7 as int32, Int64, double and Decimal128 are one; true and 1 are two), and ``key(a) < key(b)`` exactly when
MongoDB sorts ``a`` before ``b`` under the simple collation. Python's own ``==`` and ``<`` do neither.
"""

import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from booking_migrate.bson.document import Element, element_of, elements, value_in

OBJECT_ID_KEY = b"\x23"
"""What the key of an ObjectId begins with; its twelve bytes follow."""

_OBJECT_ID_FIRST = b"\x07_id\x00"
"""How nearly every document continues behind its length: an ObjectId of twelve bytes follows."""

_LEAST_WITH_ID = 21

_BRACKETS = {
    0xFF: 0x01,  # MinKey
    0x06: 0x02,  # undefined
    0x0A: 0x05,  # null
    0x01: 0x0A,  # numbers are one bracket
    0x10: 0x0A,
    0x12: 0x0A,
    0x13: 0x0A,
    0x02: 0x0F,  # string and symbol are one bracket
    0x0E: 0x0F,
    0x03: 0x14,  # document
    0x04: 0x19,  # array
    0x05: 0x1E,  # binary
    0x07: 0x23,  # ObjectId
    0x08: 0x28,  # bool
    0x09: 0x2D,  # date
    0x11: 0x2F,  # timestamp
    0x0B: 0x32,  # regex
    0x0C: 0x37,  # DBPointer
    0x0D: 0x3C,  # code
    0x0F: 0x41,  # code with scope
    0x7F: 0x7F,  # MaxKey
}
_EXPONENT_BIAS = 0x4000
_DIGITS = bytes.maketrans(b"0123456789", bytes(range(1, 11)))
_COMPLEMENT = bytes(range(255, -1, -1))


def sort_key(value: Any) -> bytes:
    """Return the key of a decoded value (or `Opaque`)."""
    if type(value) is ObjectId:
        return OBJECT_ID_KEY + value.binary
    return element_key(element_of("", value))


def id_key(raw: bytes) -> bytes:
    """Return the key of a document's `_id`; nothing else of it is decoded."""
    if raw[4:9] == _OBJECT_ID_FIRST and len(raw) > _LEAST_WITH_ID:
        return OBJECT_ID_KEY + raw[9:21]
    return sort_key(value_in(raw, b"_id"))


def element_key(element: Element) -> bytes:
    """Return the key of an element's value."""
    return b"%c%b" % (_BRACKETS[element.kind], _KEYS[element.kind](element.value))


def _nothing(_value: bytes) -> bytes:
    return b""


def _plain(value: bytes) -> bytes:
    return value


def _text(value: bytes) -> bytes:
    """Return a length-prefixed string; NUL is escaped so that a shorter string sorts first."""
    return _terminated(value[4:-1])


def _terminated(text: bytes) -> bytes:
    return text.replace(b"\x00", b"\x00\xff") + b"\x00\x00"


def _document(value: bytes) -> bytes:
    """Return the key of fields in order: type bracket, then name, then value; a document that ends first sorts first."""
    return (
        b"".join(
            b"%c%b\x00%b" % (_BRACKETS[element.kind], element.name, _KEYS[element.kind](element.value))
            for element in elements(value)
        )
        + b"\x00"
    )


def _counted(value: bytes) -> bytes:
    """Return the key of a length, then bytes: of a binary with its subtype, of a DBPointer with its namespace."""
    return struct.pack(">I", struct.unpack_from("<i", value)[0]) + value[4:]


def _signed(value: bytes) -> bytes:
    return struct.pack(">Q", struct.unpack("<q", value)[0] + (1 << 63))


def _unsigned(value: bytes) -> bytes:
    return value[::-1]


def _code_with_scope(value: bytes) -> bytes:
    scope = 8 + struct.unpack_from("<i", value, 4)[0]
    return _terminated(value[8 : scope - 1]) + _document(value[scope:])


def _double(value: bytes) -> bytes:
    return _number(Decimal(struct.unpack("<d", value)[0]))


def _integer(value: bytes) -> bytes:
    return _number(Decimal(int.from_bytes(value, "little", signed=True)))


def _decimal128(value: bytes) -> bytes:
    return _number(Decimal128.from_bid(value).to_decimal())


def _number(number: Decimal) -> bytes:
    """Return a sign class, and for finite numbers the exponent and the digits of scientific notation."""
    if number.is_nan():
        return b"\x00"
    if number.is_infinite():
        return b"\x01" if number < 0 else b"\xff"
    if not number:
        return b"\x80"
    digits = "".join(map(str, number.as_tuple().digits)).rstrip("0").encode().translate(_DIGITS)
    magnitude = struct.pack(">H", number.adjusted() + _EXPONENT_BIAS) + digits + b"\x00"
    return b"\x81" + magnitude if number > 0 else b"\x7f" + magnitude.translate(_COMPLEMENT)


_KEYS: dict[int, Callable[[bytes], bytes]] = {
    0x01: _double,
    0x02: _text,
    0x03: _document,
    0x04: _document,
    0x05: _counted,
    0x06: _nothing,
    0x07: _plain,
    0x08: _plain,
    0x09: _signed,
    0x0A: _nothing,
    0x0B: _plain,
    0x0C: _counted,
    0x0D: _text,
    0x0E: _text,
    0x0F: _code_with_scope,
    0x10: _integer,
    0x11: _unsigned,
    0x12: _integer,
    0x13: _decimal128,
    0x7F: _nothing,
    0xFF: _nothing,
}
