"""A dry-run on the terminal: the verdict first, one line a subject, so that it fits a screen.

Nothing from data is ever read as rich's markup: every text goes into a `Text`.
"""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from booking_migrate.reports.dry_run.wording import (
    dry_run_figures,
    dry_run_verdict,
    gain_rows,
    need_rows,
)
from booking_migrate.reports.model_dry_run import DryRunReport
from booking_migrate.reports.numbers import duration, grouped, money, samples
from booking_migrate.reports.text import NARROW, STYLES, block, numbers, rejection_lines, step_lines
from booking_migrate.reports.wording import Figure

_REASONS_SHOWN = 5
_RISKS_SHOWN = 9
_BLOCKERS_SHOWN = 4


def render_dry_run_text(report: DryRunReport, width: int) -> RenderableType:
    """What a rich console prints of a dry-run.

    Args:
        report: of a dry-run that came to its end.
        width: the terminal's columns.
    """
    said = dry_run_verdict(report)
    narrow = width < NARROW
    route = f"{report.source} -> {report.target}, looked for {duration(report.seconds)}, nothing written"
    blocks: list[RenderableType] = [
        Text(said.headline, style=STYLES[said.mood]),
        Text(said.explanation, overflow="fold"),
        Text(route, style="dim", overflow="fold"),
    ]
    if report.dry_run.sampled is not None:
        sampled = grouped(report.dry_run.sampled)
        blocks.append(Text(f"Every figure is estimated from a sample of {sampled} bookings.", style="yellow"))
    if len(report.dry_run.blockers) > 1:
        lines = [Text(each.message, overflow="fold") for each in report.dry_run.blockers[:_BLOCKERS_SHOWN]]
        blocks += block("Blockers", *lines)
    shown = [row for row in dry_run_figures(report) if row.label not in _LEFT_OUT]
    blocks += block(None, *numbers(shown, narrow=narrow))
    if report.rejections:
        blocks += block("Rejected", *rejection_lines(report, width, _REASONS_SHOWN))
    if report.findings:
        blocks += block("What could hurt", *_risks(report, width))
    blocks += block("What it needs", _rows(need_rows(report), width, with_notes=_NOTED))
    blocks += block("What it gains", _rows([*gain_rows(report), *_spent(report)], width, with_notes=_ALL))
    if report.next_steps:
        blocks += block("What to do next", *step_lines(report.next_steps))
    return Group(*blocks)


_LEFT_OUT = frozenset({"sessions", "client documents"})
"""Counts that follow from others; the other formats have them."""

_NOTED = frozenset({"server", "oplog"})
"""The needs whose notes say something that their values do not."""

_ALL = None


def _risks(report: DryRunReport, width: int) -> Iterable[RenderableType]:
    shown, rest = report.findings[:_RISKS_SHOWN], report.findings[_RISKS_SHOWN:]
    longest = max(len(grouped(finding.count)) for finding in shown)
    for finding in shown:
        line = Text(f"{grouped(finding.count):>{longest}}", style="yellow", no_wrap=True, overflow="ellipsis")
        line.append(f"  {finding.title}", style="none")
        listed = samples(finding.sample_ids, finding.count, 1)
        room = width - len(line) - 4
        yield line.append(f"  {listed}", style="dim") if len(listed) <= room else line
    if rest:
        yield Text(f"and {len(rest)} more risks; --report FILE.html has all, with advice", style="dim")


def _rows(rows: Sequence[Figure], width: int, *, with_notes: frozenset[str] | None) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        value = Text(row.value)
        if row.note and (with_notes is None or row.label in with_notes) and width >= NARROW:
            value.append(f"  {row.note}", style="dim")
        table.add_row(Text(row.label), value)
    return table


def _spent(report: DryRunReport) -> list[Figure]:
    if not report.spent:
        return []
    return [
        Figure("spent", ", ".join(f"{currency} {money(sum_)}" for currency, sum_ in report.spent.items()))
    ]
