"""The fields of a client document beside its sessions: what they must be, and where the target differs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64

from booking_migrate.bson.document import NULL, Element, element_of, elements, read_value, wrap, write_fields
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.stores.ports import Duplicate
from booking_migrate.verify.expected import Expected
from booking_migrate.verify.join import TargetDocument, misnumbered
from booking_migrate.verify.mismatch import Kind, Mismatch
from booking_migrate.verify.rules import (
    SessionFacts,
    client_document_id,
    is_same_amount,
    total_spent,
)
from booking_migrate.verify.sessions import Comparison, ExpectedSession

_IDENTITY = (b"_id", b"clientId", b"clientUserId", b"clientEmail")
_NULL_IS_ABSENT = _IDENTITY[2:]
_SESSIONS = b"sessions"
_AMOUNTS = (b"totalSessions", b"totalSpent")
_TOTALS = (*_AMOUNTS, b"createdAt", b"updatedAt")
_ORDER = (*_IDENTITY, _SESSIONS, *_TOTALS)
_SET_BY_APPLICATION = (*_TOTALS, b"__v")

Fields = dict[bytes, Element]


@dataclass(slots=True)
class Base:
    """The client document that was there before the migration."""

    document: TargetDocument
    sessions: list[ExpectedSession]
    is_joined: bool
    """Whether it is joined from several."""

    @property
    def has_wrong_totals(self) -> bool:
        """Return whether its own totals do not fit its own sessions."""
        totals = _expected_totals([one.facts for one in self.sessions], self.document)
        return any(self.document.by_name.get(name) != totals[name] for name in _AMOUNTS)


@dataclass(frozen=True, slots=True)
class Outline:
    """What a client's document must be made of, and how its sessions compare."""

    client_id: Any
    base: Base | None
    new: Sequence[Expected]
    """The bookings that are new in it, in order."""

    compared: Comparison

    @property
    def is_carried(self) -> bool:
        """Return whether the document had to stay the same, byte for byte."""
        return self.base is not None and not self.new and not self.base.is_joined

    @property
    def fields(self) -> Fields:
        """Return the fields that it must have."""
        if self.is_carried and self.base is not None:
            return self.base.document.by_name
        document = None if self.base is None else self.base.document
        return expected_fields(self.compared.facts, document, self.new)


def _expected_totals(facts: Sequence[SessionFacts], base: TargetDocument | None) -> Fields:
    """Return totals and dates over the sessions of a document, and over its own dates if it was there before."""
    created = [fact.created for fact in facts if fact.created is not None] + _date(base, b"createdAt")
    updated = [fact.updated for fact in facts if fact.updated is not None] + _date(base, b"updatedAt")
    values: dict[str, Any] = {
        "totalSessions": len(facts),
        "totalSpent": total_spent(fact.price for fact in facts),
    }
    if created:
        values["createdAt"] = DatetimeMS(min(created))
    if updated:
        values["updatedAt"] = DatetimeMS(max(updated))
    return _as_fields(values)


def _as_fields(values: dict[str, Any]) -> Fields:
    return {part.name: part for part in elements(write_fields(values))}


def _date(base: TargetDocument | None, name: bytes) -> list[int]:
    value = None if base is None else base.value(name)
    return [int(value)] if isinstance(value, DatetimeMS) else []


def expected_fields(
    facts: Sequence[SessionFacts], base: TargetDocument | None, new: Sequence[Expected]
) -> Fields:
    """Return all fields of a client document in their order; of `sessions` only the position counts.

    Args:
        facts: of its sessions.
        base: the client document that was there before; it keeps its fields, and what it lacks is appended.
        new: the bookings that are new in it, in order; not empty unless there is a base.
    """
    totals = _expected_totals(facts, base)
    derived = (_derived_fields(new[-1]) if new else {}) | totals
    if base is None:
        return {name: derived[name] for name in _ORDER if name in derived}
    fields = {**base.by_name}
    fields.update({name: totals[name] for name in totals if name in fields})
    for name in _ORDER:
        if _is_lacking(fields, name) and name in derived:
            fields[name] = derived[name]
    return fields


def _is_lacking(fields: Fields, name: bytes) -> bool:
    """Return whether a client document lacks a field; a client field that is null counts as lacking."""
    own = fields.get(name)
    return own is None or (own.kind == NULL and name in _NULL_IS_ABSENT)


def joined_document(documents: Sequence[TargetDocument]) -> TargetDocument:
    """Return the oldest of several client documents of one client, with what only the others have, sessions aside."""
    fields: Fields = {**documents[0].by_name}
    for other in documents[1:]:
        fields |= {
            name: part for name, part in other.by_name.items() if _is_lacking(fields, name) and name != b"__v"
        }
    for name, choose in (("createdAt", min), ("updatedAt", max)):
        values = [document.value(name.encode()) for document in documents]
        dates = [int(value) for value in values if type(value) is DatetimeMS]
        if dates:
            fields[name.encode()] = element_of(name, DatetimeMS(choose(dates)))
    return TargetDocument(wrap(list(fields.values())))


def _derived_fields(last: Expected) -> Fields:
    """Return what a client document has of the last of its bookings."""
    values = {
        "_id": client_document_id(last.document.client_id),
        "clientId": last.document.client_id,
        "clientUserId": last.client_user_id,
        "clientEmail": last.client_email,
        "sessions": [],
    }
    return _as_fields(values)


def age_of(document: TargetDocument) -> tuple[bool, int, bytes]:
    """Return what client documents of one client are ordered by, the oldest first; those without a date of their own come last."""
    own = _date(document, b"createdAt")
    return not own, own[0] if own else 0, sort_key(document.value(b"_id"))


def client_documents(
    candidates: Sequence[TargetDocument], client_id: Any
) -> tuple[list[TargetDocument], list[Mismatch]]:
    """Return those of a client's documents in the target that are client documents, and the mismatches in their number."""
    documents: list[TargetDocument] = []
    wrong: list[Mismatch] = []
    for document in candidates:
        if document.duplicate is not Duplicate.NONE:
            identity = document.by_name.get(b"_id")
            detail = "the target has this _id more than once"
            wrong.append(Mismatch(Kind.DUPLICATE, client_id, field="_id", found=identity, detail=detail))
        if document.duplicate is not Duplicate.COPY:
            wrong += _faults_of_shape(document, client_id)
            if document.has_sessions:
                documents.append(document)
    for document in documents[1:]:
        found = document.by_name.get(b"clientId")
        detail = "the client has more than one client document"
        wrong.append(Mismatch(Kind.DUPLICATE, client_id, field="clientId", found=found, detail=detail))
    return documents, wrong


def _faults_of_shape(document: TargetDocument, client_id: Any) -> Iterator[Mismatch]:
    sessions = document.by_name.get(_SESSIONS)
    if sessions is None:
        detail = "a document in the old shape, or a client document without sessions"
        yield Mismatch(Kind.EXTRA, client_id, document.value(b"_id"), "sessions", detail=detail)
    elif not document.has_sessions:
        detail = "sessions is not an array"
        yield Mismatch(Kind.CONTENT, client_id, field="sessions", found=sessions, detail=detail)
    elif wrong := next(misnumbered(document.sessions()), None):
        detail = "the elements of sessions are not numbered from 0"
        yield Mismatch(Kind.CONTENT, client_id, field="sessions", found=wrong, detail=detail)


def document_mismatches(documents: Sequence[TargetDocument], outline: Outline) -> Iterator[Mismatch]:
    """Yield what is wrong about a client's document beside its sessions.

    Args:
        documents: its client documents in the target; of several none has all sessions, so they are not checked.
        outline: what must be there.
    """
    if not documents and outline.base is not None:
        # An absent document of bookings alone is missing booking by booking.
        identity = outline.base.document.by_name.get(b"_id")
        detail = "a client document of the source is not in the target"
        yield Mismatch(Kind.MISSING, outline.client_id, field="_id", expected=identity, detail=detail)
    elif len(documents) == 1:
        document = documents[0]
        if outline.compared.later or outline.compared.changed or outline.compared.missing:
            yield from _touched_mismatches(document, outline)
        elif outline.base is None and not outline.new:
            yield from _unwanted_mismatches(document, outline)
        else:
            yield from _field_mismatches(outline.fields, document, outline.client_id)


def _unwanted_mismatches(document: TargetDocument, outline: Outline) -> Iterator[Mismatch]:
    """Yield the mismatch of a document that should not exist; if it has sessions, they are reported one by one."""
    found = document.by_name.get(b"clientId")
    if not is_client_id(outline.client_id):
        detail = "no client can have this id"
        yield Mismatch(Kind.CLIENT, outline.client_id, field="clientId", found=found, detail=detail)
    elif not document.sessions():
        detail = "a client document without any booking"
        yield Mismatch(Kind.EXTRA, outline.client_id, field="clientId", found=found, detail=detail)


def _touched_mismatches(document: TargetDocument, outline: Outline) -> Iterator[Mismatch]:
    """Yield the mismatches of a document that the application has written to: totals must fit, fields may be added."""
    yield from _fitting_mismatches(outline.compared.facts, document, outline.client_id)
    is_its_own = any(each in outline.compared.later for each in document.sessions()[:1])
    if not is_its_own and (outline.base is not None or outline.new):
        expected = {name: part for name, part in outline.fields.items() if name not in _SET_BY_APPLICATION}
        yield from _field_mismatches(expected, document, outline.client_id, may_have_more=True)


def _field_mismatches(
    expected: Fields, found: TargetDocument, client_id: Any, *, may_have_more: bool = False
) -> Iterator[Mismatch]:
    """Yield where the fields of a client document beside its sessions are not the expected ones, or not in that order.

    Args:
        expected: the fields in their order.
        found: the document.
        client_id: for the mismatches.
        may_have_more: whether other fields are allowed.
    """
    names = [part.name for part in found.parts]
    is_sound = True
    for name in expected if may_have_more else {**expected, **found.by_name}:
        wanted, other = expected.get(name), found.by_name.get(name)
        if name != _SESSIONS and other != wanted:
            is_sound = False
            yield _mismatch(name, client_id, wanted, other)
    if len(names) > len(found.by_name):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        yield Mismatch(Kind.DUPLICATE, client_id, field=_text(twice), detail="the field occurs twice")
    elif is_sound and not may_have_more and names != list(expected):
        wrong = next(one or other or b"" for one, other in zip_longest(expected, names) if one != other)
        detail = "the document's fields are in another order"
        yield Mismatch(Kind.CONTENT, client_id, field=_text(wrong), detail=detail)


def _fitting_mismatches(
    facts: Sequence[SessionFacts], found: TargetDocument, client_id: Any
) -> Iterator[Mismatch]:
    """Yield where the totals of a document that the new application has added to do not fit its sessions.

    The application counts money in doubles and sets `updatedAt` itself, so amounts count in 15 digits and of any type,
    and dates may lie beyond the sessions'.
    """
    for name, element in _expected_totals(facts, None).items():
        other = found.by_name.get(name)
        value, wanted = found.value(name), read_value(element)
        match name:
            case b"totalSessions":
                fits = type(value) in (int, Int64, float) and value == wanted
            case b"totalSpent":
                fits = is_same_amount(value, wanted)
            case b"createdAt":
                fits = isinstance(value, DatetimeMS) and int(value) <= int(wanted)
            case _:
                fits = isinstance(value, DatetimeMS) and int(value) >= int(wanted)
        if not fits:
            yield _mismatch(name, client_id, element, other)


def _mismatch(name: bytes, client_id: Any, expected: Element | None, found: Element | None) -> Mismatch:
    kind = Kind.CLIENT if name in _IDENTITY else Kind.TOTALS if name in _TOTALS else Kind.CONTENT
    return Mismatch(kind, client_id, field=_text(name), expected=expected, found=found)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
