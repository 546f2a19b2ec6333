"""Output that cannot be written: found out before any work, or said in one line when the step itself is done."""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.cli.conftest import Run
from tests.support.booking_lines import MIXED, SOUND, booking, lines
from tests.support.server import Server, environment_of

Shell = Callable[..., "subprocess.CompletedProcess[str]"]
MIGRATE = ("migrate", "--source", "in.jsonl", "--target", "out.jsonl")
VERIFY = ("verify", "--source", "in.jsonl", "--target", "out.jsonl")


@pytest.fixture(autouse=True)
def bookings(workspace: Path) -> None:
    workspace.joinpath("in.jsonl").write_text(SOUND, encoding="utf-8")
    workspace.joinpath("mixed.jsonl").write_text(MIXED, encoding="utf-8")


@pytest.fixture
def shell(program: list[str]) -> Shell:
    """A function that runs the program in a shell, which can close and redirect its streams and limit its files."""

    def run(
        redirections: str, *arguments: str, before: str = "", env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        script = f'{before} "$@" {redirections}'
        return subprocess.run(
            ["bash", "-c", script, "bash", *program, *arguments],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.mark.each_value
@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        (">&-", "Bad file descriptor"),
        (">/dev/full", "No space left on device"),
        (">&- 0<&-", "Bad file descriptor"),
        ("| true; exit ${PIPESTATUS[0]}", "Broken pipe"),
    ],
)
@pytest.mark.parametrize(("more", "what"), [((), "result"), (("--json",), "report")])
def test_the_result_cannot_be_written(
    shell: Shell, workspace: Path, redirection: str, reason: str, more: Sequence[str], what: str
) -> None:
    """A closed, full or broken standard output leaves one line that says that the migration is done, and exit code 6."""
    # A pipe whose reader has gone is broken for sure only when the result is written.
    ended = shell(redirection, *MIGRATE, *more)

    line = f"error: migrate is done; its {what} could not be written to standard output: {reason}\n"
    assert (6, line) == (ended.returncode, ended.stderr)
    assert workspace.joinpath("out.jsonl").exists()


def test_the_reports_say_that_the_result_is_lost(shell: Shell, workspace: Path) -> None:
    """A report file that can be written has the exit code with which the command ends."""
    ended = shell(">/dev/full", *MIGRATE, "--report", "r.json")

    report = json.loads(workspace.joinpath("r.json").read_text(encoding="utf-8"))
    assert (6, 6, "OutputFailed") == (ended.returncode, report["exit_code"], report["error"]["kind"])


@pytest.mark.each_value
@pytest.mark.parametrize(
    "redirection", ["2>&-", "2>/dev/full", "2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}"]
)
@pytest.mark.parametrize("arguments", [MIGRATE, (*MIGRATE, "--verbose")])
def test_messages_that_cannot_be_written_fail_nothing(
    shell: Shell, workspace: Path, redirection: str, arguments: Sequence[str]
) -> None:
    """Without standard error the step goes on to its end, and its exit code is the step's."""
    ended = shell(redirection, *arguments)

    assert 0 == ended.returncode
    assert workspace.joinpath("out.jsonl").exists()


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">&- 2>&- 0<&-"])
def test_an_error_keeps_its_exit_code_without_standard_error(shell: Shell, redirection: str) -> None:
    """A source that does not exist is refused with 5, heard or not."""
    assert 5 == shell(redirection, "migrate", "--source", "no.jsonl", "--target", "out.jsonl").returncode


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_no_error_and_no_mismatch_is_hidden(
    run: Run, shell: Shell, workspace: Path, redirection: str
) -> None:
    """Mismatches stay 4 and a refusal 5, though the report on standard output is lost; rejected bookings make way for 6."""
    assert 0 == run(*MIGRATE).exit_code
    with workspace.joinpath("in.jsonl").open("a", encoding="utf-8") as source:
        source.write(MIXED.splitlines(keepends=True)[-1])
    codes = {
        "mismatches": shell(redirection, *VERIFY, "--json").returncode,
        "refused": shell(
            redirection, "migrate", "--source", "no.jsonl", "--target", "x.jsonl", "--json"
        ).returncode,
        "rejected": shell(
            redirection, "migrate", "--source", "mixed.jsonl", "--target", "y.jsonl"
        ).returncode,
    }

    assert {"mismatches": 4, "refused": 5, "rejected": 6} == codes


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("migrate", "--help")])
def test_help_cannot_be_written(shell: Shell, arguments: Sequence[str]) -> None:
    """Help and version end with one line, too."""
    ended = shell(">/dev/full", *arguments)

    assert 6 == ended.returncode
    assert (
        "error: the output could not be written to standard output: No space left on device\n" == ended.stderr
    )


def test_a_closed_standard_output_is_no_target(shell: Shell) -> None:
    """Client documents that nobody could get are refused before the source is read."""
    ended = shell(">&-", "migrate", "--source", "in.jsonl", "--target", "-")

    said = "error: - cannot be used: standard output is closed\nNothing was changed.\n"
    assert (5, said) == (ended.returncode, ended.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ((*MIGRATE, "--report", "no/r.html"), 2, "does not exist"),
        ((*MIGRATE, "--report", "folder.html"), 2, "is a folder"),
        (("migrate", "--source", "in.jsonl", "--target", "no/out.jsonl"), 5, "does not exist"),
        (("migrate", "--source", "in.jsonl", "--target", "folder.jsonl"), 5, "it is a directory"),
        ((*MIGRATE, "--rejects", "no/rejects.jsonl"), 5, "does not exist"),
        ((*MIGRATE, "--rejects", "folder.jsonl"), 5, "it is a directory"),
        (("migrate", "--source", "in.jsonl", "--target", "beside.jsonl"), 5, "beside.jsonl.run.json"),
        (("dry-run", "--source", "in.jsonl", "--plan", "no/plan.json"), 2, "does not exist"),
        (("dry-run", "--source", "in.jsonl", "--plan", "folder.html"), 2, "is a folder"),
        (("dry-run", "--source", "in.jsonl", "--reject-file", "no/r.jsonl"), 2, "does not exist"),
        ((*VERIFY, "--mismatches", "no/m.jsonl"), 5, "does not exist"),
        ((*VERIFY, "--mismatches", "folder.jsonl"), 5, "it is a directory"),
    ],
)
def test_paths_are_checked_before_any_work(
    run: Run, workspace: Path, arguments: Sequence[str], code: int, named: str
) -> None:
    """A path that cannot become a file is refused before the source is opened."""
    for name in ("folder.html", "folder.jsonl", "beside.jsonl.run.json"):
        workspace.joinpath(name).mkdir()
    # Reading this would wait for ever.
    workspace.joinpath("in.jsonl").unlink()
    os.mkfifo(workspace / "in.jsonl")
    result = run(*arguments)

    assert code == result.exit_code
    assert named in result.stderr


def _refused_access(path: Any, mode: int) -> bool:
    return mode & os.W_OK == 0 or Path(path).name != "readonly"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((*MIGRATE, "--report", "readonly/r.html"), 2),
        (("dry-run", "--source", "in.jsonl", "--plan", "readonly/plan.json"), 2),
        (("migrate", "--source", "in.jsonl", "--target", "readonly/out.jsonl"), 5),
        ((*MIGRATE, "--rejects", "readonly/rejects.jsonl"), 5),
        ((*VERIFY, "--mismatches", "readonly/m.jsonl"), 5),
    ],
)
def test_a_folder_that_may_not_be_written_is_refused(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str], code: int
) -> None:
    """A folder without permission is named before the source is opened."""
    workspace.joinpath("readonly").mkdir()
    # The administrator, as whom tests may run, may write everywhere.
    monkeypatch.setattr(os, "access", _refused_access)
    workspace.joinpath("in.jsonl").unlink()
    os.mkfifo(workspace / "in.jsonl")
    result = run(*arguments)

    assert code == result.exit_code
    assert "may not be written" in result.stderr


@pytest.fixture
def environment(server: Server, database: Database[dict[str, Any]]) -> dict[str, str]:
    """A database with bookings, where only reports are files; the program leaves no compiled modules behind."""
    database.bookings.insert_many(list(map(booking, range(40))))
    return {**environment_of(server.uri, database.name), "PYTHONDONTWRITEBYTECODE": "1"}


TOO_SMALL = "ulimit -f 1;"
"""No file may be larger than a KiB: what a full disk does to files of some size."""


def test_a_report_on_a_full_disk(shell: Shell, workspace: Path, environment: dict[str, str]) -> None:
    """What was done is said and shown, and nothing of the report is left."""
    ended = shell("", "migrate", "--report", "r.html", "--quiet", before=TOO_SMALL, env=environment)

    line = "error: migrate is done; its report could not be written to r.html: File too large\n"
    assert (6, line) == (ended.returncode, ended.stderr)
    assert [] == [path.name for path in workspace.iterdir() if "r.html" in path.name]
    again = shell("", "verify", "--report", "r.html", before=TOO_SMALL, env=environment)
    assert 6 == again.returncode
    assert again.stdout.startswith("Proven\n")


def test_a_plan_on_a_full_disk(shell: Shell, environment: dict[str, str]) -> None:
    """The dry-run is done, prints what it saw, and says that there is no plan."""
    ended = shell("", "dry-run", "--plan", "plan.json", before=TOO_SMALL, env=environment)

    line = "error: dry-run is done; its plan could not be written to plan.json: File too large\n"
    assert (6, line) == (ended.returncode, ended.stderr)
    assert "Ready" in ended.stdout


@pytest.mark.parametrize("source", ["bookings", "mixed.jsonl"])
def test_rejected_bookings_of_a_dry_run_on_a_full_disk(
    shell: Shell,
    workspace: Path,
    environment: dict[str, str],
    database: Database[dict[str, Any]],
    source: str,
) -> None:
    """The dry-run is done, prints what it saw, and has one line for each file that is missing."""
    database.bookings.update_many({"_id": {"$ne": booking(0)["_id"]}}, {"$set": {"duration": 5}})
    bookings = [booking(0), *(booking(number, duration=5) for number in range(1, 40))]
    workspace.joinpath("mixed.jsonl").write_text(lines(*bookings), encoding="utf-8")
    target = ("--target", "out.jsonl") if source != "bookings" else ()
    given = ("--source", source, *target, "--reject-file", "rejects.jsonl", "--plan", "plan.json")
    ended = shell("", "dry-run", *given, before=TOO_SMALL, env=environment)

    lost = "list of rejected bookings could not be written to rejects.jsonl"
    expected = [
        f"error: dry-run is done; its {lost}: File too large",
        "error: dry-run is done; its plan could not be written to plan.json: File too large",
    ]
    assert (6, expected) == (ended.returncode, ended.stderr.splitlines())
    assert "duration-too-short" in ended.stdout
    assert "Look at" not in ended.stdout
    assert [] == [path.name for path in workspace.iterdir() if "rejects" in path.name]


def test_mismatches_on_a_full_disk(
    run: Run, shell: Shell, workspace: Path, environment: dict[str, str], database: Database[dict[str, Any]]
) -> None:
    """The verification goes on to its end: exit code 4, the mismatches on the screen, and one line about the file."""
    assert 0 == run("migrate", env=environment).exit_code
    database.bookings_consolidated.update_many({}, {"$set": {"sessions.$[].notes": "changed"}})
    ended = shell(
        "", "verify", "--recheck", "0", "--mismatches", "m.jsonl", before=TOO_SMALL, env=environment
    )

    line = "error: verify is done; its list of mismatches could not be written to m.jsonl: File too large\n"
    assert (4, line) == (ended.returncode, ended.stderr)
    assert "sessions-hold-what-the-bookings-held  40" in ended.stdout
    assert "All mismatches are in" not in ended.stdout
    assert [] == [path.name for path in workspace.iterdir() if "m.jsonl" in path.name]


def test_a_question_without_standard_input(
    run: Run, shell: Shell, environment: dict[str, str], database: Database[dict[str, Any]]
) -> None:
    """A step that asks first is not confirmed where standard input is closed."""
    assert 0 == run("migrate", env=environment).exit_code
    ended = shell("0<&-", "rollback", env=environment)

    assert 5 == ended.returncode
    assert "unexpected" not in ended.stderr
    assert 4 == database.bookings_consolidated.count_documents({})


def test_the_record_beside_a_target_is_lost(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target file that stands is not called a failure when only the record of its run cannot be completed."""
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if Path(target).name == "out.jsonl.run.json" and workspace.joinpath("out.jsonl").exists():
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    result = run(*MIGRATE)

    assert 6 == result.exit_code
    assert (
        "migrate is done; its record of the run could not be written to out.jsonl.run.json" in result.stderr
    )
    monkeypatch.undo()
    monkeypatch.chdir(workspace)
    assert 0 == run(*MIGRATE).exit_code
