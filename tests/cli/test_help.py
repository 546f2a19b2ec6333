"""Help, version, completion, and how little has to be imported for them."""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from typer.main import get_command

from booking_migrate import __version__
from booking_migrate.cli.app import app
from booking_migrate.domain.rejection import WAIVABLE
from booking_migrate.errors import EXIT_CODE_MEANINGS

COMMANDS = ["dry-run", "migrate"]
WIDE = {"COLUMNS": "200"}


@pytest.mark.parametrize("command", [[], *[[name] for name in COMMANDS]])
def test_help(run: Callable[..., Any], command: list[str]) -> None:
    """Every help has examples and the table of exit codes."""
    result = run(*command, "--help", env=WIDE)

    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert "Exit status" in result.stdout
    for code, meaning in EXIT_CODE_MEANINGS.items():
        assert f"{code.value:>3}  {meaning}" in result.stdout


def test_help_of_options(run: Callable[..., Any]) -> None:
    """Every option has a help text, and every reason that can be waived is named."""
    shown = run("migrate", "--help", env=WIDE).stdout
    commands = getattr(get_command(app), "commands", {})

    for option in (each for each in commands["migrate"].params if not getattr(each, "hidden", False)):
        assert option.opts[0] in shown
        assert option.help, option.name
    assert all(reason in shown for reason in WAIVABLE)


def test_version(run: Callable[..., Any]) -> None:
    """--version prints the version, and nothing else."""
    assert f"booking-migrate {__version__}\n" == run("--version").stdout


def test_help_is_light(program: list[str]) -> None:
    """--help imports neither the driver, nor bson, nor what reports and engines need."""
    heavy = {"pymongo", "bson", "jinja2", "tqdm", "sqlite3", "stamina"}
    python, *start = program
    result = subprocess.run(
        [python, "-X", "importtime", *start, "migrate", "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}

    assert "Usage: booking-migrate migrate" in result.stdout
    assert "booking_migrate.cli.migrate" in imported
    assert set() == heavy & imported


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(run_process: Callable[..., Any], shell: str) -> None:
    """A completion script is printed for the common shells."""
    result = run_process(env={"_BOOKING_MIGRATE_COMPLETE": f"source_{shell}"})

    assert result.returncode == 0
    assert "_BOOKING_MIGRATE_COMPLETE" in result.stdout


def test_completion_of_reasons(run_process: Callable[..., Any]) -> None:
    """The shell completes the reasons that can be waived."""
    env = {
        "_BOOKING_MIGRATE_COMPLETE": "complete_bash",
        "COMP_WORDS": "booking-migrate migrate --accept ",
        "COMP_CWORD": "3",
    }

    assert sorted(WAIVABLE) == sorted(run_process(env=env).stdout.split())
