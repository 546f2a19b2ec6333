"""Queries for values of the data: the server compares with each of them, whatever it is."""

from typing import Any

import pytest
from bson import encode
from bson.code import Code
from bson.dbref import DBRef
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from pymongo.database import Database

from booking_migrate.bson.document import Opaque, write_fields
from booking_migrate.stores.mongo.raw import any_of, as_driver_document, find_raw
from tests.support.hostile import invalid_text

Db = Database[dict[str, Any]]

VALUES: dict[str, Any] = {
    "operator": {"$gt": ""},
    "operator in an array": [{"$in": [1]}],
    "several operators": {"$exists": True, "$in": 1},
    "document": {"a": 1},
    "array": ["a", "b"],
    "no elements": [],
    "reference": DBRef("users", ObjectId()),
    "regex": Regex("^a"),
    "regex in an array": [Regex("^a")],
    "regex that is not valid UTF-8": Opaque(0x0B, b"\xe9\xff\x00\x00"),
    "document that is not valid UTF-8": Opaque(0x03, encode({"abc": 1}).replace(b"abc", b"\xe9\xff\x80")),
    "text that is not valid UTF-8": invalid_text(),
    "text": "abc",
    "code": Code("a"),
    "code with scope": Code("a", {"b": 1}),
    "least": MinKey(),
    "greatest": MaxKey(),
    "timestamp": Timestamp(1, 2),
    "undefined": Opaque(0x06, b""),
    "not a number": float("nan"),
}


@pytest.fixture(scope="module")
def held() -> dict[str, bytes]:
    """A document for each value, and two that any operator or pattern among them would find."""
    others = {"other text": "abcd", "other number": 5}
    numbered = enumerate({**VALUES, **others}.items())
    return {name: write_fields({"_id": number, "value": value}) for number, (name, value) in numbered}


@pytest.mark.parametrize("name", VALUES)
def test_value_is_compared_with(database: Db, held: dict[str, bytes], name: str) -> None:
    """A query for a value finds the documents that hold it and no other, alone or beside ordinary values."""
    database.things.insert_many(map(as_driver_document, held.values()))
    alone = list(find_raw(database.things, any_of("value", [VALUES[name]])))
    beside = list(find_raw(database.things, any_of("value", [5, VALUES[name], "nowhere"])))

    # As in every query of MongoDB, a value is found as an element of an array too.
    expected = [held[name]] + ([held["regex in an array"]] if name == "regex" else [])
    assert expected == alone
    assert sorted([*expected, held["other number"]]) == sorted(beside)
