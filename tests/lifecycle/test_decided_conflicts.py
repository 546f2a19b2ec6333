"""Conflicts that a decision settles: it is about one session, once, with content that the new application can store."""

import json
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Command
from tests.lifecycle.test_changed_bookings import CUTOVER, MIGRATE, ROLLBACK, VERIFY, counts, kinds
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Command

SOURCE = ("--on-conflict", "source")
TARGET = ("--on-conflict", "target")


@pytest.fixture
def migrated(database: Db, command: Run) -> Db:
    """Six bookings of two clients, migrated."""
    database.bookings.insert_many([booking(number, clientId=client(number % 2)) for number in range(6)])
    assert [0] == command.once(MIGRATE)
    return database


def codes(command: Run, *policy: str) -> list[int]:
    """The exit codes of migrate, verify and cutover, under one policy."""
    return [command(*each, *policy).returncode for each in (MIGRATE, VERIFY, CUTOVER)]


def one(database: Db, name: str = "clients") -> dict[str, Any]:
    """The first client's document."""
    (document,) = database[name].find({"clientId": client(0)})
    return document


def double(database: Db, times: int = 1, **changes: Any) -> None:
    """Add the first session of the first client again, with changed fields."""
    session = {**one(database)["sessions"][0], **changes}
    database.clients.update_one(
        {"clientId": client(0)}, {"$push": {"sessions": {"$each": [session] * times}}}
    )


@pytest.mark.each_value
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("changes", [{}, {"notes": "another"}])
def test_a_doubled_session_is_derived_once(
    migrated: Db, command: Run, times: int, changes: dict[str, Any]
) -> None:
    """Decided for the source, a booking whose session stands there several times has one session, the booking's."""
    before = one(migrated)
    double(migrated, times, **changes)

    assert [0, 0, 0] == codes(command, *SOURCE)
    assert before["sessions"] == one(migrated, "bookings")["sessions"]
    assert before["totalSpent"] == one(migrated, "bookings")["totalSpent"]


@pytest.mark.each_value
@pytest.mark.parametrize("policy", [(), TARGET])
@pytest.mark.parametrize("changes", [{}, {"notes": "another"}])
def test_a_doubled_session_is_never_kept(
    migrated: Db, command: Run, policy: tuple[str, ...], changes: dict[str, Any]
) -> None:
    """Otherwise it is a conflict, whatever the policy, and does not go live."""
    double(migrated, **changes)
    again = command(*MIGRATE, *policy)
    proof = command(*VERIFY, *policy)

    assert (3, 1) == (again.returncode, counts(again)["conflicts"])
    assert (4, True) == (proof.returncode, "duplicate" in kinds(proof))
    assert 5 == command(*CUTOVER, *policy, "--rejected", "carry").returncode


def test_a_decision_is_about_the_session_alone(migrated: Db, command: Run) -> None:
    """Totals and fields beside a kept session are derived, whatever others made of them."""
    before = one(migrated)
    migrated.clients.update_one(
        {"clientId": client(0)},
        {
            "$set": {"sessions.0.notes": "by the application", "totalSpent": 99999, "totalSessions": 55},
            "$unset": {"clientUserId": 1, "updatedAt": 1},
        },
    )

    assert [0, 0, 0] == codes(command, *TARGET)
    live = one(migrated, "bookings")
    assert "by the application" == live["sessions"][0]["notes"]
    for name in ("totalSpent", "totalSessions", "clientUserId", "updatedAt"):
        assert before[name] == live[name], name


def test_a_session_that_breaks_the_contract_is_not_kept(database: Db, command: Run) -> None:
    """The new application could not save such a document, so the conflict stays one."""
    changes: list[dict[str, Any]] = [
        {"$set": {"sessions.0.price": "free"}},
        {"$set": {"sessions.0.duration": 5}},
        {"$unset": {"sessions.0.expertEmail": 1}},
        {"$unset": {"sessions.0.startTime": 1}},
    ]
    database.bookings.insert_many(map(booking, range(12)))
    assert 0 == command(*MIGRATE).returncode
    changed = set()
    for number, change in enumerate(changes):
        document = database.clients.find_one_and_update({"clientId": client(number)}, change) or {}
        changed.add(str(document["sessions"][0]["legacyBookingId"]))
    again = command(*MIGRATE, *TARGET)
    proof = command(*VERIFY, *TARGET)
    found = {(each["kind"], each["booking_id"]) for each in json.loads(proof.stdout)["mismatches"]}

    assert (3, 4) == (again.returncode, counts(again)["conflicts"])
    assert 4 == proof.returncode
    assert {("conflict", each) for each in changed} <= found
    assert 5 == command(*CUTOVER, *TARGET, "--rejected", "leave").returncode


def test_no_decision_behind_the_fence(migrated: Db, command: Run) -> None:
    """A kept session that changes after the verification, or another conflict, ends the cut-over; the source stays live."""
    migrated.clients.update_one({"clientId": client(0)}, {"$set": {"sessions.0.notes": "kept"}})
    for change in ({"sessions.0.price": 5000}, {"sessions.1.notes": "another one"}):
        assert [0, 0] == [command(*each, *TARGET).returncode for each in (MIGRATE, VERIFY)]
        migrated.clients.update_one({"clientId": client(0)}, {"$set": change})
        refused = command(*CUTOVER, *TARGET)

        assert 5 == refused.returncode, change
        assert "changed by others" in refused.stderr
        assert "validator" not in migrated.bookings.options()
        assert 6 == migrated.bookings.count_documents({"sessions": {"$exists": False}})
    assert [0, 0, 0] == codes(command, *TARGET)


@pytest.mark.parametrize(("policy", "expected"), [((), 4), (SOURCE, 0), (TARGET, 4)])
def test_a_session_without_its_claim_is_its_bookings(
    migrated: Db, command: Run, policy: tuple[str, ...], expected: int
) -> None:
    """A session that lost `legacyBookingId` is known by its `sessionId`, also when no run is known that wrote it."""
    migrated.clients.update_one({"clientId": client(0)}, {"$unset": {"sessions.0.legacyBookingId": 1}})
    assert 3 == command(*ROLLBACK).returncode
    command(*MIGRATE, *policy)
    proof = command(*VERIFY, *policy)

    assert expected == proof.returncode, proof.stdout
    ids = [each["sessionId"] for each in one(migrated)["sessions"]]
    assert sorted(set(ids)) == sorted(ids)


def test_what_others_emptied_goes_with_the_last_booking(migrated: Db, command: Run) -> None:
    """A document that a run created and others emptied does not come back when its client has no bookings any more."""
    deleted, moved, invalid = (booking(10 + n, clientId=client(10 + n)) for n in range(3))
    migrated.bookings.insert_many([deleted, moved, invalid])
    assert 0 == command(*MIGRATE).returncode
    theirs = {"clientId": {"$in": [each["clientId"] for each in (deleted, moved, invalid)]}}
    assert 3 == migrated.clients.update_many(theirs, {"$set": {"sessions": []}}).modified_count
    assert 0 == command(*MIGRATE).returncode
    migrated.bookings.delete_one({"_id": deleted["_id"]})
    migrated.bookings.update_one({"_id": moved["_id"]}, {"$set": {"clientId": client(1)}})

    assert 0 == command(*MIGRATE).returncode
    migrated.bookings.update_one({"_id": invalid["_id"]}, {"$set": {"price": -1}})
    assert 3 == command(*MIGRATE).returncode
    assert 0 == command(*VERIFY).returncode
    assert [] == [each["clientId"] for each in migrated.clients.find(theirs)]


@pytest.mark.parametrize("way", ["moved", "exchanged"])
def test_client_documents_that_change_their_client(migrated: Db, command: Run, way: str) -> None:
    """Client documents of the source that pass to other clients of the same batch take their `_id` along, in one migration."""
    session = {"sessionId": 1, "price": 1}
    documents = [{"_id": n, "clientId": client(n), "sessions": [{**session, "sessionId": n}]} for n in (0, 1)]
    migrated.bookings.insert_many(documents[: 1 if way == "moved" else 2])
    assert 0 == command(*MIGRATE, "--batch-size", "500").returncode
    migrated.bookings.update_one({"_id": 0}, {"$set": {"clientId": client(1)}})
    if way == "exchanged":
        migrated.bookings.update_one({"_id": 1}, {"$set": {"clientId": client(0)}})
    again = command(*MIGRATE, "--batch-size", "500")

    assert 0 == again.returncode, again.stderr
    assert 0 == command(*VERIFY).returncode
    assert client(1) == migrated.clients.find_one({"_id": 0})["clientId"]  # type: ignore[index]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_client_documents_of_different_batches_that_exchange_their_ids(
    migrated: Db, command: Run, workers: str
) -> None:
    """The refusal names both clients and the `_id`, and the command that it names leads out."""
    documents = [
        {"_id": n, "clientId": client(n), "sessions": [{"sessionId": n, "price": 1}]} for n in (0, 1)
    ]
    migrated.bookings.insert_many(documents)
    few = ("--batch-size", "1", "--workers", workers)
    assert 0 == command(*MIGRATE, *few).returncode
    for n in (0, 1):
        migrated.bookings.update_one({"_id": n}, {"$set": {"clientId": client(1 - n)}})
    refused = command(*MIGRATE, *few)
    said = " ".join(refused.stderr.split())

    assert 1 == refused.returncode
    assert (
        f"holds the document of client {client(1)} under the _id 1, which that of client {client(0)} has"
        in said
    )
    assert "booking-migrate rollback --target clients" in said
    assert "Another process" not in said
    assert 0 == command("rollback", "--target", "clients", "--yes").returncode
    assert 0 == migrated.clients.count_documents({})
    assert [0, 0] == [command(*each).returncode for each in ((*MIGRATE, *few), VERIFY)]
    assert client(1) == migrated.clients.find_one({"_id": 0})["clientId"]  # type: ignore[index]


def test_another_policy_that_decides_nothing(migrated: Db, command: Run) -> None:
    """A cut-over under a policy that the run did not have, and that has nothing to decide, is not refused for it."""
    assert [0, 0] == [command(*each, *SOURCE).returncode for each in (MIGRATE, VERIFY)]
    assert 0 == command(*CUTOVER, *SOURCE).returncode
    assert 2 == migrated.bookings.count_documents({})
