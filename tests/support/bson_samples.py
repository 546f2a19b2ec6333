"""Documents that show every BSON type, for tests that nothing is re-typed."""

import math

from bson import encode
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from booking_migrate.bson.document import CODEC, Element, element_of, wrap

VALUES = {
    "double": 1.5,
    "negative zero": -0.0,
    "not a number": math.nan,
    "infinity": -math.inf,
    "string": "čtyři\u2028\x00řádky",
    "document": {"b": 1, "a": {"c": [1, Int64(2)]}},
    "array": [1, "a", None, [2.5]],
    "binary": b"\x00\xff",
    "uuid": Binary(bytes(range(16)), 4),
    "legacy uuid": Binary(bytes(range(16)), 3),
    "user-defined binary": Binary(b"abc", 128),
    "object id": ObjectId("68b6134f8e21e1ae686349f7"),
    "bool": True,
    "date": DatetimeMS(1756425600000),
    "date before 1970": DatetimeMS(-1),
    "date in the year 0": DatetimeMS(-62167219200000),
    "date in the year 10000": DatetimeMS(253402300800000),
    "null": None,
    "regex": Regex('^a/"b', "ix"),
    "code": Code("return 1"),
    "code with scope": Code("return a", {"a": 1}),
    "int32": 7,
    "int64": Int64(7),
    "timestamp": Timestamp(1756425600, 1),
    "decimal": Decimal128("1.10"),
    "decimal not a number": Decimal128("NaN"),
    "min key": MinKey(),
    "max key": MaxKey(),
}
"""One value of each type that Extended JSON can hold, by what it is."""

DEPRECATED = {
    "undefined": Element(0x06, b"value", b""),
    "symbol": Element(0x0E, b"value", b"\x02\x00\x00\x00a\x00"),
    "pointer": Element(0x0C, b"value", b"\x04\x00\x00\x00a.b\x00" + bytes(12)),
    "text that is no UTF-8": Element(0x02, b"value", b"\x02\x00\x00\x00\xe9\x00"),
    "regex with unsorted flags": Element(0x0B, b"value", b"a\x00xi\x00"),
}
"""Values that servers hold but that Extended JSON changes or cannot hold."""


def document_of(number: int, value: object) -> bytes:
    """A booking-like document with one value of interest."""
    fields = {"_id": number, "clientId": ObjectId(bytes(12)), "value": value}
    return encode(fields, codec_options=CODEC)


def ordinary_documents() -> list[bytes]:
    """One document per value of `VALUES`."""
    return [document_of(number, value) for number, value in enumerate(VALUES.values())]


def deprecated_documents() -> list[bytes]:
    """One document per value of `DEPRECATED`."""
    return [
        wrap([element_of("_id", f"old {number}"), element_of("clientId", "a client"), element])
        for number, element in enumerate(DEPRECATED.values())
    ]
