"""Help, version, completion, and how little has to be imported for them."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from booking_migrate import __version__
from booking_migrate.cli.app import COMMANDS, all_commands, app
from booking_migrate.domain.contract import WAIVABLE
from booking_migrate.errors import ExitCode

WIDE = {"COLUMNS": "200"}


NAMES = sorted({*COMMANDS, *all_commands()})


@pytest.mark.parametrize("command", [[], *[name.split() for name in NAMES]], ids=["root", *NAMES])
def test_help(run: Callable[..., Any], command: list[str]) -> None:
    """Every help has examples and the table of exit codes."""
    result = run(*command, "--help", env=WIDE)

    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert "Exit status" in result.stdout
    for code in ExitCode:
        assert f"{code.value:>3}  {code.meaning}" in result.stdout


@pytest.mark.parametrize("command", NAMES)
def test_no_name_is_cut_off(run: Callable[..., Any], command: str) -> None:
    """On a usual screen of 80 columns, help has every name and every default whole."""
    shown = run(*command.split(), "--help", env={"COLUMNS": "80"}).stdout

    assert "…" not in shown


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
    """--help imports no command, and nothing that only commands need."""
    heavy = {"pymongo", "bson", "pydantic", "jinja2", "tqdm", "sqlite3", "stamina"}
    output, imported = _imported_by(program, "--help")

    assert "Usage: booking-migrate [OPTIONS] COMMAND" in output
    assert "booking_migrate.cli.app" in imported
    assert (
        set() == (heavy | {f"booking_migrate.cli.{name.replace('-', '_')}" for name in COMMANDS}) & imported
    )


def test_help_of_a_command_is_without_the_driver(program: list[str]) -> None:
    """The help of a command imports that command only, and neither the driver nor what writes HTML."""
    output, imported = _imported_by(program, "migrate", "--help")

    assert "Usage: booking-migrate migrate" in output
    assert "booking_migrate.cli.migrate" in imported
    assert (
        set() == {"pymongo", "jinja2", "booking_migrate.cli.verify", "booking_migrate.cli.serve"} & imported
    )


def test_quiet_commands_import_no_renderers(program: list[str], tmp_path: Path) -> None:
    """A command that prints no result and writes no report imports the report model, which is its JSON, and no renderer."""
    source, target = tmp_path / "bookings.jsonl", tmp_path / "clients.jsonl"
    source.touch()
    _, imported = _imported_by(
        program, "migrate", "--source", str(source), "--target", str(target), "--quiet"
    )
    renderers = {"page", "pages", "terminal", "html", "ci"}

    assert "booking_migrate.reports.model" in imported
    assert set() == {f"booking_migrate.reports.{name}" for name in renderers} & imported


def _imported_by(program: list[str], *arguments: str) -> tuple[str, set[str]]:
    """Return what the program prints, and the modules that it imports for that."""
    python, flag, start = program
    listing = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    result = subprocess.run(
        [python, flag, f"{listing}; {start}", *arguments], capture_output=True, text=True, check=True
    )
    return result.stdout, set(result.stderr.split())


def test_commands_are_listed_by_panel(run: Callable[..., Any]) -> None:
    """The help of the program lists every command with its summary, under the panel of its stage."""
    shown = run("--help", env=WIDE).stdout
    places = [shown.index(f"─ {panel} ─") for panel in ("Look", "Migrate", "Go live", "Undo and end")]

    assert sorted(places) == places
    for name, entry in COMMANDS.items():
        assert any(line.split()[1:2] == [name] and entry.summary in line for line in shown.splitlines()), name


def test_unknown_command(run: Callable[..., Any]) -> None:
    """A misspelt command is a usage error that names the one that is meant."""
    result = run("migrat")

    assert 2 == result.exit_code
    assert "Did you mean 'migrate'" in " ".join(result.stderr.split())


def test_a_group_lists_its_commands(run: Callable[..., Any], program: list[str]) -> None:
    """A group lists its commands without importing them; without a verb it shows its help, a wrong verb is named."""
    output, imported = _imported_by(program, "references", "--help")

    assert "Find the fields of other collections" in " ".join(output.split())
    assert "booking_migrate.cli.references_find" not in imported
    assert "Usage: booking-migrate references [OPTIONS] COMMAND" in run("references").output
    wrong = run("references", "fnd", "--json")
    assert (2, 1) == (wrong.exit_code, wrong.stdout.count('"schema_version"'))
    assert "Did you mean 'find'" in " ".join(wrong.stderr.split())


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
