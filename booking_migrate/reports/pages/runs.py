"""The pages of status and rollback."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from booking_migrate.reports.model_lifecycle import LifeReport, RunReport, SinceReport, UndoneReport
from booking_migrate.reports.numbers import duration, grouped, plural
from booking_migrate.reports.page import Check, Item, Mood, Page, Result, Section, Verdict
from booking_migrate.reports.pages.parts import error_check, final_verdict, route_line
from booking_migrate.runs.states import LIVE, in_words


def outcome_check(report: LifeReport, name: str, verdict: Verdict) -> Check:
    """Return the check that a command did not fail and left nothing for the user to do."""
    if report.error is None and verdict.mood is not Mood.GOOD:
        return Check(name, Result.FAILURE, verdict.headline, verdict.explanation)
    return error_check(report, name, verdict)


def status_page(report: LifeReport) -> Page:
    """Return the page of status: one section a run."""
    verdict = final_verdict(report, _status(report.runs), is_done=True)
    return Page(
        report,
        verdict,
        sections=tuple(map(_run, report.runs)),
        checks=(outcome_check(report, "no-run-is-stale", verdict),),
    )


def _status(runs: Sequence[RunReport]) -> Verdict:
    if not runs:
        explanation = "Nothing was migrated into this database, or its journal was dropped."
        return Verdict(Mood.GOOD, "No runs", explanation)
    alive = sum(run.alive for run in runs)
    stale = sum(run.stale for run in runs)
    active = f"{grouped(alive)} active" if alive else "No run is active"
    summary = f"{active}, {grouped(stale)} stale." if stale else f"{active}."
    refusals = [_refusal(run.source, run.refuses_writes_since) for run in runs if run.refuses_writes_since]
    if refusals:
        # Before everything else: the application is down until a command below has ended it.
        return Verdict(Mood.BAD, "; ".join(refusals), f"{plural(len(runs), 'run')}. {summary}")
    return Verdict(Mood.CAUTION if stale else Mood.GOOD, plural(len(runs), "run"), summary)


def _refusal(source: str, since: datetime) -> str:
    seconds = (datetime.now(UTC) - since).total_seconds()
    return f"{source} REFUSES WRITES since {since:%Y-%m-%d %H:%M:%S} UTC ({duration(max(seconds, 0.0))})"


def _state(run: RunReport) -> str:
    """Return the state of a run, in a few words."""
    if run.stale:
        heartbeat = f"{run.heard_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{in_words(run.state)}, its process has ended; last heartbeat {heartbeat}"
    return run.state.value


def _run(run: RunReport) -> Section:
    lines = [
        f"{run.source} -> {run.target}",
        f"by {run.user} on {run.host}, process {run.pid}, started {run.started_at:%Y-%m-%d %H:%M:%S} UTC",
        _progress(run),
        run.problem or "",
        f"{plural(run.kept, 'client document')} kept, changed by others" if run.kept else "",
        f"old bookings are kept in {run.legacy}" if run.legacy and run.state in LIVE else "",
    ]
    return Section(
        title=run.run_id,
        remark=_state(run),
        is_flagged=run.stale or run.problem is not None,
        items=tuple(Item(line) for line in lines if line),
        commands=run.possible,
    )


def _progress(run: RunReport) -> str:
    if not run.documents:
        return ""
    text = grouped(run.documents)
    if run.total is not None:
        text += f" of about {grouped(run.total)}"
    text += " documents"
    if run.rate is not None:
        text += f", {grouped(round(run.rate))}/s"
    if run.resumed:
        text += f", resumed {plural(run.resumed, 'time')}"
    if run.alive:
        text += f", last heartbeat {run.heard_at:%H:%M:%S} UTC"
    return text


def rollback_page(report: LifeReport, undone: UndoneReport) -> Page:
    """Return the page of a rollback."""
    verdict = final_verdict(report, _undone(undone), is_done=True)
    return Page(
        report,
        verdict,
        sections=(Section(items=tuple(_items(undone))),),
        checks=(outcome_check(report, "as-before-the-run", verdict),),
        route=f"run {report.run_id}: {route_line(report)}",
    )


def _undone(undone: UndoneReport) -> Verdict:
    if undone.already:
        return Verdict(Mood.GOOD, "Rolled back already", "An earlier rollback has undone this run.")
    if undone.since is not None:
        return _restored(undone.since)
    # A document that others changed may be kept by several runs.
    most = max(undone.kept, *(run.kept for run in undone.earlier), 0)
    if most:
        kept = plural(most, undone.unit)
        were, them = ("was", "it") if most == 1 else ("were", "them")
        explanation = f"{kept} {were} kept, because others have changed {them} since; everything else is as before the run."
        return Verdict(Mood.CAUTION, f"Rolled back, but {kept} kept", explanation)
    runs = f"{1 + len(undone.earlier)} runs" if undone.earlier else "run"
    return Verdict(
        Mood.GOOD, "Rolled back", f"The target is in its state from before the {runs}; this was verified."
    )


def _restored(since: SinceReport) -> Verdict:
    if not (since.later or since.changed or since.missing or since.lost):
        explanation = "The old bookings are live again, byte for byte; this was verified."
        return Verdict(Mood.GOOD, "Rolled back", explanation)
    if since.dropped:
        explanation = (
            "The old bookings are live again, byte for byte; later changes were dropped, as requested."
        )
        return Verdict(Mood.GOOD, "Rolled back", explanation)
    explanation = "The old bookings are live again; later changes were kept and are listed."
    return Verdict(Mood.CAUTION, "Rolled back, with later changes kept", explanation)


def _items(undone: UndoneReport) -> Iterator[Item]:
    since, unit = undone.since, undone.unit
    if since is None:
        yield Item(f"{plural(undone.removed, unit)} removed")
    if undone.restored:
        yield Item(f"{plural(undone.restored, unit)} restored")
    for run in undone.earlier:
        parts = f"{plural(run.removed, unit)} removed, {grouped(run.restored)} restored"
        yield Item(f"earlier run {run.run_id}: {parts}")
        yield from _listed(run.kept, unit, "kept there, changed by others", run.kept_ids)
    if undone.index_removed:
        yield Item("unique index on clientId removed")
    if undone.target_dropped:
        yield Item("empty target dropped" if since is None else "empty archive dropped")
    if undone.refused_seconds:
        yield Item(f"writes were refused for {duration(undone.refused_seconds)}")
    yield from _listed(undone.kept, unit, "kept, changed by others", undone.kept_ids)
    if since is not None:
        yield from _since(since)


def _since(since: SinceReport) -> Iterator[Item]:
    if since.later:
        kept = "dropped" if since.dropped else "kept in the new shape"
        yield Item(f"{plural(since.later, 'session')} booked since, {kept}", Mood.CAUTION)
    handled = "dropped" if since.dropped else "carried into the old booking"
    yield from _listed(since.changed, "change", handled, since.changes)
    yield from _listed(since.missing, "booking", "restored whose session had been deleted", since.missing_ids)
    lost = "to client fields dropped, because bookings do not have those fields"
    yield from _listed(since.lost, "change", lost, since.losses)


def _listed(count: int, noun: str, said: str, listed: Sequence[str]) -> Iterator[Item]:
    if count:
        yield Item(f"{plural(count, noun)} {said}:", Mood.CAUTION, tuple(listed), count)
