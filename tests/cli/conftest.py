"""What the tests of the command line share: a clean environment, and ways to run the program."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from booking_migrate.cli.app import app
from tests.support.forked import prepare_forking, ran

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]
RunProcess = Callable[..., "subprocess.CompletedProcess[str]"]

prepare_forking()


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, with no variable set that the program or its libraries look at."""
    for name in list(os.environ):
        if name.startswith(("BOOKING_MIGRATE_", "MONGODB_", "GITHUB_", "TTY_")):
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run() -> Run:
    """A function that runs the program in this process."""

    def invoke(*arguments: str, env: Mapping[str, str] | None = None, input: str | None = None) -> Result:  # noqa: A002
        return CliRunner().invoke(app, list(arguments), env=env, input=input, prog_name="booking-migrate")

    return invoke


@pytest.fixture
def program() -> list[str]:
    """The command that starts the program as a process of its own, in whatever folder."""
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from booking_migrate.cli.app import main; main()"
    return [sys.executable, "-c", start]


@pytest.fixture
def run_process(tmp_path: Path) -> RunProcess:
    """A function that runs the program as a process of its own."""

    def start(
        *arguments: str,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002
    ) -> "subprocess.CompletedProcess[str]":
        with (tmp_path.parent / f"{tmp_path.name}-input").open("w+", encoding="utf-8") as given:
            given.write(input or "")
            given.seek(0)
            return ran(arguments, {**os.environ, **(env or {})}, input=given)

    return start
