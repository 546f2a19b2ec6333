"""What is looked for under its old name after a cut-over is found where it is now."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.lifecycle.test_changed_bookings import CUTOVER, MIGRATE, VERIFY
from tests.support.booking_lines import booking

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--target", "clients")


@pytest.fixture
def live(database: Db, command: Run) -> Db:
    """Bookings of two runs, cut over."""
    database.bookings.insert_many(map(booking, range(6)))
    assert 0 == command(*MIGRATE).returncode
    database.bookings.insert_one(booking(6))
    assert [0, 0, 0] == [command(*each).returncode for each in (MIGRATE, VERIFY, CUTOVER)]
    return database


def test_verify_finds_the_kept_copy(live: Db, command: Run) -> None:
    """Verified by its old names, the live collection is compared with the kept copy, and that is said."""
    ended = command("verify", *PLACES, "--json")
    report = json.loads(ended.stdout)

    assert 0 == ended.returncode, ended.stderr
    assert "clients is live as bookings since the cut-over of run" in " ".join(ended.stderr.split())
    assert ("bookings", 7, 0) == (report["target"], report["counts"]["scanned"], report["mismatch_count"])
    assert report["source"] in live.list_collection_names()


@pytest.mark.usefixtures("live")
def test_explain_finds_the_booking(command: Run) -> None:
    """Asked for by the old names, a booking is found in the kept copy, and its session in the live collection."""
    ended = command("explain", str(booking(3)["_id"]), *PLACES, "--json")
    report = json.loads(ended.stdout)

    assert 0 == ended.returncode, ended.stderr
    assert ("migrated", "bookings") == (report["explanation"]["fate"], report["target"])


def test_status_names_the_kept_copy(live: Db, command: Run) -> None:
    """The run of the cut-over names the collection with the old bookings; earlier runs offer nothing that fails."""
    newest, earlier = json.loads(command("status", "--json").stdout)["runs"]

    assert newest["legacy"] in live.list_collection_names()
    assert f"old bookings are kept in {newest['legacy']}" in command("status").stdout
    assert ["verify", "rollback", "finalize"] == [each.split()[1] for each in newest["possible"]]
    assert ("done", []) == (earlier["state"], earlier["possible"])


def test_other_places_are_not_blamed_on_a_cutover(live: Db, command: Run) -> None:
    """A target that never was is only said to be absent."""
    assert 7 == len(list(live.bookings.aggregate([{"$unwind": "$sessions"}])))
    ended = command("verify", "--target", "never")

    assert 5 == ended.returncode
    assert "never does not exist" in ended.stderr
    assert "cut-over" not in ended.stderr


@pytest.mark.usefixtures("live")
def test_verify_is_recorded_until_finalize(command: Run) -> None:
    """Status shows when a live result was verified last; behind finalize, verify says that nothing is left to compare with."""

    def newest() -> dict[str, Any]:
        return dict(json.loads(command("status", "--json").stdout)["runs"][0])

    before = newest()["verified_at"]
    assert 0 == command("verify", *PLACES, "--quiet").returncode
    after = newest()["verified_at"]
    assert 0 == command("finalize", "--source", "bookings", "--yes", "--quiet").returncode
    refused = command("verify", *PLACES, "--json")
    error = json.loads(refused.stdout)["error"]

    assert before < after
    assert (5, "NothingToCompare") == (refused.returncode, error["kind"])
    assert f"run {newest()['run_id']} is finalized" in error["message"]


def test_a_rollback_names_a_target_that_existed(database: Db, command: Run) -> None:
    """An empty target, whose options went with the collection that was live, is said not to be made again."""
    database.create_collection("clients", validator={"sessions": {"$exists": True}})
    database.bookings.insert_many(map(booking, range(3)))
    assert [0, 0, 0] == [command(*each).returncode for each in (MIGRATE, VERIFY, CUTOVER)]
    done = command("rollback", *PLACES, "--yes", "--json")
    said = [each["text"] for each in json.loads(done.stdout)["next_steps"]]

    assert 0 == done.returncode, done.stderr
    assert any(text.startswith("clients existed before the run, and is not made again") for text in said)
    assert "clients" not in database.list_collection_names()


def test_a_rollback_keeps_nothing_of_earlier_runs_in_a_target_that_is_gone(
    database: Db, command: Run
) -> None:
    """What an earlier run had changed in existing documents went with the target, and is not called changed by others."""
    for number in (1, 5, 9):
        database.bookings.insert_one(booking(number))
        assert 0 == command(*MIGRATE).returncode
    assert [0, 0] == [command(*each).returncode for each in (VERIFY, CUTOVER)]
    ended = command("rollback", "--target", "clients", "--yes", "--json")
    undone = json.loads(ended.stdout)["undone"]

    assert 0 == ended.returncode, ended.stderr
    assert 2 == len(undone["earlier"])
    assert [0, 0, 0] == [each["kept"] for each in (undone, *undone["earlier"])]
