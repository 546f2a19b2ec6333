"""Every format of the report of control, byte for byte."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from booking_migrate.errors import ExitCode
from booking_migrate.reports.control import ControlReport, RequestReport
from booking_migrate.reports.files import render_report
from booking_migrate.reports.model import NextStep
from booking_migrate.reports.terminal import render_terminal
from booking_migrate.runs.control import Setting

Check = Callable[[str, str], None]
_AT = datetime(2026, 11, 23, 15, 11, tzinfo=UTC)
_PAUSE = RequestReport(command="migrate", setting=Setting.PAUSE, value=True, by="ann@machine", at=_AT)
_RATE = RequestReport(command="migrate", setting=Setting.MAX_RATE, value=2000, by="bob@far", at=_AT)
REPORT = ControlReport(
    tool_version="1.2.3",
    command="control",
    run_id="20261123T151100Z-ab12cd",
    database="shop",
    source="bookings",
    target="clients",
    exit_code=ExitCode.DONE,
    changed=True,
    seconds=0.1,
    state="running",
    at_work=True,
    commands=("migrate", "verify"),
    asked=(_PAUSE,),
    holds=(_PAUSE, _RATE),
    pauses=True,
    next_steps=(
        NextStep(text="To continue:", command="booking-migrate control resume --run 20261123T151100Z-ab12cd"),
    ),
)


@pytest.mark.parametrize("suffix", ["json", "md", "html", "xml"])
def test_report_file(suffix: str, check_golden: Check) -> None:
    """A report file is the golden one."""
    check_golden(f"control.{suffix}", render_report(REPORT, f".{suffix}"))


@pytest.mark.parametrize("width", [40, 100])
def test_terminal_text(width: int, check_golden: Check) -> None:
    """The text on a terminal is the golden one, wide and narrow."""
    screen = StringIO()
    Console(file=screen, width=width).print(render_terminal(REPORT, width))

    check_golden(f"control.{width}.txt", screen.getvalue())
