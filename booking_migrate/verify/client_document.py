"""The fields of a client document beside its sessions: what they must be, and where they are not."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64

from booking_migrate.bson.document import Element, element_of, elements, read_value, wrap, write_fields
from booking_migrate.verify.derivation import (
    SessionFacts,
    client_document_id,
    is_same_amount,
    object_id_time,
    total_spent,
)
from booking_migrate.verify.documents import TargetDocument
from booking_migrate.verify.expected import Expected
from booking_migrate.verify.mismatch import Kind, Mismatch

CANONICAL = (
    "_id",
    "clientId",
    "clientUserId",
    "clientEmail",
    "sessions",
    "totalSessions",
    "totalSpent",
    "createdAt",
    "updatedAt",
)
_CLIENT_FIELDS = frozenset({"_id", "clientId", "clientUserId", "clientEmail"})
_TOTALS = ("totalSessions", "totalSpent", "createdAt", "updatedAt")
_SESSIONS = b"sessions"
_NULL = 0x0A
_NULL_IS_ABSENT = frozenset({b"clientUserId", b"clientEmail"})

Fields = dict[bytes, Element]


def expected_totals(facts: Sequence[SessionFacts], base: TargetDocument | None) -> Fields:
    """Totals and dates over the sessions of a document; the document's own dates count if it was there before."""
    own_created = _date(base, b"createdAt")
    own_updated = _date(base, b"updatedAt")
    created = [fact.created for fact in facts if fact.created is not None] + own_created
    updated = [fact.updated for fact in facts if fact.updated is not None] + own_updated
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
    facts: Sequence[SessionFacts], base: TargetDocument | None, members: Sequence[Expected]
) -> Fields:
    """All fields of a client document in their order; of `sessions` only the place counts.

    Args:
        facts: of its sessions.
        base: the client document that was there before; it keeps its fields, and what it lacks is appended.
        members: the bookings that are new in it, in order; not empty unless there is a base.
    """
    derived = _derived_fields(members[-1]) if members else {}
    totals = expected_totals(facts, base)
    fields: Fields = {} if base is None else {**base.by_name}
    fields.update(totals if base is None else {name: totals[name] for name in totals if name in fields})
    canonical = [name.encode() for name in CANONICAL]
    if base is None:
        known = derived | totals
        return {name: known[name] for name in canonical if name in known}
    for name in canonical:
        if is_lacking(fields, name) and name in derived | totals:
            fields[name] = (derived | totals)[name]
    return fields


def is_lacking(fields: Fields, name: bytes) -> bool:
    """Whether a client document lacks a field; a client field that is null counts as lacking."""
    own = fields.get(name)
    return own is None or (own.kind == _NULL and name in _NULL_IS_ABSENT)


def joined_document(documents: Sequence[TargetDocument]) -> TargetDocument:
    """The oldest of several client documents of one client, with what the others have beyond it, sessions aside."""
    fields: Fields = {**documents[0].by_name}
    for other in documents[1:]:
        fields |= {
            name: part for name, part in other.by_name.items() if is_lacking(fields, name) and name != b"__v"
        }
    for name, choose in (("createdAt", min), ("updatedAt", max)):
        values = [document.value(name.encode()) for document in documents]
        dates = [int(value) for value in values if type(value) is DatetimeMS]
        if dates:
            fields[name.encode()] = element_of(name, DatetimeMS(choose(dates)))
    return TargetDocument(wrap(list(fields.values())))


def _derived_fields(last: Expected) -> Fields:
    """What a client document has of the last of its bookings."""
    values = {
        "_id": client_document_id(last.document.client_id),
        "clientId": last.document.client_id,
        "clientUserId": last.client_user_id,
        "clientEmail": last.client_email,
        "sessions": [],
    }
    return _as_fields(values)


def field_mismatches(
    expected: Fields, found: TargetDocument, client_id: Any, *, may_have_more: bool = False
) -> Iterator[Mismatch]:
    """Where the fields of a client document beside its sessions are not the expected ones, or not in that order.

    Args:
        expected: the fields in their order.
        found: the document.
        client_id: for the mismatches.
        may_have_more: whether fields that are not expected are fine.
    """
    names = [part.name for part in found.parts]
    is_sound = True
    for name, element in expected.items():
        other = found.by_name.get(name)
        if name != _SESSIONS and other != element:
            is_sound = False
            yield _mismatch(name, client_id, element, other)
    for name, element in found.by_name.items():
        if name not in expected and name != _SESSIONS and not may_have_more:
            is_sound = False
            yield _mismatch(name, client_id, None, element)
    if len(names) > len(found.by_name):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        yield Mismatch(Kind.DUPLICATE, client_id, field=_text(twice), detail="the field occurs twice")
    elif is_sound and not may_have_more and names != list(expected):
        wrong = next(one or other or b"" for one, other in zip_longest(expected, names) if one != other)
        yield Mismatch(
            Kind.CONTENT, client_id, field=_text(wrong), detail="the document's fields are in another order"
        )


def _mismatch(name: bytes, client_id: Any, expected: Element | None, found: Element | None) -> Mismatch:
    text = _text(name)
    kind = Kind.CLIENT if text in _CLIENT_FIELDS else Kind.TOTALS if text in _TOTALS else Kind.CONTENT
    return Mismatch(kind, client_id, field=text, expected=expected, found=found)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def fitting_mismatches(
    facts: Sequence[SessionFacts], found: TargetDocument, client_id: Any
) -> Iterator[Mismatch]:
    """Where the totals of a document that the new application has added to do not fit its sessions.

    The application counts money in doubles and sets `updatedAt` itself, so amounts count in 15 digits and of any type,
    and dates may lie beyond the sessions'.
    """
    for name, element in expected_totals(facts, None).items():
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


def is_made_by_migration(document: TargetDocument) -> bool:
    """Whether a client document has the `_id` that a migration gives to a client that has none yet."""
    return bool(document.value(b"_id") == client_document_id(document.client_id))


def age_of(document: TargetDocument) -> int:
    """When a client document was created, in milliseconds since 1970: its own date, or the time in its `_id`."""
    own = _date(document, b"createdAt")
    in_id = object_id_time(document.value(b"_id"))
    return own[0] if own else in_id or 0
