"""The ids of sessions and client documents, and from them back to those of bookings and clients.

They are new, deterministic, and never the same for two different bookings or clients. An ObjectId is four bytes of time, five
random bytes and three counter bytes (MongoDB manual, reference/bson-types, ObjectId). Both id spaces keep the time and permute
the rest, each in its own way, so the mapping is one to one and the order in time is kept.
"""

import struct
from hashlib import sha256
from typing import Any

from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import write_fields


def session_id(legacy_id: Any, created_at: int) -> ObjectId:
    """Return the `sessionId` of a booking.

    Args:
        legacy_id: the booking's `_id`, as decoded (or `Opaque`).
        created_at: the booking's creation time in milliseconds since 1970; used if `_id` is not an ObjectId.
    """
    if type(legacy_id) is ObjectId:
        return ObjectId(session_object_id(legacy_id.binary))
    digest = sha256(write_fields({"_id": legacy_id})).digest()
    return ObjectId(struct.pack(">I", created_at // 1000 % (1 << 32)) + digest[:8])


def session_object_id(old: bytes) -> bytes:
    """Return the twelve bytes of the `sessionId` of a booking whose `_id` is an ObjectId of these twelve bytes."""
    return old[:4] + old[9:] + old[4:9]


def booking_of_session(session: ObjectId) -> ObjectId:
    """Return the booking's `_id`, an ObjectId, that has this `sessionId`: the inverse of `session_id`."""
    own = session.binary
    return ObjectId(own[:4] + own[7:] + own[4:7])


def client_document_id(client_id: Any) -> ObjectId:
    """Return the `_id` of a client's new document, from `clientId` alone.

    Clients that MongoDB calls equal get the same id: an integer counts as Int64 whatever its BSON type.
    """
    if type(client_id) is ObjectId:
        return ObjectId(client_document_object_id(client_id.binary))
    canonical = Int64(client_id) if isinstance(client_id, int) else client_id
    return ObjectId(sha256(write_fields({"clientId": canonical})).digest()[:12])


def client_document_object_id(old: bytes) -> bytes:
    """Return the twelve bytes of the `_id` of the document of a client whose `clientId` is an ObjectId of these twelve bytes."""
    return old[:4] + old[8:] + old[4:8]


def client_of_document(document_id: ObjectId) -> ObjectId:
    """Return the `clientId`, if it is an ObjectId, whose new document has this `_id`.

    The mapping swaps the last two groups of four bytes, so it is its own inverse.
    """
    return client_document_id(document_id)


def time_of(object_id: ObjectId) -> int:
    """Return the time in an ObjectId, in milliseconds since 1970."""
    seconds: int = struct.unpack(">I", object_id.binary[:4])[0]
    return seconds * 1000
