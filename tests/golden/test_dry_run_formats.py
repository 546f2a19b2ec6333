"""Every format of a dry-run's report, byte for byte."""

import json
from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from booking_migrate.reports.files import render_report
from booking_migrate.reports.model_dry_run import DryRunReport
from booking_migrate.reports.terminal import render_terminal
from tests.support import sample_dry_runs

Check = Callable[[str, str], None]

REPORTS = {
    "ready": sample_dry_runs.ready,
    "eventful": sample_dry_runs.eventful,
    "blocked": sample_dry_runs.blocked,
}
FORMATS = ["json", "md", "html", "xml"]


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("suffix", FORMATS)
def test_report_file(name: str, suffix: str, check_golden: Check) -> None:
    """A report file is the golden one, whatever the tool's version is."""
    report = REPORTS[name]().model_copy(update={"tool_version": "1.2.3"})

    check_golden(f"dry-run-{name}.{suffix}", render_report(report, f".{suffix}"))


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("width", [40, 100])
def test_terminal_text(name: str, width: int, check_golden: Check) -> None:
    """The text on a terminal is the golden one, wide and narrow."""
    screen = StringIO()
    Console(file=screen, width=width).print(render_terminal(REPORTS[name](), width))

    check_golden(f"dry-run-{name}.{width}.txt", screen.getvalue())


def test_it_fits_a_screen() -> None:
    """Even with everything to tell, a terminal of 100 columns needs no more than 40 lines."""
    screen = StringIO()
    Console(file=screen, width=100).print(render_terminal(sample_dry_runs.eventful(), 100))

    assert len(screen.getvalue().splitlines()) <= 40


def test_json_schema(check_golden: Check) -> None:
    """The schema of what only a dry-run tells changes only with its golden file."""
    schema = DryRunReport.model_json_schema(mode="serialization")["$defs"]["DryRunPart"]

    check_golden("dry-run.schema.json", json.dumps(schema, indent=2) + "\n")
