"""A server without transactions: refused, unless the user says that the application is stopped."""

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from typer.testing import CliRunner

from booking_migrate.cli.app import app
from tests.lifecycle.conftest import Ended, comparable, contents
from tests.support.booking_lines import booking, client
from tests.support.failpoints import Step
from tests.support.killed import stopped_at
from tests.support.server import Server, guarded_server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Killed = Callable[..., Any]

MIGRATE = ("migrate", "--in-place", "--without-transactions", "--batch-size", "5", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "bookings", "--yes", "--json", "--quiet")


@pytest.fixture(scope="module")
def standalone() -> Iterator[Server]:
    """A server that is not a replica set."""
    with guarded_server() as running:
        yield running


def _command(server: Server, *arguments: str) -> Ended:
    environment: Mapping[str, str] = {
        **{
            name: value for name, value in os.environ.items() if not name.startswith(("BOOKING_", "MONGODB_"))
        },
        "MONGODB_URI": server.uri,
        "BOOKING_MIGRATE_DB": "alone",
    }
    result = CliRunner().invoke(app, list(arguments), env=environment, prog_name="booking-migrate")
    return Ended(result.exit_code, result.stdout, result.stderr)


def test_standalone_server(standalone: Server) -> None:
    """It is refused with what to do; with the application stopped it migrates, verifies, and rolls back to what was."""
    database = standalone.client()["alone"]
    database.bookings.insert_many([*map(booking, range(20)), booking(20, duration=5)])
    before = contents(database)
    refused = _command(standalone, "migrate", "--in-place", "--quiet")
    untouched = contents(database)
    done = _command(standalone, *MIGRATE)
    proven = _command(standalone, "verify", "--in-place", "--quiet")
    undone = _command(standalone, *ROLLBACK)

    assert 5 == refused.returncode
    assert "is not a replica set" in refused.stderr
    assert "stop every application that writes to the collection" in " ".join(refused.stderr.split())
    assert before == untouched
    assert (3, 20) == (done.returncode, json.loads(done.stdout)["counts"]["migrated"])
    assert 0 == proven.returncode, proven.stderr
    assert 0 == undone.returncode, undone.stderr
    assert before == contents(database)


@pytest.mark.usefixtures("bookings")
def test_killed_at_every_step(database: Db, command: Run, killed: Killed) -> None:
    """Killed between any two steps, the same command completes it with the result and the counts of one life."""
    database.clients.drop()
    session = {"sessionId": 1, "price": 3}
    database.bookings.insert_one({"_id": 7, "clientId": client(3), "sessions": [session]})
    before = list(database.bookings.find())
    undisturbed = command(*MIGRATE)
    expected = contents(database)
    steps = [
        (step, count)
        for step in (Step.RANGE_NOTED, Step.ARCHIVED, Step.DOCUMENTS_WRITTEN, Step.MOVE_PREPARED)
        for count in (1, 2, 4)
    ]

    assert 3 == undisturbed.returncode, undisturbed.stderr
    for step, count in steps:
        for name in database.list_collection_names():
            database.drop_collection(name)
        database.bookings.insert_many(before)
        assert -9 == killed(step.value, count, *MIGRATE), (step, count)
        resumed = command(*MIGRATE)

        assert 3 == resumed.returncode, (step, resumed.stderr)
        assert expected == contents(database), (step, count)
        reports = [comparable(each.stdout, "passes") for each in (undisturbed, resumed)]
        assert reports[0] == reports[1], (
            step,
            count,
        )


@pytest.mark.usefixtures("bookings")
def test_rollback_killed_at_every_step(database: Db, command: Run, killed: Killed) -> None:
    """A rollback that is killed between any two steps is completed by the same command."""
    before = contents(database)
    for step in (Step.ARCHIVED, Step.DOCUMENTS_WRITTEN, Step.MOVE_PREPARED, Step.RANGE_UNDONE):
        command(*MIGRATE)
        assert -9 == killed(step.value, 1, *ROLLBACK), step
        done = command(*ROLLBACK)

        assert 0 == done.returncode, (step, done.stderr)
        assert before == contents(database), step


@pytest.mark.parametrize(
    "step", [Step.RANGE_NOTED, Step.ARCHIVED, Step.DOCUMENTS_WRITTEN, Step.MOVE_PREPARED]
)
def test_a_decision_killed_at_every_step(database: Db, command: Run, killed: Killed, step: Step) -> None:
    """A booking that was stored again for another client replaces its session, whatever step the run is killed at."""
    database.bookings.insert_many(map(booking, range(8)))
    command(*MIGRATE)
    database.bookings.insert_one(booking(1, clientId=client(2), notes="stored again"))
    stored = contents(database)
    decide = (*MIGRATE, "--on-conflict", "source")
    assert -9 == killed(step.value, 1, *decide)
    done = command(*decide)
    claims = database.bookings.aggregate(
        [{"$unwind": "$sessions"}, {"$match": {"sessions.legacyBookingId": booking(1)["_id"]}}]
    )
    owners = [each["clientId"] for each in claims]
    run_id = json.loads(done.stdout)["run_id"]
    undone = command("rollback", "--run", run_id, "--yes", "--json", "--quiet")

    assert 0 == done.returncode, done.stderr
    assert [client(2)] == owners
    assert 0 == undone.returncode, undone.stderr
    assert stored == contents(database)


@pytest.mark.parametrize("step", [Step.RANGE_NOTED, Step.ARCHIVED, Step.DOCUMENTS_WRITTEN])
def test_suspended_between_two_steps(
    database: Db, command: Run, environment: dict[str, str], tmp_path: Path, step: Step
) -> None:
    """A process that wakes up between two steps, its run undone by another one, takes no further step."""
    database.bookings.insert_many(map(booking, range(8)))
    before = contents(database)
    gate = tmp_path / "gate"
    with stopped_at(step, environment, gate, *MIGRATE) as sleeper:
        os.kill(sleeper.pid, signal.SIGSTOP)
        # What the passing of time would do: the lease is over.
        database.booking_migrate_locks.update_one({}, [{"$set": {"until": "$at"}}])
        undone = command(*ROLLBACK)
        Path(f"{gate}.open").touch()
        os.kill(sleeper.pid, signal.SIGCONT)
        _, stderr = sleeper.communicate(timeout=60)

    assert 0 == undone.returncode, undone.stderr
    assert 11 == sleeper.returncode, stderr
    assert before == contents(database)
    assert ["rolled-back"] == database.booking_migrate_runs.distinct("state")
