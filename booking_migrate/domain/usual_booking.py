"""A short cut for the usual booking: second generation, complete, of plain types, with ObjectIds.

Nearly all of a collection looks like this, and it can be converted without the round trip that `read_exactly` makes to
prove that no value changes. What can hide from Python in a flat document of plain types is a symbol that passes for a
string, which its type byte 0x0E before a field's name would betray, and a name that occurs twice, which would make the session shorter than the
booking's length says. Whenever in doubt, the answer is None and the thorough way (`Converter.convert`) decides; a
property test compares the two.
"""

import re

from bson import decode
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.int64 import Int64
from bson.objectid import ObjectId
from pydantic_core import SchemaValidator, ValidationError

from booking_migrate.domain.booking import Booking
from booking_migrate.domain.bson_document import CODEC, Document
from booking_migrate.domain.conversion import Session, build_session

_PLAIN = frozenset({ObjectId, str, int, Int64, float, DatetimeMS, Decimal128})
_SYMBOL = b"\x0e"
_AFTER_SYMBOL = re.compile(rb"\x0e(?=([^\x00]*)\x00)")
_FRAMES = 23 + 29 - 17 - 22 - 19 - 18
"""Bytes that a session has more than its booking: `sessionId` and `legacyBookingId` less `_id`, `clientId` and the
frames of `clientUserId` and `clientEmail`."""

_VERSION_SIZE = 9
"""Bytes of `__v` as int32."""

_UNKNOWN = 1 << 30
"""More bytes than any document has: the lengths will not fit, and the thorough way decides."""


def convert_usual(raw: bytes, validator: SchemaValidator) -> Session | None:
    """Convert a booking if it is a usual one that keeps the contract, else None.

    Args:
        raw: the document's BSON bytes.
        validator: the contract's (`Contract.validator`).
    """
    try:
        fields = decode(raw, CODEC)
        if not _PLAIN.issuperset(map(type, fields.values())) or (_SYMBOL in raw and _has_symbol(raw, fields)):
            return None
        validator.validate_python(fields)
        legacy_id, created_at, updated_at = fields["_id"], fields["createdAt"], fields["updatedAt"]
    except (BSONError, KeyError, RecursionError, ValidationError):
        return None
    if type(legacy_id) is not ObjectId or type(fields["clientId"]) is not ObjectId:
        return None
    if "status" not in fields or "paymentStatus" not in fields:
        return None
    if "sessions" in fields or "sessionId" in fields or "legacyBookingId" in fields:
        return None
    session = build_session(Booking(raw, fields, True, True), fields, int(created_at), int(updated_at))
    return session if len(session.raw) == len(raw) + _growth(fields) else None


def _has_symbol(raw: bytes, fields: Document) -> bool:
    """Whether the bytes of a symbol element with one of these names stand anywhere in a document."""
    return any(name.decode("utf-8", "replace") in fields for name in _AFTER_SYMBOL.findall(raw))


def _growth(fields: Document) -> int:
    """How many bytes longer than its booking a session is if no name occurs twice."""
    texts = fields["clientUserId"] + fields["clientEmail"]
    version = 0 if "__v" not in fields else _VERSION_SIZE if type(fields["__v"]) is int else _UNKNOWN
    return _FRAMES - version - (len(texts) if texts.isascii() else _UNKNOWN)
