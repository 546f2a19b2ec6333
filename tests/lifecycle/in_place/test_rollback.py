"""What was migrated in place is put back: originals byte for byte, and what happened since with them."""

import json
from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from pymongo.database import Database
from pymongo.errors import WriteError

from booking_migrate.bson.document import CODEC
from tests.lifecycle.conftest import Ended, contents
from tests.support.booking_lines import booking, client
from tests.support.bookings import DAY
from tests.support.failpoints import Step

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Killed = Callable[..., Any]

MIGRATE = ("migrate", "--in-place", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "bookings", "--yes", "--json", "--quiet")
LATER = DatetimeMS(1_756_765_143_359 + DAY)


def _documents(database: Db, name: str = "bookings") -> dict[Any, bytes]:
    found = database[name].with_options(codec_options=CODEC).find()
    return {document["_id"]: bson.encode(document, codec_options=CODEC) for document in found}


@pytest.fixture
def bookings_and_documents(database: Db) -> None:
    """Bookings of four clients, two of them rejected; the application has made a document for one of the clients."""
    session = {"sessionId": ObjectId(), "price": 3, "updatedAt": LATER}
    database.bookings.insert_many(
        [
            *map(booking, range(26)),
            booking(26, currency="usd"),
            booking(27, duration=5),
            {"_id": 7, "clientId": client(3), "sessions": [session], "by": "the application"},
        ]
    )


@pytest.mark.usefixtures("bookings_and_documents")
def test_everything_is_as_before(database: Db, command: Run) -> None:
    """Collection, indexes and rejects are as before the run, the archive is gone; again, it says so and exits with 0."""
    before, documents = contents(database), _documents(database)
    indexes = database.bookings.index_information()
    command(*MIGRATE)
    undone = command(*ROLLBACK)
    report = json.loads(undone.stdout)
    again = command(*ROLLBACK)

    assert 0 == undone.returncode, undone.stderr
    assert documents == _documents(database)
    assert before == contents(database)
    assert indexes == database.bookings.index_information()
    assert (26, True, True) == tuple(
        report["undone"][name] for name in ("restored", "index_removed", "target_dropped")
    )
    assert 0 == again.returncode
    assert json.loads(again.stdout)["undone"]["already"] is True


@pytest.mark.usefixtures("bookings_and_documents")
def test_what_happened_since_is_kept(database: Db, command: Run) -> None:
    """A session booked since stays in a client document, a changed status goes into the old booking and is listed."""
    before = _documents(database)
    command(*MIGRATE)
    added = {"sessionId": ObjectId(), "price": 5, "createdAt": LATER, "updatedAt": LATER}
    for number in (0, 3):
        database.bookings.update_one(
            {"clientId": client(number), "sessions": {"$exists": True}}, {"$push": {"sessions": added}}
        )
    changed = booking(1)["_id"]
    database.bookings.update_one(
        {"clientId": client(1), "sessions": {"$exists": True}},
        {"$set": {"sessions.0.status": "confirmed", "updatedAt": LATER}},
    )
    undone = command(*ROLLBACK)
    report = json.loads(undone.stdout)
    after = _documents(database)
    kept = database.bookings.find_one({"clientId": client(0), "sessions": {"$exists": True}}) or {}
    earlier = database.bookings.find_one({"_id": 7}) or {}

    assert 3 == undone.returncode, undone.stderr
    assert bson.encode(booking(1, status="confirmed"), codec_options=CODEC) == after.pop(changed)
    assert ([added["sessionId"]], 1, 5) == (
        [session["sessionId"] for session in kept["sessions"]],
        kept["totalSessions"],
        kept["totalSpent"],
    )
    assert 2 == len(earlier["sessions"])
    assert before.keys() - {changed, 7} == after.keys() - {kept["_id"], 7}
    assert all(after[each] == before[each] for each in before.keys() - {changed, 7})
    assert [str(added["sessionId"])] * 2 == report["undone"]["since"]["staying_ids"]
    assert (2, 1, [f"{changed} status: string 'pending' -> string 'confirmed'"]) == tuple(
        report["undone"]["since"][name] for name in ("later", "changed", "changes")
    )


@pytest.mark.usefixtures("bookings_and_documents")
def test_what_happened_since_is_dropped_if_so_told(database: Db, command: Run) -> None:
    """--discard-later names what it drops, and leaves everything as if the run had never been."""
    before = contents(database)
    command(*MIGRATE)
    added = {"sessionId": ObjectId(), "price": 5}
    database.bookings.update_one(
        {"clientId": client(0), "sessions": {"$exists": True}}, {"$push": {"sessions": added}}
    )
    database.bookings.update_one(
        {"clientId": client(1), "sessions": {"$exists": True}}, {"$set": {"sessions.0.status": "confirmed"}}
    )
    undone = command("rollback", "--target", "bookings", "--yes", "--discard-later", "--json")

    assert 0 == undone.returncode, undone.stderr
    assert "since the migration: 1 session, 1 change; this will be dropped" in undone.stderr
    assert before == contents(database)


def test_later_runs_go_first(database: Db, command: Run) -> None:
    """Of two runs the later is undone first; each gives back what it moved, and leaves the other's."""
    database.bookings.insert_many(map(booking, range(8)))
    before = contents(database)
    command(*MIGRATE)
    first = database.booking_migrate_runs.find_one({}) or {}
    database.bookings.insert_many(map(booking, range(8, 12)))
    between = contents(database)
    later = json.loads(command(*MIGRATE).stdout)["run_id"]
    refused = command("rollback", "--run", first["_id"], "--yes")
    second = command("rollback", "--run", later, "--yes")
    restored = contents(database)
    command("rollback", "--run", first["_id"], "--yes")
    database.bookings.delete_many({"_id": {"$in": [booking(number)["_id"] for number in range(8, 12)]}})

    assert 5 == refused.returncode
    assert 0 == second.returncode, second.stderr
    assert between == restored
    assert before == contents(database)


@pytest.mark.parametrize("what", ["alone", "with-a-copy", "with-the-session"])
@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.usefixtures("bookings_and_documents")
def test_two_documents_of_one_client(database: Db, command: Run, what: str, *, is_first: bool) -> None:
    """If others drop the unique index and make a second client document, it stays, and nothing of the run's own remains."""
    before = _documents(database)
    command(*MIGRATE)
    (own,) = database.bookings.find({"clientId": client(1), "sessions": {"$exists": True}})
    for name in database.booking_migrate_runs.find_one({})["indexes_made"]:  # type: ignore[index]
        database.bookings.drop_index(name)
    added = {"sessionId": ObjectId(), "price": 5, "createdAt": LATER, "updatedAt": LATER}
    sessions: list[dict[str, Any]] = [added]
    if what != "alone":
        sessions.append(own["sessions"][0])
    if what == "with-the-session":
        database.bookings.update_one({"_id": own["_id"]}, {"$pop": {"sessions": -1}})
        sessions[1] = {**own["sessions"][0], "status": "confirmed"}
    database.bookings.insert_one({"_id": 99, "clientId": client(1), "sessions": sessions})
    if is_first:
        moved = database.bookings.find_one_and_delete({"_id": own["_id"]})
        database.bookings.insert_one(moved or {})
    undone = command(*ROLLBACK)
    after = _documents(database)
    kept = bson.decode(after.pop(99))

    assert undone.returncode in (0, 3), undone.stderr
    assert [added["sessionId"]] == [session["sessionId"] for session in kept["sessions"]]
    if what == "with-the-session":
        changed = own["sessions"][0]["legacyBookingId"]
        assert "confirmed" == bson.decode(after.pop(changed))["status"]
        before.pop(changed)
    assert before == after


@pytest.mark.parametrize(
    ("step", "count"),
    [
        (Step.LOCKED, 1),
        (Step.UNDO_BEGUN, 1),
        (Step.MOVE_PREPARED, 1),
        (Step.RANGE_UNDONE, 1),
        (Step.REJECTS_UNDONE, 1),
        (Step.INDEX_REMOVED, 1),
        (Step.ARCHIVE_DROPPED, 1),
        (Step.UNDO_PROVEN, 1),
        (Step.NOTES_DROPPED, 1),
        (Step.UNLOCKED, 1),
    ],
    ids=lambda value: value.value if isinstance(value, Step) else None,
)
@pytest.mark.usefixtures("bookings_and_documents")
def test_killed_at_every_step(database: Db, command: Run, killed: Killed, step: Step, count: int) -> None:
    """A rollback that is killed anywhere is completed by the same command, with what happened since in its report."""
    before = contents(database)
    command(*MIGRATE)
    database.bookings.update_one(
        {"clientId": client(1), "sessions": {"$exists": True}}, {"$set": {"sessions.0.status": "confirmed"}}
    )
    assert -9 == killed(step.value, count, *ROLLBACK)
    done = command(*ROLLBACK)
    report = json.loads(done.stdout)
    database.bookings.update_one({"_id": booking(1)["_id"]}, {"$set": {"status": "pending"}})

    assert before == contents(database)
    if step not in (Step.UNDO_PROVEN, Step.NOTES_DROPPED, Step.UNLOCKED):
        assert 3 == done.returncode, done.stderr
        assert (26, 1) == (report["undone"]["restored"], report["undone"]["since"]["changed"])
    else:
        assert (0, True) == (done.returncode, report["undone"]["already"])


@pytest.mark.usefixtures("bookings_and_documents")
def test_interrupted_run_is_undone(database: Db, command: Run, killed: Killed) -> None:
    """A run that was killed on its way is rolled back as a whole one is."""
    before = contents(database)
    killed(Step.BATCH_WRITTEN.value, 2, *MIGRATE, "--batch-size", "1")
    undone = command(*ROLLBACK)

    assert 0 == undone.returncode, undone.stderr
    assert before == contents(database)


def test_a_failed_rollback_is_not_called_dead(database: Db, command: Run) -> None:
    """A rollback that ended by itself is listed with what ended it, and the same command completes it."""
    database.bookings.insert_many(map(booking, range(8)))
    before = contents(database)
    command(*MIGRATE)
    database.command("collMod", "bookings", validator={"sessions": {"$type": "array"}})
    failed = command(*ROLLBACK)
    run = json.loads(command("status", "--json").stdout)["runs"][0]
    database.command("collMod", "bookings", validator={})
    done = command(*ROLLBACK)
    after = json.loads(command("status", "--json").stdout)["runs"][0]

    assert failed.returncode not in (0, 3)
    assert ("rolling-back", False, False) == tuple(run[name] for name in ("state", "alive", "stale"))
    assert run["problem"]
    assert 0 == done.returncode, done.stderr
    assert before == contents(database)
    assert ("rolled-back", None) == (after["state"], after["problem"])


@pytest.mark.parametrize("mode", [(), ("--without-transactions",)], ids=["transactions", "steps"])
def test_the_guard_of_a_cutover_stays(
    database: Db, command: Run, killed: Killed, mode: tuple[str, ...]
) -> None:
    """While a run in place behind a cut-over is undone, and after a kill, old bookings of others are refused; those restored are in."""
    database.bookings.insert_many(map(booking, range(8)))
    places = ("--target", "clients", "--quiet")
    for step in (("migrate",), ("verify",), ("cutover", "--yes")):
        assert 0 == command(*step, *places).returncode
    database.bookings.drop_index("clientId_1")
    late = [booking(80 + number, clientId=client(50 + number)) for number in range(4)]
    database.bookings.insert_many(late, bypass_document_validation=True)
    guard, before = database.bookings.options(), _documents(database)
    assert 0 == command(*MIGRATE, *mode).returncode
    assert -9 == killed(Step.MOVE_PREPARED.value, 1, *ROLLBACK)

    assert guard == database.bookings.options()
    with pytest.raises(WriteError, match="failed validation"):
        database.bookings.insert_one(booking(90))
    assert 0 == command(*ROLLBACK).returncode
    assert guard == database.bookings.options()
    assert before == _documents(database)


@pytest.mark.parametrize("mode", [(), ("--without-transactions",)], ids=["transactions", "steps"])
def test_past_the_guard_of_a_cutover(database: Db, command: Run, mode: tuple[str, ...]) -> None:
    """A booking that was stored again past the guard is replaced by the original, if changes since are dropped."""
    database.bookings.insert_many(map(booking, range(8)))
    for step in (("migrate",), ("verify",), ("cutover", "--yes")):
        assert 0 == command(*step, "--target", "clients", "--quiet").returncode
    database.bookings.drop_index("clientId_1")
    late = booking(80, clientId=client(50))
    database.bookings.insert_one(late, bypass_document_validation=True)
    before = _documents(database)
    assert 0 == command(*MIGRATE, *mode).returncode
    database.bookings.insert_one({**late, "notes": "again"}, bypass_document_validation=True)
    undone = command(*ROLLBACK, "--discard-later")

    assert 0 == undone.returncode, undone.stderr
    assert before == _documents(database)
