"""A page as one HTML file: charts as inline SVG, no script, nothing loaded from elsewhere, so it can be mailed and kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined

from booking_migrate.migrate.counts import SAMPLES
from booking_migrate.quantities import grouped
from booking_migrate.reports.page import Bar, Chart, Medium, Page, Section, shown_on
from booking_migrate.reports.text import duration

FEWEST_COLUMNS = 6
"""Of fewer bars, a chart of time is drawn with bars that lie, like any other."""

_MOST_BARS = 14
_DETAILS_SHOWN = 10
_LEAST_LENGTH = 0.6
"""The length of the shortest bar in percent: a few of many must still be seen."""

_ROUND_FROM = 100
"""The count from which on half of it need not be exact."""

_GAP = 0.22
"""The part of a column's width that is left free."""


def render_html(page: Page) -> str:
    """Return a page for screens of any width, light and dark, and for paper. Text from data is escaped."""
    environment = Environment(
        loader=PackageLoader("booking_migrate.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(
        page=page,
        report=page.report,
        duration=duration(page.report.seconds),
        rows=list(_rows(page.shown_on(Medium.FILES))),
        for_files=lambda figures: shown_on(figures, Medium.FILES),
        columns_of=columns_of,
        column_width=round(1 - _GAP, 3),
        lengths_of=lengths_of,
        lengths_of_groups=lambda groups: _lengths([group.count for group in groups]),
        grouped=grouped,
        samples_shown=SAMPLES,
        details_shown=_DETAILS_SHOWN,
    )


def _rows(sections: Sequence[Section]) -> Iterator[list[Section]]:
    """Yield the sections by row: those that may be beside each other on a wide page share one."""
    drawn = [section for section in sections if _has_content(section)]
    for is_half, neighbours in groupby(drawn, key=lambda section: section.is_half):
        if is_half:
            yield list(neighbours)
        else:
            yield from ([section] for section in neighbours)


def _has_content(section: Section) -> bool:
    parts = (section.figures, section.facts, section.groups, section.findings, section.chart, section.table)
    return any((*parts, section.items, section.pairs, section.note))


def lengths_of(chart: Chart) -> list[tuple[Bar, float]]:
    """Return the bars of a chart that lie, each with its length in percent of the longest."""
    bars = chart.bars[:_MOST_BARS]
    return list(zip(bars, _lengths([bar.amount for bar in bars]), strict=True))


def _lengths(amounts: Sequence[int]) -> list[float]:
    longest = max(amounts, default=0)
    return [round(max(100 * each / longest, _LEAST_LENGTH), 2) if each else 0.0 for each in amounts]


@dataclass(frozen=True, slots=True)
class Columns:
    """Bars side by side, in a picture 100 units high with one unit of width a bar."""

    columns: Sequence[tuple[Bar, float, float]]
    """The bars, each with the place of its left edge and its height."""

    highest: str
    """The amount of the highest, for the axis."""

    half: str
    """Half of it."""

    first: str
    middle: str
    last: str
    """Labels below the axis."""


def columns_of(chart: Chart) -> Columns | None:
    """Return the bars of a chart of time side by side; None if there are so few that they had better lie."""
    bars = chart.bars
    if not chart.is_timeline or len(bars) < FEWEST_COLUMNS:
        return None
    heights = _lengths([bar.amount for bar in bars])
    highest = max(bar.amount for bar in bars)
    return Columns(
        [
            (bar, round(number + _GAP / 2, 3), height)
            for number, (bar, height) in enumerate(zip(bars, heights, strict=True))
        ],
        highest=grouped(highest),
        half=f"{highest / 2:,g}" if highest < _ROUND_FROM else grouped(round(highest / 2)),
        first=bars[0].label,
        middle=bars[len(bars) // 2].label,
        last=bars[-1].label,
    )
