"""Requests that come at once do not get in each other's way, and never both get what only one can have."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from pymongo.database import Database

from booking_migrate.domain.ids import client_document_id, session_id
from booking_migrate.service.plan import Limits
from booking_migrate.service.repository import Repository
from tests.support.platform import Platform, State, a_user, booking_id, expert, old_bookings, user
from tests.support.server import Server
from tests.support.service import Service, serving, token

Db = Database[dict[str, Any]]
Settle = Callable[..., Platform]

REQUESTS = 200
AT_ONCE = 50


def book(service: Service, client: int, **changes: Any) -> httpx.Request:
    wish = {
        "expertId": str(expert(0)),
        "sessionType": "chat",
        "duration": 30,
        "scheduledDate": "2025-08-29",
        "startTime": "12:30",
    }
    headers = {"Authorization": f"Bearer {token(user(client))}"}
    return httpx.Request("POST", f"{service.url}/api/bookings", headers=headers, json={**wish, **changes})


def confirm(service: Service, number: int, client: int, of: int) -> httpx.Request:
    url = f"{service.url}/api/bookings/{client_document_id(user(client))}/confirm"
    headers = {"Authorization": f"Bearer {token(user(100 + of))}"}
    return httpx.Request(
        "PUT", url, headers=headers, json={"sessionId": str(session_id(booking_id(number), 0))}
    )


def send(requests: list[httpx.Request]) -> list[httpx.Response]:
    """Send all requests, as many at once as there are threads."""
    limits = httpx.Limits(max_connections=AT_ONCE)
    with httpx.Client(timeout=60, limits=limits) as client, ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(client.send, requests))


def test_one_slot(database: Db, service: Service, platform: Settle) -> None:
    """Of hundreds of clients who want one slot at once, exactly one gets it, the others are told that it is taken."""
    platform()
    database.users.insert_many([a_user(1000 + number) for number in range(REQUESTS)])

    answers = send([book(service, 1000 + number) for number in range(REQUESTS)])

    assert {201: 1, 409: REQUESTS - 1} == Counter(answer.status_code for answer in answers)
    assert 1 == database.bookings.count_documents({"sessions": {"$exists": True}})


def test_one_client_and_many_experts(service: Service, platform: Settle) -> None:
    """A client who books several experts for one time at once gets one of them."""
    platform()

    answers = send([book(service, 7, expertId=str(expert(number % 3))) for number in range(30)])

    assert {201: 1, 409: 29} == Counter(answer.status_code for answer in answers)


def test_first_bookings_of_one_client(database: Db, service: Service, platform: Settle) -> None:
    """A new client who books many slots at once gets them all, in one document with the right totals."""
    platform()

    answers = send(
        [
            book(
                service, 7, expertId=str(expert(number % 3)), startTime=f"{number // 2}:{number % 2 * 30:02}"
            )
            for number in range(24)
        ]
    )

    assert {201: 24} == Counter(answer.status_code for answer in answers)
    [document] = database.bookings.find({"clientId": user(7)})
    assert (24, 24, 480) == (len(document["sessions"]), document["totalSessions"], document["totalSpent"])


def test_several_services_and_one_slot(
    database: Db, service: Service, repository: Repository, platform: Settle
) -> None:
    """That only one gets a slot holds across processes: nothing of it is kept in a service's memory."""
    platform()
    database.users.insert_many([a_user(1000 + number) for number in range(60)])

    with serving(repository) as another:
        answers = send([book((service, another)[number % 2], 1000 + number) for number in range(60)])

    assert {201: 1, 409: 59} == Counter(answer.status_code for answer in answers)


def test_updates_of_one_document(database: Db, service: Service, platform: Settle) -> None:
    """Many sessions of one document, changed and added at once: nothing is lost, and each is changed once."""
    platform(State.MIGRATED)
    pending = [
        number
        for number, one in enumerate(old_bookings()[:40])
        if one["clientId"] == user(0) and one.get("status", "pending") == "pending"
    ]

    answers = send(
        [
            *(confirm(service, number, 0, number % 3) for number in pending for _ in range(3)),
            *(book(service, 0, startTime=f"{hour}:00") for hour in range(10)),
        ]
    )

    assert {200: len(pending), 201: 10, 409: 2 * len(pending)} == Counter(one.status_code for one in answers)
    [document] = database.bookings.find({"clientId": user(0), "sessions": {"$exists": True}})
    confirmed = [one["legacyBookingId"] for one in document["sessions"] if one["status"] == "confirmed"]
    assert [booking_id(number) for number in pending] == confirmed
    assert 18 == document["totalSessions"] == len(document["sessions"])


def test_more_than_can_wait(repository: Repository, platform: Settle) -> None:
    """Who comes when all places are taken is sent away with 503 and told to come again; the others are served."""
    platform()

    with serving(repository, limits=Limits(concurrent=1, waiting=2)) as service:
        answers = send([book(service, 7, startTime=f"{number % 24}:00") for number in range(48)])
        counts = Counter(answer.status_code for answer in answers)
        with service.client() as nobody:
            assert 200 == nobody.get("/health").status_code

    assert {201, 409, 503} >= set(counts)
    assert 0 < counts[503] < 48
    assert all("1" == answer.headers["Retry-After"] for answer in answers if answer.status_code == 503)


def test_an_election(server: Server, database: Db, service: Service, platform: Settle) -> None:
    """Bookings that are made while the primary steps down are booked once or refused with 503, and then booked."""
    platform()
    slots = [(5 + number % 3, f"{number // 2}:{number % 2 * 30:02}", number % 3) for number in range(48)]

    def insist(slot: tuple[int, str, int]) -> Counter[int]:
        client, start, of = slot
        counts: Counter[int] = Counter()
        with httpx.Client(timeout=60) as caller:
            for _ in range(60):
                answer = caller.send(book(service, client, expertId=str(expert(of)), startTime=start))
                counts[answer.status_code] += 1
                if answer.status_code != 503:
                    break
                time.sleep(int(answer.headers["Retry-After"]))
        return counts

    with ThreadPoolExecutor(8) as threads:
        first = list(threads.map(insist, slots[:8]))
        coming = [threads.submit(insist, slot) for slot in slots[8:]]
        server.client().admin.command({"replSetStepDown": 1, "secondaryCatchUpPeriodSecs": 0, "force": True})
        counts = sum([*first, *(one.result() for one in coming)], Counter[int]())

    # A commit whose answer was lost may have been done: asked again, its slot is taken, by itself.
    assert {201, 409, 503} >= set(counts)
    assert 48 == counts[201] + counts[409]
    assert 8 <= counts[201]
    for client in (5, 6, 7):
        [document] = database.bookings.find({"clientId": user(client)})
        assert 16 == len({one["startTime"] for one in document["sessions"]}) == document["totalSessions"]
