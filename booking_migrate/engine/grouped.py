"""Reading what the server has made: enough to count it and to note it down, without decoding its sessions."""

import struct
from decimal import Decimal
from typing import NamedTuple

from bson import decode
from bson.errors import BSONError
from bson.objectid import ObjectId

from booking_migrate.domain.bson_document import CODEC, elements, read_value, wrap_bytes
from booking_migrate.domain.ids import client_document_id
from booking_migrate.domain.totals import decimal_of

_ID = b"\x07_id\x00"
_CLIENT_ID = b"\x07clientId\x00"
_TEXTS = (b"\x02clientUserId\x00", b"\x02clientEmail\x00")
_SESSIONS = b"\x04sessions\x00"
_FIRST_SESSION = b"\x030\x00"
_LENGTH = struct.Struct("<i")
_OBJECT_ID = 12


class GroupedDocument(NamedTuple):
    """A client document as the server makes it; all sessions are of one currency."""

    identity: bytes
    """The BSON of ``{_id}``."""

    client_id: ObjectId
    sessions: int
    currency: str
    spent: Decimal


def read_grouped(raw: bytes) -> GroupedDocument | None:
    """Read a client document, or say with None that it is none that the server can have made."""
    try:
        return _read(raw)
    except (BSONError, IndexError, KeyError, ValueError, struct.error):
        return None


def _read(raw: bytes) -> GroupedDocument | None:
    start = _after(raw, 4, _ID)
    client_start = _after(raw, start + _OBJECT_ID, _CLIENT_ID)
    position = client_start + _OBJECT_ID
    client_id = ObjectId(raw[client_start:position])
    if client_document_id(client_id).binary != raw[start : start + _OBJECT_ID]:
        return None
    for name in _TEXTS:
        text = _after(raw, position, name)
        position = text + _LENGTH.size + _LENGTH.unpack_from(raw, text)[0]
    array = _after(raw, position, _SESSIONS)
    session = _after(raw, array + _LENGTH.size, _FIRST_SESSION)
    first = raw[session : session + _LENGTH.unpack_from(raw, session)[0]]
    totals = decode(wrap_bytes(raw[array + _LENGTH.unpack_from(raw, array)[0] : -1]), CODEC)
    return GroupedDocument(
        identity=wrap_bytes(raw[4 : start + _OBJECT_ID]),
        client_id=client_id,
        sessions=totals["totalSessions"],
        currency=_currency(first),
        spent=decimal_of(totals["totalSpent"]),
    )


def _currency(session: bytes) -> str:
    try:
        currency: str = decode(session, CODEC)["currency"]
    except (BSONError, UnicodeError):
        # An unknown field that is no valid text, say: what the server carries, Python need not be able to decode.
        currency = read_value(next(part for part in elements(session) if part.name == b"currency"))
    return currency


def _after(raw: bytes, position: int, expected: bytes) -> int:
    """The position behind a type byte and a name that have to stand at a place."""
    end = position + len(expected)
    if raw[position:end] != expected:
        raise ValueError
    return end
