"""Any report for the terminal."""

from rich.console import RenderableType

from booking_migrate.reports.dry_run.model import DryRunReport
from booking_migrate.reports.dry_run.text import render_dry_run_text
from booking_migrate.reports.life.model import LifeReport
from booking_migrate.reports.life.text import render_life_text
from booking_migrate.reports.model import Report
from booking_migrate.reports.service import IndexesReport, render_indexes_text
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
