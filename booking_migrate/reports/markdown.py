"""The report as Markdown: for pull requests, tickets and CI job summaries."""

import re
from collections.abc import Iterator, Sequence

from booking_migrate.reports.model import ExplanationReport, Report, VerificationReport
from booking_migrate.reports.numbers import duration, grouped, samples
from booking_migrate.reports.wording import Mood, figures, mismatch_line, places, totals, verdict

SIGNS = {Mood.GOOD: "✅", Mood.CAUTION: "⚠️", Mood.BAD: "❌"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~$&])")
_SAMPLES_SHOWN = 3
_MISMATCHES_SHOWN = 2


def render_markdown(report: Report) -> str:
    """GitHub-flavoured Markdown. Text from data is escaped, so that it shows as it is."""
    said = verdict(report)
    route = f"`{command_line(report)}`"
    parts = [
        f"## {SIGNS[said.mood]} {escaped(said.headline)}\n\n{escaped(said.explanation)}",
        f"{route} · {duration(report.seconds)} · run {escaped(report.run_id)}",
    ]
    if report.error is not None and report.error.hint:
        parts.append(f"**{escaped(report.error.hint)}**")
    if rows := figures(report):
        parts.append(table(("Count", "", ""), [(row.label, row.value, row.note) for row in rows], right=1))
    if report.verification is not None:
        parts += _rules(report.verification)
    if report.explanation is not None:
        parts += _explanation(report.explanation)
    if report.rejections:
        groups = [
            (group.reason, grouped(group.count), samples(group.sample_ids, group.count, _SAMPLES_SHOWN))
            for group in report.rejections
        ]
        parts += ["### Rejected", table(("Reason", "Bookings", "Such as"), groups, right=1)]
        if report.rejects is not None:
            parts.append(f"All of them are in {escaped(report.rejects)}.")
    if spent := totals(report):
        parts += [
            "### Spent",
            table(("Currency", "Sum"), [(row.label, row.value) for row in spent], right=1),
        ]
    if report.findings:
        parts.append("### Worth knowing")
        parts.append(
            "\n".join(
                f"- **{escaped(finding.title)}**: {grouped(finding.count)} "
                f"({escaped(samples(finding.sample_ids, finding.count, _SAMPLES_SHOWN))}). "
                f"{escaped(finding.advice)}"
                for finding in report.findings
            )
        )
    if report.next_steps:
        parts.append("### What to do next")
        parts.append("\n".join(step_line(step.text, step.command) for step in report.next_steps))
    return "\n\n".join(parts) + "\n"


def command_line(report: Report) -> str:
    """What ran, in one line that can stand between backticks."""
    return f"{report.command} {places(report)}".rstrip().replace("`", "'")


def _rules(verification: VerificationReport) -> Iterator[str]:
    """Every rule with its number of mismatches, and a few examples: under a page, however many there are."""
    rows = [
        (rule.rule, grouped(rule.mismatch_count) if rule.mismatch_count else "kept")
        for rule in verification.rules
    ]
    yield "### Rules"
    yield table(("Rule", "Mismatches"), rows, right=1)
    examples = [each for rule in verification.rules for each in rule.examples[:_MISMATCHES_SHOWN]]
    if examples:
        yield "\n".join(f"- {escaped(mismatch_line(each))}" for each in examples)
    if verification.mismatches_file is not None:
        yield f"All of them are in {escaped(verification.mismatches_file)}."


def _explanation(explanation: ExplanationReport) -> Iterator[str]:
    if explanation.mismatches:
        yield "### What is wrong"
        yield "\n".join(f"- {escaped(mismatch_line(each))}" for each in explanation.mismatches)
    if explanation.details:
        yield "### Why it was rejected"
        yield "\n".join(f"- {escaped(detail)}" for detail in explanation.details)
    if explanation.fields:
        rows = [(field.name, field.old or "", field.new or "") for field in explanation.fields]
        yield "### The booking and its session"
        yield table(("Field", "Booking", "Session"), rows, right=-1)


def step_line(text: str, command: str | None) -> str:
    """One step, with its command as a block of its own."""
    return f"- {escaped(text)}" + (f"\n  ```console\n  {command}\n  ```" if command else "")


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, right: int) -> str:
    """A table whose column number ``right`` is aligned to the right."""
    rule = ["---:" if column == right else "---" for column in range(len(head))]
    lines = [head, tuple(rule), *[tuple(escaped(cell) for cell in row) for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """A text that shows as it is."""
    return _SPECIAL.sub(r"\\\1", text)
