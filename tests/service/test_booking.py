"""Sessions are booked into client documents: what can be, when it is free, and once."""

from collections.abc import Callable
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from pymongo.database import Database

from booking_migrate.service.appointment import Action
from booking_migrate.service.errors import BadValue, NotYours, SlotTaken, Unknown
from booking_migrate.service.plan import ServiceCollections, ServicePlan
from booking_migrate.service.repository import Repository
from tests.support.bookings import ABSENT, DAY
from tests.support.platform import (
    FIRST_DAY,
    Platform,
    State,
    a_user,
    an_expert,
    an_old_booking,
    book,
    document,
    expert,
    user,
    wish,
)

Db = Database[dict[str, Any]]
Settle = Callable[..., Platform]


def test_booking(repository: Repository, platform: Settle, state: State) -> None:
    """A new session is appended to the client's document, or makes one, with the right totals."""
    bookings = platform(state).bookings
    before = repository.find(repository.people.caller(str(user(0))), document(0))

    shown = book(repository, 0, 1, session_type="video", duration=45, start="9:30", notes="$first call")

    stored = bookings.find_one({"clientId": user(0), "sessions": {"$exists": True}})
    assert stored is not None
    assert {
        "expertId": expert(1),
        "expertUserId": "1101",
        "expertEmail": "user101@example.com",
        "sessionType": "video",
        "duration": 45,
        "scheduledDate": DatetimeMS(FIRST_DAY + 100 * DAY),
        "startTime": "09:30",
        "endTime": "10:15",
        "status": "pending",
        "price": 49.99,
        "currency": "EUR",
        "paymentStatus": "pending",
        "notes": "$first call",
    } == {
        name: value
        for name, value in stored["sessions"][-1].items()
        if name not in ("sessionId", "createdAt", "updatedAt")
    }
    assert stored["sessions"][-1] == shown.session.fields
    assert len(stored["sessions"]) == stored["totalSessions"]
    assert document(0) == str(stored["_id"])
    assert before.fields["totalSessions"] + 1 == shown.booking.fields["totalSessions"]


def test_totals_are_decimal(database: Db, repository: Repository, platform: Settle) -> None:
    """Totals are sums of decimal numbers in the type of the prices, whatever order the sessions come in."""
    platform()
    prices = (4224.11, 663.83, 9533.41, Decimal128("0.10"))
    offers = [
        {"type": kind, "price": price}
        for kind, price in zip(("chat", "video", "audio", "in-person"), prices, strict=True)
    ]
    database.experts.update_one({"_id": expert(0)}, {"$set": {"sessionTypes": offers}})
    totals = []
    for number, offer in enumerate(offers):
        book(repository, 7, 0, session_type=offer["type"], day=200 + number)
        stored = database.bookings.find_one({"clientId": user(7)})
        assert stored is not None
        totals.append(stored["totalSpent"])

    assert [4224.11, 4887.94, 14421.35, Decimal128("14421.45")] == totals
    assert prices == tuple(
        one["price"] for one in (database.bookings.find_one({"clientId": user(7)}) or {})["sessions"]
    )


def test_a_first_booking(repository: Repository, platform: Settle) -> None:
    """Somebody without any booking gets a client document, with the fields that the reference shows."""
    bookings = platform().bookings

    book(repository, 7)

    stored = bookings.find_one({"clientId": user(7)})
    assert stored is not None
    assert [
        *("_id", "clientId", "clientUserId", "clientEmail", "sessions"),
        *("totalSessions", "totalSpent", "createdAt", "updatedAt"),
    ] == list(stored)
    assert (1, 20, "1007") == (stored["totalSessions"], stored["totalSpent"], stored["clientUserId"])


@pytest.mark.parametrize(
    ("of", "asked", "problem", "field"),
    [
        pytest.param("65f0b0000000000000000099", {}, Unknown, "expertId", id="unknown expert"),
        pytest.param("nobody", {}, Unknown, "expertId", id="no id at all"),
        pytest.param(str(expert(3)), {}, BadValue, "expertId", id="unavailable expert"),
        pytest.param(
            str(expert(0)), {"session_type": "in-person"}, BadValue, "sessionType", id="not offered"
        ),
        pytest.param(str(expert(4)), {}, BadValue, "expertId", id="oneself"),
        pytest.param(str(expert(0)), {"duration": 14}, BadValue, "duration", id="too short"),
        pytest.param(str(expert(0)), {"duration": 1441}, BadValue, "duration", id="more than a day"),
        pytest.param(str(expert(0)), {"notes": "🎉" * 501}, BadValue, "notes", id="notes too long in UTF-16"),
        pytest.param(str(expert(5)), {}, BadValue, "price", id="price is no number"),
        pytest.param(str(expert(6)), {}, BadValue, "expertId", id="expert without a user"),
    ],
)
def test_what_cannot_be_booked(
    database: Db,
    repository: Repository,
    platform: Settle,
    of: str,
    asked: dict[str, Any],
    problem: type[Exception],
    field: str,
) -> None:
    """What an expert does not offer, or what would break the contract, is refused; the field is named."""
    platform()
    database.users.insert_one(a_user(105))
    database.experts.insert_many(
        [
            an_expert(3, available=False),
            an_expert(4, userId=user(0)),
            an_expert(5, sessionTypes=[{"type": "chat", "price": "20"}]),
            an_expert(6, userId=user(999)),
        ]
    )
    before = database.bookings.count_documents({})

    with pytest.raises(problem) as refused:
        repository.book(repository.people.caller(str(user(0))), of, wish(**asked))

    assert field == getattr(refused.value, "at_fault", None)
    assert before == database.bookings.count_documents({})


def test_an_expert_is_known_by_its_user_too(repository: Repository, platform: Settle) -> None:
    """An expert may be named by the `_id` of its user."""
    platform()
    caller = repository.people.caller(str(user(0)))

    assert expert(1) == repository.book(caller, str(user(101)), wish()).session.fields["expertId"]


def test_nobody_the_platform_knows_books_nothing(repository: Repository, platform: Settle) -> None:
    """A token for somebody who is no user books nothing."""
    platform()

    with pytest.raises(NotYours):
        repository.book(repository.people.caller("stranger"), str(expert(0)), wish())


@pytest.mark.parametrize(
    ("day", "start", "duration", "client", "of", "whose"),
    [
        pytest.param(50, "9:00", 30, 5, 0, None, id="right before"),
        pytest.param(50, "10:00", 30, 5, 0, None, id="right after"),
        pytest.param(50, "9:15", 30, 5, 0, "expert", id="into it, another client"),
        pytest.param(50, "9:15", 30, 3, 1, "client", id="into it, another expert"),
        pytest.param(50, "9:15", 30, 5, 1, None, id="nobody of both"),
        pytest.param(50, "8:00", 300, 5, 0, "expert", id="around it"),
        pytest.param(51, "0:15", 15, 5, 0, "expert", id="past midnight, from the day before"),
        pytest.param(51, "0:30", 15, 5, 0, None, id="past midnight, after it"),
        pytest.param(49, "23:00", 660, 5, 0, "expert", id="past midnight, into the next day"),
        pytest.param(52, "9:00", 30, 5, 0, None, id="cancelled"),
        pytest.param(53, "9:00", 30, 5, 0, "expert", id="breaks the contract, takes its slot"),
        pytest.param(54, "9:00", 30, 5, 0, "expert", id="without a status"),
        pytest.param(55, "9:00", 30, 5, 0, "expert", id="a date with a time of day"),
    ],
)
def test_conflicts(
    repository: Repository,
    platform: Settle,
    state: State,
    day: int,
    start: str,
    duration: int,
    client: int,
    of: int,
    whose: str | None,
) -> None:
    """A slot is taken by pending and confirmed sessions, in whichever shape, of the same expert or the same client."""
    taken = [
        an_old_booking(60, client=3, of=0, day=50, start="9:30"),
        an_old_booking(61, client=3, of=0, day=50, start="23:45", endTime="0:30", status="confirmed"),
        an_old_booking(62, client=3, of=0, day=52, start="9:00", status="cancelled"),
        an_old_booking(63, client=3, of=0, day=53, start="9:00", currency="usd"),
        an_old_booking(64, client=3, of=0, day=54, start="9:00", status=ABSENT),
        an_old_booking(
            65, client=3, of=0, day=0, start="9:00", scheduledDate=DatetimeMS(FIRST_DAY + 56 * DAY - 1)
        ),
    ]
    platform(state, taken)

    if whose is None:
        book(repository, client, of, day=day, start=start, duration=duration)
    else:
        with pytest.raises(SlotTaken) as refused:
            book(repository, client, of, day=day, start=start, duration=duration)
        assert whose == refused.value.whose


def test_a_slot_is_free_again(repository: Repository, platform: Settle, state: State) -> None:
    """A cancelled session no longer takes its slot."""
    platform(state)
    first = book(repository)
    with pytest.raises(SlotTaken):
        book(repository, 1)

    caller = repository.people.caller(str(user(0)))
    repository.change(caller, document(0), first.session.session_id, Action.CANCEL)

    assert "pending" == book(repository, 1).session.fields["status"]


def test_a_user_is_the_expert_that_has_exactly_its_id(
    empty_database: Db, empty_collections: ServiceCollections
) -> None:
    """In a collection that does not tell capitals apart, another user's expert stays another user's."""
    empty_database.create_collection("experts", collation={"locale": "en", "strength": 1})
    empty_database.experts.insert_one(an_expert(0, userId="ANNA"))
    empty_database.users.insert_many([{**a_user(100), "_id": name} for name in ("anna", "ANNA")])
    people = Repository(empty_collections, ServicePlan()).people

    assert () == people.caller("anna").expert_ids
    assert (expert(0),) == people.caller("ANNA").expert_ids
    assert expert(0) == people.expert("ANNA").expert_id
    with pytest.raises(Unknown):
        people.expert("anna")
