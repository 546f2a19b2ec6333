"""Runs and rollbacks for the terminal."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.text import Text

from booking_migrate.reports.model_lifecycle import (
    CutoverReport,
    LifeReport,
    RunReport,
    SinceReport,
    UndoneReport,
)
from booking_migrate.reports.numbers import duration, grouped, plural
from booking_migrate.reports.text import CommandLine, indented, step_lines
from booking_migrate.reports.wording import Mood, standing, verdict

_STYLES = {Mood.GOOD: "bold green", Mood.CAUTION: "bold yellow", Mood.BAD: "bold red"}
_SHOWN = 10


def render_life_text(report: LifeReport) -> RenderableType:
    """What a rich console prints of runs, or of a rollback."""
    said = verdict(report)
    blocks: list[RenderableType] = [Text(said.headline, style=_STYLES[said.mood]), Text(said.explanation)]
    for run in report.runs:
        blocks += [Text(), *_run(run)]
    if report.undone is not None:
        route = f"run {report.run_id}: {report.source} -> {report.target}, {duration(report.seconds)}"
        blocks += [Text(route, style="dim", overflow="fold"), Text(), *map(indented, _undone(report.undone))]
    if report.cutover is not None:
        route = f"run {report.run_id}: {report.target} -> {report.source}, {duration(report.seconds)}"
        blocks += [
            Text(route, style="dim", overflow="fold"),
            Text(),
            *map(indented, _cut_over(report.cutover)),
        ]
    if report.aborted is not None:
        refused = duration(report.aborted.refused_seconds)
        blocks += [Text(), indented(Text(f"writes were refused for {refused}"))]
    if report.finalized is not None and report.finalized.documents_changed:
        changed = plural(report.finalized.documents_changed, "client document")
        blocks.append(indented(Text(f"legacyBookingId taken out of {changed}")))
    for step in report.next_steps:
        blocks += [Text(), *step_lines([step])]
    return Group(*blocks)


def _run(run: RunReport) -> Iterable[RenderableType]:
    if run.refuses_writes_since is not None:
        since = f"{run.refuses_writes_since:%Y-%m-%d %H:%M:%S} UTC"
        seconds = (datetime.now(UTC) - run.refuses_writes_since).total_seconds()
        said = f"{run.source} REFUSES WRITES since {since} ({duration(max(seconds, 0.0))})"
        yield Text(said, style="bold red")
    head = Text(run.run_id, style="bold").append("  ")
    yield head.append(standing(run), style="yellow" if run.stale or run.problem else "none")
    lines = [
        f"{run.source} -> {run.target}",
        f"by {run.user} on {run.host}, process {run.pid}, started {run.started_at:%Y-%m-%d %H:%M:%S} UTC",
        _progress(run),
    ]
    if run.problem is not None:
        lines.append(run.problem)
    if run.kept:
        lines.append(f"{plural(run.kept, 'client document')} kept, changed by others")
    for line in filter(None, lines):
        yield indented(Text(line, overflow="fold"))
    for command in run.possible:
        yield indented(CommandLine(command))


def _progress(run: RunReport) -> str:
    if not run.documents:
        return ""
    text = f"{grouped(run.documents)}"
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


def _cut_over(cutover: CutoverReport) -> Iterable[RenderableType]:
    yield Text(f"writes were refused for {duration(cutover.refused_seconds)}")
    yield Text(f"old bookings are kept in {cutover.legacy}", overflow="fold")
    if cutover.caught_up:
        yield Text(f"{plural(cutover.caught_up, 'client document')} brought up to date")
    if cutover.carried:
        yield Text(f"{plural(cutover.carried, 'rejected booking')} carried along in the old shape")
    for index in cutover.indexes:
        if index.recreated_as is not None:
            yield Text(f"index {index.name} ({index.keys}) is now {index.recreated_as}", overflow="fold")
    for option in cutover.options:
        if option.kept:
            yield Text(f"option {option.name} was kept: {option.definition}", overflow="fold")


def _undone(undone: UndoneReport) -> Iterable[RenderableType]:
    if undone.since is None:
        yield Text(f"{plural(undone.removed, undone.unit)} removed")
    if undone.restored:
        yield Text(f"{plural(undone.restored, undone.unit)} restored")
    for run in undone.earlier:
        parts = [f"{plural(run.removed, undone.unit)} removed", f"{grouped(run.restored)} restored"]
        yield Text(f"earlier run {run.run_id}: {', '.join(parts)}")
        if run.kept:
            kept = f"{plural(run.kept, undone.unit)} kept there, changed by others:"
            yield from _listed(kept, run.kept, run.kept_ids)
    if undone.index_removed:
        yield Text("unique index on clientId removed")
    if undone.target_dropped:
        yield Text("empty target dropped" if undone.since is None else "empty archive dropped")
    if undone.refused_seconds:
        yield Text(f"writes were refused for {duration(undone.refused_seconds)}")
    if undone.kept:
        kept = f"{plural(undone.kept, undone.unit)} kept, changed by others:"
        yield from _listed(kept, undone.kept, undone.kept_ids)
    if undone.since is not None:
        yield from _since(undone.since)


def _since(since: SinceReport) -> Iterable[RenderableType]:
    fate = "dropped" if since.dropped else "kept in the new shape"
    if since.later:
        yield Text(f"{plural(since.later, 'session')} booked since, {fate}", style="yellow")
    if since.changed:
        fate = "dropped" if since.dropped else "carried into the old booking"
        yield from _listed(f"{plural(since.changed, 'change')} {fate}:", since.changed, since.changes)
    if since.missing:
        back = f"{plural(since.missing, 'booking')} back whose session was gone:"
        yield from _listed(back, since.missing, since.missing_ids)
    if since.lost:
        lost = f"{plural(since.lost, 'change')} to client fields that no booking has a place for, dropped:"
        yield from _listed(lost, since.lost, since.losses)


def _listed(head: str, count: int, texts: Sequence[str]) -> Iterable[RenderableType]:
    yield Text(head, style="yellow")
    for text in texts[:_SHOWN]:
        yield indented(Text(text, overflow="fold"))
    if count > _SHOWN:
        yield indented(Text(f"and {grouped(count - _SHOWN)} more", style="dim"))
