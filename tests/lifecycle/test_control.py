"""Pausing and changing a command from another terminal: with real processes, killed and resumed, and with everything that is asked wrongly."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest
from bson.int64 import Int64
from pymongo.database import Database

from booking_migrate.runs import regulator
from booking_migrate.runs.throttle import Pace
from tests.lifecycle.conftest import ROOT, Ended
from tests.support.application import sessions_of
from tests.support.booking_lines import booking
from tests.support.failpoints import Step
from tests.support.forked import Forked
from tests.support.killed import stopped_at

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
ME = f"{getuser()}@{gethostname()}"
SIDE_BY_SIDE = ("migrate", "--target", "clients", "--batch-size", "5")
IN_PLACE = ("migrate", "--in-place", "--batch-size", "5")
ROLLBACK = ("rollback", "--yes")
_PATIENCE = 120


@pytest.fixture(autouse=True)
def forty(database: Db) -> None:
    """Forty bookings of four clients."""
    database.bookings.insert_many(map(booking, range(40)))


def run_of(command: Run) -> Mapping[str, Any]:
    """The newest run that changed something, as status has it; empty without one."""
    runs: Sequence[Mapping[str, Any]] = json.loads(command("status", "--json").stdout)["runs"]
    return next((run for run in runs if run["state"] != "unchanged"), {})


def paused(command: Run) -> Sequence[str]:
    """The commands that are paused, by status."""
    return [each["command"] for each in run_of(command)["requests"] if each["setting"] == "pause"]


def await_line(process: Forked, log: Path, word: str) -> dict[str, Any]:
    """The first line of a process's log of this event, once it is there."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        found = [line for line in lines if line["event"] == word]
        if found:
            first: dict[str, Any] = found[0]
            return first
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, lines
        time.sleep(0.02)


def logged(log: Path) -> tuple[str, ...]:
    """The options that write a log of JSON lines."""
    return ("--log-file", str(log), "--log-format", "json")


@pytest.mark.parametrize(
    ("step", "arguments", "before", "name"),
    [
        (Step.RUN_NOTED, SIDE_BY_SIDE, (), "migrate"),
        (Step.RUN_NOTED, IN_PLACE, (), "migrate"),
        (Step.UNDO_BEGUN, (*ROLLBACK, "--target", "clients"), SIDE_BY_SIDE, "rollback"),
        (Step.UNDO_BEGUN, (*ROLLBACK, "--target", "bookings"), IN_PLACE, "rollback"),
    ],
    ids=["migrate", "in-place", "rollback", "rollback-in-place"],
)
def test_a_pause(
    environment: dict[str, str],
    command: Run,
    tmp_path: Path,
    step: Step,
    arguments: tuple[str, ...],
    before: tuple[str, ...],
    name: str,
) -> None:
    """It is said to hold once it does, before the next chunk; by whom and since when, in status, log and screen; resume ends it."""
    if before:
        assert 0 == command(*before).returncode
    log, gate = tmp_path / "log", tmp_path / "gate"
    process = stopped_at(step, environment, gate, *arguments, *logged(log))
    asked = json.loads(command("control", "pause", "--json").stdout)
    again = command("control", "pause")
    Path(f"{gate}.open").touch()
    said = await_line(process, log, "paused")
    held = command("control", "pause")
    run = run_of(command)
    shown = " ".join(command("status").stdout.split())
    busy = command(*SIDE_BY_SIDE) if name == "migrate" and arguments == SIDE_BY_SIDE else None
    resumed = command("control", "resume")
    _, errors = process.communicate(_PATIENCE)
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]

    assert (True, [name], ["pause"]) == (
        asked["changed"],
        asked["commands"],
        [each["setting"] for each in asked["asked"]],
    )
    assert "Pause requested already" in again.stdout
    assert f"pause requested by {ME} at" in again.stdout
    assert "Paused already" in held.stdout
    assert (ME, f"booking-migrate control resume --run {run['run_id']}") == (said["by"], said["resume"])
    assert (True, [(name, "pause", True, ME)]) == (
        run["alive"],
        [(each["command"], each["setting"], each["value"], each["by"]) for each in run["requests"]],
    )
    assert f"booking-migrate control resume --run {run['run_id']}" in run["possible"]
    assert f"paused by {ME} since" in shown
    assert busy is None or busy.returncode == 11
    assert 0 == resumed.returncode, resumed.stderr
    assert 0 == process.returncode, errors
    assert f"paused by {ME} since" in errors
    assert f"resumed by {ME} after" in errors
    assert events.index("paused") < events.index("resumed")
    assert [] == run_of(command)["requests"]


def test_a_rate_from_the_start(command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--max-rate holds side by side as in place; a target file has no rate, which is said before anything is read."""
    rates: list[float] = []

    class Noted(Pace):
        def __init__(self, rate: float, **parts: Any) -> None:
            rates.append(rate)
            super().__init__(rate, **parts)

    monkeypatch.setattr(regulator, "Pace", Noted)
    done = [command(*arguments, "--max-rate", "5000") for arguments in (SIDE_BY_SIDE, IN_PLACE)]
    refused = command("migrate", "--target", str(tmp_path / "clients.jsonl"), "--max-rate", "5000")

    assert ([0, 5], [5000.0]) == ([each.returncode for each in done], rates[:1]), done[0].stderr
    assert (2, True) == (refused.returncode, "--max-rate" in refused.stderr)


def test_a_pause_survives_a_kill(
    database: Db, environment: dict[str, str], command: Run, killed: Callable[..., int], tmp_path: Path
) -> None:
    """A killed run can be paused; the same command is paused and says so, a rollback is not, and resume works before and meanwhile."""
    killed("batch-written", 1, *SIDE_BY_SIDE)
    database.booking_migrate_locks.update_many({}, [{"$set": {"until": {"$toDate": Int64(0)}}}])
    stale = command("control", "pause")
    log = tmp_path / "log"
    with Forked((*SIDE_BY_SIDE, *logged(log)), environment, folder=ROOT) as process:
        await_line(process, log, "paused")
        process.kill()
    still = paused(command)
    command("control", "set", "max-rate=1000")
    first = command("control", "resume")
    assert 0 == command("control", "pause").returncode
    undone = command(*ROLLBACK, "--target", "clients")

    assert "No command is working on the run" in " ".join(stale.stdout.split())
    assert ["migrate"] == still
    assert "Pause lifted" in first.stdout
    assert 0 == undone.returncode, undone.stderr
    assert 0 == command(*SIDE_BY_SIDE).returncode


def test_settings(environment: dict[str, str], command: Run, tmp_path: Path) -> None:
    """A rate and a lag hold from the next chunk on, are said and shown, and can be removed; another one does not apply."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    process = stopped_at(Step.RUN_NOTED, environment, gate, *IN_PLACE, *logged(log))
    done = command("control", "set", "max-rate=1", "max-lag=10")
    Path(f"{gate}.open").touch()
    await_line(process, log, "adjusted")
    shown = " ".join(command("status").stdout.split())
    refused = command("control", "set", "workers=2")
    faster = command("control", "set", "max-rate=none")
    _, errors = process.communicate(_PATIENCE)

    assert "Settings changed" in done.stdout
    assert f"max-rate 1, set by {ME} at" in shown
    assert f"max-lag 10, set by {ME} at" in shown
    assert 5 == refused.returncode
    assert "workers does not apply to migrate" in " ".join(refused.stderr.split())
    assert "hint: What applies to it: pause, max-rate, max-lag" in " ".join(refused.stderr.split())
    assert "--in-place" in refused.stderr
    assert refused.stderr.rstrip().endswith("--workers 2")
    assert "max-rate 1, set by control, stays and max-lag 10, set by control, stays" in " ".join(
        refused.stderr.split()
    )
    assert 0 == faster.returncode, faster.stderr
    assert 0 == process.returncode, errors
    assert f"max-rate is 1 from now on, set by {ME}" in errors
    assert f"max-rate is none from now on, set by {ME}" in errors


def test_a_verification_is_paused(
    database: Db, environment: dict[str, str], command: Run, tmp_path: Path
) -> None:
    """A verify that records its result can be paused, though it holds no lock; when it has ended, nothing can be asked of it."""
    command(*SIDE_BY_SIDE)
    run_id = run_of(command)["run_id"]
    pause = {"value": True, "by": "ann@machine", "at": datetime.now(UTC)}
    database.booking_migrate_runs.update_one({"_id": run_id}, {"$set": {"control.verify.pause": pause}})
    log = tmp_path / "log"
    with Forked(("verify", "--target", "clients", *logged(log)), environment, folder=ROOT) as process:
        said = await_line(process, log, "paused")
        seen = paused(command)
        resumed = command("control", "resume")
        process.communicate(_PATIENCE)
    ended = command("control", "pause")

    assert "ann@machine" == said["by"]
    assert ["verify"] == seen
    assert 0 == resumed.returncode, resumed.stderr
    assert 0 == process.returncode
    assert 12 == ended.returncode
    assert "no command is working on a run in" in ended.stderr


def test_a_paused_follower(database: Db, environment: dict[str, str], command: Run, tmp_path: Path) -> None:
    """It keeps what changes and its lock, is not ready meanwhile, loses nothing by a kill, and brings everything in when resumed."""
    log = tmp_path / "log"
    follow = ("migrate", "--target", "clients", "--follow")

    def await_facts(process: Forked, *, ready: bool) -> Mapping[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while True:
            run = run_of(command)
            facts = run.get("follow") or {}
            if run.get("alive") and facts.get("state") == "following" and facts["ready"] is ready:
                return run
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, run
            time.sleep(0.05)

    with Forked((*follow, *logged(log)), environment, folder=ROOT) as process:
        await_facts(process, ready=True)
        refused = command("control", "set", "workers=3")
        command("control", "pause")
        await_line(process, log, "paused")
        database.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "meanwhile"}})
        run = await_facts(process, ready=False)
        deadline = time.monotonic() + 20
        while not database.booking_migrate_dirty.count_documents({}):
            assert time.monotonic() < deadline, (process.poll(), log.read_text(), run_of(command))
            time.sleep(0.02)
        before = notes_of(database, 0)
        process.kill()
    database.booking_migrate_locks.update_many({}, [{"$set": {"until": {"$toDate": Int64(0)}}}])
    again = tmp_path / "again"
    with Forked((*follow, *logged(again)), environment, folder=ROOT) as process:
        await_line(process, again, "paused")
        command("control", "resume")
        await_facts(process, ready=True)
        after = notes_of(database, 0)
        process.kill()

    assert "workers does not apply to migrate" in " ".join(refused.stderr.split())
    assert refused.stderr.rstrip().endswith("--follow --workers 3")
    assert "paused" in run["follow"]["not_ready"]
    assert run["follow"]["oplog_seconds_left"] is not None
    assert ("meanwhile", "meanwhile") != (before, after)
    assert "meanwhile" == after


def notes_of(database: Db, number: int) -> Any:
    """The notes in a booking's session."""
    found = sessions_of(database["clients"])[0].get(booking(number)["_id"])
    return None if found is None else found[1]


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (
            ("pause",),
            12,
            "no command is working on a run in test_",
            "hint: A pause or a setting needs",
        ),
        (("pause", "--run", "unknown"), 12, "found no run unknown", "hint: Is --db right? To see every run"),
        (
            ("pause", "--run", "DONE"),
            5,
            "is done, and no command is working on it",
            "hint: A pause or a setting",
        ),
        (("set",), 2, "no setting is named", "hint: Name what to change"),
        (("set", "max_rat=5"), 2, "unknown setting 'max_rat'", "hint: Did you mean max-rate?"),
        (
            ("set", "max-rate=fast"),
            2,
            "max-rate cannot be 'fast'",
            "use a number of at least 1, or the word none",
        ),
        (("set", "workers=2.5"), 2, "workers cannot be '2.5'", "use a whole number from 1 to 64"),
        (
            ("set", "max_rate=fast", "max-lag=10", "workers=many"),
            2,
            "unknown setting 'max_rate'; max-rate cannot be 'fast'; workers cannot be 'many'",
            "Such as: booking-migrate control set max-rate=2000 max-lag=10 workers=4",
        ),
        (("set", "max-lag"), 2, "max-lag cannot be ''", "use a number of at least 0, or the word none"),
        (
            ("pause", "max-rate=5"),
            2,
            "pause takes no settings",
            "hint: To change settings: booking-migrate control set max-rate=5",
        ),
        (
            ("pause", "--target", "clients.jsonl"),
            5,
            "a run into a file cannot be controlled",
            "hint: Stop it with Ctrl-C",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input(command: Run, arguments: tuple[str, ...], code: int, message: str, hint: str) -> None:
    """Each mistake has one message and one hint."""
    command(*SIDE_BY_SIDE)
    run_id = run_of(command)["run_id"]
    ended = command("control", *(run_id if each == "DONE" else each for each in arguments))
    said = " ".join(ended.stderr.split())

    assert code == ended.returncode, said
    assert message in said
    assert hint in said
    assert 1 == said.count("hint:")


def test_a_cutover_is_not_paused(environment: dict[str, str], command: Run, tmp_path: Path) -> None:
    """While writes are refused, a pause is refused with the way to abort."""
    command(*SIDE_BY_SIDE)
    command("verify", "--target", "clients")
    process = stopped_at(
        Step.FENCED, environment, tmp_path / "gate", "cutover", "--target", "clients", "--yes"
    )
    refused = command("control", "pause")
    said = " ".join(refused.stderr.split())
    (tmp_path / "gate.open").touch()
    process.communicate(_PATIENCE)

    assert 5 == refused.returncode
    assert "cannot be paused or changed while it is running" in said
    assert "--abort" in said
