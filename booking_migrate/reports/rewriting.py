"""The reports of rewriting references, and of undoing that."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from booking_migrate.bson.format import Line
from booking_migrate.errors import ExitCode
from booking_migrate.quantities import alternatives
from booking_migrate.references.fields import NewId
from booking_migrate.reports.lifecycle import LifeReport, ReferencesUndonePart
from booking_migrate.reports.model import NextStep, Part, Report, facts_of_run, part_of
from booking_migrate.reports.text import explaining
from booking_migrate.runs.commands import going_back
from booking_migrate.stores.journal import RunRecord, RunState

if TYPE_CHECKING:
    from booking_migrate.cutover.plan import CutoverOutcome
    from booking_migrate.references.fields import ReferenceField
    from booking_migrate.references.restoring import UndoOfReferences
    from booking_migrate.references.rewrite import RewriteOutcome
    from booking_migrate.references.stranded import Stranded
    from booking_migrate.references.tally import Tally


class RewrittenFieldPart(Part):
    """How many references in one field were rewritten, and how many were left."""

    collection: Line
    field: Line = Field(description="its path, array positions left out")
    to: str = Field(description=alternatives([f"`{each}`" for each in NewId]))
    rewritten: int = Field(
        description="references that have new ids now, by this command or the one that it continued"
    )
    already: int = Field(
        description="values that were new ids when they were read: of an earlier rewrite, or written by the new application"
    )
    rejected: int = Field(description="references to rejected bookings, left as they are")
    unknown: int = Field(
        description="values that are neither old nor new ids, left as they are: `dangling` and `no_id`"
    )
    dangling: int = Field(
        description="of those, values that have the form of an id: ObjectIds, UUIDs, texts with the digits of an ObjectId"
    )
    no_id: int = Field(description="of those, other values, such as words and numbers")
    duplicate_name: int = Field(
        description="references, left as they are, in documents in which a name on the path occurs twice"
    )
    unmigrated: int = Field(description="references to bookings that are not migrated, left as they are")
    taken: int = Field(
        description="references in documents that stay as they are, because another one has their new `_id`"
    )
    refused: int = Field(
        description="references in documents that the server does not take with their new ids, or that are too large to be noted"
    )


class LeftPart(Part):
    """A reference that was left as it is."""

    collection: Line
    field: Line
    document_id: Line
    path: Line = Field(description="where it is, with array positions")
    value: Line
    reason: str = Field(
        description="`rejected`, `unknown` (dangling), `no-id`, `unmigrated`, `taken`, `duplicate-name` or `refused`"
    )
    detail: Line = Field(
        default="", description="what refuses a document, such as what the server says of it"
    )


class RewriteReport(Report):
    """What references rewrite did."""

    rewrite_id: Line = Field(description="what the journal calls this rewrite")
    fields: tuple[RewrittenFieldPart, ...]
    documents: int = Field(description="documents that were changed")
    looked_at: int = Field(
        description="documents that were read, each once; the counts of the fields are of these"
    )
    again: int = Field(
        description="documents that were read again, because others had written them meanwhile; of these only what was rewritten is counted"
    )
    added: int = Field(description="fields that were set beside references")
    left: tuple[LeftPart, ...] = Field(
        description="references that were left: the first hundred of each field and reason"
    )
    resumed: bool = Field(description="whether a rewrite that was killed was continued")
    followed: bool = Field(
        description="whether the writes of others were followed; if not, all fields were read until nothing was found"
    )
    passes: int = Field(description="how often all fields were read")
    calm: bool = Field(description="whether the last look found no old id that others had written meanwhile")


def report_of_rewrite(
    outcome: "RewriteOutcome",
    fields: "Sequence[ReferenceField]",
    run: RunRecord,
    *,
    seconds: float,
    again: str | None,
) -> RewriteReport:
    """Build the report of a rewrite; ``again`` is the command that rewrites the same fields, if that is known."""
    parts = tuple(_field(each, outcome.tally) for each in fields)
    is_clean = not any(
        each.rejected or each.unmigrated or each.taken or each.duplicate_name or each.refused
        for each in parts
    )
    time = outcome.record.cluster_time
    return part_of(
        RewriteReport,
        outcome,
        **facts_of_run("references rewrite", run),
        exit_code=ExitCode.DONE if is_clean else ExitCode.REJECTED,
        changed=outcome.documents > 0,
        seconds=seconds,
        cluster_time=None if time is None else time.as_datetime(),
        rewrite_id=outcome.record.rewrite_id,
        fields=parts,
        looked_at=outcome.scanned,
        added=sum(number for (_c, _f, what), number in outcome.tally.values.items() if what == "added"),
        left=outcome.tally.samples,
        followed=time is not None,
        calm=outcome.is_calm,
        next_steps=tuple(_steps(outcome, run, parts, again)),
    )


_COUNTED = ("rewritten", "already", "rejected", "unmigrated", "taken", "refused")
"""The counts of a field that a tally has under the same name."""


def _field(of: "ReferenceField", tally: "Tally") -> RewrittenFieldPart:
    counts = Counter(
        {what: number for (*name, what), number in tally.values.items() if name == [of.collection, of.field]}
    )
    return RewrittenFieldPart(
        collection=of.collection,
        field=of.field,
        to=of.to.value,
        unknown=counts["unknown"] + counts["no-id"],
        dangling=counts["unknown"],
        no_id=counts["no-id"],
        duplicate_name=counts["duplicate-name"],
        **{name: counts[name] for name in _COUNTED},
    )


def _steps(
    outcome: "RewriteOutcome", run: RunRecord, parts: Sequence[RewrittenFieldPart], again: str | None
) -> Iterator[NextStep]:
    """Yield what can be done about what was left, then what follows."""
    if any(each.refused for each in parts):
        text = "Change the documents that are refused, or what refuses them; then try them again:"
        yield NextStep(text=text, command=again)
    if any(each.taken for each in parts):
        yield NextStep(
            text="Compare each document whose new _id another one has with that one, and delete the one that is not needed; then "
            "rewrite the rest:",
            command=again,
        )
    if any(each.duplicate_name for each in parts):
        text = (
            "Remove one of the two fields of a name from the documents that have them; then rewrite the rest:"
        )
        yield NextStep(text=text, command=again)
    yield from _steps_about_rejected(outcome, run)
    if not outcome.is_calm:
        yield NextStep(
            text="The application still writes old ids: deploy the version that writes new ones; then rewrite the rest:",
            command=again,
        )
    if outcome.documents:
        yield NextStep(text="Prove it:", command="booking-migrate references verify")
        undo = f"booking-migrate rollback --references --run {outcome.record.rewrite_id}"
        yield NextStep(text="To undo it, and no other rewrite:", command=undo)


_DIGITS = re.compile(r"[0-9a-fA-F]{24}")
"""An ObjectId, which a text may have among other things."""


def _steps_about_rejected(outcome: "RewriteOutcome", run: RunRecord) -> Iterator[NextStep]:
    """Yield how to see why a booking has no session; once the old bookings are dropped, nothing knows."""
    left = [each.value for each in outcome.tally.samples if each.reason in ("rejected", "unmigrated")]
    if left and run.legacy is not None and run.state is RunState.CUT_OVER:
        found = _DIGITS.search(left[0])
        places = f"--source {shlex.quote(run.legacy)} --target {shlex.quote(run.source)}"
        yield NextStep(
            text="References to bookings without a session stay as they are: decide with the developers what these become. Why the "
            "first of these bookings was rejected:",
            command=explaining(found[0] if found else left[0], places),
        )


def report_of_undo(
    outcome: "UndoOfReferences", run: RunRecord, *, seconds: float, again: str | None
) -> LifeReport:
    """Build the report of rollback --references; ``again`` is the command that does the same, if that is known."""
    counts = outcome.counts
    return LifeReport(
        **facts_of_run("rollback", run),
        exit_code=ExitCode.REJECTED if counts.kept or outcome.left else ExitCode.DONE,
        changed=counts.values > 0,
        seconds=seconds,
        references=ReferencesUndonePart(
            rewrites=tuple(each.rewrite_id for each in outcome.records),
            computed=outcome.is_computed,
            samples=outcome.kept,
            left=outcome.left,
            left_samples=outcome.stuck,
            **counts.saved(),
        ),
        next_steps=tuple(_steps_after_undo(outcome, run, again)),
    )


def _steps_after_undo(outcome: "UndoOfReferences", run: RunRecord, again: str | None) -> Iterator[NextStep]:
    if outcome.left and not outcome.is_computed:
        text = "Change the documents that the server refuses, or what refuses them; then restore the rest:"
        yield NextStep(text=text, command=again)
    if outcome.counts.kept:
        yield NextStep(
            text="Review what was kept, and decide with those who changed it what to do with each reference."
        )
    if run.state is RunState.CUT_OVER and not outcome.left:
        back = going_back(run)
        yield NextStep(text=f"{back.purpose}:", command=back.command)


def steps_about_references(outcome: "CutoverOutcome") -> Iterator[NextStep]:
    """Yield how fields with old ids are kept usable, and how new ids are written there."""
    run, fields = outcome.run, outcome.references
    if not fields:
        return
    source = shlex.quote(run.source)
    seen = f"Other collections hold old ids ({', '.join(fields)}; seen in samples)"
    if outcome.legacy_index is None:
        yield NextStep(
            text=f"{seen}, which find their sessions by no index. To make it:",
            command=f"booking-migrate references keep --source {source}",
        )
    else:
        yield NextStep(text=f"{seen}: these find their sessions by the index {outcome.legacy_index}.")
    rewrite = f"booking-migrate references rewrite --run {run.run_id}"
    if outcome.are_references_named:
        yield NextStep(text="Write new ids into the fields that the config file names:", command=rewrite)
        return
    yield NextStep(
        text="To write new ids there, find all such fields first; that command prints how references rewrite takes them:",
        command=f"booking-migrate references find --source {source} --target {shlex.quote(run.target)} --output references.toml",
    )
    named = shlex.join(word for name in fields for word in ("--field", name))
    yield NextStep(text="Or write them into these fields only:", command=f"{rewrite} {named}")


def steps_about_stranded(run: RunRecord, found: "Sequence[Stranded]") -> Iterator[NextStep]:
    """Yield how references in the new form, which lead nowhere after a rollback, get old ids."""
    computed = [each.full_name for each in found if each.can_restore]
    if computed:
        named = shlex.join(word for name in dict.fromkeys(computed) for word in ("--field", name))
        yield NextStep(
            text="References in the new form lead nowhere now; their old ids follow from the new ones. Restore them:",
            command=f"booking-migrate rollback --references --run {run.run_id} {named}",
        )
    if len(computed) < len(found):
        names = ", ".join(each.full_name for each in found if not each.can_restore)
        yield NextStep(
            text=f"Ids of client documents in {names} stand for all bookings of a client: decide with the developers what these become."
        )
