"""A rollback after a cut-over, when the application has moved, emptied or removed what the cut-over made live."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.lifecycle.test_changed_bookings import CUTOVER, MIGRATE, ROLLBACK, VERIFY
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Documents = list[dict[str, Any]]

EMPTY = {
    "_id": "empty",
    "clientId": client(50),
    "clientUserId": "1234",
    "clientEmail": "a@example.com",
    "sessions": [],
    "totalSessions": 0,
    "totalSpent": 0,
}


def since(ended: Ended) -> dict[str, Any]:
    """What a rollback says of the time since the cut-over."""
    found: dict[str, Any] = json.loads(ended.stdout)["undone"]["since"]
    return found


def bookings_of(database: Db) -> dict[Any, dict[str, Any]]:
    """The old bookings by `_id`."""
    return {each["_id"]: each for each in database.bookings.find({"sessions": {"$exists": False}})}


def session_ids(database: Db) -> Iterator[Any]:
    """The bookings that sessions claim to be."""
    for document in database.bookings.find({"sessions": {"$exists": True}}):
        yield from (each.get("legacyBookingId") for each in document["sessions"])


@pytest.fixture
def live(database: Db, command: Run) -> dict[Any, dict[str, Any]]:
    """Six bookings of two clients and a rejected one, cut over with the rejected one carried; as they were before."""
    database.bookings.insert_many([booking(number, clientId=client(number % 2)) for number in range(6)])
    database.bookings.insert_one(booking(6, clientId=client(2), price=-1))
    before = bookings_of(database)
    assert 3 == command(*MIGRATE).returncode
    assert 0 == command(*VERIFY).returncode
    assert 0 == command(*CUTOVER, "--rejected", "carry").returncode
    return before


@pytest.mark.parametrize("discards", [False, True])
def test_an_empty_client_document(database: Db, command: Run, live: dict[Any, Any], discards: bool) -> None:
    """A client document without sessions that the application made is counted and stays, or goes with the rest."""
    database.bookings.insert_one(EMPTY)
    done = command(*ROLLBACK, *(["--discard-later"] if discards else []))

    assert (0 if discards else 3) == done.returncode, done.stderr
    assert 1 == since(done)["later"]
    assert live == bookings_of(database)
    assert ([] if discards else [EMPTY]) == list(database.bookings.find({"sessions": {"$exists": True}}))


def test_an_empty_client_document_from_before(database: Db, command: Run) -> None:
    """One that stood in the target before the first run, of a client with bookings, does not keep a rollback from ending."""
    database.clients.insert_one({**EMPTY, "clientId": client(0)})
    database.bookings.insert_many([booking(number, clientId=client(0)) for number in range(4)])
    before = bookings_of(database)
    assert [0, 0, 0] == [command(*each).returncode for each in (MIGRATE, VERIFY, CUTOVER)]

    done = command(*ROLLBACK)

    assert (3, 0) == (done.returncode, since(done)["later"])
    assert before == bookings_of(database)
    assert [] == list(session_ids(database))


def test_an_emptied_document_of_bookings(database: Db, command: Run, live: dict[Any, Any]) -> None:
    """A document whose sessions the application has removed goes, and its bookings come back and are listed."""
    database.bookings.update_one(
        {"clientId": client(0), "sessions": {"$exists": True}}, {"$set": {"sessions": []}}
    )
    done = command(*ROLLBACK)

    assert (3, 3) == (done.returncode, since(done)["missing"]), done.stderr
    assert live == bookings_of(database)
    assert [] == list(session_ids(database))


def test_a_carried_booking_that_was_moved(database: Db, command: Run, live: dict[Any, Any]) -> None:
    """It stands once, with its new client, which is listed as a change."""
    this = {"_id": booking(6)["_id"]}
    database.bookings.update_one(this, {"$set": {"clientId": client(0)}})
    done = command(*ROLLBACK)
    found = bookings_of(database)

    assert (3, 1, 0) == (done.returncode, since(done)["changed"], since(done)["later"]), done.stderr
    assert {**live, this["_id"]: {**live[this["_id"]], "clientId": client(0)}} == found


def test_a_moved_carried_booking_is_discarded(database: Db, command: Run, live: dict[Any, Any]) -> None:
    """Asked to drop what happened since, it comes back as it was."""
    database.bookings.update_one({"_id": booking(6)["_id"]}, {"$set": {"clientId": client(0)}})
    done = command(*ROLLBACK, "--discard-later")

    assert 0 == done.returncode, done.stderr
    assert live == bookings_of(database)


def test_a_carried_booking_that_was_deleted(database: Db, command: Run, live: dict[Any, Any]) -> None:
    """It comes back, and is listed as every booking that was gone."""
    database.bookings.delete_one({"_id": booking(6)["_id"]})
    done = command(*ROLLBACK)

    assert (3, 1) == (done.returncode, since(done)["missing"])
    assert live == bookings_of(database)


@pytest.mark.parametrize("way", ["document", "session"])
def test_sessions_that_stand_at_another_client(
    database: Db, command: Run, live: dict[Any, Any], way: str
) -> None:
    """A booking whose session the application has moved to another client comes back once, and can be migrated again."""
    document = database.bookings.find_one({"clientId": client(0), "sessions": {"$exists": True}})
    assert document is not None
    if way == "document":
        database.bookings.update_one({"_id": document["_id"]}, {"$set": {"clientId": client(60)}})
    else:
        there = {"clientId": client(1), "sessions": {"$exists": True}}
        database.bookings.update_one({"_id": document["_id"]}, {"$pop": {"sessions": -1}})
        database.bookings.update_one(there, {"$push": {"sessions": document["sessions"][0]}})
    done = command(*ROLLBACK)

    assert 3 == done.returncode, done.stderr
    assert (3 if way == "document" else 1) <= since(done)["lost"]
    assert live == bookings_of(database)
    assert [] == list(session_ids(database))
    assert [3, 0] == [command(*each).returncode for each in (MIGRATE, VERIFY)]


@pytest.mark.parametrize("is_edited", [False, True])
def test_a_session_that_a_decision_kept(database: Db, command: Run, is_edited: bool) -> None:
    """Its difference is of before the cut-over, and does not get into the old booking; an edit since then does."""
    policy = ("--on-conflict", "target")
    database.bookings.insert_many([booking(number, clientId=client(0)) for number in range(2)])
    assert 0 == command(*MIGRATE, *policy).returncode
    database.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "acknowledged", "price": 99}})
    database.clients.update_one({}, {"$set": {"clientEmail": "new@example.com"}})
    before = bookings_of(database)
    assert [0, 0, 0] == [command(*each, *policy).returncode for each in (MIGRATE, VERIFY, CUTOVER)]
    if is_edited:
        database.bookings.update_one({}, {"$set": {"sessions.0.status": "cancelled"}})
    done = command(*ROLLBACK)
    found = bookings_of(database)[booking(0)["_id"]]

    assert 3 == done.returncode, done.stderr
    if is_edited:
        assert "cancelled" == found["status"]
    else:
        assert before == bookings_of(database)
        assert 0 == since(done)["changed"]
