"""Values that have no business where they stand: operators, patterns, and text that is not valid UTF-8."""

from bson.code import Code
from bson.dbref import DBRef
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex

from booking_migrate.bson.document import Opaque

INVALID = b"caf\xe9 \xff\x80"
"""Bytes that are not valid UTF-8."""

SHOWN = r"b'caf\xe9 \xff\x80'"
"""How reports show a text of these bytes."""


def invalid_text(text: bytes = INVALID) -> Opaque:
    """The decoded value of a string of these bytes."""
    return Opaque(0x02, (len(text) + 1).to_bytes(4, "little") + text + b"\x00")


HOSTILE_IDS = (
    {"$gt": ""},
    {"$in": [1]},
    {"a": 1},
    [{"$in": [1]}],
    ["a", "b"],
    DBRef("users", ObjectId(bytes(12))),
    Regex("^6"),
    Code("this"),
    Code("this", {"a": 1}),
    MinKey(),
    MaxKey(),
    Opaque(0x06, b""),
    Opaque(0x0B, INVALID + b"\x00\x00"),
    invalid_text(),
)
"""Values that are no id of a client or an expert."""
