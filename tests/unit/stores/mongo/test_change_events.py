"""Events of a change stream as changes: the pattern for usual ones reads what the field by field reading does."""

from typing import Any

import pytest
from bson import encode
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.bson.document import elements, wrap
from booking_migrate.stores.changes import Change, Role
from booking_migrate.stores.mongo import change_events
from booking_migrate.stores.mongo.change_events import EventReader

NAMES = {"bookings": Role.SOURCE, "clients": Role.TARGET}

object_ids = st.binary(min_size=12, max_size=12).map(ObjectId)
values = object_ids | st.sampled_from([None, "äöü", 7, Int64(7), {"a": 1}, [ObjectId()], b"\x00", ""])
documents = st.fixed_dictionaries({}, optional={"clientId": values})


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """An event as the feed's projection has it."""
    namespace = {
        "db": draw(st.sampled_from(["d", "ä"])),
        "coll": draw(st.sampled_from([*NAMES, "others", ""])),
    }
    event: dict[str, Any] = {
        "_id": {"_data": "8265"},
        "operationType": draw(st.sampled_from(["insert", "update", "replace", "delete", "drop"])),
        "clusterTime": Timestamp(draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 2**32 - 1))),
    }
    if draw(st.booleans()):
        event["fullDocument"] = draw(documents | st.none())
    event["ns"] = namespace
    if draw(st.booleans()):
        event["documentKey"] = {**draw(st.sampled_from([{}, {"shard": 1}])), "_id": draw(values)}
    if draw(st.booleans()):
        event["updateDescription"] = {"updatedFields": draw(documents)}
    return event


@given(events())
def test_the_pattern_reads_what_the_fields_say(event: dict[str, Any]) -> None:
    """Whatever ids and clients are, and whichever parts an event has."""
    raw = encode(event)
    read = EventReader(NAMES, is_whole=False)._read(raw)
    change = EventReader(NAMES, is_whole=False).change_of(raw)

    assert read == change
    assert read is None or list(map(type, read)) == list(map(type, change or ()))


@pytest.mark.parametrize("operation", ["insert", "update", "delete"])
def test_usual_events_match(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of documents that ObjectIds name are not taken apart field by field."""
    booking, client = ObjectId(), ObjectId()
    event: dict[str, Any] = {
        "_id": {"_data": "8265"},
        "operationType": operation,
        "clusterTime": Timestamp(2, 1),
        **({"fullDocument": {"clientId": client}} if operation == "insert" else {}),
        "ns": {"db": "d", "coll": "bookings"},
        "documentKey": {"_id": booking},
        **({"updateDescription": {"updatedFields": {"clientId": client}}} if operation == "update" else {}),
    }
    monkeypatch.setattr(change_events, "elements", None)
    clients = () if operation == "delete" else (client,)

    assert Change(
        Role.SOURCE, operation, booking, clients, Timestamp(2, 1), collection="bookings"
    ) == EventReader(NAMES, is_whole=False).change_of(encode(event))


def test_an_event_cut_short_is_not_matched() -> None:
    """A part more or less than is expected leaves the event to the reading by fields."""
    event = {
        "_id": {"_data": "8265"},
        "operationType": "insert",
        "clusterTime": Timestamp(2, 1),
        "ns": {"db": "d", "coll": "bookings"},
        "documentKey": {"_id": ObjectId()},
    }
    parts = list(elements(encode(event)))
    more = wrap([*parts, parts[1]])

    assert change_events._COMMON(wrap(parts)) is not None
    assert change_events._COMMON(more) is None
