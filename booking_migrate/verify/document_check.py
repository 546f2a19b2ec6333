"""A client's document beside its sessions: is it there, is it the only one, and are its own fields right?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from booking_migrate.bson.document import Element
from booking_migrate.domain.contract import is_client_id
from booking_migrate.stores.ports import Duplicate
from booking_migrate.verify.client_document import (
    Fields,
    expected_fields,
    expected_totals,
    field_mismatches,
    fitting_mismatches,
)
from booking_migrate.verify.documents import TargetDocument, numbered
from booking_migrate.verify.expected import Expected
from booking_migrate.verify.mismatch import Kind, Mismatch
from booking_migrate.verify.sessions import Comparison, ExpectedSession

_TOTALS = (b"totalSessions", b"totalSpent")
_SET_BY_APPLICATION = (*_TOTALS, b"createdAt", b"updatedAt", b"__v")


@dataclass(slots=True)
class Base:
    """The client document that was there before the migration."""

    document: TargetDocument
    sessions: list[ExpectedSession]
    is_joined: bool
    """Whether it is made of several."""

    @property
    def has_wrong_totals(self) -> bool:
        """Whether its own totals do not fit its own sessions."""
        totals = expected_totals([one.facts for one in self.sessions], self.document)
        return any(self.document.by_name.get(name) != totals[name] for name in _TOTALS)


@dataclass(frozen=True, slots=True)
class Outline:
    """What a client's document must be made of, and what its sessions were found to be."""

    client_id: Any
    base: Base | None
    fit: Sequence[Expected]
    """The bookings that are new in it, in order."""

    compared: Comparison

    @property
    def is_carried(self) -> bool:
        """Whether the document had to be left byte for byte as it was."""
        return self.base is not None and not self.fit and not self.base.is_joined

    @property
    def fields(self) -> Fields:
        """The fields that it must have."""
        if self.is_carried and self.base is not None:
            return self.base.document.by_name
        document = None if self.base is None else self.base.document
        return expected_fields(self.compared.facts, document, self.fit)


def client_documents(
    candidates: Sequence[TargetDocument], client_id: Any
) -> tuple[list[TargetDocument], list[Mismatch]]:
    """Those of a client's documents in the target that are client documents, and what is wrong about their number."""
    documents: list[TargetDocument] = []
    wrong: list[Mismatch] = []
    for document in candidates:
        if document.duplicate is not Duplicate.NONE:
            identity = document.by_name.get(b"_id")
            detail = "the target has this _id more than once"
            wrong.append(Mismatch(Kind.DUPLICATE, client_id, field="_id", found=identity, detail=detail))
        if document.duplicate is not Duplicate.COPY:
            faults = list(_faults_of_shape(document, client_id))
            wrong += faults
            if document.has_sessions:
                documents.append(document)
    for document in documents[1:]:
        found = document.by_name.get(b"clientId")
        detail = "the client has more than one client document"
        wrong.append(Mismatch(Kind.DUPLICATE, client_id, field="clientId", found=found, detail=detail))
    return documents, wrong


def _faults_of_shape(document: TargetDocument, client_id: Any) -> Iterator[Mismatch]:
    sessions = document.by_name.get(b"sessions")
    if sessions is None:
        detail = "a document in the old shape, or a client document without sessions"
        yield Mismatch(Kind.EXTRA, client_id, document.value(b"_id"), "sessions", detail=detail)
    elif not document.has_sessions:
        detail = "sessions is not an array"
        yield Mismatch(Kind.CONTENT, client_id, field="sessions", found=sessions, detail=detail)
    elif misnamed := next(numbered(document.sessions()), None):
        detail = "the elements of sessions are not numbered from 0"
        yield Mismatch(Kind.CONTENT, client_id, field="sessions", found=misnamed, detail=detail)


def document_mismatches(documents: Sequence[TargetDocument], outline: Outline) -> Iterator[Mismatch]:
    """What is wrong about a client's document beside its sessions.

    Args:
        documents: its client documents in the target; of several none has all sessions, so they are not checked.
        outline: what there must be.
    """
    if not documents:
        yield from _absence(outline)
    elif len(documents) == 1:
        document = documents[0]
        if outline.compared.later or outline.compared.changed:
            yield from _touched_mismatches(document, outline)
        elif outline.base is None and not outline.fit:
            yield from _unwanted_mismatches(document, outline)
        else:
            yield from field_mismatches(outline.fields, document, outline.client_id)


def _absence(outline: Outline) -> Iterator[Mismatch]:
    """A document of bookings alone is missing booking by booking; one that was there before is missing as such."""
    if outline.base is not None:
        identity: Element | None = outline.base.document.by_name.get(b"_id")
        detail = "a client document of the source is not in the target"
        yield Mismatch(Kind.MISSING, outline.client_id, field="_id", expected=identity, detail=detail)


def _unwanted_mismatches(document: TargetDocument, outline: Outline) -> Iterator[Mismatch]:
    """There should be no such document: its sessions are reported one by one, unless there is none."""
    found = document.by_name.get(b"clientId")
    if not is_client_id(outline.client_id):
        detail = "no client can have this id"
        yield Mismatch(Kind.CLIENT, outline.client_id, field="clientId", found=found, detail=detail)
    elif not document.sessions():
        detail = "a client document without any booking"
        yield Mismatch(Kind.EXTRA, outline.client_id, field="clientId", found=found, detail=detail)


def _touched_mismatches(document: TargetDocument, outline: Outline) -> Iterator[Mismatch]:
    """The new application has written to the document: its totals must fit, other fields of its own may have come."""
    yield from fitting_mismatches(outline.compared.facts, document, outline.client_id)
    is_its_own = document.sessions()[0] in outline.compared.later
    if not is_its_own and (outline.base is not None or outline.fit):
        expected = {name: part for name, part in outline.fields.items() if name not in _SET_BY_APPLICATION}
        yield from field_mismatches(expected, document, outline.client_id, may_have_more=True)
