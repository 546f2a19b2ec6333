"""The aggregation that examples/references.md shows makes old references work as before, by the index."""

import json
import re
from typing import Any

import pytest
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from tests.support.booking_lines import booking
from tests.support.migration import migrate
from tests.support.readme import ROOT
from tests.support.server import Server

Db = Database[dict[str, Any]]

PAGE = ROOT / "examples" / "references.md"
_LOOKUP = re.compile(r"<!-- lookup -->\n```js\ndb\.(\w+)\.aggregate\((.*?)\)\n```", re.DOTALL)


@pytest.fixture
def live(server: Server, database: Db) -> Db:
    """Twelve bookings that became client documents under their old name, and a payment for each, and for none."""
    database.bookings.insert_many(map(booking, range(12)))
    database.payments.insert_many(
        [
            *({"_id": number, "bookingId": booking(number)["_id"]} for number in range(12)),
            {"_id": 12, "bookingId": ObjectId()},
            {"_id": 13},
        ]
    )
    migrate("bookings", "clients", uri=server.uri, db=database.name)
    database.clients.rename("bookings", dropTarget=True)
    database.bookings.create_index("sessions.legacyBookingId", name="booking_migrate_legacy_ids")
    return database


def shown() -> tuple[str, list[dict[str, Any]]]:
    """The collection and the stages that the page shows."""
    found = _LOOKUP.search(PAGE.read_text(encoding="utf-8"))
    assert found
    return found[1], json.loads(found[2])


def test_each_reference_gets_its_booking(live: Db) -> None:
    """Each payment has what its booking was, with the old `_id`; a dangling reference, or none, has no booking."""
    collection, stages = shown()
    found = {each["_id"]: each for each in live.get_collection(collection, CODEC).aggregate(stages)}

    assert [*range(14)] == sorted(found)
    for number in range(12):
        before = {name: value for name, value in booking(number).items() if name != "__v"}
        assert before.items() <= found[number]["booking"].items()
        assert {"sessionId", "bookingId"} == found[number]["booking"].keys() - before.keys()
    assert not {"booking"} & (found[12].keys() | found[13].keys())


def test_it_is_found_by_the_index(live: Db) -> None:
    """No client document is read that a reference does not need."""
    collection, stages = shown()
    explained = live.command(
        "explain", {"aggregate": collection, "pipeline": stages, "cursor": {}}, verbosity="executionStats"
    )
    text = json.dumps(explained, default=str)

    assert "booking_migrate_legacy_ids" in text
    assert not re.search(r'"collectionScans": [1-9]', text)
