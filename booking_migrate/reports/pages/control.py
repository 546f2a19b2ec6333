"""The page of control, and what status says about what was asked."""

from collections.abc import Sequence

from booking_migrate.quantities import moment
from booking_migrate.reports.control import ControlReport, RequestReport
from booking_migrate.reports.page import Item, Mood, Page, Section, Verdict
from booking_migrate.reports.pages.migrate import error_check, final_verdict
from booking_migrate.runs.control import RESTORE, REWRITE, Setting
from booking_migrate.stores.journal import RunState


def control_page(report: ControlReport) -> Page:
    verdict = final_verdict(report, _verdict(report), is_done=True)
    items = tuple(
        Item(f"{each.command}: {request_line(each, at_work=report.at_work)}") for each in report.holds
    )
    return Page(
        report,
        verdict,
        sections=(Section(items=items),) if items else (),
        checks=(error_check(report, "asked", verdict),),
        route=f"run {report.run_id}: {report.source} -> {report.target}",
    )


def _verdict(report: ControlReport) -> Verdict:
    if report.pauses is None:
        headline = "Settings changed" if report.asked else "The settings are so already"
        effect = "They apply to {} from the next batch on"
        if any(each.setting is Setting.MAX_LAG for each in report.asked):
            # Only the process that works knows whether it can measure that.
            effect += "; if the lag cannot be measured, status shows it as ignored"
        return Verdict(Mood.GOOD, headline, _explained(report, effect))
    if report.pauses:
        is_held = all(each.in_force for each in report.holds if each.setting is Setting.PAUSE)
        before = "Paused already" if is_held and report.at_work else "Pause requested already"
        effect = "The pause of {} begins before the next batch; the run keeps its lock, so no other run can write meanwhile"
        return Verdict(Mood.GOOD, "Pause requested" if report.asked else before, _explained(report, effect))
    if not report.asked:
        return Verdict(Mood.GOOD, "Not paused", "Nothing was changed.")
    if not report.at_work:
        commands = " and ".join(report.commands)
        explanation = f"The run is not running; when {commands} is run again, it is not paused."
        return Verdict(Mood.GOOD, "Pause lifted", explanation)
    return Verdict(Mood.GOOD, "Resumed", _explained(report, "The next batch of {} follows"))


def _explained(report: ControlReport, effect: str) -> str:
    commands = " and ".join(report.commands)
    if report.at_work:
        return f"{effect.format(commands)}."
    is_so = ", which is interrupted" if report.state == RunState.INTERRUPTED.value else ""
    return f"No command is working on the run{is_so}: it will take effect when {commands} is run again."


def request_line(request: RequestReport, *, at_work: bool) -> str:
    """Return one request as a line."""
    at = moment(request.at)
    if request.setting is Setting.PAUSE:
        if at_work and request.in_force:
            return f"paused by {request.by} since {at}"
        holds = "before the next batch" if at_work else f"when {request.command} is run again"
        return f"pause requested by {request.by} at {at}; holds {holds}"
    ignored = f"; IGNORED: {request.ignored}" if request.ignored else ""
    return f"{request.setting} {request.value:g}, set by {request.by} at {at}{ignored}"


def request_lines(requests: Sequence[RequestReport], *, at_work: bool) -> Sequence[str]:
    """Return what status says about what is asked of the commands on a run."""
    several = len({each.command for each in requests}) > 1
    lines = [(each.command, request_line(each, at_work=at_work)) for each in requests]
    return [
        f"{command}: {line}" if several or command in (REWRITE, RESTORE) else line for command, line in lines
    ]
