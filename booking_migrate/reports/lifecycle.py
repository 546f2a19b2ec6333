"""Build the reports of status, rollback, cutover, finalize, view and service-indexes from what was done."""

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from booking_migrate.errors import ExitCode
from booking_migrate.reports.model import NextStep, counts_report
from booking_migrate.reports.model_lifecycle import (
    AbortedReport,
    CutoverReport,
    EarlierUndoneReport,
    FinalizedReport,
    IndexesReport,
    IndexReport,
    LifeReport,
    OptionReport,
    RunReport,
    ServiceIndex,
    SinceReport,
    UndoneReport,
    ViewReport,
)
from booking_migrate.runs.commands import command_of, rollback_of
from booking_migrate.runs.outcome import Counts
from booking_migrate.stores.journal import RunRecord
from booking_migrate.stores.views import Shape

if TYPE_CHECKING:
    # The caller that has an outcome has loaded its module; other commands do not need it.
    from booking_migrate.cutover.run import CutoverOutcome
    from booking_migrate.in_place.finalize import FinalizeOutcome
    from booking_migrate.runs.drift import ChangesSince
    from booking_migrate.runs.status import RunStatus
    from booking_migrate.runs.undo import UndoOutcome
    from booking_migrate.stores.cutover import IndexNote


def _of_run(command: str, run: RunRecord, *, seconds: float = 0.0, **parts: Any) -> LifeReport:
    """Build the report of a command on a run; without an exit code among the parts, of one that succeeded."""
    return LifeReport(
        **{"exit_code": ExitCode.DONE, **parts},
        command=command,
        run_id=run.run_id,
        source=run.source,
        target=run.target,
        seconds=round(seconds, 3),
    )


def _run_reports(standings: "Sequence[RunStatus]") -> tuple[RunReport, ...]:
    """Return the runs as a report has them."""
    return tuple(
        RunReport(
            **standing.run.model_dump(include=set(RunReport.model_fields)),
            alive=standing.is_alive,
            stale=standing.is_stale,
            heard_at=standing.heard_at,
            refuses_writes_since=standing.refuses_writes_since,
            rate=None if standing.rate is None else round(standing.rate, 1),
            possible=standing.possible,
        )
        for standing in standings
    )


def report_of_status(standings: "Sequence[RunStatus]", *, run_id: str, target: str | None) -> LifeReport:
    """Build the report of `status`."""
    return LifeReport(
        command="status",
        run_id=run_id,
        source="",
        target=target or "",
        exit_code=ExitCode.DONE,
        runs=_run_reports(standings),
    )


def report_of_rollback(outcome: "UndoOutcome", *, seconds: float) -> LifeReport:
    """Build the report of a rollback that has finished."""
    run = outcome.run
    since = outcome.since
    is_clean = not any(each.kept for each in (outcome, *outcome.earlier)) and (
        since is None or since.is_nothing or outcome.is_discarded
    )
    return _of_run(
        "rollback",
        run,
        exit_code=ExitCode.DONE if is_clean else ExitCode.REJECTED,
        changed=not outcome.was_rolled_back,
        seconds=seconds,
        undone=UndoneReport(
            already=outcome.was_rolled_back,
            unit=outcome.unit,
            removed=outcome.removed,
            restored=outcome.restored,
            kept=outcome.kept,
            earlier=tuple(
                EarlierUndoneReport(
                    run_id=each.run.run_id,
                    removed=each.removed,
                    restored=each.restored,
                    kept=each.kept,
                    kept_ids=tuple(each.kept_ids),
                )
                for each in outcome.earlier
            ),
            remaining=tuple(outcome.remaining),
            kept_ids=tuple(outcome.kept_ids),
            index_removed=outcome.index_removed,
            target_dropped=outcome.target_dropped,
            since=None if since is None else _since(since, dropped=outcome.is_discarded),
            refused_seconds=round(outcome.refused_seconds, 3),
            indexes=_indexes(outcome.indexes),
        ),
        next_steps=tuple(_steps_after_rollback(outcome)),
    )


def _since(since: "ChangesSince", *, dropped: bool) -> SinceReport:
    return SinceReport(
        dropped=dropped,
        later=since.later,
        changed=since.changed,
        changes=tuple(since.changes),
        missing=since.missing,
        missing_ids=tuple(since.missing_ids),
        lost=since.lost,
        losses=tuple(since.losses),
    )


def _indexes(notes: "Sequence[IndexNote]") -> tuple[IndexReport, ...]:
    return tuple(map(IndexReport.model_validate, notes))


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
    return _of_run("cutover", run, counts=counts_report(Counts(**run.counts)) if run.counts else None)


def report_of_abort(run: RunRecord, *, seconds: float) -> LifeReport:
    """Build the report of a cut-over that was aborted."""
    return _of_run(
        "cutover",
        run,
        seconds=seconds,
        aborted=AbortedReport(live=run.source, refused_seconds=round(run.refused_seconds, 3)),
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
        cutover=CutoverReport(
            live=run.source,
            legacy=run.legacy or "",
            refused_seconds=round(outcome.refused_seconds, 3),
            caught_up=outcome.caught_up,
            carried=outcome.carried,
            indexes=_indexes(outcome.indexes),
            options=tuple(
                OptionReport(
                    name=note.name, definition=note.definition, kept=note.is_kept, reason=note.reason
                )
                for note in outcome.options
            ),
        ),
        next_steps=(
            *_left_out(outcome.indexes),
            *(
                NextStep(text=f"The option {note.name} was left out: {note.reason}.")
                for note in outcome.options
                if not note.is_kept
            ),
            NextStep(
                text=f"Drop {run.legacy} when you are sure that you do not need the old bookings any more."
            ),
        ),
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
        archive=run.archive,
        exit_code=ExitCode.DONE if outcome.is_done else ExitCode.MISMATCHES,
        changed=outcome.is_done,
        seconds=seconds,
        counts=None if verification is None else counts_report(verification.counts),
        mismatch_count=None if verification is None else verification.mismatch_count,
        finalized=FinalizedReport(
            archive=run.archive or "",
            dropped=outcome.is_done,
            documents_changed=outcome.documents_changed,
        ),
        next_steps=() if outcome.is_done else (again,),
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
        seconds=round(seconds, 3),
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
