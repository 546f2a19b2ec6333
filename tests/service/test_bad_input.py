"""Requests that are not as they should be are refused with the field named, never with 500, and change nothing."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pymongo.database import Database

from tests.support.platform import (
    Platform,
    user,
)
from tests.support.service import DOCUMENT, SESSION, WISH, Service, token

Db = Database[dict[str, Any]]
Settle = Callable[..., Platform]
ClientOf = Callable[[int], httpx.Client]


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(token(user(0), key="another secret, of more than 32 bytes too"), id="another key"),
        pytest.param(token(user(0), exp=1), id="expired"),
        pytest.param(token(user(0), nbf=2**33, exp=2**34), id="not yet valid"),
        pytest.param(token(user(0), exp=None), id="null for an expiry"),
        pytest.param(token(""), id="nobody"),
        pytest.param(token("x" * 129), id="too long an id"),
        pytest.param(token("a\nb"), id="an id of two lines"),
        pytest.param(token(user(0), aud="somebody else"), id="for another audience"),
        pytest.param(token(user(0), algorithm="HS512"), id="another algorithm"),
        pytest.param(token(user(0)).rpartition(".")[0] + ".", id="no signature"),
        pytest.param("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIiwiZXhwIjo5OTk5OTk5OTk5fQ.", id="algorithm none"),
        pytest.param("not.a.token", id="no token"),
    ],
)
def test_tokens_that_are_not_valid(inputs: Service, credentials: str) -> None:
    """Whatever is no valid token of this service's key is 401."""
    with inputs.client() as nobody:
        answer = nobody.get("/api/bookings", headers={"Authorization": f"Bearer {credentials}"})

    assert (401, False) == (answer.status_code, answer.json()["success"])


BAD_BODIES = [
    pytest.param({"expertId": {"$gt": ""}}, "expertId", id="an operator"),
    pytest.param({"expertId": ["x"]}, "expertId", id="an array for an id"),
    pytest.param({"expertId": ""}, "expertId", id="an empty id"),
    pytest.param({"expertId": "x" * 129}, "expertId", id="an id too long"),
    pytest.param({"expertId": "65f0b000000000000000000g"}, "expertId", id="an id of other digits"),
    pytest.param({"expertId": "a\u0000b"}, "expertId", id="an id with a NUL"),
    pytest.param({"expertId": None}, "expertId", id="null"),
    pytest.param({"scheduledDate": "2025-02-30"}, "scheduledDate", id="a day that is none"),
    pytest.param({"scheduledDate": "2025-2-3"}, "scheduledDate", id="a date written short"),
    pytest.param({"scheduledDate": "2025-08-29T10:00:00Z"}, "scheduledDate", id="a date with a time"),
    pytest.param({"scheduledDate": 1_756_425_600}, "scheduledDate", id="a number for a date"),
    pytest.param({"scheduledDate": "٢٠٢٥-٠٨-٢٩"}, "scheduledDate", id="digits of another script"),
    pytest.param({"startTime": "24:00"}, "startTime", id="24:00"),
    pytest.param({"startTime": "12:60"}, "startTime", id="12:60"),
    pytest.param({"startTime": "12:30\n"}, "startTime", id="a line's end behind a time"),
    pytest.param({"startTime": "0x9:30"}, "startTime", id="no time at all"),
    pytest.param({"duration": -30}, "duration", id="negative"),
    pytest.param({"duration": 0}, "duration", id="nothing"),
    pytest.param({"duration": 30.5}, "duration", id="half a minute"),
    pytest.param({"duration": "30"}, "duration", id="a text for a number"),
    pytest.param({"duration": True}, "duration", id="true for a number"),
    pytest.param({"duration": 10**30}, "duration", id="a huge number"),
    pytest.param({"duration": 14}, "duration", id="shorter than the contract allows"),
    pytest.param({"sessionType": "telepathy"}, "sessionType", id="an unknown type"),
    pytest.param({"sessionType": "x" * 51}, "sessionType", id="a type too long"),
    pytest.param({"notes": "x" * 1001}, "notes", id="notes too long"),
    pytest.param({"notes": {"$set": 1}}, "notes", id="an operator in notes"),
    pytest.param({"price": 0}, "price", id="an unknown field"),
    pytest.param({"$where": "1"}, "$where", id="an operator as a field"),
    pytest.param({"startTime": ...}, "startTime", id="a field is missing"),
]


@pytest.mark.parametrize(("change", "field"), BAD_BODIES)
def test_bad_bookings(inputs: Service, change: dict[str, Any], field: str) -> None:
    """What is no sound booking is refused with the field named, and nothing is written."""
    body = {name: value for name, value in {**WISH, **change}.items() if value is not ...}
    with inputs.client(user(7)) as caller:
        answer = caller.post("/api/bookings", json=body)
        total = caller.get("/api/bookings").json()["data"]["pagination"]["total"]

    assert answer.status_code in (404, 422)
    assert field in [problem["field"] for problem in answer.json()["errors"]]
    assert 0 == total


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        pytest.param(b"{", {}, 400, id="broken JSON"),
        pytest.param(b"", {}, 422, id="no body"),
        pytest.param(b"[]", {}, 422, id="an array"),
        pytest.param(b"null", {}, 422, id="null"),
        pytest.param(b"\xff\xfe", {}, 400, id="no UTF-8"),
        pytest.param(b"[" * 30_000, {}, 400, id="nested deep"),
        pytest.param(b'{"duration": ' + b"9" * 5000 + b"}", {}, 400, id="a number of 5000 digits"),
        pytest.param(json.dumps({**WISH, "notes": "\ud800"}).encode(), {}, 422, id="half a character"),
        pytest.param(b'{"duration": NaN}', {}, 422, id="not a number"),
        pytest.param(b" " * 65_537, {}, 413, id="huge"),
        pytest.param(json.dumps(WISH).encode(), {"Content-Type": "text/plain"}, 415, id="text"),
        pytest.param(b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, id="a form"),
        pytest.param(json.dumps(WISH).encode(), {"Content-Type": ""}, 415, id="no type"),
    ],
)
def test_bad_bodies(inputs: Service, content: bytes, headers: dict[str, str], status: int) -> None:
    """What is no JSON object of the right type and size is refused, in the envelope."""
    with inputs.client(user(7)) as caller:
        answer = caller.post(
            "/api/bookings", content=content, headers={"Content-Type": "application/json", **headers}
        )

    assert (status, False) == (answer.status_code, answer.json()["success"])


def test_a_huge_body_in_chunks(inputs: Service) -> None:
    """A body that does not say how large it is is not read beyond the limit."""
    with inputs.client(user(7)) as caller:
        answer = caller.post(
            "/api/bookings",
            content=(b" " * 1000 for _ in range(100)),
            headers={"Content-Type": "application/json"},
        )

    assert 413 == answer.status_code


@pytest.mark.parametrize(
    ("query", "field"),
    [
        pytest.param("status=sleeping", "status", id="an unknown state"),
        pytest.param("status[$ne]=pending", "status[$ne]", id="an operator"),
        pytest.param("paymentStatus=gold", "paymentStatus", id="an unknown payment"),
        pytest.param("page=0", "page", id="page 0"),
        pytest.param("page=99999999999999999999", "page", id="a huge page"),
        pytest.param("limit=101", "limit", id="too many"),
        pytest.param("limit=ten", "limit", id="no number"),
        pytest.param("from=2025-02-30", "from", id="a day that is none"),
        pytest.param("from=2025-02-02&to=2025-02-01", "from", id="a range that ends before it begins"),
        pytest.param("sort=$where", "sort", id="an unknown order"),
        pytest.param("role=admin", "role", id="an unknown role"),
        pytest.param("unknown=1", "unknown", id="an unknown parameter"),
        pytest.param("expertId=", "expertId", id="an empty id"),
    ],
)
def test_bad_lists(inputs: Service, query: str, field: str) -> None:
    """A parameter that cannot be is refused and named."""
    with inputs.client(user(0)) as caller:
        answer = caller.get(f"/api/bookings?{query}")

    assert 422 == answer.status_code
    assert field in [problem["field"].split(".")[0] for problem in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        pytest.param(
            DOCUMENT, {"sessionId": SESSION, "reason": "\ud800"}, 422, "reason", id="half a character"
        ),
        pytest.param(DOCUMENT, {}, 422, "sessionId", id="no session"),
        pytest.param(DOCUMENT, {"sessionId": "x"}, 422, "sessionId", id="no id"),
        pytest.param(DOCUMENT, {"sessionId": {"$ne": None}}, 422, "sessionId", id="an operator"),
        pytest.param(DOCUMENT, {"sessionId": "0" * 24}, 404, "sessionId", id="an unknown session"),
        pytest.param("nothing", {"sessionId": SESSION}, 404, "bookingId", id="no id of a booking"),
        pytest.param("0" * 24, {"sessionId": SESSION}, 404, "bookingId", id="an unknown booking"),
        pytest.param("x" * 129, {"sessionId": SESSION}, 422, "bookingId", id="an id too long"),
        pytest.param("%00", {"sessionId": SESSION}, 404, "bookingId", id="a NUL"),
        pytest.param(
            DOCUMENT, {"sessionId": SESSION, "reason": "x" * 501}, 422, "reason", id="a long reason"
        ),
        pytest.param(
            DOCUMENT, {"sessionId": SESSION, "reason": "🎉" * 251}, 422, "reason", id="long in UTF-16"
        ),
        pytest.param(
            DOCUMENT, {"sessionId": SESSION, "status": "paid"}, 422, "status", id="an unknown field"
        ),
    ],
)
def test_bad_cancellations(inputs: Service, path: str, body: Any, status: int, field: str) -> None:
    """A cancellation of what is not there, or with what cannot be, is refused with the field named."""
    with inputs.client(user(0)) as caller:
        answer = caller.put(
            f"/api/bookings/{path}/cancel",
            # In ASCII, which can spell what is no character.
            content=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )

    assert (status, [field]) == (answer.status_code, [one["field"] for one in answer.json()["errors"]])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("DELETE", "/api/bookings", 405),
        ("GET", f"/api/bookings/{DOCUMENT}/sessions/x", 422),
        ("GET", f"/api/bookings/{DOCUMENT}/sessions/{'0' * 24}", 404),
        ("GET", "/api/bookings/", 404),
    ],
)
def test_other_paths(inputs: Service, method: str, path: str, status: int) -> None:
    """Paths and methods that there are not are answered in the envelope, too."""
    with inputs.client(user(0)) as caller:
        answer = caller.request(method, path)

    assert (status, False) == (answer.status_code, answer.json()["success"])
