"""The aggregation that makes client documents of plain clients' bookings (DESIGN.md, sections 2 and 5).

It makes the bytes that `domain.consolidation` makes, and a property test on a real server compares the two. Whole bookings
are collected and then stripped of what a session does not have, which is far cheaper than naming each field that it has.
Whatever about a client the server cannot tell makes the client not plain: it then gets no document here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bson.objectid import ObjectId

from booking_migrate.domain.booking import CLIENT_FIELDS
from booking_migrate.stores.grouping import ClientCount, ClientRange, PlainRules
from booking_migrate.stores.mongo.client_ranges import in_range
from booking_migrate.stores.mongo.plain_bookings import CARRIED, plain_bookings, plain_texts

Stage = dict[str, Any]

_DROPPED = ("_id", "clientId", *CLIENT_FIELDS, "__v")
_AGREED = (*CLIENT_FIELDS, "currency")
_OBJECT_ID = 12
_VERSION_SIZE = 9
_FRAME = 2
"""Bytes of an element beside its name and value: the type and the name's end."""

_TEXT_FRAME = 5
"""Bytes of a string beside its characters: its length and its end."""

_EMPTY = 5
"""Bytes of an empty document or array."""

_GROUP_BYTES = 90_000_000
"""How much of one client a group collects at most; the server breaks off at 100 MiB (``internalQueryMaxPushBytes``)."""

_TOO_LARGE = 1 << 40

_INDEX_DIGITS = (10, 100, 1000, 10_000, 100_000)
"""From these numbers on, an index in an array takes one digit more."""


def pipeline(
    clients: ClientRange, wanted: Sequence[ClientCount], rules: PlainRules, target: str
) -> list[Stage]:
    """The stages that write the documents of a range's plain clients into a target.

    Args:
        clients: the range.
        wanted: the clients in it that may get a document, with the number of their documents in the source; at least
            one. A client that has as many plain bookings has nothing else.
        rules: what a plain client keeps.
        target: the collection that the documents are inserted into; one that is there already ends the aggregation.
    """
    return [
        {
            "$match": {
                **in_range(clients),
                **plain_bookings(rules.contract, rules.accepted, _AGREED),
                "$jsonSchema": CARRIED,
            }
        },
        _collected(largest=_GROUP_BYTES // max(documents for _, documents in wanted)),
        {"$match": {"size": {"$lte": rules.maximum_document_size}, **_agreement(rules)}},
        {"$match": _wholeness(wanted)},
        {"$project": {"_id": 0, "size": 1, "versions": {"$size": "$bookings.__v"}, "made": _made()}},
        {"$unset": [f"made.sessions.{name}" for name in _DROPPED]},
        {"$set": {"size": _expected_size()}},
        {"$match": {"size": {"$lte": rules.maximum_document_size}}},
        {"$match": {"$expr": {"$eq": ["$size", {"$bsonSize": "$made"}]}}},
        {"$replaceWith": "$made"},
        {"$merge": {"into": target, "whenMatched": "fail", "whenNotMatched": "insert"}},
    ]


def _collected(largest: int) -> Stage:
    """One document a client, with its bookings and what they weigh.

    Args:
        largest: a booking of more bytes is not collected, and its client weighs too much.
    """
    is_small = {"$lte": [{"$bsonSize": "$$ROOT"}, largest]}
    return {
        "$group": {
            "_id": "$clientId",
            "bookings": {"$push": {"$cond": [is_small, "$$ROOT", None]}},
            "count": {"$sum": 1},
            "size": {"$sum": {"$cond": [is_small, {"$bsonSize": "$$ROOT"}, _TOO_LARGE]}},
            # An absent value would be passed over.
            **{name: {"$addToSet": {"$ifNull": [f"${name}", None]}} for name in _AGREED},
        }
    }


def _wholeness(wanted: Sequence[ClientCount]) -> Mapping[str, Any]:
    """Whether a client is among those given, with all its documents."""
    by_count: dict[int, list[ObjectId]] = {}
    for client, count in wanted:
        by_count.setdefault(count, []).append(client)
    return {"$or": [{"count": count, "_id": {"$in": clients}} for count, clients in by_count.items()]}


def _agreement(rules: PlainRules) -> Mapping[str, Any]:
    """Whether all bookings of a client have the same values: what they disagree on has to be told, or told apart.

    Whether these keep the contract is then asked once a client.
    """
    return {name: {"$size": 1, "$in": plain_texts(rules.contract, rules.accepted, name)} for name in _AGREED}


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
        **{name: {"$first": f"${name}"} for name in CLIENT_FIELDS},
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


def _expected_size() -> Mapping[str, Any]:
    """How large the document is that the bookings make.

    It is smaller if one of them has a name twice, or has a name that sessions give: the server keeps one element of a
    name. Nothing makes it larger, so that no two faults make up for each other.
    """
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
