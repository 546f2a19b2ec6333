"""The page of preflight: a section for the server, and one for each command."""

from collections.abc import Iterator

from booking_migrate.preflight.outcome import State
from booking_migrate.reports.model import NextStep
from booking_migrate.reports.page import Check, Item, Mood, Page, Result, Section, Verdict
from booking_migrate.reports.pages.migrate import error_check, final_verdict
from booking_migrate.reports.preflight import CheckReport, CommandReport, PreflightReport
from booking_migrate.reports.text import duration

_MOODS = {
    State.FINE: Mood.GOOD,
    State.UNKNOWN: None,
    State.CAUTION: Mood.CAUTION,
    State.OBSTACLE: Mood.BAD,
}


def preflight_page(report: PreflightReport) -> Page:
    verdict = final_verdict(report, _verdict(report), is_done=True)
    return Page(
        report,
        verdict,
        sections=(
            Section(title="Server", items=tuple(map(_item, report.server))),
            *map(_section, report.verdicts),
            *([] if report.role is None else [_role(report.role)]),
        ),
        checks=(error_check(report, "preflight-ran", verdict), *_checks(report.verdicts)),
        route=f"{report.source} -> {report.target}, {duration(report.seconds)}; nothing was written",
    )


def _verdict(report: PreflightReport) -> Verdict:
    ready = [each.command for each in report.verdicts if each.ready]
    stopped = [each.command for each in report.verdicts if not each.ready]
    explanation = " ".join(
        f"{name}: {', '.join(commands)}."
        for name, commands in (("Ready", ready), ("Not ready", stopped))
        if commands
    )
    if not ready:
        return Verdict(Mood.BAD, "Not ready", explanation)
    if stopped:
        return Verdict(Mood.CAUTION, "Some commands are ready", explanation)
    return Verdict(Mood.GOOD, "Ready", explanation)


def _section(command: CommandReport) -> Section:
    """Return what was found about one command; of one that is ready, only what deserves attention."""
    shown = [each for each in command.checks if not command.ready or each.state is not State.FINE]
    return Section(
        title=command.command,
        remark="ready" if command.ready else "not ready",
        is_flagged=not command.ready,
        is_line=True,
        items=tuple(map(_item, shown)),
    )


def _role(command: str) -> Section:
    """Return the command that creates a role, as one line that can be copied."""
    step = NextStep(text="As an administrator, in mongosh:", command=command)
    return Section(title="Minimal role", steps=(step,))


def _item(check: CheckReport) -> Item:
    hints = tuple(check.hint.splitlines())
    return Item(f"{check.subject}: {check.found}", _MOODS[check.state], hints, len(hints))


def _checks(verdicts: tuple[CommandReport, ...]) -> Iterator[Check]:
    for each in verdicts:
        found = "; ".join(check.found for check in each.checks if check.state is State.OBSTACLE)
        result = Result.PASSED if each.ready else Result.FAILURE
        yield Check(
            f"{each.command.replace(' ', '-')}-is-ready", result, "" if each.ready else "Obstacle", found
        )
