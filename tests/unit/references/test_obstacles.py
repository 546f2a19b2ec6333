"""Indexes and validators that help with references, or may prevent rewriting them."""

from typing import Any

import pytest

from booking_migrate.references.obstacles import index_on, obstacles_of
from booking_migrate.references.values import Form
from booking_migrate.stores.destination import CollectionFacts, IndexFacts


def facts(*indexes: IndexFacts, **validator: Any) -> CollectionFacts:
    """A collection with indexes and a validator."""
    options = {"validator": validator} if validator else {}
    return CollectionFacts("payments", "collection", indexes=indexes, options=options)


def test_the_smallest_whole_index_serves() -> None:
    """An index serves a field that it begins with, unless it leaves documents out."""
    wide, narrow = IndexFacts("wide", ("b", "at")), IndexFacts("narrow", ("b",))

    assert "narrow" == index_on("b", facts(wide, narrow))
    assert (
        index_on("b", facts(IndexFacts("some", ("b",), is_partial=True), IndexFacts("other", ("at", "b"))))
        is None
    )
    assert index_on("b", None) is None


def test_unique_indexes() -> None:
    """A unique index over the field is named, alone and with others; one over other fields is not."""
    there = facts(
        IndexFacts("one", ("b",), unique=True),
        IndexFacts("two", ("b", "kind"), unique=True),
        IndexFacts("three", ("kind",), unique=True),
    )

    found = [(each.kind, each.name) for each in obstacles_of("b", {Form.OBJECT_ID: 1}, there)]
    assert [("unique-index", "one"), ("compound-unique-index", "two")] == found


@pytest.mark.parametrize(
    ("rule", "form", "expected"),
    [
        ({"bsonType": "binData"}, Form.VALUE, "requires binData, and a new id would be objectId"),
        ({"bsonType": "objectId"}, Form.OBJECT_ID, "requires objectId, which new ids are"),
        ({"bsonType": ["string", "null"], "pattern": "^BK"}, Form.TEXT, "restricts its text (pattern)"),
        ({"bsonType": "objectId"}, Form.TEXT, "requires objectId, and a new id would be string"),
    ],
)
def test_validators(rule: dict[str, Any], form: Form, expected: str) -> None:
    """What a JSON schema demands of a field, in arrays too, is compared with the type of new ids."""
    items = {"bsonType": "array", "items": {"properties": {"b": rule}}}
    there = facts(**{"$jsonSchema": {"properties": {"items": items}}})
    (obstacle,) = obstacles_of("items.b", {form: 3}, there)

    assert "validator" == obstacle.kind
    assert expected in obstacle.detail


def test_document_ids_cannot_change() -> None:
    """A reference that is the `_id` is named as such, whatever indexes there are."""
    (obstacle,) = obstacles_of("_id", {Form.DOCUMENT_ID: 1}, facts(IndexFacts("_id_", ("_id",), unique=True)))

    assert "document-id" == obstacle.kind


def test_query_rules() -> None:
    """A validator that is a query names the field as well."""
    (obstacle,) = obstacles_of("b", {Form.OBJECT_ID: 1}, facts(b={"$type": "objectId"}))

    assert "$type" in obstacle.detail
