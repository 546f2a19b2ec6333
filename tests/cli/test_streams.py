"""What goes to standard output and what to standard error."""

import json
import re
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from booking_migrate.cli import status
from booking_migrate.cli.error_output import console_on
from booking_migrate.errors import ExitCode
from booking_migrate.reports.lifecycle import LifeReport
from tests.support.booking_lines import EXPERT, MIXED, SOUND, booking, client, lines
from tests.support.bookings import ABSENT


@pytest.fixture(autouse=True)
def bookings(workspace: Path) -> None:
    workspace.joinpath("in.jsonl").write_text(SOUND, encoding="utf-8")
    workspace.joinpath("mixed.jsonl").write_text(MIXED, encoding="utf-8")


def test_file_to_file(run: Callable[..., Any], workspace: Path) -> None:
    """A clean migration exits with 0 and says so on standard output."""
    result = run("migrate", "--source", "in.jsonl", "--target", "out.jsonl")

    assert result.exit_code == 0
    assert result.stdout.startswith("Migrated\nAll 10 bookings of the source are accounted for")
    assert len(workspace.joinpath("out.jsonl").read_text(encoding="utf-8").splitlines()) == 4


def test_second_run_has_nothing_to_do(run: Callable[..., Any], workspace: Path) -> None:
    """The same again changes no byte and says so."""
    run("migrate", "--source", "in.jsonl", "--target", "out.jsonl")
    before = workspace.joinpath("out.jsonl").read_bytes()
    result = run("migrate", "--source", "in.jsonl", "--target", "out.jsonl")

    assert result.exit_code == 0
    assert result.stdout.startswith("Nothing to do\n")
    assert before == workspace.joinpath("out.jsonl").read_bytes()


def test_rejected_bookings(run: Callable[..., Any], workspace: Path) -> None:
    """Rejected bookings exit with 3, are listed by reason, and can be let through by the command suggested."""
    arguments = ["migrate", "--source", "mixed.jsonl", "--target", "out.jsonl"]
    result = run(*arguments)
    lines = [line.strip() for line in result.stdout.splitlines()]
    suggested = " ".join(line.removesuffix("\\") for line in lines if line.startswith("--")).split()
    again = run(*arguments, *suggested)

    assert result.exit_code == 3
    assert "currency-not-allowed" in result.stdout
    assert workspace.joinpath("out.jsonl.rejected.jsonl").exists()
    assert again.exit_code == 3
    assert "1 booking was rejected" in again.stdout


def test_json(run: Callable[..., Any]) -> None:
    """--json prints one document with the documented fields."""
    result = run("migrate", "--source", "mixed.jsonl", "--target", "out.jsonl", "--json")
    report = json.loads(result.stdout)

    assert result.exit_code == report["exit_code"] == 3
    assert report["schema_version"] == 1
    assert report["counts"] == {
        "scanned": 13,
        "migrated": 10,
        "already_migrated": 0,
        "rejected": 3,
        "conflicts": 0,
        "clients": 4,
        "sessions": 10,
        "client_documents": 0,
    }
    assert sum(group["count"] for group in report["rejections"]) == 3
    assert report["spent"] == {"INR": "200"}


def test_accept(run: Callable[..., Any]) -> None:
    """--accept waives the rules it names, and only those."""
    waivers = ["--accept", "duration-too-short"]
    result = run("migrate", "--source", "mixed.jsonl", "--target", "out.jsonl", *waivers, "--json")
    reasons = {group["reason"] for group in json.loads(result.stdout)["rejections"]}

    assert {"client-id-invalid", "currency-not-allowed"} == reasons


def test_contract_of_the_config_file(run: Callable[..., Any], workspace: Path) -> None:
    """The contract in the config file decides what is rejected."""
    workspace.joinpath("my.toml").write_text("[contract]\nstatuses = ['completed']\n", encoding="utf-8")
    result = run("migrate", "--source", "in.jsonl", "--target", "out.jsonl", "--config", "my.toml", "--json")

    assert json.loads(result.stdout)["rejections"][0]["reason"] == "status-not-allowed"


def test_quiet(run: Callable[..., Any]) -> None:
    """--quiet says nothing at all when all goes well."""
    result = run("migrate", "--source", "in.jsonl", "--target", "out.jsonl", "--quiet")

    assert result.exit_code == 0
    assert result.output == ""


def test_standard_streams(run_process: Callable[..., Any]) -> None:
    """With - on both sides data comes and goes through the streams, and the result goes to standard error."""
    result = run_process("migrate", "--source", "-", "--target", "-", input=SOUND)

    assert result.returncode == 0
    assert [len(result.stdout.splitlines()), sum(map(bool, map(json.loads, result.stdout.splitlines())))] == [
        4,
        4,
    ]
    assert result.stderr.startswith("Migrated\n")


@pytest.mark.parametrize(
    ("source", "target", "places"),
    [
        ("in.jsonl", "-", "--source in.jsonl --target - < clients.jsonl"),
        ("-", "clients.jsonl", "--source - --target clients.jsonl < bookings.jsonl"),
        ("-", "-", "--source bookings.jsonl --target - < clients.jsonl"),
    ],
)
def test_the_next_step_reads_streams_from_files(
    run_process: Callable[..., Any], workspace: Path, source: str, target: str, places: str
) -> None:
    """After a migration through a stream, the command that proves it does not wait for the keyboard, and proves it."""
    done = run_process("migrate", "--source", source, "--target", target, input=SOUND)
    said = done.stderr if target == "-" else done.stdout
    workspace.joinpath("bookings.jsonl").write_text(SOUND, encoding="utf-8")
    if target == "-":
        workspace.joinpath("clients.jsonl").write_text(done.stdout, encoding="utf-8")
    *step, command = " ".join(said.replace("\\\n", " ").split()).partition("Now prove the result")
    words, _, fed = command[command.index("booking-migrate") :].partition(" < ")
    verified = run_process(*words.split()[1:], input=workspace.joinpath(fed).read_text(encoding="utf-8"))

    assert f"booking-migrate verify {places}" == f"{words} < {fed}"
    assert ("writes only what has changed" in step[0]) == (target != "-")
    assert verified.returncode == 0, verified.stderr


def test_reports(run: Callable[..., Any], workspace: Path) -> None:
    """--report may be repeated, and every format is written."""
    names = ["r.json", "r.md", "r.html", "r.xml"]
    flags = [part for name in names for part in ("--report", name)]
    result = run("migrate", "--source", "mixed.jsonl", "--target", "out.jsonl", *flags)

    assert result.exit_code == 3
    assert all(workspace.joinpath(name).stat().st_size > 500 for name in names)
    assert json.loads(workspace.joinpath("r.json").read_text(encoding="utf-8"))["exit_code"] == 3


def test_report_of_a_failure(run: Callable[..., Any], workspace: Path) -> None:
    """A failed command writes its reports as well, so that CI has something to show."""
    run("migrate", "--source", "missing.jsonl", "--target", "out.jsonl", "--report", "r.json")

    report = json.loads(workspace.joinpath("r.json").read_text(encoding="utf-8"))
    assert report["error"]["kind"] == "PlaceNotFound"


def test_lookup_in_files(run: Callable[..., Any], workspace: Path) -> None:
    """Users and experts come from files, with the fields that the options name."""
    absent = dict.fromkeys(("clientUserId", "clientEmail", "expertUserId", "expertEmail"), ABSENT)
    user = {"_id": client(0), "number": "1111", "mail": "u@example.org"}
    workspace.joinpath("old.jsonl").write_text(lines(booking(0, **absent)), encoding="utf-8")
    workspace.joinpath("users.jsonl").write_text(lines(user), encoding="utf-8")
    workspace.joinpath("experts.jsonl").write_text(
        lines({"_id": EXPERT, "user": client(0)}), encoding="utf-8"
    )
    places = ["--source", "old.jsonl", "--target", "out.jsonl"]
    people = ["--users", "users.jsonl", "--experts", "experts.jsonl"]
    fields = ["--user-id-field", "number", "--user-email-field", "mail", "--expert-user-field", "user"]
    result = run("migrate", *places, *people, *fields)
    document = json.loads(workspace.joinpath("out.jsonl").read_text(encoding="utf-8"))

    assert result.exit_code == 0, result.output
    assert (document["clientUserId"], document["sessions"][0]["expertEmail"]) == ("1111", "u@example.org")


def test_no_server_is_asked_from_file_to_file(run: Callable[..., Any]) -> None:
    """A MONGODB_URI for other programs does not matter when both places are files."""
    env = {"MONGODB_URI": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1"}

    assert run("migrate", "--source", "in.jsonl", "--target", "out.jsonl", env=env).exit_code == 0


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def _shown(monkeypatch: pytest.MonkeyPatch, stream: StringIO, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    console_on(stream).print("verdict", style="bold red")
    return stream.getvalue()


def test_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escape codes are for terminals that want them: not for files, NO_COLOR or TERM=dumb, bold included."""
    assert "\x1b[" in _shown(monkeypatch, _Terminal(), TERM="xterm-256color")
    assert _shown(monkeypatch, StringIO()) == "verdict\n"
    assert _shown(monkeypatch, _Terminal(), TERM="dumb") == "verdict\n"
    assert _shown(monkeypatch, _Terminal(), TERM="xterm-256color", NO_COLOR="1") == "verdict\n"


def test_a_watched_status_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR a line that is drawn again is moved and erased, and has neither colour nor bold."""
    stream = _Terminal()
    for name, value in {"TERM": "xterm-256color", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(status, "_PAUSE", 0)
    report = LifeReport(command="status", run_id="1", source="", target="clients", exit_code=ExitCode.DONE)
    with pytest.raises(StopIteration):
        status._watch(report, iter(()))

    assert "No runs" in stream.getvalue()
    assert [] == re.findall(r"\x1b\[[0-9;]*m", stream.getvalue())


def test_nothing_that_is_read_is_overwritten_beside_the_target(
    run: Callable[..., Any], workspace: Path
) -> None:
    """A source where the rejected bookings or the record of the run would go is refused, even with --overwrite."""
    for name in ("out.jsonl.rejected.jsonl", "out.jsonl.run.json"):
        source = workspace / name
        source.write_bytes((workspace / "in.jsonl").read_bytes())

        result = run("migrate", "--source", name, "--target", "out.jsonl", "--overwrite")

        assert result.exit_code == 2
        assert source.read_bytes() == (workspace / "in.jsonl").read_bytes()


def test_standard_input_is_read_once(run: Callable[..., Any]) -> None:
    """Source and users cannot both be standard input."""
    result = run("migrate", "--source", "-", "--users", "-", "--target", "out.jsonl", input="")

    assert result.exit_code == 2
    assert "standard input is also given as --source" in result.stderr


def test_mismatches_never_replace_the_rejected_bookings(run: Callable[..., Any], workspace: Path) -> None:
    """Verify refuses to write its mismatches over the rejected bookings that it reads."""
    run("migrate", "--source", "mixed.jsonl", "--target", "out.jsonl")
    rejected = workspace / "out.jsonl.rejected.jsonl"
    before = rejected.read_bytes()

    result = run("verify", "--source", "mixed.jsonl", "--target", "out.jsonl", "--mismatches", rejected.name)

    assert result.exit_code == 2
    assert before == rejected.read_bytes()


def test_the_programs_own_collections_are_no_target(run: Callable[..., Any]) -> None:
    """Client documents do not go where rejected bookings and the journal are kept."""
    result = run(
        "migrate",
        "--source",
        "in.jsonl",
        "--target",
        "booking_migrate_rejected",
        "--uri",
        "mongodb://127.0.0.1:1/db",
    )

    assert result.exit_code == 2
    assert "its own records" in result.stderr
