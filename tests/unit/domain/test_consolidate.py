"""A client's sessions and the documents it has already become one client document."""

from hashlib import sha256
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.consolidate import ClientCase, Consolidation, consolidate
from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.rules import Rules
from booking_migrate.domain.session import Session
from tests.support.bookings import CLIENT, DAY, decoded, session_of

START = 1_756_000_000_000


def booked(number: int, **changes: Any) -> Session:
    """The client's booking of a certain day."""
    day = DatetimeMS(START + number * DAY)
    legacy_id = ObjectId(f"68b61bd7a4c0bf9eaa{number:06x}")
    return session_of(**{"_id": legacy_id, "createdAt": day, "updatedAt": day, **changes})


def document(**changes: Any) -> ClientDocument:
    """A client document as the new application writes it."""
    fields = {
        "_id": ObjectId("68b61bd7a4c0bf9eaab38ee7"),
        "clientId": CLIENT,
        "clientUserId": "9062",
        "clientEmail": "own@example.com",
        "sessions": [{"sessionId": ObjectId("68b61bd7a4c0bf9eaab38ee6"), "price": 5, "status": "pending"}],
        "totalSessions": 1,
        "totalSpent": 5,
        "createdAt": DatetimeMS(START),
        "updatedAt": DatetimeMS(START),
        "__v": 3,
    }
    fields.update(changes)
    return stored(bson.encode(fields, codec_options=CODEC))


def stored(raw: bytes) -> ClientDocument:
    """A client document read back."""
    read = read_client_document(raw)
    assert isinstance(read, ClientDocument)
    return read


def result_of(consolidation: Consolidation) -> dict[str, Any]:
    """The client document that came out, decoded."""
    assert consolidation.document is not None
    return decoded(consolidation.document)


def fates(consolidation: Consolidation) -> tuple[int, int, int]:
    """How many bookings were migrated, already migrated and rejected."""
    return len(consolidation.migrated), len(consolidation.already_migrated), len(consolidation.rejected)


def test_a_new_client_document() -> None:
    """A client without a document gets one with the nine fields in their order, and deterministic values."""
    result = result_of(consolidate(ClientCase([booked(2, price=7), booked(1)])))

    sessions = result.pop("sessions")
    assert ["chat", "chat"] == [session["sessionType"] for session in sessions]
    assert [20, 7] == [session["price"] for session in sessions]
    assert {
        "_id": ObjectId("68b6134f" + "686349f7" + "8e21e1ae"),
        "clientId": CLIENT,
        "clientUserId": "9062",
        "clientEmail": "test0209@gmail.com",
        "totalSessions": 2,
        "totalSpent": 27,
        "createdAt": DatetimeMS(START + DAY),
        "updatedAt": DatetimeMS(START + 2 * DAY),
    } == result
    assert ["_id", "clientId", "clientUserId", "clientEmail", "totalSessions"] == list(result)[:5]


def test_sessions_stand_in_the_order_of_creation_then_of_their_old_id() -> None:
    """Equal `createdAt` is decided by MongoDB's order of `_id`: numbers before strings before ObjectIds."""
    same = DatetimeMS(START)
    sessions = [
        booked(1, createdAt=same),
        *(booked(0, _id=key, createdAt=same) for key in ("b", Int64(10), 9, "B")),
    ]

    result = result_of(consolidate(ClientCase(sessions)))

    assert [9, 10, "B", "b", sessions[0].legacy_id] == [one["legacyBookingId"] for one in result["sessions"]]


def test_the_order_of_reading_does_not_matter() -> None:
    """The same bookings in any order give the same bytes."""
    sessions = [booked(number) for number in range(5)]

    assert consolidate(ClientCase(sessions)).document == consolidate(ClientCase(sessions[::-1])).document


def test_client_fields_come_from_the_last_session() -> None:
    """Bookings that name different client fields are a disagreement; the last in order wins."""
    sessions = [booked(2, clientEmail="new@example.com"), booked(1, clientEmail="old@example.com")]

    consolidation = consolidate(ClientCase(sessions))

    assert consolidation.disagreement
    assert "new@example.com" == result_of(consolidation)["clientEmail"]
    assert not consolidate(ClientCase([booked(1), booked(2)])).disagreement


def test_a_second_run_finds_everything_there() -> None:
    """Bookings whose sessions are in the document with the same content are already migrated; nothing changes."""
    first = consolidate(ClientCase([booked(1), booked(2)]))
    assert first.document is not None

    again = consolidate(ClientCase([booked(1), booked(2)], in_target=stored(first.document)))

    assert (0, 2, 0) == fates(again)
    assert first.document == again.document


def test_a_later_booking_takes_its_place() -> None:
    """A document that a run made, untouched since, is made anew: as if all bookings had been there at once."""
    first = consolidate(ClientCase([booked(5)]))
    assert first.document is not None

    grown = consolidate(ClientCase([booked(5), booked(1)], in_target=stored(first.document)))

    assert (1, 1, 0) == fates(grown)
    assert consolidate(ClientCase([booked(5), booked(1)])).document == grown.document


def test_a_later_booking_takes_its_place_behind_the_sources_client_document() -> None:
    """The same with a client document of the source: its sessions stay first."""
    base = document()
    first = consolidate(ClientCase([booked(5)], in_source=[base]))
    assert first.document is not None

    grown = consolidate(
        ClientCase([booked(5), booked(1)], in_source=[base], in_target=stored(first.document))
    )

    assert consolidate(ClientCase([booked(5), booked(1)], in_source=[base])).document == grown.document


def test_a_later_booking_is_appended_to_a_document_in_use() -> None:
    """A document that the application touched since keeps its sessions as they are, and first."""
    first = consolidate(ClientCase([booked(5)]))
    assert first.document is not None
    touched = decoded(first.document) | {"__v": 1}

    grown = consolidate(
        ClientCase([booked(5), booked(1)], in_target=stored(bson.encode(touched, codec_options=CODEC)))
    )

    assert [booked(5).legacy_id, booked(1).legacy_id] == [
        s["legacyBookingId"] for s in result_of(grown)["sessions"]
    ]


def test_the_applications_document_is_kept_and_added_to() -> None:
    """A document of the new application keeps `_id`, sessions, client fields, unknown fields and their order."""
    base = document(extra={"b": 1})

    result = result_of(consolidate(ClientCase([booked(1, price=7.5)], in_source=[base])))

    before = decoded(base.raw)
    assert list(before) == list(result)
    assert before["sessions"] == result["sessions"][:1]
    assert [before[name] for name in ("_id", "clientEmail", "__v", "extra")] == [
        result[name] for name in ("_id", "clientEmail", "__v", "extra")
    ]
    assert (2, 12.5) == (result["totalSessions"], result["totalSpent"])
    assert (DatetimeMS(START), DatetimeMS(START + DAY)) == (result["createdAt"], result["updatedAt"])


def test_absent_client_fields_are_added_in_their_order() -> None:
    """A document that lacks client fields, totals or dates gets them behind its own; null counts as absent."""
    fields = decoded(document().raw)
    base = stored(
        bson.encode(
            {name: fields[name] for name in ("_id", "clientId", "sessions")} | {"clientEmail": None},
            codec_options=CODEC,
        )
    )

    result = result_of(consolidate(ClientCase([booked(1)], in_source=[base])))

    names = [
        "_id",
        "clientId",
        "sessions",
        "clientEmail",
        "clientUserId",
        "totalSessions",
        "totalSpent",
        "createdAt",
    ]
    assert [*names, "updatedAt"] == list(result)
    assert "test0209@gmail.com" == result["clientEmail"]


def test_a_document_with_nothing_to_add_is_carried_byte_for_byte() -> None:
    """Even wrong totals stay as they are when a client has no bookings to add."""
    base = document(totalSessions=99, totalSpent="much")

    assert base.raw == consolidate(ClientCase([], in_source=[base])).document


def test_other_content_under_the_same_old_id_is_a_conflict() -> None:
    """A booking that changed since it was migrated is rejected with the difference, and its session stays."""
    first = consolidate(ClientCase([booked(1), booked(2)]))
    assert first.document is not None

    again = consolidate(ClientCase([booked(1, price=Int64(20)), booked(2)], in_target=stored(first.document)))

    assert (0, 1, 1) == fates(again)
    (fault,) = again.rejected[0].faults
    assert (Reason.CONFLICT, "price") == (fault.reason, fault.field)
    assert "int64 20 expected, int32 20 found" in fault.detail
    assert first.document == again.document


def test_a_copy_of_a_booking_counts_as_already_migrated() -> None:
    """The same booking twice is one session."""
    consolidation = consolidate(ClientCase([booked(1), booked(1), booked(2)]))

    assert (2, 1, 0) == fates(consolidation)
    assert 2 == consolidation.session_count == result_of(consolidation)["totalSessions"]


def test_a_copy_counts_once_beside_the_applications_sessions() -> None:
    """The same booking twice is one session in a document that is already there, too."""
    consolidation = consolidate(ClientCase([booked(1), booked(1)], in_target=document()))

    assert (1, 1, 0) == fates(consolidation)
    assert 2 == consolidation.session_count


def test_too_large_a_document_rejects_that_clients_bookings() -> None:
    """Over the limit the client's new bookings are rejected, copies too, and no document is made."""
    size = len(consolidate(ClientCase([booked(1), booked(2)])).document or b"")

    fits = consolidate(ClientCase([booked(1), booked(2)]), Rules(maximum_document_size=size))
    too_large = consolidate(
        ClientCase([booked(1), booked(2), booked(2)]), Rules(maximum_document_size=size - 1)
    )

    assert (2, 0, 0) == fates(fits)
    assert (0, 0, 3) == fates(too_large)
    assert {Reason.CLIENT_DOCUMENT_TOO_LARGE} == {rejection.reason for rejection in too_large.rejected}
    assert too_large.document is None


def test_too_large_a_document_leaves_what_is_there() -> None:
    """What was migrated before stays migrated when a further booking makes the document too large."""
    first = consolidate(ClientCase([booked(1)]))
    assert first.document is not None

    again = consolidate(
        ClientCase([booked(1), booked(2)], in_target=stored(first.document)), Rules(maximum_document_size=500)
    )

    assert (0, 1, 1) == fates(again)
    assert first.document == again.document


def test_documents_to_be_joined_go_into_the_oldest() -> None:
    """Of several client documents the oldest keeps its `_id`; the others' sessions follow it, before the bookings."""
    older = document()
    younger = document(
        _id=ObjectId("68b61bd7a4c0bf9eaab38eff"),
        createdAt=DatetimeMS(START + DAY),
        sessions=[{"sessionId": ObjectId("68b61bd7a4c0bf9eaab38efe"), "price": 1}],
    )

    consolidation = consolidate(ClientCase([booked(3)], in_source=[younger, older]))

    result = result_of(consolidation)
    assert older.document_id == result["_id"]
    assert [5, 1, 20] == [session["price"] for session in result["sessions"]]
    assert (3, 26) == (result["totalSessions"], result["totalSpent"])


def test_a_source_document_that_was_carried_before_is_not_joined_again() -> None:
    """A client document of the source that stands in the target, grown meanwhile, adds nothing."""
    base = document()
    grown = consolidate(ClientCase([booked(1)], in_source=[base]))
    assert grown.document is not None

    again = consolidate(ClientCase([booked(1)], in_source=[base], in_target=stored(grown.document)))

    assert (0, 1, 0) == fates(again)
    assert grown.document == again.document


def test_contradicting_client_documents_are_not_joined() -> None:
    """A source document whose session stands in the target with other content is set aside with the difference."""
    changed = document(sessions=[{"sessionId": ObjectId("68b61bd7a4c0bf9eaab38ee6"), "price": 6}])

    consolidation = consolidate(ClientCase([booked(1)], in_source=[changed], in_target=document()))

    (contradicting,) = consolidation.contradicting
    assert Reason.CONFLICT is contradicting.reason
    assert [5, 20] == [session["price"] for session in result_of(consolidation)["sessions"]]


@pytest.mark.parametrize("client_id", [7, Int64(7)], ids=["int32", "int64"])
def test_equal_clients_of_other_types_get_the_same_document_id(client_id: int) -> None:
    """MongoDB calls 7 and Int64(7) equal, so their client is one, with one `_id`."""
    consolidation = consolidate(ClientCase([booked(1, clientId=client_id)]))

    digest = sha256(bson.encode({"clientId": Int64(7)})).digest()
    assert ObjectId(digest[:12]) == result_of(consolidation)["_id"]


def test_joined_documents_lose_no_field() -> None:
    """What the older document lacks comes from the younger one: client fields, unknown fields, the later date."""
    older = document(clientEmail=None)
    younger = document(
        _id=ObjectId("68b61bd7a4c0bf9eaab38eff"),
        clientEmail="younger@example.com",
        loyalty="gold",
        createdAt=DatetimeMS(START + DAY),
        updatedAt=DatetimeMS(START + 9 * DAY),
    )

    result = result_of(consolidate(ClientCase([], in_source=[older, younger])))

    assert (older.document_id, "younger@example.com", "gold", 3) == tuple(
        result[name] for name in ("_id", "clientEmail", "loyalty", "__v")
    )
    assert (DatetimeMS(START), DatetimeMS(START + 9 * DAY)) == (result["createdAt"], result["updatedAt"])


def test_the_targets_document_never_gives_way() -> None:
    """An older document of the source that contradicts the target's is set aside; the target's keeps all it has."""
    session = ObjectId("68b61bd7a4c0bf9eaab38ee6")
    live = document(
        createdAt=DatetimeMS(START + DAY),
        sessions=[{"sessionId": session, "price": 5}, {"sessionId": ObjectId(), "price": 8}],
    )
    older = document(_id=ObjectId("68b61bd7a4c0bf9eaab38e00"), sessions=[{"sessionId": session, "price": 9}])

    consolidation = consolidate(ClientCase([booked(3)], in_source=[older], in_target=live))

    assert [older.raw] == [rejection.raw for rejection in consolidation.contradicting]
    assert live.document_id == result_of(consolidation)["_id"]
    assert [5, 8, 20] == [one["price"] for one in result_of(consolidation)["sessions"]]
