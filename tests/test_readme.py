"""README.md says what the program does: its commands are run, its tables compared."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.readme import README, block, blocks, fenced

ROOT = README.parent


@pytest.mark.parametrize("name", blocks())
def test_the_generated_tables_are_those_of_the_program(name: str) -> None:
    """Commands, exit codes, report fields, contract and reasons stand in README.md as the program has them."""
    assert blocks()[name] == block(name)


def test_the_first_command_shows_what_the_readme_shows(tmp_path: Path) -> None:
    """The README's first command, its installation aside, prints what the README says and exits with 3."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    *preparation, command = fenced("first command").strip().split(" && ")
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("BOOKING_", "MONGODB_"))
    }

    done = subprocess.run(
        [sys.executable, "-m", "booking_migrate", *command.split()[1:]],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ["python3 -m venv .venv", ".venv/bin/pip install --quiet ."] == preparation
    assert command.startswith(".venv/bin/booking-migrate migrate ")
    assert (3, _without_duration(fenced("first output"))) == (done.returncode, _without_duration(done.stdout))


def _without_duration(text: str) -> list[str]:
    """Lines without the seconds, which differ from run to run, and without the blanks at their ends."""
    return [line.rsplit(", ", 1)[0] if "->" in line else line.rstrip() for line in text.strip().splitlines()]


def test_the_test_command_installs_what_the_project_declares() -> None:
    """The README's second command installs the extra that pyproject.toml has, and runs pytest."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert "dev" in extras
    assert [
        "python3 -m venv .venv",
        ".venv/bin/pip install --quiet --editable '.[dev]'",
        ".venv/bin/python -m pytest -n 2 --dist loadfile",
    ] == (fenced("test command").strip().split(" && "))
