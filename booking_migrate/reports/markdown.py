"""The report as Markdown: for pull requests, tickets and CI job summaries."""

import re
from collections.abc import Sequence

from booking_migrate.reports.model import Report
from booking_migrate.reports.wording import Mood, duration, figures, grouped, samples, totals, verdict

_SIGNS = {Mood.GOOD: "✅", Mood.CAUTION: "⚠️", Mood.BAD: "❌"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~$&])")
_SAMPLES_SHOWN = 3


def render_markdown(report: Report) -> str:
    """GitHub-flavoured Markdown. Text from data is escaped, so that it shows as it is."""
    said = verdict(report)
    route = f"`{command_line(report)}`"
    parts = [
        f"## {_SIGNS[said.mood]} {_escaped(said.headline)}\n\n{_escaped(said.explanation)}",
        f"{route} · {duration(report.seconds)} · run {_escaped(report.run_id)}",
    ]
    if report.error is not None and report.error.hint:
        parts.append(f"**{_escaped(report.error.hint)}**")
    if rows := figures(report):
        parts.append(_table(("Count", "", ""), [(row.label, row.value, row.note) for row in rows], right=1))
    if report.rejections:
        groups = [
            (group.reason, grouped(group.count), samples(group.sample_ids, group.count, _SAMPLES_SHOWN))
            for group in report.rejections
        ]
        parts += ["### Rejected", _table(("Reason", "Bookings", "Such as"), groups, right=1)]
        if report.rejects is not None:
            parts.append(f"All of them are in {_escaped(report.rejects)}.")
    if spent := totals(report):
        parts += [
            "### Spent",
            _table(("Currency", "Sum"), [(row.label, row.value) for row in spent], right=1),
        ]
    if report.findings:
        parts.append("### Worth knowing")
        parts.append(
            "\n".join(
                f"- **{_escaped(finding.title)}**: {grouped(finding.count)} "
                f"({_escaped(samples(finding.sample_ids, finding.count, _SAMPLES_SHOWN))}). "
                f"{_escaped(finding.advice)}"
                for finding in report.findings
            )
        )
    if report.next_steps:
        parts.append("### What to do next")
        parts.append("\n".join(_step(step.text, step.command) for step in report.next_steps))
    return "\n\n".join(parts) + "\n"


def command_line(report: Report) -> str:
    """What ran, in one line that can stand between backticks."""
    return f"{report.command} {report.source} → {report.target}".replace("`", "'")


def _step(text: str, command: str | None) -> str:
    return f"- {_escaped(text)}" + (f"\n  ```console\n  {command}\n  ```" if command else "")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, right: int) -> str:
    """A table whose column number ``right`` is aligned to the right."""
    rule = ["---:" if column == right else "---" for column in range(len(head))]
    lines = [head, tuple(rule), *[tuple(_escaped(cell) for cell in row) for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
