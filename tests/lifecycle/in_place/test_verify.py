"""What was migrated in place is proven against the archive, while the application goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import booking, client
from tests.support.bookings import DAY
from tests.support.failpoints import Step
from tests.support.killed import goes_on, stopped_at

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--in-place", "--json", "--quiet")
VERIFY = ("verify", "--in-place", "--recheck", "0", "--json", "--quiet")
LATER = 1_756_765_143_359 + DAY


@pytest.mark.usefixtures("bookings")
def test_fresh_result_is_proven(database: Db, command: Run) -> None:
    """A fresh result is proven; rejected bookings that stand where they were are accounted for."""
    migrated = json.loads(command(*MIGRATE).stdout)
    proven = command(*VERIFY)
    report = json.loads(proven.stdout)

    assert 0 == proven.returncode, proven.stdout
    counted = ("scanned", "migrated", "rejected", "clients", "sessions")
    assert [migrated["counts"][name] for name in counted] == [report["counts"][name] for name in counted]
    assert "bookings_legacy" == report["archive"]
    assert database.booking_migrate_runs.find_one({"verified_clean": True}) is not None


def test_client_documents_of_the_application(database: Db, command: Run) -> None:
    """Documents that the application had made are expected to keep what they had; those without bookings are its own."""
    ours = {"sessionId": ObjectId(), "price": 5, "status": "pending", "updatedAt": DatetimeMS(LATER)}
    added_to = {"_id": 7, "clientId": client(1), "sessions": [ours], "by": "the application"}
    apart = {"_id": 8, "clientId": client(9), "sessions": [ours], "totalSessions": 3}
    database.bookings.insert_many([added_to, apart, *map(booking, range(8))])
    command(*MIGRATE)
    proven = command(*VERIFY)
    database.bookings.update_one({"_id": 7}, {"$pop": {"sessions": -1}})
    lost = json.loads(command(*VERIFY).stdout)

    assert 0 == proven.returncode, proven.stdout
    assert {"missing"} <= {each["kind"] for each in lost["mismatches"]}


def test_what_the_application_did_since(database: Db, command: Run) -> None:
    """Sessions that it has added or changed since are counted, with --no-allow-later reported."""
    database.bookings.insert_many(map(booking, range(8)))
    command(*MIGRATE)
    added = {"sessionId": ObjectId(), "price": 5, "updatedAt": DatetimeMS(LATER)}
    database.bookings.update_one(
        {"clientId": client(1)},
        {
            "$push": {"sessions": added},
            "$inc": {"totalSessions": 1, "totalSpent": 5},
            "$set": {"updatedAt": DatetimeMS(LATER)},
        },
    )
    database.bookings.update_one(
        {"clientId": client(2)},
        {
            "$set": {
                "sessions.0.status": "confirmed",
                "sessions.0.updatedAt": DatetimeMS(LATER),
                "updatedAt": DatetimeMS(LATER),
            }
        },
    )
    allowed = command(*VERIFY)
    report = json.loads(allowed.stdout)
    strict = json.loads(command(*VERIFY, "--no-allow-later").stdout)

    assert 0 == allowed.returncode, allowed.stdout
    assert (1, 1) == (
        report["verification"]["later_sessions"],
        report["verification"]["changed_sessions"],
    )
    assert {"extra", "content"} == {each["kind"] for each in strict["mismatches"]}


@pytest.mark.parametrize("harm", ["content", "missing", "duplicate", "totals", "pending"])
def test_harm_is_found(database: Db, command: Run, harm: str) -> None:
    """What nobody may do to migrated sessions is found, and so is a booking that has not been migrated."""
    database.bookings.insert_many(map(booking, range(8)))
    command(*MIGRATE)
    where = {"clientId": client(1)}
    match harm:
        case "content":
            database.bookings.update_one(where, {"$set": {"sessions.0.price": 21}})
        case "missing":
            database.bookings.update_one(where, {"$pop": {"sessions": 1}})
        case "duplicate":
            document = database.bookings.find_one(where) or {}
            database.bookings.update_one(where, {"$push": {"sessions": document["sessions"][0]}})
        case "totals":
            database.bookings.update_one(where, {"$set": {"totalSpent": 21}})
        case "pending":
            database.bookings.insert_one(booking(9))
        case _:
            pass
    found = command(*VERIFY)

    kind = "missing" if harm == "pending" else harm
    assert 4 == found.returncode
    assert kind in {each["kind"] for each in json.loads(found.stdout)["mismatches"]}


def test_nothing_was_migrated(database: Db, command: Run) -> None:
    """Without an archive there is nothing to prove: refused."""
    database.bookings.insert_one(booking(1))
    refused = command("verify", "--in-place")
    database.create_collection("bookings_legacy_2")
    named = command("verify", "--in-place", "--archive", "old ones")

    assert (5, 5) == (refused.returncode, named.returncode)
    assert "bookings_legacy does not exist" in refused.stderr
    assert "Did you mean" not in refused.stderr
    assert "booking-migrate migrate --in-place --source bookings\n" in refused.stderr
    assert "booking-migrate migrate --in-place --source bookings --archive 'old ones'\n" in named.stderr


@pytest.mark.parametrize("is_taken", [True, False])
def test_the_archive_of_the_run_is_named(database: Db, command: Run, *, is_taken: bool) -> None:
    """Without the option for an archive of another name, the complete command that verifies the run is printed, and proves it."""
    database.shows.insert_many(map(booking, range(8)))
    assert 0 == command(*MIGRATE, "--source", "shows", "--archive", "old").returncode
    if is_taken:
        database.shows_legacy.insert_one({"_id": 1, "of": "others"})
    refused = command("verify", "--in-place", "--source", "shows", "--json")
    error = json.loads(refused.stdout)["error"]
    meant = "booking-migrate verify --in-place --source shows --archive old"

    assert 5 == refused.returncode
    assert "in place with the archive old, not with shows_legacy" in error["message"]
    assert f": {meant}" in error["hint"].splitlines()[1]
    assert 0 == command(*meant.split()[1:], "--quiet").returncode


def test_what_came_in_several_passes(
    database: Db, environment: dict[str, str], command: Run, tmp_path: Path
) -> None:
    """A client document of the application that got bookings in two passes is held against what it was before both."""
    own = {"sessionId": ObjectId(), "price": 5, "createdAt": DatetimeMS(0), "updatedAt": DatetimeMS(0)}
    database.bookings.insert_many(
        [{"_id": 7, "clientId": client(1), "sessions": [own]}, *(booking(number) for number in (1, 2, 5))]
    )
    gate = tmp_path / "gate"
    process = stopped_at(Step.BATCH_WRITTEN, environment, gate, *MIGRATE, "--batch-size", "1")
    where = {"_id": 7, "sessions.legacyBookingId": booking(1)["_id"]}
    changes = {
        "sessions.$.status": "confirmed",
        "sessions.$.updatedAt": DatetimeMS(LATER),
        "updatedAt": DatetimeMS(LATER),
    }
    changed = database.bookings.update_one(where, {"$set": changes})
    database.bookings.insert_one(booking(9))
    goes_on(process, gate)
    proven = command(*VERIFY)

    assert 1 == changed.matched_count
    assert 0 == proven.returncode, proven.stdout
    assert 1 == json.loads(proven.stdout)["verification"]["changed_sessions"]


def test_the_default_archive_is_not_lacking(database: Db, command: Run) -> None:
    """It was read, although the command does not name it: no other command can be all that is wrong."""
    database.bookings.insert_many(map(booking, range(8)))
    command(*MIGRATE)
    database.bookings.update_one({"clientId": client(1)}, {"$set": {"sessions.0.price": 21}})
    report = json.loads(command(*VERIFY).stdout)

    assert 4 == report["exit_code"]
    assert not [each for each in report["next_steps"] if "verification lacks" in each["text"]]


def _explaining(report: dict[str, Any]) -> list[str]:
    commands = [each["command"] or "" for each in report["next_steps"]]
    return [each for each in commands if each.startswith("booking-migrate explain")]


def test_only_a_booking_is_explained(database: Db, command: Run) -> None:
    """A session of the application names no old booking; one that was migrated is in the archive."""
    ours = {"sessionId": ObjectId(), "price": 5, "status": "pending", "updatedAt": DatetimeMS(LATER)}
    database.bookings.insert_many(
        [{"_id": 7, "clientId": client(0), "sessions": [ours]}, *map(booking, range(8))]
    )
    command(*MIGRATE)
    database.bookings.update_one({"_id": 7}, {"$pull": {"sessions": {"sessionId": ours["sessionId"]}}})
    of_the_application = json.loads(command(*VERIFY).stdout)
    gone = booking(1)["_id"]
    database.bookings.update_one({"clientId": client(1)}, {"$pull": {"sessions": {"legacyBookingId": gone}}})
    (line,) = _explaining(json.loads(command(*VERIFY).stdout))
    explained = command(*line.split()[1:])

    assert [] == _explaining(of_the_application)
    assert f"explain {gone} --source bookings_legacy --target bookings" in line
    assert 4 == explained.returncode, explained.stderr


def test_a_session_that_is_no_booking_is_not_explained(database: Db, command: Run) -> None:
    """Side by side, a session that the application has added claims no booking."""
    database.bookings.insert_many(map(booking, range(8)))
    command("migrate", "--quiet")
    added = {"sessionId": ObjectId(), "price": 5, "updatedAt": DatetimeMS(LATER)}
    database.bookings_consolidated.update_one({"clientId": client(1)}, {"$push": {"sessions": added}})
    report = json.loads(command("verify", "--json", "--quiet", "--recheck", "0").stdout)

    assert 4 == report["exit_code"]
    assert [] == _explaining(report)


def test_a_rejected_booking_that_changes_has_two_mismatches_until_the_next_run(
    database: Db, command: Run
) -> None:
    """Its record is of its earlier content, and it has none itself; to migrate again settles both."""
    database.bookings.insert_many([*map(booking, range(8)), booking(8, price=-5), booking(9, price=-5)])
    command(*MIGRATE)
    database.bookings.update_one({"_id": booking(8)["_id"]}, {"$set": {"notes": "called"}})
    database.bookings.update_one({"_id": booking(9)["_id"]}, {"$set": {"price": 5}})
    found = json.loads(command(*VERIFY).stdout)
    again, proven = command(*MIGRATE), command(*VERIFY)

    for number in (8, 9):
        kinds = [
            each["kind"] for each in found["mismatches"] if each["booking_id"] == str(booking(number)["_id"])
        ]
        assert ["extra", "missing"] == sorted(kinds)
    assert (3, 0) == (again.returncode, proven.returncode), proven.stdout
