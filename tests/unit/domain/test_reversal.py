"""A client document becomes again the bookings it was made of."""

from collections.abc import Sequence
from typing import Any

import bson
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from bson.objectid import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.consolidate import ClientCase, consolidate
from booking_migrate.domain.reversal import Reversal, reverse
from tests.support.bookings import ABSENT, CLIENT, DAY, a_booking, decoded, session_of

START = 1_756_000_000_000
LATER: dict[str, Any] = {
    "sessionId": ObjectId("68b61bd7a4c0bf9eaab38ef0"),
    "price": 5,
    "status": "pending",
    "createdAt": DatetimeMS(START + 50 * DAY),
    "updatedAt": DatetimeMS(START + 51 * DAY),
}


ALL_ABSENT = dict.fromkeys(a_booking(), ABSENT)
"""So that `session_of` fills in nothing that a booking lacks."""


def number(index: int, **changes: Any) -> dict[str, Any]:
    """The fields of the client's booking of a certain day."""
    day = DatetimeMS(START + index * DAY)
    return a_booking(
        _id=ObjectId(f"68b61bd7a4c0bf9eaa{index:06x}"), **{"createdAt": day, "updatedAt": day, **changes}
    )


def encoded(document: dict[str, Any]) -> bytes:
    """A document's BSON."""
    return bson.encode(document, codec_options=CODEC)


def document_of(bookings: Sequence[dict[str, Any]], *before: dict[str, Any]) -> dict[str, Any]:
    """The client document that bookings and earlier client documents become."""
    read = [read_client_document(encoded(document)) for document in before]
    made = consolidate(
        ClientCase(
            [session_of(**{**ALL_ABSENT, **booking}) for booking in bookings],
            in_source=[document for document in read if isinstance(document, ClientDocument)],
        )
    )
    assert made.document is not None
    return decoded(made.document)


def reversed_of(
    document: dict[str, Any] | None,
    bookings: Sequence[dict[str, Any]],
    *before: dict[str, Any],
    discard_later: bool = False,
) -> Reversal:
    """What a rollback gives back."""
    return reverse(
        None if document is None else encoded(document),
        list(map(encoded, bookings)),
        list(map(encoded, before)),
        discard_later=discard_later,
    )


def changes_of(reversal: Reversal) -> list[tuple[Any, str]]:
    """The documents and fields that were carried."""
    return [(change.document_id, change.difference.field) for change in reversal.changes]


EARLIER: dict[str, Any] = {
    "_id": ObjectId("68b61bd7a4c0bf9eaab38ee7"),
    "clientId": CLIENT,
    "sessions": [{"sessionId": ObjectId("68b61bd7a4c0bf9eaab38ee6"), "price": 7}],
    "totalSessions": 1,
    "totalSpent": 99,
    "createdAt": DatetimeMS(START),
    "updatedAt": DatetimeMS(START),
    "__v": 3,
}


def test_bookings_that_nobody_touched_come_back_byte_for_byte() -> None:
    """No change is seen where there is none, and no client document is left."""
    bookings = [number(1), number(2, status=ABSENT, paymentStatus=ABSENT, extra=Int64(3))]
    result = reversed_of(document_of(bookings), bookings)
    assert Reversal(list(map(encoded, bookings)), [], [], [], 0, [], [], []) == result


def test_what_was_looked_up_is_no_change() -> None:
    """A booking of the first generation does not get the fields that its session got from elsewhere."""
    booking = number(1, expertUserId=ABSENT, expertEmail=None)
    document = document_of([number(1)])
    result = reversed_of(document, [booking])
    assert ([encoded(booking)], []) == (result.bookings, result.changes)


def test_a_changed_field_is_carried_into_its_booking() -> None:
    """A field that differs takes its old place; a new one comes last; one that is gone goes."""
    booking = number(1)
    document = document_of([booking])
    session = document["sessions"][0]
    session["status"] = "cancelled"
    session["cancelledBy"] = "client"
    del session["notes"]
    result = reversed_of(document, [booking])
    expected = {**booking, "status": "cancelled", "cancelledBy": "client"}
    del expected["notes"]
    assert [encoded(expected)] == result.bookings
    assert [(booking["_id"], name) for name in ("status", "notes", "cancelledBy")] == changes_of(result)


def test_a_state_that_the_migration_added_is_carried_once_it_is_another() -> None:
    """`pending` is the migration's, anything else the application's."""
    booking = number(1, status=ABSENT)
    document = document_of([booking])
    document["sessions"][0]["status"] = "confirmed"
    result = reversed_of(document, [booking])
    assert [encoded({**booking, "status": "confirmed"})] == result.bookings


def test_a_value_of_another_type_is_a_change() -> None:
    """A price that became a double is carried as a double."""
    booking = number(1, price=20)
    document = document_of([booking])
    document["sessions"][0]["price"] = 20.0
    result = reversed_of(document, [booking])
    assert [encoded({**booking, "price": 20.0})] == result.bookings


def test_a_session_that_is_gone_brings_its_booking_back_and_is_named() -> None:
    """Nothing is lost because the application deleted a session."""
    bookings = [number(1), number(2)]
    document = document_of(bookings)
    del document["sessions"][0]
    result = reversed_of(document, bookings)
    assert (list(map(encoded, bookings)), [bookings[0]["_id"]]) == (result.bookings, result.missing)


def test_a_client_document_that_is_gone_brings_all_bookings_back() -> None:
    """Every booking is named as missing."""
    result = reversed_of(None, [number(1)])
    assert ([encoded(number(1))], [number(1)["_id"]], []) == (
        result.bookings,
        result.missing,
        result.documents,
    )


def test_a_session_booked_since_stays_in_a_client_document() -> None:
    """It keeps the document's id and client fields; totals and dates are those of what stays."""
    bookings = [number(1)]
    document = document_of(bookings)
    document["sessions"].append(LATER)
    document["__v"] = 1
    result = reversed_of(document, bookings)
    kept = {
        "_id": document["_id"],
        "clientId": CLIENT,
        "clientUserId": "9062",
        "clientEmail": "test0209@gmail.com",
        "sessions": [LATER],
        "totalSessions": 1,
        "totalSpent": 5,
        "__v": 1,
        "createdAt": DatetimeMS(START + 50 * DAY),
        "updatedAt": DatetimeMS(START + 51 * DAY),
    }
    assert ([kept], 1) == (list(map(decoded, result.documents)), result.later)


def test_a_client_who_came_since_stays_byte_for_byte() -> None:
    """A client document that no booking went into is nobody's to rewrite."""
    document = {"_id": 1, "clientId": CLIENT, "sessions": [LATER], "totalSpent": 1000}
    result = reversed_of(document, [])
    assert ([encoded(document)], 1, []) == (result.documents, result.later, result.lost)


def test_later_sessions_and_changes_are_dropped_when_told_but_counted() -> None:
    """The originals come back, and the outcome still says what went."""
    booking = number(1)
    document = document_of([booking])
    document["sessions"][0]["status"] = "confirmed"
    document["sessions"].append(LATER)
    result = reversed_of(document, [booking], discard_later=True)
    assert ([encoded(booking)], [], 1, [(booking["_id"], "status")]) == (
        result.bookings,
        result.documents,
        result.later,
        changes_of(result),
    )


def test_an_earlier_client_document_comes_back_byte_for_byte() -> None:
    """Also with wrong totals of its own, and though the bookings' client fields were filled in."""
    bookings = [number(1)]
    result = reversed_of(document_of(bookings, EARLIER), bookings, EARLIER)
    assert ([encoded(EARLIER)], [], 0) == (result.documents, result.changes, result.later)


def test_an_earlier_client_document_takes_later_sessions() -> None:
    """Sessions booked since stand behind its own, and its totals are made anew."""
    bookings = [number(1)]
    document = document_of(bookings, EARLIER)
    document["sessions"].append(LATER)
    result = reversed_of(document, bookings, EARLIER)
    (kept,) = map(decoded, result.documents)
    assert ([*EARLIER["sessions"], LATER], 2, 12, EARLIER["_id"]) == (
        kept["sessions"],
        kept["totalSessions"],
        kept["totalSpent"],
        kept["_id"],
    )


def test_a_change_of_an_earlier_session_stays_in_its_document() -> None:
    """It is listed under the document and the session's place."""
    bookings = [number(1)]
    document = document_of(bookings, EARLIER)
    document["sessions"][0]["price"] = 8
    document["phone"] = "1"
    result = reversed_of(document, bookings, EARLIER)
    (kept,) = map(decoded, result.documents)
    assert ([{**EARLIER["sessions"][0], "price": 8}], 8, "1") == (
        kept["sessions"],
        kept["totalSpent"],
        kept["phone"],
    )
    assert [(EARLIER["_id"], "sessions.0"), (EARLIER["_id"], "phone")] == changes_of(result)


def test_joined_client_documents_come_apart_again() -> None:
    """Each comes back as it was, and a later session goes to the one that went on."""
    other = {
        **EARLIER,
        "_id": ObjectId("68b61bd7a4c0bf9eaab38ee8"),
        "sessions": [{"sessionId": ObjectId("68b61bd7a4c0bf9eaab38ee9"), "price": 1}],
        "createdAt": DatetimeMS(START + DAY),
        "phone": "1",
    }
    bookings = [number(1)]
    document = document_of(bookings, EARLIER, other)
    assert [encoded(EARLIER), encoded(other)] == reversed_of(document, bookings, EARLIER, other).documents
    document["sessions"].append(LATER)
    first, second = reversed_of(document, bookings, EARLIER, other).documents
    assert ([*EARLIER["sessions"], LATER], encoded(other)) == (decoded(first)["sessions"], second)


def test_a_contradicting_client_document_stays_as_it_was() -> None:
    """It was never joined, so nothing of it counts as changed or missing."""
    other = {
        **EARLIER,
        "_id": ObjectId("68b61bd7a4c0bf9eaab38ee8"),
        "sessions": [{**EARLIER["sessions"][0], "price": 1}, {"sessionId": ObjectId(bytes(12)), "price": 2}],
        "createdAt": DatetimeMS(START + DAY),
    }
    bookings = [number(1)]
    result = reversed_of(document_of(bookings, EARLIER, other), bookings, EARLIER, other)
    assert ([encoded(EARLIER), encoded(other)], [], []) == (result.documents, result.changes, result.missing)


def test_a_change_to_the_client_s_own_fields_that_finds_no_place_is_named() -> None:
    """An email changed since and a field added since go with the client document, but not in silence."""
    bookings = [number(1)]
    document = {**document_of(bookings), "clientEmail": "new@example.com", "phone": "1"}
    result = reversed_of(document, bookings)
    assert ["clientEmail", "phone"] == [change.difference.field for change in result.lost]


VALUES = st.one_of(st.integers(0, 99), st.floats(0, 9), st.text("ab", max_size=3), st.none())


@settings(max_examples=150, deadline=None)
@given(
    bookings=st.lists(
        st.fixed_dictionaries(
            {"price": st.integers(0, 9)},
            optional={
                "status": st.sampled_from([ABSENT, "confirmed"]),
                "paymentStatus": st.just(ABSENT),
                "notes": st.sampled_from([ABSENT, "n", None]),
                "extra": VALUES,
            },
        ),
        min_size=1,
        max_size=4,
    ),
    edits=st.dictionaries(
        st.integers(0, 3),
        st.dictionaries(st.sampled_from(["extra", "notes", "refundAmount"]), VALUES),
        max_size=3,
    ),
)
def test_what_was_edited_and_nothing_else_is_other_afterwards(
    bookings: list[dict[str, Any]], edits: dict[int, dict[str, Any]]
) -> None:
    """Migrating, editing sessions and reversing is the same as editing the bookings."""
    originals = [number(index, **changes) for index, changes in enumerate(bookings)]
    document = document_of(originals)
    expected = []
    for index, original in enumerate(originals):
        document["sessions"][index].update(edits.get(index, {}))
        expected.append({**original, **edits.get(index, {})})
    result = reversed_of(document, originals)
    assert list(map(encoded, expected)) == result.bookings
    assert [] == result.missing
