"""The report as JUnit XML: what CI systems show as tests, one per promise, never one per booking."""

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from booking_migrate.reports.model import Report, RuleReport
from booking_migrate.reports.model_dry_run import DryRunReport
from booking_migrate.reports.model_lifecycle import LifeReport
from booking_migrate.reports.numbers import plural, samples
from booking_migrate.reports.wording import Mood, mismatch_line, verdict

_PROMISES = {"status": "no-run-is-stale", "rollback": "as-before-the-run", "cutover": "cut-over"}
"""What a command promises; of one that promises nothing beyond itself, the case has its name."""

_LINES_SHOWN = 10
_SAMPLES_SHOWN = 3


def render_junit(report: Report) -> str:
    """One test suite with a test case for each promise that the command can keep or break."""
    cases = list(_cases(report))
    tally = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": f"{report.seconds:.3f}",
    }
    root = ET.Element("testsuites", tally)
    suite = ET.SubElement(root, "testsuite", {"name": f"booking-migrate {report.command}", **tally})
    properties = ET.SubElement(suite, "properties")
    for name in ("tool_version", "run_id", "source", "target"):
        ET.SubElement(properties, "property", {"name": name, "value": getattr(report, name)})
    suite.extend(cases)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _cases(report: Report) -> Iterator[ET.Element]:
    if isinstance(report, LifeReport):
        yield _lived(report)
    elif report.verification is not None:
        yield from (_rule(report, rule) for rule in report.verification.rules)
    else:
        yield from (_accounted(report), _none_rejected(report))
    if isinstance(report, DryRunReport):
        yield _not_blocked(report)


def _lived(report: LifeReport) -> ET.Element:
    """What status, rollback or cutover found or did, and whether it leaves nothing to be seen to."""
    case, said = _case(report, _PROMISES.get(report.command, report.command)), verdict(report)
    if report.error is not None:
        error = ET.SubElement(case, "error", {"type": report.error.kind, "message": said.explanation})
        error.text = report.error.hint
    elif said.mood is not Mood.GOOD:
        ET.SubElement(case, "failure", {"type": said.headline, "message": said.explanation})
    return case


def _case(report: Report, name: str) -> ET.Element:
    return ET.Element("testcase", {"classname": f"booking-migrate.{report.command}", "name": name})


def _rule(report: Report, rule: RuleReport) -> ET.Element:
    case = _case(report, rule.rule)
    if rule.mismatch_count:
        said = f"{rule.mismatch_count} mismatches, such as {mismatch_line(rule.examples[0])}"
        failure = ET.SubElement(case, "failure", {"type": rule.examples[0].kind, "message": said})
        failure.text = "\n".join(map(mismatch_line, rule.examples[:_LINES_SHOWN]))
    return case


def _not_blocked(report: DryRunReport) -> ET.Element:
    case = _case(report, "nothing-stands-in-the-way")
    blockers = report.dry_run.blockers
    if blockers:
        failure = ET.SubElement(case, "failure", {"type": blockers[0].kind, "message": blockers[0].message})
        failure.text = "\n".join(f"{blocker.kind}: {blocker.message}" for blocker in blockers[:_LINES_SHOWN])
    return case


def _accounted(report: Report) -> ET.Element:
    case = _case(report, "every-booking-accounted-for")
    if report.error is not None:
        error = ET.SubElement(
            case, "error", {"type": report.error.kind, "message": verdict(report).explanation}
        )
        error.text = report.error.hint
    return case


def _none_rejected(report: Report) -> ET.Element:
    case = _case(report, "no-booking-rejected")
    if report.counts is None:
        ET.SubElement(case, "skipped", {"message": "the command failed"})
    elif report.counts.rejected:
        said = f"{plural(report.counts.rejected, 'booking')} rejected"
        failure = ET.SubElement(case, "failure", {"type": "rejected", "message": said})
        failure.text = "\n".join(
            f"{group.reason}: {group.count} ({samples(group.sample_ids, group.count, _SAMPLES_SHOWN)})"
            for group in report.rejections[:_LINES_SHOWN]
        )
        if more := len(report.rejections) - _LINES_SHOWN:
            failure.text += f"\nand {plural(more, 'more reason')}" if more > 0 else ""
    return case
