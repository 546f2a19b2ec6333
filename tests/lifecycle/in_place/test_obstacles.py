"""Documents that are in the way of a client's document, or that the server does not let be replaced."""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from booking_migrate.bson.document import write_fields
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.mongo.raw import any_of, as_driver_document, find_raw, replacing
from tests.lifecycle.conftest import Ended, contents
from tests.support.booking_lines import booking, client
from tests.support.bson_samples import VALUES

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--in-place", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "bookings", "--yes", "--json", "--quiet")
THEIRS: dict[str, Any] = {"_id": "x", "clientId": 7, "sessions": [], "first": 1, "other": 2}


def _put(database: Db, case: str) -> None:
    match case:
        case "clientId of another type":
            database.bookings.insert_one({**THEIRS, "clientId": 7.0})
        case "a field twice":
            twice = bson.encode(THEIRS).replace(b"\x10other\x00", b"\x10first\x00")
            database.bookings.insert_one(RawBSONDocument(twice))
        case _:
            assert database.bookings.update_one(
                {"sessions.price": 77}, {"$set": {"sessions": None}}
            ).modified_count


@pytest.mark.parametrize("case", ["clientId of another type", "a field twice", "sessions that are gone"])
def test_a_document_in_the_way(database: Db, command: Run, case: str) -> None:
    """Where a document that is not sound keeps a client's from being inserted, that client's bookings are rejected, and no others."""
    database.bookings.insert_one(booking(0, clientId=7, price=77))
    if case == "sessions that are gone":
        command(*MIGRATE)
    _put(database, case)
    database.bookings.insert_many([booking(number, clientId=7) for number in range(1, 4)])
    database.bookings.insert_many(map(booking, range(8, 16)))
    before = contents(database)["bookings"]
    done = command(*MIGRATE)
    report = json.loads(done.stdout)
    reasons = {group["reason"]: group["count"] for group in report["rejections"]}
    is_moved = case == "sessions that are gone"

    assert 3 == done.returncode, done.stderr
    assert (3 if is_moved else 4) == reasons["conflict"]
    assert 8 == report["counts"]["migrated"]
    assert 0 == command("rollback", "--run", report["run_id"], "--yes", "--quiet").returncode
    assert before == contents(database)["bookings"]


@pytest.mark.parametrize("mode", [(), ("--without-transactions",)], ids=["transactions", "steps"])
def test_a_name_with_a_dollar_sign(database: Db, command: Run, mode: tuple[str, ...]) -> None:
    """A client document with a field that a replacement may not have is added to like any other, and put back."""
    database.bookings.insert_one(
        {"_id": "x", "clientId": client(1), "sessions": [], "$x": {"$y": 1}, "a.b": 2}
    )
    database.bookings.insert_many(map(booking, range(8)))
    before = contents(database)
    done = command(*MIGRATE, *mode)
    found = database.bookings.find_one({"_id": "x"}) or {}

    assert 0 == done.returncode, done.stderr
    assert ({"$y": 1}, 2, 2) == (found["$x"], found["a.b"], found["totalSessions"])
    assert 0 == command("verify", "--in-place", "--recheck", "0", "--quiet").returncode
    assert 0 == command(*ROLLBACK).returncode
    assert before == contents(database)


def test_a_name_with_a_dollar_sign_in_the_target(database: Db, command: Run) -> None:
    """So it is in the target of a migration side by side."""
    database.clients.insert_one({"_id": "x", "clientId": client(1), "sessions": [], "$x": 1})
    database.bookings.insert_many(map(booking, range(8)))
    before = contents(database)
    done = command("migrate", "--target", "clients", "--quiet")

    assert 0 == done.returncode, done.stderr
    assert 2 == (database.clients.find_one({"_id": "x"}) or {})["totalSessions"]
    assert 0 == command("rollback", "--target", "clients", "--yes", "--quiet").returncode
    assert before == contents(database)


@pytest.mark.parametrize("is_there", [False, True], ids=["absent", "there"])
def test_replaced_byte_for_byte(database: Db, server_uri: str, *, is_there: bool) -> None:
    """A document of values of every type comes as it is, whatever its names begin with."""
    raws = [write_fields({"_id": number, **VALUES, name: 1}) for number, name in enumerate(("x", "$x"))]
    with closing(Connection(server_uri, database.name)) as connection:
        collection = connection.collection("copies")
        if is_there:
            collection.insert_many(
                [as_driver_document(write_fields({"_id": each, "a": 1})) for each in (0, 1)]
            )
        collection.bulk_write(
            [replacing(any_of("_id", [number]), raw, upsert=True) for number, raw in enumerate(raws)]
        )
        assert raws == list(find_raw(collection, {}, by_id=True))
