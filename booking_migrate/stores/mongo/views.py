"""Views over a collection, and the pipelines by which the server works the other shape out (MongoDB manual, core/views).

The expressions mean what `domain` means, for bookings that keep the contract; a test compares document by document.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from booking_migrate.domain.contract import FieldRule
from booking_migrate.domain.session import ADDED, DROPPED, EXPERT_FIELDS
from booking_migrate.errors import UnusablePlace, before_start
from booking_migrate.stores.connection import PeopleNames, Shape
from booking_migrate.stores.mongo.administration import run_durably
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import absent, write

Stage = Mapping[str, Any]

_CLIENT_TYPES = ["objectId", "string", "int", "long", "binData"]


class MongoViews:
    """The views over one collection."""

    def __init__(self, collection: DriverCollection) -> None:
        self._collection = collection

    def create(self, name: str, shape: Shape, people: PeopleNames) -> bool:
        """Create a view; return False if the very same one exists already.

        Raises:
            PlaceNotFound: the collection does not exist.
            UnusablePlace: the name is taken by another collection or view, or the collection is itself a view.
        """
        pipeline = list(_pipeline(shape, people))
        with before_start():
            if self._has_view(name, pipeline):
                return False
        command = {"create": name, "viewOn": self._collection.name, "pipeline": pipeline}
        write(self._collection, lambda: run_durably(self._collection.database, command))
        return True

    def _has_view(self, name: str, pipeline: Sequence[Stage]) -> bool:
        """Return whether a view of that name and pipeline exists; refuse what prevents that it is created."""
        listed = describe(self._collection, waits=False)
        if listed is None:
            raise absent(self._collection)
        if listed["type"] != "collection":
            raise UnusablePlace(self._collection.name, f"it is a {listed['type']}")
        there = describe(self._collection.database[name])
        if there is None:
            return False
        options = there.get("options", {})
        if options.get("viewOn") == self._collection.name and options.get("pipeline") == pipeline:
            return True
        raise UnusablePlace(name, f"there is a {there['type']} of that name already")

    def drop(self, name: str) -> bool:
        """Drop a view over the collection; return False if the name does not exist.

        Raises:
            UnusablePlace: the name belongs to a collection, or to a view over another one.
        """
        with before_start():
            there = describe(self._collection.database[name], waits=False)
            if there is None:
                return False
            if there["type"] != "view":
                raise UnusablePlace(name, f"it is a {there['type']}, not a view")
            if there["options"].get("viewOn") != self._collection.name:
                raise UnusablePlace(name, f"it is a view over {there['options'].get('viewOn')}")
        write(self._collection, lambda: self._collection.database.drop_collection(name))
        return True


def _pipeline(shape: Shape, people: PeopleNames) -> Sequence[Stage]:
    match shape:
        case Shape.OLD:
            return old_shape()
        case Shape.NEW:
            return new_shape(people)


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
        {"$project": {"_id": 0, "booking": "$$ROOT"}},
        _lookup(people.users, "booking.clientId", "user"),
        _lookup(people.experts, "booking.expertId", "expert"),
        _first("user", "expert"),
        _lookup(people.users, f"expert.{people.fields.expert_user}", "expertUser"),
        _first("expertUser"),
        {
            "$project": {
                "_id": 0,
                "client": "$booking.clientId",
                "base": _if_document("$booking", "$$REMOVE"),
                "session": _if_document("$$REMOVE", _session(people)),
                "userId": {"$ifNull": ["$booking.clientUserId", f"$user.{people.fields.user_id}"]},
                "email": {"$ifNull": ["$booking.clientEmail", f"$user.{people.fields.email}"]},
                "created": _if_document("$booking.createdAt", _time("createdAt", "updatedAt")),
                "updated": _if_document("$booking.updatedAt", _time("updatedAt", "createdAt")),
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


def _lookup(collection: str, local: str, name: str) -> Stage:
    return {"$lookup": {"from": collection, "localField": local, "foreignField": "_id", "as": name}}


def _first(*names: str) -> Stage:
    return {"$set": {name: {"$first": f"${name}"} for name in names}}


def _if_document(then: Any, otherwise: Any) -> Stage:
    return {"$cond": [{"$isArray": "$booking.sessions"}, then, otherwise]}


def _session(people: PeopleNames) -> Stage:
    own: Any = "$booking"
    for name in DROPPED:
        own = {"$unsetField": {"field": name, "input": own}}
    for name in EXPERT_FIELDS:
        is_null: Stage = {"$eq": [{"$type": f"$booking.{name}"}, "null"]}
        own = {"$cond": [is_null, {"$unsetField": {"field": name, "input": own}}, own]}
    # As `domain.ids.session_id` has it for an ObjectId; any other id stays: the server lacks SHA-256.
    session_id = _permuted("$booking._id", (0, 8), (18, 6), (8, 10))
    added = [_added(rule, people) for rule in ADDED]
    return {"$mergeObjects": [{"sessionId": session_id}, own, *added, {"legacyBookingId": "$booking._id"}]}


def _added(rule: FieldRule, people: PeopleNames) -> Stage:
    """Return a field of a session whose booking may lack it; null counts as absent for one that is looked up."""
    name = rule.name
    if rule.default is not None:
        is_lacking: Stage = {"$eq": [{"$type": f"$booking.{name}"}, "missing"]}
        return {"$cond": [is_lacking, {name: rule.default}, {}]}
    of_user = dict(zip(EXPERT_FIELDS, (people.fields.user_id, people.fields.email), strict=True))
    has_none: Stage = {"$eq": [{"$ifNull": [f"$booking.{name}", None]}, None]}
    return {"$cond": [has_none, {name: f"$expertUser.{of_user[name]}"}, {}]}


def _permuted(value: str, *parts: tuple[int, int]) -> Stage:
    """Return an ObjectId of pieces of another one's hex digits."""
    text = {"$toString": value}
    chunks = [{"$substrBytes": [text, start, length]} for start, length in parts]
    return {"$cond": [{"$eq": [{"$type": value}, "objectId"]}, {"$toObjectId": {"$concat": chunks}}, value]}


def _time(own: str, other: str) -> Stage:
    """Return a booking's date, else the time in an ObjectId `_id`, else its other date."""
    is_object_id = {"$eq": [{"$type": "$booking._id"}, "objectId"]}
    in_id = {"$cond": [is_object_id, {"$toDate": "$booking._id"}, f"$booking.{other}"]}
    return {"$ifNull": [f"$booking.{own}", in_id]}


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
