"""A session booked in the new shape becomes an old booking, of which a migration makes the same session again."""

from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from bson.objectid import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.carried_changes import as_booking
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.ids import booking_of_session, session_id, time_of
from booking_migrate.domain.session import Converter, People, Session, read_booking
from tests.support.bookings import ABSENT, a_booking, decoded

BESIDE = ("_id", "clientId", "clientUserId", "clientEmail", "__v")
SESSION_ID = ObjectId("68b61bd7a4c0bf9eaab38ef0")


def a_session(**changes: Any) -> dict[str, Any]:
    """A session that the new application booked, with some fields changed, added or `ABSENT`."""
    own = {name: value for name, value in a_booking().items() if name not in BESIDE}
    made = {"sessionId": SESSION_ID, **own, **changes}
    return {name: value for name, value in made.items() if value is not ABSENT}


def converted(session: Any, **changes: Any) -> bytes | None:
    """The booking that the only session of a client document becomes."""
    whole = {name: value for name, value in a_booking().items() if name in BESIDE[:4]}
    document = {**whole, "sessions": [session], **changes}
    read = read_client_document(bson.encode(document, codec_options=CODEC))
    assert isinstance(read, ClientDocument)
    return as_booking(read, read.sessions[0])


@given(
    raw=st.binary(min_size=12, max_size=12),
    price=st.one_of(st.integers(0, 10**6), st.integers(0, 10**6).map(Int64), st.floats(0, 1e9)),
    notes=st.one_of(st.just(ABSENT), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    extra=st.dictionaries(
        st.sampled_from(["rating", "tags", "videoRoom"]),
        st.one_of(st.integers(0, 9), st.lists(st.booleans())),
    ),
)
@settings(max_examples=60, deadline=None)
def test_there_and_back(raw: bytes, price: Any, notes: Any, extra: dict[str, Any]) -> None:
    """Converted and migrated it is the same session byte for byte, with legacyBookingId added; ids are inverses."""
    key = ObjectId(raw)
    session = a_session(sessionId=key, price=price, notes=notes, **extra)
    booking = converted(session)
    assert booking is not None
    made = Converter().convert(read_booking(booking), People())

    assert isinstance(made, Session)
    assert key == session_id(booking_of_session(key), 0)
    claimed = {**session, "legacyBookingId": booking_of_session(key)}
    assert bson.encode(claimed, codec_options=CODEC) == made.raw


def test_the_client_fields_are_the_document_s() -> None:
    """An old booking has its client's fields, first, as the client document has them."""
    booking = converted(a_session(), clientEmail="new@example.com")
    assert booking is not None
    found = decoded(booking)

    assert ["_id", "clientId", "clientUserId", "clientEmail", "expertId"] == list(found)[:5]
    assert "new@example.com" == found["clientEmail"]


def test_without_dates() -> None:
    """A session without dates gets the time in its id, which the old application sorts by."""
    booking = converted(a_session(createdAt=ABSENT, updatedAt=ABSENT))
    assert booking is not None
    made = DatetimeMS(time_of(SESSION_ID))

    assert (made, made) == (decoded(booking)["createdAt"], decoded(booking)["updatedAt"])


def test_values_that_the_contract_does_not_know() -> None:
    """Value rules do not keep a session from going back: only types do."""
    assert converted(a_session(currency="USD", status="rescheduled")) is not None


@pytest.mark.parametrize(
    "session",
    [
        a_session(sessionId=ABSENT),
        a_session(sessionId="68b61bd7a4c0bf9eaab38ef0"),
        a_session(price="20"),
        a_session(expertId=ABSENT),
        a_session(expertEmail=ABSENT),
        a_session(_id=1),
        a_session(clientId=1),
        a_session(__v=1),
        a_session(sessions=[]),
        "no document",
    ],
)
def test_not_possible(session: Any) -> None:
    """Without an id, with a type that the contract refuses, or with a field that would be lost, it stays."""
    assert converted(session) is None
