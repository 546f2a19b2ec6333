"""Source and target that already hold client documents of the new application."""

from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.errors import DuplicateClientDocuments, TargetInOldShape
from tests.support.bookings import BOOKING, CLIENT, a_booking
from tests.support.migration import migrate

OLDER, YOUNGER = ObjectId("68b61bd7a4c0bf9eaab38ee7"), ObjectId("68b61bd8a4c0bf9eaab38ee8")
Data = Database[dict[str, Any]]


def client_document(document_id: ObjectId, day: int, price: int) -> dict[str, Any]:
    """A client document as the new application writes it, of a certain day."""
    return {
        "_id": document_id,
        "clientId": CLIENT,
        "clientUserId": "9062",
        "clientEmail": "own@example.com",
        "sessions": [{"sessionId": document_id, "price": price}],
        "totalSessions": 1,
        "totalSpent": price,
        "createdAt": DatetimeMS(1_700_000_000_000 + day),
        "updatedAt": DatetimeMS(1_700_000_000_000 + day),
        "__v": 1,
    }


def only(database: Data) -> dict[str, Any]:
    """The one client document of the target."""
    (document,) = database["new"].find()
    return document


def run(database: Data, uri: str, **options: Any) -> Any:
    """Migrate the collection `old` into the collection `new`."""
    return migrate("old", "new", uri=uri, db=database.name, **options)


def test_bookings_follow_what_the_target_has(database: Data, server_uri: str) -> None:
    """A client document in the target keeps its `_id` and sessions, and gets the client's bookings behind them."""
    database["old"].insert_one(a_booking())
    database["new"].insert_one(client_document(OLDER, 1, 5))

    outcome = run(database, server_uri)

    document = only(database)
    assert (OLDER, 2, 25, 1) == tuple(
        document[name] for name in ("_id", "totalSessions", "totalSpent", "__v")
    )
    assert [OLDER, BOOKING] == [
        document["sessions"][0]["sessionId"],
        document["sessions"][1]["legacyBookingId"],
    ]
    assert (1, 0, 2, 0, 1) == (
        outcome.counts.migrated,
        outcome.counts.client_documents,
        outcome.counts.sessions,
        outcome.documents_written,
        outcome.documents_changed,
    )


def test_a_client_document_of_the_source_comes_along(database: Data, server_uri: str) -> None:
    """A client document among the old bookings is copied, with its bookings; a second run changes nothing."""
    database["old"].insert_many([a_booking(), client_document(OLDER, 1, 5)])

    first = run(database, server_uri)
    before = only(database)
    second = run(database, server_uri)

    assert (1, 1) == (first.counts.scanned, first.counts.client_documents)
    assert (0, 1, False) == (second.counts.migrated, second.counts.already_migrated, second.changed)
    assert before == only(database)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([(OLDER, 1), (YOUNGER, 2)], []),
        ([], [(OLDER, 1), (YOUNGER, 2)]),
        ([(YOUNGER, 2)], [(OLDER, 1)]),
        ([(OLDER, 1)], [(YOUNGER, 2)]),
    ],
    ids=["both in the source", "both in the target", "older in the target", "older in the source"],
)
def test_two_client_documents_of_one_client(
    database: Data, server_uri: str, old: list[tuple[ObjectId, int]], new: list[tuple[ObjectId, int]]
) -> None:
    """They refuse the run, naming both, before anything is written; on request they are joined into the older one."""
    database["old"].insert_many([a_booking(), *(client_document(key, day, day) for key, day in old)])
    if new:
        database["new"].insert_many([client_document(key, day, day) for key, day in new])
    before = list(database["new"].find())

    with pytest.raises(DuplicateClientDocuments) as refused:
        run(database, server_uri)
    untouched = list(database["new"].find())
    joined = run(database, server_uri, merge_client_documents=True)
    again = run(database, server_uri, merge_client_documents=True)

    assert str(OLDER) in refused.value.message
    assert str(YOUNGER) in refused.value.message
    assert before == untouched
    document = only(database)
    assert (OLDER, 3, 23) == (document["_id"], document["totalSessions"], document["totalSpent"])
    assert [OLDER, YOUNGER] == [session["sessionId"] for session in document["sessions"][:2]]
    assert (1, False) == (joined.counts.migrated, again.changed)


def test_a_changed_booking_is_a_conflict(database: Data, server_uri: str) -> None:
    """A booking that changed after it was migrated is rejected with the difference; the session stays as it is."""
    database["old"].insert_one(a_booking())
    run(database, server_uri)
    database["old"].update_one({}, {"$set": {"status": "confirmed"}})

    outcome = run(database, server_uri)

    (record,) = database["booking_migrate_rejected"].find()
    assert (0, 0, 1) == (outcome.counts.migrated, outcome.counts.already_migrated, outcome.counts.rejected)
    assert ("conflict", "status") == (record["reason"], record["field"])
    assert "pending" == only(database)["sessions"][0]["status"]


def test_a_client_document_that_is_none_is_rejected(database: Data, server_uri: str) -> None:
    """A document whose `sessions` is no array is neither booking nor client document: it is rejected, and counted."""
    database["old"].insert_many([a_booking(), {"_id": 1, "clientId": CLIENT, "sessions": "none"}])

    outcome = run(database, server_uri)

    assert (2, 1, 1, 0) == (
        outcome.counts.scanned,
        outcome.counts.migrated,
        outcome.counts.rejected,
        outcome.counts.client_documents,
    )
    assert ["sessions-not-an-array"] == [group.reason for group in outcome.rejections]


def test_swapped_places_are_refused(database: Data, server_uri: str) -> None:
    """A target that holds old bookings is refused before anything is written."""
    database["old"].insert_one(a_booking())

    with pytest.raises(TargetInOldShape):
        migrate("new_source", "old", uri=server_uri, db=_with_source(database))

    assert [BOOKING] == [document["_id"] for document in database["old"].find()]


def _with_source(database: Data) -> str:
    database["new_source"].insert_one(a_booking())
    return database.name
