"""A page for the terminal: the verdict first, then numbers, then what to do; it fits a screen.

Nothing from data is ever read as rich's markup: every text goes into a `Text`.
"""

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table as Grid
from rich.text import Text

from booking_migrate.quantities import grouped, plural
from booking_migrate.reports.model import NextStep, Report
from booking_migrate.reports.page import Figure, Item, Medium, Mood, Page, Section, Table, shown_on
from booking_migrate.reports.page import Group as Examples
from booking_migrate.reports.pages import page_of
from booking_migrate.reports.text import continued, split_command

_NARROW = 76
"""Below this many columns, notes on numbers are left out."""

_VERDICT_STYLES = {Mood.GOOD: "bold green", Mood.CAUTION: "bold yellow", Mood.BAD: "bold red"}
_ITEM_STYLES = {None: "none", Mood.GOOD: "green", Mood.CAUTION: "yellow", Mood.BAD: "red"}
_INDENT = 2
_DETAILS_SHOWN = 10
_SAMPLES_SHOWN = (3, 2, 1)
"""How many ids are shown beside a reason: as many of these as fit."""


def render_terminal(report: Report, width: int) -> RenderableType:
    """Return what a rich console prints of the report of a command that did what it was asked to do."""
    page = page_of(report)
    blocks: list[RenderableType] = [
        Text(page.verdict.headline, style=_VERDICT_STYLES[page.verdict.mood]),
        Text(page.verdict.explanation, overflow="fold"),
        *_lines_below(page),
    ]
    for section in page.shown_on(Medium.TERMINAL):
        blocks += _block(section, list(_content(section, width)))
    blocks += _block(Section(title="What to do next"), list(_steps(report.next_steps)))
    return Group(*blocks)


def _lines_below(page: Page) -> Iterable[Text]:
    if page.route:
        yield Text(page.route, style="dim", overflow="fold")
    if page.warning:
        yield Text(page.warning, style="yellow")


def _block(section: Section, content: Sequence[RenderableType]) -> Iterable[RenderableType]:
    """Yield an empty line, the title if there is one, and the indented content; nothing without content, unless the title says enough."""
    if not content and not section.is_line:
        return
    yield Text()
    if section.title:
        title = Text(section.title, style="bold")
        if section.remark:
            title.append("  ").append(section.remark, style="yellow" if section.is_flagged else "none")
        yield title
    yield from map(_indented, content)


def _indented(content: RenderableType) -> RenderableType:
    if isinstance(content, CommandLine):
        return content.indented(_INDENT)
    return Padding(content, (0, 0, 0, _INDENT), expand=False)


def _content(section: Section, width: int) -> Iterable[RenderableType]:
    yield from _numbers(section, width)
    if section.facts:
        yield _facts(shown_on(section.facts, Medium.TERMINAL), width)
    yield from _groups(section, width)
    yield from _brief_findings(section, width) if section.is_brief else _findings(section)
    if section.table is not None:
        yield _grid(section.table, width)
    for item in section.items:
        yield from _item(item)
    yield from _steps(section.steps)
    if section.note:
        yield Text(section.note, style="dim", overflow="fold")


def _numbers(section: Section, width: int) -> Iterable[Text]:
    """Yield one line a number, aligned; without notes if the terminal is narrow."""
    figures = shown_on(section.figures, Medium.TERMINAL)
    shown, rest = figures[: section.most], figures[len(figures[: section.most]) :]
    longest_label = max((len(figure.label) for figure in shown), default=0)
    longest_value = max((len(figure.value) for figure in shown), default=0)
    for figure in shown:
        style = "yellow" if figure.is_flagged else ""
        line = Text(f"{figure.label:<{longest_label}}  {figure.value:>{longest_value}}", style=style)
        yield line.append(f"  {figure.note}", style="dim") if figure.note and width >= _NARROW else line
    if rest:
        yield Text(f"and {len(rest)} more", style="dim")


def _facts(figures: Sequence[Figure], width: int) -> Grid:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for figure in figures:
        value = Text(figure.value)
        if figure.note and width >= _NARROW:
            value.append(f"  {figure.note}", style="dim")
        grid.add_row(Text(figure.label), value)
    return grid


def _groups(section: Section, width: int) -> Iterable[RenderableType]:
    """Yield one line a reason, with as many sample ids as fit."""
    shown, rest = section.groups[: section.most], section.groups[len(section.groups[: section.most]) :]
    longest_reason = max((len(group.title) for group in shown), default=0)
    longest_count = max((len(grouped(group.count)) for group in shown), default=0)
    room = width - longest_reason - longest_count - 6
    for group in shown:
        line = Text(f"{group.title:<{longest_reason}}", style="yellow")
        line.append(f"  {grouped(group.count):>{longest_count}}", style="none")
        listed = list(_listings(group))
        fitting = next((text for text in listed if len(text) <= room), None)
        if fitting is not None:
            yield line.append(f"  {fitting}" if fitting else "", style="dim")
        else:
            yield line
            yield _indented(Text(listed[-1], style="dim", overflow="fold"))
    if rest:
        count = sum(group.count for group in rest)
        yield Text(
            f"{plural(len(rest), 'more reason')}: {plural(count, 'booking')} (see --report)", style="dim"
        )


def _listings(group: Examples) -> Iterable[str]:
    """Yield what may be shown beside a reason, the longest first: values and an id, values, or ids."""
    if group.values:
        several = [", ".join(group.values[:few]) for few in _SAMPLES_SHOWN]
        yield from (f"{values}  {group.samples(1)}" for values in several)
        yield from several
    else:
        yield from map(group.samples, _SAMPLES_SHOWN)


def _findings(section: Section) -> Iterable[RenderableType]:
    for finding in section.findings:
        yield Text(f"{finding.title}: {grouped(finding.count)}")
        if listed := finding.samples(_SAMPLES_SHOWN[-1]):
            yield _indented(Text(listed, style="dim", overflow="fold"))
        yield _indented(Text(finding.advice))


def _brief_findings(section: Section, width: int) -> Iterable[RenderableType]:
    """Yield one line a finding, with a sample id if it fits."""
    shown = section.findings[: section.most]
    rest = section.findings[len(shown) :]
    longest = max((len(grouped(finding.count)) for finding in shown), default=0)
    for finding in shown:
        line = Text(f"{grouped(finding.count):>{longest}}", style="yellow", no_wrap=True, overflow="ellipsis")
        line.append(f"  {finding.title}", style="none")
        listed = finding.samples(1)
        room = width - len(line) - 4
        yield line.append(f"  {listed}", style="dim") if len(listed) <= room else line
    if rest:
        yield Text(
            f"{plural(len(rest), 'more risk')} (see --report FILE.html, which has advice too)", style="dim"
        )


def _grid(table: Table, width: int) -> Grid:
    """Return a table; on a wide screen the words of its head stay whole, and names in its first column, up to half of it."""
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = list(zip(table.head, *table.rows, strict=True))
    words = [max(map(len, heading.split()), default=0) for heading, *_ in columns]
    longest = [max(map(len, cells), default=0) for _, *cells in columns]
    # A column of short cells is as wide as they and the words of its heading are: the first one needs the room.
    short = [number > 0 and longest[number] <= len(heading) for number, heading in enumerate(table.head)]
    least = [max(pair) for pair in zip(words, longest, strict=True)]
    others = (
        least[number] if short[number] else min(_longest_word(cells), width // 4)
        for number, cells in enumerate(columns)
        if number
    )
    room = width - _INDENT - sum(others) - 2 * len(columns)
    is_wide = width >= _NARROW
    is_tight = sum(max(map(len, cells)) + 2 for cells in columns) > width - _INDENT
    for number, heading in enumerate(table.head):
        fixed = None
        if is_wide and is_tight and short[number]:
            fixed = least[number]
        elif is_wide and is_tight and number == 0:
            fixed = max(words[0], min(longest[0], width // 2, room))
        # What has a width is not made narrower, so that the others are.
        grid.add_column(heading, overflow="fold", width=fixed)
    for number, cells in enumerate(table.rows):
        *first, last = map(Text, cells)
        if number in table.flagged:
            last.stylize("yellow")
        grid.add_row(*first, last)
    return grid


def _longest_word(cells: Sequence[str]) -> int:
    return max((len(word) for cell in cells for word in cell.split()), default=0)


def _item(item: Item) -> Iterable[RenderableType]:
    yield Text(item.text, style=_ITEM_STYLES[item.mood], overflow="fold")
    shown = item.details[:_DETAILS_SHOWN]
    for detail in shown:
        text, command = split_command(detail)
        yield _indented(Text(text, overflow="fold"))
        if command is not None:
            yield CommandLine(command, 2 * _INDENT)
    more = item.count - len(shown)
    if more > 0:
        yield _indented(Text(f"and {grouped(more)} more", style="dim"))


def _steps(steps: Sequence[NextStep]) -> Iterable[RenderableType]:
    for step in steps:
        yield Text(step.text)
        if step.command is not None:
            yield _indented(CommandLine(step.command))


class CommandLine:
    """A command that can be copied from the screen: a long one is continued on the next line, as a shell does it."""

    def __init__(self, command: str, indent: int = 0) -> None:
        self._command = command
        self._indent = indent

    def indented(self, columns: int) -> "CommandLine":
        """Return the same further to the right; a `Padding` would cut off a word that is wider than the screen."""
        return CommandLine(self._command, self._indent + columns)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        style = console.get_style("cyan")
        for line in continued(self._command, options.max_width - self._indent):
            yield Segment(" " * self._indent)
            yield Segment(line, style)
            yield Segment.line()
