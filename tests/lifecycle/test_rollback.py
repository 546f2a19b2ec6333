"""What a run wrote, and only that, is undone: at any point of its life, and however often the rollback is cut off."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.stores.mongo.rollback import MongoUndo
from tests.lifecycle.conftest import Ended, contents
from tests.support.booking_lines import booking, client
from tests.support.crews import take_several_at_a_time
from tests.support.failpoints import Step

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Killed = Callable[..., Any]

MIGRATE = ("migrate", "--target", "clients", "--batch-size", "5", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")
MIGRATE_STEPS = [
    (Step.RUN_NOTED, 1),
    (Step.TARGET_PREPARED, 1),
    (Step.RANGE_NOTED, 2),
    (Step.BATCH_WRITTEN, 2),
    (Step.TARGET_FINISHED, 1),
    (Step.RUN_FINISHED, 1),
]
ROLLBACK_STEPS = [
    (Step.LOCKED, 1),
    (Step.UNDO_BEGUN, 1),
    (Step.INDEX_REMOVED, 1),
    (Step.RANGE_UNDONE, 1),
    (Step.RANGE_UNDONE, 3),
    (Step.REJECTS_UNDONE, 1),
    (Step.UNDO_PROVEN, 1),
    (Step.NOTES_DROPPED, 1),
    (Step.UNLOCKED, 1),
]


@pytest.mark.usefixtures("bookings")
def test_there_and_back(database: Db, command: Run) -> None:
    """After migrate, migrate again and rollback the server's hashes are those of before; a second rollback says so."""
    before = contents(database)
    command(*MIGRATE)
    command(*MIGRATE)
    undone = command(*ROLLBACK)
    again = command(*ROLLBACK)

    assert (0, 0) == (undone.returncode, again.returncode), undone.stderr
    assert before == contents(database)
    assert (3, 1, 0) == tuple(
        json.loads(undone.stdout)["undone"][key] for key in ("removed", "restored", "kept")
    )
    assert json.loads(again.stdout)["undone"]["already"] is True
    assert {"_id_": {"v": 2, "key": [("_id", 1)]}} == database.clients.index_information()


def test_a_target_of_the_run_is_dropped(database: Db, command: Run) -> None:
    """A target that the run created is gone afterwards, and so are the rejected records."""
    database.bookings.insert_many([*map(booking, range(9)), booking(9, price=-1)])
    before = contents(database)
    command(*MIGRATE)
    undone = json.loads(command(*ROLLBACK).stdout)

    assert undone["undone"]["target_dropped"] is True
    assert before == contents(database)


@pytest.mark.parametrize("is_many", [False, True])
def test_others_write_in_the_middle(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, *, is_many: bool
) -> None:
    """A document that others change after it was read, and before it is deleted, stays with that change; the others go."""
    if is_many:
        take_several_at_a_time(monkeypatch.setattr)
    database.bookings.insert_many(booking(number, clientId=client(number % 30)) for number in range(90))
    command(*MIGRATE)
    whole = MongoUndo.remove_own
    pending = [True]

    def interfered(undo: MongoUndo, ids: Any, is_own: Any, confirm: Callable[[], None]) -> int:
        def change() -> None:
            confirm()
            if pending:
                pending.clear()
                database.clients.update_one({"_id": ids[0]}, {"$set": {"sessions.0.notes": "changed"}})

        return whole(undo, ids, is_own, change)

    monkeypatch.setattr(MongoUndo, "remove_own", interfered)
    undone = command(*ROLLBACK)
    report = json.loads(undone.stdout)["undone"]

    assert 3 == undone.returncode, undone.stderr
    assert (29, 1, False) == (report["removed"], report["kept"], report["target_dropped"])
    assert ["changed"] == [each["sessions"][0]["notes"] for each in database.clients.find()]


def test_nothing_to_roll_back(command: Run) -> None:
    """Where nothing was migrated, there is nothing to roll back: exit code 12."""
    result = command(*ROLLBACK)

    assert (12, 12) == (result.returncode, json.loads(result.stdout)["exit_code"])


@pytest.mark.usefixtures("bookings")
def test_unconfirmed(database: Db, command: Run) -> None:
    """Without --yes and without a terminal nothing is undone: exit code 5."""
    command(*MIGRATE)
    before = contents(database)

    assert 5 == command("rollback", "--target", "clients").returncode
    assert before == contents(database)


@pytest.mark.usefixtures("bookings")
def test_documents_of_others_are_kept(database: Db, command: Run) -> None:
    """What others changed since, and what they added, stays and is listed; the exit code is 3."""
    command(*MIGRATE)
    changed = database.clients.find_one_and_update({"clientId": client(1)}, {"$set": {"totalSpent": 1}})
    database.clients.insert_one({"_id": "theirs", "clientId": "x", "sessions": []})
    undone = command(*ROLLBACK)
    report = json.loads(undone.stdout)["undone"]

    assert changed is not None
    assert (3, 1, [str(changed["_id"])]) == (undone.returncode, report["kept"], report["kept_ids"])
    assert {changed["_id"], "theirs", 1} == {each["_id"] for each in database.clients.find()}


@pytest.mark.usefixtures("bookings")
def test_a_run_killed_at_any_step_can_be_rolled_back(database: Db, command: Run, killed: Killed) -> None:
    """Whatever a killed run has left, rollback leaves the database as it was before."""
    before = contents(database)

    for step, count in MIGRATE_STEPS:
        assert -9 == killed(step.value, count, *MIGRATE), step
        undone = command(*ROLLBACK)
        assert 0 == undone.returncode, (step, undone.stderr)
        assert before == contents(database), step


@pytest.mark.usefixtures("bookings")
def test_a_rollback_killed_at_any_step_goes_on(database: Db, command: Run, killed: Killed) -> None:
    """A rollback that was cut off is given again, and the database is as it was before."""
    before = contents(database)

    for step, count in ROLLBACK_STEPS:
        command(*MIGRATE)
        assert -9 == killed(step.value, count, *ROLLBACK), step
        undone = command(*ROLLBACK)
        assert 0 == undone.returncode, (step, undone.stderr)
        assert before == contents(database), step


@pytest.mark.usefixtures("bookings")
def test_a_rollback_under_way_keeps_migrate_out(command: Run, killed: Killed) -> None:
    """While a rollback is unfinished, migrate is refused and names the command that finishes it."""
    command(*MIGRATE)
    killed(Step.RANGE_UNDONE.value, 1, *ROLLBACK)
    refused = command(*MIGRATE)

    assert 5 == refused.returncode
    assert "booking-migrate rollback --run" in refused.stderr


@pytest.mark.usefixtures("bookings")
def test_two_runs_are_undone_in_turn(database: Db, command: Run) -> None:
    """A run that a later one built upon is not undone first; one after the other, both are."""
    before = contents(database)
    first = json.loads(command(*MIGRATE).stdout)["run_id"]
    database.bookings.insert_one(booking(40))
    between = contents(database)
    second = json.loads(command(*MIGRATE).stdout)["run_id"]
    too_early = command("rollback", "--run", first, "--yes")
    command("rollback", "--run", second, "--yes")

    assert 5 == too_early.returncode, too_early.stderr
    assert between == contents(database)
    assert 0 == command("rollback", "--run", first, "--yes").returncode
    database.bookings.delete_one({"_id": booking(40)["_id"]})
    assert before == contents(database)


@pytest.mark.usefixtures("bookings")
def test_joined_documents_come_apart_again(database: Db, command: Run) -> None:
    """Client documents that a run joined are the separate ones of before."""
    database.clients.insert_one({"_id": 2, "clientId": client(2), "sessions": [{"sessionId": 5}]})
    before = contents(database)
    joined = command(*MIGRATE, "--merge-client-documents")
    undone = command(*ROLLBACK)

    assert (3, 0) == (joined.returncode, undone.returncode), joined.stderr + undone.stderr
    assert before == contents(database)


@pytest.mark.usefixtures("bookings")
def test_a_run_that_never_wrote_is_passed_over(database: Db, command: Run) -> None:
    """A run that was killed while it was still being planned does not hide the one that wrote."""
    before = contents(database)
    command(*MIGRATE)
    run = database.booking_migrate_runs.find_one()
    assert run is not None
    late = {"started_at": run["started_at"].replace(year=2099), "state": "planned"}
    database.booking_migrate_runs.insert_one({**run, "_id": "planned", **late})

    assert run["_id"] == json.loads(command(*ROLLBACK).stdout)["run_id"]
    assert before == contents(database)


@pytest.mark.usefixtures("bookings")
def test_killed_while_joining(database: Db, command: Run, killed: Killed) -> None:
    """Killed before and after client documents are joined, a run is completed or undone like any other."""
    database.clients.insert_one({"_id": 2, "clientId": client(2), "sessions": [{"sessionId": 5}]})
    before = contents(database)
    joining = (*MIGRATE, "--merge-client-documents")
    command(*joining)
    after = contents(database)
    command(*ROLLBACK)

    for step, count in ((Step.RANGE_NOTED, 1), (Step.BATCH_WRITTEN, 1), (Step.BATCH_WRITTEN, 3)):
        assert -9 == killed(step.value, count, *joining), step
        assert 3 == command(*joining).returncode, step
        assert after == contents(database), step
        assert 0 == command(*ROLLBACK).returncode, step
        assert before == contents(database), step
        assert -9 == killed(step.value, count, *joining), step
        assert 0 == command(*ROLLBACK).returncode, step
        assert before == contents(database), step
