"""The report for the terminal: the verdict first, then numbers, then what to do; it fits a screen.

Nothing from data is ever read as rich's markup: every text goes into a `Text`.
"""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from booking_migrate.reports.model import NextStep, Report
from booking_migrate.reports.wording import Figure, Mood, duration, figures, grouped, samples, totals, verdict

NARROW = 76
"""Below this many columns, remarks on numbers are left out."""

_STYLES = {Mood.GOOD: "bold green", Mood.CAUTION: "bold yellow", Mood.BAD: "bold red"}
_ALWAYS_SHOWN = frozenset({"scanned", "migrated", "rejected"})
_REASONS_SHOWN = 8
_CURRENCIES_SHOWN = 6
_SAMPLES_SHOWN = (3, 2, 1)
"""How many ids stand beside a reason: as many of these as fit."""


def render_text(report: Report, width: int) -> RenderableType:
    """What a rich console prints of a report.

    Args:
        report: of a command that came to its end.
        width: the terminal's columns.
    """
    narrow = width < NARROW
    said = verdict(report)
    blocks: list[RenderableType] = [
        Text(said.headline, style=_STYLES[said.mood]),
        Text(said.explanation),
        Text(f"{report.source} -> {report.target}, {duration(report.seconds)}", style="dim", overflow="fold"),
    ]
    if rows := [row for row in figures(report) if row.value != "0" or row.label in _ALWAYS_SHOWN]:
        blocks += _block(None, *_numbers(rows, narrow=narrow))
    if report.rejections:
        blocks += _block("Rejected", *_rejections(report, width))
    if spent := totals(report):
        blocks += _block("Spent", *_numbers(spent[:_CURRENCIES_SHOWN], narrow=narrow))
        if more := len(spent[_CURRENCIES_SHOWN:]):
            blocks.append(_indented(Text(f"and {more} more", style="dim")))
    if report.findings:
        blocks += _block("Worth knowing", *_findings(report))
    if report.next_steps:
        blocks += _block("What to do next", *_steps(report.next_steps))
    return Group(*blocks)


def _indented(content: RenderableType) -> Padding:
    return Padding(content, (0, 0, 0, 2), expand=False)


def _block(title: str | None, *content: RenderableType) -> Iterable[RenderableType]:
    yield Text()
    if title is not None:
        yield Text(title, style="bold")
    yield from map(_indented, content)


def _numbers(rows: Sequence[Figure], *, narrow: bool) -> Iterable[RenderableType]:
    longest_label = max(len(row.label) for row in rows)
    longest_value = max(len(row.value) for row in rows)
    for row in rows:
        style = "yellow" if row.label == "rejected" and row.value != "0" else ""
        line = Text(f"{row.label:<{longest_label}}  {row.value:>{longest_value}}", style=style)
        yield line if narrow or not row.note else line.append(f"  {row.note}", style="dim")


def _rejections(report: Report, width: int) -> Iterable[RenderableType]:
    shown, rest = report.rejections[:_REASONS_SHOWN], report.rejections[_REASONS_SHOWN:]
    longest_reason = max(len(group.reason) for group in shown)
    longest_count = max(len(grouped(group.count)) for group in shown)
    room = width - longest_reason - longest_count - 6
    for group in shown:
        line = Text(f"{group.reason:<{longest_reason}}", style="yellow")
        line.append(f"  {grouped(group.count):>{longest_count}}", style="none")
        listed = [samples(group.sample_ids, group.count, few) for few in _SAMPLES_SHOWN]
        fitting = next((text for text in listed if len(text) <= room), None)
        if fitting is not None:
            yield line.append(f"  {fitting}" if fitting else "", style="dim")
        else:
            yield line
            yield _indented(Text(listed[-1], style="dim", overflow="fold"))
    if rest:
        count = sum(group.count for group in rest)
        yield Text(f"and {grouped(count)} for {len(rest)} more reasons", style="dim")


def _findings(report: Report) -> Iterable[RenderableType]:
    for finding in report.findings:
        yield Text(f"{finding.title}: {grouped(finding.count)}")
        if listed := samples(finding.sample_ids, finding.count, _SAMPLES_SHOWN[-1]):
            yield _indented(Text(listed, style="dim", overflow="fold"))
        yield _indented(Text(finding.advice))


def _steps(steps: Sequence[NextStep]) -> Iterable[RenderableType]:
    for step in steps:
        yield Text(step.text)
        if step.command is not None:
            yield _indented(Text(step.command, style="cyan", overflow="fold"))
