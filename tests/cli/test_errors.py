"""How errors end: the exit code, the message, one JSON document, and no secret."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from booking_migrate.cli import migrate as command
from booking_migrate.errors import (
    EXIT_CODES,
    SAME_COMMAND,
    BadConfiguration,
    BookingMigrateError,
    BrokenDocument,
    NotReady,
    PlaceNotFound,
    ServerUnreachable,
    WriteFailed,
    before_start,
)
from booking_migrate.reports import files
from tests.support.booking_lines import MIXED, SOUND

PASSWORD = "p@ss:w0rd"
QUOTED = "p%40ss%3Aw0rd"


def _raise_in_migrate(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: Any, **_named: Any) -> None:
        raise error

    monkeypatch.setattr(command, "_migrate", fail)


@pytest.mark.parametrize("kind", EXIT_CODES)
def test_exit_code(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, kind: type[BookingMigrateError]
) -> None:
    """Every kind of error has its exit code, on its own and in the JSON report."""
    _raise_in_migrate(monkeypatch, kind())
    result = run("migrate", "--json")
    report = json.loads(result.stdout)

    assert result.exit_code == EXIT_CODES[kind]
    assert report["exit_code"] == EXIT_CODES[kind]
    assert report["error"]["kind"] == kind.__name__


def test_message_and_hint(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An error is one message and one hint on standard error, on lines that are never wrapped."""
    name = "x" * 200 + ".jsonl"
    _raise_in_migrate(monkeypatch, BrokenDocument(name, "line 12", "no [bold]JSON[/bold]"))
    result = run("migrate", "--quiet")

    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"error: {name}, line 12: no [bold]JSON[/bold]",
        "Nothing was written.",
        "hint: Fix the file, or export it again.",
    ]


@pytest.mark.parametrize("target", ["out.jsonl", "-"])
def test_a_missing_file_changes_nothing(run: Callable[..., Any], target: str) -> None:
    """A place that is not found before the first write says that nothing was changed."""
    result = run("migrate", "--source", "absent.jsonl", "--target", target)

    assert ["error: absent.jsonl does not exist", "Nothing was changed."] == result.stderr.splitlines()[:2]


def test_what_is_not_known_is_not_said() -> None:
    """Whether anything was changed is said of an error that is marked as one before the start, or can only be one."""
    with pytest.raises(PlaceNotFound) as marked, before_start():
        raise PlaceNotFound("bookings")

    assert ["Nothing was changed.", ""] == [marked.value.effect, PlaceNotFound("bookings").effect]
    assert "Nothing was changed." == BadConfiguration("--db", "no valid name").effect
    assert "" == ServerUnreachable("h", "the connection was lost").effect


def test_the_same_command_in_a_hint(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is printed whole, on a line of its own, with what is added or left out; what URI stands for is said, and not its value."""
    advice = f"Usual: {SAME_COMMAND} --overwrite\nOr leave it out: {SAME_COMMAND} without --in-place --max-lag\nNot more."
    _raise_in_migrate(monkeypatch, NotReady("migrate", "it lacks x", advice))
    typed = ("migrate", "--max-lag", "5", "--source", "a b", "--uri", f"mongodb://ann:{QUOTED}@h/shop")
    result = run(*typed, "--json", "--quiet")
    commands = [
        "booking-migrate migrate --uri 'URI' --max-lag 5 --source 'a b' --json --quiet --overwrite",
        "booking-migrate migrate --uri 'URI' --source 'a b' --json --quiet",
    ]

    assert result.stderr.splitlines()[1:] == [
        "Nothing was changed.",
        "hint: Usual:",
        f"  {commands[0]}",
        "Or leave it out:",
        f"  {commands[1]}",
        "Not more.",
        "URI stands for the connection string: it may hold a password, and is not repeated.",
    ]
    assert commands == json.loads(result.stdout)["error"]["commands"]


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        (
            [],
            {"BOOKING_MIGRATE_WORKERS": "all"},
            'is "all", and must be a whole number from 1 to 64 (default 2)',
        ),
        (["--workers", "65"], {}, "must be a whole number from 1 to 64 (default 2)."),
        (["--max-rate", "fast"], {}, "must be a number"),
    ],
)
def test_a_value_that_cannot_be_used(
    run: Callable[..., Any], arguments: list[str], env: dict[str, str], said: str
) -> None:
    """An option or a variable is described as in the config file: its value, what it must be, and the default."""
    result = run("migrate", *arguments, "--json", env=env)

    assert 2 == result.exit_code
    assert said in json.loads(result.stdout)["error"]["message"]
    assert "Input should" not in result.output


@pytest.mark.parametrize("is_asked_by", ["option", "variable"])
def test_usage_error_as_json(run: Callable[..., Any], is_asked_by: str) -> None:
    """A usage error is a JSON report, too, however JSON was asked for; nothing secret is in it."""
    words = ["migrate", "--uri", f"mongodb://ann:{QUOTED}@host", "--bach-size", "5"]
    asked = is_asked_by == "option"
    result = run(*words, *(["--json"] if asked else []), env={} if asked else {"BOOKING_MIGRATE_JSON": "1"})
    report = json.loads(result.stdout)

    assert 2 == result.exit_code == report["exit_code"]
    assert ("migrate", "NoSuchOption") == (report["command"], report["error"]["kind"])
    assert "--batch-size" in report["error"]["message"]
    assert "--bach-size" in result.stderr
    assert QUOTED not in result.output


def test_documents_are_not_mixed_with_a_report(run: Callable[..., Any]) -> None:
    """Standard output that documents go to stays free of reports."""
    assert "" == run("migrate", "--target", "-", "--bach-size", "5", "--json").stdout


def test_a_variable_with_a_wrong_value_is_named(run: Callable[..., Any]) -> None:
    """The variable is named, not only the option that it stands for."""
    result = run("migrate", env={"BOOKING_MIGRATE_BATCH_SIZE": "many"})

    assert 2 == result.exit_code
    assert result.stderr.startswith('error: BOOKING_MIGRATE_BATCH_SIZE is "many", and must be a whole number')
    assert "  unset BOOKING_MIGRATE_BATCH_SIZE" in result.stderr.splitlines()


@pytest.mark.parametrize("is_variable", [False, True])
def test_a_name_that_is_not_text_is_refused(
    run_process: Callable[..., Any], workspace: Path, *, is_variable: bool
) -> None:
    """Reports and records of runs could not hold it: it is refused before anything is read, also as JSON."""
    name = os.fsdecode(b"caf\xe9.jsonl")
    workspace.joinpath(name).write_text(SOUND)
    given = {"BOOKING_MIGRATE_SOURCE": name} if is_variable else {}
    place = [] if is_variable else ["--source", name]
    done = run_process("migrate", *place, "--target", "out.jsonl", "--json", env=given)

    what = "the value of BOOKING_MIGRATE_SOURCE" if is_variable else "argument 3"
    assert 2 == done.returncode
    assert f"{what} is not text in UTF-8" in json.loads(done.stdout)["error"]["message"]
    assert "Traceback" not in done.stderr
    assert not workspace.joinpath("out.jsonl").exists()


def test_written_reports_are_acknowledged(run: Callable[..., Any], workspace: Path) -> None:
    """Each report that was written is named on standard error, and one that could not be written is not."""
    workspace.joinpath("in.jsonl").write_text(SOUND, encoding="utf-8")
    words = ("migrate", "--source", "in.jsonl", "--report", "a.md", "--report", "b.json")
    result = run(*words, "--target", "out.jsonl", "--batch-size", "5")
    quiet = run(*words, "--target", "out.jsonl", "--quiet")

    assert ["report written to a.md", "report written to b.json"] == result.stderr.splitlines()
    assert "" == quiet.stderr
    assert "options --source in.jsonl --target out.jsonl" in workspace.joinpath("a.md").read_text("utf-8")


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (KeyError("clientId"), 1)])
def test_other_errors(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    """Ctrl-C is 130; what nobody expected is 1, in one line without a traceback."""
    _raise_in_migrate(monkeypatch, error)
    result = run("migrate", "--json")

    assert code == result.exit_code == json.loads(result.stdout)["exit_code"]
    assert "Traceback" not in result.stderr


def test_unexpected_error_names_itself(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error names its kind and how to see more."""
    _raise_in_migrate(monkeypatch, KeyError("clientId"))

    assert run("migrate").stderr.splitlines() == [
        "error: unexpected error: KeyError: 'clientId'",
        "hint: --verbose shows the traceback.",
    ]
    assert "Traceback" in run("migrate", "--verbose").stderr


@pytest.mark.parametrize("how", ["option", "environment", "config"])
def test_password_is_never_shown(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, workspace: Path, how: str
) -> None:
    """Neither message, traceback, JSON nor report file shows the password, encoded or not."""
    uri = f"mongodb://ann:{QUOTED}@127.0.0.1/shop"
    _raise_in_migrate(monkeypatch, RuntimeError(f"cannot use {uri}: {PASSWORD} ({QUOTED})"))
    workspace.joinpath("my.toml").write_text(f"uri = '{uri}'", encoding="utf-8")
    given = {"option": ["--uri", uri], "environment": [], "config": ["--config", "my.toml"]}[how]
    env = {"MONGODB_URI": uri} if how == "environment" else None
    result = run("migrate", *given, "--verbose", "--json", "--report", "r.html", "--report", "r.xml", env=env)
    everything = result.output + Path("r.html").read_text() + Path("r.xml").read_text()

    assert result.exit_code == 1
    assert PASSWORD not in everything
    assert QUOTED not in everything


@pytest.mark.parametrize("arguments", [["{uri}"], ["migrate", "{uri}"], ["migrate", "--source", "{uri}"]])
def test_misplaced_uri_is_not_shown(run: Callable[..., Any], arguments: list[str]) -> None:
    """A connection string where none belongs is a usage error that does not repeat the password."""
    uri = f"mongodb://ann:{QUOTED}@host/shop"
    result = run(*[argument.format(uri=uri) for argument in arguments])

    assert result.exit_code == 2
    assert QUOTED not in result.output


def test_server_down(run_process: Callable[..., Any]) -> None:
    """No server: exit 10, one clear message, no password, no traceback."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    uri = f"mongodb://ann:{QUOTED}@127.0.0.1:{port}/shop?serverSelectionTimeoutMS=200"
    result = run_process("migrate", "--uri", uri, "--json")

    assert result.returncode == 10
    assert json.loads(result.stdout)["error"]["kind"] == "ServerUnreachable"
    assert f"127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr
    assert "ss:w0rd" not in result.stdout + result.stderr
    assert QUOTED not in result.stdout + result.stderr


def test_missing_source(run: Callable[..., Any], workspace: Path) -> None:
    """A source that is not there is refused and leaves nothing behind."""
    result = run("migrate", "--source", "missing.jsonl", "--target", "out.jsonl")

    assert result.exit_code == 5
    assert PlaceNotFound("missing.jsonl").message in result.stderr
    assert list(workspace.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batch-size", "0"],
        ["--batch-size", "100001"],
        ["--max-document-size", "0"],
        ["--max-document-size", "17MiB"],
        ["--accept", "client-id-missing"],
        ["--json-format", "xml"],
        ["--target", "-", "--json"],
        ["--sauce", "x"],
        ["--source", "in.jsonl", "--target", "./in.jsonl"],
        ["--source", "in.jsonl", "--target", "link.jsonl", "--overwrite"],
        ["--source", "in.jsonl", "--rejects", "in.jsonl", "--overwrite"],
        ["--users", "out.jsonl"],
        ["--report", "report.pdf"],
        ["--report", "missing/report.json"],
        ["--source", "in.json", "--report", "in.json"],
        ["--report", "out.jsonl.run.json"],
        ["--source", ""],
        ["--source", "bookings"],
    ],
)
def test_wrong_value(run: Callable[..., Any], workspace: Path, arguments: list[str]) -> None:
    """A wrong value is a usage error, found before anything is read or written."""
    workspace.joinpath("in.jsonl").write_text(SOUND, encoding="utf-8")
    workspace.joinpath("link.jsonl").symlink_to("in.jsonl")
    workspace.joinpath("in.json").write_text("[]", encoding="utf-8")
    before = sorted(workspace.iterdir())
    result = run("migrate", "--source", "in.jsonl", "--target", "out.jsonl", *arguments)

    assert result.exit_code == 2, result.output
    assert result.stderr != ""
    assert before == sorted(workspace.iterdir())
    assert workspace.joinpath("in.jsonl").read_text(encoding="utf-8") == SOUND


@pytest.mark.parametrize("length", [300, 250])
def test_names_that_are_too_long(run: Callable[..., Any], workspace: Path, length: int) -> None:
    """A target whose name, or the name of a file beside it, is too long for the system is refused by name."""
    workspace.joinpath("in.jsonl").write_text(SOUND, encoding="utf-8")
    name = "a" * (length - 6) + ".jsonl"
    result = run("migrate", "--source", "in.jsonl", "--target", name, "--json")

    assert result.exit_code == 5
    assert name in json.loads(result.stdout)["error"]["message"]
    assert ["in.jsonl"] == [path.name for path in workspace.iterdir()]


def test_report_that_cannot_be_written(
    run: Callable[..., Any], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a report cannot be written after the work is done, the exit code says so and the counts are kept."""
    workspace.joinpath("in.jsonl").write_text(MIXED, encoding="utf-8")

    def refuse(path: Path, *_: Any) -> None:
        raise WriteFailed(str(path), "No space left on device")

    monkeypatch.setattr(files, "replace_file", refuse)
    result = run("migrate", "--source", "in.jsonl", "--target", "out.bson", "--report", "r.md", "--json")
    report = json.loads(result.stdout)

    assert result.exit_code == 6
    assert report["error"]["kind"] == "OutputFailed"
    assert "r.md" in report["error"]["message"]
    assert report["counts"]["migrated"] == 10
    assert workspace.joinpath("out.bson").exists()


def test_what_was_undone_is_shown_without_its_report(
    run: Callable[..., Any], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback whose report file cannot be written says on the screen what it did all the same."""
    workspace.joinpath("in.jsonl").write_text(SOUND, encoding="utf-8")
    run("migrate", "--source", "in.jsonl", "--target", "out.jsonl")

    def refuse(path: Path, *_: Any) -> None:
        raise WriteFailed(str(path), "No space left on device")

    monkeypatch.setattr(files, "replace_file", refuse)
    result = run("rollback", "--target", "out.jsonl", "--yes", "--report", "r.md")

    assert 6 == result.exit_code
    assert "1 file removed" in result.stdout
    assert not workspace.joinpath("out.jsonl").exists()


def test_a_window_of_no_length(run: Callable[..., Any]) -> None:
    """`--reverse-window 0s` is a usage error that says to leave the option out."""
    result = run("cutover", "--reverse-window", "0s", "--json")

    assert 2 == result.exit_code
    assert (
        "leave it out for a cut-over without a reverse window"
        in json.loads(result.stdout)["error"]["message"]
    )
