"""The id of an old booking leads to its session, for those who may see it, over real HTTP in each state of the migration."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from bson.binary import Binary
from bson.int64 import Int64
from pymongo.database import Database

from booking_migrate.domain.ids import session_id
from booking_migrate.service.http.models import MovedAnswer
from tests.support.platform import Platform, State, an_old_booking, booking_id, user
from tests.support.service import DOCUMENT, SESSION, Service

Db = Database[dict[str, Any]]
Settle = Callable[..., Platform]
ClientOf = Callable[[int], httpx.Client]

OLD = str(booking_id(0))
"""The `_id` of a booking of user 0 with expert 0."""

ADDRESS = f"/api/bookings/{DOCUMENT}/sessions/{SESSION}"


def test_an_old_id_leads_to_its_session(platform: Settle, client_of: ClientOf, state: State) -> None:
    """The answer is 308 with the session's address, in whichever shape the booking is stored, and following it shows the session."""
    platform(state)
    for number in (0, 100):
        answer = client_of(number).get(f"/api/bookings/{OLD}")

        assert (308, ADDRESS) == (answer.status_code, answer.headers["Location"])
        assert "no-store" == answer.headers["cache-control"]
        MovedAnswer.model_validate(answer.json())
        assert {"bookingId": DOCUMENT, "sessionId": SESSION} == answer.json()["data"]
        shown = client_of(number).get(f"/api/bookings/{OLD}", follow_redirects=True)
        assert (200, OLD) == (shown.status_code, shown.json()["data"]["session"]["legacyBookingId"])


def test_an_address_is_not_for_others(
    service: Service, platform: Settle, client_of: ClientOf, state: State
) -> None:
    """Who may not see the session gets what the session's own address answers: 403, or 401 without a token, and no address."""
    platform(state)
    with service.client() as nobody:
        answers = [
            *(client_of(number).get(f"/api/bookings/{OLD}") for number in (1, 101)),
            nobody.get(f"/api/bookings/{OLD}"),
        ]

        # Expert 1 has other sessions of this client.
        assert [403, 403, 401] == [answer.status_code for answer in answers]
        assert [answer.status_code for answer in answers] == [
            *(client_of(number).get(ADDRESS).status_code for number in (1, 101)),
            nobody.get(ADDRESS).status_code,
        ]
    for answer in answers:
        assert "Location" not in answer.headers
        assert not {DOCUMENT, SESSION} & set(answer.text.split('"'))


@pytest.mark.parametrize(
    "old_id",
    [
        pytest.param(str(booking_id(999)), id="of no booking"),
        pytest.param(str(booking_id(40)), id="of a booking that cannot be migrated"),
        pytest.param("of no kind", id="any text"),
    ],
)
def test_an_id_that_no_session_has(platform: Settle, client_of: ClientOf, state: State, old_id: str) -> None:
    """An id of no session that is shown is unknown, to clients and experts."""
    platform(state)
    for number in (0, 100):
        answer = client_of(number).get(f"/api/bookings/{old_id}")

        assert (404, "no such booking") == (answer.status_code, answer.json()["error"])


@pytest.mark.parametrize(
    ("old_id", "text"),
    [
        pytest.param("booking-7", "booking-7", id="a text"),
        pytest.param(Int64(4711), "4711", id="a number"),
        pytest.param(Binary.from_uuid(UUID(int=5)), "00000000-0000-0000-0000-000000000005", id="a UUID"),
    ],
)
def test_ids_of_other_types(
    platform: Settle, client_of: ClientOf, state: State, old_id: Any, text: str
) -> None:
    """An old id that is no ObjectId is found by its text."""
    booking = an_old_booking(70, client=3, of=1, day=60, start="9:00", _id=old_id)
    platform(state, [booking])

    answer = client_of(3).get(f"/api/bookings/{text}")

    assert 308 == answer.status_code
    assert str(session_id(old_id, int(booking["createdAt"]))) == answer.json()["data"]["sessionId"]


def test_a_number_and_its_text(platform: Settle, client_of: ClientOf, state: State) -> None:
    """Of two bookings whose ids have one text, the number is meant, also for a caller who may see only the other one."""
    platform(
        state,
        [
            an_old_booking(70, client=3, of=1, day=60, start="9:00", _id="12"),
            an_old_booking(71, client=4, of=1, day=61, start="9:00", _id=12),
        ],
    )

    assert [403, 308] == [client_of(number).get("/api/bookings/12").status_code for number in (3, 4)]


def test_without_legacy_ids(database: Db, platform: Settle, client_of: ClientOf) -> None:
    """When the sessions have lost their `legacyBookingId`, the old id is unknown."""
    platform(State.MIGRATED)
    database.bookings.update_many(
        {"sessions": {"$exists": True}}, {"$unset": {"sessions.$[].legacyBookingId": ""}}
    )

    assert 404 == client_of(0).get(f"/api/bookings/{OLD}").status_code
    assert str(user(0)) == client_of(0).get(f"/api/bookings/{DOCUMENT}").json()["data"]["booking"]["clientId"]
