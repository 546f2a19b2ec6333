"""Sessions booked since a cut-over become old bookings at its rollback, where that is possible."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.domain.ids import booking_of_session
from tests.lifecycle.conftest import Command, contents
from tests.support.booking_lines import booking, client
from tests.support.failpoints import Step

Db = Database[dict[str, Any]]
Run = Command
Killed = Callable[..., int]

PLACES = ("--source", "bookings", "--target", "clients")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")
BESIDE = ("_id", "clientId", "clientUserId", "clientEmail", "__v")


def session(number: int, **changes: Any) -> dict[str, Any]:
    """A session as the new application books one."""
    own = {name: value for name, value in booking(number).items() if name not in BESIDE}
    # As the driver reads it again.
    return bson.decode(bson.encode({"sessionId": ObjectId(), **own, **changes}))


def document(key: Any, owner: Any, *sessions: dict[str, Any]) -> dict[str, Any]:
    """A client document as the new application makes one."""
    fields = {name: booking(0)[name] for name in BESIDE[2:4]}
    return {"_id": key, "clientId": owner, **fields, "sessions": list(sessions)}


@pytest.fixture
def live(database: Db, command: Run) -> None:
    """Twelve bookings, cut over."""
    database.bookings.insert_many(map(booking, range(12)))
    steps = (("migrate",), ("verify", "--recheck", "0"), ("cutover", "--yes", "--max-outage", "60s"))
    assert [0, 0, 0] == command.once(*([*step, *PLACES, "--quiet"] for step in steps))


@pytest.mark.usefixtures("live")
def test_what_can_be_converted_is(database: Db, command: Run) -> None:
    """Of a client that had bookings and of a new one; what breaks the contract's types, or has no id of its own, stays."""
    known, new, broken = session(20), session(21), session(22, price="20")
    twice = session(23)
    database.bookings.update_one({"clientId": client(0)}, {"$push": {"sessions": {"$each": [known, broken]}}})
    database.bookings.insert_many(
        [document("new", client(98), new, twice), document("copy", client(99), twice)]
    )
    done = command(*ROLLBACK, "--convert-later")
    since = json.loads(done.stdout)["undone"]["since"]
    back = {each["_id"]: each for each in database.bookings.find({"sessions": {"$exists": False}})}
    left = [each["clientId"] for each in database.bookings.find({"sessions": {"$exists": True}})]

    assert 3 == done.returncode, done.stderr
    assert (5, 3) == (since["later"], since["converted"])
    assert {str(each["sessionId"]) for each in (broken, twice)} == set(since["staying_ids"])
    assert {booking(number)["_id"] for number in range(12)} < back.keys()
    for each, owner in ((known, client(0)), (new, client(98)), (twice, client(98))):
        expected = {name: value for name, value in each.items() if name != "sessionId"}
        found = back[booking_of_session(each["sessionId"])]
        assert owner == found["clientId"]
        assert expected.items() <= found.items()
    assert sorted([client(0), client(99)]) == sorted(left)


@pytest.mark.usefixtures("live")
def test_a_later_migration_gives_the_same_sessions(database: Db, command: Run) -> None:
    """Converted back and migrated again, a session has the id and the content that the new application gave it."""
    booked = session(30, notes="booked in the new shape")
    database.bookings.update_one({"clientId": client(1)}, {"$push": {"sessions": booked}})
    back = command(*ROLLBACK, "--convert-later")
    again = command("migrate", *PLACES, "--json")
    (found,) = (
        each
        for one in database.clients.find({"clientId": client(1)})
        for each in one["sessions"]
        if each["sessionId"] == booked["sessionId"]
    )

    assert (3, 0) == (back.returncode, again.returncode), again.stderr
    assert {**booked, "legacyBookingId": booking_of_session(booked["sessionId"])} == found


@pytest.mark.usefixtures("live")
def test_without_the_option(database: Db, command: Run) -> None:
    """Without a window, sessions stay in the new shape as long as it is not asked for."""
    database.bookings.update_one({"clientId": client(1)}, {"$push": {"sessions": session(30)}})
    done = command(*ROLLBACK)

    assert 3 == done.returncode
    assert 0 == json.loads(done.stdout)["undone"]["since"]["converted"]
    assert 1 == database.bookings.count_documents({"sessions": {"$exists": True}})
    assert {"bookings"} == set(contents(database))


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize(("option", "exit_code"), [("--convert-later", 3), ("--discard-later", 0)])
def test_killed_its_option_is_printed(
    database: Db, command: Run, killed: Killed, option: str, exit_code: int
) -> None:
    """The command that status prints for a rollback that was killed does with later sessions what the first one was to do."""
    database.bookings.update_one({"clientId": client(0)}, {"$push": {"sessions": session(20)}})
    assert -9 == killed(Step.RESTORATION_NOTED.value, 1, *ROLLBACK, option)
    (run,) = json.loads(command("status", "--json").stdout)["runs"]
    (printed,) = run["possible"]
    done = command(*shlex.split(printed)[1:], "--yes")

    assert f"booking-migrate rollback --run {run['run_id']} {option}" == printed
    assert exit_code == done.returncode, done.stderr
    assert (12 + (option == "--convert-later"), 0) == tuple(
        database.bookings.count_documents({"sessions": {"$exists": there}}) for there in (False, True)
    )


@pytest.mark.usefixtures("live")
def test_dropped_and_converted(command: Run) -> None:
    """Both at once is a mistake."""
    assert 2 == command(*ROLLBACK, "--discard-later", "--convert-later").returncode
