"""A dry-run as one HTML file: charts as inline SVG, no script, nothing loaded from elsewhere."""

from booking_migrate.reports.dry_run.charts import column_chart, row_chart
from booking_migrate.reports.dry_run.wording import (
    approximately,
    dry_run_figures,
    dry_run_verdict,
    gain_rows,
    need_rows,
    size,
)
from booking_migrate.reports.html import rejection_bars, template
from booking_migrate.reports.model_dry_run import DryRunReport
from booking_migrate.reports.numbers import duration, grouped, samples
from booking_migrate.reports.wording import totals

_SAMPLES_SHOWN = 5
_BY_TIME = ("Bookings by time", "bookings, by the month of scheduledDate")


def render_dry_run_html(report: DryRunReport) -> str:
    """A page for screens of any width, light and dark, and for paper. Text from data is escaped."""
    shown = report.dry_run.distributions
    months = column_chart(shown.bookings_by_month)
    largest = max((client.size for client in report.dry_run.largest_clients), default=0)
    return template("dry_run.html.j2").render(
        report=report,
        part=report.dry_run,
        verdict=dry_run_verdict(report),
        about=approximately(report),
        duration=duration(report.seconds),
        figures=dry_run_figures(report),
        rejections=rejection_bars(report),
        totals=totals(report),
        needs=need_rows(report),
        gains=gain_rows(report),
        months=months,
        charts=[
            row_chart(*_BY_TIME, () if months else shown.bookings_by_month),
            row_chart(
                "Sessions per client", "clients, by how many sessions they have", shown.sessions_per_client
            ),
            row_chart("Document sizes", "client documents, against the limit", shown.document_sizes),
            row_chart("Bookings by status", "bookings, as they are in the source", shown.bookings_by_status),
            row_chart("Bookings by payment status", "bookings, likewise", shown.bookings_by_payment_status),
        ],
        largest=[
            (client, size(client.size), 100 * client.size / max(largest, 1))
            for client in report.dry_run.largest_clients
        ],
        grouped=grouped,
        samples=samples,
        samples_shown=_SAMPLES_SHOWN,
    )
