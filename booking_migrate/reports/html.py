"""The report as one HTML file: no script, nothing loaded from elsewhere, so it can be mailed and kept."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from booking_migrate.reports.model import Report
from booking_migrate.reports.numbers import duration, grouped, samples
from booking_migrate.reports.wording import figures, mismatch_line, places, totals, verdict

_SAMPLES_SHOWN = 5
_MISMATCHES_SHOWN = 10
_LEAST_BAR = 0.5


def render_html(report: Report) -> str:
    """A page for screens of any width, light and dark, and for paper. Text from data is escaped."""
    return template("report.html.j2").render(
        report=report,
        verdict=verdict(report),
        places=places(report),
        figures=figures(report),
        totals=totals(report),
        duration=duration(report.seconds),
        rejections=rejection_bars(report),
        grouped=grouped,
        samples=samples,
        mismatch_line=mismatch_line,
        mismatches_shown=_MISMATCHES_SHOWN,
        samples_shown=_SAMPLES_SHOWN,
    )


def template(name: str) -> Template:
    """One of the package's templates; everything that is put into it is escaped."""
    environment = Environment(
        loader=PackageLoader("booking_migrate.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def rejection_bars(report: Report) -> list[tuple[str, str, float, str]]:
    """For each reason: its name, its count, its bar's length in percent of the longest, its sample ids."""
    longest = max((group.count for group in report.rejections), default=1)
    return [
        (
            group.reason,
            grouped(group.count),
            round(max(100 * group.count / longest, _LEAST_BAR), 1),
            samples(group.sample_ids, group.count, _SAMPLES_SHOWN),
        )
        for group in report.rejections
    ]
