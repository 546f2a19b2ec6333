"""Bookings are booked, changed and shown in the new shape, on a real server, whatever shape they are stored in."""

from collections.abc import Callable
from typing import Any

import pytest
from bson import encode
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from bson.regex import Regex
from pymongo.common import MAX_BSON_SIZE
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.ids import client_document_id, session_id
from booking_migrate.service.appointment import Action, Role
from booking_migrate.service.errors import NoRoom, NotYours, Unknown, Unwritable, WrongState
from booking_migrate.service.repository import Repository
from booking_migrate.service.view import Filters, Order
from tests.support.platform import (
    Platform,
    State,
    a_user,
    an_old_booking,
    book,
    booking_id,
    document,
    expert,
    migrate_some,
    old_bookings,
    user,
    wish,
)
from tests.support.server import Server

Db = Database[dict[str, Any]]
Settle = Callable[..., Platform]


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


def test_an_expert_s_list_has_what_the_bookings_show(
    repository: Repository, platform: Settle, state: State
) -> None:
    """The list of an expert has, field by field, the sessions that the expert sees of each client, and whose they are."""
    platform(state)
    caller = repository.people.caller(str(user(100)))
    views = [repository.find(caller, document(client)) for client in range(5)]
    listed = repository.list(caller, Role.EXPERT, Filters(), Order.DATE, page=1, limit=100)
    shown = {one.session_id: (view.owner, one.fields) for view in views for one in view.sessions}

    assert shown == {one.session["sessionId"]: (one.booking, one.session) for one in listed.items}
    assert 10 < len(shown)


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
    "element",
    [
        5,
        None,
        {},
        {"sessionId": 5},
        {"expertId": expert(0), "price": "x", "scheduledDate": 1},
        {"expertId": expert(0), "status": ["pending"], "paymentStatus": {}, "sessionType": Regex("chat")},
    ],
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
    for filters in (
        Filters(statuses=frozenset({"pending"})),
        Filters(payment_statuses=frozenset({"pending"})),
        Filters(session_types=frozenset({"chat"})),
    ):
        page = repository.list(caller, Role.CLIENT, filters, Order.DATE, page=1, limit=5)
        assert DatetimeMS(wish().scheduled_date) in [one.session.get("scheduledDate") for one in page.items]
    assert answers(repository)


def test_a_document_without_a_client_disturbs_no_expert(
    database: Db, repository: Repository, platform: Settle
) -> None:
    """The sessions of a document without a client are in the list of their expert, beside all others."""
    platform()
    caller = repository.people.caller(str(user(100)))
    before = repository.list(caller, Role.EXPERT, Filters(), Order.DATE, page=1, limit=100)
    stray = {"sessionId": ObjectId(), "expertId": expert(0)}
    database.bookings.insert_one({"sessions": [stray]})
    page = repository.list(caller, Role.EXPERT, Filters(), Order.DATE, page=1, limit=100)

    assert [stray, *(one.session for one in before.items)] == [one.session for one in page.items]
    assert [{"clientId": None}, *(one.booking for one in before.items)] == [one.booking for one in page.items]


def test_a_full_document_takes_no_reason(database: Db, repository: Repository, platform: Settle) -> None:
    """A change that would make a document larger than MongoDB stores is refused as such, and the document stays as it is."""
    own_id = ObjectId()
    session = {
        "sessionId": own_id,
        "expertId": expert(0),
        "status": "pending",
        "updatedAt": DatetimeMS(0),
    }
    full = {
        "_id": 1,
        "clientId": user(6),
        "sessions": [session],
        "totalSessions": 1,
        "totalSpent": 0,
        "pad": "",
    }
    full["pad"] = "x" * (MAX_BSON_SIZE - 100 - len(encode(full, codec_options=CODEC)))
    platform()
    database.bookings.insert_one(full)
    caller = repository.people.caller(str(user(6)))
    with pytest.raises(NoRoom):
        repository.change(caller, "1", own_id, Action.CANCEL, "x" * 500)

    [unchanged] = database.get_collection("bookings", CODEC).find({"_id": 1})
    assert full == unchanged


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
