"""Bookings are booked, changed and shown in the new shape, on a real server, whatever shape they are stored in."""

from collections.abc import Callable
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.domain.ids import client_document_id, session_id
from booking_migrate.errors import NotBookable, NotYours, SlotTaken, Unknown, Unwritable, WrongState
from booking_migrate.service.actions import Action, Role
from booking_migrate.service.appointment import Wish
from booking_migrate.service.listing import Filters, Order
from booking_migrate.service.repository import Repository
from tests.support.bookings import DAY
from tests.support.platform import (
    FIRST_DAY,
    Platform,
    State,
    a_user,
    an_expert,
    an_old_booking,
    booking_id,
    expert,
    migrate_some,
    old_bookings,
    user,
)
from tests.support.server import Server

Db = Database[dict[str, Any]]
Settle = Callable[..., Platform]


def wish(day: int = 100, start: str = "12:30", **changes: Any) -> Wish:
    return Wish(
        **{
            "session_type": "chat",
            "duration": 30,
            "scheduled_date": FIRST_DAY + day * DAY,
            "start_time": start,
            **changes,
        }
    )


def book(repository: Repository, client: int = 0, of: int = 0, **changes: Any) -> Any:
    return repository.book(repository.people.caller(str(user(client))), str(expert(of)), wish(**changes))


def document(client: int) -> str:
    return str(client_document_id(user(client)))


def answers(repository: Repository) -> list[Any]:
    """Everything that everybody can ask for."""
    found: list[Any] = []
    for number in (*range(5), *range(100, 103)):
        caller = repository.people.caller(str(user(number)))
        for role in Role:
            page = repository.list(caller, role, Filters(), Order.DATE, page=1, limit=100)
            found.append([(one.booking, one.session) for one in page.items])
        for client in range(5):
            try:
                view = repository.find(caller, document(client))
            except NotYours:
                found.append("not yours")
            else:
                found.append((view.fields, [one.fields for one in view.sessions]))
    return found


@pytest.mark.parametrize("later", [State.HALF, State.MIGRATED])
def test_the_answers_are_the_same(repository: Repository, platform: Settle, later: State) -> None:
    """Half migrated and migrated, everybody gets the answers that everybody got before."""
    platform(State.UNMIGRATED)
    before = answers(repository)
    platform(later)

    assert before == answers(repository)
    assert 40 == sum(len(found) for found in before[:35:7])


def test_a_booking_that_cannot_be_migrated_is_not_shown(
    repository: Repository, platform: Settle, state: State
) -> None:
    """Old bookings that break the contract are no sessions, before as after."""
    platform(state)
    shown = repository.find(repository.people.caller(str(user(0))), document(0))

    assert [booking_id(number) for number in range(0, 40, 5)] == [
        one.fields["legacyBookingId"] for one in shown.sessions
    ]
    assert 8 == shown.fields["totalSessions"]


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
        pytest.param(str(expert(3)), {}, NotBookable, "expertId", id="unavailable expert"),
        pytest.param(
            str(expert(0)), {"session_type": "in-person"}, NotBookable, "sessionType", id="not offered"
        ),
        pytest.param(str(expert(4)), {}, NotBookable, "expertId", id="oneself"),
        pytest.param(str(expert(0)), {"duration": 14}, NotBookable, "duration", id="too short"),
        pytest.param(str(expert(0)), {"duration": 1441}, NotBookable, "duration", id="more than a day"),
        pytest.param(
            str(expert(0)), {"notes": "🎉" * 501}, NotBookable, "notes", id="notes too long in UTF-16"
        ),
        pytest.param(str(expert(5)), {}, NotBookable, "price", id="price is no number"),
        pytest.param(str(expert(6)), {}, NotBookable, "expertId", id="expert without a user"),
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


def test_changing_sessions(database: Db, repository: Repository, platform: Settle, state: State) -> None:
    """An expert confirms and completes, a client cancels; it is stored in the shape that the session is stored in."""
    platform(state, [an_old_booking(70, client=0, of=1, day=60, start="9:00")])
    mine, theirs = (repository.people.caller(str(user(number))) for number in (0, 101))
    first, second = session_id(booking_id(70), 0), book(repository, 0, 1).session.session_id
    shapes = database.bookings.count_documents({"sessions": {"$exists": False}})

    for one in (first, second):
        assert (
            "confirmed"
            == repository.change(theirs, document(0), one, Action.CONFIRM).session.fields["status"]
        )
    done = repository.change(theirs, document(0), second, Action.COMPLETE)
    cancelled = repository.change(mine, document(0), first, Action.CANCEL, "$ill")

    assert "completed" == done.session.fields["status"]
    assert ("cancelled", "client", "$ill") == tuple(
        cancelled.session.fields[name] for name in ("status", "cancelledBy", "cancellationReason")
    )
    assert isinstance(cancelled.session.fields["cancellationTime"], DatetimeMS)
    assert shapes == database.bookings.count_documents({"sessions": {"$exists": False}})
    with pytest.raises(WrongState):
        repository.change(mine, document(0), first, Action.CANCEL)


def test_updated_old_bookings_can_be_migrated(
    server: Server, database: Db, repository: Repository, platform: Settle
) -> None:
    """Old bookings that were changed through the service keep the contract, and say the same after the migration."""
    platform()
    pending = [one for one in old_bookings() if one.get("status", "pending") == "pending"][:-2]
    for number, one in enumerate(pending):
        owner = user(100 + int(str(one["expertId"])[-1:])) if number % 2 else one["clientId"]
        action = Action.CONFIRM if number % 2 else Action.CANCEL
        chosen = session_id(one["_id"], 0)
        caller = repository.people.caller(str(owner))
        repository.change(caller, str(client_document_id(one["clientId"])), chosen, action)
    before = answers(repository)

    outcome = migrate_some(server, database, {})

    assert (40, 2) == (outcome.counts.migrated, outcome.counts.rejected)
    assert before == answers(repository)


@pytest.mark.parametrize("action", Action)
def test_who_may(repository: Repository, platform: Settle, state: State, action: Action) -> None:
    """Strangers and other experts change nothing, and a client confirms and completes nothing."""
    platform(state)
    session = session_id(booking_id(0), 0)
    for number in (1, 101, *([] if action is Action.CANCEL else [0])):
        with pytest.raises(NotYours):
            repository.change(repository.people.caller(str(user(number))), document(0), session, action)


def test_an_expert_sees_its_own_sessions_only(repository: Repository, platform: Settle, state: State) -> None:
    """Of a client's document an expert sees its own sessions, with totals over those, and no other client's at all."""
    platform(state)
    caller = repository.people.caller(str(user(100)))
    shown = repository.find(caller, document(0))
    own = [number for number in range(0, 40, 5) if number % 3 == 0]

    assert [booking_id(number) for number in own] == [one.fields["legacyBookingId"] for one in shown.sessions]
    assert (len(own), 20 * len(own)) == (shown.fields["totalSessions"], shown.fields["totalSpent"])
    with pytest.raises(NotYours):
        repository.find_session(caller, document(0), session_id(booking_id(5), 0))
    with pytest.raises(NotYours):
        repository.find(repository.people.caller(str(user(5))), document(0))


@pytest.mark.parametrize("asked", ["65f0a0000000000000009999", "7", "nothing"])
def test_what_is_not_there(repository: Repository, platform: Settle, state: State, asked: str) -> None:
    """A booking or a session that does not exist is unknown."""
    platform(state)
    caller = repository.people.caller(str(user(0)))

    with pytest.raises(Unknown):
        repository.find(caller, asked)
    with pytest.raises(Unknown):
        repository.find_session(caller, document(0), ObjectId())


def test_a_document_of_the_application_keeps_its_id(
    database: Db, repository: Repository, platform: Settle
) -> None:
    """A client document that the application made is appended to, and found by its own id and by the rule's."""
    platform()
    database.bookings.insert_one(
        {"_id": 7, "clientId": user(6), "sessions": [], "totalSessions": 0, "by": "the application"}
    )

    book(repository, 6)

    stored = database.bookings.find_one({"_id": 7})
    assert stored is not None
    assert (1, 20, "the application") == (stored["totalSessions"], stored["totalSpent"], stored["by"])
    caller = repository.people.caller(str(user(6)))
    assert repository.find(caller, "7") == repository.find(caller, document(6))


def test_a_document_may_not_grow_for_ever(database: Db, repository: Repository, platform: Settle) -> None:
    """A client document over the limit, or one that is broken, takes no more sessions."""
    platform()
    filler = {"sessionId": ObjectId(), "notes": "x" * 8_388_500}
    database.bookings.insert_one({"clientId": user(6), "sessions": [filler]})
    database.bookings.insert_one({"clientId": user(7), "sessions": "none"})

    for client in (6, 7):
        with pytest.raises(Unwritable):
            book(repository, client)


@pytest.mark.parametrize(
    "element", [5, None, {}, {"sessionId": 5}, {"expertId": expert(0), "price": "x", "scheduledDate": 1}]
)
def test_odd_sessions_disturb_nobody(
    database: Db, repository: Repository, platform: Settle, element: Any
) -> None:
    """Whatever stands in the sessions of a client document, requests are answered."""
    platform()
    database.bookings.insert_one({"clientId": user(6), "sessions": [element]})

    book(repository, 6)

    caller = repository.people.caller(str(user(6)))
    assert 2 == len(repository.find(caller, document(6)).sessions)
    assert 2 == repository.list(caller, Role.CLIENT, Filters(), Order.PRICE, page=1, limit=5).total
    assert answers(repository)


def test_clients_whose_ids_are_no_object_ids(database: Db, repository: Repository, platform: Settle) -> None:
    """Clients with an integer or a text for an id book, see and are seen by their experts like others."""
    platform()
    for client_id in (7, "anna"):
        database.users.insert_one({**a_user(6), "_id": client_id})
        database.bookings.insert_one(
            an_old_booking(80, client=6, of=0, day=80, start="9:00", _id=str(client_id), clientId=client_id)
        )
        caller = repository.people.caller(str(client_id))
        shown = str(client_document_id(client_id))

        assert client_id == repository.find(caller, shown).client_id
        assert 1 == repository.list(caller, Role.CLIENT, Filters(), Order.DATE, page=1, limit=5).total
        assert 1 == len(repository.find(repository.people.caller(str(user(100))), shown).sessions)
