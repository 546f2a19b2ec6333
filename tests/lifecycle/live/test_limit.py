"""Writes are refused for no longer than the limit, whatever takes long behind the fence, and what is said of it is measured."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.cutover import fencing
from booking_migrate.follow.engine import Engine
from booking_migrate.follow.follower import Follower, Round
from booking_migrate.stores.mongo.live_swap import LiveSwap
from tests.lifecycle.conftest import Ended, own_validator
from tests.support.booking_lines import booking

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--source", "bookings", "--target", "clients")
CUTOVER = ("cutover", *PLACES, "--yes", "--json")
LIMIT = ("--max-outage", "2s")


@pytest.fixture(autouse=True)
def migrated(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some bookings, migrated and verified; attempts follow each other at once."""
    monkeypatch.setattr(fencing, "_BACKOFF_SECONDS", 0.01)
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
    monkeypatch.setattr(fencing, "_BACKOFF_SECONDS", 0.5)
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
