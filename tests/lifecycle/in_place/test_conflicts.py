"""In place, too, a booking that differs from its session is a conflict, and is decided with --on-conflict."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from bson.objectid import ObjectId
from pymongo.database import Database

from tests.lifecycle.conftest import Ended, contents
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--in-place", "--json", "--quiet")
VERIFY = ("verify", "--in-place", "--json", "--quiet", "--recheck", "0")
ROLLBACK = ("rollback", "--target", "bookings", "--yes", "--json", "--quiet")


@pytest.fixture
def platform(database: Db) -> Db:
    """Bookings of two clients; the application has the session of one of them already, with other content."""
    database.bookings.insert_many([booking(number, clientId=client(number % 2)) for number in range(8)])
    dates = {name: booking(1)[name] for name in ("createdAt", "updatedAt")}
    own = {"sessionId": ObjectId("6" * 24), "price": 1}
    session = {**own, **dates, "legacyBookingId": booking(1)["_id"]}
    database.bookings.insert_one({"_id": 7, "clientId": client(1), "sessions": [session], "totalSessions": 1})
    return database


def test_a_conflict_in_place(platform: Db, command: Run) -> None:
    """The booking stays where it is, is counted as a conflict, and verify does not call it proven."""
    before = contents(platform)
    done = command(*MIGRATE)
    verified = command(*VERIFY)
    counts = json.loads(done.stdout)["counts"]

    assert (3, 8, 7, 1, 1) == (
        done.returncode,
        *(counts[name] for name in ("scanned", "migrated", "rejected", "conflicts")),
    )
    assert (4, {"conflict"}) == (
        verified.returncode,
        {each["kind"] for each in json.loads(verified.stdout)["mismatches"]},
    )
    assert 1 == platform.bookings.count_documents({"_id": booking(1)["_id"]})
    assert 0 == command(*ROLLBACK).returncode
    assert before == contents(platform)


def test_it_is_decided_for_the_source(platform: Db, command: Run) -> None:
    """With --on-conflict source the session is derived from the booking in its place; rollback brings the old one back."""
    before = contents(platform)
    command(*MIGRATE)
    done = command(*MIGRATE, "--on-conflict", "source")
    verified = command(*VERIFY, "--on-conflict", "source")
    document = platform.bookings.find_one({"clientId": client(1)}) or {}

    assert (0, 0) == (done.returncode, verified.returncode), verified.stdout
    assert (4, booking(1)["_id"], booking(1)["price"]) == (
        len(document["sessions"]),
        document["sessions"][0]["legacyBookingId"],
        document["sessions"][0]["price"],
    )
    assert 0 == command(*ROLLBACK).returncode
    assert before == contents(platform)


def test_target_makes_no_sense(command: Run) -> None:
    """--on-conflict target is refused as a wrong option: the booking would have to leave without being in its session."""
    assert 2 == command(*MIGRATE, "--on-conflict", "target").returncode


def test_a_second_run_beside_rejected_bookings(platform: Db, command: Run) -> None:
    """Rejected bookings of an earlier run are noted under names of their own: a later run still moves what has come."""
    platform.bookings.delete_one({"_id": 7})
    platform.bookings.insert_one(booking(20, duration=5))
    first = command(*MIGRATE)
    platform.bookings.insert_many([booking(number, clientId=client(number % 2)) for number in range(30, 34)])
    second = command(*MIGRATE)

    assert (3, 3) == (first.returncode, second.returncode), second.stderr
    assert 4 == json.loads(second.stdout)["counts"]["migrated"]
    assert 0 == command(*VERIFY).returncode
