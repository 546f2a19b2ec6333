"""The operator's runbook says nothing that the program does not take."""

import re
import shlex

import pytest
import typer
import typer.main
from typer.core import TyperGroup

from booking_migrate.cli.app import app
from tests.support.readme import README

RUNBOOK = (README.parent / "examples" / "runbook.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"^ *booking-migrate (.+)$", RUNBOOK, re.MULTILINE)))


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_runbook_is_one(line: str) -> None:
    """Its name and its options are taken as they stand."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    name, *arguments = shlex.split(line)
    command = group.commands[name]

    with command.make_context(
        name, arguments, parent=typer.Context(group, info_name="booking-migrate")
    ) as context:
        assert name == context.info_name


def test_the_runbook_knows_every_step() -> None:
    """The commands that an operator needs are all in it."""
    assert {"dry-run", "migrate", "verify", "cutover", "rollback", "status", "finalize"} == {
        line.split()[0] for line in COMMANDS
    }
