"""What is looked for under its old name after a cut-over is named where it is now."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.lifecycle.test_changed_bookings import CUTOVER, MIGRATE, VERIFY
from tests.support.booking_lines import booking

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--target", "clients")


@pytest.fixture
def live(database: Db, command: Run) -> Db:
    """Bookings of two runs, cut over."""
    database.bookings.insert_many(map(booking, range(6)))
    assert 0 == command(*MIGRATE).returncode
    database.bookings.insert_one(booking(6))
    assert [0, 0, 0] == [command(*each).returncode for each in (MIGRATE, VERIFY, CUTOVER)]
    return database


def commands(ended: Ended) -> list[str]:
    """The commands that an error names, without the program's name."""
    return [part.split("\n")[0] for part in ended.stderr.split("booking-migrate ")[1:]]


def test_verify_names_the_cutover(live: Db, command: Run) -> None:
    """Verified by its old name, the target is said to be live, and the command that undoes that works."""
    ended = command("verify", *PLACES)
    _explain, undo = commands(ended)

    assert 5 == ended.returncode
    assert "clients is live as bookings" in ended.stderr
    assert 0 == command(*shlex.split(undo), "--yes").returncode
    assert 7 == live.bookings.count_documents({"sessions": {"$exists": False}})


@pytest.mark.usefixtures("live")
def test_explain_names_where_the_booking_is(command: Run) -> None:
    """Asked for by the old names, a booking is found by the command that is named."""
    booking_id = str(booking(3)["_id"])
    ended = command("explain", booking_id, *PLACES)
    explain = commands(ended)[0].split(". To undo")[0]

    assert 5 == ended.returncode
    assert 0 == command(*shlex.split(explain.replace("ID", booking_id))).returncode


def test_status_names_the_kept_copy(live: Db, command: Run) -> None:
    """The run of the cut-over names the collection with the old bookings; earlier runs offer nothing that fails."""
    newest, earlier = json.loads(command("status", "--json").stdout)["runs"]

    assert newest["legacy"] in live.list_collection_names()
    assert f"old bookings are kept in {newest['legacy']}" in command("status").stdout
    assert ["rollback"] == [each.split()[1] for each in newest["possible"]]
    assert ("done", []) == (earlier["state"], earlier["possible"])


def test_other_places_are_not_blamed_on_a_cutover(live: Db, command: Run) -> None:
    """A target that never was is only said to be absent."""
    assert 7 == len(list(live.bookings.aggregate([{"$unwind": "$sessions"}])))
    ended = command("verify", "--target", "never")

    assert 5 == ended.returncode
    assert "never does not exist" in ended.stderr
    assert "cut-over" not in ended.stderr
