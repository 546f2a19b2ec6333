"""A booking becomes a session, or a rejection with every reason."""

import struct
from typing import Any

import pytest
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from booking_migrate.bson.document import Element, elements, wrap
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import WAIVABLE, Contract
from booking_migrate.domain.rejection import Reason, Rejection
from booking_migrate.domain.rules import Rules
from booking_migrate.domain.session import Converter, People, Person, Session, read_booking
from tests.support.bookings import (
    ABSENT,
    BOOKING,
    CLIENT,
    EXPERT,
    convert,
    decoded,
    faults_of,
    raw,
    session_of,
)

USER_OF_EXPERT = ObjectId("68b0daa5349f080259000001")
PEOPLE = People(
    users={
        sort_key(CLIENT): Person("9062", "client@example.com"),
        sort_key(USER_OF_EXPERT): Person("1534", "expert@example.com"),
    },
    experts={sort_key(EXPERT): USER_OF_EXPERT},
)
FIRST_GENERATION: dict[str, Any] = {
    "clientUserId": ABSENT, "clientEmail": ABSENT, "expertUserId": ABSENT, "expertEmail": ABSENT
}  # fmt: skip


def test_a_session_is_the_booking_between_its_two_ids() -> None:
    """The session starts with `sessionId`, carries the own fields in order and ends with `legacyBookingId`."""
    names = [
        "sessionId", "expertId", "expertUserId", "expertEmail", "sessionType", "duration", "scheduledDate",
        "startTime", "endTime", "status", "price", "currency", "paymentStatus", "notes", "createdAt", "updatedAt",
        "legacyBookingId",
    ]  # fmt: skip

    assert names == list(decoded(session_of().raw))


def test_ids_around_a_session() -> None:
    """`sessionId` is the old id with its counter before its random bytes; `legacyBookingId` is the old id."""
    session = decoded(session_of().raw)

    assert (ObjectId("68b61bd7b38ee5a4c0bf9eaa"), BOOKING) == (
        session["sessionId"],
        session["legacyBookingId"],
    )


def test_a_session_of_another_id_type_takes_its_time_from_created_at() -> None:
    """For an `_id` that is no ObjectId, `sessionId` has the seconds of `createdAt` and eight bytes of SHA-256."""
    first, again = session_of(_id="booking-1"), session_of(_id="booking-1", price=21)

    session_id = decoded(first.raw)["sessionId"]
    assert struct.pack(">I", 1_756_765_143) == session_id.binary[:4]
    assert session_id == decoded(again.raw)["sessionId"]
    assert session_id != decoded(session_of(_id="booking-2").raw)["sessionId"]


def test_seconds_before_1970_wrap_around() -> None:
    """The seconds in a SHA-256 id are taken modulo 2^32, so dates before 1970 and far ahead work."""
    session = session_of(_id=1, createdAt=DatetimeMS(-1_500))

    assert struct.pack(">I", 2**32 - 2) == decoded(session.raw)["sessionId"].binary[:4]


def test_carried_values_keep_their_bytes() -> None:
    """Every own field of a booking, of whatever BSON type, stands in the session byte for byte."""
    odd: dict[str, Any] = {
        "price": Decimal128("20.50"),
        "duration": Int64(30),
        "scheduledDate": DatetimeMS(253_402_300_800_000),
        "zero": -0.0,
        "uuid": Binary(b"0123456789abcdef", 4),
        "pattern": Regex("a.*", "im"),
        "script": Code("return 1"),
        "stamp": Timestamp(1, 2),
        "nested": {"b": 1, "a": [1, {"_id": 2}, Int64(3)]},
        "nothing": None,
    }
    booking = raw(**odd)
    carried = [
        element for element in elements(booking)
        if element.name not in (b"_id", b"clientId", b"clientUserId", b"clientEmail", b"__v")
    ]  # fmt: skip

    assert carried == list(elements(session_of(**odd).raw))[1:-1]


def test_deprecated_types_are_carried_unchanged() -> None:
    """Symbol, undefined, DBPointer and invalid UTF-8, which Python would re-type, stand in the session as they were."""
    odd = [
        Element(0x0E, b"symbol", struct.pack("<i", 4) + b"abc\x00"),
        Element(0x06, b"undefined", b""),
        Element(0x0C, b"pointer", struct.pack("<i", 2) + b"a\x00" + bytes(12)),
        Element(0x02, b"latin", struct.pack("<i", 2) + b"\xe9\x00"),
        Element(0x0B, b"pattern", b"a\x00xi\x00"),
        Element(0x10, b"n\xe9", struct.pack("<i", 7)),
    ]
    booking = wrap([*elements(raw()), *odd])

    session = Converter().convert(read_booking(booking), People())

    assert isinstance(session, Session)
    assert odd == list(elements(session.raw))[-7:-1]


def test_a_symbol_is_no_string() -> None:
    """A contract field whose string is a BSON symbol or JavaScript code has the wrong type."""
    symbol = Element(0x0E, b"status", struct.pack("<i", 8) + b"pending\x00")
    booking = wrap([symbol if part.name == b"status" else part for part in elements(raw())])

    result = Converter().convert(read_booking(booking), People())

    assert isinstance(result, Rejection)
    assert [(Reason.WRONG_TYPE, "status")] == [(fault.reason, fault.field) for fault in result.faults]
    assert [Reason.WRONG_TYPE] == [fault.reason for fault in faults_of(notes=Code("x"))]


def test_absent_states_are_added_behind_the_own_fields() -> None:
    """An absent `status` or `paymentStatus` counts as pending and is added before `legacyBookingId`."""
    session = decoded(session_of(status=ABSENT, paymentStatus=ABSENT).raw)

    assert ["status", "paymentStatus", "legacyBookingId"] == list(session)[-3:]
    assert ("pending", "pending") == (session["status"], session["paymentStatus"])


def test_the_first_generation_is_completed_by_lookup() -> None:
    """Client and expert fields that a booking lacks come from users and experts; the expert's stand in the session."""
    session = session_of(PEOPLE, **FIRST_GENERATION)

    assert ("9062", "client@example.com") == (session.client_user_id, session.client_email)
    assert ["expertUserId", "expertEmail", "legacyBookingId"] == list(decoded(session.raw))[-3:]
    assert "expert@example.com" == decoded(session.raw)["expertEmail"]


def test_null_in_a_looked_up_field_counts_as_absent() -> None:
    """A null `expertEmail` is not carried but looked up and added at the end."""
    session = decoded(session_of(PEOPLE, expertEmail=None).raw)

    assert ["expertEmail", "legacyBookingId"] == list(session)[-2:]
    assert "1534" == session["expertUserId"]


@pytest.mark.parametrize(
    ("people", "reason", "field"),
    [
        (People(experts=PEOPLE.experts, users={sort_key(USER_OF_EXPERT): Person("1534", "e@example.com")}),
         Reason.CLIENT_USER_NOT_FOUND, "clientUserId"),
        (People(users=PEOPLE.users), Reason.EXPERT_NOT_FOUND, "expertId"),
        (People(experts={sort_key(EXPERT): None}, users=PEOPLE.users), Reason.EXPERT_USER_NOT_FOUND, "expertUserId"),
        (People(experts=PEOPLE.experts, users={sort_key(CLIENT): Person("9062", "c@example.com")}),
         Reason.EXPERT_USER_NOT_FOUND, "expertUserId"),
        (People(experts=PEOPLE.experts, users={**PEOPLE.users, sort_key(CLIENT): Person("9062", None)}),
         Reason.CLIENT_USER_NOT_FOUND, "clientEmail"),
        (People(experts=PEOPLE.experts, users={**PEOPLE.users, sort_key(CLIENT): Person(9062, "c@example.com")}),
         Reason.WRONG_TYPE, "clientUserId"),
    ],
)  # fmt: skip
def test_who_is_not_found_is_a_reason(people: People, reason: Reason, field: str) -> None:
    """A user or an expert who cannot be found, or lacks the field, rejects the booking with that reason."""
    assert [(reason, field)] == [(f.reason, f.field) for f in faults_of(people, **FIRST_GENERATION)]


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"clientId": ABSENT}, Reason.CLIENT_ID_MISSING, "clientId"),
        ({"clientId": None}, Reason.CLIENT_ID_INVALID, "clientId"),
        ({"clientId": ""}, Reason.CLIENT_ID_INVALID, "clientId"),
        ({"clientId": 7.0}, Reason.CLIENT_ID_INVALID, "clientId"),
        ({"clientId": True}, Reason.CLIENT_ID_INVALID, "clientId"),
        ({"clientId": [CLIENT]}, Reason.CLIENT_ID_INVALID, "clientId"),
        ({"clientId": {"a": 1}}, Reason.CLIENT_ID_INVALID, "clientId"),
        ({"clientId": Binary(b"abc", 4)}, Reason.CLIENT_ID_INVALID, "clientId"),
        ({"expertId": ABSENT}, Reason.FIELD_MISSING, "expertId"),
        ({"expertId": None}, Reason.WRONG_TYPE, "expertId"),
        ({"expertId": 1.5}, Reason.WRONG_TYPE, "expertId"),
        ({"clientUserId": "123"}, Reason.USER_ID_INVALID, "clientUserId"),
        ({"clientUserId": "12345"}, Reason.USER_ID_INVALID, "clientUserId"),
        ({"clientUserId": "1234\n"}, Reason.USER_ID_INVALID, "clientUserId"),
        ({"expertUserId": "١٢٣٤"}, Reason.USER_ID_INVALID, "expertUserId"),
        ({"expertUserId": 1534}, Reason.WRONG_TYPE, "expertUserId"),
        ({"clientEmail": "nobody"}, Reason.EMAIL_INVALID, "clientEmail"),
        ({"expertEmail": "a b@example.com"}, Reason.EMAIL_INVALID, "expertEmail"),
        ({"sessionType": "phone"}, Reason.SESSION_TYPE_NOT_ALLOWED, "sessionType"),
        ({"sessionType": None}, Reason.WRONG_TYPE, "sessionType"),
        ({"duration": 14.9}, Reason.DURATION_TOO_SHORT, "duration"),
        ({"duration": True}, Reason.WRONG_TYPE, "duration"),
        ({"duration": float("nan")}, Reason.NUMBER_NOT_FINITE, "duration"),
        ({"duration": Decimal128("14")}, Reason.DURATION_TOO_SHORT, "duration"),
        ({"scheduledDate": "2025-08-29"}, Reason.WRONG_TYPE, "scheduledDate"),
        ({"scheduledDate": Timestamp(1, 1)}, Reason.WRONG_TYPE, "scheduledDate"),
        ({"startTime": "24:00"}, Reason.TIME_INVALID, "startTime"),
        ({"endTime": "9:60"}, Reason.TIME_INVALID, "endTime"),
        ({"endTime": ABSENT}, Reason.FIELD_MISSING, "endTime"),
        ({"status": "done"}, Reason.STATUS_NOT_ALLOWED, "status"),
        ({"status": None}, Reason.WRONG_TYPE, "status"),
        ({"price": -0.01}, Reason.PRICE_NEGATIVE, "price"),
        ({"price": "20"}, Reason.WRONG_TYPE, "price"),
        ({"price": float("inf")}, Reason.NUMBER_NOT_FINITE, "price"),
        ({"price": Decimal128("NaN")}, Reason.NUMBER_NOT_FINITE, "price"),
        ({"currency": "inr"}, Reason.CURRENCY_NOT_ALLOWED, "currency"),
        ({"paymentStatus": "open"}, Reason.PAYMENT_STATUS_NOT_ALLOWED, "paymentStatus"),
        ({"paymentStatus": None}, Reason.WRONG_TYPE, "paymentStatus"),
        ({"paymentMethod": 1}, Reason.WRONG_TYPE, "paymentMethod"),
        ({"meetingLink": []}, Reason.WRONG_TYPE, "meetingLink"),
        ({"notes": "x" * 1001}, Reason.NOTES_TOO_LONG, "notes"),
        ({"notes": "😀" * 501}, Reason.NOTES_TOO_LONG, "notes"),
        ({"cancellationReason": "x" * 501}, Reason.CANCELLATION_REASON_TOO_LONG, "cancellationReason"),
        ({"cancelledBy": "admin"}, Reason.CANCELLED_BY_NOT_ALLOWED, "cancelledBy"),
        ({"cancellationTime": "now"}, Reason.WRONG_TYPE, "cancellationTime"),
        ({"refundAmount": -1}, Reason.REFUND_AMOUNT_NEGATIVE, "refundAmount"),
        ({"createdAt": "2025"}, Reason.WRONG_TYPE, "createdAt"),
        ({"updatedAt": None}, Reason.WRONG_TYPE, "updatedAt"),
        ({"sessionId": 1}, Reason.RESERVED_FIELD, "sessionId"),
        ({"legacyBookingId": None}, Reason.RESERVED_FIELD, "legacyBookingId"),
        ({"_id": ABSENT}, Reason.ID_MISSING, "_id"),
        ({"_id": "a", "createdAt": ABSENT, "updatedAt": ABSENT}, Reason.CREATION_TIME_MISSING, "createdAt"),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_rejected(changes: dict[str, Any], reason: Reason, field: str) -> None:
    """Each single fault gives its one reason and field."""
    assert [(reason, field)] == [(fault.reason, fault.field) for fault in faults_of(PEOPLE, **changes)]


@pytest.mark.parametrize(
    "changes",
    [
        {"clientId": "client"}, {"clientId": 7}, {"clientId": Int64(7)}, {"clientId": Binary(bytes(16), 4)},
        {"clientId": Binary(bytes(16), 3)}, {"expertId": 5}, {"expertId": "x"},
        {"duration": 15}, {"duration": 15.0}, {"duration": Decimal128("15")}, {"duration": Int64(10**12)},
        {"startTime": "0:00"}, {"startTime": "00:00"}, {"endTime": "23:59"}, {"price": 0}, {"price": -0.0},
        {"notes": "x" * 1000}, {"notes": "😀" * 500}, {"notes": None}, {"cancelledBy": None}, {"refundAmount": None},
        {"cancellationTime": None}, {"currency": "EUR"}, {"status": "no-show"}, {"sessionType": "in-person"},
        {"scheduledDate": DatetimeMS(-(2**62))}, {"__v": "any"}, {"createdAt": ABSENT}, {"updatedAt": ABSENT},
        {"_id": {"a": 1}}, {"_id": None}, {"_id": "a", "updatedAt": ABSENT}, {"_id": "a", "createdAt": ABSENT},
    ],
)  # fmt: skip
def test_what_keeps_the_contract_is_converted(changes: dict[str, Any]) -> None:
    """The borders of the contract are inside."""
    assert isinstance(convert(**changes), Session)


def test_all_faults_of_one_booking_are_named() -> None:
    """A booking with several faults has them all, those of the fields in the contract's order."""
    faults = faults_of(sessionId=1, price=-1, clientId=None, notes=5, endTime=ABSENT)

    assert [
        (Reason.RESERVED_FIELD, "sessionId"),
        (Reason.CLIENT_ID_INVALID, "clientId"),
        (Reason.FIELD_MISSING, "endTime"),
        (Reason.PRICE_NEGATIVE, "price"),
        (Reason.WRONG_TYPE, "notes"),
    ] == [(fault.reason, fault.field) for fault in faults]


def test_a_name_that_occurs_twice_is_rejected() -> None:
    """A document with two fields of one name says two things at once."""
    booking = wrap([*elements(raw()), Element(0x10, b"price", struct.pack("<i", 1))])

    result = Converter().convert(read_booking(booking), People())

    assert isinstance(result, Rejection)
    assert [(Reason.DUPLICATE_FIELD, "price")] == [(fault.reason, fault.field) for fault in result.faults]


@pytest.mark.parametrize(("levels", "fits"), [(178, True), (179, False)])
def test_a_booking_must_still_nest_as_a_session(levels: int, fits: bool) -> None:
    """A session lies two levels deeper than a booking, and MongoDB allows 180 levels within a document."""
    deep: Any = 1
    for _ in range(levels):
        deep = {"a": deep}

    result = convert(extra=deep)

    faults = [] if isinstance(result, Session) else [fault.reason for fault in result.faults]
    assert ([] if fits else [Reason.NESTED_TOO_DEEP]) == faults


@pytest.mark.parametrize(
    ("changes", "created", "updated"),
    [
        ({}, 1_756_765_143_359, 1_756_765_143_359),
        ({"createdAt": ABSENT}, 1_756_765_143_000, 1_756_765_143_359),
        ({"updatedAt": ABSENT}, 1_756_765_143_359, 1_756_765_143_000),
        ({"_id": 1, "createdAt": ABSENT}, 1_756_765_143_359, 1_756_765_143_359),
    ],
)
def test_absent_times_come_from_the_id(changes: dict[str, Any], created: int, updated: int) -> None:
    """An absent `createdAt` or `updatedAt` counts as the time in an ObjectId, else as the other of the two."""
    session = session_of(**changes)

    assert (created, updated) == (session.created_at, session.updated_at)


def test_waived_reasons_let_bookings_pass() -> None:
    """A value rule that is accepted does not reject, and the value is carried as it is."""
    wrong = {
        "clientUserId": "x", "clientEmail": "x", "sessionType": "x", "duration": -1, "startTime": "x", "status": "x",
        "price": -1, "currency": "x", "paymentStatus": "x", "notes": "x" * 2000, "cancellationReason": "x" * 2000,
        "cancelledBy": "x", "refundAmount": -1,
    }  # fmt: skip
    strict = Converter().convert(read_booking(raw(**wrong)), People())
    lenient = Converter(Rules(accepted=WAIVABLE)).convert(read_booking(raw(**wrong)), People())

    assert isinstance(strict, Rejection)
    assert set(WAIVABLE) == {fault.reason for fault in strict.faults}
    assert isinstance(lenient, Session)
    assert -1 == decoded(lenient.raw)["price"]


@pytest.mark.parametrize(
    ("contract", "changes", "reason"),
    [
        (Contract(currencies=("INR",)), {"currency": "USD"}, Reason.CURRENCY_NOT_ALLOWED),
        (Contract(statuses=("open",)), {}, Reason.STATUS_NOT_ALLOWED),
        (Contract(minimum_duration=45), {}, Reason.DURATION_TOO_SHORT),
        (Contract(maximum_notes_length=3), {}, Reason.NOTES_TOO_LONG),
        (Contract(minimum_price=0.1), {"price": Decimal128("0.09")}, Reason.PRICE_NEGATIVE),
    ],
)
def test_the_config_file_changes_value_rules(
    contract: Contract, changes: dict[str, Any], reason: Reason
) -> None:
    """What `[contract]` says is what counts."""
    assert [reason] == [fault.reason for fault in faults_of(contract=contract, **changes)]


def test_details_are_short() -> None:
    """A megabyte of text in a field does not make a megabyte of detail."""
    (fault,) = faults_of(status="x" * 1_000_000)

    assert len(fault.detail) < 250


def test_a_least_price_is_the_decimal_that_stands_in_the_config_file() -> None:
    """A least price of 0.1 lets a Decimal128 of 0.1 pass, which is less than the double 0.1."""
    result = Converter(Rules(Contract(minimum_price=0.1))).convert(
        read_booking(raw(price=Decimal128("0.1"))), People()
    )

    assert isinstance(result, Session)


def test_a_reference_does_not_hide_how_deep_a_booking_nests() -> None:
    """A DBRef is a document like any other when levels are counted."""
    deep: Any = 1
    for _ in range(178):
        deep = {"a": deep}

    assert [Reason.NESTED_TOO_DEEP] == [
        fault.reason for fault in faults_of(extra={"$ref": "other", "$id": deep})
    ]


@pytest.mark.parametrize(("name", "words"), [("status", "statuses"), ("paymentStatus", "payment_statuses")])
def test_what_is_added_keeps_the_contract_too(name: str, words: str) -> None:
    """An absent state counts as pending, and is rejected where the contract does not allow that."""
    strict = Contract.model_validate({words: ("paid", "confirmed")})
    states: dict[str, Any] = {"status": "confirmed", "paymentStatus": "paid", name: ABSENT}

    (fault,) = faults_of(contract=strict, **states)

    assert name == fault.field
