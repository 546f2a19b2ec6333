"""A page for CI: as Markdown, for pull requests, tickets and summaries of jobs; and as JUnit XML, which CI systems show as tests."""

import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from booking_migrate.quantities import grouped
from booking_migrate.reports.page import (
    Check,
    Figure,
    Group,
    Item,
    Medium,
    Mood,
    Page,
    Result,
    Section,
    shown_on,
)
from booking_migrate.reports.text import duration

_SIGNS = {Mood.GOOD: "✅", Mood.CAUTION: "⚠️", Mood.BAD: "❌"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~$&])")
_SAMPLES_SHOWN = 3
_DETAILS_SHOWN = 10
_DETAILS_BESIDE_TABLE = 1
"""Few, so that a verification with many mismatches stays within a page."""


def render_markdown(page: Page) -> str:
    """Return GitHub-flavoured Markdown. Text from data is escaped, so that it shows as it is."""
    return "\n\n".join(_parts(page)) + "\n"


def _parts(page: Page) -> Iterator[str]:
    report, verdict = page.report, page.verdict
    yield f"## {_SIGNS[verdict.mood]} {_escaped(verdict.headline)}\n\n{_escaped(verdict.explanation)}"
    # Between backticks, nothing can be escaped.
    command_line = page.command_line.replace("`", "'")
    facts = [f"`{command_line}`", duration(report.seconds), page.remark, f"run {_escaped(report.run_id)}"]
    facts += [f"{each.label} {_escaped(each.value)}" for each in page.circumstances]
    yield " · ".join(filter(None, facts))
    if report.error is not None and report.error.hint:
        yield f"**{_escaped(report.error.hint)}**"
    if page.warning:
        yield f"**{_escaped(page.warning)}**"
    for section in page.shown_on(Medium.FILES):
        content = list(_content(section))
        if content or section.is_line:
            title = _escaped(section.title) + (f": {_escaped(section.remark)}" if section.remark else "")
            yield from [f"### {title}"] if title else []
            yield from content
    if report.next_steps:
        yield "### What to do next"
        yield "\n".join(_step(step.text, step.command) for step in report.next_steps)


def _content(section: Section) -> Iterator[str]:
    if section.figures:
        yield _figures(section.head or ("Count", "", ""), section.figures, right=1)
    if section.facts:
        yield _figures(section.head, section.facts, right=-1)
    if section.groups:
        groups = [
            (group.title, grouped(group.count), " · ".join([*group.values, group.samples(_SAMPLES_SHOWN)]))
            for group in section.groups
        ]
        yield _table(section.head, groups, right=1)
    if section.findings:
        yield "\n".join(map(_finding, section.findings))
    if section.table is not None:
        yield _table(section.table.head, section.table.rows, right=section.table.right)
    if section.items:
        most = _DETAILS_SHOWN if section.table is None else _DETAILS_BESIDE_TABLE
        yield "\n".join(line for item in section.items for line in _item(item, most))
    for pair in section.pairs:
        yield f"**{_escaped(pair.title)}**"
        # Between fences, nothing can be escaped.
        texts = [text.replace("```", "'''") for text in (*pair.left, *pair.right)]
        yield "\n\n".join(f"```js\n{text}\n```" for text in texts)
    if section.steps:
        yield "\n".join(_step(step.text, step.command) for step in section.steps)
    yield from [_escaped(sentence) for sentence in (section.note, section.detail) if sentence]


def _item(item: Item, most: int) -> Iterator[str]:
    yield f"- {_escaped(item.text)}"
    shown = item.details[:most]
    yield from (f"  - {_escaped(detail)}" for detail in shown)
    if item.count > len(shown):
        yield f"  - and {grouped(item.count - len(shown))} more"


def _figures(head: tuple[str, ...], figures: tuple[Figure, ...], *, right: int) -> str:
    rows = [
        (figure.label, figure.value, figure.detail or figure.note)[: len(head)]
        for figure in shown_on(figures, Medium.FILES)
    ]
    return _table(head, rows, right=right)


def _finding(finding: Group) -> str:
    listed = finding.samples(_SAMPLES_SHOWN)
    such_as = f" ({_escaped(listed)})" if listed else ""
    return f"- **{_escaped(finding.title)}**: {grouped(finding.count)}{such_as}. {_escaped(finding.advice)}"


def _step(text: str, command: str | None) -> str:
    """Return one step, with its command as a block of its own."""
    return f"- {_escaped(text)}" + (f"\n  ```console\n  {command}\n  ```" if command else "")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, right: int) -> str:
    """Return a table whose column number ``right`` is aligned to the right."""
    rule = ["---:" if column == right else "---" for column in range(len(head))]
    lines = [head, tuple(rule), *[tuple(map(_escaped, row)) for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Return a text that shows as it is."""
    return _SPECIAL.sub(r"\\\1", text)


def render_junit(page: Page) -> str:
    """Return one test suite with a test case for each promise that the command can keep or break, never one for each booking."""
    report = page.report
    results = [check.result for check in page.checks]
    tally = {
        "tests": str(len(results)),
        "failures": str(results.count(Result.FAILURE)),
        "errors": str(results.count(Result.ERROR)),
        "skipped": str(results.count(Result.SKIPPED)),
        "time": f"{report.seconds:.3f}",
    }
    root = ET.Element("testsuites", tally)
    named = {"name": f"booking-migrate {report.command}", **tally}
    if report.started_at is not None:
        named["timestamp"] = f"{report.started_at:%Y-%m-%dT%H:%M:%S}"
    suite = ET.SubElement(root, "testsuite", named)
    properties = ET.SubElement(suite, "properties")
    for name in ("tool_version", "run_id", "source", "target"):
        ET.SubElement(properties, "property", {"name": name, "value": getattr(report, name)})
    for each in page.circumstances:
        ET.SubElement(properties, "property", {"name": each.label, "value": each.value})
    suite.extend(_case(report.command, check) for check in page.checks)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(command: str, check: Check) -> ET.Element:
    case = ET.Element("testcase", {"classname": f"booking-migrate.{command}", "name": check.name})
    if check.result is not Result.PASSED:
        described = {"type": check.kind, "message": check.message}
        result = ET.SubElement(
            case, check.result.value, {key: text for key, text in described.items() if text}
        )
        result.text = check.text or None
    return case
