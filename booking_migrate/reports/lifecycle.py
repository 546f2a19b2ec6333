"""The reports of status, rollback, cutover, finalize, view and service-indexes: JSON models, and what builds them.

Fields are only ever added.
"""

from datetime import datetime

from pydantic import Field

from booking_migrate.bson.format import Id, Line
from booking_migrate.reports.control import RequestReport
from booking_migrate.reports.finalized import FinalizedReport, OldBookingsReport
from booking_migrate.reports.following import FollowReport, WindowReport
from booking_migrate.reports.model import Part, Report, RewriteStatusReport, Seconds
from booking_migrate.reports.rewrite_status import LockReport, StrandedReport
from booking_migrate.stores.connection import Shape
from booking_migrate.stores.journal import RunState


class KeptWindowReport(Part):
    """What a cut-over with a reverse window has done after the swap."""

    end: str = Field(description="expired, interrupted, or handed-over (to a rollback or finalize)")
    ends_at: datetime = Field(description="when the window ends, or has ended")
    changes: int = Field(description="the changes of the live collection that were followed")
    clients: int = Field(description="clients derived again for them")
    taken_by: Line | None = Field(
        default=None,
        description="the command, its run, user, host and process that the window was handed over to; null: it was not",
    )


class RunReport(Part):
    """One run and its status."""

    run_id: str
    state: RunState
    alive: bool = Field(description="whether a process is working on it")
    stale: bool = Field(description="whether its process ended without recording that")
    process_ended: bool = Field(default=False, description="whether its process is known to have ended")
    heard_at: datetime = Field(description="the time of its last sign of life")
    refuses_writes_since: datetime | None = Field(
        default=None, description="since when the source refuses writes for the run; null if it does not"
    )
    refused_seconds: float = Field(
        default=0.0,
        description="for how long its cut-overs have refused writes, those that did not complete, too",
    )
    swapped: bool = Field(
        default=False,
        description="of a cut-over that is not complete: whether the client documents are live under the source's name already",
    )
    started_at: datetime
    source: Line
    target: Line
    tool_version: Line
    user: Line
    host: Line
    pid: int
    documents: int = Field(description="documents of the source processed since it was started or resumed")
    total: int | None = Field(description="how many there are, roughly; null if not known")
    rate: float | None = Field(description="documents per second; null if not known")
    resumed: int = Field(description="how often it was resumed")
    kept: int = Field(description="client documents that a rollback left, since others have changed them")
    problem: Line | None = Field(description="what ended a run that failed")
    scanned: int | None = Field(default=None, description="bookings in the source, as of `rejected`")
    rejected: int | None = Field(default=None, description="bookings rejected; null before it has finished")
    conflicts: int | None = Field(default=None, description="those of them that are conflicts")
    verified_at: datetime | None = Field(
        default=None, description="when its result was verified last; null if it was not"
    )
    verified_clean: bool | None = Field(default=None, description="whether that found nothing wrong")
    legacy: Line | None = Field(
        default=None, description="the collection that a cut-over keeps the old bookings in; null before one"
    )
    possible: tuple[Line, ...] = Field(description="the commands that are possible now")
    purposes: tuple[Line, ...] = Field(default=(), description="what each of `possible` does, in their order")
    follow: FollowReport | None = Field(
        default=None, description="how far the application's changes are followed; null: they were not"
    )
    window: WindowReport | None = Field(
        default=None, description="the reverse window of a cut-over; null: it does not have one"
    )
    requests: tuple[RequestReport, ...] = Field(
        default=(), description="pauses and settings that control has asked for, as far as they hold"
    )
    holder: Line | None = Field(
        default=None,
        description="the process that works on it, as messages about its lock name it; null: none does",
    )
    old_bookings: OldBookingsReport | None = Field(
        default=None,
        description="after a cut-over: the old bookings in the live collection; null: none was, or counting takes too long",
    )


class IndexReport(Part):
    """How one index of the old collection was handled."""

    name: Line
    keys: Line = Field(description="its fields and directions")
    recreated_as: Line | None = Field(description="those that it has now; null if it was left out")
    reason: Line | None = Field(description="why it was left out")


class OptionReport(Part):
    """How one option of the old collection was handled."""

    name: Line
    definition: Line = Field(description="as Extended JSON")
    kept: bool = Field(description="whether the live collection has it, by what the server lists")
    reason: Line | None = Field(description="why it was left out")


class SinceReport(Part):
    """What the application has changed since the cut-over."""

    dropped: bool = Field(
        description="whether that was dropped, as requested; otherwise it was kept and carried over"
    )
    later: int = Field(description="sessions and bookings booked since")
    changed: int = Field(description="fields changed since, each in the old booking now")
    changes: tuple[Line, ...] = Field(description="the first of them")
    missing: int = Field(description="bookings whose session had been deleted; they are restored")
    missing_ids: tuple[Id, ...] = Field(description="the first of them")
    lost: int = Field(description="changes to fields of the client that bookings do not have")
    losses: tuple[Line, ...] = Field(description="the first of them")
    converted: int = Field(default=0, description="sessions booked since that are old bookings now")
    staying_ids: tuple[Id, ...] = Field(
        default=(), description="the sessionId of the first sessions booked since that stay in the new shape"
    )
    old: int = Field(default=0, description="old bookings that an old application has written since, kept")


class EarlierUndoneReport(Part):
    """What a rollback did to an earlier run into the same target."""

    run_id: str
    unit: str = Field(description="what is counted: client document, file or booking")
    removed: int = Field(description="those that the run had created")
    restored: int = Field(description="those whose earlier version was restored")
    kept: int = Field(description="those that others have changed since, and that stay")
    kept_ids: tuple[Id, ...] = Field(default=(), description="the first of them")


class FollowedReport(Part):
    """What a cut-over, or a rollback in a reverse window, did that followed the application up to the fence."""

    attempts: int = Field(description="how often writes were refused until the swap was within --max-outage")
    fence_ms: int = Field(description="what the fence took, in milliseconds")
    drain_ms: int = Field(description="what reading the last changes took")
    settle_ms: int = Field(description="what deriving and verifying them took")
    rename_ms: int = Field(description="what the rename took")
    fenced_at: datetime | None = Field(
        description="the cluster time of the fence; all earlier writes are in the result"
    )
    swapped_at: datetime | None = Field(description="the cluster time of the swap")
    events: dict[str, int] = Field(description="the changes of the source that were followed, by kind")
    clients_at_fence: int = Field(description="clients that were derived and verified behind the fence")
    late_deletes: int = Field(
        description="bookings that were deleted past the fence and taken out of the result"
    )
    late_writes: int = Field(
        description="bookings that were inserted past the fence by bypassing validation and taken in"
    )
    late_updates: tuple[Line, ...] = Field(
        description="bookings that were updated past the fence by bypassing validation: the result has them as they were before"
    )
    changed_by_others: tuple[Line, ...] = Field(
        description="client documents that others changed while the collections were swapped"
    )
    kept_changed_by_others: tuple[Line, ...] = Field(
        default=(),
        description="bookings of the kept copy that others changed while the collections were swapped",
    )


class UndoneReport(Part):
    """What a rollback did."""

    already: bool = Field(description="whether an earlier rollback had done it all")
    unit: str = Field(description="what is counted: client document, file or booking")
    removed: int = Field(description="those that the run had created")
    restored: int = Field(description="those whose earlier version was restored")
    kept: int = Field(description="those that others have changed since, and that stay")
    kept_ids: tuple[Id, ...] = Field(description="the first of them")
    index_removed: bool
    target_dropped: bool
    since: SinceReport | None = Field(
        default=None, description="what happened after the cut-over; null before one"
    )
    earlier: tuple[EarlierUndoneReport, ...] = Field(
        default=(), description="the earlier runs into the same target that were undone too, the newest first"
    )
    remaining: tuple[str, ...] = Field(
        default=(), description="the earlier runs into the same target that are not undone"
    )
    refused_seconds: Seconds = Field(default=0.0, description="for how long writes were refused")
    stranded: tuple[StrandedReport, ...] = Field(
        default=(),
        description="known fields of other collections with references in the new form, which lead nowhere now",
    )
    indexes: tuple[IndexReport, ...] = Field(
        default=(), description="how the indexes of a collection that was restored were handled"
    )
    followed: FollowedReport | None = Field(
        default=None,
        description="in a reverse window: how the application was followed; null: everything was restored behind the fence",
    )


class CutoverReport(Part):
    """What a cut-over did."""

    live: Line = Field(description="the collection that holds the client documents now")
    legacy: Line = Field(description="the collection that keeps the old bookings")
    refused_seconds: Seconds = Field(
        description="for how long writes to the source were refused, by earlier attempts too"
    )
    own_refused_seconds: Seconds = Field(
        default=0.0, description="how much of it was the attempt that has swapped"
    )
    earlier_attempts: int = Field(
        default=0, description="how many attempts had refused writes before, of earlier commands too"
    )
    earlier_refused_seconds: Seconds = Field(default=0.0, description="for how long they did")
    caught_up: int = Field(description="how often client documents were written to bring in what had changed")
    carried: int = Field(description="rejected bookings that were carried over in their old shape")
    indexes: tuple[IndexReport, ...] = Field(description="how the old collection's indexes were handled")
    options: tuple[OptionReport, ...] = Field(
        default=(), description="how the old collection's options were handled"
    )
    followed: FollowedReport | None = Field(
        default=None,
        description="how the application was followed; null: everything was read behind the fence",
    )
    window: KeptWindowReport | None = Field(
        default=None, description="what was done in its reverse window; null: it has none"
    )
    tail_unread: Line | None = Field(
        default=None,
        description="why nothing is known of what passed the fence before the swap; null: it was read, or nothing can pass",
    )
    kept_index: Line | None = Field(
        default=None,
        description="--keep-index: the index on sessions.legacyBookingId, by which references to old bookings are found",
    )
    references: tuple[Line, ...] = Field(
        default=(), description="fields of other collections that hold ids of old bookings, as samples show"
    )
    legacy_index: Line | None = Field(
        default=None,
        description="if there are such fields: the index by which their sessions are found; null: the live collection lacks one",
    )


class ViewReport(Part):
    """A view, as it is now."""

    name: Line
    shape: Shape | None = Field(
        description="old: one document per booking, new: one per client; null: dropped"
    )


class AbortedReport(Part):
    """What `cutover --abort` did."""

    live: Line = Field(description="the collection that is live as before and accepts writes")
    refused_seconds: Seconds = Field(
        description="for how long writes to it were refused, by earlier attempts too, as far as known"
    )
    own_refused_seconds: Seconds = Field(
        default=0.0, description="how much of it was the fence that this command has lifted"
    )
    earlier_attempts: int = Field(default=0, description="how many attempts had refused writes before")
    earlier_refused_seconds: Seconds = Field(default=0.0, description="for how long they did")


class KeptReferencePart(Part):
    """A reference that rollback --references has left, because others have changed it since."""

    collection: Line
    document_id: Line
    path: Line = Field(description="where it was written, with array positions")
    noted: Line = Field(description="the new id that references rewrite had written")


class LeftDocumentPart(Part):
    """A document that rollback --references has left with its new ids."""

    collection: Line
    document_id: Line
    why: Line = Field(
        description="what refuses it with its old ids, with the server's facts; or why these cannot be computed"
    )


class ReferencesUndonePart(Part):
    """What rollback --references did."""

    rewrites: tuple[Line, ...] = Field(description="the rewrites that were undone, the newest first")
    documents: int = Field(description="documents that have old ids again")
    identical: int = Field(
        description="of those, documents that are byte for byte as before; the others have other changes since"
    )
    values: int = Field(description="references and fields beside them that were restored")
    kept: int = Field(description="those that others have changed since, so that they stay")
    superseded: int = Field(
        default=0,
        description="those that others have replaced since by ids of old bookings, so that they stay, and lead somewhere",
    )
    gone: int = Field(description="documents that were deleted since")
    computed: bool = Field(description="whether old ids were computed, because no journal was found")
    samples: tuple[KeptReferencePart, ...] = Field(description="the first hundred that were kept")
    left: int = Field(description="documents that keep new ids although others have not changed them")
    left_samples: tuple[LeftDocumentPart, ...] = Field(description="the first hundred of these")


class LifeReport(Report):
    """The report of `status`, `rollback`, `cutover`, `finalize` or `view`."""

    runs: tuple[RunReport, ...] = Field(default=(), description="the newest first")
    rewrites: tuple[RewriteStatusReport, ...] = Field(
        default=(), description="status: the rewrites of references that stand, the newest first"
    )
    locks: tuple[LockReport, ...] = Field(
        default=(),
        description="status: locks that are held for none of these, such as before a run is recorded",
    )
    undone: UndoneReport | None = Field(default=None, description="what rollback did")
    cutover: CutoverReport | None = Field(default=None, description="what cutover did")
    aborted: AbortedReport | None = Field(default=None, description="what cutover --abort did")
    finalized: FinalizedReport | None = Field(default=None, description="what finalize did")
    view: ViewReport | None = Field(default=None, description="the view that was created or dropped")
    references: ReferencesUndonePart | None = Field(
        default=None, description="what rollback --references did"
    )


class ServiceIndex(Part):
    """One index that the booking service needs."""

    collection: Line
    fields: tuple[Line, ...] = Field(description="all ascending")
    unique: bool
    purpose: str = Field(description="what it finds, or prevents")
    created: bool = Field(description="whether it was created now; otherwise it existed")


class IndexesReport(Report):
    """The report of `service-indexes`."""

    indexes: tuple[ServiceIndex, ...] = Field(description="every index that the service works with")
