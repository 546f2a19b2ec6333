"""After a cut-over a rollback brings the old bookings back, with what happened since or without it."""

import json
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest
from bson.objectid import ObjectId
from pymongo.database import Database
from pymongo.errors import WriteError

from tests.lifecycle.conftest import Command, contents, own_validator
from tests.support.booking_lines import booking, client
from tests.support.fail_commands import failing
from tests.support.failpoints import Step
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Command
Killed = Callable[..., Any]

PLACES = ("--source", "bookings", "--target", "clients")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")
STEPS = [
    Step.RESTORATION_NOTED,
    Step.FENCED,
    Step.RESTORATION_BUILT,
    Step.RESTORATION_PROVEN,
    Step.RESTORED,
    Step.REJECTS_UNDONE,
    Step.UNDO_PROVEN,
    Step.NOTES_DROPPED,
    Step.UNLOCKED,
]
LATER = {"sessionId": ObjectId("68b61bd7a4c0bf9eaab38ef0"), "price": 5, "status": "pending"}


@pytest.fixture
def before(database: Db, command: Run, request: pytest.FixtureRequest) -> dict[str, str]:
    """Twenty bookings, two of them rejected, a client document, indexes and a validator, all cut over; as it was before."""
    policy = getattr(request, "param", "carry")
    database.bookings.insert_many(
        [*map(booking, range(18)), booking(20, duration=5), booking(24, duration=5, clientId=None)]
    )
    database.bookings.insert_one({"_id": "own", "clientId": client(77), "sessions": [LATER], "x": 1})
    database.bookings.create_index("expertId", name="by_expert", sparse=True)
    database.bookings.create_index("scheduledDate", expireAfterSeconds=10**8)
    database.command("collMod", "bookings", validator={"price": {"$not": {"$lt": 0}}})
    hashes = contents(database)
    # No limit that a busy machine could pass.
    cut_over = ("cutover", *PLACES, "--rejected", policy, "--yes", "--quiet", "--max-outage", "60s")
    migrate = ("migrate", *PLACES, "--batch-size", "5", "--quiet")
    assert [3, 0, 0] == command.once(migrate, ("verify", *PLACES, "--recheck", "0", "--quiet"), cut_over)
    return hashes


def work(database: Db) -> None:
    """What an application does after the cut-over."""
    database.bookings.update_one(
        {"sessions.legacyBookingId": booking(3)["_id"]},
        {"$set": {"sessions.$.status": "cancelled", "sessions.$.cancelledBy": "client"}},
    )
    database.bookings.update_one(
        {"sessions.legacyBookingId": booking(4)["_id"]}, {"$push": {"sessions": LATER}}
    )
    database.bookings.insert_one({"_id": "new", "clientId": client(99), "sessions": [LATER]})
    database.bookings.update_one(
        {"sessions.legacyBookingId": booking(5)["_id"]},
        {"$pull": {"sessions": {"legacyBookingId": booking(5)["_id"]}}},
    )


@pytest.mark.parametrize("before", ["carry", "leave"], indirect=True)
def test_everything_comes_back(database: Db, command: Run, before: dict[str, str]) -> None:
    """Nobody has worked since: documents, indexes and validator are what they were, and nothing else is left."""
    done = command(*ROLLBACK)
    report = json.loads(done.stdout)
    again = command(*ROLLBACK)

    assert (0, 0) == (done.returncode, again.returncode), done.stderr
    assert before == contents(database)
    assert {"_id_", "by_expert", "scheduledDate_1"} == set(database.bookings.index_information())
    assert True is database.bookings.index_information()["by_expert"]["sparse"]
    assert {"price": {"$not": {"$lt": 0}}} == database.bookings.options()["validator"]
    assert (20, 0) == (report["undone"]["restored"], report["undone"]["since"]["later"])
    assert report["undone"]["refused_seconds"] > 0
    assert json.loads(again.stdout)["undone"]["already"]


def test_what_happened_since_is_kept_and_carried(database: Db, command: Run, before: dict[str, str]) -> None:
    """Changes are in the old bookings, later sessions in client documents, and both are listed; exit 3."""
    work(database)
    done = command(*ROLLBACK)
    since = json.loads(done.stdout)["undone"]["since"]
    later = list(database.bookings.find({"sessions.sessionId": LATER["sessionId"]}).sort("clientId"))

    assert 3 == done.returncode, done.stderr
    changed = {"status": "cancelled", "cancelledBy": "client"}
    assert 1 == database.bookings.count_documents({**booking(3), **changed})
    for number in (4, 5, 20):
        assert database.bookings.find_one({"_id": booking(number)["_id"]})
    assert [client(0), client(77), client(99)] == sorted(each["clientId"] for each in later)
    assert (2, 2, 1) == (since["later"], since["changed"], since["missing"])
    assert any("cancelled" in text for text in since["changes"])
    assert [str(booking(5)["_id"])] == since["missing_ids"]
    assert {"bookings"} == set(contents(database)) == set(before)


def test_what_happened_since_can_be_dropped(database: Db, command: Run, before: dict[str, str]) -> None:
    """With --discard-later everything is as before the migration, and it was said how much goes."""
    work(database)
    done = command(*ROLLBACK, "--discard-later")

    assert 0 == done.returncode, done.stderr
    assert before == contents(database)
    assert "2 sessions, 2 changes, 1 deleted session; this will be dropped" in done.stderr
    assert json.loads(done.stdout)["undone"]["since"]["dropped"]


def test_a_carried_booking_keeps_what_was_done_to_it(
    database: Db, command: Run, before: dict[str, str]
) -> None:
    """A rejected booking that went along and was mended or joined by others comes back as it is now."""
    database.bookings.update_one({"_id": booking(20)["_id"]}, {"$set": {"duration": 30}})
    database.bookings.update_one({"_id": booking(24)["_id"]}, {"$set": {"duration": 60}})
    database.bookings.insert_one(booking(40), bypass_document_validation=True)
    done = command(*ROLLBACK)
    since = json.loads(done.stdout)["undone"]["since"]
    durations = [
        (database.bookings.find_one({"_id": booking(number)["_id"]}) or {}).get("duration")
        for number in (20, 24, 40)
    ]

    assert 3 == done.returncode, done.stderr
    assert [30, 60, booking(40)["duration"]] == durations
    assert (1, 2, 0) == (since["later"], since["changed"], since["missing"])
    assert before != contents(database)


@pytest.mark.parametrize("step", STEPS)
def test_killed_anywhere(
    database: Db, command: Run, killed: Killed, before: dict[str, str], step: Step
) -> None:
    """Killed at any step, the next rollback comes to what an undisturbed one comes to."""
    assert -9 == killed(step.value, 1, *ROLLBACK)
    again = command(*ROLLBACK)

    assert 0 == again.returncode, again.stderr
    assert before == contents(database)
    assert {"price": {"$not": {"$lt": 0}}} == database.bookings.options()["validator"]
    assert "rolled-back" == json.loads(command("status", "--json").stdout)["runs"][0]["state"]


def test_killed_behind_the_swap_with_work_since(
    database: Db, command: Run, killed: Killed, before: dict[str, str]
) -> None:
    """Whoever finishes a rollback that was killed after its rename still tells what was kept; exit 3."""
    work(database)
    killed(Step.RESTORED.value, 1, *ROLLBACK)
    done = command(*ROLLBACK)
    undone = json.loads(done.stdout)["undone"]

    assert 3 == done.returncode, done.stderr
    assert (20, 2, 2, 1) == (
        undone["restored"],
        *(undone["since"][name] for name in ("later", "changed", "missing")),
    )
    assert set(before) == set(contents(database))


def test_killed_with_work_since(database: Db, command: Run, killed: Killed, before: dict[str, str]) -> None:
    """What was carried is carried once, however often the rollback is begun."""
    work(database)
    killed(Step.RESTORATION_PROVEN.value, 1, *ROLLBACK)
    refused = [command("cutover", *PLACES, "--yes"), command("migrate", *PLACES)]
    done = command(*ROLLBACK)

    assert [5, 5] == [each.returncode for each in refused]
    assert 3 == done.returncode, done.stderr
    assert 20 + 3 == database.bookings.count_documents({})
    assert set(before) == set(contents(database))


@pytest.mark.parametrize("step", [Step.RESTORATION_NOTED, Step.RESTORATION_PROVEN, Step.RESTORED])
@pytest.mark.parametrize("is_replaced", [False, True], ids=["dropped", "replaced"])
def test_the_live_collection_is_gone(
    database: Db, command: Run, killed: Killed, before: dict[str, str], step: Step, is_replaced: bool
) -> None:
    """If others take the live collection away from a rollback that was killed, the kept copy is not dropped; a way out is named."""
    assert -9 == killed(step.value, 1, *ROLLBACK)
    kept = next(name for name in database.list_collection_names() if name.startswith("bookings_legacy_"))
    built = next((n for n in database.list_collection_names() if "restored" in n), "bookings")
    database[built].rename("booking_migrate_put_aside")
    database.bookings.drop()
    if is_replaced:
        database.bookings.insert_one({"_id": 1})
    ended = command(*ROLLBACK)
    old = database[kept].count_documents({})

    assert (5, 21) == (ended.returncode, old), ended.stderr
    assert f'.getCollection("{kept}").renameCollection("bookings", true)' in ended.stderr
    database[kept].rename("bookings", dropTarget=True)
    assert 0 == command(*ROLLBACK).returncode
    assert before["bookings"] == contents(database)["bookings"]


@pytest.mark.parametrize("refused", ["renameCollection", "insert", "createIndexes"])
def test_a_failure_leaves_everything(
    database: Db, server: Server, command: Run, before: dict[str, str], refused: str
) -> None:
    """When the server refuses a step, the client documents are live as they were and take writes; later it works."""
    work(database)
    state = contents(database)
    with failing(server, [refused], {"errorCode": 96}):
        failed = command(*ROLLBACK)
    if refused == "createIndexes":
        # An index that cannot be made is left out and named; data comes first.
        assert 3 == failed.returncode, failed.stderr
        assert "left out" in failed.stdout
        return
    database.bookings.insert_one({"_id": "after", "clientId": client(55), "sessions": []})
    database.bookings.delete_one({"_id": "after"})

    assert 5 == failed.returncode, failed.stderr
    assert state == contents(database)
    assert {} == own_validator(database.bookings)
    assert "cut-over" == json.loads(command("status", "--json").stdout)["runs"][0]["state"]
    assert 3 == command(*ROLLBACK).returncode
    assert set(before) == set(contents(database))


def test_writers_lose_nothing(database: Db, command: Run, before: dict[str, str]) -> None:
    """Every write that was acknowledged while the rollback worked is in an old booking or in a client document."""
    stop = Event()
    changed: dict[Any, int] = {}
    booked: list[ObjectId] = []

    def write() -> None:
        for number in range(100_000):
            if stop.is_set():
                return
            legacy_id, session_id = booking(number % 18)["_id"], ObjectId()
            try:
                done = database.bookings.update_one(
                    {"sessions.legacyBookingId": legacy_id}, {"$set": {"sessions.$.price": number}}
                )
                if done.modified_count:
                    changed[legacy_id] = number
                database.bookings.insert_one(
                    {"clientId": ObjectId(), "sessions": [{**LATER, "sessionId": session_id}]}
                )
            except WriteError:
                continue
            booked.append(session_id)

    writer = Thread(target=write)
    writer.start()
    try:
        done = command(*ROLLBACK)
    finally:
        stop.set()
        writer.join()
    prices = {each["_id"]: each["price"] for each in database.bookings.find({"sessions": {"$exists": False}})}
    there = {
        each["sessionId"]
        for document in database.bookings.find({"sessions": {"$exists": True}})
        for each in document["sessions"]
    }

    assert 3 == done.returncode, done.stderr
    assert changed
    assert changed == {legacy_id: prices[legacy_id] for legacy_id in changed}
    assert set(booked) <= there
    assert {"bookings"} == set(before)


def test_nothing_to_drop(database: Db, command: Run) -> None:
    """Before a cut-over nobody has booked into the result: --discard-later is refused, and nothing changes."""
    database.bookings.insert_many(map(booking, range(5)))
    command("migrate", *PLACES)
    state = contents(database)
    refused = command(*ROLLBACK, "--discard-later")

    assert 5 == refused.returncode
    assert "not cut over" in refused.stderr
    assert state == contents(database)


def test_the_same_data_can_be_migrated_again(database: Db, command: Run, before: dict[str, str]) -> None:
    """After a rollback with later sessions kept, migrate, verify and cutover take all of it."""
    work(database)
    command(*ROLLBACK)
    codes = [
        command("migrate", *PLACES).returncode,
        command("verify", *PLACES, "--recheck", "0").returncode,
        command("cutover", *PLACES, "--rejected", "leave", "--yes").returncode,
    ]
    sessions = [each for document in database.bookings.find() for each in document["sessions"]]

    assert [3, 0, 0] == codes
    assert 18 + 3 == len(sessions)
    assert before


@pytest.mark.parametrize(
    ("more", "is_kept"), [([], True), (["--convert-later"], True), (["--discard-later"], False)]
)
def test_an_older_backup_as_the_kept_copy(database: Db, command: Run, more: list[str], is_kept: bool) -> None:
    """What it lacks stays a session and is no old booking again, or is lost if later changes are dropped; deleted bookings are back."""
    database.bookings.insert_many(map(booking, range(12)))
    backup = list(database.bookings.find())
    database.bookings.delete_one({"_id": booking(0)["_id"]})
    database.bookings.insert_one(booking(12))
    for words in (("migrate",), ("verify", "--recheck", "0"), ("cutover", "--yes")):
        assert 0 == command(words[0], *PLACES, *words[1:], "--quiet").returncode
    (kept,) = (name for name in database.list_collection_names() if name.startswith("bookings_legacy"))
    options = database[kept].options()
    database.drop_collection(kept)
    database.create_collection(kept, **options).insert_many(backup)
    ended = command(*ROLLBACK, *more)
    old = {each["_id"] for each in database.bookings.find({"sessions": {"$exists": False}})}
    sessions = database.bookings.count_documents({"sessions.legacyBookingId": booking(12)["_id"]})

    assert ended.returncode in {0, 3}, ended.stderr
    assert {each["_id"] for each in backup} == old
    assert int(is_kept) == sessions
