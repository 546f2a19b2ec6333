"""Killed anywhere, a migration is continued by the same command, and the result is that of one never interrupted."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended, comparable, contents
from tests.support.failpoints import Step

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Killed = Callable[..., Any]

MIGRATE = ("migrate", "--target", "clients", "--batch-size", "5", "--json", "--quiet")
STEPS = [
    (Step.LOCKED, 1),
    (Step.RUN_NOTED, 1),
    (Step.TARGET_PREPARED, 1),
    (Step.RANGE_NOTED, 1),
    (Step.RANGE_NOTED, 3),
    (Step.BATCH_WRITTEN, 1),
    (Step.BATCH_WRITTEN, 2),
    (Step.TARGET_FINISHED, 1),
    (Step.RUN_FINISHED, 1),
    (Step.UNLOCKED, 1),
]


def _copy(database: Db) -> dict[str, list[Any]]:
    names = [name for name in database.list_collection_names() if name in ("bookings", "clients")]
    return {name: list(database[name].find()) for name in names}


def _restart_from(database: Db, copy: dict[str, list[Any]]) -> None:
    for name in database.list_collection_names():
        database.drop_collection(name)
    for name, documents in copy.items():
        database[name].insert_many(documents)


@pytest.mark.usefixtures("bookings")
def test_killed_at_every_step(database: Db, command: Run, killed: Killed) -> None:
    """Target, rejects, report and exit code of a resumed run equal those of an uninterrupted one."""
    before = _copy(database)
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
            assert comparable(undisturbed.stdout) == comparable(resumed.stdout), step


@pytest.mark.usefixtures("bookings")
def test_killed_again_and_again(database: Db, command: Run, killed: Killed) -> None:
    """A run that is killed in each of its lives is complete in the end, with the counts of one life."""
    for step, count in ((Step.RANGE_NOTED, 1), (Step.RANGE_NOTED, 1), (Step.BATCH_WRITTEN, 3)):
        assert -9 == killed(step.value, count, *MIGRATE)
    resumed = json.loads(command(*MIGRATE).stdout)

    assert (30, 28, 2) == tuple(resumed["counts"][name] for name in ("scanned", "migrated", "rejected"))
    assert [3] == [run["resumed"] for run in database.booking_migrate_runs.find()]


@pytest.mark.usefixtures("bookings")
def test_other_options_are_refused(command: Run, killed: Killed) -> None:
    """An interrupted run is not continued under other options; the message names the difference."""
    killed(Step.BATCH_WRITTEN.value, 1, *MIGRATE)
    refused = command(*MIGRATE, "--accept", "currency-not-allowed")

    assert 5 == refused.returncode
    assert "accept was not given and is currency-not-allowed" in refused.stderr
    assert 3 == command(*MIGRATE, "--batch-size", "7").returncode


@pytest.mark.usefixtures("bookings")
def test_restart(database: Db, command: Run, killed: Killed) -> None:
    """--restart undoes the interrupted run and starts over, under whatever options."""
    before = _copy(database)
    command(*MIGRATE, "--accept", "currency-not-allowed")
    expected = contents(database)
    _restart_from(database, before)
    killed(Step.BATCH_WRITTEN.value, 2, *MIGRATE)
    restarted = command(*MIGRATE, "--accept", "currency-not-allowed", "--restart")

    assert 3 == restarted.returncode, restarted.stderr
    assert expected == contents(database)
    assert ["rolled-back", "done"] == [
        run["state"] for run in database.booking_migrate_runs.find().sort("started_at", 1)
    ]


@pytest.mark.usefixtures("bookings")
def test_second_run(database: Db, command: Run) -> None:
    """A second migrate changes neither target nor rejects; the journal says that it came."""
    command(*MIGRATE)
    before = contents(database)
    second = json.loads(command(*MIGRATE).stdout)

    assert (False, 28) == (second["changed"], second["counts"]["already_migrated"])
    assert before == contents(database)
    assert {"done", "unchanged"} == {run["state"] for run in database.booking_migrate_runs.find()}
