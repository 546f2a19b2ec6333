"""Ids as texts: what is shown for an id leads back to it."""

import uuid
from typing import Any

import pytest
from bson.binary import Binary
from bson.int64 import Int64
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.ids import client_document_id, client_of_document
from booking_migrate.service.view import as_text, likeliest, meanings

HEX = "68b6134f8e21e1ae686349f7"
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")

object_ids = st.binary(min_size=12, max_size=12).map(ObjectId)
ids: st.SearchStrategy[Any] = st.one_of(
    object_ids,
    st.integers(-(10**17), 10**17).map(Int64),
    st.uuids().map(Binary.from_uuid),
    st.text(min_size=1, max_size=30),
)


@given(ids)
def test_an_id_is_found_by_its_text(value: Any) -> None:
    """What is shown for an id means that id, among others."""
    shown = as_text(value)

    assert shown is not None
    assert sort_key(value) in map(sort_key, meanings(shown))
    assert {"_id": value} == likeliest(shown, [{"_id": value}, {"_id": "something else"}])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(HEX, [ObjectId(HEX), HEX], id="24 hex digits"),
        pytest.param("7", [Int64(7), "7"], id="digits"),
        pytest.param("007", [Int64(7), "007"], id="digits with zeros"),
        pytest.param("\u0667", ["\u0667"], id="digits of another script"),
        pytest.param("9" * 19, ["9" * 19], id="more digits than an integer has"),
        pytest.param("anna", ["anna"], id="a word"),
        pytest.param("{'$gt': ''}", ["{'$gt': ''}"], id="an operator as text"),
    ],
)
def test_meanings(text: str, expected: list[Any]) -> None:
    """A text means itself, and whatever else it may be the text of; the likeliest comes first."""
    assert [(type(one), one) for one in expected] == [(type(one), one) for one in meanings(text)]


def test_a_uuid_has_two_forms() -> None:
    """A UUID is looked for in both of BSON's subtypes."""
    assert [4, 3] == [one.subtype for one in meanings(str(UUID)) if isinstance(one, Binary)]


def test_the_likeliest_of_several() -> None:
    """An ObjectId comes before the text of its digits; what is not there is not chosen."""
    assert {"user": ObjectId(HEX)} == likeliest(HEX, [{"user": HEX}, {"user": ObjectId(HEX)}], "user")
    assert {"_id": HEX} == likeliest(HEX, [{"_id": HEX}])
    assert likeliest(HEX, [{"_id": Int64(1)}]) is None
    assert {"_id": 7} == likeliest("7", [{"_id": 7}])


@pytest.mark.parametrize("value", [None, True, 1.5, b"x", {"$oid": HEX}, Binary(b"short", 4)])
def test_what_is_no_id(value: Any) -> None:
    """Values that no id has are shown otherwise."""
    assert as_text(value) is None


@given(object_ids)
def test_a_document_leads_back_to_its_client(client: ObjectId) -> None:
    """From the `_id` of a client document follows the client whose document it is by rule."""
    assert client == client_of_document(client_document_id(client))
