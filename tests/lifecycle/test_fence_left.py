"""A cut-over whose process is gone: what refuses writes is said, and since when; a hung up terminal leaves no fence."""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.stores.mongo.cutover import MongoLive
from booking_migrate.stores.validators import FENCE
from tests.lifecycle.conftest import Command, contents, own_validator
from tests.support.booking_lines import booking
from tests.support.failpoints import Step
from tests.support.killed import GATE, stopped_at

Db = Database[dict[str, Any]]
Run = Command
Killed = Callable[..., Any]

PLACES = ("--target", "clients", "--json")
MIGRATE = ("migrate", *PLACES, "--batch-size", "5")
VERIFY = ("verify", *PLACES, "--recheck", "0")
CUTOVER = ("cutover", *PLACES, "--yes", "--max-outage", "60s")
PAUSE = 0.5


@pytest.fixture
def verified(database: Db, command: Run) -> Db:
    """A target that is proven and may be cut over."""
    database.bookings.insert_many(map(booking, range(24)))
    assert [0, 0] == command.once(MIGRATE, VERIFY)
    return database


def test_a_killed_cutover_refuses_writes(verified: Db, command: Run, killed: Killed) -> None:
    """Status says that the source refuses writes, and since when; the next cut-over counts that time, too."""
    begun = datetime.now(UTC).replace(microsecond=0)
    killed("fenced", 1, *CUTOVER)
    shown, proof = command("status"), command("verify", "--target", "clients")
    (run,) = json.loads(command("status", "--json").stdout)["runs"]
    time.sleep(PAUSE)
    since = datetime.fromisoformat(run["refuses_writes_since"])
    done = command(*CUTOVER)

    assert shown.stdout.startswith("bookings IS REFUSING WRITES since")
    assert "may refuse writes" in proof.stdout
    assert begun.timestamp() <= since.timestamp() <= datetime.now(UTC).timestamp()
    assert ["cutover", "cutover", "rollback"] == [each.split()[1] for each in run["possible"]]
    assert 0 == done.returncode, done.stderr
    assert PAUSE <= json.loads(done.stdout)["cutover"]["refused_seconds"]
    assert None is json.loads(command("status", "--json").stdout)["runs"][0]["refuses_writes_since"]
    assert {} == own_validator(verified.bookings)


def test_a_cutover_killed_behind_the_swap(verified: Db, command: Run, killed: Killed) -> None:
    """Killed between the swap and its last note, a cut-over is not said to refuse writes, and its time does not go on."""
    killed("swapped", 1, *CUTOVER)
    shown = command("status").stdout
    (run,) = json.loads(command("status", "--json").stdout)["runs"]
    time.sleep(PAUSE)
    done = command(*CUTOVER)

    assert "REFUSED WRITES" not in shown
    assert ("cutting-over", None) == (run["state"], run["refuses_writes_since"])
    assert 0 == done.returncode, done.stderr
    assert PAUSE > json.loads(done.stdout)["cutover"]["refused_seconds"]
    assert 24 == sum(len(each["sessions"]) for each in verified.bookings.find())


def test_refused_time_adds_up(verified: Db, command: Run, killed: Killed) -> None:
    """The time of every fence counts, also if two processes were killed behind it."""
    for _ in range(2):
        killed("fenced", 1, *CUTOVER)
        time.sleep(PAUSE)
    done = command(*CUTOVER)

    assert 0 == done.returncode, done.stderr
    report = json.loads(done.stdout)["cutover"]
    assert 2 * PAUSE <= report["refused_seconds"]
    assert 2 == report["earlier_attempts"]
    assert 2 * PAUSE <= report["earlier_refused_seconds"]
    assert {} == own_validator(verified.bookings)


@pytest.mark.parametrize("step", ["remove_carried", "drop"])
@pytest.mark.parametrize("next_command", [CUTOVER, ("cutover", *PLACES, "--abort")])
def test_refused_time_of_an_interrupted_recovery(
    verified: Db,
    command: Run,
    killed: Killed,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    next_command: tuple[str, ...],
) -> None:
    """If the attempt after a killed one is interrupted once writes are accepted again, the time until then still counts, once."""
    killed("fenced", 1, *CUTOVER)
    time.sleep(PAUSE)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(MongoLive, step, _interrupt)
        ended = command(*CUTOVER)
    (run,) = verified.booking_migrate_runs.find({"target": "clients"})
    done = command(*next_command)
    report = json.loads(done.stdout)
    known = report["aborted"] or report["cutover"]
    earlier = "refused_seconds" if report["aborted"] else "earlier_refused_seconds"

    assert (130, 1, None) == (ended.returncode, run["refusals"], run["fenced_at"]), ended.stderr
    assert 0 == done.returncode, done.stderr
    assert PAUSE <= run["refused_seconds"]
    assert run["refused_seconds"] == pytest.approx(known[earlier], abs=0.001)
    assert (0 if report["aborted"] else 1) == known["earlier_attempts"]
    assert {} == own_validator(verified.bookings)


def _interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_an_aborted_cutover(verified: Db, command: Run, killed: Killed) -> None:
    """Abort lifts the fence that a killed cut-over left and keeps the target, which is cut over later; twice is refused."""
    before = contents(verified)["clients"]
    killed("copied", 1, *CUTOVER)
    (run,) = json.loads(command("status", "--json").stdout)["runs"]
    aborted = command("cutover", *PLACES, "--abort")
    kept = contents(verified)
    again = command("cutover", *PLACES, "--abort")

    assert any(each.startswith("booking-migrate cutover") and "--abort" in each for each in run["possible"])
    assert 0 == aborted.returncode, aborted.stderr
    report = json.loads(aborted.stdout)["aborted"]
    assert ("bookings", 0, 0.0) == (
        report["live"],
        report["earlier_attempts"],
        report["earlier_refused_seconds"],
    )
    assert before == kept["clients"]
    assert not [name for name in kept if "legacy" in name]
    assert {} == own_validator(verified.bookings)
    assert 5 == again.returncode
    assert 0 == command(*CUTOVER).returncode


def test_a_fence_of_no_run(verified: Db, command: Run) -> None:
    """Where a fence is left and no cut-over is open, the next one names the command of the shell that lifts it."""
    verified.command({"collMod": "bookings", "validator": FENCE})
    refused = command(*CUTOVER)
    found = re.search(r"\.runCommand\((.*)\)", json.loads(refused.stdout)["error"]["hint"])
    assert found is not None, refused.stdout
    verified.command(json.loads(found[1]))

    assert 5 == refused.returncode
    assert 0 == command(*CUTOVER).returncode


def test_an_abort_behind_the_swap(verified: Db, command: Run, killed: Killed) -> None:
    """Behind the swap a cut-over cannot be aborted: it is brought to its end, and rollback is named."""
    killed("swapped", 1, *CUTOVER)
    refused = command("cutover", *PLACES, "--abort")

    assert 5 == refused.returncode
    assert "rollback" in refused.stderr
    assert ["cut-over"] == [run["state"] for run in json.loads(command("status", "--json").stdout)["runs"]]
    assert 24 == sum(len(each["sessions"]) for each in verified.bookings.find())


def test_a_refusal_after_clearing_up(verified: Db, command: Run, killed: Killed) -> None:
    """A cut-over that clears up after a killed one and then refuses says that writes are accepted again."""
    killed("fenced", 1, *CUTOVER)
    refused = command(*CUTOVER, "--accept", "price-negative")

    assert 5 == refused.returncode
    assert "bookings accepts writes again" in refused.stderr
    assert {} == own_validator(verified.bookings)


def test_another_source_is_not_taken_for_a_swap(verified: Db, command: Run, killed: Killed) -> None:
    """A killed cut-over is not cleaned up on a collection that it is not about."""
    verified.others.insert_one(booking(200))
    killed("fenced", 1, *CUTOVER)
    refused = command(*CUTOVER, "--source", "others")
    states = [run["state"] for run in json.loads(command("status", "--json").stdout)["runs"]]

    assert (5, ["cutting-over"]) == (refused.returncode, states)
    assert 0 == command(*CUTOVER).returncode
    assert 24 == sum(len(each["sessions"]) for each in verified.bookings.find())


def test_a_killed_cutover_is_rolled_back(verified: Db, command: Run, killed: Killed) -> None:
    """Rolled back instead, the source takes writes again, and nothing refuses them."""
    killed("fenced", 1, *CUTOVER)
    assert 0 == command("rollback", "--target", "clients", "--yes").returncode

    assert {} == own_validator(verified.bookings)
    assert [None] == [
        run["refuses_writes_since"] for run in json.loads(command("status", "--json").stdout)["runs"]
    ]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_lifts_the_fence(
    verified: Db, environment: Mapping[str, str], tmp_path: Path, number: int, code: int
) -> None:
    """Ended by a signal behind the fence, a cut-over says that the source takes writes again, and it does."""
    gate = tmp_path / "gate"
    process = stopped_at(Step.SETTLED, environment, gate, *CUTOVER)
    try:
        os.kill(process.pid, number)
        Path(f"{gate}.open").touch()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()

    assert code == process.returncode, said
    assert "bookings is live as before and accepts writes again." in said
    assert {} == own_validator(verified.bookings)
    verified.bookings.insert_one(booking(90))


def test_a_signal_behind_the_swap(verified: Db, environment: Mapping[str, str], tmp_path: Path) -> None:
    """Ended by a signal while the swap is protected, a cut-over says that it is complete, and it is."""
    gate = tmp_path / "gate"
    process = stopped_at(Step.SWAPPED, environment, gate, *CUTOVER)
    try:
        os.kill(process.pid, signal.SIGTERM)
        Path(f"{gate}.open").touch()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()

    assert 143 == process.returncode, said
    assert "The cut-over is complete: bookings holds the client documents." in said
    assert "could not be lifted" not in said
    assert 24 == sum(len(each["sessions"]) for each in verified.bookings.find())


def test_a_hung_up_migrate_goes_on(
    database: Db, environment: Mapping[str, str], command: Run, tmp_path: Path
) -> None:
    """A migration whose terminal is gone ends with 129 after its batch, and is continued by the same command."""
    database.bookings.insert_many(map(booking, range(24)))
    gate = tmp_path / "gate"
    process = stopped_at(Step.BATCH_WRITTEN, environment, gate, *MIGRATE)
    try:
        os.kill(process.pid, signal.SIGHUP)
        Path(f"{gate}.open").touch()
        process.communicate(timeout=60)
    finally:
        process.kill()
    (run,) = json.loads(command("status", "--json").stdout)["runs"]

    assert 129 == process.returncode
    assert ("interrupted", False) == (run["state"], run["stale"])
    assert 0 == command(*MIGRATE).returncode
    assert 24 == sum(len(each["sessions"]) for each in database.clients.find())
    assert "clients" in contents(database)
    assert GATE not in os.environ
