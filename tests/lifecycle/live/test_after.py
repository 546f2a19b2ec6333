"""Verify and explain after a cut-over: the journal knows what is compared with what."""

import json
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import WriteError

from tests.lifecycle.conftest import Command
from tests.lifecycle.live.test_finalize import PLACES, go_live, use
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Command
VERIFY = ("verify", *PLACES, "--json")
OLD_SHAPE = {"sessions": {"$exists": False}}


def test_sessions_since_are_counted(database: Db, command: Run) -> None:
    """What the new application has booked and changed is counted, unless that is not allowed."""
    database.bookings.insert_many(map(booking, range(40)))
    go_live(command)
    use(database)
    counted, strict = command(*VERIFY), command(*VERIFY, "--no-allow-later")
    report = json.loads(counted.stdout)

    assert (0, 4) == (counted.returncode, strict.returncode), counted.stderr
    assert (1, 1) == tuple(report["verification"][name] for name in ("later_sessions", "changed_sessions"))


def test_what_is_wrong_is_wrong(database: Db, command: Run) -> None:
    """A session that was changed without a later date, and one that is gone, are mismatches."""
    database.bookings.insert_many(map(booking, range(40)))
    go_live(command)
    database.bookings.update_one({"clientId": client(1)}, {"$set": {"sessions.0.price": 77}})
    changed = command(*VERIFY)
    database.bookings.update_one({"clientId": client(2)}, {"$pop": {"sessions": 1}})
    gone = json.loads(command(*VERIFY).stdout)

    assert 4 == changed.returncode
    assert {"content", "missing"} <= {each["kind"] for each in gone["mismatches"]}
    assert all("migrate" not in (step["command"] or "").split() for step in gone["next_steps"])


@pytest.mark.parametrize("policy", ["carry", "leave"])
def test_rejected_bookings(database: Db, command: Run, policy: str) -> None:
    """Rejected bookings are no mismatch, whether the cut-over carried them along or not; explain knows them."""
    database.bookings.insert_many([*map(booking, range(20)), booking(20, duration=5)])
    go_live(command, "--rejected", policy)
    verified = command(*VERIFY)
    explained = command("explain", str(booking(20)["_id"]), *PLACES, "--json")

    assert 0 == verified.returncode, verified.stdout
    assert 1 == json.loads(verified.stdout)["counts"]["rejected"]
    assert "rejected" == json.loads(explained.stdout)["explanation"]["fate"]


def test_documents_that_the_target_had_before(database: Db, command: Run) -> None:
    """Client documents that the target held before the run are known, though the target has another name now."""
    database.bookings.insert_many(map(booking, range(8)))
    own = {"sessionId": 7, "price": 3, "status": "pending"}
    database.clients.insert_one(
        {"_id": 1, "clientId": client(2), "sessions": [own], "totalSessions": 1, "totalSpent": 3}
    )
    go_live(command)
    done = command(*VERIFY)

    assert 0 == done.returncode, done.stdout


def test_the_server_does_not_count_what_the_guard_refuses(database: Db, command: Run) -> None:
    """No counter of failed commands or of validation rises, so that status counts what got in, and not what was refused."""
    database.bookings.insert_many(map(booking, range(8)))
    go_live(command)

    def counters() -> dict[str, Any]:
        metrics = database.client.admin.command("serverStatus")["metrics"]["commands"]
        return {name: metrics[name]["failed"] for name in ("insert", "update", "findAndModify")}

    before = counters()
    for number in range(50):
        with pytest.raises(WriteError, match="failed validation"):
            database.bookings.insert_one(booking(100 + number))
    straggler = {**booking(31), "clientId": client(50)}
    database.bookings.insert_one(straggler, bypass_document_validation=True)
    run = json.loads(command("status", "--json").stdout)["runs"][0]

    assert before == counters()
    assert (1, [str(straggler["_id"])]) == (run["old_bookings"]["later"], run["old_bookings"]["later_ids"])
    assert any("migrate --in-place" in each for each in run["possible"])


def test_stragglers_that_were_converted_in_place(database: Db, command: Run) -> None:
    """Bookings of an old application that were migrated in place after the cut-over are proven with the rest, and finalized."""
    database.bookings.insert_many([*map(booking, range(20)), booking(20, duration=5)])
    go_live(command, "--rejected", "carry")
    database.bookings.insert_one({**booking(30), "clientId": client(50)}, bypass_document_validation=True)
    database.bookings.insert_one(booking(31), bypass_document_validation=True)
    assert 3 == command("migrate", "--in-place", "--source", "bookings", "--quiet").returncode
    verified = command(*VERIFY)
    done = command("finalize", "--source", "bookings", "--yes", "--json")
    finalized = json.loads(done.stdout)["finalized"]

    assert 0 == verified.returncode, verified.stdout
    assert 23 == json.loads(verified.stdout)["counts"]["scanned"]
    assert 0 == done.returncode, done.stderr
    assert ["bookings_legacy"] == finalized["also_dropped"]
    assert not [name for name in database.list_collection_names() if "_legacy" in name]
    assert 1 == finalized["old_bookings"]["carried"]


def test_stragglers_that_are_given_back(database: Db, command: Run) -> None:
    """The rollback of a run in place gives old bookings back to a live collection that refuses new ones, before and after."""
    database.bookings.insert_many(map(booking, range(20)))
    go_live(command)
    straggler = {**booking(30), "clientId": client(50)}
    database.bookings.insert_one(straggler, bypass_document_validation=True)
    before = list(database.bookings.find(OLD_SHAPE))
    assert 0 == command("migrate", "--in-place", "--source", "bookings", "--quiet").returncode
    undone = command("rollback", "--target", "bookings", "--yes")

    assert 0 == undone.returncode, undone.stderr
    assert [straggler["_id"]] == [each["_id"] for each in before]
    assert before == list(database.bookings.find(OLD_SHAPE))
    with pytest.raises(WriteError, match="failed validation"):
        database.bookings.insert_one(booking(31))


def test_a_carried_booking_that_was_fixed(database: Db, command: Run) -> None:
    """A rejected booking that was carried along, corrected there and migrated in place is proven in its new version."""
    database.bookings.insert_many([*map(booking, range(20)), booking(20, duration=5)])
    go_live(command, "--rejected", "carry")
    database.bookings.update_one({"_id": booking(20)["_id"]}, {"$set": {"duration": 60}})
    assert 0 == command("migrate", "--in-place", "--source", "bookings", "--quiet").returncode
    verified = command(*VERIFY)

    assert 0 == verified.returncode, verified.stdout


def test_a_kept_copy_that_was_dropped(database: Db, command: Run) -> None:
    """Without the kept copy nothing can be proven, and that is said by its name."""
    database.bookings.insert_many(map(booking, range(8)))
    go_live(command)
    (legacy,) = (name for name in database.list_collection_names() if "_legacy_" in name)
    database.drop_collection(legacy)
    refused = [command(*VERIFY), command("finalize", "--source", "bookings", "--yes")]

    assert [5, 5] == [each.returncode for each in refused]
    assert all(f"{legacy} does not exist" in " ".join(each.stderr.split()) for each in refused)


def test_a_new_migration_into_the_old_name(database: Db, command: Run) -> None:
    """A later migration of another source into the name of the target is verified by itself."""
    database.bookings.insert_many(map(booking, range(8)))
    go_live(command)
    database.others.insert_many(map(booking, range(100, 104)))
    places = ("--source", "others", "--target", "clients")
    assert 0 == command("migrate", *places, "--quiet").returncode
    done = command("verify", *places, "--json")
    report = json.loads(done.stdout)

    assert 0 == done.returncode, done.stderr
    assert ("others", 4) == (report["source"], report["counts"]["scanned"])
