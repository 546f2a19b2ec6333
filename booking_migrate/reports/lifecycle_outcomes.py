"""From what status, rollback, cutover, finalize, view and service-indexes did to their reports."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from booking_migrate.bson.format import display_id
from booking_migrate.errors import ExitCode
from booking_migrate.reports.missing_sessions import steps_about_missing
from booking_migrate.reports.model import AnyPart, NextStep, facts_of_run, part_of, step_after_hand_over
from booking_migrate.reports.rewrite_status import StrandedReport, UnseenReport
from booking_migrate.runs.advice import ANY_SOURCE, RIGHT_NAME, STOP_THE_NEW, STOP_THE_OLD
from booking_migrate.runs.commands import command_of, converting, going_back, rollback_of, which_application
from booking_migrate.runs.plan import Counts, all_rejected
from booking_migrate.stores.connection import Shape
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.own_collections import records_pattern

if TYPE_CHECKING:
    # The caller that has an outcome has loaded its module; other commands do not need it.
    from booking_migrate.cutover.fencing import LiveReport
    from booking_migrate.cutover.plan import CutoverOutcome
    from booking_migrate.in_place.finalize import FinalizeOutcome
    from booking_migrate.references.remaining import Unseen
    from booking_migrate.references.stranded import Stranded
    from booking_migrate.rollback.window import WindowOutcome
    from booking_migrate.runs.status import RunStatus
    from booking_migrate.runs.undo import UndoOutcome
    from booking_migrate.stores.cutover import IndexNote, OldBookings


from booking_migrate.reports.control import request_report
from booking_migrate.reports.finalized import FinalizedReport, OldBookingsReport
from booking_migrate.reports.following import FollowReport, WindowReport
from booking_migrate.reports.lifecycle import (
    AbortedReport,
    CutoverReport,
    EarlierUndoneReport,
    FollowedReport,
    IndexesReport,
    KeptWindowReport,
    LifeReport,
    OptionReport,
    RunReport,
    ServiceIndex,
    SinceReport,
    UndoneReport,
    ViewReport,
)
from booking_migrate.reports.rewriting import steps_about_references, steps_about_stranded


def _of_run(command: str, run: RunRecord, **parts: Any) -> LifeReport:
    """Build the report of a command on a run; without an exit code among the parts, of one that succeeded."""
    return LifeReport(**{"exit_code": ExitCode.DONE, **parts, **facts_of_run(command, run)})


def report_of_status(statuses: "Sequence[RunStatus]", *, run_id: str, target: str | None) -> LifeReport:
    return LifeReport(
        command="status",
        run_id=run_id,
        source="",
        target=target or "",
        exit_code=ExitCode.DONE,
        runs=tuple(
            part_of(
                RunReport,
                status.run,
                alive=status.is_alive,
                scanned=status.run.counts.get("scanned"),
                rejected=status.run.counts.get("rejected"),
                conflicts=status.run.counts.get("conflicts"),
                verified_clean=None if status.run.verified_at is None else status.run.verified_clean,
                stale=status.is_stale,
                process_ended=status.has_ended and not status.is_alive,
                heard_at=status.heard_at,
                refuses_writes_since=status.refuses_writes_since,
                swapped=status.is_swapped,
                rate=None if status.rate is None else round(status.rate, 1),
                possible=tuple(each.command for each in status.possible),
                purposes=tuple(each.purpose for each in status.possible),
                holder=status.holder,
                requests=tuple(map(request_report, status.requests)),
                follow=_recorded(FollowReport, status.follow),
                window=_recorded(WindowReport, status.window),
                old_bookings=None
                if status.old_bookings is None
                else old_bookings_report(status.old_bookings),
            )
            for status in statuses
        ),
    )


def _recorded(kind: type[AnyPart], facts: Mapping[str, Any] | None) -> AnyPart | None:
    # An earlier version recorded fewer of them.
    return (
        None if facts is None else kind(**{name: facts[name] for name in kind.model_fields if name in facts})
    )


def report_of_rollback(
    outcome: "UndoOutcome", *, seconds: float, stranded: "Sequence[Stranded]" = ()
) -> LifeReport:
    """Build the report of a rollback that has finished; with the references that lead nowhere after it."""
    since = outcome.since
    is_clean = not (stranded or any(each.kept for each in (outcome, *outcome.earlier))) and (
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
            followed=None if outcome.followed is None else _followed(outcome.followed),
            stranded=[part_of(StrandedReport, each, field=each.full_name) for each in stranded],
        ),
        next_steps=(*steps_about_stranded(outcome.run, stranded), *_steps_after_rollback(outcome)),
    )


def _steps_after_rollback(outcome: "UndoOutcome") -> Iterator[NextStep]:
    since = outcome.since
    if since is not None and outcome.run.archive is None:
        yield NextStep(text=f"{STOP_THE_NEW[0].upper()}{STOP_THE_NEW[1:]}.")
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
    if since is not None and since.later > since.converted + since.old and not outcome.is_discarded:
        yield NextStep(
            text="Sessions booked since are in client documents beside the old bookings; the old application does not read them."
        )
    if since is not None and outcome.run.archive is None and outcome.run.target_existed:
        yield NextStep(
            text=f"{outcome.run.target} existed before the run, and is not made again: make it with its options if it is needed."
        )
    yield from _left_out(outcome.indexes)
    if since is None and not (outcome.was_rolled_back or outcome.remaining or outcome.kept):
        yield _again(outcome.run)


def _again(run: RunRecord) -> NextStep:
    """Return the next migration after one that was undone: one that rejected every document was probably of a wrong source."""
    if all_rejected(run.counts):
        right = run.model_copy(update={"source": ANY_SOURCE})
        text = f"Every document of {run.source} had been rejected. To migrate, {RIGHT_NAME}:"
        return NextStep(text=text, command=command_of(right, "migrate"))
    return NextStep(
        text="To migrate again, for example with other options:", command=command_of(run, "migrate")
    )


def _left_out(notes: "Sequence[IndexNote]") -> Iterator[NextStep]:
    for note in notes:
        if note.recreated_as is None:
            yield NextStep(text=f"The index {note.name} ({note.keys}) was left out: {note.reason}.")


def report_before_cutover(run: RunRecord) -> LifeReport:
    """Build the report of a cut-over that is about to begin; its counts are those of the run."""
    return _of_run("cutover", run, counts=Counts(**run.counts) if run.counts else None)


_CUT_OVER_AGAIN = "When the new application is ready, cut over again"


def report_of_abort(run: RunRecord, *, seconds: float) -> LifeReport:
    return _of_run(
        "cutover",
        run,
        seconds=seconds,
        aborted=part_of(
            AbortedReport,
            run,
            live=run.source,
            own_refused_seconds=run.last_refusal,
            earlier_attempts=run.refusals - (run.last_refusal > 0),
            earlier_refused_seconds=max(run.refused_seconds - run.last_refusal, 0.0),
        ),
        next_steps=(
            NextStep(text=f"{_CUT_OVER_AGAIN}; {STOP_THE_OLD}:", command=command_of(run, "cutover")),
            NextStep(text="Or undo the run:", command=rollback_of(run)),
        ),
    )


def report_of_cutover(
    outcome: "CutoverOutcome", *, seconds: float, window: "WindowOutcome | None" = None
) -> LifeReport:
    """Build the report of a cut-over that has finished, and of its reverse window if it had one."""
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
            window=None if window is None else _kept_window(window),
        ),
        next_steps=tuple(_steps_after_cutover(outcome, window)),
    )


def _kept_window(window: "WindowOutcome") -> KeptWindowReport:
    by = window.taken_by
    return part_of(KeptWindowReport, window, end=window.end.value, taken_by=None if by is None else str(by))


def _steps_after_cutover(outcome: "CutoverOutcome", window: "WindowOutcome | None") -> Iterator[NextStep]:
    run = outcome.run
    if window is not None and window.taken_by is not None:
        # That command decides which application is to run.
        yield step_after_hand_over(window.taken_by)
        return
    yield from _left_out(outcome.indexes)
    for note in outcome.options:
        if not note.is_kept:
            yield NextStep(text=f"The option {note.name} was left out: {note.reason}.")
    yield NextStep(text=which_application(run))
    if window is not None and window.end.value == "interrupted":
        yield NextStep(text="To keep a rollback ready again:", command=command_of(run, "cutover"))
    yield from steps_about_references(outcome)
    yield NextStep(text=f"{going_back(run).purpose}:", command=rollback_of(run))
    yield NextStep(
        text=f"When you are sure that you do not need {run.legacy} any more, end the migration; that cannot be undone:",
        command=command_of(run, "finalize"),
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
        kept_changed_by_others=tuple(map(display_id, live.foreign_copies)),
    )


def old_bookings_report(found: "OldBookings") -> OldBookingsReport:
    """Return the part of a report about the old bookings in a live collection."""
    carried, later = (tuple(map(display_id, ids)) for ids in (found.carried_ids, found.later_ids))
    return part_of(OldBookingsReport, found, carried_ids=carried, later_ids=later)


def _steps_about_old(run: RunRecord, found: "OldBookings | None") -> Iterator[NextStep]:
    if found is not None and (found.later or found.carried):
        carried = "Convert the bookings that were carried along, once what they were rejected for is corrected or accepted"
        convert = converting(run)
        yield NextStep(text=f"{convert.purpose if found.later else carried}:", command=convert.command)


def report_of_finalize(
    outcome: "FinalizeOutcome",
    *,
    seconds: float,
    records: Sequence[str] = (),
    is_last: bool = False,
    unseen: "Sequence[Unseen]" = (),
) -> LifeReport:
    """Build the report of a finalize that has finished.

    Args:
        outcome: what it did.
        seconds: how long it took.
        records: the collections in which the program keeps its records, and that stay.
        is_last: whether no run of the database needs them.
        unseen: where references to old ids were not looked for, if these were removed.
    """
    run, verification = outcome.run, outcome.verification
    old = tuple(_steps_about_old(run, outcome.old_bookings))
    missing = () if verification is None else tuple(steps_about_missing(run, verification))
    again = NextStep(
        text="List every mismatch with its values:",
        command=f"{command_of(run, 'verify')} --mismatches mismatches.jsonl",
    )
    return _of_run(
        "finalize",
        run,
        archive=run.archive or run.legacy,
        exit_code=ExitCode.DONE if outcome.is_done else ExitCode.MISMATCHES,
        changed=outcome.is_done and not outcome.was_finalized,
        seconds=seconds,
        counts=None if verification is None else verification.counts,
        mismatch_count=None if verification is None else verification.mismatch_count,
        finalized=part_of(
            FinalizedReport,
            outcome,
            archive=run.archive or run.legacy or "",
            dropped=outcome.is_done,
            already=outcome.was_finalized,
            deleted_sessions=0 if verification is None else verification.deleted_sessions,
            missing_sessions=0 if verification is None else verification.missing_sessions,
            unseen=[part_of(UnseenReport, each, text=str(each)) for each in unseen],
            also_dropped=outcome.dropped,
            old_bookings=None if outcome.old_bookings is None else old_bookings_report(outcome.old_bookings),
            records=tuple(records),
        ),
        next_steps=(
            *(() if outcome.is_done else (again,)),
            *missing,
            *old,
            *_useless(run, outcome.indexes_left),
            *([_REMOVAL] if outcome.is_done and is_last and records and not old else []),
        ),
    )


def _useless(run: RunRecord, indexes: Sequence[str]) -> Iterator[NextStep]:
    for name in indexes:
        yield NextStep(
            text=f"The index {name} finds nothing any more, and the program has not made it. To drop it, in mongosh:",
            command=f"db.getCollection({json.dumps(run.source)}).dropIndex({json.dumps(name)})",
        )


_REMOVAL = NextStep(
    text="If status does not have to show these runs any more, and references will not be restored (rollback --references needs these "
    "records), remove them (rejected bookings stay), in mongosh:",
    command=f"db.getCollectionNames().filter(name => /{records_pattern()}/.test(name))"
    ".forEach(name => db.getCollection(name).drop())",
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
    return IndexesReport(
        command="service-indexes",
        run_id=run_id,
        source=source,
        target="",
        exit_code=ExitCode.DONE,
        changed=any(index.created for index in indexes),
        indexes=tuple(indexes),
    )
