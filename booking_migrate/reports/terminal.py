"""Any report for the terminal."""

from rich.console import Group, RenderableType
from rich.text import Text

from booking_migrate.reports.dry_run.text import render_dry_run_text
from booking_migrate.reports.life.text import render_life_text
from booking_migrate.reports.model import Report
from booking_migrate.reports.model_dry_run import DryRunReport
from booking_migrate.reports.model_lifecycle import IndexesReport, LifeReport
from booking_migrate.reports.text import render_text


def render_terminal(report: Report, width: int) -> RenderableType:
    """What a rich console of so many columns prints of a report."""
    if isinstance(report, DryRunReport):
        return render_dry_run_text(report, width)
    if isinstance(report, LifeReport):
        return render_life_text(report)
    if isinstance(report, IndexesReport):
        return render_indexes_text(report)
    return render_text(report, width)


def render_indexes_text(report: IndexesReport) -> RenderableType:
    """What a rich console prints of indexes."""
    lines = [
        Text(f"{'created' if one.created else 'there  '}  ", style="green" if one.created else "dim").append(
            f"{one.collection}: {', '.join(one.fields)}{' (unique)' if one.unique else ''}, for {one.purpose}",
            style="none",
        )
        for one in report.indexes
    ]
    return Group(*lines)
