"""In place, what several runs wrote: derived again when bookings come, and counted over all runs when they are undone."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from pymongo.database import Database

from tests.lifecycle.conftest import Ended, contents
from tests.support.booking_lines import booking, client
from tests.support.bookings import DAY
from tests.support.failpoints import Step

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Killed = Callable[..., Any]

MIGRATE = ("migrate", "--in-place", "--json", "--quiet")
VERIFY = ("verify", "--in-place", "--json", "--quiet", "--recheck", "0")
ROLLBACK = ("rollback", "--target", "bookings", "--yes", "--json", "--quiet")
DISCARD = (*ROLLBACK, "--discard-later")
LATER = DatetimeMS(1_756_765_143_359 + DAY)
SESSION = {"sessionId": ObjectId("6" * 24), "price": 5, "createdAt": LATER, "updatedAt": LATER}


def _since(ended: Ended) -> dict[str, int]:
    since = json.loads(ended.stdout)["undone"]["since"]
    return {name: since[name] for name in ("later", "changed", "missing", "lost") if since[name]}


def _book(database: Db) -> None:
    database.bookings.update_one({"clientId": client(1)}, {"$push": {"sessions": SESSION}})


def _edit(database: Db) -> None:
    database.bookings.update_one({"clientId": client(1)}, {"$set": {"sessions.0.notes": "edited"}})


def _delete(database: Db) -> None:
    database.bookings.update_one(
        {"clientId": client(1)}, {"$pull": {"sessions": {"legacyBookingId": booking(1)["_id"]}}}
    )


CHANGES = {
    "booked": (_book, {"later": 1}),
    "edited": (_edit, {"changed": 1}),
    "deleted": (_delete, {"missing": 1}),
}
NEXT = {"of another client": booking(30, clientId=client(8)), "of the same client": booking(33)}


@pytest.mark.each_value
@pytest.mark.parametrize("later", NEXT.values(), ids=NEXT)
@pytest.mark.parametrize(("change", "counted"), CHANGES.values(), ids=CHANGES)
class TestChangesBetweenRuns:
    """The application changes the result of a first run, and a second run follows."""

    def test_rollback_lists_them(
        self, database: Db, command: Run, change: Callable[[Db], None], counted: dict[str, int], later: Any
    ) -> None:
        """A rollback of both runs counts each change once and exits with 3."""
        database.bookings.insert_many(map(booking, range(8)))
        command(*MIGRATE)
        change(database)
        database.bookings.insert_one(later)
        command(*MIGRATE)
        undone = command(*ROLLBACK)

        assert (3, counted) == (undone.returncode, _since(undone)), undone.stderr
        assert 9 == database.bookings.count_documents({"sessions": {"$exists": False}})

    def test_discarding_names_them(
        self, database: Db, command: Run, change: Callable[[Db], None], counted: dict[str, int], later: Any
    ) -> None:
        """With --discard-later they are counted before anything is dropped, and everything is as before the first run."""
        database.bookings.insert_many([*map(booking, range(8)), later])
        before = contents(database)
        database.bookings.delete_one({"_id": later["_id"]})
        command(*MIGRATE)
        change(database)
        database.bookings.insert_one(later)
        command(*MIGRATE)
        undone = command(*(each for each in DISCARD if each != "--quiet"))

        assert (0, counted) == (undone.returncode, _since(undone)), undone.stderr
        assert "since the migration: nothing" not in undone.stderr
        assert before == contents(database)


def test_a_killed_rollback_of_two_runs_reports_both(database: Db, command: Run, killed: Killed) -> None:
    """What happened since is reported whole, although the later run was undone before the kill."""
    database.bookings.insert_many(map(booking, range(8)))
    command(*MIGRATE)
    database.bookings.insert_one(booking(30, clientId=client(8)))
    command(*MIGRATE)
    database.bookings.update_one({"clientId": client(8)}, {"$set": {"sessions.0.notes": "edited"}})
    assert -9 == killed(Step.UNLOCKED.value, 1, *ROLLBACK)
    done = command(*ROLLBACK)

    assert (3, {"changed": 1}) == (done.returncode, _since(done)), done.stderr


@pytest.mark.parametrize("runs", [1, 2])
def test_sessions_of_the_application_stay_first(database: Db, command: Run, runs: int) -> None:
    """A client document from before is derived again: its own sessions first, then all bookings in their order."""
    own = {"_id": 7, "clientId": client(1), "sessions": [SESSION], "totalSessions": 1}
    database.bookings.insert_many([own, *map(booking, (5, 9))])
    before = contents(database)
    command(*MIGRATE)
    came = [booking(number, createdAt=DatetimeMS(1_000 + number)) for number in (13, 17)]
    for each in came[:runs]:
        database.bookings.insert_one(each)
        assert 0 == command(*MIGRATE).returncode
    document = database.bookings.find_one({"clientId": client(1)}) or {}
    verified = command(*VERIFY)
    undone = command(*ROLLBACK)
    database.bookings.delete_many({"_id": {"$in": [each["_id"] for each in came]}})

    expected = [None, *(each["_id"] for each in [*came[:runs], *map(booking, (5, 9))])]
    assert expected == [each.get("legacyBookingId") for each in document["sessions"]]
    assert 0 == verified.returncode, verified.stdout
    assert 0 == undone.returncode, undone.stdout
    assert before == contents(database)


def test_client_fields_are_derived_again(database: Db, command: Run) -> None:
    """A booking that came last decides the client's fields in the document of an earlier run, as in a single run."""
    database.bookings.insert_many(map(booking, range(8)))
    command(*MIGRATE)
    database.bookings.insert_one(
        booking(33, clientEmail="new@example.com", createdAt=DatetimeMS(int(LATER) + DAY))
    )
    done = command(*MIGRATE)
    document = database.bookings.find_one({"clientId": client(1)}) or {}

    assert (0, "new@example.com") == (done.returncode, document["clientEmail"])
    assert 0 == command(*VERIFY).returncode


def test_nothing_new_is_no_wrong_source(database: Db, command: Run) -> None:
    """Where client documents are, bookings were there: that all others are rejected says nothing of the source."""
    database.bookings.insert_many([*map(booking, range(8)), booking(8, price=-5)])
    command(*MIGRATE)
    again = command("migrate", "--in-place")
    report = json.loads(command(*MIGRATE).stdout)
    looked = json.loads(command("dry-run", "--json", "--quiet").stdout)
    verified = json.loads(command(*VERIFY).stdout)

    assert 3 == again.returncode
    assert "Nothing new: 1 booking is still rejected" in again.stdout
    assert "client documents that were there before: 4" in " ".join(again.stdout.split())
    assert (1, 0, 1, 4) == tuple(
        report["counts"][each] for each in ("scanned", "migrated", "rejected", "client_documents")
    )
    for each in (report, looked, verified):
        assert not [step for step in each["next_steps"] if "--source names" in step["text"]]
