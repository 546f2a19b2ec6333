"""Which rule of a validator a client document breaks is named before anything is written."""

from collections.abc import Mapping
from typing import Any

import bson
import pytest
from pymongo.database import Database

from booking_migrate.stores.connection import Connection, open_destination
from tests.support.booking_lines import client
from tests.support.server import Server

Db = Database[dict[str, Any]]
DOCUMENT = {
    "_id": 1,
    "clientId": client(1),
    "sessions": [{"price": 5}],
    "totalSessions": 1,
    "totalSpent": 5.0,
    "address": {"city": "Pune"},
}


@pytest.mark.parametrize(
    ("validator", "expected"),
    [
        ({"$jsonSchema": {"required": ["clientId", "expertId"]}}, ["expertId must be present"]),
        (
            {
                "$jsonSchema": {
                    "bsonType": "object",
                    "properties": {"totalSpent": {"bsonType": "int", "maximum": 3}},
                }
            },
            ["totalSpent must be of type int", "totalSpent must be at most 3"],
        ),
        (
            {
                "$jsonSchema": {
                    "properties": {
                        "address": {"required": ["zip"], "properties": {"city": {"enum": ["Delhi"]}}}
                    }
                }
            },
            ["address.zip must be present", "address.city must be one of Delhi"],
        ),
        (
            {"$jsonSchema": {"additionalProperties": False, "properties": {"_id": {}, "clientId": {}}}},
            ["the document must satisfy additionalProperties false"],
        ),
        ({"expertId": {"$exists": True}, "totalSessions": 1}, ["expertId must be present"]),
        ({"$and": [{"totalSessions": {"$gte": 1, "$lt": 1}}]}, ["totalSessions must be less than 1"]),
        ({"totalSessions": 1}, []),
    ],
    ids=["required", "properties", "nested", "others", "condition", "and", "met"],
)
def test_rules(server: Server, database: Db, validator: Mapping[str, Any], expected: list[str]) -> None:
    """Only the rules that it breaks, by field."""
    connection = Connection(server.uri, database.name)
    database.create_collection("clients", validator=validator)
    place = open_destination(connection, "clients")
    place.facts()

    assert expected == list(place.broken_rules(validator, bson.encode(DOCUMENT)))
    connection.close()
