"""A copy whose answer is lost and that is asked for again: the earlier command does not write into it any more."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from booking_migrate.stores.mongo.connection import open_collection
from booking_migrate.stores.mongo.cutover import MongoLive
from booking_migrate.stores.mongo.kept_copy import KeptCopy
from booking_migrate.stores.mongo.rollback import MongoRestored
from tests.support.booking_lines import booking

Db = Database[dict[str, Any]]

BOOKINGS = 40
_MERGE = "hangWhileBuildingDocumentSourceMergeBatch"
_OUT = "hangWhileBuildingDocumentSourceOutBatch"


def merged(client: MongoClient[Any], name: str) -> None:
    """Make the kept copy of a source that is in use."""
    source, copy = (open_collection(client, name, each) for each in ("bookings", "copy"))
    KeptCopy(source, copy).create()


def restored(client: MongoClient[Any], name: str) -> None:
    """Make what a reverse window keeps ready."""
    kept, copy = (open_collection(client, name, each) for each in ("bookings", "copy"))
    MongoRestored(copy, kept).copy("bookings", '{"options": {}, "indexes": []}')


def at_rest(client: MongoClient[Any], name: str) -> None:
    """Make the kept copy behind a fence."""
    source, target = (open_collection(client, name, each) for each in ("bookings", "clients"))
    MongoLive(source, target).copy("copy")


@pytest.fixture
def impatient(server_uri: str) -> Iterator[MongoClient[Any]]:
    """A client that takes an answer for lost after a second."""
    with MongoClient[Any](server_uri, socketTimeoutMS=1000) as client:
        yield client


@pytest.mark.parametrize(("point", "copy"), [(_MERGE, merged), (_MERGE, restored), (_OUT, at_rest)])
def test_it_is_ended(
    database: Db, impatient: MongoClient[Any], point: str, copy: Callable[[MongoClient[Any], str], None]
) -> None:
    """The second attempt begins when the first has ended, and the copy is complete."""
    database.bookings.insert_many(map(booking, range(BOOKINGS)))
    admin = database.client.admin
    mine: list[dict[str, Any]] = [
        {"$currentOp": {}},
        {"$match": {"command.aggregate": "bookings", "command.$db": database.name, "op": "command"}},
    ]
    most, known = 0, set[Any]()
    admin.command({"configureFailPoint": point, "mode": "alwaysOn"})
    try:
        with ThreadPoolExecutor(1) as thread:
            copied = thread.submit(copy, impatient, database.name)
            deadline = time.monotonic() + 60
            is_ended = False
            while len(known) < 2 and not is_ended and not copied.done():
                assert time.monotonic() < deadline
                there = list(admin.aggregate(mine))
                # Where it is held it does not end before it goes on.
                is_ended = any(each.get("killPending") for each in there)
                running = {each["opid"] for each in there}
                most, known = max(most, len(running)), known | running
            admin.command({"configureFailPoint": point, "mode": "off"})
            copied.result()
    finally:
        admin.command({"configureFailPoint": point, "mode": "off"})
    left = [each for each in admin.aggregate(mine) if each["opid"] in known]

    assert 1 == most
    assert not left
    assert list(database.bookings.find().sort("_id", 1)) == list(database["copy"].find().sort("_id", 1))
