"""The page between reports and formats: everything that a report shows, in words, without markup.

Builders in `pages` make a page of a report; `terminal`, `html` and `ci` draw any page, without knowing which command ran.
Texts come from a report and are harmless: one line each, nothing that does not print.
"""

from dataclasses import dataclass
from enum import Enum

from booking_migrate.quantities import moment
from booking_migrate.reports.model import NextStep, Report
from booking_migrate.reports.text import options_line, samples


class Mood(Enum):
    """How good the news is."""

    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"


class Medium(Enum):
    """Where a section or a figure is shown."""

    ALL = "all"
    TERMINAL = "terminal"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first thing to read."""

    mood: Mood
    headline: str
    """A few words, without a full stop."""

    explanation: str
    """One or two sentences, each with its full stop."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One value with its name."""

    label: str
    value: str
    note: str = ""
    """What the value means, in a few words."""

    detail: str = ""
    """A longer note, for files only."""

    medium: Medium = Medium.ALL
    is_flagged: bool = False
    """Whether the value deserves attention."""


@dataclass(frozen=True, slots=True)
class Group:
    """Documents with something in common."""

    title: str
    count: int
    sample_ids: tuple[str, ...]
    advice: str = ""
    values: tuple[str, ...] = ()
    """The most frequent values that they have in common, each with its count."""

    def samples(self, shown: int) -> str:
        """Return the first few ids, and how many more there are."""
        return samples(self.sample_ids, self.count, shown)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a list, with further lines below it."""

    text: str
    mood: Mood | None = None
    details: tuple[str, ...] = ()
    count: int = 0
    """How many details exist; those in ``details`` are the first of them."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a head."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: int = -1
    """The column that is aligned to the right; -1: none."""

    flagged: frozenset[int] = frozenset()
    """The rows whose last cell deserves attention."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Texts of several lines, to be shown beside each other."""

    title: str
    left: tuple[str, ...]
    right: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart."""

    label: str
    amount: int
    value: str
    """The amount, as text."""

    note: str
    is_over: bool = False
    """Whether the amount is beyond a limit."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, for formats that can draw."""

    bars: tuple[Bar, ...]
    is_timeline: bool = False
    """Whether the bars follow each other in time, so that they may be drawn side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of a page. A format draws what it can of it, in the order of the fields, and leaves out empty parts."""

    title: str = ""
    remark: str = ""
    """A few words beside the title."""

    is_flagged: bool = False
    """Whether the remark deserves attention."""

    is_line: bool = False
    """Whether title and remark are shown although nothing is below them."""

    medium: Medium = Medium.ALL
    figures: tuple[Figure, ...] = ()
    """Numbers, with their notes."""

    facts: tuple[Figure, ...] = ()
    """Values that may be long texts."""

    groups: tuple[Group, ...] = ()
    """Documents by a reason, for comparison."""

    findings: tuple[Group, ...] = ()
    """Documents by what was found, each with advice."""

    chart: Chart | None = None
    table: Table | None = None
    """In formats that can draw, only if the section does not have a chart."""

    items: tuple[Item, ...] = ()
    pairs: tuple[Pair, ...] = ()
    """For files only."""

    steps: tuple[NextStep, ...] = ()
    """What can be done, with the commands that do it."""

    note: str = ""
    """A closing sentence."""

    detail: str = ""
    """A closing sentence for files only."""

    head: tuple[str, ...] = ()
    """Headings of the columns where figures, facts or groups become a table."""

    most: int | None = None
    """How many figures, groups or findings a terminal shows; None: all."""

    is_brief: bool = False
    """Whether a terminal shows a finding in one line, without its advice."""

    is_half: bool = False
    """Whether the section may be drawn beside another one, on a wide page."""


class Result(Enum):
    """The result of a check."""

    PASSED = "passed"
    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of a command, and whether it was kept: a test case for continuous integration."""

    name: str
    result: Result = Result.PASSED
    kind: str = ""
    message: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that a report shows."""

    report: Report
    """What all reports have: command, places, run, time, error and next steps."""

    verdict: Verdict
    sections: tuple[Section, ...] = ()
    checks: tuple[Check, ...] = ()
    route: str = ""
    """The line below the verdict on a terminal: from where to where, and how long it took."""

    remark: str = ""
    """A few words on the whole run, for files."""

    warning: str = ""
    """What the reader must know before any figure."""

    @property
    def command_line(self) -> str:
        """Return what ran, and from where to where, in one line; status may have neither of the places."""
        places = " → ".join(filter(None, (self.report.source, self.report.target)))
        return f"{self.report.command} {places}".rstrip()

    @property
    def circumstances(self) -> tuple[Figure, ...]:
        """Return when, where and how it ran; what is not known is left out."""
        report = self.report
        known = {
            "began": None if report.started_at is None else moment(report.started_at),
            "database": report.database,
            "server": report.host,
            "options": options_line(report.options),
        }
        return tuple(Figure(label, value) for label, value in known.items() if value)

    def shown_on(self, medium: Medium) -> list[Section]:
        return [section for section in self.sections if section.medium in (Medium.ALL, medium)]


def shown_on(figures: tuple[Figure, ...], medium: Medium) -> list[Figure]:
    return [figure for figure in figures if figure.medium in (Medium.ALL, medium)]
