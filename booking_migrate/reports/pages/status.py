"""The page of status: every run in one line, or one run with everything that is known of it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from booking_migrate.quantities import clock, grouped, moment, plural
from booking_migrate.reports.finalized import OldBookingsReport
from booking_migrate.reports.following import FollowReport, WindowReport
from booking_migrate.reports.lifecycle import LifeReport, RunReport
from booking_migrate.reports.model import NextStep, RewriteStatusReport
from booking_migrate.reports.page import Check, Item, Mood, Page, Result, Section, Verdict
from booking_migrate.reports.pages.control import request_lines
from booking_migrate.reports.pages.migrate import error_check, final_verdict
from booking_migrate.reports.rewrite_status import LockReport
from booking_migrate.reports.text import duration
from booking_migrate.runs.control import Setting
from booking_migrate.runs.followed import BUILDING, CAUGHT_UP, FOLLOWING, waits_until_short
from booking_migrate.runs.plan import Limits
from booking_migrate.runs.states import FOLLOWED, LIVE, UNFINISHED, in_words
from booking_migrate.stores.journal import RunState

_KEPT = frozenset({BUILDING, FOLLOWING})
"""The states of a reverse window that a process keeps."""

_LIMIT = Limits().outage
"""For how many seconds an attempt refuses writes at most, unless --max-outage allows more."""

_COUNTING = UNFINISHED | {RunState.PLANNED}
"""The states of a run that may not have counted its bookings: one that was done has."""

_ENDINGS = {"killed": "its process is gone"}
"""What is not clear from the name of the state."""


def outcome_check(report: LifeReport, name: str, verdict: Verdict) -> Check:
    """Return the check that a command did not fail and left nothing for the user to do."""
    if report.error is None and verdict.mood is not Mood.GOOD:
        return Check(name, Result.FAILURE, verdict.headline, verdict.explanation)
    return error_check(report, name, verdict)


def status_page(report: LifeReport) -> Page:
    """Return the page of status: one section a run."""
    found = _status(report)
    if not report.runs and report.locks:
        found = Verdict(Mood.GOOD, "No runs yet", "A process is active whose run is not recorded yet.")
    verdict = final_verdict(report, found, is_done=True)
    # Before the runs: what ended too early is what to decide about first.
    stopped = [each for each in report.rewrites if each.state.endswith(("interrupted", "failed"))]
    return Page(
        report,
        verdict,
        sections=(
            *map(_rewrite, stopped),
            *_runs(report.runs),
            *(_rewrite(each) for each in report.rewrites if each not in stopped),
            *_locks(report.locks),
        ),
        checks=(outcome_check(report, "no-run-is-stale", verdict),),
    )


def _status(report: LifeReport) -> Verdict:
    runs = report.runs
    if not runs:
        where = f"database {report.database}" if report.database else "this database"
        explanation = f"No run was ever recorded in {where}, or its collections booking_migrate_* were dropped. If there should be one, is --db right, and the host? Dropped collections have to be restored from a backup."
        return Verdict(Mood.GOOD, "No runs", explanation)
    alive = sum(run.alive for run in runs)
    stale = sum(run.stale for run in runs)
    active = f"{grouped(alive)} active" if alive else "No run is active"
    rewrites = sum(rewrite.state.endswith("interrupted") for rewrite in report.rewrites)
    parts = [active]
    if stale:
        parts.append(f"{grouped(stale)} interrupted")
    if rewrites:
        parts.append(f"{plural(rewrites, 'rewrite')} of references interrupted")
    summary = f"{', '.join(parts)}."
    refusals = [_refusal(run.source, run.refuses_writes_since) for run in runs if run.refuses_writes_since]
    if refusals:
        # Before everything else: the application is down until a command below has ended it.
        return Verdict(Mood.BAD, "; ".join(refusals), f"{plural(len(runs), 'run')}. {summary}")
    return Verdict(Mood.CAUTION if stale else Mood.GOOD, plural(len(runs), "run"), summary)


def _refusal(source: str, since: datetime) -> str:
    seconds = (datetime.now(UTC) - since).total_seconds()
    return f"{source} IS REFUSING WRITES since {moment(since)} ({duration(max(seconds, 0.0))})"


def _state(run: RunReport) -> str:
    """Return the state of a run, in a few words."""
    if run.stale:
        heard = moment(run.heard_at)
        gone = (
            f"its process has ended; last sign of life {heard}"
            if run.process_ended
            else f"no sign of life since {heard}"
        )
        return f"{in_words(run.state)}, {gone}"
    follow, window = run.follow, run.window
    if run.state is RunState.DONE and follow is not None and follow.state != CAUGHT_UP:
        return "done, followed" if follow.state == FOLLOWING else f"done, following ended ({_ended(follow)})"
    if run.state is RunState.CUT_OVER and window is not None and window.state not in _KEPT:
        return f"{run.state.value}, reverse window no longer kept ({_ended(window)})"
    is_asked_to_pause = any(each.setting is Setting.PAUSE and not each.in_force for each in run.requests)
    return f"{run.state.value}, pause requested" if run.alive and is_asked_to_pause else run.state.value


def _ended(part: FollowReport | WindowReport) -> str:
    """Return how following, or keeping a window, has ended."""
    if isinstance(part, FollowReport) and part.problem is not None:
        return part.problem
    return _ENDINGS.get(part.state, part.state.replace("-", " "))


def _runs(runs: Sequence[RunReport]) -> Iterator[Section]:
    """Yield a section a run: with everything if it is the only one, else in one line, with what needs attention below it."""
    unchanged = [run for run in runs if run.state is RunState.UNCHANGED and not run.stale]
    shown = [run for run in runs if run not in unchanged] or unchanged[:1]
    folded = [run for run in unchanged if run not in shown]
    yield from (_run(run) if len(runs) == 1 else _brief(run) for run in shown)
    if folded:
        # If none of them changed anything, the newest is shown above.
        noun = "more run" if len(folded) < len(unchanged) else "run"
        changed_nothing = f"{plural(len(folded), noun)} changed nothing"
        yield Section(
            title="Also",
            items=(Item(changed_nothing, None, tuple(run.run_id for run in folded), len(folded)),),
        )


def _brief(run: RunReport) -> Section:
    return _section(run, ", ".join([_state(run), f"{run.source} -> {run.target}", *_facts_of(run)]))


def _run(run: RunReport) -> Section:
    begun = f"by {run.user} on {run.host}, process {run.pid}, started {moment(run.started_at)}"
    return _section(run, _state(run), f"{run.source} -> {run.target}", begun, ", ".join(_facts_of(run)))


def _section(run: RunReport, remark: str, *first: str) -> Section:
    lines = (*first, run.problem or "", *_attention(run))
    return Section(
        title=run.run_id,
        remark=remark,
        is_flagged=run.stale or run.problem is not None,
        is_line=True,
        items=tuple(Item(line) for line in lines if line),
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
        yield f"{found} {moment(run.verified_at)}"


def _attention(run: RunReport) -> Iterator[str]:
    """Yield what of a run is always shown."""
    if run.holder is not None and run.run_id not in run.holder:
        # Another process than the one that began it: messages about the lock name it by its own id.
        yield f"active: {run.holder}"
    if run.swapped:
        yield f"the client documents are live as {run.source} already; the cut-over has only to be completed"
    elif run.alive and run.state is RunState.CUTTING_OVER and run.refuses_writes_since is None:
        earlier = run.refused_seconds
        lasted = f"; attempts that did not complete refused them for {duration(earlier)}" if earlier else ""
        yield f"writes are still accepted{lasted}"
    yield from request_lines(run.requests, at_work=run.alive or any(each.in_force for each in run.requests))
    if run.refused_seconds and run.state is RunState.DONE:
        yield f"a cut-over that did not complete refused writes for {duration(run.refused_seconds)}; they are accepted again"
    if run.kept:
        yield f"{plural(run.kept, 'client document')} kept, changed by others"
    if run.legacy and run.state in LIVE:
        yield f"old bookings are kept in {run.legacy}"
    if run.follow is not None and run.follow.state != CAUGHT_UP and run.state in FOLLOWED:
        yield _follow(run.follow)
    if run.window is not None:
        yield _window(run.window)
    yield from old_booking_lines(run.source, run.old_bookings)


def _rewrite(rewrite: RewriteStatusReport) -> Section:
    """Return a rewrite of references in one line, with what needs attention below it."""
    # What a process that was killed wrote last may not be counted yet.
    is_interrupted = rewrite.state.endswith("interrupted")
    counted = "at least " if is_interrupted else ""
    counts = f"{counted}{plural(rewrite.documents, 'document')} changed, {counted}{plural(rewrite.values, 'reference')} rewritten"
    if is_interrupted and not rewrite.documents:
        counts = (
            "no change is recorded yet: either nothing was changed, or a few documents have new ids already; "
            "continuing and undoing it handle both"
        )
    if rewrite.state.startswith("restoring"):
        counts = f"{grouped(rewrite.restored)} of {plural(rewrite.documents, 'document')} restored"
    state = rewrite.state.replace("restoring-", "restoring old ids, ")
    lines = (rewrite.problem, None if rewrite.holder is None else f"active: {rewrite.holder}")
    return Section(
        title=rewrite.rewrite_id,
        remark=f"rewrite of references {', '.join(rewrite.fields)} to the new ids of run {rewrite.run_id}: {state}; {counts}",
        is_flagged=rewrite.state.endswith(("interrupted", "failed")),
        is_line=True,
        items=tuple(Item(line) for line in lines if line),
        steps=_steps(rewrite),
    )


def _locks(locks: Sequence[LockReport]) -> Iterator[Section]:
    if locks:
        items = (
            Item(f"{each.name} is locked by {each.holder}, last heartbeat {clock(each.heard_at)}")
            for each in locks
        )
        yield Section(title="Active, and no run is recorded yet", items=tuple(items))


def _steps(run: RunReport | RewriteStatusReport) -> tuple[NextStep, ...]:
    """Return the commands that are possible, each with its purpose."""
    pairs = zip(run.purposes, run.possible, strict=True)
    return tuple(NextStep(text=f"{purpose}:", command=command) for purpose, command in pairs)


def _follow(follow: FollowReport) -> str:
    """Return how following goes, or went."""
    is_followed = follow.state == FOLLOWING
    parts = [
        f"changes of the application: {follow.state if is_followed else f'following ended ({_ended(follow)})'}",
        f"{follow.lag_seconds} s behind",
        f"backlog {grouped(follow.backlog)}{_as_of(follow)}",
    ]
    if not is_followed:
        return ", ".join([*parts, *_since(follow)])
    # An attempt does not begin with more than its limit: not_ready has then that it waits.
    if follow.estimated_outage_ms <= _LIMIT * 1000:
        parts.append(f"a cut-over would refuse writes for about {follow.estimated_outage_ms} ms")
    parts.extend(_oplog(follow))
    reason = f": {follow.not_ready}" if follow.not_ready else ""
    parts.append("ready to cut over" if follow.ready else f"not ready to cut over{reason}")
    return ", ".join(parts)


def _window(window: WindowReport) -> str:
    """Return how a reverse window goes, or went."""
    is_kept = window.state in _KEPT
    is_over = window.ends_at <= datetime.now(UTC)
    parts = [
        f"reverse window: {window.state if is_kept else f'no longer kept ({_ended(window)})'}",
        f"{'ended' if is_over else 'ends'} at {moment(window.ends_at)}",
    ]
    if window.ready:
        # As long as it is built, nothing is known of how far behind it is.
        parts.append(f"{window.lag_seconds} s behind{_as_of(window)}")
    if not is_kept:
        return ", ".join([*parts, *_since(window)])
    if window.ready:
        is_short = window.estimated_outage_ms <= _LIMIT * 1000
        about = f"a rollback would refuse writes for about {window.estimated_outage_ms} ms"
        parts.append(about if is_short else waits_until_short("rollback", _LIMIT))
    return ", ".join([*parts, *_oplog(window)])


def _as_of(part: FollowReport | WindowReport) -> str:
    return "" if part.as_of is None else f" as of {moment(part.as_of)}"


def _since(part: FollowReport | WindowReport) -> Iterator[str]:
    """Yield what is known of now, when figures are of the past."""
    if part.unfollowed_seconds is None:
        yield "how far behind it is now is not known"
        return
    yield f"now {duration(float(part.unfollowed_seconds))} behind the newest write of the server"
    if part.history_lost:
        yield "the oplog has lost changes since: everything will be read again"
    elif part.oplog_seconds_left is None:
        yield "whether the oplog still has all changes since is not known: this user may not read it"
    else:
        yield from _oplog(part)


def _oplog(part: FollowReport | WindowReport) -> Iterator[str]:
    if part.oplog_seconds_left is not None:
        yield f"the oplog goes back {duration(float(max(part.oplog_seconds_left, 0)))} further"


def _progress(run: RunReport) -> str:
    # Not what the copy has read, if it is known how many there were last: the number of the rejected is of then.
    number = run.documents if run.state in _COUNTING or run.scanned is None else run.scanned
    if not number:
        return ""
    text = grouped(number)
    if run.total is not None and run.state in _COUNTING:
        text += f" of about {grouped(run.total)}"
    text += " bookings"
    if run.rate is not None:
        text += f", {grouped(round(run.rate))}/s"
    if run.resumed:
        text += f", resumed {plural(run.resumed, 'time')}"
    if run.alive:
        text += f", last heartbeat {clock(run.heard_at)}"
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
