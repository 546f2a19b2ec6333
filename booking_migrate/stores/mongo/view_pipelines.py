"""A collection in the other shape, as the server works it out (MongoDB manual, core/views).

What stands here means what `domain` means, for bookings that keep the contract; a test compares document by document.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from booking_migrate.stores.views import PeopleNames

Stage = Mapping[str, Any]

_CLIENT_TYPES = ["objectId", "string", "int", "long", "binData"]
_DROPPED = ("_id", "clientId", "clientUserId", "clientEmail", "__v")
_LOOKED_UP = ("expertUserId", "expertEmail")
_STATES = ("status", "paymentStatus")


def old_shape() -> Sequence[Stage]:
    """Return each session as a booking of its own; a document in the old shape passes as it is.

    Its `_id` is the old booking's, or `sessionId` for a session that was never one. Client fields are the client's.
    """
    own: Any = "$sessions"
    for name in ("sessionId", "legacyBookingId"):
        own = {"$unsetField": {"field": name, "input": own}}
    head = {
        "_id": {"$ifNull": ["$sessions.legacyBookingId", "$sessions.sessionId"]},
        "clientId": "$clientId",
        "clientUserId": "$clientUserId",
        "clientEmail": "$clientEmail",
    }
    return (
        # A client document without sessions has no booking to show.
        {"$match": {"sessions": {"$ne": []}}},
        {"$unwind": {"path": "$sessions", "preserveNullAndEmptyArrays": True}},
        {
            "$replaceWith": {
                "$cond": [
                    {"$eq": [{"$type": "$sessions"}, "object"]},
                    {"$mergeObjects": [head, own]},
                    "$$ROOT",
                ]
            }
        },
    )


def new_shape(people: PeopleNames) -> Sequence[Stage]:
    """Return the bookings of each client as one document; a client document that is there already gets them added."""
    return (
        {"$match": {"$expr": {"$in": [{"$type": "$clientId"}, _CLIENT_TYPES]}}},
        *_lookups(people),
        {
            "$project": {
                "_id": 0,
                "client": "$booking.clientId",
                "base": _if_document("$booking", "$$REMOVE"),
                "session": _if_document("$$REMOVE", _session(people)),
                "userId": _own_or("$booking.clientUserId", f"$user.{people.fields.user_id}"),
                "email": _own_or("$booking.clientEmail", f"$user.{people.fields.email}"),
                "created": _if_document("$booking.createdAt", _created("$booking")),
                "updated": _if_document("$booking.updatedAt", _updated("$booking")),
                "order": "$booking._id",
            }
        },
        {"$sort": {"created": 1, "order": 1}},
        {
            "$group": {
                "_id": "$client",
                "base": {"$max": "$base"},
                "new": {"$push": "$session"},
                "userId": {"$last": "$userId"},
                "email": {"$last": "$email"},
                "created": {"$min": "$created"},
                "updated": {"$max": "$updated"},
            }
        },
        {"$set": {"sessions": {"$concatArrays": [{"$ifNull": ["$base.sessions", []]}, "$new"]}}},
        {
            "$replaceWith": {
                "$switch": {
                    "branches": [
                        {"case": {"$eq": ["$new", []]}, "then": "$base"},
                        {
                            "case": {"$eq": [{"$type": "$base"}, "object"]},
                            "then": {"$mergeObjects": ["$base", _totals()]},
                        },
                    ],
                    "default": {"$mergeObjects": [_head(), _totals()]},
                }
            }
        },
    )


def _lookups(people: PeopleNames) -> Sequence[Stage]:
    """Return the document as it is, beside its user, its expert, and the expert's user."""
    return (
        {"$project": {"_id": 0, "booking": "$$ROOT"}},
        _lookup(people.users, "booking.clientId", "user"),
        _lookup(people.experts, "booking.expertId", "expert"),
        _first("user", "expert"),
        _lookup(people.users, f"expert.{people.fields.expert_user}", "expertUser"),
        _first("expertUser"),
    )


def _lookup(collection: str, local: str, name: str) -> Stage:
    return {"$lookup": {"from": collection, "localField": local, "foreignField": "_id", "as": name}}


def _first(*names: str) -> Stage:
    return {"$set": {name: {"$first": f"${name}"} for name in names}}


def _if_document(then: Any, otherwise: Any) -> Stage:
    return {"$cond": [{"$isArray": "$booking.sessions"}, then, otherwise]}


def _own_or(own: str, looked_up: str) -> Stage:
    return {"$ifNull": [own, looked_up]}


def _session(people: PeopleNames) -> Stage:
    own: Any = "$booking"
    for name in _DROPPED:
        own = {"$unsetField": {"field": name, "input": own}}
    for name in _LOOKED_UP:
        is_null: Stage = {"$eq": [{"$type": f"$booking.{name}"}, "null"]}
        own = {"$cond": [is_null, {"$unsetField": {"field": name, "input": own}}, own]}
    added: Stage = {
        "expertUserId": f"$expertUser.{people.fields.user_id}",
        "expertEmail": f"$expertUser.{people.fields.email}",
        "status": "pending",
        "paymentStatus": "pending",
    }
    parts: list[Any] = [{"sessionId": _session_id()}, own]
    for name in _LOOKED_UP:
        has_none: Stage = {"$eq": [{"$ifNull": [f"$booking.{name}", None]}, None]}
        parts.append({"$cond": [has_none, {name: added[name]}, {}]})
    for name in _STATES:
        is_lacking: Stage = {"$eq": [{"$type": f"$booking.{name}"}, "missing"]}
        parts.append({"$cond": [is_lacking, {name: added[name]}, {}]})
    return {"$mergeObjects": [*parts, {"legacyBookingId": "$booking._id"}]}


def _session_id() -> Stage:
    """Return the `sessionId` of an ObjectId as `domain.ids.session_id` has it; any other id unchanged: the server lacks SHA-256."""
    return _permuted("$booking._id", (0, 8), (18, 6), (8, 10))


def _permuted(value: str, *parts: tuple[int, int]) -> Stage:
    """Return an ObjectId of pieces of another one's hex digits."""
    text = {"$toString": value}
    chunks = [{"$substrBytes": [text, start, length]} for start, length in parts]
    return {"$cond": [{"$eq": [{"$type": value}, "objectId"]}, {"$toObjectId": {"$concat": chunks}}, value]}


def _time(own: str, other: str) -> Stage:
    """Return a date, else the time in an ObjectId `_id`, else the other date."""
    in_id = {"$cond": [{"$eq": [{"$type": "$booking._id"}, "objectId"]}, {"$toDate": "$booking._id"}, other]}
    return {"$ifNull": [own, in_id]}


def _created(document: str) -> Stage:
    return _time(f"{document}.createdAt", f"{document}.updatedAt")


def _updated(document: str) -> Stage:
    return _time(f"{document}.updatedAt", f"{document}.createdAt")


def _head() -> Stage:
    """Return the fields before the sessions, of a client that has no document yet."""
    return {
        "_id": _permuted("$_id", (0, 8), (16, 8), (8, 8)),
        "clientId": "$_id",
        "clientUserId": "$userId",
        "clientEmail": "$email",
    }


def _totals() -> Stage:
    """Return the sessions and what is taken over all of them."""
    prices = "$sessions.price"
    types = {"$map": {"input": "$sessions", "in": {"$type": "$$this.price"}}}
    exact = {
        "$sum": {
            "$map": {
                "input": prices,
                "in": {"$convert": {"input": "$$this", "to": "decimal", "onError": None, "onNull": None}},
            }
        }
    }
    return {
        "sessions": "$sessions",
        "totalSessions": {"$size": "$sessions"},
        "totalSpent": {
            "$switch": {
                "branches": [
                    {"case": {"$in": ["decimal", types]}, "then": exact},
                    {"case": {"$in": ["double", types]}, "then": {"$toDouble": exact}},
                ],
                "default": {"$sum": prices},
            }
        },
        "createdAt": "$created",
        "updatedAt": "$updated",
    }
