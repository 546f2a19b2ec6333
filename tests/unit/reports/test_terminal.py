"""A command on the screen can be copied into a shell."""

import shlex
from io import StringIO

import pytest
from rich.console import Console

from booking_migrate.reports.terminal import CommandLine

COMMAND = (
    "booking-migrate migrate --source bookings --accept price-negative --accept time-invalid --overwrite"
)


@pytest.mark.parametrize("width", [30, 40, 60, 120])
def test_a_long_command_is_continued_as_a_shell_does_it(width: int) -> None:
    """However narrow the screen, what a shell makes of the lines is the command."""
    stream = StringIO()
    Console(file=stream, width=width).print(CommandLine(COMMAND))
    printed = stream.getvalue()

    assert shlex.split(COMMAND) == shlex.split(printed.replace("\\\n", ""))
    assert all(len(line) <= width for line in printed.splitlines())
