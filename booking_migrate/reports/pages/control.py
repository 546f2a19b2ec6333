"""The page of control, and what status says about what was asked."""

from collections.abc import Sequence

from booking_migrate.reports.control import ControlReport, RequestReport
from booking_migrate.reports.page import Item, Mood, Page, Section, Verdict
from booking_migrate.reports.pages.migrate import error_check, final_verdict
from booking_migrate.runs.control import RESTORE, REWRITE, Setting


def control_page(report: ControlReport) -> Page:
    """Return the page of control."""
    verdict = final_verdict(report, _verdict(report), is_done=True)
    items = tuple(Item(f"{each.command}: {request_line(each)}") for each in report.holds)
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
        return Verdict(Mood.GOOD, headline, _explained(report, "The next chunk is handled by them"))
    if report.pauses:
        headline = "Pause requested" if report.asked else "Paused already"
        return Verdict(
            Mood.GOOD, headline, _explained(report, "It takes effect before the next chunk; the lock is kept")
        )
    if not report.asked:
        return Verdict(Mood.GOOD, "Not paused", "Nothing was changed.")
    if not report.at_work:
        commands = " and ".join(report.commands)
        explanation = f"The run is not running; when {commands} is run again, it is not paused."
        return Verdict(Mood.GOOD, "Pause lifted", explanation)
    return Verdict(Mood.GOOD, "Resumed", _explained(report, "The next chunk follows"))


def _explained(report: ControlReport, effect: str) -> str:
    commands = " and ".join(report.commands)
    if report.at_work:
        return f"{effect} ({commands})."
    return f"No command is working on the run: this holds when {commands} is run again."


def request_line(request: RequestReport) -> str:
    """Return one request as a line."""
    at = f"{request.at:%Y-%m-%d %H:%M:%S} UTC"
    if request.setting is Setting.PAUSE:
        return f"paused by {request.by} since {at}"
    return f"{request.setting} {request.value:g}, set by {request.by} at {at}"


def request_lines(requests: Sequence[RequestReport]) -> Sequence[str]:
    """Return what status says about what is asked of the commands on a run."""
    several = len({each.command for each in requests}) > 1
    return [
        f"{each.command} {request_line(each)}"
        if several or each.command in (REWRITE, RESTORE)
        else request_line(each)
        for each in requests
    ]
