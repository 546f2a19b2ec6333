"""No page names a command or an option that the program does not take."""

import re
import shlex
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import typer
import typer.main
from typer.core import TyperGroup

from booking_migrate.cli.app import app
from booking_migrate.cli.window import DEFAULT_OUTAGE
from booking_migrate.quantities import span
from booking_migrate.runs import control
from booking_migrate.runs.plan import Limits
from booking_migrate.stores.locks import LEASE_SECONDS
from booking_migrate.stores.mongo.retry import RETRY_TIMEOUT
from tests.support.readme import README, ROOT, pages

RUNBOOK = ROOT / "examples" / "runbook.md"
STORES = ROOT / "booking_migrate" / "stores" / "README.md"
CONTAINERS = ROOT / "examples" / "containers.md"
IN_PLACE = ROOT / "examples" / "in-place.md"
CUTOVER = ROOT / "examples" / "cutover.md"
ROLLBACK = ROOT / "examples" / "rollback.md"


def _commands(page: Path) -> Iterator[str]:
    """Every command in a page's shell blocks, with its continuation lines."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.partition(" #")[0].split("&&"):
                words = part.split(maxsplit=1)
                if words and words[0].removeprefix(".venv/bin/") == "booking-migrate":
                    yield words[1]


COMMANDS = sorted({command for page in pages() for command in _commands(page)})


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_in_a_page_is_one(line: str) -> None:
    """Its name and its options are accepted as they are written."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    name, *arguments = shlex.split(line)
    command = group.commands[name]
    parent = typer.Context(group, info_name="booking-migrate")
    if isinstance(command, TyperGroup):
        parent = typer.Context(command, info_name=name, parent=parent)
        name, *arguments = arguments
        command = command.commands[name]

    with command.make_context(name, arguments, parent=parent) as context:
        assert name == context.info_name


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (RUNBOOK, f"The lock of a process that has ended expires after {span(LEASE_SECONDS)}"),
        (CONTAINERS, f"once the lock of the killed run has expired ({LEASE_SECONDS:g} s;"),
        (RUNBOOK, f"or without a majority, for longer than {span(RETRY_TIMEOUT)};"),
        (STORES, f"are waited out for up to {span(RETRY_TIMEOUT)}."),
        (RUNBOOK, f"refused at the start, or ends after {span(RETRY_TIMEOUT)}."),
        (README, f"| writes are refused | for {span(Limits().outage)} at most;"),
        (CUTOVER, f"`--max-outage {DEFAULT_OUTAGE}` is the longest:"),
        (ROLLBACK, f"an attempt that would take longer than `--max-outage {DEFAULT_OUTAGE}` is aborted"),
        (RUNBOOK, f"*attempt 1 of {Limits().attempts} aborted*:"),
    ],
)
def test_the_limits_of_time_and_attempts_are_those_of_the_program(page: Path, sentence: str) -> None:
    """For how long a lock lasts, a server is waited for and a cut-over may refuse writes, and how often, is said as it is."""
    assert sentence in " ".join(page.read_text(encoding="utf-8").split())


def test_a_process_that_waits_for_the_server_does_not_count_as_ended() -> None:
    """One without a lock gives a sign of life between two chunks, and may be waiting for the server within one."""
    assert timedelta(seconds=RETRY_TIMEOUT) <= control._SIGN_OF_LIFE_TIMEOUT


@pytest.mark.parametrize(
    ("page", "steps"),
    [
        (
            RUNBOOK,
            {"init", "preflight", "dry-run", "migrate", "verify", "cutover", "status", "explain", "finalize"},
        ),
        (IN_PLACE, {"migrate", "verify", "finalize", "view"}),
    ],
    ids=["side by side", "in place"],
)
def test_a_runbook_has_every_step(page: Path, steps: set[str]) -> None:
    """The commands that an operator needs are all in it."""
    assert steps == {command.split()[0] for command in _commands(page)}
