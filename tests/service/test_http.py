"""What the API answers, over real HTTP, on a collection in each state."""

import json
from collections.abc import Callable
from typing import Any

import bson
import httpx
import pytest
from bson.datetime_ms import DatetimeMS
from pymongo.database import Database

from booking_migrate.domain.ids import client_document_id
from booking_migrate.service.http.models import BookingAnswer, Failure, ListAnswer, SessionAnswer
from booking_migrate.service.repository import Repository
from tests.support.platform import (
    Platform,
    State,
    an_old_booking,
    booking_id,
    expert,
    old_bookings,
    user,
)
from tests.support.service import DOCUMENT, SESSION, WISH, Service, serving, token

Db = Database[dict[str, Any]]
Settle = Callable[..., Platform]
ClientOf = Callable[[int], httpx.Client]


def test_booking_as_the_description_shows_it(platform: Settle, client_of: ClientOf) -> None:
    """A booking is answered with 201 and the envelope, the whole document and the new session, ids as strings."""
    platform()

    answer = client_of(7).post("/api/bookings", json=WISH)

    assert (201, "application/json") == (answer.status_code, answer.headers["content-type"])
    assert "no-store" == answer.headers["cache-control"]
    content = answer.json()
    session = content["data"]["session"]
    assert (True, "Session booked successfully") == (content["success"], content["message"])
    created = session["createdAt"]
    assert {
        "_id": str(client_document_id(user(7))),
        "clientId": str(user(7)),
        "clientUserId": "1007",
        "clientEmail": "user7@example.com",
        "sessions": [session],
        "totalSessions": 1,
        "totalSpent": 20,
        "createdAt": created,
        "updatedAt": created,
    } == content["data"]["booking"]
    assert {
        "sessionId": session["sessionId"],
        "expertId": str(expert(0)),
        "expertUserId": "1100",
        "expertEmail": "user100@example.com",
        "sessionType": "chat",
        "duration": 30,
        "scheduledDate": "2025-08-29T00:00:00.000+00:00",
        "startTime": "12:30",
        "endTime": "13:00",
        "status": "pending",
        "price": 20,
        "currency": "INR",
        "paymentStatus": "pending",
        "notes": "Service: Resume Review",
        "createdAt": created,
        "updatedAt": created,
    } == session


def test_the_life_of_a_session(platform: Settle, client_of: ClientOf, state: State) -> None:
    """A session is booked, found, confirmed by its expert and completed; what is not allowed is a conflict."""
    platform(state)
    mine, theirs = client_of(0), client_of(100)
    booked = mine.post("/api/bookings", json=WISH).json()["data"]
    path, body = f"/api/bookings/{DOCUMENT}", {"sessionId": booked["session"]["sessionId"]}

    assert DOCUMENT == booked["booking"]["_id"]
    assert 409 == client_of(1).post("/api/bookings", json=WISH).status_code
    assert 403 == mine.put(f"{path}/confirm", json=body).status_code
    assert 409 == theirs.put(f"{path}/complete", json=body).status_code
    confirmed = theirs.put(f"{path}/confirm", json=body)
    assert (200, "Session confirmed successfully") == (confirmed.status_code, confirmed.json()["message"])
    assert 200 == theirs.put(f"{path}/complete", json=body).status_code
    cancelled = mine.put(f"{path}/cancel", json={**body, "reason": "late"})
    assert (409, [{"field": "sessionId", "message": "a session that is completed cannot be cancelled"}]) == (
        cancelled.status_code,
        cancelled.json()["errors"],
    )
    shown = mine.get(f"{path}/sessions/{body['sessionId']}").json()["data"]
    assert "completed" == shown["session"]["status"]
    assert shown["booking"] == mine.get(path).json()["data"]["booking"]


def test_a_cancellation(platform: Settle, client_of: ClientOf, state: State) -> None:
    """A cancellation says by whom, when and why, in either shape."""
    platform(state)

    answer = client_of(100).put(
        f"/api/bookings/{DOCUMENT}/cancel", json={"sessionId": SESSION, "reason": "$$ROOT"}
    )

    session = answer.json()["data"]["session"]
    assert 200 == answer.status_code
    assert ("cancelled", "expert", "$$ROOT") == tuple(
        session[name] for name in ("status", "cancelledBy", "cancellationReason")
    )
    assert session["cancellationTime"] == session["updatedAt"]


def test_answers_are_as_described(platform: Settle, client_of: ClientOf, state: State) -> None:
    """Answers about real bookings have the form that the description of the API gives them."""
    platform(state)
    caller, path = client_of(0), f"/api/bookings/{DOCUMENT}"
    booked = caller.post("/api/bookings", json=WISH).json()

    SessionAnswer.model_validate(booked)
    SessionAnswer.model_validate(caller.get(f"{path}/sessions/{SESSION}").json())
    BookingAnswer.model_validate(caller.get(path).json())
    ListAnswer.model_validate(caller.get("/api/bookings").json())
    Failure.model_validate(caller.get("/api/bookings?page=0").json())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({}, [35, 30, 25, 20, 15, 10, 5, 0], id="all, the newest first"),
        pytest.param({"sort": "scheduledDate"}, [0, 5, 10, 15, 20, 25, 30, 35], id="the oldest first"),
        pytest.param({"sort": "price", "limit": 3}, [5, 20, 35], id="the cheapest"),
        pytest.param({"sort": "scheduledDate", "limit": 3, "page": 3}, [30, 35], id="the last page"),
        pytest.param({"page": 9}, [], id="behind the last page"),
        pytest.param({"status": "confirmed"}, [], id="by status"),
        pytest.param({"status": ["pending", "confirmed"], "limit": 1}, [35], id="by one of several states"),
        pytest.param({"paymentStatus": "paid"}, [30, 10], id="by payment"),
        pytest.param({"expertId": str(expert(1))}, [25, 10], id="by expert"),
        pytest.param({"sessionType": "chat"}, [30, 15, 0], id="by type"),
        pytest.param({"from": "2024-10-06", "to": "2024-10-07"}, [15, 10], id="by date"),
    ],
)
def test_lists(client_of: ClientOf, platform: Settle, query: dict[str, Any], expected: list[int]) -> None:
    """A client's sessions are filtered, sorted and cut into pages."""
    platform(State.HALF)

    content = client_of(0).get("/api/bookings", params=query).json()

    found = [one["legacyBookingId"] for one in content["data"]["sessions"]]
    assert [str(booking_id(number)) for number in expected] == found
    assert all(DOCUMENT == one["bookingId"] for one in content["data"]["sessions"])


def test_pagination(client_of: ClientOf, platform: Settle, state: State) -> None:
    """A page says which one it is, of how many; an expert's list is of its own sessions, of all clients."""
    platform(state)
    own = [number for number in range(40) if number % 3 == 1]

    data = (
        client_of(101).get("/api/bookings", params={"role": "expert", "limit": 5, "page": 3}).json()["data"]
    )

    assert {"page": 3, "limit": 5, "total": len(own), "pages": 3} == data["pagination"]
    assert [str(booking_id(number)) for number in own[:3][::-1]] == [
        one["legacyBookingId"] for one in data["sessions"]
    ]
    assert {str(expert(1))} == {one["expertId"] for one in data["sessions"]}
    assert 0 == client_of(0).get("/api/bookings?role=expert").json()["data"]["pagination"]["total"]


def test_nobody_reads_the_bookings_of_others(
    service: Service, platform: Settle, client_of: ClientOf, state: State
) -> None:
    """Without a token it is 401, as somebody else 403, for every request about a booking."""
    platform(state)
    session = f"/api/bookings/{DOCUMENT}/sessions/{SESSION}"
    requests: list[tuple[str, str, Any]] = [
        ("GET", f"/api/bookings/{DOCUMENT}", None),
        ("GET", session, None),
        *(
            ("PUT", f"/api/bookings/{DOCUMENT}/{action}", {"sessionId": SESSION})
            for action in ("confirm", "cancel", "complete")
        ),
    ]
    with service.client() as nobody:
        for method, path, body in (
            *requests,
            ("GET", "/api/bookings", None),
            ("POST", "/api/bookings", WISH),
        ):
            answer = nobody.request(method, path, json=body)
            assert (401, "Bearer") == (answer.status_code, answer.headers["WWW-Authenticate"])
    for method, path, body in requests:
        assert 403 == client_of(1).request(method, path, json=body).status_code
    # An expert with other sessions of this client sees not this one.
    assert 403 == client_of(101).get(session).status_code
    assert 200 == client_of(101).get(f"/api/bookings/{DOCUMENT}").status_code


def test_probes_and_description(inputs: Service) -> None:
    """Health, readiness and the description of the API are there without a token."""
    with inputs.client() as nobody:
        found = [nobody.get(path).status_code for path in ("/health", "/ready", "/docs", "/openapi.json")]

    assert [200] * 4 == found


def test_the_access_log_has_no_secrets(service: Service, platform: Settle) -> None:
    """Each request is one line of JSON with who, what and how long, without token, query or body."""
    platform()
    service.log.clear()
    with service.client(user(0)) as caller:
        caller.get("/api/bookings", params={"expertId": "secret-in-query"})
        caller.post("/api/bookings", json={**WISH, "notes": "secret-in-body"})
        caller.get("/api/bookings", headers={"Authorization": "Bearer secret.in.header"})

    lines = [json.loads(line) for line in service.logged(3)]
    assert [("GET", 200, str(user(0))), ("POST", 201, str(user(0))), ("GET", 401, None)] == [
        (line["method"], line["status"], line["user"]) for line in lines
    ]
    assert "secret" not in "".join(service.log)
    assert token(user(0)).split(".")[2] not in "".join(service.log)
    assert {"time", "client", "user", "method", "path", "status", "bytes", "ms"} == set(lines[0])


def test_a_migrated_and_an_unmigrated_platform_answer_alike(repository: Repository, platform: Settle) -> None:
    """To the byte the same is answered over HTTP before, half way and after."""
    found: dict[State, list[bytes]] = {}
    for state in State:
        platform(state)
        with serving(repository) as service:
            found[state] = []
            for number in (0, 1, 2, 100, 101):
                with service.client(user(number)) as caller:
                    found[state] += [
                        caller.get(f"/api/bookings?limit=100&role={role}").content
                        for role in ("client", "expert")
                    ]
                    found[state] += [
                        caller.get(f"/api/bookings/{client_document_id(user(client))}").content
                        for client in range(5)
                    ]

    assert found[State.UNMIGRATED] == found[State.HALF] == found[State.MIGRATED]


def test_old_bookings_that_odd_things_stand_in(platform: Settle, client_of: ClientOf) -> None:
    """Values that JSON has no words for are shown as near as can be, and nothing fails."""
    odd = {
        "code": bson.Code("f()"),
        "when": bson.Timestamp(1, 2),
        "far": DatetimeMS(2**60),
        "bytes": b"\x00\xff",
        "deep": {"list": [1.5, float("nan"), bson.Decimal128("1.50"), bson.Int64(2**60)]},
        "least": bson.MinKey(),
    }
    platform(State.UNMIGRATED, [an_old_booking(90, client=7, of=0, day=90, start="9:00", **odd)])

    [session] = client_of(7).get("/api/bookings").json()["data"]["sessions"]

    assert {"list": [1.5, None, "1.50", 2**60]} == session["deep"]
    assert 2**60 == session["far"]
    assert set(odd) <= set(session)
    assert 42 == len(old_bookings())
