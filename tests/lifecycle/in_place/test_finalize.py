"""When the team is sure, the archive goes, and with it every way back."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from pymongo.database import Database

from tests.lifecycle.conftest import Ended, contents
from tests.support.booking_lines import booking, client
from tests.support.bookings import DAY
from tests.support.failpoints import Step

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Killed = Callable[..., Any]

MIGRATE = ("migrate", "--in-place", "--json", "--quiet")
FINALIZE = ("finalize", "--yes", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "bookings", "--yes", "--quiet")
LATER = DatetimeMS(1_756_765_143_359 + DAY)


@pytest.mark.usefixtures("bookings")
def test_archive_is_dropped(database: Db, command: Run) -> None:
    """It is verified and dropped; sessions keep `legacyBookingId`; a rollback then says why there is none, with exit 12."""
    command(*MIGRATE)
    before = contents(database)
    done = command(*FINALIZE)
    report = json.loads(done.stdout)
    refused = command(*ROLLBACK)
    again = command(*FINALIZE)

    assert 0 == done.returncode, done.stderr
    assert (0, True, 30) == (
        report["mismatch_count"],
        report["finalized"]["dropped"],
        report["counts"]["scanned"],
    )
    assert {**before, "bookings_legacy": None} == {**contents(database), "bookings_legacy": None}
    assert "bookings_legacy" not in database.list_collection_names()
    assert 12 == refused.returncode
    assert "is finalized: bookings_legacy, which kept its old bookings, was dropped" in " ".join(
        refused.stderr.split()
    )
    assert (0, True) == (again.returncode, json.loads(again.stdout)["finalized"]["already"])
    assert [] == json.loads(command("status", "--json").stdout)["runs"][0]["possible"]


def test_legacy_ids_go_if_asked(database: Db, command: Run) -> None:
    """--drop-legacy-ids takes them out of all sessions and leaves everything else byte for byte."""
    own = {"sessionId": ObjectId(), "price": 3, "updatedAt": LATER}
    database.bookings.insert_many(
        [*map(booking, range(20)), {"_id": 7, "clientId": client(3), "sessions": [own]}]
    )
    command(*MIGRATE)
    before = list(database.bookings.find().sort("_id", 1))
    done = command(*FINALIZE, "--drop-legacy-ids")
    for document in before:
        for session in document["sessions"]:
            session.pop("legacyBookingId", None)

    assert 0 == done.returncode, done.stderr
    assert 4 == json.loads(done.stdout)["finalized"]["documents_changed"]
    assert before == list(database.bookings.find().sort("_id", 1))


def test_what_is_not_proven_is_kept(database: Db, command: Run) -> None:
    """With a mismatch nothing is dropped, the exit code is 4, and the rollback is still there."""
    database.bookings.insert_many(map(booking, range(8)))
    command(*MIGRATE)
    database.bookings.update_one({"clientId": client(1)}, {"$pop": {"sessions": 1}})
    before = contents(database)
    done = command(*FINALIZE)

    assert 4 == done.returncode
    assert before == contents(database)
    assert 3 == command(*ROLLBACK).returncode


def test_what_is_refused(database: Db, command: Run, killed: Killed) -> None:
    """Nobody's confirmation, nothing to finalize, and an unfinished run are refused."""
    database.bookings.insert_many(map(booking, range(8)))
    nothing = command(*FINALIZE)
    killed(Step.BATCH_WRITTEN.value, 1, *MIGRATE)
    unfinished = command(*FINALIZE)
    command(*MIGRATE)
    unconfirmed = command("finalize", "--quiet")

    assert (12, 5, 5) == (nothing.returncode, unfinished.returncode, unconfirmed.returncode)
    assert "drops bookings_legacy; no rollback is possible after that" in " ".join(unconfirmed.stderr.split())


@pytest.mark.parametrize(
    "step",
    [Step.LOCKED, Step.FINALIZE_NOTED, Step.ARCHIVE_DROPPED, Step.LEGACY_IDS_DROPPED, Step.NOTES_DROPPED],
    ids=lambda step: step.value,
)
def test_killed_at_every_step(database: Db, command: Run, killed: Killed, step: Step) -> None:
    """A finalize that is killed anywhere is completed by the same command; behind the drop, rollback and migrate are refused."""
    arguments = (*FINALIZE, "--drop-legacy-ids")
    database.bookings.insert_many(map(booking, range(8)))
    command(*MIGRATE)
    assert -9 == killed(step.value, 1, *arguments)
    if step not in (Step.LOCKED, Step.FINALIZE_NOTED):
        assert 12 == command(*ROLLBACK).returncode
    if step not in (Step.LOCKED, Step.NOTES_DROPPED):
        assert 5 == command(*MIGRATE).returncode
    done = command(*arguments)

    assert 0 == done.returncode, done.stderr
    assert 0 == database.bookings.count_documents({"sessions.legacyBookingId": {"$exists": True}})
    assert "bookings_legacy" not in database.list_collection_names()


def test_status_names_what_can_be_done(database: Db, command: Run) -> None:
    """The commands that status suggests for a run in place are those that work."""
    database.bookings.insert_many(map(booking, range(8)))
    command(*MIGRATE)
    run = json.loads(command("status", "--json").stdout)["runs"][0]
    places = "--source bookings --archive bookings_legacy"

    assert [
        f"booking-migrate verify --in-place {places}",
        f"booking-migrate rollback --run {run['run_id']}",
        f"booking-migrate finalize {places}",
    ] == run["possible"]


def test_killed_before_the_drop_it_can_be_undone(database: Db, command: Run, killed: Killed) -> None:
    """As long as the archive exists, status offers the rollback beside finalize, and it gives everything back."""
    database.bookings.insert_many(map(booking, range(8)))
    before = contents(database)["bookings"]
    command(*MIGRATE)
    assert -9 == killed(Step.FINALIZE_NOTED.value, 1, *FINALIZE, "--drop-legacy-ids")
    run = json.loads(command("status", "--json").stdout)["runs"][0]
    undone = command(*ROLLBACK)

    assert ("finalizing", f"booking-migrate rollback --run {run['run_id']}") == (
        run["state"],
        run["possible"][-1],
    )
    assert 0 == undone.returncode, undone.stderr
    assert before == contents(database)["bookings"]
