"""A scan of a collection with references whose cursor is lost anywhere yields every document exactly once, by `_id`."""

from collections.abc import Iterator
from itertools import islice
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from bson import encode
from bson.regex import Regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.database import Database

from booking_migrate.bson.document import CODEC, identity_of, value_in
from booking_migrate.bson.order import id_key, sort_key
from booking_migrate.stores.mongo import referring
from booking_migrate.stores.mongo.referring import MongoReferring
from tests.properties.test_ordering import SCALARS
from tests.support.fail_commands import fail_point
from tests.support.pauses import polled, shorten_pauses
from tests.support.server import Server

Data = Database[dict[str, Any]]

IDS = st.lists(
    st.one_of(
        SCALARS.filter(lambda value: not isinstance(value, Regex)), SCALARS.map(lambda value: {"v": value})
    ),
    unique_by=sort_key,
    min_size=3,
    max_size=25,
)
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


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(ids=IDS, breaks=st.lists(st.integers(0, 4), min_size=1, max_size=3), begin=st.integers(0, 24))
def test_every_document_once(
    server: Server, database: Data, ids: list[Any], breaks: list[int], begin: int
) -> None:
    """Whatever the types of `_id` are, wherever it begins, and however often the cursor is lost."""
    collection = database.get_collection("payments", CODEC)
    collection.delete_many({})
    collection.insert_many([{"_id": each} for each in ids])
    scanned = MongoReferring(collection, lambda _name: None)
    expected = sorted(map(sort_key, ids))
    found: list[bytes] = []
    with fail_point(server) as point, patch.object(referring, "_BATCH_SIZE", 2):
        everything = [raw for batch in scanned.scan() for raw in batch]
        after = everything[begin] if begin < len(everything) else None
        batches = scanned.scan(None if after is None else identity_of(after))
        for some in breaks:
            for batch in islice(batches, some):
                found += batch
            point.set(["getMore"], _CLOSED, times=1, of=None)
        for batch in batches:
            found += batch

    assert expected == [id_key(raw) for raw in everything]
    assert expected[0 if after is None else begin + 1 :] == [id_key(raw) for raw in found]


def test_only_documents_with_a_field(database: Data) -> None:
    """Documents that have none of the fields are left out; arrays are entered, null counts as a value."""
    documents: list[dict[str, Any]] = [
        {"_id": 1, "a": {"b": None}},
        {"_id": 2, "a": [{"c": 1}, {"b": 2}]},
        {"_id": 3, "a": {"c": 1}},
        {"_id": 4, "d": 5},
    ]
    database.payments.insert_many(documents)
    scanned = MongoReferring(database.get_collection("payments", CODEC), lambda _name: None)

    assert [1, 2, 4] == [
        value_in(raw, b"_id") for batch in scanned.scan(fields=["a.b", "d"]) for raw in batch
    ]
    rest = scanned.scan(identity_of(encode({"_id": 1})), ["a.b", "d"])
    assert [2, 4] == [value_in(raw, b"_id") for batch in rest for raw in batch]
