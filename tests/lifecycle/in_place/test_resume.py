"""Killed anywhere, a migration in place is continued by the same command, with the result and the counts of one life."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended, comparable, contents
from tests.support.booking_lines import booking
from tests.support.failpoints import Step
from tests.support.killed import stopped_at

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Killed = Callable[..., Any]

MIGRATE = ("migrate", "--in-place", "--batch-size", "5", "--json", "--quiet")
STEPS = [
    (Step.LOCKED, 1),
    (Step.RUN_NOTED, 1),
    (Step.TARGET_PREPARED, 1),
    (Step.MOVE_PREPARED, 1),
    (Step.MOVE_PREPARED, 3),
    (Step.BATCH_WRITTEN, 1),
    (Step.BATCH_WRITTEN, 2),
    (Step.TARGET_FINISHED, 1),
    (Step.RUN_FINISHED, 1),
    (Step.UNLOCKED, 1),
]


def _restart_from(database: Db, documents: list[dict[str, Any]]) -> None:
    for name in database.list_collection_names():
        database.drop_collection(name)
    database.bookings.insert_many(documents)


@pytest.mark.usefixtures("bookings")
def test_killed_at_every_step(database: Db, command: Run, killed: Killed) -> None:
    """Collection, archive, rejects, report and exit code of a resumed run equal those of an uninterrupted one."""
    before = list(database.bookings.find())
    _restart_from(database, before)
    undisturbed = command(*MIGRATE)
    expected = contents(database)

    assert 3 == undisturbed.returncode, undisturbed.stderr
    for step, count in STEPS:
        _restart_from(database, before)
        assert -9 == killed(step.value, count, *MIGRATE), step
        resumed = command(*MIGRATE)

        assert 3 == resumed.returncode, (step, resumed.stderr)
        assert expected == contents(database), step
        if step not in (Step.RUN_FINISHED, Step.UNLOCKED):
            assert comparable(undisturbed.stdout, "passes") == comparable(resumed.stdout, "passes"), step


@pytest.mark.usefixtures("bookings")
def test_killed_again_and_again(database: Db, command: Run, killed: Killed) -> None:
    """A run that is killed in each of its lives is complete in the end, with the counts of one life."""
    for step in (Step.BATCH_WRITTEN, Step.MOVE_PREPARED, Step.BATCH_WRITTEN):
        assert -9 == killed(step.value, 1, *MIGRATE)
    resumed = json.loads(command(*MIGRATE).stdout)

    assert (30, 28, 2, 4) == tuple(
        resumed["counts"][name] for name in ("scanned", "migrated", "rejected", "clients")
    )
    assert [3] == [run["resumed"] for run in database.booking_migrate_runs.find()]


@pytest.mark.usefixtures("bookings")
def test_other_options_are_refused(command: Run, killed: Killed) -> None:
    """An interrupted run is not continued into another archive or under other rules; the message names the difference."""
    killed(Step.BATCH_WRITTEN.value, 1, *MIGRATE)
    refused = command(*MIGRATE, "--archive", "elsewhere")

    assert 5 == refused.returncode
    assert "archive was bookings_legacy and is elsewhere" in refused.stderr
    assert 3 == command(*MIGRATE, "--max-rate", "500", "--passes", "3").returncode


@pytest.mark.usefixtures("bookings")
def test_restart(database: Db, command: Run, killed: Killed) -> None:
    """--restart puts everything back first and starts over, under whatever options."""
    killed(Step.BATCH_WRITTEN.value, 2, *MIGRATE)
    restarted = command(*MIGRATE, "--accept", "currency-not-allowed", "--restart")

    assert 3 == restarted.returncode, restarted.stderr
    assert (29, 1) == (
        json.loads(restarted.stdout)["counts"]["migrated"],
        database.booking_migrate_rejected.count_documents({}),
    )
    assert ["rolled-back", "done"] == [
        run["state"] for run in database.booking_migrate_runs.find().sort("started_at", 1)
    ]


def test_ended_late(database: Db, command: Run, environment: dict[str, str], tmp_path: Path) -> None:
    """A process that is ended after another one has completed and finalized its run does not record its own end with it."""
    database.bookings.insert_many(map(booking, range(8)))
    gate = tmp_path / "gate"
    with stopped_at(Step.MOVE_PREPARED, environment, gate, *MIGRATE) as sleeper:
        os.kill(sleeper.pid, signal.SIGSTOP)
        # What the passing of time would do: the lease is over.
        database.booking_migrate_locks.update_one({}, [{"$set": {"until": "$at"}}])
        ended = [command(*MIGRATE), command("finalize", "--yes", "--quiet")]
        os.kill(sleeper.pid, signal.SIGCONT)
        sleeper.send_signal(signal.SIGINT)
        assert "Finishing the current batch" in sleeper.stderr.readline()
        sleeper.send_signal(signal.SIGINT)
        sleeper.communicate(timeout=60)

    assert [0, 0] == [each.returncode for each in ended], [each.stderr for each in ended]
    assert 130 == sleeper.returncode
    assert ["finalized"] == database.booking_migrate_runs.distinct("state")


@pytest.mark.usefixtures("bookings")
@pytest.mark.parametrize("mode", [("--in-place",), ()], ids=["in place", "side by side"])
def test_printed_continuation_repeats_the_limits(command: Run, killed: Killed, mode: tuple[str, ...]) -> None:
    """The command that continues a run works as slowly, unless another limit was asked for since."""
    assert -9 == killed(Step.BATCH_WRITTEN.value, 1, "migrate", *mode, "--max-rate", "1500.5", "--quiet")
    (run,) = json.loads(command("status", "--json").stdout)["runs"]
    refused = command("finalize", "--yes").stderr
    command("control", "set", "max-rate=none")
    (asked,) = json.loads(command("status", "--json").stdout)["runs"]

    assert "--max-rate 1500.5" in run["possible"][0]
    assert not mode or "--max-rate 1500.5" in refused
    assert "--max-rate" not in asked["possible"][0]
