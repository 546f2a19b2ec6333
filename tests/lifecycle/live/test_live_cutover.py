"""A cut-over beside an application that writes: nothing acknowledged is lost, doubled or stale, and little is refused."""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from bson.timestamp import Timestamp
from pymongo.database import Database
from pymongo.errors import WriteError

from booking_migrate.bson.order import sort_key
from booking_migrate.cli import following
from booking_migrate.domain.ids import client_document_id
from booking_migrate.follow import engine
from booking_migrate.stores.changes import Dirty
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.mongo.live_swap import LiveSwap
from booking_migrate.stores.open_follow import open_dirty
from tests.lifecycle.conftest import Command
from tests.lifecycle.test_modes import advised
from tests.support.application import Application, sessions_of
from tests.support.booking_lines import booking, client
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")
VERIFY = ("verify", *PLACES, "--json")
# No limit that a busy machine could pass.
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")


@pytest.fixture
def migrated(database: Db, command: Run) -> None:
    """Three hundred bookings of four clients, migrated and verified."""
    database.bookings.insert_many(map(booking, range(300)))
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))


def legacy_of(database: Db) -> str:
    """The name of the kept copy."""
    (name,) = (name for name in database.list_collection_names() if "_legacy_" in name)
    return name


def is_proven(database: Db, command: Run) -> bool:
    """Whether the live collection is, byte for byte, what the kept copy makes."""
    places = ("--source", legacy_of(database), "--target", "bookings")
    return 0 == command("verify", *places, "--recheck", "0", "--quiet").returncode


@pytest.fixture
def before_swap(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """A function that has something done behind the fence, right before the rename."""

    def arrange(act: Callable[[], Any]) -> None:
        swap = LiveSwap.swap

        def wrapped(self: LiveSwap, seconds: float) -> Any:
            act()
            return swap(self, seconds)

        monkeypatch.setattr(LiveSwap, "swap", wrapped)

    return arrange


@pytest.mark.usefixtures("migrated")
def test_beside_writers_at_full_speed(database: Db, command: Run) -> None:
    """Inserts, updates, moves and deletes go on through migrate's end, verify and cut-over; the ledger is the result."""
    with Application(database.bookings) as application:
        verified = command(*VERIFY)
        done = command(*CUTOVER)
    report = json.loads(done.stdout)["cutover"]

    assert (0, 0) == (verified.returncode, done.returncode), done.stderr
    assert 0 == json.loads(verified.stdout)["mismatch_count"]
    application.check(*sessions_of(database.bookings))
    assert is_proven(database, command)
    assert {"insert", "update", "move", "delete"} == set(application.acknowledged)
    assert report["refused_seconds"] > 0


@pytest.mark.usefixtures("migrated")
def test_changes_since_verify_are_behind_and_no_mismatch(database: Db, command: Run) -> None:
    """Clients that changed since the run derived them are counted apart; one whose document others changed is a mismatch."""
    database.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "changed"}})
    database.bookings.delete_one({"_id": booking(1)["_id"]})
    behind = command(*VERIFY)
    database.clients.update_one({"clientId": client(2)}, {"$set": {"sessions.0.notes": "by others"}})
    wrong = command(*VERIFY)

    assert (0, 4) == (behind.returncode, wrong.returncode), behind.stdout
    assert 2 == json.loads(behind.stdout)["behind"]
    assert 2 == json.loads(wrong.stdout)["behind"]


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("has_streams", [True, False])
def test_what_was_noted_and_not_handled_is_behind(
    server: Server, database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, has_streams: bool
) -> None:
    """A follower notes changes, saves its place behind them and is stopped: their clients are behind, and no mismatch."""
    if not has_streams:
        monkeypatch.setattr(following, "following_unavailable", lambda *_: "a test does not permit it")
    database.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "changed"}})
    (run,) = database.booking_migrate_runs.find()
    place = database.command("ping")["operationTime"]
    behind = {"time": Timestamp(place.time, place.inc + 1)}
    database.booking_migrate_runs.update_one({"_id": run["_id"]}, {"$set": {"follow": behind}})
    dirty = Dirty(bookings={sort_key(booking(0)["_id"]): booking(0)["_id"]})
    with closing(Connection(server.uri, database.name)) as connection:
        open_dirty(connection, run["_id"]).add(dirty)
    verified = command(*VERIFY)
    done = command(*CUTOVER)

    assert 0 == verified.returncode, verified.stdout
    assert 1 == json.loads(verified.stdout)["behind"]
    if has_streams:
        assert 0 == done.returncode, done.stderr
        assert "changed" == sessions_of(database.bookings)[0][booking(0)["_id"]][1]


@pytest.mark.usefixtures("migrated")
def test_deletes_pass_the_fence(
    database: Db, command: Run, before_swap: Callable[[Callable[[], Any]], None]
) -> None:
    """A delete between fence and rename is taken out of the new collection and of the kept copy."""
    gone = [booking(number)["_id"] for number in (3, 4)]
    before_swap(lambda: database.bookings.delete_many({"_id": {"$in": gone}}))
    done = command(*CUTOVER)
    sessions, twice = sessions_of(database.bookings)

    assert 0 == done.returncode, done.stderr
    assert (298, 0) == (len(sessions), twice)
    assert not set(gone) & set(sessions)
    assert 298 == database[legacy_of(database)].count_documents({})
    assert is_proven(database, command)


@pytest.mark.usefixtures("migrated")
def test_writers_that_bypass_validation(
    database: Db, command: Run, before_swap: Callable[[Callable[[], Any]], None]
) -> None:
    """What is inserted past the fence by a writer that bypasses validation is brought in; an update is named."""
    new = {**booking(900), "clientId": client(99)}

    def write() -> None:
        database.bookings.insert_one(dict(new), bypass_document_validation=True)
        database.bookings.update_one(
            {"_id": booking(0)["_id"]}, {"$set": {"notes": "late"}}, bypass_document_validation=True
        )

    before_swap(write)
    done = command(*CUTOVER)
    sessions, _ = sessions_of(database.bookings)

    assert 0 == done.returncode, done.stderr
    assert new["_id"] in sessions
    assert str(booking(0)["_id"]) in done.stdout
    assert is_proven(database, command)


@pytest.mark.usefixtures("migrated")
def test_the_guard_refuses_old_bookings(database: Db, command: Run) -> None:
    """An old application cannot store an old booking after the swap, also for a client without a document; --no-guard lets it."""
    assert 0 == command(*CUTOVER).returncode
    with pytest.raises(WriteError, match="failed validation"):
        database.bookings.insert_one({**booking(901), "clientId": client(77)})

    assert 0 == database.bookings.count_documents({"sessions": {"$exists": False}})


@pytest.mark.usefixtures("migrated")
def test_the_own_validator_stays(database: Db, command: Run) -> None:
    """The validator of the new structure that the user gave the target holds beside the guard."""
    database.command("collMod", "clients", validator={"totalSessions": {"$gte": 0}})
    assert 0 == command(*CUTOVER).returncode
    with pytest.raises(WriteError, match="failed validation"):
        database.bookings.update_one({"clientId": client(0)}, {"$set": {"totalSessions": -1}})


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("is_first", [True, False])
def test_others_who_write_to_the_document_of_a_client_that_changes(
    database: Db, command: Run, is_first: bool
) -> None:
    """A document that others changed is not derived again, so it does not pass for this program's own the next time."""

    def act() -> None:
        database.clients.update_one({"clientId": client(1)}, {"$set": {"by": "others"}})

    if is_first:
        act()
    database.bookings.update_many({"clientId": client(1)}, {"$set": {"notes": "changed"}})
    if not is_first:
        act()
    for _ in range(2):
        refused = command(*CUTOVER)
        assert 5 == refused.returncode, refused.stdout
        assert "client documents of the target were changed by others: 1" in " ".join(refused.stderr.split())
    assert 0 == database.bookings.count_documents({"by": "others"})


def test_a_booking_that_was_corrected_by_a_session_of_others(
    server: Server, database: Db, command: Run
) -> None:
    """A document that others changed is no obstacle once its bookings make the same one: migrate and verify lead to the cut-over."""
    database.bookings.insert_many(map(booking, range(8)))
    assert 0 == command("migrate", *PLACES, "--quiet").returncode
    assert 0 == command(*VERIFY).returncode
    right = {"sessions.0.notes": "right"}
    of_first = {"sessions.legacyBookingId": booking(0)["_id"]}
    database.clients.update_one(of_first, {"$set": right})
    database.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "right"}})
    # As what was read beside the copy of the source is.
    changed = client_document_id(booking(0)["clientId"])
    (run,) = database.booking_migrate_runs.find()
    with closing(Connection(server.uri, database.name)) as connection:
        open_dirty(connection, run["_id"]).add(Dirty(documents={sort_key(changed): changed}))
    refused = command(*CUTOVER)
    onward = advised(refused)

    assert 5 == refused.returncode, refused.stdout
    assert ["migrate", "verify"] == [each[0] for each in onward]
    assert [0, 0] == [command(*each, "--quiet").returncode for each in onward]
    done = command(*CUTOVER)
    assert 0 == done.returncode, done.stderr
    assert 1 == database.bookings.count_documents({**of_first, **right})
    assert is_proven(database, command)


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("changed", [{"by": "others"}, {"totalSpent": 1}])
def test_a_run_that_finds_nothing_to_change_behind_others(
    database: Db, command: Run, changed: dict[str, Any]
) -> None:
    """What others wrote to the target before it does not go live on the verification from before that; `status` does not advise it."""
    database.clients.update_one({"clientId": client(1)}, {"$set": changed})
    migrated = command("migrate", *PLACES, "--quiet")
    refused = command(*CUTOVER)
    runs = json.loads(command("status", "--json").stdout)["runs"]
    (run,) = (each for each in runs if each["state"] == "done")

    assert (0, 5) == (migrated.returncode, refused.returncode), refused.stdout
    assert "the target does not match the source, mismatches" in " ".join(refused.stderr.split())
    assert not run["verified_clean"]
    assert ["verify", "rollback"] == [each.split()[1] for each in run["possible"]]
    assert 300 == database.bookings.count_documents({"sessions": {"$exists": False}})


@pytest.mark.usefixtures("migrated")
def test_others_who_write_to_the_target(database: Db, command: Run) -> None:
    """A write of others to the target after the whole verification ends the cut-over; the source stays live."""
    database.clients.update_one({"clientId": client(1)}, {"$set": {"sessions.0.notes": "by others"}})
    refused = command(*CUTOVER)

    assert 5 == refused.returncode
    assert "changed by others: 1" in refused.stderr
    assert 300 == database.bookings.count_documents({})
    assert {} == database.bookings.options().get("validator", {})
    assert {} == database.clients.options().get("validator", {})
    assert not [name for name in database.list_collection_names() if "_legacy_" in name]


@pytest.mark.usefixtures("migrated")
def test_a_booking_that_is_rejected_since(database: Db, command: Run) -> None:
    """Without a decision about one that has come since the migration, the cut-over ends; its advice has the command for either."""
    database.bookings.insert_one(booking(301, duration=5))
    refused = command(*CUTOVER)
    carry, leave = advised(refused)

    assert 5 == refused.returncode
    assert "were rejected: 1" in refused.stderr
    assert (["--rejected", "carry"], ["--rejected", "leave"]) == (carry[-2:], leave[-2:])
    assert 0 == command(*carry, "--yes").returncode


@pytest.mark.usefixtures("migrated")
def test_deletes_in_the_target_by_others(database: Db, command: Run) -> None:
    """A client document that others deleted ends the cut-over; the commands that are advised lead to one that is done."""
    database.clients.delete_one({"clientId": client(1)})
    refused = command(*CUTOVER)
    onward = advised(refused)

    assert 5 == refused.returncode
    assert "changed by others: 1" in refused.stderr
    assert ["migrate", "verify"] == [each[0] for each in onward]
    assert [0, 0] == [command(*each, "--quiet").returncode for each in onward]
    assert 0 == command(*CUTOVER).returncode


@pytest.mark.usefixtures("migrated")
def test_a_delete_by_others_of_a_document_that_was_removed_before(database: Db, command: Run) -> None:
    """A document that this program removed, created again, and others deleted is derived again: its bookings are not lost."""
    kept = list(database.bookings.find({"clientId": client(3)}))
    database.bookings.delete_many({"clientId": client(3)})
    assert 0 == command("migrate", *PLACES, "--quiet").returncode
    database.bookings.insert_many(kept)
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    database.clients.delete_one({"clientId": client(3)})
    done = command(*CUTOVER)

    assert 0 == done.returncode, done.stderr
    assert {each["_id"] for each in kept} <= set(sessions_of(database.bookings)[0])
    assert is_proven(database, command)


@pytest.mark.usefixtures("migrated")
def test_a_booking_that_moves_there_and_back(database: Db, command: Run) -> None:
    """After A to B to A it stands once, in A, as do its clients' documents."""
    key = booking(0)["_id"]
    home = booking(0)["clientId"]
    for owner in (client(50), home, client(51), home):
        database.bookings.update_one({"_id": key}, {"$set": {"clientId": owner}})
    done = command(*CUTOVER)
    sessions, twice = sessions_of(database.bookings)

    assert 0 == done.returncode, done.stderr
    assert (home, 0) == (sessions[key][0], twice)
    assert 0 == database.bookings.count_documents({"clientId": {"$in": [client(50), client(51)]}})


@pytest.mark.usefixtures("migrated")
def test_a_client_that_comes_and_one_that_goes(database: Db, command: Run) -> None:
    """A new client gets a document, and one without bookings loses it."""
    database.bookings.insert_one({**booking(500), "clientId": client(60)})
    database.bookings.delete_many({"clientId": client(3)})
    done = command(*CUTOVER)

    assert 0 == done.returncode, done.stderr
    assert 1 == database.bookings.count_documents({"clientId": client(60)})
    assert 0 == database.bookings.count_documents({"clientId": client(3)})
    assert is_proven(database, command)


@pytest.mark.usefixtures("migrated")
def test_history_lost(database: Db, command: Run) -> None:
    """Where the oplog no longer has all changes, everything is read again, and that is said."""
    database.booking_migrate_runs.update_many({}, {"$unset": {"follow": ""}})
    database.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "changed"}})
    done = command(*CUTOVER)
    sessions, _ = sessions_of(database.bookings)

    assert 0 == done.returncode, done.stderr
    assert "changed" == sessions[booking(0)["_id"]][1]
    assert is_proven(database, command)


@pytest.mark.parametrize("at_once", [1, 500])
def test_rejected_bookings_are_followed(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Bookings that come and cannot be converted are rejected, those that can be again are not, and carried ones are carried.

    It is so however many clients are derived together: also of bookings that move from one to the other, or have none.
    """
    monkeypatch.setattr(engine, "_CLIENTS_AT_ONCE", at_once)
    rejected = [booking(number, duration=5) for number in (20, 21, 23, 24)]
    database.bookings.insert_many([*map(booking, range(20)), *rejected])
    assert [3, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    database.bookings.update_one({"_id": booking(20)["_id"]}, {"$set": {"duration": 60}})
    for number, owner in ((23, 0), (24, 2), (1, 3), (2, 0)):
        database.bookings.update_one({"_id": booking(number)["_id"]}, {"$set": {"clientId": client(owner)}})
    database.bookings.delete_many({"_id": {"$in": [booking(5)["_id"], booking(21)["_id"]]}})
    database.bookings.insert_many([booking(22, duration=5), {**booking(25), "clientId": None}])
    done = command(*CUTOVER, "--rejected", "carry")
    left = {booking(number)["_id"] for number in (22, 23, 24, 25)}
    sessions, twice = sessions_of(database.bookings)

    assert 0 == done.returncode, done.stderr
    assert left == {each["_id"] for each in database.bookings.find({"sessions": {"$exists": False}})}
    assert left == {each["bookingId"] for each in database.booking_migrate_rejected.find()}
    assert (20, 0) == (len(sessions), twice)
    assert [client(3), client(0)] == [sessions[booking(number)["_id"]][0] for number in (1, 2)]


@pytest.mark.usefixtures("migrated")
def test_everything_behind_the_fence_on_request(database: Db, command: Run) -> None:
    """--at-rest reads and compares everything again behind the fence, as where changes cannot be followed."""
    database.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "changed"}})
    done = command(*CUTOVER, "--at-rest")
    sessions, _ = sessions_of(database.bookings)

    assert 0 == done.returncode, done.stderr
    assert "changed" == sessions[booking(0)["_id"]][1]
