"""Charts measured out: how long each bar is, where labels go. The template only draws them.

Bars are SVG that stretches with the page; words and numbers are HTML beside them, so that they stay readable on a
phone and on paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from booking_migrate.reports.model_dry_run import BarReport
from booking_migrate.reports.numbers import grouped

FEWEST_COLUMNS = 6
_MOST_ROWS = 14
_LEAST = 0.6
"""The shortest bar in percent: one of many must still be seen."""

_ROUND_FROM = 100
"""From which count on half of it need not be exact."""

_GAP = 0.22
"""The part of a column's width that is left free."""


@dataclass(frozen=True, slots=True)
class Row:
    """A bar that lies."""

    label: str
    count: str
    share: str
    length: float
    """In percent of the longest."""

    is_over: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars that lie one under the other."""

    title: str
    caption: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A bar that stands, in a picture 100 units high with one unit of width a column."""

    label: str
    count: str
    x: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Columns:
    """Bars that stand side by side."""

    columns: tuple[Column, ...]
    highest: str
    """The count of the highest, for the axis."""

    half: str
    """Half of it."""

    first: str
    middle: str
    last: str
    """Labels under the axis."""


def row_chart(title: str, caption: str, bars: Sequence[BarReport]) -> Chart:
    """Measure out bars that lie; empty ones at the ends are left out, but never the one beyond a limit."""
    shown = _trimmed(bars)[:_MOST_ROWS]
    longest = max((bar.count for bar in shown), default=0)
    total = sum(bar.count for bar in bars)
    rows = [
        Row(bar.label, grouped(bar.count), _share(bar.count, total), _length(bar.count, longest), bar.is_over)
        for bar in shown
    ]
    return Chart(title, caption, tuple(rows))


def column_chart(bars: Sequence[BarReport]) -> Columns | None:
    """Measure out bars that stand; None if there are so few that they had better lie."""
    if len(bars) < FEWEST_COLUMNS:
        return None
    highest = max(bar.count for bar in bars)
    columns = [
        Column(
            bar.label,
            grouped(bar.count),
            round(number + _GAP / 2, 3),
            round(1 - _GAP, 3),
            _length(bar.count, highest),
        )
        for number, bar in enumerate(bars)
    ]
    return Columns(
        tuple(columns),
        highest=grouped(highest),
        half=f"{highest / 2:,g}" if highest < _ROUND_FROM else grouped(round(highest / 2)),
        first=bars[0].label,
        middle=bars[len(bars) // 2].label,
        last=bars[-1].label,
    )


def _trimmed(bars: Sequence[BarReport]) -> Sequence[BarReport]:
    start = next((number for number, bar in enumerate(bars) if bar.count or bar.is_over), len(bars))
    return bars[start:]


def _length(count: int, longest: int) -> float:
    return round(max(100 * count / longest, _LEAST), 2) if count else 0.0


def _share(count: int, total: int) -> str:
    share = 100 * count / total if total else 0
    return f"{share:.0f} %" if share >= 1 or not count else "<1 %"
