"""The page of status: every run in one line, or one run with everything that is known of it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from booking_migrate.reports.lifecycle import (
    FollowReport,
    LifeReport,
    OldBookingsReport,
    RunReport,
    WindowReport,
)
from booking_migrate.reports.model import NextStep
from booking_migrate.reports.page import Check, Item, Mood, Page, Result, Section, Verdict
from booking_migrate.reports.pages.control import request_lines
from booking_migrate.reports.pages.migrate import error_check, final_verdict
from booking_migrate.reports.text import duration, grouped, plural
from booking_migrate.runs.states import LIVE, in_words
from booking_migrate.runs.status import FOLLOWING
from booking_migrate.stores.journal import RunState


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
        sections=tuple(_runs(report.runs)),
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


def _runs(runs: Sequence[RunReport]) -> Iterator[Section]:
    """Yield a section a run: with everything if it is the only one, else in one line, with what needs attention below it."""
    unchanged = [run for run in runs if run.state is RunState.UNCHANGED and not run.stale]
    shown = [run for run in runs if run not in unchanged] or unchanged[:1]
    folded = [run for run in unchanged if run not in shown]
    yield from (_run(run) if len(runs) == 1 else _brief(run) for run in shown)
    if folded:
        changed_nothing = f"{plural(len(folded), 'run')} changed nothing"
        yield Section(
            title="Also",
            items=(Item(changed_nothing, None, tuple(run.run_id for run in folded), len(folded)),),
        )


def _brief(run: RunReport) -> Section:
    facts = [_state(run), f"{run.source} -> {run.target}", *_facts_of(run)]
    items = [run.problem or "", *_attention(run)]
    return Section(
        title=run.run_id,
        remark=", ".join(facts),
        is_flagged=run.stale or run.problem is not None,
        items=tuple(Item(line) for line in items if line),
        steps=_steps(run),
    )


def _facts_of(run: RunReport) -> Iterator[str]:
    """Yield what is known of a run beyond its state, each in a few words."""
    if progress := _progress(run):
        yield progress
    if run.rejected:
        conflicts = f", {grouped(run.conflicts)} of them conflicts" if run.conflicts else ""
        yield f"{grouped(run.rejected)} rejected{conflicts}"
    if run.verified_at is not None:
        found = "verified" if run.verified_clean else "mismatches found"
        yield f"{found} {run.verified_at:%Y-%m-%d %H:%M:%S} UTC"


def _attention(run: RunReport) -> Iterator[str]:
    """Yield what of a run is always shown."""
    yield from request_lines(run.requests)
    if run.kept:
        yield f"{plural(run.kept, 'client document')} kept, changed by others"
    if run.legacy and run.state in LIVE:
        yield f"old bookings are kept in {run.legacy}"
    if run.follow is not None and run.follow.state != "caught-up":
        yield _follow(run.follow)
    if run.window is not None:
        yield _window(run.window)
    yield from old_booking_lines(run.source, run.old_bookings)


def _run(run: RunReport) -> Section:
    lines = [
        f"{run.source} -> {run.target}",
        f"by {run.user} on {run.host}, process {run.pid}, started {run.started_at:%Y-%m-%d %H:%M:%S} UTC",
        ", ".join(_facts_of(run)),
        run.problem or "",
        *_attention(run),
    ]
    return Section(
        title=run.run_id,
        remark=_state(run),
        is_flagged=run.stale or run.problem is not None,
        items=tuple(Item(line) for line in lines if line),
        steps=_steps(run),
    )


def _steps(run: RunReport) -> tuple[NextStep, ...]:
    """Return the commands that are possible, each with its purpose."""
    pairs = zip(run.purposes, run.possible, strict=True)
    return tuple(NextStep(text=f"{purpose}:", command=command) for purpose, command in pairs)


def _follow(follow: FollowReport) -> str:
    """Return how following goes."""
    state = follow.state.replace("-", " ")
    parts = [
        f"changes of the application: {state}",
        f"{follow.lag_seconds} s behind",
        f"backlog {grouped(follow.backlog)}",
    ]
    if follow.state == FOLLOWING:
        parts.append(f"a cut-over would refuse writes for about {follow.estimated_outage_ms} ms")
    if follow.oplog_seconds_left is not None:
        parts.append(f"the oplog goes back {duration(float(max(follow.oplog_seconds_left, 0)))} further")
    if follow.state == FOLLOWING:
        reason = f": {follow.not_ready}" if follow.not_ready else ""
        parts.append("ready to cut over" if follow.ready else f"not ready to cut over{reason}")
    return ", ".join(parts)


def _window(window: WindowReport) -> str:
    """Return how a reverse window goes."""
    parts = [
        f"reverse window: {window.state.replace('-', ' ')}",
        f"ends at {window.ends_at:%Y-%m-%d %H:%M:%S} UTC",
        f"{window.lag_seconds} s behind",
    ]
    if window.ready:
        parts.append(f"a rollback would refuse writes for about {window.estimated_outage_ms} ms")
    if window.oplog_seconds_left is not None:
        parts.append(f"the oplog goes back {duration(float(max(window.oplog_seconds_left, 0)))} further")
    return ", ".join(parts)


def _progress(run: RunReport) -> str:
    if not run.documents:
        return ""
    text = grouped(run.documents)
    # A run that is done has counted its bookings.
    if run.total is not None and run.state is not RunState.DONE:
        text += f" of about {grouped(run.total)}"
    text += " bookings"
    if run.rate is not None:
        text += f", {grouped(round(run.rate))}/s"
    if run.resumed:
        text += f", resumed {plural(run.resumed, 'time')}"
    if run.alive:
        text += f", last heartbeat {run.heard_at:%H:%M:%S} UTC"
    return text


def old_booking_lines(live: str, found: OldBookingsReport | None) -> Iterator[str]:
    """Yield what to say about the old bookings in a live collection."""
    if found is None:
        return
    for count, ids, cause in (
        (found.carried, found.carried_ids, "carried along by the cut-over"),
        (found.later, found.later_ids, "written by an old application since"),
    ):
        if count:
            more = "" if count == len(ids) else ", ..."
            yield f"{plural(count, 'old booking')} in {live}, {cause}: {', '.join(ids)}{more}"
