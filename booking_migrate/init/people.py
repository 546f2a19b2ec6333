"""Where users and experts are, and which of their fields have what bookings of the first generation lack.

A collection has the users if the clients of bookings are `_id` values in it. A field of theirs is the one that is meant if it has what
complete bookings say of the same client; without complete bookings, if its values look so.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from booking_migrate.bson.document import Document, read_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import EMAIL, USER_ID
from booking_migrate.domain.kinds import Kind, has_kind

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.inspection import MongoInspector

_SHARE = 0.5
"""Which part of the ids that are looked up a collection has to hold."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A collection that holds some of the ids that were looked up."""

    name: str
    documents: Mapping[bytes, Document]
    """By the sort key of `_id`."""

    asked: int

    @property
    def has_most(self) -> bool:
        """Return whether it holds at least half of the ids."""
        return len(self.documents) >= max(1, _SHARE * self.asked)


def holders_of(ids: Sequence[Any], inspector: "MongoInspector", names: Sequence[str]) -> list[Holder]:
    """Return the collections that hold documents with one of these `_id`, those with most of them first."""
    found = []
    for name in names if ids else ():
        documents = {}
        for raw in inspector.referring(name).find(ids):
            fields = read_fields(raw)
            documents[sort_key(fields["_id"])] = fields
        if documents:
            found.append(Holder(name, documents, len(ids)))
    return sorted(found, key=lambda holder: (-len(holder.documents), holder.name))


class FieldsFound(NamedTuple):
    """The fields that may be one that is searched for: several if they fit equally well."""

    names: Sequence[str]
    reason: str


def user_id_fields(users: Holder, bookings: Sequence[Document]) -> FieldsFound:
    """Return the fields that may have the users' four digits."""
    return _fields(users, bookings, "clientUserId", USER_ID)


def email_fields(users: Holder, bookings: Sequence[Document]) -> FieldsFound:
    """Return the fields that may have the users' email addresses."""
    return _fields(users, bookings, "clientEmail", EMAIL)


def _fields(users: Holder, bookings: Sequence[Document], said: str, pattern: str) -> FieldsFound:
    """Return the fields that agree with what bookings say of their clients, or else those whose values look so."""
    agreeing: Counter[str] = Counter()
    for booking in bookings:
        user = users.documents.get(sort_key(booking.get("clientId")))
        if user is not None and isinstance(value := booking.get(said), str):
            agreeing.update(name for name, other in user.items() if other == value)
    if agreeing:
        return FieldsFound(_best(agreeing), f"Its values are the {said} of bookings of the same client")
    whole = re.compile(pattern)
    names = _counted(users, lambda value: isinstance(value, str) and whole.fullmatch(value) is not None)
    return FieldsFound(names, f"Its values look like {said}")


def expert_user_fields(experts: Holder, users: str, inspector: "MongoInspector") -> FieldsFound:
    """Return the fields of experts that hold ids of users."""
    values = {
        sort_key(value): value
        for document in experts.documents.values()
        for name, value in document.items()
        if name != "_id" and has_kind(value, Kind.IDENTIFIER)
    }
    there = {
        sort_key(read_fields(raw)["_id"]) for raw in inspector.referring(users).find(list(values.values()))
    }
    names = _counted(experts, lambda value: has_kind(value, Kind.IDENTIFIER) and sort_key(value) in there)
    return FieldsFound(names, f"Its values are _id values of {users}")


def _counted(holder: Holder, fits: Callable[[Any], bool]) -> Sequence[str]:
    """Return the fields whose value fits in at least half of the documents, the best first."""
    counts = Counter(
        name
        for document in holder.documents.values()
        for name, value in document.items()
        if name != "_id" and fits(value)
    )
    least = _SHARE * len(holder.documents)
    return _best(Counter({name: count for name, count in counts.items() if count >= least}))


def _best(counts: Counter[str]) -> Sequence[str]:
    """Return the names with the highest count; several if they have the same."""
    most = max(counts.values(), default=0)
    return sorted(name for name, count in counts.items() if count == most)
