"""Every format of every kind of report, byte for byte."""

import json
from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from booking_migrate.reports.files import render_report
from booking_migrate.reports.model import Report
from booking_migrate.reports.terminal import render_terminal
from tests.support import sample_reports

Check = Callable[[str, str], None]

REPORTS = {
    "clean": sample_reports.clean,
    "rejected": sample_reports.rejected,
    "failed": sample_reports.failed,
    "audit": sample_reports.audited,
}
FORMATS = ["json", "md", "html", "xml"]


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("suffix", FORMATS)
def test_report_file(name: str, suffix: str, check_golden: Check) -> None:
    """A report file is the golden one, whatever the tool's version is."""
    report = REPORTS[name]().model_copy(update={"tool_version": "1.2.3"})

    check_golden(f"{name}.{suffix}", render_report(report, f".{suffix}"))


@pytest.mark.parametrize("name", ["clean", "rejected", "audit"])
@pytest.mark.parametrize("width", [40, 100])
def test_terminal_text(name: str, width: int, check_golden: Check) -> None:
    """The text on a terminal is the golden one, wide and narrow."""
    screen = StringIO()
    Console(file=screen, width=width).print(render_terminal(REPORTS[name](), width))

    check_golden(f"{name}.{width}.txt", screen.getvalue())


def test_sarif(check_golden: Check) -> None:
    """An audit as SARIF is the golden one."""
    report = sample_reports.audited().model_copy(update={"tool_version": "1.2.3"})

    check_golden("audit.sarif", render_report(report, ".sarif"))


def test_json_schema(check_golden: Check) -> None:
    """The schema of the JSON report changes only with its golden file."""
    schema = Report.model_json_schema(mode="serialization")
    del schema["properties"]["tool_version"]["default"]

    check_golden("report.schema.json", json.dumps(schema, indent=2) + "\n")
