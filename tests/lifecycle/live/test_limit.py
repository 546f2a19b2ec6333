"""Writes are refused for no longer than the limit, whatever takes long behind the fence, and what is said of it is measured."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from booking_migrate.cutover import fencing, refusal
from booking_migrate.errors import LIVE_AS_BEFORE, FenceBlocked, WriteFailed
from booking_migrate.follow.engine import Engine
from booking_migrate.follow.follower import Follower, Round
from booking_migrate.stores.mongo import fence
from booking_migrate.stores.mongo.cutover import MongoLive
from booking_migrate.stores.mongo.live_swap import LiveSwap
from booking_migrate.stores.mongo.retry import settled
from booking_migrate.stores.mongo.rollback import MongoRestored
from tests.lifecycle.conftest import Ended, own_validator
from tests.support.booking_lines import booking, client
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--source", "bookings", "--target", "clients")
CUTOVER = ("cutover", *PLACES, "--yes", "--json")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")
LIMIT = ("--max-outage", "2s")


@contextmanager
def held(server: Server, database: Db, change: dict[str, Any]) -> Iterator[None]:
    """Hold the live collection by a transaction of another application, which commits in the end."""
    with (
        MongoClient[dict[str, Any]](server.uri, appname="checkout") as other,
        other.start_session() as session,
    ):
        session.start_transaction()
        other[database.name].bookings.update_one({}, change, session=session)
        yield
        session.commit_transaction()


@pytest.fixture(autouse=True)
def migrated(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some bookings, migrated and verified; attempts follow each other at once."""
    monkeypatch.setattr(refusal, "_BACKOFF_SECONDS", 0.01)
    database.bookings.insert_many(map(booking, range(20)))
    assert 0 == command("migrate", *PLACES, "--quiet").returncode
    assert 0 == command("verify", *PLACES, "--quiet").returncode


def test_the_fence_is_lifted_while_something_takes_long(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fence is gone before the settle that takes too long ends; the next attempt is counted apart from it."""
    raise_fence, handle = LiveSwap.raise_fence, Engine.handle
    waits: list[bool] = []
    lifted: list[bool] = []

    def fence(self: LiveSwap, seconds: float) -> Any:
        fenced = raise_fence(self, seconds)
        waits.append(not lifted)
        return fenced

    def slow(self: Engine, *arguments: Any, **options: Any) -> Any:
        if waits and waits.pop():
            until = time.monotonic() + 30
            while own_validator(database.bookings) and time.monotonic() < until:
                time.sleep(0.01)
            database.bookings.insert_one(booking(100))
            lifted.append(own_validator(database.bookings) == {})
        return handle(self, *arguments, **options)

    def change(self: LiveSwap, seconds: float) -> Any:
        database.bookings.update_one({"_id": booking(0)["_id"]}, {"$inc": {"price": 1}})
        return fence(self, seconds)

    monkeypatch.setattr(LiveSwap, "raise_fence", change)
    monkeypatch.setattr(Engine, "handle", slow)
    done = command(*CUTOVER, *LIMIT)
    said = " ".join(done.stderr.split())
    report = json.loads(done.stdout)["cutover"]
    found = re.search(
        r"attempt 1 of 10 aborted: writes were refused for (\d+) ms, the limit is 2000 ms", said
    )

    assert 0 == done.returncode, done.stderr
    assert [True] == lifted
    assert found is not None, said
    assert 1800 <= int(found[1])
    assert 1 == report["earlier_attempts"]
    assert int(found[1]) == pytest.approx(report["earlier_refused_seconds"] * 1000, abs=2)
    assert report["refused_seconds"] == pytest.approx(
        report["own_refused_seconds"] + report["earlier_refused_seconds"], abs=0.01
    )
    assert 1 == database.bookings.count_documents({"sessions.legacyBookingId": booking(100)["_id"]})


def test_no_fence_while_too_much_is_left(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as what is left takes longer than the limit, writes are not refused at all."""
    fenced: list[float] = []
    following = Follower.round

    def long(self: Follower, seconds: float = 0.0) -> Round:
        done = following(self, seconds)
        return Round(done.changes, done.clients, 3.0)

    monkeypatch.setattr(Follower, "round", long)
    monkeypatch.setattr(LiveSwap, "raise_fence", lambda _self, seconds: fenced.append(seconds))
    refused = command(*CUTOVER, *LIMIT, "--attempts", "2")

    assert 5 == refused.returncode
    assert [] == fenced
    assert "attempt 2 of 2 not begun: the last changes took 3000 ms, the limit is 2000 ms" in " ".join(
        refused.stderr.split()
    )
    assert {} == own_validator(database.bookings)


def test_between_two_attempts_changes_are_followed(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written in the pause is brought in then, and not left to the next attempt."""
    monkeypatch.setattr(refusal, "_BACKOFF_SECONDS", 0.5)
    pause, handle = fencing.Fencing._pause, Engine.handle
    is_paused = False
    followed: list[bool] = []

    def fails_once(self: LiveSwap, seconds: float) -> Any:
        if not followed:
            raise TimeoutError
        return raise_fence(self, seconds)

    def paused(self: fencing.Fencing, seconds: float) -> None:
        nonlocal is_paused
        is_paused = True
        database.bookings.update_one({"_id": booking(0)["_id"]}, {"$inc": {"price": 1}})
        pause(self, seconds)
        is_paused = False

    def noted(self: Engine, *arguments: Any, **options: Any) -> Any:
        followed.append(is_paused)
        return handle(self, *arguments, **options)

    raise_fence = LiveSwap.raise_fence
    monkeypatch.setattr(LiveSwap, "raise_fence", fails_once)
    monkeypatch.setattr(fencing.Fencing, "_pause", paused)
    monkeypatch.setattr(Engine, "handle", noted)
    done = command(*CUTOVER, *LIMIT)

    assert 0 == done.returncode, done.stderr
    assert followed
    assert followed[0]


@pytest.mark.parametrize("way", [(), ("--at-rest",)], ids=["beside the application", "at rest"])
def test_an_open_transaction(server: Server, database: Db, command: Run, way: tuple[str, ...]) -> None:
    """A transaction on the source cannot stall every writer: the fence gives up, says what holds it, and lifts itself."""
    with held(server, database, {"$set": {"notes": "in a transaction"}}):
        refused = command("cutover", *PLACES, "--yes", "--max-outage", "300ms", "--attempts", "2", *way)
        # Nothing is left that a write would wait for.
        database.bookings.insert_one(booking(99))
    done = command(*CUTOVER)

    assert 5 == refused.returncode
    assert "checkout" in refused.stderr
    assert "attempt 1 of 2 aborted" in refused.stderr
    assert f"bookings {LIVE_AS_BEFORE}" in refused.stderr or "the source is live as before" in refused.stderr
    assert 0 == done.returncode, done.stderr
    assert 1 == database.bookings.count_documents({"sessions.notes": "in a transaction"})


def test_an_open_transaction_beside_a_rollback(server: Server, database: Db, command: Run) -> None:
    """A rollback that restores everything gives up in the same way, and the client documents stay live."""
    assert 0 == command(*CUTOVER).returncode
    with held(server, database, {"$max": {"totalSessions": 0}}):
        refused = command(*ROLLBACK, "--max-outage", "300ms", "--attempts", "2")
        database.bookings.insert_one({"_id": "new", "clientId": client(99), "sessions": []})
        database.bookings.delete_one({"_id": "new"})
    status = json.loads(command("status", "--json").stdout)
    done = command(*ROLLBACK)

    assert 5 == refused.returncode
    assert "checkout" in refused.stderr
    assert LIVE_AS_BEFORE in refused.stderr
    assert "cut-over" == status["runs"][0]["state"]
    assert 0 == done.returncode, done.stderr
    assert 20 == database.bookings.count_documents(
        {"clientEmail": {"$exists": True}, "sessions": {"$exists": False}}
    )


def deleted(database: Db) -> None:
    """An application deletes a document, which a validator does not refuse."""
    database.bookings.delete_one({})


def lifted(database: Db) -> None:
    """An application that starts sets its own validator, and writes."""
    database.command("collMod", "bookings", validator={})
    database.bookings.update_one({}, {"$set": {"notes": "behind the fence"}})


@pytest.mark.parametrize(
    ("change", "said"), [(deleted, "were deleted"), (lifted, "the fence was lifted by others")]
)
@pytest.mark.parametrize("undone", [False, True], ids=["cutover", "rollback"])
def test_what_changes_between_two_attempts_at_the_swap(
    database: Db,
    command: Run,
    monkeypatch: pytest.MonkeyPatch,
    undone: bool,
    change: Callable[[Db], None],
    said: str,
) -> None:
    """At rest, what was proven may have changed while the swap is tried again: it is given up, and nothing stale goes live."""
    if undone:
        assert 0 == command(*CUTOVER).returncode
    owner: Any = MongoRestored if undone else MongoLive
    swap = owner.swap
    after: list[list[dict[str, Any]]] = []

    def blocked_once(self: Any, seconds: float) -> None:
        if after:
            swap(self, seconds)
            return
        try:
            with database.client.start_session() as session, session.start_transaction():
                database.bookings.find_one({}, session=session)
                swap(self, seconds)
        finally:
            change(database)
            after.append(list(database.bookings.find()))

    monkeypatch.setattr(owner, "swap", blocked_once)
    refused = command(*(ROLLBACK if undone else (*CUTOVER, "--at-rest")), "--max-outage", "300ms")

    assert 5 == refused.returncode, refused.stderr
    assert "attempt 1 of 10 aborted" in refused.stderr
    assert said in " ".join(refused.stderr.split())
    assert after == [list(database.bookings.find())]


@pytest.mark.parametrize("undone", [False, True], ids=["cutover", "rollback"])
def test_a_fence_that_is_lifted_while_it_is_raised(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, undone: bool
) -> None:
    """The belated lift of a process that was suspended is found before everything is read: at rest, the fence is raised again."""
    if undone:
        assert 0 == command(*CUTOVER).returncode
    lifted_by_others: list[bool] = []

    def lifted_once(collection: Any) -> None:
        if not lifted_by_others:
            lifted_by_others.append(True)
            lifted(database)
        settled(collection)

    monkeypatch.setattr(fence, "settled", lifted_once)
    done = command(*(ROLLBACK if undone else (*CUTOVER, "--at-rest")))

    assert done.returncode in (0, 3), done.stderr
    assert "attempt 1 of 10 aborted" in done.stderr
    assert undone or 1 == database.bookings.count_documents({"sessions.notes": "behind the fence"})


@pytest.mark.parametrize("undone", [False, True], ids=["cutover", "rollback"])
def test_a_swap_whose_answer_is_lost(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, undone: bool
) -> None:
    """A rename that still waits on the server when its command is aborted is ended: it is not carried out afterwards, nor before the fence is lifted."""
    database.command("collMod", "bookings", validator={"phone": {"$exists": False}})
    if undone:
        assert 0 == command(*CUTOVER).returncode
    owner: Any = MongoRestored if undone else LiveSwap
    live, rules = list(database.bookings.find()), database.bookings.options()
    admin, swap = database.client.admin, owner.swap

    def await_waiting(name: str) -> None:
        waiting = {"command." + name: {"$exists": True}, "waitingForLock": True}
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if list(admin.aggregate([{"$currentOp": {}}, {"$match": waiting}])):
                return
            time.sleep(0.01)

    def lost(self: Any, _seconds: float) -> None:
        session = database.client.start_session()
        session.start_transaction()
        database.bookings.find_one({}, session=session)

        def release() -> None:
            await_waiting("collMod")
            session.abort_transaction()

        def sent() -> None:
            with suppress(FenceBlocked, WriteFailed):
                swap(self, 20)

        for work in (sent, release):
            threads.append(Thread(target=work))
            threads[-1].start()
        await_waiting("renameCollection")
        raise FenceBlocked("bookings", "a lost connection")

    threads: list[Thread] = []
    monkeypatch.setattr(owner, "swap", lost)
    refused = command(*(ROLLBACK if undone else CUTOVER), "--attempts", "1")
    for each in threads:
        each.join()

    assert 5 == refused.returncode, refused.stderr
    assert live == list(database.bookings.find())
    assert rules == database.bookings.options()
    assert "live as before" in refused.stderr


def test_a_swap_whose_answer_comes_too_late(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A swap that is found to be carried out counts as refused until then; the report has its part and the events."""
    swap = LiveSwap.swap

    def late(self: LiveSwap, seconds: float) -> None:
        swap(self, seconds)
        time.sleep(0.1)
        raise FenceBlocked("bookings", "a lost connection")

    monkeypatch.setattr(LiveSwap, "swap", late)
    database.bookings.insert_one(booking(100))
    done = command(*CUTOVER)
    report = json.loads(done.stdout)["cutover"]
    followed = report["followed"]
    parts = sum(followed[f"{name}_ms"] for name in ("fence", "drain", "settle", "rename"))

    assert 0 == done.returncode, done.stderr
    assert 1 == followed["events"]["insert"]
    assert 100 <= followed["rename_ms"]
    assert parts == pytest.approx(report["refused_seconds"] * 1000, abs=4)


@pytest.mark.parametrize("undone", [False, True], ids=["cutover", "rollback"])
def test_what_is_blocked_behind_the_swap(command: Run, monkeypatch: pytest.MonkeyPatch, undone: bool) -> None:
    """What follows the rename at rest is tried again, too; it is not said then that writes are still refused, and that time does not count."""
    if undone:
        assert 0 == command(*CUTOVER).returncode
    owner, name = (MongoRestored, "begin_expiry") if undone else (MongoLive, "carry_validation")
    whole = getattr(owner, name)
    fenced: list[float] = []
    blocked: list[float] = []
    begin = refusal.RefusedTime.begin

    def begun(self: Any) -> None:
        fenced.append(time.monotonic())
        begin(self)

    def blocked_once(self: Any, settings: str) -> Any:
        if blocked:
            return whole(self, settings)
        blocked.append(time.monotonic())
        time.sleep(0.2)
        raise FenceBlocked("bookings", "checkout")

    monkeypatch.setattr(refusal.RefusedTime, "begin", begun)
    monkeypatch.setattr(owner, name, blocked_once)
    done = command(*(ROLLBACK if undone else (*CUTOVER, "--at-rest")))

    assert 0 == done.returncode, done.stderr
    assert "checkout; writes are accepted" in " ".join(done.stderr.split())
    report = json.loads(done.stdout)
    reported = report["undone" if undone else "cutover"]["refused_seconds"]
    assert 0 < reported < blocked[0] - fenced[0] + 0.01


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (("complete", "lift_fence"), "The fence could not be lifted"),
        (("complete", "drop"), "the rollback could not be cleaned up"),
        (("begin_expiry",), "holds the old bookings again"),
    ],
)
def test_what_a_rollback_leaves(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, refused: tuple[str, ...], said: str
) -> None:
    """What an aborted rollback leaves is said with the complete command that finishes it."""
    assert 0 == command(*CUTOVER).returncode
    drops: list[str] = []

    def fails(_self: Any, *_arguments: Any) -> None:
        raise WriteFailed("bookings", "for some reason")

    def fails_later(self: MongoRestored) -> None:
        if drops:
            fails(self)
        drops.append(self.name)

    with monkeypatch.context() as patched:
        for name in refused:
            owner = MongoLive if name == "lift_fence" else MongoRestored
            patched.setattr(owner, name, fails_later if name == "drop" else fails)
        failed = command(*ROLLBACK)
    finishing = re.search(rf"{said}.*: booking-migrate (rollback --run \S+)", " ".join(failed.stderr.split()))

    assert failed.returncode not in (0, 3)
    assert finishing is not None, failed.stderr
    assert 0 == command(*finishing[1].split(), "--yes").returncode
    assert 20 == database.bookings.count_documents({"sessions": {"$exists": False}})
