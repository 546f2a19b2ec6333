"""Nothing is lost, doubled or seen twice while the application works, elections happen and sessions are killed."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import PyMongoError

from tests.lifecycle.conftest import ROOT, Ended
from tests.support.crews import main_of_many
from tests.support.forked import ran
from tests.support.server import Server
from tests.support.soak import Application

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--in-place", "--batch-size", "50", "--passes", "3", "--quiet")
ROLLBACK = ("rollback", "--target", "bookings", "--yes", "--quiet")
_ATTEMPTS = 10
"""How often a command is given that somebody has ended from outside."""


Main = Callable[..., Any] | None


def _to_the_end(environment: Mapping[str, str], *arguments: str, main: Main = None) -> int:
    """Run the program as a process; again, if it ended because the server was out of reach for too long."""
    for _attempt in range(_ATTEMPTS):
        ended = ran(arguments, environment, main=main, folder=ROOT)
        if ended.returncode in (0, 3):
            return ended.returncode
        assert ended.returncode in (1, 5, 10), ended.stderr + ended.stdout
    raise AssertionError(ended.stderr)


@contextmanager
def _trouble(server: Server, seed: int, pause: float, times: int | None) -> Iterator[None]:
    """Elections, and somebody who kills all sessions, now and then: so many times at most, or until the end."""
    chance = random.Random(seed)
    stopped = threading.Event()

    def trouble() -> None:
        for _time in count() if times is None else range(times):
            if stopped.wait(pause * (0.5 + chance.random())):
                return
            try:
                if chance.random() < 0.5:
                    server.client().admin.command("killAllSessions", [])
                else:
                    server.client().admin.command("replSetStepDown", 1, force=True)
            except PyMongoError:
                # It answers by closing the connection, or is not primary just now.
                continue

    thread = threading.Thread(target=trouble)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        _wait_for_primary(server)


def _wait_for_primary(server: Server) -> None:
    for _attempt in range(600):
        try:
            if server.client().admin.command("hello")["isWritablePrimary"]:
                return
        except PyMongoError:
            # The deadline is the number of attempts.
            pass
        time.sleep(0.1)
    raise AssertionError("no primary")


def _soak(
    server: Server,
    database: Db,
    environment: Mapping[str, str],
    *,
    clients: int,
    bookings: int,
    rate: int,
    pause: float,
    times: int | None = None,
    main: Main = None,
) -> None:
    application = Application(server.uri, database.name, clients, seed=11)
    application.fill(bookings)
    with application.running(), _trouble(server, seed=3, pause=pause, times=times):
        assert _to_the_end(environment, *MIGRATE, "--max-rate", str(rate), main=main) in (0, 3)
    assert [] == application.problems()[:5]
    with application.running(old_instances=0):
        assert 0 == _to_the_end(environment, *MIGRATE, main=main)
    assert [] == application.problems()[:5]
    assert 0 == database.bookings.count_documents({"sessions": {"$exists": False}})
    assert 0 == _to_the_end(environment, "verify", "--in-place", "--json", "--quiet")
    runs = [
        run["_id"] for run in database.booking_migrate_runs.find({"state": "done"}).sort("started_at", -1)
    ]
    with application.running(old_instances=0), _trouble(server, seed=5, pause=pause, times=times):
        for run in runs:
            assert _to_the_end(environment, "rollback", "--run", run, "--yes", "--quiet", main=main) in (0, 3)
    assert [] == application.problems()[:5]
    assert "bookings_legacy" not in database.list_collection_names()
    assert application.ledger.reads
    assert len(application.ledger.clients) > bookings


@pytest.mark.slow
def test_soak(server: Server, database: Db, environment: dict[str, str]) -> None:
    """Every acknowledged write is there exactly once, no reader sees a booking twice or not at all, totals are right."""
    _soak(server, database, environment, clients=15, bookings=300, rate=150, pause=3)


def test_soak_of_several_at_a_time(server: Server, database: Db, environment: dict[str, str]) -> None:
    """The same with several transactions at a time, which meet the application's and never each other's clients."""
    # So often that a busy machine, on which nearly every attempt would meet some trouble, gets through, too.
    _soak(
        server,
        database,
        environment,
        clients=15,
        bookings=60,
        rate=40,
        pause=1,
        times=3,
        main=main_of_many,
    )


@pytest.mark.slow
def test_longer_soak_of_several_at_a_time(server: Server, database: Db, environment: dict[str, str]) -> None:
    """The same, with trouble until the end."""
    _soak(server, database, environment, clients=40, bookings=150, rate=150, pause=2, main=main_of_many)


@pytest.mark.slow
def test_long_soak(server: Server, database: Db, environment: dict[str, str]) -> None:
    """The same, with more of everything."""
    _soak(server, database, environment, clients=1000, bookings=30_000, rate=1000, pause=3)
