"""Hooks: commands of the user's before a cut-over and after the steps of a run's life."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.cli.config_file import HookName, Hooks
from booking_migrate.cli.signals import Termination, signals_raise
from booking_migrate.errors import ExitCode, HookFailed
from booking_migrate.reports.model import NextStep, Report
from tests.support.booking_lines import MIXED, SOUND, booking

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Db = Database[dict[str, Any]]

MIGRATE = ("migrate", "--source", "in.jsonl", "--target", "out.jsonl", "--config", "my.toml")
VERIFY = ("verify", "--source", "in.jsonl", "--target", "out.jsonl", "--config", "my.toml")
_PATIENCE = 60


@pytest.fixture
def hook(workspace: Path) -> Callable[..., None]:
    """A function that writes source and config file, with hooks that are Python code."""
    workspace.joinpath("in.jsonl").write_text(SOUND, encoding="utf-8")

    def write(**hooks: str) -> None:
        lines = [
            f"{name} = {json.dumps(shlex.join([sys.executable, '-c', code]))}" for name, code in hooks.items()
        ]
        text = "\n".join(["[hooks]", *lines])
        workspace.joinpath("my.toml").write_text(text, encoding="utf-8")

    return write


RECORD = """
import json, os, sys
facts = {key: value for key, value in os.environ.items() if key.startswith(("BOOKING_MIGRATE_", "MONGODB_"))}
with open(facts["BOOKING_MIGRATE_HOOK"], "w") as file:
    json.dump({"facts": facts, "report": json.load(sys.stdin)}, file)
print("it was recorded")
"""


def recorded(workspace: Path, name: str) -> dict[str, Any]:
    """What a hook that records has seen."""
    seen: dict[str, Any] = json.loads(workspace.joinpath(name).read_text(encoding="utf-8"))
    return seen


def facts(hook: str, report: Mapping[str, Any], **more: str) -> dict[str, str]:
    """The variables that a hook must have found, by the report of its step."""
    return {
        "BOOKING_MIGRATE_HOOK": hook,
        "BOOKING_MIGRATE_COMMAND": report["command"],
        "BOOKING_MIGRATE_RUN_ID": report["run_id"],
        "BOOKING_MIGRATE_SOURCE": report["source"],
        "BOOKING_MIGRATE_TARGET": report["target"],
        **more,
    }


def test_facts_and_report(workspace: Path, run_process: Run, hook: Callable[..., None]) -> None:
    """A hook after a step finds the run's facts and the report, and what it says does not get into the report."""
    hook(after_migrate=RECORD, after_verify=RECORD, after_rollback=RECORD)
    workspace.joinpath("in.jsonl").write_text(MIXED, encoding="utf-8")
    done = {
        "after_migrate": run_process(*MIGRATE, "--json"),
        "after_verify": run_process(*VERIFY, "--json"),
        "after_rollback": run_process(
            "rollback", "--target", "out.jsonl", "--yes", "--config", "my.toml", "--json"
        ),
    }

    assert [3, 0, 0] == [each.returncode for each in done.values()]
    for name, ended in done.items():
        report, seen = json.loads(ended.stdout), recorded(workspace, name)
        assert report == seen["report"]
        assert facts(name, report, BOOKING_MIGRATE_EXIT_CODE=str(ended.returncode)) == seen["facts"]
        assert "it was recorded" in ended.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(7)", "exit code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
    ],
    ids=["exit-code", "signal"],
)
def test_a_failing_hook_is_told(
    workspace: Path, run_process: Run, hook: Callable[..., None], code: str, said: str
) -> None:
    """A hook that fails after a step makes the exit code 1; on the screen and in every report the step is done."""
    hook(after_migrate=code)
    done = run_process(*MIGRATE, "--report", "report.json")
    report = json.loads(workspace.joinpath("report.json").read_text(encoding="utf-8"))

    assert 1 == done.returncode
    assert f"migrate is done, but its hook after_migrate failed: {said}" in done.stderr
    assert "Migrated" in done.stdout
    assert said in done.stdout
    assert ("HookFailed", 1, 10) == (
        report["error"]["kind"],
        report["exit_code"],
        report["counts"]["migrated"],
    )
    assert 4 == len(workspace.joinpath("out.jsonl").read_text(encoding="utf-8").splitlines())


def test_mismatches_weigh_more(workspace: Path, run_process: Run, hook: Callable[..., None]) -> None:
    """The hook after verify runs for mismatches too, and its failure does not hide them."""
    hook(after_verify="raise SystemExit(7)")
    workspace.joinpath("out.jsonl").write_text("", encoding="utf-8")
    found = run_process(*VERIFY, "--json")

    assert 4 == found.returncode
    assert "exit code 7" in found.stderr
    assert 4 == json.loads(found.stdout)["exit_code"]


def test_no_hook_without_the_step(workspace: Path, run_process: Run, hook: Callable[..., None]) -> None:
    """A command that fails runs no hook."""
    hook(after_migrate=RECORD)
    workspace.joinpath("in.jsonl").write_text("no JSON\n", encoding="utf-8")

    assert 5 == run_process(*MIGRATE).returncode
    assert not workspace.joinpath("after_migrate").exists()


def test_a_hook_that_cannot_be_run(workspace: Path, run_process: Run, hook: Callable[..., None]) -> None:
    """A program that is not there is named, and nothing else of the command."""
    hook()
    text = "[hooks]\nafter_migrate = 'no-such-program --token s3cret'"
    workspace.joinpath("my.toml").write_text(text, encoding="utf-8")
    done = run_process(*MIGRATE)

    assert 1 == done.returncode
    assert "no-such-program cannot be run (No such file or directory)" in done.stderr
    assert "s3cret" not in done.stderr


def test_no_shell(workspace: Path, run_process: Run, hook: Callable[..., None]) -> None:
    """A hook's words are split as a shell would, and nothing in them is expanded or redirected."""
    hook()
    text = "[hooks]\nafter_migrate = 'echo \"$HOME > file\" *'"
    workspace.joinpath("my.toml").write_text(text, encoding="utf-8")

    assert "$HOME > file *" in run_process(*MIGRATE).stderr
    assert not workspace.joinpath("file").exists()


def test_a_hook_that_does_not_read() -> None:
    """A hook may close its standard input unread, though the report is longer than a pipe holds."""
    report = Report(
        command="migrate",
        run_id="1",
        source="in",
        target="out",
        exit_code=ExitCode.DONE,
        next_steps=(NextStep(text="x" * 1000),) * 200,
    )
    closing = [sys.executable, "-c", "import os; os.close(0); raise SystemExit(3)"]

    with pytest.raises(HookFailed, match="exit code 3"):
        Hooks({HookName.AFTER_MIGRATE: closing}).run_after(report, str)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("hooks = 5", "hooks is not a table"),
        ("[hooks]\nafter_lunch = 'true'", "[hooks] after_lunch is not a hook"),
        ("[hooks]\nafter_migrate = ['true']", "[hooks] after_migrate is not a string"),
        ("[hooks]\nafter_migrate = ' '", "[hooks] after_migrate is not a command"),
        ("[hooks]\nafter_migrate = 'echo \"a'", "[hooks] after_migrate: no closing quotation"),
    ],
    ids=["no-table", "unknown", "no-string", "empty", "quotation"],
)
@pytest.mark.parametrize("command", ["migrate", "verify", "cutover", "rollback", "status"])
def test_mistakes(run: Run, workspace: Path, content: str, named: str, command: str) -> None:
    """A hook that cannot be one is a mistake in the config file, told before anything begins."""
    workspace.joinpath("my.toml").write_text(content, encoding="utf-8")
    result: Any = run(command, "--config", "my.toml")

    assert 2 == result.exit_code
    assert named in result.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_ends_the_hook(
    workspace: Path,
    program: list[str],
    hook: Callable[..., None],
    number: signal.Signals,
    code: int,
) -> None:
    """A signal while a hook runs ends the hook; the step is done, and its report says so."""
    hook(after_migrate="import os, time; open('pid', 'w').write(f'{os.getpid()}.'); time.sleep(600)")
    with subprocess.Popen(
        [*program, *MIGRATE, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            pid = _pid(workspace / "pid")
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=_PATIENCE)
        finally:
            process.kill()
    report = json.loads(stdout)

    assert code == process.returncode, stderr
    assert (code, "HookFailed", 10) == (
        report["exit_code"],
        report["error"]["kind"],
        report["counts"]["migrated"],
    )
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_signal_while_a_hook_is_being_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a hook is at work before the program knows its process: it is ended all the same."""
    started: list[subprocess.Popen[bytes]] = []

    class Signalled(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Signalled)
    report = Report(command="migrate", run_id="1", source="in", target="out", exit_code=ExitCode.DONE)
    hooks = Hooks({HookName.AFTER_MIGRATE: [sys.executable, "-c", "import time; time.sleep(600)"]})
    try:
        with pytest.raises(Termination), signals_raise(None):
            hooks.run_after(report, str)

        assert [-signal.SIGTERM] == [process.returncode for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()


def _pid(path: Path) -> int:
    """The process id that a hook writes there."""
    deadline = time.monotonic() + _PATIENCE
    while not (path.exists() and path.read_text(encoding="utf-8").endswith(".")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(path.read_text(encoding="utf-8").removesuffix("."))


@pytest.fixture
def shop(database: Db, server_uri: str, monkeypatch: pytest.MonkeyPatch) -> Db:
    """A database with ten bookings, which the environment names."""
    database.bookings.insert_many(map(booking, range(10)))
    monkeypatch.setenv("MONGODB_URI", server_uri)
    monkeypatch.setenv("BOOKING_MIGRATE_DB", database.name)
    return database


CUTOVER = ("cutover", "--target", "clients", "--config", "my.toml", "--yes", "--json")


def test_before_a_cutover(shop: Db, run: Any, run_process: Run, hook: Callable[..., None]) -> None:
    """A failing hook before a cut-over stops it with 5, and nothing is touched."""
    hook(before_cutover="raise SystemExit(1)", after_cutover=RECORD)
    run("migrate", "--target", "clients")
    run("verify", "--target", "clients")
    before = shop.command("dbHash")["collections"]
    stopped = run_process(*CUTOVER)
    after = shop.command("dbHash")["collections"]

    assert 5 == stopped.returncode
    assert "StoppedByHook" == json.loads(stopped.stdout)["error"]["kind"]
    assert not Path("after_cutover").exists()
    # The lock was taken and let go of, and nothing else has happened.
    before.pop("booking_migrate_locks", None)
    after.pop("booking_migrate_locks", None)
    assert before == after


def test_around_a_cutover(
    shop: Db, workspace: Path, run: Any, run_process: Run, hook: Callable[..., None]
) -> None:
    """The hook before a cut-over sees the run while its source is live, the one after it the report."""
    hook(before_cutover=RECORD, after_cutover=RECORD)
    run("migrate", "--target", "clients")
    run("verify", "--target", "clients")
    done = run_process(*CUTOVER)
    before, after = recorded(workspace, "before_cutover"), recorded(workspace, "after_cutover")
    report = json.loads(done.stdout)
    inherited = {"MONGODB_URI": os.environ["MONGODB_URI"], "BOOKING_MIGRATE_DB": shop.name}

    assert 0 == done.returncode, done.stderr
    assert report == after["report"]
    assert inherited | facts("before_cutover", report) == before["facts"]
    assert inherited | facts("after_cutover", report, BOOKING_MIGRATE_EXIT_CODE="0") == after["facts"]
    assert (10, None) == (before["report"]["counts"]["migrated"], before["report"]["cutover"])


def test_a_failing_hook_after_a_cutover(
    shop: Db, run: Any, run_process: Run, hook: Callable[..., None]
) -> None:
    """A cut-over whose hook fails is shown as done, with what it did, and exits 1."""
    hook(after_cutover="raise SystemExit(1)")
    run("migrate", "--target", "clients")
    run("verify", "--target", "clients")
    done = run_process("cutover", "--target", "clients", "--config", "my.toml", "--yes")

    assert 1 == done.returncode
    assert "Cut over" in done.stdout
    assert "writes were refused for" in done.stdout
    assert "its hook after_cutover failed" in done.stdout.replace("\n", " ")
    assert 4 == shop.bookings.count_documents({"sessions": {"$exists": True}})
