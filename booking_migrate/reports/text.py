"""The report for the terminal: the verdict first, then numbers, then what to do; it fits a screen.

Nothing from data is ever read as rich's markup: every text goes into a `Text`.
"""

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from booking_migrate.reports.command_line import continued
from booking_migrate.reports.model import ExplanationReport, NextStep, Report, VerificationReport
from booking_migrate.reports.numbers import duration, grouped, samples
from booking_migrate.reports.wording import Figure, Mood, figures, mismatch_line, totals, verdict

NARROW = 76
"""Below this many columns, remarks on numbers are left out."""

STYLES = {Mood.GOOD: "bold green", Mood.CAUTION: "bold yellow", Mood.BAD: "bold red"}
_ALWAYS_SHOWN = frozenset({"scanned", "migrated", "rejected"})
_REASONS_SHOWN = 8
_MISMATCHES_SHOWN = 3
_CURRENCIES_SHOWN = 6
_INDENT = 2
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
        Text(said.headline, style=STYLES[said.mood]),
        Text(said.explanation),
        Text(f"{report.source} -> {report.target}, {duration(report.seconds)}", style="dim", overflow="fold"),
    ]
    if rows := [row for row in figures(report) if row.value != "0" or row.label in _ALWAYS_SHOWN]:
        blocks += block(None, *numbers(rows, narrow=narrow))
    if report.mismatch_count and report.verification is not None:
        blocks += block("Rules broken", *_broken_rules(report.verification))
    if report.explanation is not None:
        blocks += _explanation(report.explanation)
    if report.rejections:
        blocks += block("Rejected", *rejection_lines(report, width))
    if spent := totals(report):
        blocks += block("Spent", *numbers(spent[:_CURRENCIES_SHOWN], narrow=narrow))
        if more := len(spent[_CURRENCIES_SHOWN:]):
            blocks.append(indented(Text(f"and {more} more", style="dim")))
    if report.findings:
        blocks += block("Worth knowing", *_findings(report))
    if report.next_steps:
        blocks += block("What to do next", *step_lines(report.next_steps))
    return Group(*blocks)


def indented(content: RenderableType) -> RenderableType:
    """A block's content, set in."""
    if isinstance(content, CommandLine):
        return content.set_in(_INDENT)
    return Padding(content, (0, 0, 0, _INDENT), expand=False)


def block(title: str | None, *content: RenderableType) -> Iterable[RenderableType]:
    """An empty line, a title if there is one, and the content set in."""
    yield Text()
    if title is not None:
        yield Text(title, style="bold")
    yield from map(indented, content)


def numbers(rows: Sequence[Figure], *, narrow: bool) -> Iterable[RenderableType]:
    """One line a number, aligned; without remarks if the terminal is narrow."""
    longest_label = max(len(row.label) for row in rows)
    longest_value = max(len(row.value) for row in rows)
    for row in rows:
        style = "yellow" if row.label == "rejected" and row.value != "0" else ""
        line = Text(f"{row.label:<{longest_label}}  {row.value:>{longest_value}}", style=style)
        yield line if narrow or not row.note else line.append(f"  {row.note}", style="dim")


def _broken_rules(verification: VerificationReport) -> Iterable[RenderableType]:
    for rule in verification.rules:
        if rule.mismatch_count:
            yield Text(f"{rule.rule}  {grouped(rule.mismatch_count)}", style="red")
            for example in rule.examples[:_MISMATCHES_SHOWN]:
                yield indented(Text(mismatch_line(example), overflow="fold"))
            if more := rule.mismatch_count - len(rule.examples[:_MISMATCHES_SHOWN]):
                yield indented(Text(f"and {grouped(more)} more", style="dim"))
    if verification.mismatches_file is not None:
        yield Text(f"All of them are in {verification.mismatches_file}.", style="dim", overflow="fold")


def _explanation(explanation: ExplanationReport) -> Iterable[RenderableType]:
    if explanation.mismatches:
        lines = [Text(mismatch_line(each), overflow="fold") for each in explanation.mismatches]
        yield from block("What is wrong", *lines)
    if explanation.details:
        yield from block(
            "Why it was rejected", *(Text(detail, overflow="fold") for detail in explanation.details)
        )
    if explanation.fields:
        yield from block(*_side_by_side(explanation))


def _side_by_side(explanation: ExplanationReport) -> tuple[str, Table]:
    """A title, and the booking's fields, beside those of its session if it has one."""
    has_session = explanation.session_number is not None
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("Field", "Booking", "Session") if has_session else ("Field", "Booking"):
        table.add_column(heading, overflow="fold")
    for field in explanation.fields:
        cells = [Text(field.name), Text(field.old or "")]
        if has_session:
            is_same = field.old == field.new
            cells.append(Text("the same", style="dim") if is_same else Text(field.new or "", style="yellow"))
        table.add_row(*cells)
    return ("The booking and its session" if has_session else "The booking"), table


def rejection_lines(report: Report, width: int, most: int = _REASONS_SHOWN) -> Iterable[RenderableType]:
    """One line a reason, at most so many, with as many sample ids as fit."""
    shown, rest = report.rejections[:most], report.rejections[most:]
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
            yield indented(Text(listed[-1], style="dim", overflow="fold"))
    if rest:
        count = sum(group.count for group in rest)
        yield Text(f"and {grouped(count)} for {len(rest)} more reasons", style="dim")


def _findings(report: Report) -> Iterable[RenderableType]:
    for finding in report.findings:
        yield Text(f"{finding.title}: {grouped(finding.count)}")
        if listed := samples(finding.sample_ids, finding.count, _SAMPLES_SHOWN[-1]):
            yield indented(Text(listed, style="dim", overflow="fold"))
        yield indented(Text(finding.advice))


def step_lines(steps: Sequence[NextStep]) -> Iterable[RenderableType]:
    """What to do next, each with its command if there is one."""
    for step in steps:
        yield Text(step.text)
        if step.command is not None:
            yield indented(CommandLine(step.command))


class CommandLine:
    """A command that can be copied from the screen: too long a one is continued on the next line, as a shell does it."""

    def __init__(self, command: str, indent: int = 0) -> None:
        """Take the command, and by how many columns it is set in."""
        self._command = command
        self._indent = indent

    def set_in(self, columns: int) -> "CommandLine":
        """The same further to the right. A `Padding` would cut off a word that is wider than the screen."""
        return CommandLine(self._command, self._indent + columns)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich prints."""
        style = console.get_style("cyan")
        for line in continued(self._command, options.max_width - self._indent):
            yield Segment(" " * self._indent)
            yield Segment(line, style)
            yield Segment.line()
