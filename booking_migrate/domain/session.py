"""A booking as it is read, and from there to a session or a rejection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bson import encode
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.objectid import ObjectId
from pydantic_core import ValidationError

from booking_migrate.bson.document import (
    CODEC,
    MAXIMUM_DEPTH,
    Document,
    depth,
    elements,
    holds_invalid_text,
    read_exactly,
    read_fields,
    write_fields,
)
from booking_migrate.bson.format import describe, display_id, shorten
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import FIELDS, RESERVED, FieldRule, Presence
from booking_migrate.domain.ids import session_id, time_of
from booking_migrate.domain.kinds import Kind, has_kind, is_client_id
from booking_migrate.domain.rejection import Fault, Reason, Rejection
from booking_migrate.domain.rules import DEFAULT_RULES, Rules

_NOT_FLAT = frozenset({dict, list, Code, DBRef})

CLIENT_FIELDS = ("clientUserId", "clientEmail")
EXPERT_FIELDS = ("expertUserId", "expertEmail")
OWNER_FIELDS = ("clientId", *CLIENT_FIELDS)
"""Which fields say whose bookings they are: of an old booking, and of a client document."""

OWNER_NAMES = frozenset(name.encode() for name in OWNER_FIELDS)
"""The same as names of elements."""


@dataclass(slots=True)
class Booking:
    """A document of the source. Not frozen, because a million of these are made; treat it as immutable."""

    raw: bytes
    """The BSON bytes of the source."""

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


DEPTH_OF_A_SESSION = 2
"""How much deeper a booking nests as an element of `sessions`."""

DROPPED = {
    "_id": "legacyBookingId",
    **dict.fromkeys(OWNER_FIELDS, "in the client document"),
    "__v": "left out",
}
"""The fields of a booking that its session does not have, with where their values are instead."""

ADDED: Sequence[FieldRule] = [
    rule
    for rule in FIELDS
    if rule.presence in (Presence.LOOKED_UP, Presence.DEFAULTED) and rule.name not in DROPPED
]
"""The fields that a session has even if its booking lacks them, in the order in which they are added."""

DEFAULTS = {rule.name: rule.default for rule in ADDED if rule.default is not None}
"""The values of those that have a fixed one."""

_ADDED = [rule.name for rule in ADDED]


@dataclass(slots=True)
class Session:
    """A converted booking. Not frozen, because a million of these are made; treat it as immutable."""

    raw: bytes
    """The session's BSON bytes."""

    booking: bytes
    """The old document's BSON bytes."""

    legacy_id: Any
    """The booking's `_id`, decoded."""

    id_key: bytes
    """The sort key of ``legacy_id``."""

    created_at: int
    """When the booking was made, in milliseconds since 1970."""

    updated_at: int
    client_id: Any
    client_user_id: str | None
    client_email: str | None
    price: Any
    currency: str
    fields: Document | None = field(default=None, compare=False, repr=False)
    """The booking's first level as decoded, for observers; dropped early, since it takes much memory."""

    def order(self) -> tuple[int, bytes]:
        """Return the sort key of the session among its client's: by creation, then by old id."""
        return self.created_at, self.id_key


class Converter:
    """Converts bookings under one contract."""

    def __init__(self, rules: Rules = DEFAULT_RULES) -> None:
        """Prepare the contract's checks."""
        self._contract = rules.contract
        self.validator: Final = rules.contract.validator(rules.accepted)

    def convert(self, booking: Booking, people: People, known: Sequence[Fault] = ()) -> Session | Rejection:
        """Convert one booking, or say everything that is wrong with it.

        Args:
            booking: the old document.
            people: what was found among users and experts for the ids that this booking names.
            known: faults that the place itself found, such as an `_id` that occurs twice.
        """
        faults = _structural_faults(booking)
        complete, more = _complete(booking, people)
        try:
            self.validator.validate_python(complete)
        except ValidationError as error:
            more += self._contract_faults(error, complete)
        times = _times(complete)
        if times is None:
            more.append(Fault(Reason.CREATION_TIME_MISSING, "createdAt", _NO_TIME))
        elif not (faults or more or known):
            return build_session(booking, complete, *times)
        return Rejection(booking.raw, (*known, *faults, *more), booking.document_id)

    def is_session(self, stored: Document, session: Session) -> bool:
        """Return whether a session with other content than its booking's keeps the contract, too.

        Args:
            stored: its fields, in a client document.
            session: the session that the booking would be; its client's fields are beside the sessions.
        """
        client = (session.client_user_id, session.client_email)
        complete = {**stored, "clientId": session.client_id, **dict(zip(CLIENT_FIELDS, client, strict=True))}
        for name, value in DEFAULTS.items():
            complete.setdefault(name, value)
        try:
            self.validator.validate_python(complete)
        except ValidationError:
            return False
        return True

    def _contract_faults(self, error: ValidationError, document: Document) -> list[Fault]:
        errors = error.errors(include_url=False, include_context=False)
        at_fault = {problem["loc"][0]: problem["type"] for problem in errors}
        # What was looked for and not found is a fault of its own already.
        absent = {name for name in (*CLIENT_FIELDS, *EXPERT_FIELDS) if name not in document}
        return [
            self._contract.fault(rule, document, at_fault[rule.name])
            for rule in FIELDS
            if rule.name in at_fault and rule.name not in absent
        ]


_RESERVED_DETAIL = "the new structure gives this name itself"
_NO_TIME = "neither createdAt nor updatedAt, and the _id is not an ObjectId to take the time from"


def _structural_faults(booking: Booking) -> list[Fault]:
    """Return what is wrong with the document as such, whatever its values."""
    fields = booking.fields
    faults = []
    if "_id" not in fields:
        faults.append(Fault(Reason.ID_MISSING, "_id", "absent"))
    elif holds_invalid_text(fields["_id"]):
        # As legacyBookingId it would keep the new application from reading the whole client document.
        faults.append(Fault(Reason.WRONG_TYPE, "_id", f"{describe(fields['_id'])} is not valid UTF-8"))
    faults += [Fault(Reason.RESERVED_FIELD, name, _RESERVED_DETAIL) for name in RESERVED if name in fields]
    if not booking.exact:
        names = booking.repeated_names()
        faults += [Fault(Reason.DUPLICATE_FIELD, shorten(name), "occurs more than once") for name in names]
    if not booking.flat:
        deep = nested_too_deep(depth(booking.raw) + DEPTH_OF_A_SESSION, "as a session")
        faults += [] if deep is None else [deep]
    return faults


def nested_too_deep(levels: int, what: str) -> Fault | None:
    """Return the fault of what nests deeper than MongoDB allows; None if it does not."""
    if levels <= MAXIMUM_DEPTH:
        return None
    return Fault(
        Reason.NESTED_TOO_DEEP, None, f"{levels} levels {what}, where MongoDB allows {MAXIMUM_DEPTH}"
    )


def _complete(booking: Booking, people: People) -> tuple[Document, list[Fault]]:
    """Return the booking's fields with the four client and expert fields filled in, and what was not found."""
    lacks_client, lacks_expert = booking.lacks_client(), booking.lacks_expert()
    lacks_default = any(name not in booking.fields for name in DEFAULTS)
    if not (lacks_client or lacks_expert or lacks_default):
        return booking.fields, []
    complete = {
        name: value
        for name, value in booking.fields.items()
        if value is not None or name not in (*CLIENT_FIELDS, *EXPERT_FIELDS)
    }
    for name, value in DEFAULTS.items():
        complete.setdefault(name, value)
    faults = []
    client_id, expert_id = complete.get("clientId"), complete.get("expertId")
    if lacks_client and is_client_id(client_id):
        client = people.users.get(sort_key(client_id))
        faults += _fill_in(complete, CLIENT_FIELDS, client, Reason.CLIENT_USER_NOT_FOUND, client_id)
    if lacks_expert and has_kind(expert_id, Kind.IDENTIFIER):
        expert_key = sort_key(expert_id)
        if expert_key not in people.experts:
            faults.append(Fault(Reason.EXPERT_NOT_FOUND, "expertId", f"no expert {display_id(expert_id)}"))
        else:
            user_id = people.experts[expert_key]
            user = None if user_id is None else people.users.get(sort_key(user_id))
            faults += _fill_in(complete, EXPERT_FIELDS, user, Reason.EXPERT_USER_NOT_FOUND, user_id)
    return complete, faults


def _fill_in(
    document: Document, names: tuple[str, str], person: Person | None, not_found: Reason, user_id: Any
) -> list[Fault]:
    """Put a user's id and email where they are absent, or return the faults of those that are not known."""
    if person is None:
        detail = "the expert names no user" if user_id is None else f"no user {display_id(user_id)}"
        return [Fault(not_found, next(name for name in names if name not in document), detail)]
    faults = []
    for name, value in zip(names, (person.user_id, person.email), strict=True):
        if name in document:
            continue
        if value is None:
            faults.append(Fault(not_found, name, f"user {display_id(user_id)} has none"))
        else:
            document[name] = value
    return faults


def _times(fields: Document) -> tuple[int, int] | None:
    """Return when a booking was made and last changed, in milliseconds since 1970; None if nothing says so."""
    created, updated, legacy_id = fields.get("createdAt"), fields.get("updatedAt"), fields.get("_id")
    from_id = time_of(legacy_id) if type(legacy_id) is ObjectId else None
    created_at = int(created) if type(created) is DatetimeMS else from_id
    updated_at = int(updated) if type(updated) is DatetimeMS else from_id
    if created_at is None:
        created_at = updated_at
    if updated_at is None:
        updated_at = created_at
    return None if created_at is None or updated_at is None else (created_at, updated_at)


def build_session(booking: Booking, complete: Document, created_at: int, updated_at: int) -> Session:
    """Build the session of a booking that keeps every rule.

    Args:
        booking: the old document.
        complete: its fields with everything that was looked up.
        created_at: when it was made, in milliseconds since 1970.
        updated_at: when it was last changed.
    """
    fields = booking.fields
    legacy_id = fields["_id"]
    session: Document = {"sessionId": session_id(legacy_id, created_at), **fields}
    for name in DROPPED:
        session.pop(name, None)
    if complete is not fields:
        for name in EXPERT_FIELDS:
            if session.get(name) is None:
                session.pop(name, None)
    for name in _ADDED:
        if name not in session:
            session[name] = complete[name]
    session["legacyBookingId"] = legacy_id
    return Session(
        encode(session, False, CODEC) if booking.exact else write_fields(session),
        booking.raw,
        legacy_id,
        sort_key(legacy_id),
        created_at,
        updated_at,
        fields["clientId"],
        complete["clientUserId"],
        complete["clientEmail"],
        fields["price"],
        fields["currency"],
        fields,
    )
