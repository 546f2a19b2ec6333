"""Servers that are not at their best: elections in the middle of a rewrite, and a server without change streams."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from pymongo.database import Database

from booking_migrate.stores.mongo.referring_writes import MongoReferringWrites
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import COUNT, REWRITE, UNDO
from tests.lifecycle.references.rewriting.test_rewrite import hashes
from tests.support.pauses import polled, shorten_pauses
from tests.support.references import expected, found
from tests.support.replica_set import ReplicaSet, replica_set
from tests.support.server import Server, environment_of, guarded_server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]


@pytest.fixture(scope="module", params=["replica set of three", "standalone"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Three servers with elections, or one without a replica set."""
    if request.param == "standalone":
        with guarded_server() as alone:
            yield alone
    else:
        with replica_set(election_milliseconds=500) as servers:
            yield servers


@pytest.fixture
def environment(server: Server, database: Db) -> dict[str, str]:
    """Variables by which the driver notices at once what has become of a server."""
    return environment_of(polled(server.uri) if isinstance(server, ReplicaSet) else server.uri, database.name)


@pytest.fixture
def database(server: Server) -> Iterator[Db]:
    """A database of its own; dropped after the test."""
    database = server.client()[f"test_{uuid4().hex[:16]}"]
    yield database
    if isinstance(server, ReplicaSet):
        server.unmoved(lambda: server.client().drop_database(database.name))


@pytest.mark.usefixtures("cut_over")
def test_the_result_is_the_same(
    server: Server, database: Db, command: Run, tables: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With elections between reading and writing, or without change streams and transactions, references and undo are the same."""
    shorten_pauses(monkeypatch, 0.05)
    before = hashes(database)
    whole = MongoReferringWrites.write
    calls = 0

    def write(own: MongoReferringWrites, updates: Any) -> Any:
        nonlocal calls
        calls += 1
        if isinstance(server, ReplicaSet) and calls % 4 == 0:
            server.step_down()
        return whole(own, updates)

    monkeypatch.setattr(MongoReferringWrites, "write", write)
    done = command(*REWRITE, "--batch-size", "7", "--config", tables)
    report = json.loads(done.stdout)

    assert 0 == done.returncode, done.stderr
    assert expected(COUNT) == found(database)
    assert isinstance(server, ReplicaSet) == report["followed"]
    assert report["followed"] or report["passes"] > 1
    assert report["followed"] or "cannot be followed" in done.stderr
    undone = command(*UNDO)
    assert 0 == undone.returncode, undone.stderr
    after = server.unmoved(lambda: hashes(database)) if isinstance(server, ReplicaSet) else hashes(database)
    assert before == after
