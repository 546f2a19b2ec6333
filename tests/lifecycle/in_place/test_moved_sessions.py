"""In place, a rollback after the application has joined accounts, or moved or copied sessions between clients."""

import json
from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from tests.lifecycle.conftest import Ended, contents
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Document = dict[str, Any]

MIGRATE = ("migrate", "--in-place", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "bookings", "--yes", "--json", "--quiet")
DISCARD = (*ROLLBACK, "--discard-later")
ONE, OTHER, NEW = client(1), client(2), client(9)
OWN = {"sessionId": ObjectId("6" * 24), "price": 5}


def _session(database: Db) -> Document:
    document = database.bookings.find_one({"clientId": ONE, "sessions": {"$exists": True}}) or {}
    session: Document = next(
        each for each in document["sessions"] if each.get("legacyBookingId") == booking(1)["_id"]
    )
    return session


def _join(database: Db) -> None:
    database.bookings.update_one({"clientId": ONE}, {"$set": {"clientId": NEW}})


def _move(database: Db) -> None:
    session = _session(database)
    database.bookings.update_one(
        {"clientId": ONE}, {"$pull": {"sessions": {"sessionId": session["sessionId"]}}}
    )
    database.bookings.update_one({"clientId": OTHER}, {"$push": {"sessions": session}})


def _copy(database: Db) -> None:
    database.bookings.update_one({"clientId": OTHER}, {"$push": {"sessions": _session(database)}})


def _move_to_a_new_document(database: Db) -> None:
    session = _session(database)
    database.bookings.update_one(
        {"clientId": ONE}, {"$pull": {"sessions": {"sessionId": session["sessionId"]}}}
    )
    database.bookings.insert_one({"_id": 7, "clientId": NEW, "sessions": [OWN, session], "totalSessions": 2})


def _copy_to_a_new_document(database: Db) -> None:
    database.bookings.insert_one(
        {"_id": 7, "clientId": NEW, "sessions": [OWN, _session(database)], "totalSessions": 2}
    )


def _exchange(database: Db) -> None:
    one, other = (
        database.bookings.find_one({"clientId": each, "sessions": {"$exists": True}}) or {}
        for each in (ONE, OTHER)
    )
    for document, partner in ((one, other), (other, one)):
        own = [each for each in document["sessions"] if "legacyBookingId" not in each]
        theirs = [each for each in partner["sessions"] if "legacyBookingId" in each]
        database.bookings.update_one({"_id": document["_id"]}, {"$set": {"sessions": [*own, *theirs]}})


CHANGES: dict[str, tuple[Callable[[Db], None], dict[int, ObjectId]]] = {
    "account joined": (_join, {1: NEW, 5: NEW}),
    "session moved": (_move, {1: OTHER}),
    "session copied": (_copy, {}),
    "session moved to a new document": (_move_to_a_new_document, {1: NEW}),
    "session copied to a new document": (_copy_to_a_new_document, {}),
    "sessions exchanged": (_exchange, {1: OTHER, 5: OTHER, 2: ONE, 6: ONE}),
}


def _encoded(owners: dict[int, ObjectId]) -> list[bytes]:
    return sorted(
        bson.encode(
            booking(number, **({"clientId": owners[number]} if number in owners else {})), codec_options=CODEC
        )
        for number in range(8)
    )


def _bookings(database: Db) -> list[bytes]:
    found = database.bookings.with_options(codec_options=CODEC).find({"sessions": {"$exists": False}})
    return sorted(bson.encode(each, codec_options=CODEC) for each in found)


@pytest.mark.each_value
@pytest.mark.parametrize(("change", "owners"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("has_document", [False, True], ids=["without", "with"])
class TestMovedSessions:
    """The application has moved sessions; the client had a client document before the migration, or had none."""

    def test_every_booking_comes_back_once(
        self,
        database: Db,
        command: Run,
        change: Callable[[Db], None],
        owners: dict[int, ObjectId],
        has_document: bool,
    ) -> None:
        """A booking is the client's whose document has its session; what moved is listed, and the next migration runs."""
        self._migrate(database, command, has_document=has_document)
        change(database)
        undone = command(*ROLLBACK)
        since = json.loads(undone.stdout)["undone"]["since"]
        claims = database.bookings.distinct("sessions.legacyBookingId")

        assert 3 == undone.returncode, undone.stderr
        assert 0 < since["changed"] + since["lost"]
        assert 0 == since["missing"]
        assert _encoded(owners) == _bookings(database)
        assert [] == claims
        kept = [each["sessions"] for each in database.bookings.find({"sessions": {"$exists": True}})]
        own = [OWN] * (has_document + ("new document" in str(change.__name__).replace("_", " ")))
        assert own == [session for sessions in kept for session in sessions]
        assert 0 == command(*MIGRATE).returncode

    def test_discarding_puts_it_as_before(
        self,
        database: Db,
        command: Run,
        change: Callable[[Db], None],
        owners: dict[int, ObjectId],  # noqa: ARG002 - where the bookings would go without the option
        has_document: bool,
    ) -> None:
        """With --discard-later the bookings and documents are as before; a document that others made loses the copies."""
        before = self._migrate(database, command, has_document=has_document)
        change(database)
        undone = command(*DISCARD)
        own = database.bookings.find_one_and_delete({"_id": 7, "clientId": NEW, "sessions": [OWN]})

        assert 0 == undone.returncode, undone.stderr
        assert before == contents(database)
        assert ("new_document" in change.__name__) == (own is not None)

    @staticmethod
    def _migrate(database: Db, command: Run, *, has_document: bool) -> dict[str, str]:
        database.bookings.insert_many(map(booking, range(8)))
        if has_document:
            database.bookings.insert_one({"_id": 8, "clientId": ONE, "sessions": [OWN], "totalSessions": 1})
        before = contents(database)
        assert 0 == command(*MIGRATE).returncode
        return before


def test_bookings_after_accounts_were_joined(database: Db, command: Run) -> None:
    """A booking of a client whose document is another client's now is a conflict, and a rollback still ends."""
    database.bookings.insert_many(map(booking, range(8)))
    command(*MIGRATE)
    _join(database)
    database.bookings.insert_one(booking(33))
    again = command(*MIGRATE)
    undone = command(*ROLLBACK)

    assert (3, 1) == (again.returncode, json.loads(again.stdout)["counts"]["conflicts"]), again.stderr
    assert 3 == undone.returncode, undone.stderr
    expected = sorted([*_encoded({1: NEW, 5: NEW}), bson.encode(booking(33), codec_options=CODEC)])
    assert expected == _bookings(database)


def test_an_earlier_document_that_was_passed_on(database: Db, command: Run) -> None:
    """A document from before that lost its bookings and went to another client goes back with --discard-later."""
    database.bookings.insert_many(map(booking, range(8)))
    database.bookings.insert_one({"_id": 8, "clientId": ONE, "sessions": [OWN], "totalSessions": 1})
    before = contents(database)
    command(*MIGRATE)
    database.bookings.update_one({"_id": 8}, {"$set": {"clientId": NEW, "sessions": [OWN]}})
    undone = command(*DISCARD)

    assert 0 == undone.returncode, undone.stderr
    assert before == contents(database)


def test_a_booking_that_two_runs_moved(database: Db, command: Run) -> None:
    """The only booking of a run, which a later run moved again, does not stop the rollback of the first."""
    database.bookings.insert_one(booking(1))
    before = contents(database)
    command(*MIGRATE)
    database.bookings.delete_many({})
    database.bookings.insert_one(booking(1))
    again = command(*MIGRATE)
    undone = command(*ROLLBACK)

    assert (0, 1) == (again.returncode, json.loads(again.stdout)["counts"]["migrated"])
    assert undone.returncode in (0, 3), undone.stderr
    assert before == contents(database)
