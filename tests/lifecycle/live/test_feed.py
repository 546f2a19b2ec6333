"""The change feed reads raw events: each change once and in order, whatever the values are, and also past a failed cursor."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
from bson import encode
from bson.dbref import DBRef
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from booking_migrate.bson.document import Opaque
from booking_migrate.stores.changes import Change, Role
from booking_migrate.stores.mongo.change_feed import MongoChangeFeed, cluster_time
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.raw_cursor import RawCursor
from tests.support.fail_commands import failing
from tests.support.server import Server

Db = Database[dict[str, Any]]


@pytest.fixture
def collection(database: Db) -> DriverCollection:
    """A collection that is there when the feed begins."""
    database.create_collection("bookings")
    return database.bookings


@pytest.fixture
def feed(collection: DriverCollection) -> Iterator[MongoChangeFeed]:
    """A feed from now on; its first batch is read when something was written."""
    with closing(
        MongoChangeFeed(collection, {"bookings": Role.SOURCE}, cluster_time(collection), is_whole=True)
    ) as opened:
        opened.check()
        yield opened


def read(feed: MongoChangeFeed, count: int, *, limit: int = 5000) -> list[Change]:
    """The next changes of documents, until there are so many."""
    found: list[Change] = []
    while len(found) < count:
        found += [each for each in feed.read(1.0, limit=limit).changes if each.is_of_document]
    return found


def test_values_of_every_kind(collection: DriverCollection, feed: MongoChangeFeed) -> None:
    """Ids come as decoded, or as bytes where decoding would change them; a new client is named by inserts and updates."""
    undefined = encode({"_id": 2, "x": 1}).replace(b"\x10x\x00\x01\x00\x00\x00", b"\x06clientId\x00")
    undefined = (len(undefined)).to_bytes(4, "little") + undefined[4:]
    collection.insert_one({"_id": "äöü", "clientId": "plain"})
    collection.insert_one(RawBSONDocument(undefined))
    collection.insert_one({"_id": {"a": Int64(1)}, "clientId": DBRef("users", 1)})
    collection.update_one({"_id": "äöü"}, {"$set": {"clientId": 7}})
    collection.update_one({"_id": "äöü"}, {"$set": {"notes": "n"}})
    collection.delete_one({"_id": "äöü"})
    changes = read(feed, 6)

    assert ["insert", "insert", "insert", "update", "update", "delete"] == [
        each.operation for each in changes
    ]
    assert ["äöü", 2, {"a": 1}, "äöü", "äöü", "äöü"] == [each.document_id for each in changes]
    assert ("plain",) == changes[0].client_ids
    assert (Opaque(0x06, b""),) == changes[1].client_ids
    assert (7,) == changes[3].client_ids
    assert () == changes[4].client_ids
    assert encode({"_id": "äöü", "clientId": "plain"}) == changes[0].document
    assert [None, None, None] == [each.document for each in changes[3:]]
    assert sorted(each.time for each in changes) == [each.time for each in changes]


def test_more_than_one_batch(collection: DriverCollection, feed: MongoChangeFeed) -> None:
    """Changes that fill several batches of the server come once each, and reading continues where it was."""
    collection.insert_many([{"_id": number} for number in range(2500)])
    first = read(feed, 1, limit=1)
    collection.insert_one({"_id": 2500})
    changes = [*first, *read(feed, 2501 - len(first))]

    assert list(range(2501)) == [each.document_id for each in changes]


@pytest.mark.parametrize("code", [43, 234])
def test_a_failed_cursor(
    server: Server, collection: DriverCollection, feed: MongoChangeFeed, code: int
) -> None:
    """A cursor that the server has closed, or an error that it labels as resumable, opens the stream again where it was."""
    collection.insert_one({"_id": 1})
    before = read(feed, 1)
    what = {"errorCode": code, "errorLabels": ["ResumableChangeStreamError"]}
    with failing(server, ["getMore"], what, times=1, of=None):
        collection.insert_one({"_id": 2})
        after = read(feed, 1)

    assert [1, 2] == [each.document_id for each in (*before, *after)]


def test_nothing_is_awaited_past_a_time(
    collection: DriverCollection, feed: MongoChangeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read up to a cluster time, the feed returns as soon as it is past that; the server is not let wait for what comes later."""
    asked: list[Mapping[str, Any]] = []
    answer = RawCursor._answer

    def noted(self: RawCursor, command: Mapping[str, Any]) -> Any:
        asked.append(command)
        return answer(self, command)

    monkeypatch.setattr(RawCursor, "_answer", noted)
    collection.insert_one({"_id": 1})
    until = cluster_time(collection)
    collection.database.others.insert_one({})
    found: list[Change] = []
    batch = feed.read(0.0, until=until)
    while batch.position.time <= until:
        found += batch.changes
        batch = feed.read(0.0, until=until)
    found += batch.changes

    assert [1] == [each.document_id for each in found if each.is_of_document]
    assert {1} == {command["maxTimeMS"] for command in asked if "getMore" in command}


def test_whole_documents_are_those_of_the_source(collection: DriverCollection) -> None:
    """A document of the target that leaves no room for an event around it does not end a feed of whole documents."""
    names = {"bookings": Role.SOURCE, "clients": Role.TARGET}
    begin = cluster_time(collection)
    with closing(MongoChangeFeed(collection, names, begin, is_whole=True)) as opened:
        opened.check()
        collection.database.clients.insert_one({"_id": 1, "filling": "x" * (16 * 1024 * 1024 - 60)})
        collection.insert_one({"_id": 2})
        changes = read(opened, 2)

    assert [(1, None), (2, encode({"_id": 2}))] == [(each.document_id, each.document) for each in changes]
