"""What was measured, as values, and as a table, as JSON and as a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

_BAR = 22
_LEFT, _WIDTH, _RIGHT, _TOP = 310, 420, 190, 34
_TOOL, _OTHER = "#2f6f9f", "#b9c3cc"


@dataclass(frozen=True, slots=True)
class Figure:
    """One way to deal with the bookings, measured several times."""

    key: str
    name: str
    is_tool: bool
    bookings: int
    seconds: tuple[float, ...]
    peak_mib: float | None = None
    """The largest memory of its process in any round; None if it has no process of its own."""

    @property
    def median(self) -> float:
        """Seconds."""
        return median(self.seconds)

    @property
    def per_second(self) -> float:
        """Bookings per second, by the median."""
        return self.bookings / self.median

    @property
    def spread(self) -> str:
        """The shortest and the longest round, in seconds."""
        return f"{min(self.seconds):.1f} to {max(self.seconds):.1f}"


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio between two figures that was aimed at."""

    text: str
    one: str
    other: str
    limit: float
    is_floor: bool = False
    """Whether the ratio has to be at least the limit, not at most."""

    def ratio(self, figures: Mapping[str, Figure]) -> float:
        """The seconds of one in terms of the seconds of the other."""
        return figures[self.one].median / figures[self.other].median

    def is_reached(self, figures: Mapping[str, Figure]) -> bool:
        """Whether it is."""
        ratio = self.ratio(figures)
        return ratio >= self.limit if self.is_floor else ratio <= self.limit


GOALS = (
    Goal("migrate, by the copy through a client", "auto", "copy", 1),
    Goal("the one-shot aggregation, by migrate", "whole", "auto", 2, is_floor=True),
    Goal("verify, by migrate", "verify", "auto", 1.5),
    Goal("dry-run, by migrate", "dry-run", "auto", 1),
    Goal("migrate with nothing to do, by dry-run", "again", "dry-run", 0.9),
    Goal("rollback, by migrate", "rollback", "auto", 0.8),
    # 20,000 and 15,000 bookings a second where the copy makes 95,000.
    Goal("migrate --in-place, by the copy through a client", "in-place", "copy", 4.75),
    Goal("rollback in place, by the copy through a client", "in-place-rollback", "copy", 6.33),
    # 45,000 a second.
    Goal("JSON lines to JSON lines, by the copy through a client", "jsonl", "copy", 2.11),
)


def table(figures: Sequence[Figure], tenth: Sequence[Figure], machine: str) -> str:
    """The figures as Markdown.

    Args:
        figures: of all bookings.
        tenth: of a tenth of them.
        machine: on what they were measured.
    """
    by_key, smaller = {each.key: each for each in figures}, {each.key: each for each in tenth}
    copy = by_key["out"].median
    bookings = figures[0].bookings
    lines = [
        f"| {bookings:,} bookings | seconds | of rounds | bookings per second | times the copy | peak memory | a tenth of them |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        *(
            f"| {each.name} | {each.median:.1f} | {each.spread} | {each.per_second:,.0f} | {each.median / copy:.2f} "
            f"| {_memory(each)} | {_smaller(smaller.get(each.key))} |"
            for each in figures
        ),
        "",
        "| goal | reached | ratio |",
        "| --- | --- | ---: |",
        *(
            f"| {goal.text}: {'at least' if goal.is_floor else 'at most'} {goal.limit:g} "
            f"| {'yes' if goal.is_reached(by_key) else 'no'} | {goal.ratio(by_key):.2f} |"
            for goal in GOALS
        ),
        "",
        f"Medians of {len(figures[0].seconds)} rounds, in which the ways take turns. Measured on {machine}.",
    ]
    return "\n".join(lines) + "\n"


def _memory(figure: Figure) -> str:
    return "" if figure.peak_mib is None else f"{figure.peak_mib:.0f} MiB"


def _smaller(figure: Figure | None) -> str:
    return "" if figure is None else f"{figure.per_second:,.0f}/s, {_memory(figure)}"


def as_json(figures: Sequence[Figure], tenth: Sequence[Figure], **more: Any) -> dict[str, Any]:
    """The figures for programs; ``more`` is added."""
    by_key = {each.key: each for each in figures}
    return {
        **more,
        "figures": [_described(each, by_key) for each in figures],
        "tenth": [_described(each, None) for each in tenth],
        "goals": [
            {**asdict(goal), "ratio": round(goal.ratio(by_key), 3), "reached": goal.is_reached(by_key)}
            for goal in GOALS
        ],
    }


def _described(figure: Figure, by_key: Mapping[str, Figure] | None) -> dict[str, Any]:
    ratio = {} if by_key is None else {"times_the_copy": round(figure.median / by_key["out"].median, 3)}
    return {**asdict(figure), "median": figure.median, "per_second": round(figure.per_second), **ratio}


def picture(figures: Sequence[Figure]) -> str:
    """The figures as an SVG: one bar a way, as long as it deals with bookings per second."""
    fastest = max(each.per_second for each in figures)
    height = _TOP + _BAR * len(figures) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {height}" role="img">',
        "<style>text { font: 13px sans-serif; fill: #222 } .title { font-weight: bold }</style>",
        f"<title>Bookings per second, of {figures[0].bookings:,} bookings</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="8" y="20" class="title">Bookings per second, of {figures[0].bookings:,}; blue: booking-migrate</text>',
    ]
    for row, each in enumerate(figures):
        top = _TOP + _BAR * row
        length = max(1, round(_WIDTH * each.per_second / fastest))
        colour = _TOOL if each.is_tool else _OTHER
        parts += [
            f'<text x="{_LEFT - 8}" y="{top + 15}" text-anchor="end">{each.name}</text>',
            f'<rect x="{_LEFT}" y="{top + 3}" width="{length}" height="{_BAR - 6}" fill="{colour}"/>',
            f'<text x="{_LEFT + length + 6}" y="{top + 15}">{each.per_second:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
