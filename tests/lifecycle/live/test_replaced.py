"""A collection that others drop, rename or replace as a whole while it is followed: no document's change shows that."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Command
from tests.lifecycle.live.test_follow import FOLLOW, PATIENCE, await_ready, ended_by, newest, started
from tests.support.application import sessions_of
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")
# No limit that a busy machine could pass.
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")


@pytest.fixture
def bookings(database: Db) -> Db:
    """Forty bookings of five clients; of the first, whose only booking lacks these fields, they are looked up."""
    lacking = booking(0, clientId=client(9))
    del lacking["clientUserId"], lacking["clientEmail"]
    database.bookings.insert_many([lacking, *map(booking, range(1, 40))])
    database.users.insert_one({"_id": client(9), "user_id": "1234", "email": "first@example.com"})
    database.experts.insert_one({"_id": booking(0)["expertId"], "userId": client(9)})
    return database


def dropped(database: Db) -> None:
    """Drop the source, and store some of its bookings again, as after a restore."""
    kept = list(database.bookings.find().limit(30))
    database.bookings.drop()
    database.bookings.insert_many(kept)


def replaced(database: Db) -> None:
    """Replace the source on the server by some of its bookings."""
    database.bookings.aggregate([{"$limit": 30}, {"$out": "bookings"}])


def renamed(database: Db) -> None:
    """Take the source away, and put another collection in its place."""
    database.other.insert_many(database.bookings.find().limit(30))
    database.bookings.rename("bookings_of_before")
    database.other.rename("bookings")


def other_users(database: Db) -> None:
    """Replace the users, as a nightly job that writes all of them may do."""
    database.users.aggregate([{"$set": {"email": "second@example.com"}}, {"$out": "users"}])


def part_of_target(database: Db) -> None:
    """Drop the target, and store one of its documents again, which is this program's own."""
    kept = database.clients.find_one({"clientId": client(1)}) or {}
    database.clients.drop()
    database.clients.create_index("clientId", unique=True)
    database.clients.insert_one(kept)


REPLACEMENTS = [dropped, replaced, renamed, other_users, part_of_target]


def is_proven(command: Run) -> bool:
    """Whether the target is what the source makes now."""
    return 0 == command("verify", *PLACES, "--recheck", "0").returncode


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_a_cutover(bookings: Db, command: Run, replace: Callable[[Db], None]) -> None:
    """A cut-over behind it is aborted before anything is refused, and says what to do; that makes the way free."""
    assert 0 == command("migrate", *PLACES).returncode
    assert 0 == command("verify", *PLACES).returncode
    replace(bookings)
    refused = command(*CUTOVER)
    said = " ".join(refused.stderr.split())

    assert 5 == refused.returncode, refused.stdout
    assert "was dropped, renamed or replaced as a whole" in said
    assert "booking-migrate migrate" in said
    assert "it refused writes for 0.0 s" in said
    assert 0 == command("migrate", *PLACES).returncode
    assert 0 == command("verify", *PLACES).returncode
    done = command(*CUTOVER)
    assert 0 == done.returncode, done.stderr
    assert (30 if replace in (dropped, replaced, renamed) else 40) == len(sessions_of(bookings.bookings)[0])


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_a_follower(
    bookings: Db, environment: dict[str, str], command: Run, replace: Callable[[Db], None]
) -> None:
    """A follower ends and says so; the same command reads everything again, and follows."""
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        replace(bookings)
        _, said = follower.communicate(timeout=PATIENCE)
        ended = follower.returncode
    stopped = newest(command)
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        code, again = ended_by(follower, signal.SIGINT)

    assert 5 == ended, said
    assert "was dropped, renamed or replaced as a whole" in " ".join(said.split())
    assert "failed" == stopped["follow"]["state"]
    assert 0 == code, again
    assert is_proven(command)


def test_people_of_one_collection(bookings: Db, command: Run) -> None:
    """Users and experts that are looked up in one collection: a change of one counts as both, for client and expert."""
    bookings.people.insert_many([*bookings.users.find(), *bookings.experts.find()])
    places = (*PLACES, "--users", "people", "--experts", "people")
    assert 0 == command("migrate", *places).returncode
    assert 0 == command("verify", *places).returncode
    bookings.people.update_one({"_id": client(9)}, {"$set": {"email": "second@example.com"}})
    done = command("cutover", *places, *CUTOVER[5:])

    assert 0 == done.returncode, done.stderr
    assert "second@example.com" == (bookings.bookings.find_one({"clientId": client(9)}) or {})["clientEmail"]
