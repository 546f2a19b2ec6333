"""The report of verifying references."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from booking_migrate.bson.format import Line
from booking_migrate.errors import ExitCode
from booking_migrate.reports.model import NextStep, Part, Report, facts_of_run
from booking_migrate.stores.journal import RunRecord

if TYPE_CHECKING:
    from booking_migrate.references.fields import ReferenceField
    from booking_migrate.references.proof import FieldProof, Proof


class VerifiedFieldPart(Part):
    """What the values of one field stand for."""

    collection: Line
    field: Line = Field(description="its path, array positions left out")
    rewritten: bool = Field(description="whether a rewrite that was not undone has written this field")
    values: int = Field(description="values that may be ids; the following add up to it")
    new: int = Field(description="ids of sessions or client documents")
    kept: int = Field(
        description="ids of old bookings that an index finds, in a field that was never rewritten"
    )
    excluded: int = Field(description="ids of old bookings in a field with `exclude = true`")
    rejected: int = Field(description="ids of rejected bookings")
    dangling: int = Field(description="ids of nothing, which no rewrite wrote")
    lost: int = Field(description="new ids that a rewrite wrote, and that nothing has now")
    unrewritten: int = Field(
        description="ids of old bookings that find nothing, or that a rewrite has passed over"
    )
    behind: int = Field(
        description="the same in documents that were written since the verification began: no mismatches"
    )
    rejected_then: int | None = Field(
        description="ids of rejected bookings that the rewrite left; null: it was not rewritten"
    )
    dangling_then: int | None = Field(
        description="ids of no booking that the rewrite left; null: it was not rewritten"
    )


class ReadCollectionPart(Part):
    """A collection that was read."""

    name: Line
    documents: int = Field(description="documents that have one of the fields")


class VerifiedRewritePart(Part):
    """A rewrite that stands."""

    rewrite_id: Line
    state: str = Field(description="writing, done or undoing")
    documents: int = Field(description="documents that it has changed, by its record")


class NotesPart(Part):
    """What was noted before it was written, compared with the documents as they are."""

    documents: int = Field(description="changed documents; one that was changed twice counts twice")
    values: int
    identical: int = Field(
        description="documents that, but for the noted values, have the bytes that they had"
    )
    changed: int = Field(description="documents that others have changed since")
    gone: int = Field(description="documents that others have deleted since")
    open: int = Field(description="documents that a rewrite which is not complete has not written yet")


class ReferenceMismatchPart(Part):
    """One difference."""

    kind: str = Field(description="unrewritten, lost, wrong or count")
    collection: Line
    field: Line
    document_id: Line
    path: Line = Field(description="where it is, with array positions")
    expected: Line | None = Field(description="what should be there; null if it is not one value")
    found: Line | None
    detail: Line


class ListedPart(Part):
    """A reference, or a document, that is worth knowing beside the mismatches."""

    what: str = Field(
        description="rejected or dangling: a reference; changed or gone: a document with rewritten references"
    )
    collection: Line
    field: Line
    document_id: Line
    path: Line
    value: Line


class VerifiedReferencesReport(Report):
    """What references verify found."""

    fields: tuple[VerifiedFieldPart, ...]
    read: tuple[ReadCollectionPart, ...]
    rewrites: tuple[VerifiedRewritePart, ...] = Field(
        description="those that were not undone, the newest first"
    )
    notes: NotesPart
    reference_mismatches: tuple[ReferenceMismatchPart, ...] = Field(
        description="the first hundred of each kind"
    )
    listed: tuple[ListedPart, ...] = Field(description="the first hundred of each kind, and of each field")
    kept_index: Line | None = Field(
        description="the index by which old ids find their sessions; null: it is lacking"
    )
    looked_again: int = Field(
        description="mismatches that were looked at again, because the document may have been written meanwhile"
    )


def report_of_verified_references(
    proof: "Proof", run: RunRecord, *, seconds: float, next_steps: Sequence[NextStep]
) -> VerifiedReferencesReport:
    time = proof.cluster_time
    return VerifiedReferencesReport(
        **facts_of_run("references verify", run),
        exit_code=ExitCode.MISMATCHES if proof.mismatch_count else ExitCode.DONE,
        seconds=seconds,
        cluster_time=None if time is None else time.as_datetime(),
        mismatch_count=proof.mismatch_count,
        behind=proof.behind,
        fields=tuple(_field(each, proof) for each in proof.fields),
        read=tuple(
            ReadCollectionPart(name=name, documents=number) for name, number in proof.collections.items()
        ),
        rewrites=proof.rewrites,
        notes=proof.notes,
        reference_mismatches=proof.examples,
        listed=proof.listed,
        kept_index=proof.kept_index,
        looked_again=proof.looked_again,
        next_steps=tuple(next_steps),
    )


def _field(proof: "FieldProof", of: "Proof") -> VerifiedFieldPart:
    return VerifiedFieldPart(
        collection=proof.of.collection,
        field=proof.of.field,
        rewritten=proof.is_rewritten,
        values=proof.values,
        **{fate.value: number for fate, number in proof.counts.items()},
        rejected_then=_then(proof.of, of, "rejected"),
        dangling_then=_then(proof.of, of, "unknown", "no-id"),
    )


def _then(field: "ReferenceField", proof: "Proof", *reasons: str) -> int | None:
    """Return how many values of a field the newest rewrite of it has left for some reasons; None: it was not rewritten."""
    named = {"collection": field.collection, "field": field.field}
    for record in proof.rewrites:
        if any(named.items() <= dict(each).items() for each in record.fields):
            counts = [each for each in record.counts if named.items() <= dict(each).items()]
            return sum(int(each["number"]) for each in counts if each["what"] in reasons)
    return None
