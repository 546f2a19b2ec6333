"""What the server says when it refuses something or cannot do it for the moment, and what becomes of it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from bson.int64 import Int64
from pymongo import InsertOne, ReplaceOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from booking_migrate.cli import progress
from booking_migrate.errors import UniqueIndexViolated, ValidationFailed, WriteFailed
from booking_migrate.stores.mongo import retry
from booking_migrate.stores.mongo.codes import PASSING, Trouble
from booking_migrate.stores.mongo.failures import translated
from tests.lifecycle.conftest import Command, contents
from tests.support.fail_commands import fail_point, failing
from tests.support.pauses import shorten_pauses
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Command
MIGRATE = ("migrate", "--target", "clients", "--batch-size", "5", "--json")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")

SCHEMA: Mapping[str, Any] = {
    "$jsonSchema": {
        "required": ["phone"],
        "additionalProperties": False,
        "properties": {
            "_id": {},
            "clientId": {},
            "phone": {"bsonType": "string"},
            "sessions": {
                "items": {
                    "properties": {
                        "price": {"bsonType": "double", "minimum": 1},
                        "status": {"enum": ["open", "closed"]},
                    }
                }
            },
        },
    }
}
CONDITIONS: list[tuple[Mapping[str, Any], dict[str, Any], str]] = [
    (SCHEMA, {"phone": "1", "nick": "secret"}, "nick is not allowed"),
    (SCHEMA, {}, "phone must be present"),
    (SCHEMA, {"phone": 12}, "phone must be of type string, and is int"),
    (
        SCHEMA,
        {"phone": "1", "sessions": [{"price": 2.0}, {"price": "secret", "status": "secret"}]},
        "sessions.1.price must be of type double, and is string; sessions.1.status must be one of open, closed",
    ),
    (
        {"$jsonSchema": {"properties": {"phone": {"maxLength": 2}}}},
        {"phone": "secret"},
        "at most 2 characters",
    ),
    ({"phone": {"$exists": False}}, {"phone": "secret"}, "phone must be absent"),
    ({"$and": [{"total": {"$gt": 0}}, {"total": {"$lt": 9}}]}, {"total": 10}, "total must be less than 9"),
    ({"total": {"$type": "int"}}, {"total": "secret"}, "total must be of type int, and is string"),
    ({"$expr": {"$lt": ["$total", "$most"]}}, {"total": 2, "most": 1}, "the document must satisfy $expr"),
    ({"$or": [{"total": 1}, {"total": 2}]}, {"total": 3}, "total must be 1; total must be 2"),
]


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch, 0.01)


@pytest.mark.parametrize(("validator", "fields", "expected"), CONDITIONS)
def test_a_validator_is_quoted_in_plain_words(
    database: Db, validator: Mapping[str, Any], fields: dict[str, Any], expected: str
) -> None:
    """The error names document, client, field and rule, and nothing that the document holds."""
    database.create_collection("clients", validator=validator, validationLevel="moderate")
    with pytest.raises(BulkWriteError) as caught:
        database.clients.insert_many([{"_id": 7, "clientId": "ann", **fields}])
    error = translated(caught.value, database.clients, WriteFailed)

    assert isinstance(error, ValidationFailed)
    assert error.message.startswith("the validator of clients refuses document 7 of client ann: ")
    assert expected in error.message
    assert "secret" not in error.message
    assert 'validator: VALIDATOR, validationLevel: "moderate"' in error.hint


def test_a_refused_replacement_names_its_client(database: Db) -> None:
    """A replacement that a validator refuses is named as an insert is."""
    database.create_collection("clients", validator={"total": {"$lt": 9}})
    database.clients.insert_one({"_id": 7, "total": 1})
    with pytest.raises(BulkWriteError) as caught:
        database.clients.bulk_write([ReplaceOne({"_id": 7}, {"clientId": "ann", "total": 10})])

    assert "document 7 of client ann: total must be less than 9" in str(
        translated(caught.value, database.clients, WriteFailed)
    )


def test_a_duplicate_is_named_with_index_value_and_cause(database: Db) -> None:
    """A unique index is named with its fields, the value, what the cause may be and how it is dropped."""
    database.clients.create_index([("email", 1), ("city", -1)], unique=True, name="who")
    same = {"email": "a@example.org", "city": "Bonn"}
    with pytest.raises(BulkWriteError) as caught:
        database.clients.bulk_write([InsertOne({"_id": 1, **same}), InsertOne({"_id": 2, **same})])
    error = translated(caught.value, database.clients, WriteFailed)

    assert isinstance(error, UniqueIndexViolated)
    assert "unique index who (email 1, city -1), such as email a@example.org, city Bonn" in error.message
    assert "Several clients have the same value in " in error.hint
    assert 'dropIndex("who")' in error.hint


@pytest.mark.usefixtures("bookings")
@pytest.mark.parametrize("about", [Trouble.CONTENTION, Trouble.OVERLOAD])
def test_whatever_is_documented_as_passing_is_tried_again(
    server: Server, database: Db, command: Run, about: Trouble
) -> None:
    """Each code of the table may come twice for any read or write; the result is that of a run without trouble."""
    _, expected = command.undisturbed(*MIGRATE)

    for code in (code for code, each in PASSING.items() if each is about):
        with failing(server, ["find", "insert", "update", "findAndModify"], {"errorCode": code}, times=2):
            done = command(*MIGRATE)
        assert 3 == done.returncode, (code, done.stderr)
        assert expected == contents(database), code
        assert 0 == command(*ROLLBACK).returncode
    labelled = {"errorCode": 2, "errorLabels": ["RetryableError", "SystemOverloadedError"]}
    with failing(server, ["find", "insert"], labelled, times=2):
        assert 3 == command(*MIGRATE).returncode


@pytest.mark.usefixtures("bookings")
def test_a_server_that_is_overloaded_for_good(
    server: Server, database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When patience is at an end, the run ends with 10, says what the server said and where, and can be given again."""
    monkeypatch.setattr(retry, "RETRY_TIMEOUT", 0.3)
    with failing(server, ["insert"], {"errorCode": 365}, times=10_000):
        ended = command(*MIGRATE)
    error = json.loads(ended.stdout)["error"]

    assert (10, "StillFailing") == (ended.returncode, error["kind"])
    assert f"could not work on {database.name}." in error["message"]
    assert "TemporarilyUnavailable" in error["message"]
    assert "Run the same command again" in error["hint"]
    assert 3 == command(*MIGRATE).returncode


@pytest.mark.usefixtures("bookings")
def test_waiting_is_said_aloud(server: Server, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for is said with its limit while it lasts, and when it is over."""
    monkeypatch.setattr(progress, "SAID_AFTER_SECONDS", 0.1)
    with fail_point(server) as point:
        point.set(["insert"], {"errorCode": 189})
        over = Timer(1.2, point.clear)
        over.start()
        done = command("migrate", "--target", "clients")
        over.join()
    lines = done.stderr.splitlines()

    assert 3 == done.returncode, done.stderr
    assert any(
        line.startswith("waiting for a primary since ") and line.endswith("at most 60 s") for line in lines
    )
    assert any(line.startswith("waited ") and line.endswith(" s for a primary") for line in lines)


@pytest.mark.usefixtures("bookings")
def test_retries_and_takeovers_are_logged(
    server: Server, database: Db, command: Run, killed: Callable[..., int], tmp_path: Path
) -> None:
    """The log has what was tried again, which run was taken over from whom, and the checkpoints."""
    log = tmp_path / "log.jsonl"
    options = ("--log-file", str(log), "--log-format", "json", "--log-level", "debug")
    killed("batch-written", 1, *MIGRATE)
    database.booking_migrate_locks.update_many({}, [{"$set": {"until": {"$toDate": Int64(0)}}}])
    with failing(server, ["insert"], {"errorCode": 365}, times=2):
        done = command(*MIGRATE, *options)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    retried = [line["problem"] for line in lines if line["event"] == "retried"]
    (opened,) = (line for line in lines if line["event"] == "run-opened")

    assert 3 == done.returncode, done.stderr
    assert any("TemporarilyUnavailable" in problem for problem in retried), retried
    assert "process" in opened["taken_over_from"]
