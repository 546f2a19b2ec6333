"""A scan whose cursor is lost anywhere hands out every document exactly once, and still in client order."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from bson import decode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from booking_migrate.bson.document import CODEC
from booking_migrate.bson.order import element_key
from booking_migrate.stores.chunks import unpack
from booking_migrate.stores.mongo import raw, scan
from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.scan import find_blocks, find_documents
from tests.properties.test_ordering import VALUES
from tests.support.fail_commands import fail_point, failing
from tests.support.pauses import polled, shorten_pauses
from tests.support.server import Server

Data = Database[dict[str, Any]]

ABSENT = object()
CLIENTS = st.one_of(st.just(ABSENT), st.integers(0, 2), VALUES)
_CURSOR_NOT_FOUND = 43
_CLOSED = {"closeConnection": True}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch, 0.01)


@pytest.fixture
def database(server: Server) -> Iterator[Data]:
    """A database that is not shared, on a connection by which the driver notices at once that a server is there again."""
    with MongoClient[dict[str, Any]](polled(server.uri)) as client:
        name = f"test_{uuid4().hex[:16]}"
        yield client[name]
        client.drop_database(name)


def filled(database: Data, clients: list[Any]) -> DriverCollection:
    """A collection with a document for each of these values of `clientId`."""
    collection = database.get_collection("bookings", CODEC)
    collection.delete_many({})
    collection.insert_many(
        [
            {"_id": number} if value is ABSENT else {"_id": number, "clientId": value}
            for number, value in enumerate(clients)
        ]
    )
    return collection


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    clients=st.lists(CLIENTS, min_size=3, max_size=25),
    breaks=st.lists(st.integers(0, 12), min_size=1, max_size=3),
    lost=st.sampled_from([_CLOSED, {"errorCode": _CURSOR_NOT_FOUND}]),
    sorts=st.booleans(),
)
def test_every_document_once(
    server: Server,
    database: Data,
    clients: list[Any],
    breaks: list[int],
    lost: dict[str, Any],
    sorts: bool,
) -> None:
    """Whatever the clients' ids are, however the server reads, and whenever and however often the cursor is lost."""
    collection = filled(database, clients)
    collection.create_index("clientId")
    found: list[bytes] = []
    with fail_point(server) as point, patch.object(scan, "_BATCH_SIZE", 3), patch.object(scan, "_AHEAD", 1):
        scanned = (each.raw for each in unpack(find_blocks(collection, {}, sorts=sorts)))
        for some in breaks:
            found += islice(scanned, some)
            point.set(["getMore"], lost, times=1, of=None)
        found += scanned
    everything = list(find_documents(collection, {}))
    keys = [element_key(scan._client_of(document)) for document in found]

    assert Counter(everything) == Counter(found)
    assert sorted(keys) == keys


def test_a_cursor_is_really_lost(server: Server, database: Data) -> None:
    """What the tests here break does break: the driver does not open the cursor again by itself."""
    collection = filled(database, list(range(10)))
    with failing(server, ["getMore"], _CLOSED, times=1, of=None), pytest.raises(AutoReconnect):
        list(collection.find(batch_size=3))


def test_where_nobody_can_tell(server: Server, database: Data) -> None:
    """Of more documents without a client than are remembered, a lost cursor ends the scan rather than risk one of them."""
    collection = filled(database, [None] * 20)
    with (
        patch.object(scan, "_BATCH_SIZE", 3),
        patch.object(scan, "_AHEAD", 1),
        patch.object(scan, "_MOST_IDS", 5),
    ):
        scanned = find_documents(collection, {}, by_client=True)
        list(islice(scanned, 12))
        with failing(server, ["getMore"], _CLOSED, times=1, of=None), pytest.raises(AutoReconnect):
            list(scanned)


def test_only_what_is_left_is_asked_for(server: Server, database: Data) -> None:
    """The server need not find the clients again that were read: the query begins with the last of them."""
    collection = filled(database, [number // 2 for number in range(40)])
    with (
        patch.object(scan, "_BATCH_SIZE", 10),
        patch.object(scan, "_AHEAD", 1),
        patch.object(scan, "_batches", wraps=scan._batches) as opened,
    ):
        scanned = find_documents(collection, {}, by_client=True)
        first = list(islice(scanned, 21))
        with failing(server, ["getMore"], _CLOSED, times=1, of=None):
            rest = list(scanned)
    asked = opened.call_args.args[1]

    assert 40 == len({*first, *rest}) == len(first) + len(rest)
    # The server was asked for the next batch before the connection broke, or not: it is a matter of luck.
    assert collection.count_documents(asked) in (2, 12)


def test_in_the_order_of_ids(server: Server, database: Data) -> None:
    """A scan by `_id` hands out every document once too, though its cursor is lost after each of its batches."""
    collection = filled(database, list(range(20)))
    found: list[bytes] = []
    with (
        fail_point(server) as point,
        patch.object(scan, "_BATCH_SIZE", 3),
        patch.object(raw, "_BATCH_SIZE", 3),
    ):
        scanned = scan.scan_by_id(collection, {"clientId": {"$gte": 2}})
        for _ in range(4):
            found += islice(scanned, 3)
            point.set(["getMore"], _CLOSED, times=1, of=None)
        found += scanned

    assert list(range(2, 20)) == [decode(document)["_id"] for document in found]
