"""The reports of status, rollback, cutover, finalize, view and service-indexes: JSON models, and what builds them.

Fields are only ever added.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from booking_migrate.bson.format import display_id
from booking_migrate.errors import ExitCode
from booking_migrate.reports.model import Id, Line, NextStep, Part, Report, Seconds, part_of
from booking_migrate.runs.outcome import Counts
from booking_migrate.runs.status import command_of, rollback_of, stragglers_of
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.views import Shape

if TYPE_CHECKING:
    # The caller that has an outcome has loaded its module; other commands do not need it.
    from booking_migrate.cutover.live import LiveReport
    from booking_migrate.cutover.plan import CutoverOutcome
    from booking_migrate.in_place.finalize import FinalizeOutcome
    from booking_migrate.runs.status import RunStatus
    from booking_migrate.runs.undo import UndoOutcome
    from booking_migrate.stores.cutover import IndexNote, OldBookings


class FollowReport(Part):
    """How following the source of a run goes, or went when it ended."""

    state: str = Field(
        description="following; or ended: caught-up, interrupted, handed-over (to a cut-over), killed"
    )
    lag_seconds: int = Field(description="how far the target is behind the source")
    backlog: int = Field(description="the changes that the last round had to bring in")
    estimated_outage_ms: int = Field(description="for how long a cut-over would refuse writes, about")
    oplog_seconds_left: int | None = Field(
        description="how much further the server's oplog goes back than what is not followed yet; null: it may not be read"
    )
    ready: bool = Field(description="whether everything is verified and a cut-over is short")


class OldBookingsReport(Part):
    """The old bookings that stand in the live collection after a cut-over."""

    carried: int = Field(description="those that the cut-over has carried along")
    later: int = Field(description="all others: an old application has written them since")
    carried_ids: tuple[Id, ...] = Field(description="the first of those carried along")
    later_ids: tuple[Id, ...] = Field(description="the first of the others")


class RunReport(Part):
    """One run and how it stands."""

    run_id: str
    state: RunState
    alive: bool = Field(description="whether a process is working on it")
    stale: bool = Field(description="whether its process ended without recording that")
    heard_at: datetime = Field(description="the time of its last sign of life")
    refuses_writes_since: datetime | None = Field(
        default=None, description="since when the source refuses writes for the run; null if it does not"
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
    legacy: Line | None = Field(
        default=None, description="the collection that a cut-over keeps the old bookings in; null before one"
    )
    possible: tuple[Line, ...] = Field(description="the commands that are possible now")
    follow: FollowReport | None = Field(
        default=None, description="how far the application's changes are followed; null: they were not"
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


class EarlierUndoneReport(Part):
    """What a rollback did to an earlier run into the same target."""

    run_id: str
    removed: int = Field(description="client documents that the run had created")
    restored: int = Field(description="those that are again what they were before the run")
    kept: int = Field(description="those that others have changed since, and that stay")
    kept_ids: tuple[Id, ...] = Field(default=(), description="the first of them")


class UndoneReport(Part):
    """What a rollback did."""

    already: bool = Field(description="whether an earlier rollback had done it all")
    unit: str = Field(description="what is counted: client document or file")
    removed: int = Field(description="those that the run had created")
    restored: int = Field(description="those that are again what they were before the run")
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
    indexes: tuple[IndexReport, ...] = Field(
        default=(), description="how the indexes of a collection that was restored were handled"
    )


class FollowedReport(Part):
    """What a cut-over did that followed the application up to the fence."""

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


class CutoverReport(Part):
    """What a cut-over did."""

    live: Line = Field(description="the collection that holds the client documents now")
    legacy: Line = Field(description="the collection that keeps the old bookings")
    refused_seconds: Seconds = Field(description="for how long writes to the source were refused")
    caught_up: int = Field(description="client documents that changed because the source had")
    carried: int = Field(description="rejected bookings that were carried over in their old shape")
    indexes: tuple[IndexReport, ...] = Field(description="how the old collection's indexes were handled")
    options: tuple[OptionReport, ...] = Field(
        default=(), description="how the old collection's options were handled"
    )
    followed: FollowedReport | None = Field(
        default=None,
        description="how the application was followed; null: everything was read behind the fence",
    )


class FinalizedReport(Part):
    """What a finalize did."""

    archive: Line = Field(description="the collection that kept the old bookings")
    dropped: bool = Field(description="whether it was dropped; not if the verification found mismatches")
    documents_changed: int = Field(
        description="client documents whose sessions lost legacyBookingId, if that was asked for"
    )
    also_dropped: tuple[Line, ...] = Field(
        default=(),
        description="after a cut-over: the archives of later runs in place, which were dropped, too",
    )
    old_bookings: OldBookingsReport | None = Field(
        default=None, description="after a cut-over: the old bookings in the live collection, which stay"
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
    refused_seconds: Seconds = Field(description="for how long writes to it were refused, as far as known")


class LifeReport(Report):
    """The report of `status`, `rollback`, `cutover`, `finalize` or `view`."""

    runs: tuple[RunReport, ...] = Field(default=(), description="the newest first")
    undone: UndoneReport | None = Field(default=None, description="what rollback did")
    cutover: CutoverReport | None = Field(default=None, description="what cutover did")
    aborted: AbortedReport | None = Field(default=None, description="what cutover --abort did")
    finalized: FinalizedReport | None = Field(default=None, description="what finalize did")
    view: ViewReport | None = Field(default=None, description="the view that was created or dropped")


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


def _of_run(command: str, run: RunRecord, **parts: Any) -> LifeReport:
    """Build the report of a command on a run; without an exit code among the parts, of one that succeeded."""
    return LifeReport(
        **{"exit_code": ExitCode.DONE, **parts},
        command=command,
        run_id=run.run_id,
        source=run.source,
        target=run.target,
    )


def report_of_status(standings: "Sequence[RunStatus]", *, run_id: str, target: str | None) -> LifeReport:
    """Build the report of `status`."""
    return LifeReport(
        command="status",
        run_id=run_id,
        source="",
        target=target or "",
        exit_code=ExitCode.DONE,
        runs=tuple(
            part_of(
                RunReport,
                standing.run,
                alive=standing.is_alive,
                stale=standing.is_stale,
                heard_at=standing.heard_at,
                refuses_writes_since=standing.refuses_writes_since,
                rate=None if standing.rate is None else round(standing.rate, 1),
                possible=standing.possible,
                follow=None if standing.follow is None else _follow_report(standing.follow),
                old_bookings=None
                if standing.old_bookings is None
                else old_bookings_report(standing.old_bookings),
            )
            for standing in standings
        ),
    )


def _follow_report(facts: Mapping[str, Any]) -> FollowReport:
    return FollowReport(**{name: facts[name] for name in FollowReport.model_fields})


def report_of_rollback(outcome: "UndoOutcome", *, seconds: float) -> LifeReport:
    """Build the report of a rollback that has finished."""
    since = outcome.since
    is_clean = not any(each.kept for each in (outcome, *outcome.earlier)) and (
        since is None or since.is_nothing or outcome.is_discarded
    )
    return _of_run(
        "rollback",
        outcome.run,
        exit_code=ExitCode.DONE if is_clean else ExitCode.REJECTED,
        changed=not outcome.was_rolled_back,
        seconds=seconds,
        undone=part_of(
            UndoneReport,
            outcome,
            already=outcome.was_rolled_back,
            earlier=[part_of(EarlierUndoneReport, each, run_id=each.run.run_id) for each in outcome.earlier],
            since=None if since is None else part_of(SinceReport, since, dropped=outcome.is_discarded),
        ),
        next_steps=tuple(_steps_after_rollback(outcome)),
    )


def _steps_after_rollback(outcome: "UndoOutcome") -> Iterator[NextStep]:
    since = outcome.since
    if outcome.remaining:
        target = shlex.quote(outcome.run.target)
        yield NextStep(
            text="Earlier runs into the same target are not undone. To undo them:",
            command=f"booking-migrate rollback --target {target}",
        )
    if outcome.kept:
        yield NextStep(
            text=f"Review what was kept, and decide with those who changed it what to do with each {outcome.unit}."
        )
    if since is not None and since.later and not outcome.is_discarded:
        yield NextStep(
            text="Sessions booked since are in client documents beside the old bookings; the old application does not read them."
        )
    yield from _left_out(outcome.indexes)


def _left_out(notes: "Sequence[IndexNote]") -> Iterator[NextStep]:
    for note in notes:
        if note.recreated_as is None:
            yield NextStep(text=f"The index {note.name} ({note.keys}) was left out: {note.reason}.")


def report_before_cutover(run: RunRecord) -> LifeReport:
    """Build the report of a cut-over that is about to begin; its counts are those of the run."""
    return _of_run("cutover", run, counts=Counts(**run.counts) if run.counts else None)


def report_of_abort(run: RunRecord, *, seconds: float) -> LifeReport:
    """Build the report of a cut-over that was aborted."""
    return _of_run(
        "cutover",
        run,
        seconds=seconds,
        aborted=part_of(AbortedReport, run, live=run.source),
        next_steps=(
            NextStep(text="Cut over again:", command=command_of(run, "cutover")),
            NextStep(text="Or undo the run:", command=rollback_of(run)),
        ),
    )


def report_of_cutover(outcome: "CutoverOutcome", *, seconds: float) -> LifeReport:
    """Build the report of a cut-over that has finished."""
    run = outcome.run
    return _of_run(
        "cutover",
        run,
        seconds=seconds,
        cutover=part_of(
            CutoverReport,
            outcome,
            live=run.source,
            legacy=run.legacy or "",
            options=[part_of(OptionReport, note, kept=note.is_kept) for note in outcome.options],
            followed=None if outcome.followed is None else _followed(outcome.followed),
        ),
        next_steps=(
            *_left_out(outcome.indexes),
            *(
                NextStep(text=f"The option {note.name} was left out: {note.reason}.")
                for note in outcome.options
                if not note.is_kept
            ),
            NextStep(
                text=f"When you are sure that you do not need {run.legacy} any more, end the migration:",
                command=command_of(run, "finalize"),
            ),
        ),
    )


def _followed(live: "LiveReport") -> FollowedReport:
    outage = live.outage
    return part_of(
        FollowedReport,
        live,
        fence_ms=round(outage.fence * 1000),
        drain_ms=round(outage.drain * 1000),
        settle_ms=round(outage.settle * 1000),
        rename_ms=round(outage.rename * 1000),
        fenced_at=None if live.fenced is None else live.fenced.as_datetime(),
        swapped_at=None if live.swapped is None else live.swapped.as_datetime(),
        late_updates=tuple(map(display_id, live.late_updates)),
        changed_by_others=tuple(map(display_id, live.foreign)),
    )


def old_bookings_report(found: "OldBookings") -> OldBookingsReport:
    """Return the part of a report about the old bookings in a live collection."""
    carried, later = (tuple(map(display_id, ids)) for ids in (found.carried_ids, found.later_ids))
    return part_of(OldBookingsReport, found, carried_ids=carried, later_ids=later)


def _steps_about_old(run: RunRecord, found: "OldBookings | None") -> Iterator[NextStep]:
    if found is not None and found.later:
        yield NextStep(
            text="Convert the bookings that an old application has written since:", command=stragglers_of(run)
        )


def report_of_finalize(outcome: "FinalizeOutcome", *, seconds: float) -> LifeReport:
    """Build the report of a finalize that has finished."""
    run, verification = outcome.run, outcome.verification
    again = NextStep(
        text="List every mismatch with its values:",
        command=f"{command_of(run, 'verify')} --mismatches mismatches.jsonl",
    )
    return _of_run(
        "finalize",
        run,
        archive=run.archive or run.legacy,
        exit_code=ExitCode.DONE if outcome.is_done else ExitCode.MISMATCHES,
        changed=outcome.is_done,
        seconds=seconds,
        counts=None if verification is None else verification.counts,
        mismatch_count=None if verification is None else verification.mismatch_count,
        finalized=FinalizedReport(
            archive=run.archive or run.legacy or "",
            dropped=outcome.is_done,
            documents_changed=outcome.documents_changed,
            also_dropped=outcome.dropped,
            old_bookings=None if outcome.old_bookings is None else old_bookings_report(outcome.old_bookings),
        ),
        next_steps=tuple(_steps_about_old(run, outcome.old_bookings)) if outcome.is_done else (again,),
    )


def report_of_view(
    *, run_id: str, source: str, name: str, shape: Shape | None, changed: bool, seconds: float
) -> LifeReport:
    """Build the report of a view that was created, or dropped if it does not have a shape."""
    return LifeReport(
        command="view",
        run_id=run_id,
        source=source,
        target=name,
        exit_code=ExitCode.DONE,
        changed=changed,
        seconds=seconds,
        view=ViewReport(name=name, shape=shape),
    )


def report_of_indexes(indexes: Sequence[ServiceIndex], *, run_id: str, source: str) -> IndexesReport:
    """Build the report of `service-indexes`."""
    return IndexesReport(
        command="service-indexes",
        run_id=run_id,
        source=source,
        target="",
        exit_code=ExitCode.DONE,
        changed=any(index.created for index in indexes),
        indexes=tuple(indexes),
    )
