"""A page as JUnit XML: what CI systems show as tests, one for each promise, never one for each booking."""

from xml.etree import ElementTree as ET

from booking_migrate.reports.page import Check, Page, Result


def render_junit(page: Page) -> str:
    """Return one test suite with a test case for each promise that the command can keep or break."""
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
    suite = ET.SubElement(root, "testsuite", {"name": f"booking-migrate {report.command}", **tally})
    properties = ET.SubElement(suite, "properties")
    for name in ("tool_version", "run_id", "source", "target"):
        ET.SubElement(properties, "property", {"name": name, "value": getattr(report, name)})
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
