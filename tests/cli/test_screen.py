"""What is printed fits odd terminals, and what is meant to be copied can be."""

import os
import pty
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from booking_migrate.reports.text import continued
from tests.cli.conftest import Run, RunProcess
from tests.support.booking_lines import MIXED, booking, lines

MIGRATE = ("migrate", "--source", "mixed.jsonl", "--target", "a_folder/out.jsonl")
ODD = [
    {"COLUMNS": "0"},
    {"COLUMNS": "abc"},
    {"COLUMNS": "-1"},
    {"COLUMNS": "²"},
    {"COLUMNS": ""},
    {"COLUMNS": "9" * 5000},
    {"LINES": "0"},
    {"LINES": "abc", "COLUMNS": "0"},
    {"TERM": "dumb"},
    {"TERM": ""},
    {"TERM": "no-such-terminal", "COLUMNS": "0"},
]


@pytest.fixture(autouse=True)
def bookings(workspace: Path) -> None:
    workspace.joinpath("a_folder").mkdir()
    workspace.joinpath("mixed.jsonl").write_text(MIXED, encoding="utf-8")


@pytest.mark.parametrize("variables", ODD)
def test_odd_terminals(run_process: RunProcess, variables: dict[str, str]) -> None:
    """A size that no terminal has is taken for none at all, in reports and in help."""
    usual, odd = (run_process("migrate", "--help", env=env).stdout for env in ({}, variables))
    ended = run_process(*MIGRATE, env=variables)

    assert usual == odd
    assert (3, "") == (ended.returncode, ended.stderr)
    assert ended.stdout.startswith("Done, but 3 bookings were rejected\n")


@pytest.mark.parametrize("variables", ODD)
def test_odd_terminals_with_a_bar(program: list[str], variables: dict[str, str]) -> None:
    """A terminal that says that it has no size gets the result, and a bar where it can show one."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [*program, *MIGRATE],
            env={**os.environ, **variables},
            stdout=theirs,
            stderr=theirs,
            stdin=subprocess.DEVNULL,
        ) as process:
            os.close(theirs)
            shown = _everything(ours)
    finally:
        os.close(ours)

    assert 3 == process.returncode
    assert b"bookings were rejected" in shown
    assert b"Traceback" not in shown


def _everything(descriptor: int) -> bytes:
    shown = b""
    while True:
        try:
            block = os.read(descriptor, 1 << 16)
        except OSError:  # How Linux says that the other end of a terminal is closed.
            return shown
        if not block:
            return shown
        shown += block


@pytest.mark.parametrize(
    "arguments", [MIGRATE, ("migrate", "--help"), ("--help",), ("dry-run", "--source", "mixed.jsonl")]
)
@pytest.mark.parametrize("columns", ["40", "80", "130"])
def test_no_line_ends_in_blanks(run_process: RunProcess, arguments: Sequence[str], columns: str) -> None:
    """Lines that are wrapped are not padded, least of all behind a backslash."""
    ended = run_process(*arguments, env={"COLUMNS": columns})

    assert [] == [line for line in ended.stdout.splitlines() if line != line.rstrip()]


@pytest.mark.parametrize(
    "command", ["migrate", "dry-run", "verify", "cutover", "rollback", "finalize", "view"]
)
def test_examples_in_help_can_be_copied(run_process: RunProcess, command: str) -> None:
    """At 80 columns an example stands as it must be typed: each line but the last ends in a backslash."""
    text = run_process(command, "--help", env={"COLUMNS": "80"}).stdout
    examples = text.partition("Examples\n")[2].partition("╭")[0].splitlines()

    for place, line in enumerate(examples):
        indent = len(line) - len(line.lstrip())
        assert indent in {0, 3, 5, 7}
        assert (indent == 7) == (place > 0 and examples[place - 1].endswith("\\"))


@pytest.mark.parametrize("width", [12, 30, 40, 60, 79, 80, 81, 200])
@pytest.mark.parametrize(
    "command",
    [
        "booking-migrate verify --in-place",
        "booking-migrate migrate --source bookings --target bookings_consolidated --restart",
        "booking-migrate rollback --run 20261128T041200Z-ab12cd --target 'a name -- with blanks.jsonl' --yes",
        "booking-migrate migrate --accept price-negative time-invalid --config '/etc/a long/path of a file.toml'",
        "--accept price-negative",
    ],
)
def test_a_command_is_continued_only_where_it_must_be(command: str, width: int) -> None:
    """A shell reads the command as it was, no line is wider than needed, and no backslash stands where none must."""
    printed = continued(command, width)

    assert shlex.split(command) == shlex.split("\n".join(printed).replace("\\\n", ""))
    longest_word = max(len(shlex.quote(word)) for word in shlex.split(command))
    assert max(map(len, printed)) <= max(width, longest_word + len(" \\"))
    assert (len(command) <= width) == (len(printed) == 1)


def test_a_very_small_sample(run: Run, workspace: Path) -> None:
    """However few bookings are asked for, some are in the sample if the source has any."""
    many = lines(*(booking(number) for number in range(400)))
    workspace.joinpath("many.jsonl").write_text(many, encoding="utf-8")
    for size in ("1", "5"):
        result = run("dry-run", "--source", "many.jsonl", "--target", "out.jsonl", "--sample", size)

        assert 0 == result.exit_code
        assert result.stdout.startswith("Ready, judging by a sample")
