"""Find out where one old booking went: for the engineer who answers a support ticket."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import Element, read_fields, unescaped
from booking_migrate.bson.format import read_shown_text
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.errors import BookingNotFound
from booking_migrate.stores.files.extended_json import DocumentParser
from booking_migrate.stores.files.type_wrappers import NotADocument
from booking_migrate.stores.places import JsonFormat
from booking_migrate.stores.ports import ComparedReader, DocumentReader, Duplicate, ScannedDocument
from booking_migrate.stores.rejects import RejectedRecord, RejectedRecords
from booking_migrate.verify.client_check import ClientCheck
from booking_migrate.verify.expected import PeopleLookup
from booking_migrate.verify.join import (
    ClientPair,
    SourceDocument,
    TargetDocument,
    claimed_booking,
    session_fields,
)
from booking_migrate.verify.mismatch import Mismatch
from booking_migrate.verify.outcome import ClientResult, VerificationPlan
from booking_migrate.verify.reconcile import mismatches_of

_HEX_ID = re.compile(r"[0-9a-fA-F]{24}")
_INTEGER = re.compile(r"-?[0-9]{1,18}")


class Disposition(StrEnum):
    """The outcome for a booking. The values are an API."""

    MIGRATED = "migrated"
    REJECTED = "rejected"
    DIFFERENT = "different"
    """It is a session that differs from what it must be."""

    MISSING = "missing"
    """It is neither a session nor among the rejected."""


@dataclass(frozen=True, slots=True)
class FieldPair:
    """One field of the booking beside the same field of its session."""

    name: str
    old: Element | None
    new: Element | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where one booking went."""

    fate: Disposition
    booking_id: Any
    client_id: Any
    document_id: Any = None
    """The `_id` of the client document that holds its session."""

    session_number: int | None = None
    """Its position among the sessions, counted from 1."""

    session_count: int = 0
    fields: tuple[FieldPair, ...] = ()
    record: RejectedRecord | None = None
    """Its record among the rejected."""

    mismatches: tuple[Mismatch, ...] = ()
    """What is wrong about it."""


def explain(
    booking_id: str,
    plan: VerificationPlan,
    source: ComparedReader,
    target: ComparedReader,
    rejected: RejectedRecords,
    *,
    users: DocumentReader | None = None,
    experts: DocumentReader | None = None,
) -> Explanation:
    """Return where one old booking went. Nothing is written.

    Args:
        booking_id: its `_id` as people write it: 24 hex digits of an ObjectId, a whole number, a text (also as
            reports show one that is not valid UTF-8), or a value of any other type in Extended JSON.
        plan: as for `verify`.
        source: the old bookings.
        target: the client documents.
        rejected: the records of the bookings that could not be converted.
        users: where users are looked up, if anywhere.
        experts: where experts are looked up, if anywhere.

    Raises:
        BookingNotFound: the source has no such booking.
        PlaceNotFound, UnusablePlace, BrokenDocument, ConnectionProblem, NotPermitted: a place cannot be read.
    """
    booking = _find_booking(booking_id, source)
    pair = _pair_of(booking, source, target)
    people = PeopleLookup(users, experts, plan.people).people_for(pair.source)
    result = ClientCheck(plan.rules).check(pair, people)
    record = rejected.find(booking.raw)
    mismatches = tuple(_mismatches_of(booking, result, record))
    explanation = partial(
        Explanation,
        booking_id=booking.booking_id,
        client_id=booking.client_id,
        record=record,
        mismatches=mismatches,
    )
    for document in pair.target:
        sessions = document.sessions()
        for number, session in enumerate(sessions, 1):
            claim = claimed_booking(session)
            if claim is not None and element_key(claim) == sort_key(booking.booking_id):
                # With a record it is a conflict: the session is there, and the booking has changed since.
                right = Disposition.MIGRATED if record is None else Disposition.REJECTED
                return explanation(
                    Disposition.DIFFERENT if mismatches else right,
                    document_id=document.value(b"_id"),
                    session_number=number,
                    session_count=len(sessions),
                    fields=_side_by_side(booking, session),
                )
    fate = Disposition.MISSING if mismatches or record is None else Disposition.REJECTED
    return explanation(fate, fields=_side_by_side(booking, None))


def _find_booking(text: str, source: ComparedReader) -> SourceDocument:
    candidates: list[Any] = [unescaped(text)]
    if _HEX_ID.fullmatch(text):
        candidates.append(ObjectId(text))
    if (shown := read_shown_text(text)) is not None:
        candidates.append(shown)
    if _INTEGER.fullmatch(text):
        candidates.append(Int64(text))
    if text.startswith("{"):
        candidates += _extended(text)
    for raw in source.find(candidates):
        document = SourceDocument(raw)
        if not document.is_client_document:
            return document
    raise BookingNotFound(text, source.name)


def _extended(text: str) -> Iterator[Any]:
    """Yield the value that a text stands for in Extended JSON, such as ``{"$uuid": "..."}``; nothing if it is not one."""
    try:
        document, _end = DocumentParser(JsonFormat.EXTENDED).read(f'{{"_id": {text}}}', 0)
    except (NotADocument, json.JSONDecodeError):
        return
    yield read_fields(document.raw)["_id"]


def _pair_of(booking: SourceDocument, source: ComparedReader, target: ComparedReader) -> ClientPair:
    if booking.client_key is None:
        return ClientPair(source=[booking])
    client_id = booking.client_id
    raws = {raw for raw in source.find_by_client([client_id]) if _is_of(raw, booking.client_key)}
    ids = [sort_key(SourceDocument(raw).booking_id) for raw in raws]
    return ClientPair(
        source=[
            SourceDocument.of(
                ScannedDocument(raw, Duplicate.CONFLICT if ids.count(key) > 1 else Duplicate.NONE)
            )
            for raw, key in zip(raws, ids, strict=True)
        ],
        target=[
            TargetDocument(raw)
            for raw in target.find_by_client([client_id])
            if _is_of(raw, booking.client_key)
        ],
    )


def _is_of(raw: bytes, client_key: bytes) -> bool:
    return TargetDocument(raw).client_key == client_key


def _mismatches_of(
    booking: SourceDocument, result: ClientResult, record: RejectedRecord | None
) -> Iterator[Mismatch]:
    key = sort_key(booking.booking_id)
    for mismatch in result.mismatches:
        if mismatch.booking_id is not None and sort_key(mismatch.booking_id) == key:
            yield mismatch
    for one in result.unresolved:
        if one.raw == booking.raw:
            yield from mismatches_of(one, record)


def _side_by_side(booking: SourceDocument, session: Element | None) -> tuple[FieldPair, ...]:
    """Return the booking's fields in their order, then those that only the session has."""
    old, new = TargetDocument(booking.raw).by_name, session_fields(session) if session else {}
    return tuple(
        FieldPair(name.decode("utf-8", "backslashreplace"), old.get(name), new.get(name))
        for name in {**old, **new}
    )
