"""Passing troubles of the server: lost connections, elections, acknowledgements that never come."""

import json
from collections.abc import Sequence
from itertools import cycle
from typing import Any
from unittest.mock import patch

import pytest
from bson.objectid import ObjectId
from pymongo.database import Database
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from booking_migrate.stores.mongo import retry, scan
from tests.lifecycle.conftest import Command, Ended, contents, own_validator
from tests.support.booking_lines import booking, client
from tests.support.fail_commands import failing
from tests.support.pauses import polled, shorten_pauses
from tests.support.server import Server, environment_of

Db = Database[dict[str, Any]]
Run = Command

MIGRATE = ("migrate", "--target", "clients", "--batch-size", "5", "--json", "--quiet")
VERIFY = ("verify", "--target", "clients", "--recheck", "0", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")

LOST_BEFORE: dict[str, Any] = {"closeConnection": True}
"""The connection is lost before the server does anything."""

STEPPED_DOWN: dict[str, Any] = {"errorCode": 189, "errorLabels": ["RetryableWriteError"]}
"""The primary has stepped down and did nothing."""

NOT_ACKNOWLEDGED: dict[str, Any] = {
    "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}
}
"""The server did it, but cannot say that a majority has it."""

NO_PRIMARY: dict[str, Any] = {"errorCode": 10107}
"""There is an election: whoever is asked is no primary."""

ASKED = [
    *("find", "getMore", "aggregate", "insert", "update", "delete", "findAndModify"),
    *("listCollections", "listIndexes", "createIndexes", "dropIndexes", "drop"),
]
ASKED_BY_CUTOVER = [
    *("find", "aggregate", "insert", "update", "findAndModify", "listCollections"),
    *("createIndexes", "dropIndexes", "collMod", "dbHash", "renameCollection"),
]

TROUBLES: list[tuple[str, dict[str, Any]]] = [
    ("insert", LOST_BEFORE),
    ("insert", NOT_ACKNOWLEDGED),
    ("update", STEPPED_DOWN),
    ("update", NOT_ACKNOWLEDGED),
    ("findAndModify", NOT_ACKNOWLEDGED),
]


@pytest.fixture
def environment(server: Server, database: Db) -> dict[str, str]:
    """Variables by which the driver notices at once what has become of a server."""
    return environment_of(polled(server.uri), database.name)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch, 0.001)


@pytest.mark.usefixtures("bookings")
def test_writes_fail_for_a_while(server: Server, database: Db, command: Run) -> None:
    """Writes that fail three times in a row are tried on, and the result is that of a run without trouble."""
    before = contents(database)
    undisturbed, expected = command.undisturbed(*MIGRATE)

    for name, failure in TROUBLES:
        with failing(server, [name], failure, times=3):
            troubled = command(*MIGRATE)
        assert 3 == troubled.returncode, (name, failure, troubled.stderr)
        assert expected == contents(database), (name, failure)
        assert _counts(undisturbed) == _counts(troubled)
        assert 0 == command(*ROLLBACK).returncode
        assert before == contents(database), (name, failure)


def _counts(ended: Ended) -> Any:
    return json.loads(ended.stdout)["counts"]


@pytest.mark.usefixtures("bookings")
@pytest.mark.parametrize("failure", [LOST_BEFORE, NOT_ACKNOWLEDGED], ids=["lost", "not-acknowledged"])
def test_a_rollback_is_troubled(server: Server, database: Db, command: Run, failure: dict[str, Any]) -> None:
    """Deletes of a rollback that fail for a while are tried on, and everything is as before."""
    before = contents(database)
    command(*MIGRATE)
    with failing(server, ["delete"], failure, times=3):
        undone = command(*ROLLBACK)

    assert 0 == undone.returncode, undone.stderr
    assert before == contents(database)


@pytest.mark.parametrize(
    "failures",
    [(LOST_BEFORE, NO_PRIMARY), pytest.param((NO_PRIMARY, LOST_BEFORE), marks=pytest.mark.slow)],
    ids=["by turns", "the other way round"],
)
def test_any_command_fails_for_a_while(
    server: Server, database: Db, command: Run, failures: Sequence[dict[str, Any]]
) -> None:
    """Whatever migrate, verify and rollback ask of the server may fail three times; the results are those without trouble."""
    database.bookings.insert_many([*map(booking, range(29)), booking(29, duration=5)])
    before = contents(database)
    _, migrated = command.undisturbed(*MIGRATE)
    # Batches of five, so that there are cursors to lose.
    with patch.object(scan, "_BATCH_SIZE", 5):
        for name, failure in zip(ASKED, cycle(failures), strict=False):
            codes = []
            for step, expected in ((MIGRATE, migrated), (VERIFY, migrated), (ROLLBACK, before)):
                with failing(server, [name], failure, times=3):
                    codes.append(command(*step).returncode)
                assert expected == contents(database), (name, step)
            assert [3, 0, 0] == codes, name


@pytest.mark.parametrize("name", ASKED_BY_CUTOVER)
def test_a_cutover_is_troubled(server: Server, database: Db, command: Run, name: str) -> None:
    """Whatever a cut-over asks of the server may fail three times, and it is done all the same."""
    database.bookings.insert_many([*map(booking, range(29)), booking(29, duration=5)])
    database.bookings.create_index("expertId")
    codes = command.once(MIGRATE, VERIFY)
    source = contents(database)["bookings"]
    with failing(server, [name], LOST_BEFORE, times=3):
        done = command("cutover", "--target", "clients", "--rejected", "carry", "--yes", "--json")

    assert [3, 0, 0] == [*codes, done.returncode], done.stderr
    assert source == contents(database)[json.loads(done.stdout)["cutover"]["legacy"]]
    assert 1 == database.bookings.count_documents({"sessions": {"$exists": False}})
    assert 4 == database.bookings.count_documents({"sessions": {"$exists": True}})
    assert {} == own_validator(database.bookings)


def with_two_documents_of_a_client(database: Db) -> ObjectId:
    """Add bookings, and a client's document on both sides, which a transaction joins; return the `_id` that stays."""
    database.bookings.insert_many(map(booking, range(8)))
    older, newer = ObjectId("5" * 24), ObjectId("6" * 24)
    database.bookings.insert_one({"_id": older, "clientId": client(1), "sessions": [], "by": "the source"})
    database.clients.insert_one({"_id": newer, "clientId": client(1), "sessions": [], "by": "the target"})
    return older


@pytest.mark.parametrize(
    "failure", [LOST_BEFORE, NO_PRIMARY, NOT_ACKNOWLEDGED], ids=["lost", "no-primary", "unknown"]
)
def test_a_commit_is_troubled(server: Server, database: Db, command: Run, failure: dict[str, Any]) -> None:
    """A transaction whose commit fails, or whose outcome is not known, has happened once when the run is done, and that is logged."""
    older = with_two_documents_of_a_client(database)
    with failing(server, ["commitTransaction"], failure, times=3):
        done = command(*MIGRATE, "--merge-client-documents", "--log-file", "-")

    assert 0 == done.returncode, done.stderr
    assert "failed and is repeated" in done.stderr
    assert [older] == [each["_id"] for each in database.clients.find({"clientId": client(1)})]
    assert [2] * 4 == [len(each["sessions"]) for each in database.clients.find()]


def test_a_transaction_that_never_commits(
    server: Server, database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried for as long as anything else, then the run ends with 10; the same command completes it."""
    older = with_two_documents_of_a_client(database)
    monkeypatch.setattr(retry, "RETRY_TIMEOUT", 0.5)
    with failing(server, ["commitTransaction"], NOT_ACKNOWLEDGED, times=1000):
        broken = command(*MIGRATE, "--merge-client-documents")
    completed = command(*MIGRATE, "--merge-client-documents")

    assert (10, 0) == (broken.returncode, completed.returncode), completed.stderr
    assert "no majority" in broken.stderr
    assert [older] == [each["_id"] for each in database.clients.find({"clientId": client(1)})]


@pytest.mark.usefixtures("bookings")
def test_a_server_that_is_gone_for_good(
    server: Server, database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When patience is at an end in the middle of the source, the run ends with 10; the same command then completes it."""
    command(*MIGRATE)
    expected = contents(database)
    command(*ROLLBACK)
    monkeypatch.setattr(retry, "RETRY_TIMEOUT", 0.5)
    monkeypatch.setattr(scan, "_BATCH_SIZE", 5)
    with failing(server, ["getMore"], LOST_BEFORE, times=1000):
        broken = command(*MIGRATE)
    completed = command(*MIGRATE)

    assert (10, 3) == (broken.returncode, completed.returncode), completed.stderr
    assert expected == contents(database)


@pytest.mark.parametrize(
    "step",
    [MIGRATE, VERIFY, ROLLBACK, ("cutover", "--yes"), ("status",), ("dry-run",)],
    ids=lambda step: step[0],
)
def test_nobody_waits_for_a_server_that_was_never_there(command: Run, step: tuple[str, ...]) -> None:
    """A server that does not answer at all is told at once, not after a minute of trying."""
    with_retry: list[RetryDetails] = []

    def hear(details: RetryDetails) -> None:
        with_retry.append(details)

    set_on_retry_hooks([hear])
    try:
        ended = command(*step, "--uri", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1")
    finally:
        set_on_retry_hooks(())

    assert (10, []) == (ended.returncode, with_retry), ended.stderr
