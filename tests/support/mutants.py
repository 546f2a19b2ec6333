"""Single faults of a migration's result, each with the kind and the field by which it must be named."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from tests.support.proof import ADDED_TO, CARRIED, DOUBLES, LOOKED_UP, NUMBERED, Document, Proof

Harm = Callable[[Proof], object]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault."""

    name: str
    kind: str
    field: str | None
    harm: Harm
    in_files_only: bool = False


MUTANTS: list[Mutant] = []


def _mutant(kind: str, field: str | None, *, in_files_only: bool = False) -> Callable[[Harm], Harm]:
    def register(harm: Harm) -> Harm:
        name = getattr(harm, "__name__", "").removeprefix("_")
        MUTANTS.append(Mutant(name, kind, field, harm, in_files_only))
        return harm

    return register


def _set(kind: str, name: str, client_id: Any, field: str, value: Any, *, told: str | None = None) -> None:
    """A field of a client document that has another value."""

    def harm(proof: Proof) -> None:
        proof.client(client_id)[field] = value

    MUTANTS.append(Mutant(name, kind, told or field, harm))


def _set_in_session(name: str, field: str, value: Any, client_id: Any = DOUBLES, at: int = 1) -> None:
    """A field of a session that has another value."""

    def harm(proof: Proof) -> None:
        proof.client(client_id)["sessions"][at][field] = value

    MUTANTS.append(Mutant(name, "content", field, harm))


# A changed value of a session.
_set_in_session("a_cent", "price", 663.84)
_set_in_session("a_price_as_decimal", "price", Decimal128("663.83"))
_set_in_session("an_int32_as_int64", "duration", Int64(60))
_set_in_session("an_int32_as_double", "duration", 60.0)
_set_in_session("a_millisecond_of_the_schedule", "scheduledDate", DatetimeMS(1_700_086_400_001))
_set_in_session("a_millisecond_of_the_creation", "createdAt", DatetimeMS(1_700_086_400_001))
_set_in_session("a_status", "status", "cancelled")
_set_in_session("a_note", "notes", "First")
_set_in_session("a_field_that_the_booking_has_not", "meetingLink", "https://example.org")
_set_in_session("a_null_for_a_value", "notes", None)
_set_in_session("another_expert", "expertId", ObjectId("650000000000000000000e02"))
_set_in_session("an_expert_id_as_string", "expertId", "650000000000000000000e01")
_set_in_session("a_type_deep_inside", "extra", {"a": 1, "b": [1, 1.0, True]})
_set_in_session("an_order_deep_inside", "extra", {"b": [Int64(1), 1.0, True], "a": 1})
_set_in_session("another_session_id", "sessionId", ObjectId("660000010000010000000000"))
_set_in_session("a_client_field_in_a_session", "clientId", DOUBLES)
_set_in_session("a_default_that_is_wrong", "status", "confirmed", LOOKED_UP)
_set_in_session("a_looked_up_value_that_is_wrong", "expertUserId", "1234", LOOKED_UP)
_set_in_session("a_session_of_the_application_that_changed", "price", 11, ADDED_TO, 0)
_set_in_session("a_legacy_id_as_string", "legacyBookingId", "66000001a1b2c3d4e5000001")
_set_in_session("a_legacy_id_of_nobody", "legacyBookingId", ObjectId("66ffffff0000000000000000"))

# Totals, dates, client fields.
_set("totals", "a_cent_of_the_total", DOUBLES, "totalSpent", 14421.36)
_set("totals", "a_sum_of_doubles", DOUBLES, "totalSpent", 14421.349999999999)
_set("totals", "a_total_as_decimal", DOUBLES, "totalSpent", Decimal128("14421.35"))
_set("totals", "a_decimal_total_as_double", NUMBERED, "totalSpent", 13.5)
_set("totals", "a_quantum_of_the_total", NUMBERED, "totalSpent", Decimal128("13.5"))
_set("totals", "a_stale_number_of_sessions", DOUBLES, "totalSessions", 2)
_set("totals", "a_number_of_sessions_as_int64", DOUBLES, "totalSessions", Int64(3))
_set("totals", "a_millisecond_of_the_earliest", DOUBLES, "createdAt", DatetimeMS(1_700_000_000_001))
_set("totals", "a_millisecond_of_the_latest", DOUBLES, "updatedAt", DatetimeMS(1_700_000_000_001))
_set("totals", "a_total_of_a_document_that_was_carried", CARRIED, "totalSpent", 11)
_set("client", "another_document_id", DOUBLES, "_id", ObjectId("650000000000000000000001"))
_set("client", "a_document_id_that_was_not_kept", ADDED_TO, "_id", ObjectId("650000000000000000000009"))
_set("client", "another_email", DOUBLES, "clientEmail", "other@example.org")
_set("client", "another_user_id", LOOKED_UP, "clientUserId", "1234")
_set("client", "a_client_id_as_int32", NUMBERED, "clientId", 7)
_set("content", "a_field_of_the_application_that_changed", ADDED_TO, "app", {"kept": False})
_set("content", "a_field_that_nobody_wrote", DOUBLES, "status", "pending")
_set("content", "sessions_that_are_no_array", DOUBLES, "sessions", {"0": {}})
_set(
    "missing",
    "a_document_of_another_client",
    CARRIED,
    "clientId",
    ObjectId("650000000000000000000099"),
    told="_id",
)


@_mutant("content", "notes")
def _a_field_that_is_lost(proof: Proof) -> None:
    del proof.client(DOUBLES)["sessions"][1]["notes"]


@_mutant("content", "legacyBookingId")
def _a_claim_that_is_lost(proof: Proof) -> None:
    del proof.client(DOUBLES)["sessions"][1]["legacyBookingId"]


@_mutant("content", "duration")
def _fields_in_another_order(proof: Proof) -> None:
    session = proof.client(DOUBLES)["sessions"][1]
    names = list(session)
    place = names.index("duration")
    names[place : place + 2] = [names[place + 1], names[place]]
    proof.client(DOUBLES)["sessions"][1] = {name: session[name] for name in names}


@_mutant("order", "sessions")
def _two_sessions_swapped(proof: Proof) -> None:
    sessions = proof.client(DOUBLES)["sessions"]
    sessions[0], sessions[1] = sessions[1], sessions[0]


@_mutant("order", "sessions")
def _a_new_session_before_an_old_one(proof: Proof) -> None:
    sessions = proof.client(ADDED_TO)["sessions"]
    sessions.insert(0, sessions.pop())


@_mutant("missing", None)
def _a_session_that_is_lost(proof: Proof) -> None:
    proof.client(DOUBLES)["sessions"].pop()


@_mutant("missing", None)
def _a_session_that_is_lost_with_right_totals(proof: Proof) -> None:
    document = proof.client(LOOKED_UP)
    document["sessions"].pop(1)
    document.update(totalSessions=2, totalSpent=3000)


@_mutant("missing", None)
def _all_sessions_that_are_lost(proof: Proof) -> None:
    proof.client(DOUBLES)["sessions"].clear()


@_mutant("missing", None)
def _a_client_that_is_lost(proof: Proof) -> None:
    proof.target.remove(proof.client(LOOKED_UP))


@_mutant("missing", "_id")
def _a_client_document_that_is_not_carried(proof: Proof) -> None:
    proof.target.remove(proof.client(CARRIED))


@_mutant("missing", "sessions")
def _a_session_of_the_application_that_is_lost(proof: Proof) -> None:
    proof.client(ADDED_TO)["sessions"].pop(0)


@_mutant("duplicate", "legacyBookingId")
def _a_session_that_is_doubled(proof: Proof) -> None:
    sessions = proof.client(DOUBLES)["sessions"]
    sessions.append({**sessions[0]})


@_mutant("duplicate", "clientId")
def _a_client_in_two_documents(proof: Proof) -> None:
    document = proof.client(DOUBLES)
    proof.target.append({**document, "_id": ObjectId("650000000000000000000008")})


@_mutant("duplicate", "clientId")
def _a_client_whose_sessions_are_split(proof: Proof) -> None:
    document = proof.client(DOUBLES)
    last = document["sessions"].pop()
    proof.target.append({**document, "_id": ObjectId("650000000000000000000008"), "sessions": [last]})


@_mutant("duplicate", "_id", in_files_only=True)
def _a_document_twice_in_a_file(proof: Proof) -> None:
    proof.target.append(proof.client(DOUBLES))


@_mutant("duplicate", "sessionId")
def _two_sessions_with_one_id(proof: Proof) -> None:
    sessions = proof.client(DOUBLES)["sessions"]
    sessions[1]["sessionId"] = sessions[0]["sessionId"]


@_mutant("client", "legacyBookingId")
def _a_session_of_another_client(proof: Proof) -> None:
    proof.client(LOOKED_UP)["sessions"].append(proof.client(DOUBLES)["sessions"][0])


@_mutant("extra", "sessionId")
def _a_session_of_the_application_since(proof: Proof) -> None:
    proof.client(DOUBLES)["sessions"].append(
        {
            "sessionId": ObjectId("670000000000000000000001"),
            "price": 1,
            "createdAt": DatetimeMS(1_700_000_000_500),
        }
    )


@_mutant("extra", "legacyBookingId")
def _a_session_of_no_booking(proof: Proof) -> None:
    session = proof.client(DOUBLES)["sessions"][0]
    invented = {
        **session,
        "sessionId": ObjectId("670000000000000000000001"),
        "legacyBookingId": ObjectId("670000000000000000000002"),
    }
    proof.client(DOUBLES)["sessions"].append(invented)


@_mutant("extra", "clientId")
def _a_client_without_bookings(proof: Proof) -> None:
    empty: Document = {"_id": ObjectId("670000000000000000000003"), "clientId": "nobody", "sessions": []}
    proof.target.append({**empty, "totalSessions": 0, "totalSpent": 0})


@_mutant("extra", "duration")
def _a_rejected_booking_that_was_migrated(proof: Proof) -> None:
    session = dict(proof.client(DOUBLES)["sessions"][0])
    rejected = next(each for each in proof.source if each.get("duration") == 5)
    session.update(
        sessionId=ObjectId("670000000000000000000001"), duration=5, legacyBookingId=rejected["_id"]
    )
    proof.client(DOUBLES)["sessions"].append(session)


@_mutant("extra", "sessions")
def _a_booking_in_the_target(proof: Proof) -> None:
    proof.target.append(proof.source[2] | {"clientId": "zzz"})


@_mutant("missing", "sessions")
def _a_session_that_is_no_document(proof: Proof) -> None:
    proof.client(ADDED_TO)["sessions"][0] = 5


@_mutant("client", "clientId")
def _a_document_without_a_client(proof: Proof) -> None:
    proof.target.append({"_id": ObjectId("670000000000000000000003"), "clientId": None, "sessions": []})


@_mutant("client", "clientEmail")
def _a_client_field_that_is_lost(proof: Proof) -> None:
    del proof.client(DOUBLES)["clientEmail"]


@_mutant("totals", "updatedAt")
def _a_date_that_is_lost(proof: Proof) -> None:
    del proof.client(DOUBLES)["updatedAt"]


@_mutant("content", "totalSessions")
def _document_fields_in_another_order(proof: Proof) -> None:
    document = proof.client(DOUBLES)
    document["totalSessions"] = document.pop("totalSessions")


# The rejected bookings.
@_mutant("missing", "rejected")
def _a_rejected_booking_that_vanished(proof: Proof) -> None:
    proof.rejected.pop()


@_mutant("missing", "rejected")
def _a_rejected_booking_that_is_not_whole(proof: Proof) -> None:
    del proof.rejected[0]["booking"]["notes"]


@_mutant("missing", "rejected")
def _a_rejected_booking_with_a_wrong_reason(proof: Proof) -> None:
    proof.rejected[0].update(reason="email-invalid", faults=[])


@_mutant("extra", "rejected")
def _a_migrated_booking_that_is_rejected_too(proof: Proof) -> None:
    proof.rejected.append({**proof.rejected[0], "_id": "another", "booking": proof.source[0]})


@_mutant("missing", "rejected")
def _a_convertible_booking_that_was_rejected(proof: Proof) -> None:
    document = proof.client(LOOKED_UP)
    session = document["sessions"].pop(1)
    document.update(totalSessions=2, totalSpent=3000)
    booking = next(each for each in proof.source if each["_id"] == session["legacyBookingId"])
    proof.rejected.append({**proof.rejected[0], "_id": "another", "booking": booking})
