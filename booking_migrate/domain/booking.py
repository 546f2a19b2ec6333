"""One old document, read once: its first level decoded, its bytes kept; and the people whose fields it may lack."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bson.code import Code
from bson.dbref import DBRef

from booking_migrate.bson.document import Document, elements, read_exactly, read_fields

_NOT_FLAT = frozenset({dict, list, Code, DBRef})

CLIENT_FIELDS = ("clientUserId", "clientEmail")
EXPERT_FIELDS = ("expertUserId", "expertEmail")


@dataclass(slots=True)
class Booking:
    """A document of the source. Not frozen, because a million of these are made; treat it as immutable."""

    raw: bytes
    """The BSON bytes as they stand in the source."""

    fields: Document
    """The first level, decoded; values that Python cannot hold unchanged are `Opaque`."""

    exact: bool
    """Whether encoding ``fields`` gives ``raw`` again."""

    flat: bool
    """Whether certainly no field holds a document or an array."""

    @property
    def document_id(self) -> Any:
        """Return the `_id`, or None if it is absent."""
        return self.fields.get("_id")

    @property
    def is_client_document(self) -> bool:
        """Return whether this is a client document, not a booking."""
        return "sessions" in self.fields

    def lacks_client(self) -> bool:
        """Return whether `clientUserId` or `clientEmail` has to be looked up: null counts as absent."""
        fields = self.fields
        return fields.get("clientUserId") is None or fields.get("clientEmail") is None

    def lacks_expert(self) -> bool:
        """Return whether `expertUserId` or `expertEmail` has to be looked up: null counts as absent."""
        fields = self.fields
        return fields.get("expertUserId") is None or fields.get("expertEmail") is None

    def repeated_names(self) -> list[str]:
        """Return the names that occur more than once on the first level."""
        if self.exact:
            return []
        names = [element.name for element in elements(self.raw)]
        return sorted({name.decode("utf-8", "replace") for name in names if names.count(name) > 1})


def read_booking(raw: bytes) -> Booking:
    """Read one document.

    Raises:
        MalformedBson: if the bytes are not a BSON document.
    """
    fields = read_exactly(raw)
    if fields is not None and _NOT_FLAT.isdisjoint(map(type, fields.values())):
        return Booking(raw, fields, exact=True, flat=True)
    exact = fields is not None and Code not in map(type, fields.values())
    return Booking(raw, fields if fields is not None and exact else read_fields(raw), exact=exact, flat=False)


@dataclass(frozen=True, slots=True)
class Person:
    """The fields of one user that sessions need."""

    user_id: Any
    """The value of the users' id field as decoded; None if the user has none."""

    email: Any
    """The value of the users' email field as decoded; None if the user has none."""


@dataclass(frozen=True, slots=True)
class People:
    """Users and experts by the sort key (`bson.order`) of their `_id`. What is not in here was not found."""

    users: Mapping[bytes, Person] = field(default_factory=dict)
    experts: Mapping[bytes, Any] = field(default_factory=dict)
    """For each expert the id of its user; None if the expert has none."""
