"""In place, a booking that the old application stores again under an `_id` that is archived already."""

import json
from typing import Any

import bson
import pytest
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from tests.lifecycle.conftest import Command, contents
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Command
Document = dict[str, Any]

MIGRATE = ("migrate", "--in-place", "--json", "--quiet")
VERIFY = ("verify", "--in-place", "--json", "--quiet", "--recheck", "0")
ROLLBACK = ("rollback", "--target", "bookings", "--yes", "--json", "--quiet")
DISCARD = (*ROLLBACK, "--discard-later")

OWN = booking(1)
"""The booking that is stored again: of client 1, beside booking 5."""

STORED_AGAIN = booking(1, notes="stored again")

OTHERS = {
    "content": STORED_AGAIN,
    "client field": booking(11, clientId=client(11), clientEmail="new@example.com"),
    "client with a document": booking(21, clientId=client(22), notes="stored again"),
    "client without a document": booking(31, clientId=client(39)),
}
"""Bookings that are stored again, each beside others of its own: its number is one above a multiple of ten."""

FIRST = [
    booking(ten + number, clientId=client(ten + number % 4))
    for ten in range(0, 10 * len(OTHERS), 10)
    for number in range(8)
]
"""What is there before: for each case eight bookings of four clients."""

ORIGINALS = {each["_id"]: each for each in FIRST}
UNTOUCHED = [each for each in FIRST if each["_id"] not in {other["_id"] for other in OTHERS.values()}]


@pytest.fixture
def migrated(database: Db, command: Run) -> Db:
    """A collection of eight bookings of four clients that was migrated in place."""
    database.bookings.insert_many(map(booking, range(8)))
    assert [0] == command.once(MIGRATE)
    return database


def _found(database: Db, name: str, condition: Document) -> list[bytes]:
    found = database[name].with_options(codec_options=CODEC).find(condition)
    return sorted(bson.encode(each, codec_options=CODEC) for each in found)


def _bookings(database: Db) -> list[bytes]:
    return _found(database, "bookings", {"sessions": {"$exists": False}})


def _encoded(*documents: Document) -> list[bytes]:
    return sorted(bson.encode(each, codec_options=CODEC) for each in documents)


def _sessions(database: Db) -> dict[Any, list[Any]]:
    """The bookings that each client's sessions claim."""
    documents = database.bookings.find({"sessions": {"$exists": True}})
    return {each["clientId"]: [one["legacyBookingId"] for one in each["sessions"]] for each in documents}


def test_same_bytes_are_migrated_already(database: Db, command: Run) -> None:
    """The copy is counted as already migrated and goes; the result is proven, and a rollback is byte for byte."""
    database.bookings.insert_many(map(booking, range(8)))
    before = contents(database)
    command(*MIGRATE)
    between = contents(database)
    database.bookings.insert_one(OWN)
    again = command(*MIGRATE)
    after = contents(database)
    verified = command(*VERIFY)
    undone = command(*ROLLBACK)

    assert (0, 1, 0) == (
        again.returncode,
        *(json.loads(again.stdout)["counts"][name] for name in ("already_migrated", "migrated")),
    )
    assert between == after
    assert 0 == verified.returncode, verified.stdout
    assert 0 == undone.returncode, undone.stdout
    assert before == contents(database)


def test_same_bytes_leave_a_changed_session_alone(migrated: Db, command: Run) -> None:
    """A session that the application changed goes on for its booking; the stored copy does not undo the change."""
    migrated.bookings.update_one({"clientId": client(1)}, {"$set": {"sessions.0.notes": "changed"}})
    changed = contents(migrated)
    migrated.bookings.insert_one(OWN)
    again = command(*MIGRATE)

    assert (0, 1) == (again.returncode, json.loads(again.stdout)["counts"]["already_migrated"]), again.stderr
    assert changed == contents(migrated)


def test_a_deleted_session_comes_again(migrated: Db, command: Run) -> None:
    """A booking that is stored again after its session was deleted is migrated again, and two runs are undone."""
    migrated.bookings.update_one(
        {"clientId": client(1)},
        {"$pull": {"sessions": {"legacyBookingId": OWN["_id"]}}, "$set": {"totalSessions": 1}},
    )
    migrated.bookings.insert_one(OWN)
    again = command(*MIGRATE)
    sessions = _sessions(migrated)
    undone = command(*ROLLBACK)

    assert (0, 1) == (again.returncode, json.loads(again.stdout)["counts"]["migrated"])
    assert {OWN["_id"], booking(5)["_id"]} == set(sessions[client(1)])
    assert undone.returncode in (0, 3), undone.stderr
    assert _encoded(*map(booking, range(8))) == _bookings(migrated)
    assert {} == _sessions(migrated)


@pytest.fixture
def cases(database: Db, command: Run) -> Db:
    """A collection that was migrated in place, with bookings for each way in which one of them is stored again."""
    database.bookings.insert_many(FIRST)
    assert [0] == command.once(MIGRATE)
    return database


def test_other_bytes_are_a_conflict(cases: Db, command: Run) -> None:
    """It stays where it is, is counted as a conflict with its difference, listed by verify and refused by finalize."""
    cases.bookings.insert_many(OTHERS.values())
    again = command(*MIGRATE)
    report = json.loads(again.stdout)
    records = {each["booking"]["_id"]: each for each in cases.booking_migrate_rejected.find()}
    verified = command(*VERIFY)
    finalized = command("finalize", "--yes", "--json", "--quiet")

    assert (3, 4, 4, 0) == (
        again.returncode,
        *(report["counts"][name] for name in ("rejected", "conflicts", "migrated")),
    )
    assert ["conflict"] == [each["reason"] for each in report["rejections"]]
    for case, other in OTHERS.items():
        own, record = ORIGINALS[other["_id"]], records[other["_id"]]
        assert ("conflict", next(name for name in own if own[name] != other[name])) == (
            record["reason"],
            record["field"],
        ), case
    assert 4 == verified.returncode
    assert {("conflict", str(other["_id"])) for other in OTHERS.values()} <= {
        (each["kind"], each["booking_id"]) for each in json.loads(verified.stdout)["mismatches"]
    }
    assert 4 == finalized.returncode
    assert _encoded(*OTHERS.values()) == _bookings(cases)


def test_it_is_decided_for_the_source(cases: Db, command: Run) -> None:
    """The session is derived from the booking as it is now, which is archived; the result is that of a first migration."""
    before = contents(cases)
    ids = {"_id": {"$in": [other["_id"] for other in OTHERS.values()]}}
    cases.bookings.insert_many(OTHERS.values())
    stored = contents(cases)
    decided = command(*MIGRATE, "--on-conflict", "source")
    verified = command(*VERIFY, "--on-conflict", "source")
    archived = _found(cases, "bookings_legacy", ids)
    documents = _found(cases, "bookings", {})
    later = json.loads(decided.stdout)["run_id"]
    undone = command("rollback", "--run", later, "--yes", "--json", "--quiet")

    counts = json.loads(decided.stdout)["counts"]
    assert (0, 4, 0) == (decided.returncode, counts["scanned"], counts["rejected"]), decided.stderr
    assert 0 == verified.returncode, verified.stdout
    assert _encoded(*OTHERS.values()) == archived
    assert 0 == undone.returncode, undone.stdout
    assert stored == contents(cases)
    cases.bookings.delete_many(ids)
    assert before == contents(cases)
    cases.drop_collection("bookings")
    cases.bookings.insert_many([*UNTOUCHED, *OTHERS.values()])
    cases.drop_collection("bookings_legacy")
    cases.drop_collection("booking_migrate_runs")
    assert 0 == command(*MIGRATE).returncode
    assert _found(cases, "bookings", {}) == documents


def test_deciding_keeps_a_document_of_the_application(migrated: Db, command: Run) -> None:
    """In a document that the application changed, only the session of the booking is derived again."""
    own = {"sessionId": ObjectId(), "price": 3}
    migrated.bookings.update_one({"clientId": client(1)}, {"$push": {"sessions": own}, "$set": {"by": "app"}})
    migrated.bookings.insert_one(STORED_AGAIN)
    decided = command(*MIGRATE, "--on-conflict", "source")
    document = migrated.bookings.find_one({"clientId": client(1)}) or {}

    assert 0 == decided.returncode, decided.stderr
    assert ("app", 3, "stored again", own) == (
        document["by"],
        document["totalSessions"],
        document["sessions"][0]["notes"],
        document["sessions"][2],
    )


@pytest.mark.parametrize("is_run", [False, True], ids=["at once", "after a run"])
def test_rollback_keeps_the_newer_booking(cases: Db, command: Run, is_run: bool) -> None:
    """A rollback keeps the booking as it was stored again, once, lists the difference and exits with 3."""
    cases.bookings.insert_many(OTHERS.values())
    if is_run:
        assert 0 == command(*MIGRATE, "--on-conflict", "source").returncode
    undone = command(*ROLLBACK)
    since = json.loads(undone.stdout)["undone"]["since"]

    assert 3 == undone.returncode, undone.stderr
    assert 4 <= since["changed"]
    for case, other in OTHERS.items():
        assert any(str(other["_id"]) in each for each in since["changes"]), case
    assert _encoded(*UNTOUCHED, *OTHERS.values()) == _bookings(cases)
    assert {} == _sessions(cases)
    assert "bookings_legacy" not in cases.list_collection_names()


@pytest.mark.parametrize("is_run", [False, True], ids=["at once", "after a run"])
def test_discarding_restores_the_original(database: Db, command: Run, is_run: bool) -> None:
    """With --discard-later the booking is byte for byte what it was before the migration."""
    database.bookings.insert_many(FIRST)
    before = contents(database)
    command(*MIGRATE)
    database.bookings.insert_many(OTHERS.values())
    if is_run:
        assert 0 == command(*MIGRATE, "--on-conflict", "source").returncode
    undone = command(*DISCARD)

    assert 0 == undone.returncode, undone.stderr
    assert before == contents(database)


def test_a_session_changed_beside_a_stored_copy(migrated: Db, command: Run) -> None:
    """A copy with the original bytes does not stand in the way of a change that its session carries back."""
    migrated.bookings.update_one({"clientId": client(1)}, {"$set": {"sessions.0.notes": "changed"}})
    migrated.bookings.insert_one(OWN)
    undone = command(*ROLLBACK)

    assert 3 == undone.returncode, undone.stderr
    expected = [*(booking(number) for number in (0, *range(2, 8))), booking(1, notes="changed")]
    assert _encoded(*expected) == _bookings(migrated)
    assert {} == _sessions(migrated)
