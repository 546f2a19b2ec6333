"""Verify knows from the journal what was in the target before the run, and vouches for nothing else."""

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
Killed = Callable[..., Any]

PLACES = ("--source", "bookings", "--target", "clients")
MIGRATE = ("migrate", *PLACES, "--batch-size", "5", "--quiet")
VERIFY = ("verify", *PLACES, "--recheck", "0", "--json", "--quiet")

OWN = {"sessionId": ObjectId("6" * 24), "price": 12, "note": "booked in the new application"}


def own_document(number: int) -> dict[str, Any]:
    """A client document of the new application with one session of its own."""
    return {
        "_id": ObjectId(f"{number:024x}"),
        "clientId": client(number),
        "sessions": [OWN],
        "totalSpent": 12,
    }


@pytest.fixture
def earlier(database: Db) -> None:
    """Twelve bookings of four clients, one of which has a client document of its own already."""
    database.bookings.insert_many(map(booking, range(12)))
    database.clients.insert_one(own_document(1))


def mismatches(ended: Ended) -> list[tuple[str, str]]:
    """The kinds and clients of what verify found."""
    return [(each["kind"], each["client_id"]) for each in json.loads(ended.stdout)["mismatches"]]


@pytest.mark.usefixtures("earlier")
def test_what_was_there_is_no_mismatch(database: Db, command: Run) -> None:
    """Sessions that the target held before the run need no --allow-later, and verify writes to no data."""
    command(*MIGRATE)
    before = contents(database)
    proven = command(*VERIFY)

    assert (0, []) == (proven.returncode, mismatches(proven)), proven.stderr
    assert before == contents(database)


@pytest.mark.usefixtures("earlier")
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"$push": {"sessions": {**OWN, "sessionId": ObjectId("7" * 24)}}}, "extra"),
        ({"$set": {"sessions.0.price": 13}}, "content"),
        ({"$pop": {"sessions": -1}}, "missing"),
    ],
    ids=["one-more", "changed", "gone"],
)
def test_what_came_since_is(database: Db, command: Run, change: dict[str, Any], kind: str) -> None:
    """A session that came since, and one that was there and is no longer as it was, are still mismatches."""
    command(*MIGRATE)
    database.clients.update_one({"clientId": client(1)}, change)
    found = command(*VERIFY)

    assert 4 == found.returncode
    assert {str(client(1))} == {each for _, each in mismatches(found)}
    assert kind in [each for each, _ in mismatches(found)]


def test_what_an_earlier_run_made_was_not_there(database: Db, command: Run) -> None:
    """A session that somebody put into a run's document before the next run is no session from before the runs."""
    database.bookings.insert_many(map(booking, range(8)))
    command(*MIGRATE)
    database.clients.update_one({"clientId": client(1)}, {"$push": {"sessions": OWN}})
    database.bookings.insert_many(map(booking, range(8, 16)))
    command(*MIGRATE)
    found = command(*VERIFY)

    assert 4 == found.returncode
    assert ("extra", str(client(1))) in mismatches(found)


@pytest.mark.usefixtures("earlier")
def test_over_several_runs(database: Db, command: Run, killed: Killed) -> None:
    """Through an interrupted run and a second one, what was there before the first is known."""
    killed("batch-written", 2, *MIGRATE)
    command(*MIGRATE)
    first = command(*VERIFY)
    database.bookings.insert_many(map(booking, range(12, 20)))
    command(*MIGRATE)
    second = command(*VERIFY)

    assert (0, 0) == (first.returncode, second.returncode), first.stdout + second.stdout


@pytest.mark.usefixtures("earlier")
def test_it_can_be_cut_over(database: Db, command: Run) -> None:
    """A target with sessions of its own becomes live, though the last proof is as strict as any."""
    command(*MIGRATE)
    command(*VERIFY)
    done = command("cutover", *PLACES, "--yes")

    assert 0 == done.returncode, done.stderr
    live = database.bookings.find_one({"clientId": client(1)}) or {}
    assert OWN == live["sessions"][0]
    assert 4 == len(live["sessions"])


@pytest.mark.usefixtures("earlier")
def test_a_journal_that_cannot_be_read(database: Db, command: Run) -> None:
    """A journal of a newer version is said to be unknown, and the verification goes on without it."""
    command(*MIGRATE)
    database.booking_migrate_runs.update_many({}, {"$set": {"version": 99}})
    found = command(*VERIFY[:-1])

    assert 4 == found.returncode
    assert "what was in clients before the run is not known" in found.stderr
    assert {str(client(1))} == {each for _, each in mismatches(found)}
