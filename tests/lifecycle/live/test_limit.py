"""Writes are refused for no longer than the limit, whatever takes long behind the fence, and what is said of it is measured."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import WriteError

from booking_migrate.cli import progress
from booking_migrate.cutover import fencing, refusal
from booking_migrate.errors import LIVE_AS_BEFORE
from booking_migrate.follow.engine import Engine
from booking_migrate.follow.follower import Follower, Round
from booking_migrate.stores.mongo.live_swap import LiveSwap
from tests.lifecycle.conftest import Command, own_validator
from tests.support.booking_lines import booking, client
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Command

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


@contextmanager
def writers(server: Server, database: Db) -> Iterator[None]:
    """Update one booking at full speed, from several threads of another application."""
    over = Event()
    with MongoClient[dict[str, Any]](server.uri, appname="writer") as other, ThreadPoolExecutor(4) as pool:
        bookings = other[database.name].bookings

        def write() -> None:
            while not over.is_set():
                with suppress(WriteError):
                    bookings.update_one({"_id": booking(1)["_id"]}, {"$inc": {"duration": 1}})

        for _ in range(4):
            pool.submit(write)
        try:
            yield
        finally:
            over.set()


@pytest.fixture(autouse=True)
def migrated(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some bookings, migrated and verified; attempts follow each other at once."""
    monkeypatch.setattr(refusal, "_BACKOFF_SECONDS", 0.01)
    database.bookings.insert_many(map(booking, range(20)))
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))


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
    """As long as what is left takes longer than the limit, writes are not refused at all; progress counts the changes of the attempt."""
    fenced: list[float] = []
    following = Follower.round

    def long(self: Follower, seconds: float = 0.0) -> Round:
        database.bookings.update_one({"_id": booking(0)["_id"]}, {"$inc": {"price": 1}})
        done = following(self, seconds)
        return Round(done.changes, done.clients, 3.0)

    monkeypatch.setattr(Follower, "round", long)
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(LiveSwap, "raise_fence", lambda _self, seconds: fenced.append(seconds))
    refused = command(*CUTOVER, *LIMIT, "--attempts", "2")

    assert 5 == refused.returncode
    assert [] == fenced
    said = " ".join(refused.stderr.split())
    assert "attempt 2 of 2 not begun: the last changes took 3000 ms, the limit is 2000 ms" in said
    assert said.count("and about as many have come meanwhile: writes are accepted") == 2
    assert "at once if the application is stopped" in said
    assert re.search(r"attempt 2 of 2, bringing in the last changes: [1-9]\d* changes?", refused.stderr), (
        refused.stderr
    )
    assert {} == own_validator(database.bookings)


def test_between_two_attempts_changes_are_followed(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written in the pause is brought in then, and not left to the next attempt."""
    monkeypatch.setattr(refusal, "_BACKOFF_SECONDS", 0.5)
    pause, handle = fencing.Fencing._pause, Engine.handle
    is_paused, pauses = False, 0
    followed: list[bool] = []

    def fails_once(self: LiveSwap, seconds: float) -> Any:
        if not pauses:
            raise TimeoutError
        return raise_fence(self, seconds)

    def paused(self: fencing.Fencing, seconds: float) -> None:
        nonlocal is_paused, pauses
        is_paused, pauses = True, pauses + 1
        database.bookings.update_one({"_id": booking(0)["_id"]}, {"$inc": {"price": 1}})
        pause(self, seconds)
        is_paused = False

    def noted(self: Engine, *arguments: Any, **options: Any) -> Any:
        if pauses:
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
    """A transaction on the source cannot stall every writer: the fence gives up, says what holds it, and lifts itself.

    Writers that wait behind the fence are not said to hold it.
    """
    with held(server, database, {"$set": {"notes": "in a transaction"}}), writers(server, database):
        refused = command("cutover", *PLACES, "--yes", "--max-outage", "300ms", "--attempts", "2", *way)
        # Nothing is left that a write would wait for.
        database.bookings.insert_one(booking(99))
    done = command(*CUTOVER)

    assert 5 == refused.returncode
    assert "checkout" in refused.stderr
    assert "writer" not in refused.stderr
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
