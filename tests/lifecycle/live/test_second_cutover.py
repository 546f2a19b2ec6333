"""A second cut-over side by side: the source has client documents already, and bookings of an old application beside them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from bson import ObjectId
from pymongo.collection import Collection
from pymongo.errors import WriteError

from tests.lifecycle.conftest import own_validator
from tests.lifecycle.live.test_finalize import CUTOVER, FINALIZE, PLACES, Db, Run, go_live
from tests.support.booking_lines import booking, client

OWN = {"$or": [{"sessions": {"$exists": False}}, {"totalSessions": {"$gte": 0}}]}
"""A validator for client documents which takes old bookings, too."""


def indexes(collection: Collection[Any]) -> Mapping[str, Any]:
    """The indexes by name, without what every collection has and what the program makes for itself."""
    return {
        name: {**facts, "key": dict(facts["key"])}
        for name, facts in collection.index_information().items()
        if "clientId" not in dict(facts["key"]) and name not in ("_id_", "booking_migrate_legacy_ids")
    }


def cut_over_again(command: Run, *more: str) -> Mapping[str, Any]:
    """Migrate, verify and cut over; what the report says of the cut-over."""
    assert 0 == command("migrate", *PLACES, "--quiet").returncode
    assert 0 == command("verify", *PLACES, "--quiet").returncode
    done = command(*CUTOVER, *more)
    assert 0 == done.returncode, done.stderr
    report: Mapping[str, Any] = json.loads(done.stdout)["cutover"]
    return report


@pytest.fixture
def again(database: Db, command: Run) -> Db:
    """Cut over and finalized; then indexes and a validator for client documents, and more old bookings."""
    database.bookings.insert_many(map(booking, range(8)))
    database.bookings.create_index("expertId")
    go_live(command)
    assert 0 == command(*FINALIZE).returncode
    database.bookings.create_index("totalSessions", name="most")
    database.bookings.create_index(
        "sessions.legacyBookingId",
        name="bookings",
        partialFilterExpression={"sessions.legacyBookingId": {"$exists": True}},
    )
    database.bookings.create_index([("sessions.notes", "text")], name="words")
    database.bookings.drop_index("clientId_1")
    database.command("collMod", "bookings", validator=OWN, validationLevel="moderate")
    database.bookings.insert_many(map(booking, range(8, 12)))
    database.bookings.create_index("status")
    return database


@pytest.mark.parametrize("more", [(), ("--at-rest",)])
def test_what_is_for_client_documents_stays(again: Db, command: Run, more: tuple[str, ...]) -> None:
    """Its indexes keep their fields, names and options, its validator stays beside the guard; a rollback restores all of it."""
    before, options = indexes(again.bookings), again.bookings.options()
    report = cut_over_again(command, *more)
    after = indexes(again.bookings)
    notes = {each["name"]: each for each in report["indexes"]}

    assert {"sessions.expertId_1", "most", "bookings", "words", "status_1"} == set(before)
    unchanged = {name: facts for name, facts in before.items() if name != "status_1"}
    assert unchanged == {name: facts for name, facts in after.items() if name in unchanged}
    assert {"sessions.status_1"} == set(after) - set(unchanged)
    assert "sessions.expertId 1" == notes["sessions.expertId_1"]["recreated_as"]
    assert "sessions.status 1" == notes["status_1"]["recreated_as"]
    assert [("validator", True)] == [(each["name"], each["kept"]) for each in report["options"]]
    assert OWN == own_validator(again.bookings)
    assert "moderate" == again.bookings.options()["validationLevel"]
    for wrong in ({"sessions": [], "totalSessions": -1}, {"status": "an old booking"}):
        with pytest.raises(WriteError, match="failed validation"):
            again.bookings.insert_one({"_id": ObjectId(), "clientId": client(70), **wrong})

    assert 0 == command("rollback", "--target", "clients", "--yes").returncode
    assert (before, options) == (indexes(again.bookings), again.bookings.options())


def test_a_validator_of_the_target_wins(again: Db, command: Run) -> None:
    """The target's own validator is not replaced, and the report says that the old one is not kept."""
    assert 0 == command("migrate", "--source", "bookings", "--target", "clients", "--quiet").returncode
    own = {"totalSpent": {"$gte": 0}}
    again.command("collMod", "clients", validator=own)
    report = cut_over_again(command)

    assert own == own_validator(again.bookings)
    assert ["the new collection has one of its own"] == [each["reason"] for each in report["options"]]
