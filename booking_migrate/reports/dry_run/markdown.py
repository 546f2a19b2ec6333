"""A dry-run as Markdown: for a ticket that asks for a go or no-go."""

from collections.abc import Iterator

from booking_migrate.reports.dry_run.wording import (
    dry_run_figures,
    dry_run_verdict,
    gain_rows,
    need_rows,
    size,
)
from booking_migrate.reports.markdown import SIGNS, command_line, escaped, step_line, table
from booking_migrate.reports.model_dry_run import DryRunReport
from booking_migrate.reports.numbers import duration, grouped, samples
from booking_migrate.reports.wording import totals

_SAMPLES_SHOWN = 3


def render_dry_run_markdown(report: DryRunReport) -> str:
    """GitHub-flavoured Markdown. Text from data is escaped, so that it shows as it is."""
    return "\n\n".join(_parts(report)) + "\n"


def _parts(report: DryRunReport) -> Iterator[str]:
    said, part = dry_run_verdict(report), report.dry_run
    yield f"## {SIGNS[said.mood]} {escaped(said.headline)}\n\n{escaped(said.explanation)}"
    yield f"`{command_line(report)}` · {duration(report.seconds)} · nothing written · run {escaped(report.run_id)}"
    if part.sampled is not None:
        yield f"**Every figure is estimated from a sample of {grouped(part.sampled)} bookings.**"
    if part.blockers:
        yield "### Blockers"
        yield "\n".join(f"- {escaped(f'{each.message}. {each.hint}'.strip())}" for each in part.blockers)
    rows = [(row.label, row.value, row.note) for row in dry_run_figures(report)]
    yield "### What would happen"
    yield table(("Count", "", ""), rows, right=1)
    yield from _rejected(report)
    yield from _risks(report)
    yield "### What it needs"
    yield table(("Need", "", ""), [(row.label, row.value, row.note) for row in need_rows(report)], right=-1)
    yield "### What it gains"
    yield table(
        ("", "Before → after", ""), [(row.label, row.value, row.note) for row in gain_rows(report)], right=-1
    )
    if part.largest_clients:
        largest = [(one.client_id, grouped(one.sessions), size(one.size)) for one in part.largest_clients]
        yield "### Largest clients"
        yield table(("Client", "Sessions", "Size"), largest, right=1)
    if report.next_steps:
        yield "### What to do next"
        yield "\n".join(step_line(step.text, step.command) for step in report.next_steps)


def _rejected(report: DryRunReport) -> Iterator[str]:
    if report.rejections:
        groups = [
            (group.reason, grouped(group.count), samples(group.sample_ids, group.count, _SAMPLES_SHOWN))
            for group in report.rejections
        ]
        yield "### Would be rejected"
        yield table(("Reason", "Bookings", "Such as"), groups, right=1)
    if report.rejects is not None:
        yield f"All of them are in {escaped(report.rejects)}."
    if spent := totals(report):
        yield "### Would be spent"
        yield table(("Currency", "Sum"), [(row.label, row.value) for row in spent], right=1)


def _risks(report: DryRunReport) -> Iterator[str]:
    if report.findings:
        yield "### What could hurt"
        yield "\n".join(
            f"- **{escaped(finding.title)}**: {grouped(finding.count)}"
            f"{_such_as(samples(finding.sample_ids, finding.count, _SAMPLES_SHOWN))}. {escaped(finding.advice)}"
            for finding in report.findings
        )
    if report.dry_run.references:
        rows = [
            (f"{one.collection}.{one.field}", f"{one.hits} of {one.sampled}")
            for one in report.dry_run.references
        ]
        yield table(("Refers to bookings", "Ids found"), rows, right=1)


def _such_as(listed: str) -> str:
    return f" ({escaped(listed)})" if listed else ""
