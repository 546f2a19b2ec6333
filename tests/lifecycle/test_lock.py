"""One run at a time works on a target; a dead one is no obstacle, and one that was taken for dead writes nothing."""

import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.stores.connection import Connection, open_journal
from booking_migrate.stores.locks import Holder
from tests.lifecycle.conftest import Ended, contents
from tests.support.failpoints import Step
from tests.support.forked import Forked
from tests.support.killed import waiting_at
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Killed = Callable[..., Any]

MIGRATE = ("migrate", "--target", "clients", "--batch-size", "5", "--json", "--quiet")
_PATIENCE = 120
_HOLDER = Holder(run_id="first", command="migrate", user="someone", host="elsewhere", pid=1, birth="")


@contextmanager
def _waiting(step: Step, environment: Mapping[str, str], gate: Path, *arguments: str) -> Iterator[Forked]:
    """The program as a process that waits at a step until ``gate.open`` is made; killed in the end if it still runs."""
    with waiting_at(step, environment, gate, *arguments) as process:
        try:
            yield process
        finally:
            # It may still wait at the gate, or be stopped, if a test has failed.
            process.kill()


def _await(path: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


@pytest.mark.usefixtures("bookings")
def test_twenty_at_once(database: Db, environment: dict[str, str], tmp_path: Path) -> None:
    """Of twenty processes started at once one works, and nineteen exit 11, name it, and have written nothing."""
    gate = tmp_path / "gate"
    before = contents(database)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(_waiting(Step.LOCKED, environment, gate, *MIGRATE)) for _ in range(20)
        ]
        deadline = time.monotonic() + _PATIENCE
        while (left := sum(process.poll() is None for process in processes)) > 1:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
        _await(Path(f"{gate}.reached"))
        meanwhile = contents(database)
        worker = next(process for process in processes if process.poll() is None)
        Path(f"{gate}.open").touch()
        told = [process.communicate(timeout=_PATIENCE) for process in processes]

    assert [3] + [11] * 19 == sorted(process.returncode for process in processes)
    assert before == meanwhile
    assert 4 == database.clients.count_documents({})
    (run,) = database.booking_migrate_runs.find({})
    assert ("done", worker.pid) == (run["state"], run["pid"])
    for process, (_, stderr) in zip(processes, told, strict=True):
        if process is not worker:
            assert f"process {worker.pid}" in stderr


@pytest.mark.usefixtures("bookings")
def test_a_paused_process_that_wakes_late_writes_nothing(
    database: Db, environment: dict[str, str], command: Run, tmp_path: Path
) -> None:
    """A process whose lease expired and was taken over exits 11, and the target is its successor's work alone."""
    gate = tmp_path / "gate"
    with _waiting(Step.RANGE_NOTED, environment, gate, *MIGRATE) as sleeper:
        _await(Path(f"{gate}.reached"))
        os.kill(sleeper.pid, signal.SIGSTOP)
        # What the passing of time would do: the lease is over.
        database.booking_migrate_locks.update_one({}, [{"$set": {"until": "$at"}}])
        successor = command(*MIGRATE)
        undone = command("rollback", "--target", "clients", "--yes")
        before = contents(database)
        Path(f"{gate}.open").touch()
        os.kill(sleeper.pid, signal.SIGCONT)
        stdout, _ = sleeper.communicate(timeout=_PATIENCE)

    assert (3, 0) == (successor.returncode, undone.returncode), successor.stderr + undone.stderr
    assert (11, "LeaseLost") == (sleeper.returncode, json.loads(stdout)["error"]["kind"])
    assert before == contents(database)


def test_a_released_lock_is_free_whatever_the_clock_says(database: Db, server_uri: str) -> None:
    """A new primary whose clock is behind does not take a lock that was released for one that is held."""
    with closing(Connection(server_uri, database.name)) as connection:
        _, locks, _ = open_journal(connection)
        locks.release(locks.acquire("clients", _HOLDER))
        later = {"$add": ["$$NOW", 3_600_000]}
        database.booking_migrate_locks.update_one({}, [{"$set": {"at": later, "until": later}}])

        assert 2 == locks.acquire("clients", _HOLDER._replace(run_id="next")).token


@pytest.mark.usefixtures("bookings")
def test_rollback_waits_for_its_turn(environment: dict[str, str], command: Run, tmp_path: Path) -> None:
    """While a run is at work, neither migrate nor rollback starts; status says who works."""
    gate = tmp_path / "gate"
    with _waiting(Step.BATCH_WRITTEN, environment, gate, *MIGRATE) as worker:
        _await(Path(f"{gate}.reached"))
        refused = [command(*MIGRATE), command("rollback", "--target", "clients", "--yes")]
        (run,) = json.loads(command("status", "--json").stdout)["runs"]
        Path(f"{gate}.open").touch()
        worker.communicate(timeout=_PATIENCE)

    assert [11, 11] == [each.returncode for each in refused]
    assert ("running", True, False, []) == tuple(run[key] for key in ("state", "alive", "stale", "possible"))
    assert 3 == worker.returncode


@pytest.mark.usefixtures("bookings")
def test_a_killed_run_is_called_stale(command: Run, killed: Killed) -> None:
    """Status calls a killed run stale, says since when, and names the commands that go on, start over and undo."""
    killed(Step.BATCH_WRITTEN.value, 1, *MIGRATE)
    shown = command("status")
    (run,) = json.loads(command("status", "--json").stdout)["runs"]

    assert "interrupted, its process has ended" in shown.stdout
    assert (False, True) == (run["alive"], run["stale"])
    assert [
        "booking-migrate migrate --source bookings --target clients",
        "booking-migrate migrate --source bookings --target clients --restart",
        f"booking-migrate rollback --run {run['run_id']}",
    ] == run["possible"]


@pytest.mark.usefixtures("bookings")
@pytest.mark.parametrize("ending", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_after_its_batch(
    database: Db,
    environment: dict[str, str],
    command: Run,
    tmp_path: Path,
    ending: tuple[signal.Signals, int],
) -> None:
    """The first signal lets the batch come to its end, notes the run down as interrupted and says how to go on."""
    gate = tmp_path / "gate"
    number, code = ending
    with _waiting(Step.RANGE_NOTED, environment, gate, *MIGRATE) as worker:
        _await(Path(f"{gate}.reached"))
        worker.send_signal(number)
        Path(f"{gate}.open").touch()
        _, stderr = worker.communicate(timeout=_PATIENCE)
    written = database.clients.count_documents({})
    (run,) = json.loads(command("status", "--json").stdout)["runs"]

    assert code == worker.returncode, stderr
    assert "Run the same command again" in stderr
    assert ("interrupted", False) == (run["state"], run["stale"])
    assert 1 < written < 4
    assert 3 == command(*MIGRATE).returncode
    assert 4 == database.clients.count_documents({})


@pytest.mark.usefixtures("bookings")
def test_a_second_signal_ends_at_once(environment: dict[str, str], command: Run, tmp_path: Path) -> None:
    """A first Ctrl-C says that it waits for the batch; a second one does not wait, and the run can still be continued."""
    gate = tmp_path / "gate"
    with _waiting(Step.RANGE_NOTED, environment, gate, *MIGRATE) as worker:
        _await(Path(f"{gate}.reached"))
        worker.send_signal(signal.SIGINT)
        # Between two batches the first one is not held back, but the end waits for the batch.
        assert select.select([worker.stderr], [], [], _PATIENCE)[0]
        assert "Finishing the current batch; once more ends at once.\n" == worker.stderr.readline()
        worker.send_signal(signal.SIGINT)
        worker.communicate(timeout=_PATIENCE)

    assert 130 == worker.returncode
    assert 3 == command(*MIGRATE).returncode


@pytest.mark.usefixtures("bookings")
def test_a_repeated_hangup_is_one(
    environment: dict[str, str], database: Db, command: Run, tmp_path: Path
) -> None:
    """Shell and kernel both send SIGHUP when a terminal closes: the batch is finished and the run is interrupted, not killed."""
    gate = tmp_path / "gate"
    with _waiting(Step.RANGE_NOTED, environment, gate, *MIGRATE) as worker:
        _await(Path(f"{gate}.reached"))
        worker.send_signal(signal.SIGHUP)
        assert "Finishing the current batch" in worker.stderr.readline()
        for _ in range(3):
            worker.send_signal(signal.SIGHUP)
        Path(f"{gate}.open").touch()
        stdout, stderr = worker.communicate(timeout=_PATIENCE)
    (run,) = json.loads(command("status", "--json").stdout)["runs"]

    assert 129 == worker.returncode, stderr
    assert 129 == json.loads(stdout)["exit_code"]
    assert ("interrupted", False) == (run["state"], run["stale"])
    assert 1 < database.clients.count_documents({}) < 4


@pytest.mark.usefixtures("bookings")
def test_a_limit_to_the_lag(command: Run) -> None:
    """With --max-lag, a replica set without lagging secondaries holds nothing up."""
    assert 3 == command(*MIGRATE, "--max-lag", "5").returncode


@pytest.mark.usefixtures("bookings")
def test_an_election_is_waited_out(
    server: Server, database: Db, environment: dict[str, str], command: Run, tmp_path: Path
) -> None:
    """A primary that steps down in the middle of a run is waited for, and the result is that of a run without it."""
    gate = tmp_path / "gate"
    undisturbed = command(*MIGRATE)
    expected = contents(database)
    command("rollback", "--target", "clients", "--yes")
    with _waiting(Step.BATCH_WRITTEN, environment, gate, *MIGRATE) as worker:
        _await(Path(f"{gate}.reached"))
        server.client().admin.command("replSetStepDown", 2, force=True)
        Path(f"{gate}.open").touch()
        stdout, stderr = worker.communicate(timeout=_PATIENCE)

    assert 3 == worker.returncode, stderr
    assert expected == contents(database)
    assert json.loads(undisturbed.stdout)["counts"] == json.loads(stdout)["counts"]
