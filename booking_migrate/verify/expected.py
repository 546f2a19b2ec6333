"""What must have become of one booking: the session it had to become, or the reasons why it could not."""

from dataclasses import dataclass
from typing import Any

from bson import encode
from bson.dbref import DBRef
from bson.objectid import ObjectId

from booking_migrate.bson.document import (
    CODEC,
    MAXIMUM_DEPTH,
    Element,
    body_of,
    depth,
    element_of,
    elements,
    holds_invalid_text,
    wrap_bytes,
)
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import is_client_id
from booking_migrate.domain.rejection import Reason
from booking_migrate.stores.ports import Duplicate
from booking_migrate.verify.derivation import SessionFacts, facts_of, session_id
from booking_migrate.verify.documents import SourceDocument
from booking_migrate.verify.people import People, Person
from booking_migrate.verify.plan import VerificationRules
from booking_migrate.verify.rules import BrokenRule, ContractRules

_DROPPED = frozenset({"_id", "clientId", "clientUserId", "clientEmail", "__v"})
_NULL_IS_ABSENT = frozenset({"expertUserId", "expertEmail"})
_LEVELS_ABOVE = 2
"""A session stands two levels deep in its client document: in the array, in the document."""

_PENDING = "pending"
_NESTING = frozenset({dict, list, DBRef})


@dataclass(frozen=True, slots=True)
class Expected:
    """One booking and what had to become of it."""

    document: SourceDocument
    broken: tuple[BrokenRule, ...]
    """Why it cannot be a session; empty if it can."""

    facts: SessionFacts
    session: bytes = b""
    """The session, if it can be one."""

    client_user_id: Any = None
    """Its own, or what was looked up."""

    client_email: Any = None

    @property
    def key(self) -> bytes:
        """Its `_id` as something that compares as MongoDB does."""
        return sort_key(self.document.booking_id)

    @property
    def place(self) -> tuple[int, bytes]:
        """What sessions are ordered by: `createdAt`, then the old `_id`."""
        return (self.facts.created or 0, self.key)


class Deriver:
    """Judges bookings under the rules of one verification."""

    def __init__(self, rules: VerificationRules) -> None:
        self._can_hold = rules.can_store
        self._contract = ContractRules(rules.contract, rules.accepted)

    def judge(self, document: SourceDocument, people: People) -> Expected:
        """What must have become of a booking, its client's document aside."""
        broken = self._faults_of_document(document)
        fields = document.fields
        facts = facts_of(fields, document.booking_id)
        if facts.created is None and not {"createdAt", "updatedAt"} & fields.keys():
            broken.append(BrokenRule(Reason.CREATION_TIME_MISSING, "createdAt"))
        broken += self._contract.broken_by(fields)
        client = _Looked(fields.get("clientUserId"), fields.get("clientEmail"))
        if not client.is_whole:
            user = people.user(document.client_id) if is_client_id(document.client_id) else None
            broken += self._complete(client, user, "client", Reason.CLIENT_USER_NOT_FOUND)
        expert = _Looked(fields.get("expertUserId"), fields.get("expertEmail"))
        if not expert.is_whole and "expertId" in fields:
            broken += self._complete_expert(expert, fields["expertId"], people)
        if broken or facts.created is None:
            return Expected(document, tuple(broken), facts)
        session = _session(document, expert, facts.created)
        if not self._can_hold(session):
            broken.append(BrokenRule(Reason.NOT_EXTENDED_JSON, None))
        return Expected(document, tuple(broken), facts, session, client.user_id, client.email)

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

    def _complete_expert(self, expert: "_Looked", expert_id: Any, people: People) -> list[BrokenRule]:
        key = sort_key(expert_id)
        if key not in people.experts:
            return [BrokenRule(Reason.EXPERT_NOT_FOUND, "expertId")]
        user_id = people.experts[key]
        user = None if user_id is None else people.user(user_id)
        return self._complete(expert, user, "expert", Reason.EXPERT_USER_NOT_FOUND)

    def _complete(
        self, looked: "_Looked", user: Person | None, who: str, not_found: Reason
    ) -> list[BrokenRule]:
        """Fill in what is absent; what was looked up must keep the contract too."""
        broken = []
        for name, own, theirs in (
            ("user_id", f"{who}UserId", user and user.user_id),
            ("email", f"{who}Email", user and user.email),
        ):
            if getattr(looked, name) is not None:
                continue
            if theirs is None:
                broken.append(BrokenRule(not_found, own))
                continue
            setattr(looked, name, theirs)
            fault = self._contract.broken_by_value(own, theirs)
            if fault is not None:
                broken.append(fault)
        return broken


@dataclass(slots=True)
class _Looked:
    """The two fields that may have to be looked up."""

    user_id: Any
    email: Any

    @property
    def is_whole(self) -> bool:
        return self.user_id is not None and self.email is not None


def _session(document: SourceDocument, expert: _Looked, created: int) -> bytes:
    fields = document.fields
    added: dict[str, Any] = {}
    if fields.get("expertUserId") is None:
        added["expertUserId"] = expert.user_id
    if fields.get("expertEmail") is None:
        added["expertEmail"] = expert.email
    for name in ("status", "paymentStatus"):
        if name not in fields:
            added[name] = _PENDING
    booking_id = document.booking_id
    identity = b"\x07sessionId\x00" + session_id(booking_id, created).binary
    legacy = (
        b"\x07legacyBookingId\x00" + booking_id.binary
        if type(booking_id) is ObjectId
        else element_of("legacyBookingId", booking_id).raw
    )
    return wrap_bytes(b"".join([identity, own_fields(document), body_of(added) if added else b"", legacy]))


def own_fields(document: SourceDocument) -> bytes:
    """The bytes of those fields of a booking that its session holds, in their order."""
    if document.is_exact:
        kept = {
            name: value
            for name, value in document.fields.items()
            if name not in _DROPPED and (value is not None or name not in _NULL_IS_ABSENT)
        }
        return encode(kept, codec_options=CODEC)[4:-1]
    return b"".join(part.raw for part in elements(document.raw) if _is_kept(part))


def _is_kept(part: Element) -> bool:
    name = part.name.decode("utf-8", "surrogateescape")
    is_null = part.kind == 0x0A  # noqa: PLR2004 - the BSON type null
    return name not in _DROPPED and not (is_null and name in _NULL_IS_ABSENT)
