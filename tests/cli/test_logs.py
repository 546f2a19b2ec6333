"""Logs, metrics, annotations and the hook for failures: what listens to a command beside the screen."""

import json
import re
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from booking_migrate.cli.logs import Log
from booking_migrate.cli.options import LogFormat, LogLevel
from booking_migrate.events import Announced, Warned
from tests.support.booking_lines import MIXED, SOUND

Run = Callable[..., Any]
PLACES = ("--source", "in.jsonl", "--target", "out.jsonl")


@pytest.fixture(autouse=True)
def _source(workspace: Path) -> None:
    workspace.joinpath("in.jsonl").write_text(MIXED, encoding="utf-8")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a log in JSON."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_log_of_json(run: Run, workspace: Path) -> None:
    """Each line is one object with time, level, event, command and run; the last one has the exit code; more is added later."""
    options = ("--log-file", "log.jsonl", "--log-format", "json", "--log-level", "debug", "--quiet")
    first = run("migrate", *PLACES, *options, "--report", "r.json")
    report = json.loads(workspace.joinpath("r.json").read_text())
    logged = lines_of(workspace / "log.jsonl")
    refused = run("migrate", "--source", "missing.jsonl", "--target", "o.jsonl", *options)
    again = lines_of(workspace / "log.jsonl")[len(logged) :]

    assert (3, 5) == (first.exit_code, refused.exit_code)
    assert {report["run_id"]} == {line["run_id"] for line in logged}
    assert {"migrate"} == {line["command"] for line in logged}
    assert "started" == logged[0]["event"]
    assert {"phase-started", "chunk"} <= {line["event"] for line in logged}
    assert ("ended", "info", 3) == tuple(logged[-1][name] for name in ("event", "level", "exit_code"))
    assert ("error", "PlaceNotFound", 5) == tuple(again[-1][name] for name in ("level", "error", "exit_code"))


def test_a_log_of_text(run: Run, workspace: Path) -> None:
    """A line has time, level and message; what is less important than the level is left out."""
    run("migrate", *PLACES, "--log-file", "log.txt")
    logged = workspace.joinpath("log.txt").read_text().splitlines()
    run(
        "migrate",
        "--source",
        "missing.jsonl",
        "--target",
        "o.jsonl",
        "--log-file",
        "few.txt",
        "--log-level",
        "error",
    )
    (few,) = workspace.joinpath("few.txt").read_text().splitlines()

    assert logged[0].endswith("Z INFO    migrate started")
    assert not any("DEBUG" in line for line in logged)
    assert " ERROR   migrate ended with exit code 5: missing.jsonl does not exist" in few


def test_no_secret_is_logged(run: Run, workspace: Path) -> None:
    """A connection string's password is in no line."""
    uri = "mongodb://ann:hunter22@127.0.0.1:1/shop?serverSelectionTimeoutMS=1"
    run("migrate", "--uri", uri, "--log-file", "log.jsonl", "--log-format", "json", "--log-level", "debug")

    assert "hunter22" not in workspace.joinpath("log.jsonl").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="a device of Linux")
def test_a_log_that_cannot_be_written(run: Run) -> None:
    """A full disk ends no command: it is done, and the log is said to be incomplete (6); a folder is refused before."""
    full = run("migrate", *PLACES, "--log-file", "/dev/full")
    refused = run("migrate", *PLACES, "--log-file", ".", "--overwrite")
    clash = run("migrate", *PLACES, "--log-file", "in.jsonl", "--overwrite")

    assert 3 == run("migrate", *PLACES).exit_code
    assert (6, 2, 2) == (full.exit_code, refused.exit_code, clash.exit_code), full.stderr
    assert "its log could not be written to /dev/full" in full.stderr


def test_metrics(run: Run, workspace: Path) -> None:
    """The textfile has what was counted, the exit code and the run."""
    run("migrate", *PLACES, "--metrics", "m.prom", "--quiet")
    text = workspace.joinpath("m.prom").read_text()

    assert 'booking_migrate_exit_code{command="migrate"} 3.0' in text
    assert 'booking_migrate_bookings{command="migrate",kind="rejected"} 3.0' in text
    assert re.search(r'booking_migrate_bookings_processed_total{command="migrate"} [1-9]', text)
    assert 'booking_migrate_retries_total{command="migrate"} 0.0' in text
    assert "booking_migrate_run_info{" in text


def test_metrics_without_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the command is refused before it does anything, and says how to install it."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "booking_migrate.cli.metrics", raising=False)
    refused = run("migrate", *PLACES, "--metrics", "m.prom")

    assert 2 == refused.exit_code
    assert "booking-migrate[metrics]" in refused.stderr


def test_annotations(run: Run, workspace: Path) -> None:
    """Under GitHub Actions a rejected booking is a warning at its line, a mismatch an error; elsewhere there are none."""
    actions = {"GITHUB_ACTIONS": "true"}
    migrated = run("migrate", *PLACES, env=actions)
    target = workspace / "out.jsonl"
    target.write_text(target.read_text().replace("Resume Review", "something else", 1), encoding="utf-8")
    verified = run("verify", *PLACES, env=actions)
    silent = run("verify", *PLACES)

    assert "::warning file=in.jsonl,line=12,title=rejected%3A duration-too-short::booking " in migrated.stderr
    assert 3 == migrated.stderr.count("::warning ")
    assert 4 == verified.exit_code
    assert "::error file=in.jsonl,line=1,title=mismatch%3A content::booking " in verified.stderr
    assert "::error" not in silent.stderr


def test_the_hook_for_failures(run_process: Run, workspace: Path) -> None:
    """It runs after a command that was refused or found mismatches, with the report, and not after one that was done."""
    record = """sh -c 'cat > seen.json; echo "$BOOKING_MIGRATE_HOOK $BOOKING_MIGRATE_EXIT_CODE" > hook.txt'"""
    config = workspace / "my.toml"
    config.write_text(f"[hooks]\non_failure = {json.dumps(record)}\n", encoding="utf-8")
    done = run_process("migrate", *PLACES, "--config", "my.toml")
    was_run = workspace.joinpath("hook.txt").exists()
    workspace.joinpath("in.jsonl").write_text(SOUND, encoding="utf-8")
    failed = run_process("migrate", *PLACES, "--config", "my.toml")
    seen = json.loads(workspace.joinpath("seen.json").read_text())
    config.write_text("[hooks]\non_failure = 'false'\n", encoding="utf-8")
    twice = run_process("migrate", *PLACES, "--config", "my.toml")

    assert (3, False) == (done.returncode, was_run)
    assert (5, "on_failure 5\n") == (failed.returncode, workspace.joinpath("hook.txt").read_text())
    assert "TargetHoldsOther" == seen["error"]["kind"]
    assert 5 == twice.returncode
    assert "warning: the hook on_failure failed: exit code 1" in twice.stderr


@pytest.mark.parametrize("event", [Warned("the disk is nearly full"), Announced("the disk is nearly full")])
@pytest.mark.parametrize("form", LogFormat)
def test_a_message_is_logged_whatever_its_event_calls_it(event: Warned | Announced, form: LogFormat) -> None:
    """An event with a field `message` is a line like others."""
    stream = StringIO()
    log = Log(stream, form, LogLevel.INFO, str, {"command": "migrate"})

    log.notify(event)

    assert "the disk is nearly full" in stream.getvalue()
