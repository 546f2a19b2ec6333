"""The aggregation that makes client documents of plain clients' bookings (DESIGN.md, sections 2 and 5).

It makes the bytes that `domain.consolidation` makes, and a property test on a real server compares the two. Whole bookings
are collected and then stripped of what a session does not have, which is far cheaper than naming each field that it has.
Whatever about a client the server cannot tell makes the client not plain: it then gets no document here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bson.objectid import ObjectId

from booking_migrate.domain.booking import CLIENT_FIELDS
from booking_migrate.stores.grouping import ClientRange, PlainRules
from booking_migrate.stores.mongo.contract_schema import plain_booking

Stage = dict[str, Any]

_DROPPED = ("_id", "clientId", *CLIENT_FIELDS, "__v")
_OBJECT_ID = 12
_VERSION_SIZE = 9
_FRAME = 2
"""Bytes of an element beside its name and value: the type and the name's end."""

_TEXT_FRAME = 5
"""Bytes of a string beside its characters: its length and its end."""

_EMPTY = 5
"""Bytes of an empty document or array."""

_INDEX_DIGITS = (10, 100, 1000, 10_000, 100_000)
"""From these numbers on, an index in an array takes one digit more."""


def in_range(clients: ClientRange) -> Mapping[str, Any]:
    """The query for the documents of a range. It compares with ObjectIds only, and so finds nothing else."""
    return {"clientId": {"$gte": clients.first, "$lt": clients.end}}


def pipeline(
    clients: ClientRange, excluded: Sequence[ObjectId], rules: PlainRules, target: str
) -> list[Stage]:
    """The stages that write the documents of a range's plain clients into a target.

    Args:
        clients: the range.
        excluded: clients in it that get no document.
        rules: what a plain client keeps.
        target: the collection that the documents are inserted into; one that is there already ends the aggregation.
    """
    chosen: dict[str, Any] = {"$gte": clients.first, "$lt": clients.end}
    if excluded:
        chosen["$nin"] = list(excluded)
    return [
        {"$match": {"clientId": chosen}},
        _collected(),
        {"$match": {"size": {"$lte": rules.maximum_document_size}}},
        {"$match": {"$jsonSchema": {"properties": {"bookings": {"items": _schema(rules)}}}}},
        {"$match": {"$expr": {"$and": [_agrees(name) for name in (*CLIENT_FIELDS, "currency")]}}},
        {"$project": {"_id": 0, "size": 1, "versions": {"$size": "$bookings.__v"}, "made": _made()}},
        {"$unset": [f"made.sessions.{name}" for name in _DROPPED]},
        {"$match": {"$expr": _sound_size(rules.maximum_document_size)}},
        {"$replaceWith": "$made"},
        {"$merge": {"into": target, "on": "_id", "whenMatched": "fail", "whenNotMatched": "insert"}},
    ]


def _schema(rules: PlainRules) -> Mapping[str, Any]:
    return plain_booking(rules.contract, rules.accepted)


def _collected() -> Stage:
    """One document a client, with its bookings and what they weigh."""
    return {
        "$group": {
            "_id": "$clientId",
            "bookings": {"$push": "$$ROOT"},
            "size": {"$sum": {"$bsonSize": "$$ROOT"}},
        }
    }


def _agrees(name: str) -> Mapping[str, Any]:
    """Whether all bookings of a client have the same value: what they disagree on has to be told, or told apart."""
    return {"$eq": [{"$size": {"$setUnion": [f"$bookings.{name}"]}}, 1]}


def _made() -> Mapping[str, Any]:
    """The client document, but for what its sessions have too much."""
    ordered = {"$sortArray": {"input": "$bookings", "sortBy": {"createdAt": 1, "_id": 1}}}
    session_id = _permuted("$$this._id", (0, 4), (9, 3), (4, 5))
    session = {
        "$mergeObjects": [{"sessionId": session_id}, "$$this", {"legacyBookingId": "$$this._id"}],
    }
    return {
        "_id": _permuted("$_id", (0, 4), (8, 4), (4, 4)),
        "clientId": "$_id",
        **{name: {"$first": f"$bookings.{name}"} for name in CLIENT_FIELDS},
        "sessions": {"$map": {"input": ordered, "in": session}},
        "totalSessions": {"$size": "$bookings"},
        "totalSpent": _total(),
        "createdAt": {"$min": "$bookings.createdAt"},
        "updatedAt": {"$max": "$bookings.updatedAt"},
    }


def _permuted(object_id: str, *parts: tuple[int, int]) -> Mapping[str, Any]:
    """An ObjectId of another one's bytes, given as positions and lengths (see `domain.ids`)."""
    pieces = [{"$substrBytes": ["$$hex", 2 * start, 2 * length]} for start, length in parts]
    permuted = {"$toObjectId": {"$concat": pieces}}
    return {"$let": {"vars": {"hex": {"$toString": object_id}}, "in": permuted}}


def _total() -> Mapping[str, Any]:
    """The sum of prices in the type that ``$sum`` gives, taken in decimal if that is double."""
    decimals = {"$map": {"input": "$bookings.price", "in": {"$toDecimal": "$$this"}}}
    is_double = {"$eq": [{"$type": "$$sum"}, "double"]}
    exact = {"$cond": [is_double, {"$toDouble": {"$sum": decimals}}, "$$sum"]}
    return {"$let": {"vars": {"sum": {"$sum": "$bookings.price"}}, "in": exact}}


def _sound_size(maximum: int) -> Mapping[str, Any]:
    """Whether the document is as large as its bookings make it, and not too large.

    A booking with a name that occurs twice makes it smaller, and so does one that has a session's own names or a `__v`
    of another type than int32: the server keeps one element of a name.
    """
    size = {"$bsonSize": "$made"}
    return {"$and": [{"$lte": [size, maximum]}, {"$eq": [size, _expected_size()]}]}


def _expected_size() -> Mapping[str, Any]:
    count = "$made.totalSessions"
    texts = {"$add": [{"$strLenBytes": f"$made.{name}"} for name in CLIENT_FIELDS]}
    digits = [{"$max": [0, {"$subtract": [count, start]}]} for start in _INDEX_DIGITS]
    fixed = _EMPTY + _element("sessions", _EMPTY) + _fixed_fields() + _text_frames()
    a_session = (
        _element("0", 0)
        + _element("sessionId", _OBJECT_ID)
        + _element("legacyBookingId", _OBJECT_ID)
        - _element("_id", _OBJECT_ID)
        - _element("clientId", _OBJECT_ID)
        - _text_frames()
    )
    return {
        "$add": [
            "$size",
            fixed,
            {"$cond": [{"$eq": [{"$type": "$made.totalSpent"}, "int"]}, 4, 8]},
            {"$multiply": [count, a_session]},
            {"$multiply": ["$versions", -_VERSION_SIZE]},
            {"$multiply": [texts, {"$subtract": [1, count]}]},
            *digits,
        ]
    }


def _fixed_fields() -> int:
    """Bytes of the client document's fields of fixed length, the value of `totalSpent` left out."""
    ids = _element("_id", _OBJECT_ID) + _element("clientId", _OBJECT_ID)
    dates = _element("createdAt", 8) + _element("updatedAt", 8)
    return ids + dates + _element("totalSessions", 4) + _element("totalSpent", 0)


def _text_frames() -> int:
    return sum(_element(name, _TEXT_FRAME) for name in CLIENT_FIELDS)


def _element(name: str, value: int) -> int:
    """Bytes of an element whose value takes so many."""
    return _FRAME + len(name) + value
