"""What status says beside runs (rewrites of references, locks of no recorded run), and rollback and finalize about references."""

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import Field

from booking_migrate.bson.format import Line
from booking_migrate.reports.model import Part, RewriteStatusReport, part_of

if TYPE_CHECKING:
    from booking_migrate.references.in_effect import RewriteInEffect


class UnseenReport(Part):
    """Where ids of old bookings were not looked for, although some may be there."""

    why: str = Field(
        description="field-names, time-series, unreadable, too-many-collections, no-index or leave-references"
    )
    collections: tuple[Line, ...] = Field(description="which; empty: all of them")
    text: Line = Field(description="the same in words")


class StrandedReport(Part):
    """A field of another collection with new ids that lead nowhere after a rollback."""

    field: Line = Field(description="collection and path")
    values: int = Field(description="how many such references it has")
    samples: tuple[Line, ...] = Field(description="the `_id` of the first documents that have one")
    can_restore: bool = Field(description="whether rollback --references --field can compute the old ids")


class LockReport(Part):
    """A lock that is held for no run that is shown: such as before the run is recorded."""

    name: Line = Field(description="the target that is locked")
    holder: Line = Field(description="the process that holds it")
    heard_at: datetime = Field(description="when it was renewed last")


def rewrite_status(each: "RewriteInEffect") -> RewriteStatusReport:
    """Return one rewrite as status shows it."""
    possible = tuple(each.possible())
    record = each.record
    return part_of(
        RewriteStatusReport,
        record,
        state=each.state,
        fields=each.fields,
        values=each.values,
        restored=record.undo_counts.get("documents", 0),
        problem=record.problem if each.state.endswith("failed") else None,
        holder=None if each.held is None else str(each.held.holder),
        possible=[one.command for one in possible],
        purposes=[one.purpose for one in possible],
    )
