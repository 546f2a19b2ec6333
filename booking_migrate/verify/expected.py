"""The expected outcome for one booking: its session, or the reasons why it has none; and the people looked up for it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bson import encode
from bson.dbref import DBRef
from bson.objectid import ObjectId

from booking_migrate.bson.document import (
    CODEC,
    MAXIMUM_DEPTH,
    NULL,
    Document,
    Element,
    body_of,
    depth,
    element_of,
    elements,
    holds_invalid_text,
    read_fields,
    wrap_bytes,
)
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.kinds import Kind, has_kind, is_client_id
from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.rules import PeopleFields
from booking_migrate.stores.ports import DocumentReader, Duplicate
from booking_migrate.verify.join import SourceDocument
from booking_migrate.verify.outcome import BrokenRule, VerificationRules
from booking_migrate.verify.rules import ContractRules, SessionFacts, facts_of, session_id

DROPPED = frozenset({"_id", "clientId", "clientUserId", "clientEmail", "__v"})
"""The fields of a booking that its session does not have."""

_CLIENT, _EXPERT = ("clientUserId", "clientEmail"), ("expertUserId", "expertEmail")
"""The fields that are looked up if they are absent or null."""

_LEVELS_ABOVE = 2
"""A session is two levels deep in its client document: in the array, in the document."""

_PENDING = "pending"
_NESTING = frozenset({dict, list, DBRef})

_IDS_PER_QUERY = 1000
_CACHED_PEOPLE = 20_000


class Person(NamedTuple):
    """The fields of a user's document; None where it has none."""

    user_id: Any
    email: Any


_Users = dict[bytes, Person | None]


@dataclass(slots=True)
class People:
    """The users and experts that some bookings need, by the keys of their ids; None: looked up and not found."""

    users: _Users = field(default_factory=dict)
    experts: dict[bytes, Any] = field(default_factory=dict)
    """Each expert's user id as decoded, None if it names none; an expert that was not found has no entry."""

    def user(self, user_id: Any) -> Person | None:
        """Return the user of an id, or None."""
        return self.users.get(sort_key(user_id))


@dataclass(slots=True)
class PeopleLookup:
    """Looks up the users and experts of a batch of bookings at a time, with a bounded cache."""

    _users: DocumentReader | None
    _experts: DocumentReader | None
    _fields: PeopleFields
    _people: People = field(default_factory=People)

    def people_for(self, documents: Iterable[SourceDocument]) -> People:
        """Return the users and experts that these bookings need, and possibly others.

        Raises:
            PlaceNotFound, UnusablePlace, BrokenDocument, ConnectionProblem: they cannot be looked up.
        """
        if len(self._people.users) + len(self._people.experts) > _CACHED_PEOPLE:
            self._people = People()
        users: dict[bytes, Any] = {}
        experts: dict[bytes, Any] = {}
        for document in documents:
            fields = document.fields
            if not needs_people(document):
                continue
            client_key = document.client_key
            if client_key is not None and _lacks(fields, _CLIENT):
                users[client_key] = document.client_id
            expert_id = fields.get("expertId")
            if _lacks(fields, _EXPERT) and has_kind(expert_id, Kind.IDENTIFIER):
                experts[sort_key(expert_id)] = expert_id
        if not users and not experts:
            return People()
        self._find_experts(experts)
        for key in experts:
            user_id = self._people.experts.get(key)
            if user_id is not None:
                users[sort_key(user_id)] = user_id
        self._find_users(users)
        return self._people

    def _find_experts(self, wanted: dict[bytes, Any]) -> None:
        unknown = {key: value for key, value in wanted.items() if key not in self._people.experts}
        for key, fields in _found(self._experts, list(unknown.values())):
            self._people.experts[key] = fields.get(self._fields.expert_user)

    def _find_users(self, wanted: dict[bytes, Any]) -> None:
        unknown = {key: value for key, value in wanted.items() if key not in self._people.users}
        self._people.users.update(dict.fromkeys(unknown))
        for key, fields in _found(self._users, list(unknown.values())):
            self._people.users[key] = Person(fields.get(self._fields.user_id), fields.get(self._fields.email))


def needs_people(document: SourceDocument) -> bool:
    """Return whether a user or an expert must be looked up for a booking; null counts as absent."""
    fields = document.fields
    lacks_any = _lacks(fields, _CLIENT) or _lacks(fields, _EXPERT)
    return lacks_any and not document.is_client_document


def _lacks(fields: Document, names: tuple[str, str]) -> bool:
    return any(fields.get(name) is None for name in names)


def _found(reader: DocumentReader | None, ids: Sequence[Any]) -> Iterator[tuple[bytes, Document]]:
    if reader is None:
        return
    for start in range(0, len(ids), _IDS_PER_QUERY):
        for raw in reader.find(ids[start : start + _IDS_PER_QUERY]):
            fields = read_fields(raw)
            yield sort_key(fields["_id"]), fields


@dataclass(frozen=True, slots=True)
class Expected:
    """One booking and its expected outcome."""

    document: SourceDocument
    broken: tuple[BrokenRule, ...]
    """Why it cannot be a session; empty if it can."""

    facts: SessionFacts
    session: bytes = b""
    """The session, if it can be one."""

    client_user_id: Any = None
    """Its own, or the one that was looked up."""

    client_email: Any = None

    @property
    def key(self) -> bytes:
        """Return the sort key of its `_id`."""
        return sort_key(self.document.booking_id)

    @property
    def rank(self) -> tuple[int, bytes]:
        """Return what sessions are ordered by: `createdAt`, then the old `_id`."""
        return (self.facts.created or 0, self.key)


class Deriver:
    """Derives the expected outcome for bookings, under the rules of one verification."""

    def __init__(self, rules: VerificationRules) -> None:
        self._can_store = rules.can_store
        self.contract = ContractRules(rules.contract, rules.accepted)

    def derive(self, document: SourceDocument, people: People) -> Expected:
        """Derive the expected outcome for a booking, apart from its client's document."""
        broken = self._faults_of_document(document)
        fields = document.fields
        facts = facts_of(fields, document.booking_id)
        if facts.created is None and not {"createdAt", "updatedAt"} & fields.keys():
            broken.append(BrokenRule(Reason.CREATION_TIME_MISSING, "createdAt"))
        broken += self.contract.broken_by(fields)
        own = {name: fields.get(name) for name in (*_CLIENT, *_EXPERT)}
        if _lacks(fields, _CLIENT):
            user = people.user(document.client_id) if is_client_id(document.client_id) else None
            broken += self._complete(own, _CLIENT, user, Reason.CLIENT_USER_NOT_FOUND)
        if _lacks(fields, _EXPERT) and "expertId" in fields:
            broken += self._complete_expert(own, fields["expertId"], people)
        if broken or facts.created is None:
            return Expected(document, tuple(broken), facts)
        session = _session(document, own, facts.created)
        if not self._can_store(session):
            broken.append(BrokenRule(Reason.NOT_EXTENDED_JSON, None))
        return Expected(document, tuple(broken), facts, session, own["clientUserId"], own["clientEmail"])

    def _faults_of_document(self, document: SourceDocument) -> list[BrokenRule]:
        fields, found = document.fields, []
        if "_id" not in fields:
            found.append(BrokenRule(Reason.ID_MISSING, "_id"))
        elif holds_invalid_text(document.booking_id):
            found.append(BrokenRule(Reason.WRONG_TYPE, "_id"))
        if document.duplicate is Duplicate.CONFLICT:
            found.append(BrokenRule(Reason.DUPLICATE_ID, "_id"))
        found += [
            BrokenRule(Reason.RESERVED_FIELD, name)
            for name in ("sessionId", "legacyBookingId")
            if name in fields
        ]
        if not document.is_exact and len(list(elements(document.raw))) > len(fields):
            found.append(BrokenRule(Reason.DUPLICATE_FIELD, None))
        nests = not document.is_exact or not _NESTING.isdisjoint(map(type, fields.values()))
        if nests and depth(document.raw) + _LEVELS_ABOVE > MAXIMUM_DEPTH:
            found.append(BrokenRule(Reason.NESTED_TOO_DEEP, None))
        return found

    def _complete_expert(self, own: dict[str, Any], expert_id: Any, people: People) -> list[BrokenRule]:
        key = sort_key(expert_id)
        if key not in people.experts:
            return [BrokenRule(Reason.EXPERT_NOT_FOUND, "expertId")]
        user_id = people.experts[key]
        user = None if user_id is None else people.user(user_id)
        return self._complete(own, _EXPERT, user, Reason.EXPERT_USER_NOT_FOUND)

    def _complete(
        self, own: dict[str, Any], names: tuple[str, str], user: Person | None, not_found: Reason
    ) -> list[BrokenRule]:
        """Fill in what is absent; what was looked up must keep the contract too."""
        broken = []
        for name, theirs in zip(names, (None, None) if user is None else user, strict=True):
            if own[name] is not None:
                continue
            fault: BrokenRule | None = BrokenRule(not_found, name)
            if theirs is not None:
                own[name] = theirs
                fault = self.contract.broken_by_value(name, theirs)
            if fault is not None:
                broken.append(fault)
        return broken


def _session(document: SourceDocument, own: Mapping[str, Any], created: int) -> bytes:
    fields = document.fields
    added = {name: own[name] for name in _EXPERT if fields.get(name) is None}
    added |= {name: _PENDING for name in ("status", "paymentStatus") if name not in fields}
    booking_id = document.booking_id
    identity = b"\x07sessionId\x00" + session_id(booking_id, created).binary
    legacy = (
        b"\x07legacyBookingId\x00" + booking_id.binary
        if type(booking_id) is ObjectId
        else element_of("legacyBookingId", booking_id).raw
    )
    return wrap_bytes(b"".join([identity, _body(document), body_of(added) if added else b"", legacy]))


def _body(document: SourceDocument) -> bytes:
    """Return the bytes of those fields of a booking that its session has, in their order."""
    if document.is_exact:
        kept = {
            name: value
            for name, value in document.fields.items()
            if name not in DROPPED and (value is not None or name not in _EXPERT)
        }
        return encode(kept, codec_options=CODEC)[4:-1]
    return b"".join(part.raw for part in elements(document.raw) if _is_kept(part))


def _is_kept(part: Element) -> bool:
    name = part.name.decode("utf-8", "surrogateescape")
    return name not in DROPPED and not (part.kind == NULL and name in _EXPERT)
