"""A verification of a whole result is noted in the journal, for whoever has to know later that it was clean."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import booking

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--target", "clients", "--quiet")
VERIFY = ("verify", "--target", "clients", "--recheck", "0", "--quiet")


def note(database: Db) -> tuple[bool, bool]:
    """Whether the run was verified after its last write, and whether that was clean."""
    (run,) = database.booking_migrate_runs.find({"written_at": {"$ne": None}})
    return run["verified_at"] is not None and run["verified_at"] > run["written_at"], run["verified_clean"]


@pytest.fixture(autouse=True)
def nine_bookings(database: Db) -> None:
    database.bookings.insert_many(map(booking, range(9)))


def test_a_verification_is_noted(database: Db, command: Run) -> None:
    """The journal knows that nobody has verified, that somebody has, and what came of the last time."""
    command(*MIGRATE)
    unverified = note(database)
    command(*VERIFY)
    clean = note(database)
    database.clients.update_one({"totalSessions": {"$gt": 0}}, {"$set": {"totalSessions": 99}})
    command(*VERIFY)

    assert ((False, False), (True, True), (True, False)) == (unverified, clean, note(database))


def test_a_sample_is_not_noted(database: Db, command: Run) -> None:
    """A sample proves too little to be noted, and without a run there is nothing to note."""
    command(*VERIFY)
    before = database.list_collection_names()
    command(*MIGRATE)
    command(*VERIFY, "--sample", "2")

    assert "booking_migrate_runs" not in before
    assert (False, False) == note(database)
