"""The whole story: a platform is served, migrated while bookings keep coming in, and rolled back, and nobody notices."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.ids import client_document_id, session_id
from tests.service.conftest import Db
from tests.support.forked import prepare_forking, ran
from tests.support.platform import (
    Platform,
    State,
    a_user,
    an_old_booking,
    booking_id,
    expert,
    old_bookings,
    user,
)
from tests.support.server import Server, environment_of
from tests.support.service import Service

ROOT = Path(__file__).parents[2]
CLIENTS = range(5)
"""Who has old bookings only and books nothing more."""

BOOKERS = (5, 6, 7)
"""Who keeps booking; one of them has old bookings too."""

CROWD = range(200, 260)
"""Clients with so many old bookings, which experts confirm meanwhile."""

OF_EACH = 10
FIRST_OF_CROWD = 1000
_SECONDS = 120

prepare_forking()


@dataclass(frozen=True)
class Way:
    """One way to migrate the platform, and back."""

    name: str
    alone: Sequence[Sequence[str]]
    """The commands for which nobody writes meanwhile."""

    beside: Sequence[Sequence[str]]
    """The commands that work beside those who book."""

    back: Sequence[str]


BY_CUTOVER = Way(
    "by cut-over",
    alone=(("migrate", "--target", "clients"), ("verify", "--target", "clients")),
    beside=(("cutover", "--target", "clients", "--rejected", "carry", "--max-outage", "30s", "--yes"),),
    back=("rollback", "--target", "clients", "--yes"),
)


IN_PLACE = Way(
    "in place",
    alone=(),
    beside=(("migrate", "--in-place"), ("verify", "--in-place")),
    back=("rollback", "--target", "bookings", "--yes"),
)


@dataclass
class Booker:
    """Somebody who books one slot after the other, and remembers what was acknowledged."""

    client: httpx.Client
    number: int
    acknowledged: list[str] = field(default_factory=list)
    problems: Counter[int] = field(default_factory=Counter)
    slots: Iterator[int] = field(default_factory=count)

    def book(self) -> None:
        """Book the next slot of this booker's own expert."""
        slot = next(self.slots)
        wish = {
            "expertId": str(expert(self.number % 3)),
            "sessionType": "chat",
            "duration": 15,
            "scheduledDate": f"2030-01-{1 + slot // 96 % 28:02}",
            "startTime": f"{slot // 4 % 24}:{slot % 4 * 15:02}",
        }
        answer = self.client.post("/api/bookings", json=wish)
        if answer.status_code == 201:
            self.acknowledged.append(answer.json()["data"]["session"]["sessionId"])
        else:
            self.problems[answer.status_code] += 1


@dataclass
class Confirmer:
    """Experts who confirm the crowd's old bookings, one after the other, whatever shape they are in just then."""

    clients: Sequence[httpx.Client]
    confirmed: list[int] = field(default_factory=list)
    problems: Counter[int] = field(default_factory=Counter)
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(len(CROWD) * OF_EACH)))

    def confirm(self) -> None:
        """Confirm the next one, if there is one left."""
        number = next(self.numbers, None)
        if number is None:
            time.sleep(0.01)
            return
        answer = self.clients[number % 3].put(
            f"/api/bookings/{client_document_id(user(CROWD[number // OF_EACH]))}/confirm",
            json={"sessionId": str(session_id(booking_id(FIRST_OF_CROWD + number), 0))},
        )
        if answer.status_code == 200:
            self.confirmed.append(number)
        else:
            self.problems[answer.status_code] += 1

    def check(self, database: Database[Any]) -> None:
        """What was acknowledged is confirmed, and nothing else is."""
        new = database.bookings.aggregate(
            [
                {"$match": {"clientId": {"$gte": user(CROWD[0])}}},
                {"$unwind": "$sessions"},
                {"$match": {"sessions.status": "confirmed"}},
                {"$project": {"_id": "$sessions.legacyBookingId"}},
            ]
        )
        old = database.bookings.find({"_id": {"$gte": booking_id(FIRST_OF_CROWD)}, "status": "confirmed"})

        assert sorted(booking_id(FIRST_OF_CROWD + number) for number in self.confirmed) == sorted(
            one["_id"] for found in (new, old) for one in found
        )
        assert self.confirmed
        assert set(self.problems) <= {503}


@contextmanager
def at_work(*works: Callable[[], None]) -> Iterator[None]:
    """Do some works again and again, each in a thread of its own, for as long as the context lasts."""
    over = threading.Event()
    failures: list[BaseException] = []

    def repeat(work: Callable[[], None]) -> None:
        try:
            while not over.is_set():
                work()
        except BaseException as failure:  # noqa: BLE001 - told in the test's own thread
            failures.append(failure)

    threads = [threading.Thread(target=repeat, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(_SECONDS)
    assert [] == failures


def run(server: Server, database: Db, *arguments: str) -> None:
    """Run a command of the program as a process, to its good end."""
    done = ran((*arguments, "--quiet"), environment_of(server.uri, database.name), folder=ROOT)
    # 3: two of the bookings are wrong, and a rollback keeps what was booked since.
    assert done.returncode in (0, 3), f"{arguments}: {done.stderr}"


def answers(service: Service) -> dict[int, list[bytes]]:
    """What those who book nothing are answered, byte for byte."""
    found = {}
    for number in CLIENTS:
        with service.client(user(number)) as caller:
            paths = [
                "/api/bookings?limit=100",
                "/api/bookings?status=cancelled&sort=price",
                f"/api/bookings/{client_document_id(user(number))}",
            ]
            found[number] = [caller.get(path).content for path in paths]
    return found


def cancel_some(service: Service) -> None:
    """Half of the pending old bookings are cancelled by their clients."""
    pending = [one for one in old_bookings()[:40] if one.get("status", "pending") == "pending"]
    for one in pending[::2]:
        with service.client(one["clientId"]) as caller:
            answer = caller.put(
                f"/api/bookings/{client_document_id(one['clientId'])}/cancel",
                json={"sessionId": str(session_id(one["_id"], 0)), "reason": "the story wants it"},
            )
        assert 200 == answer.status_code


def old_ones(database: Database[Any]) -> dict[Any, bytes]:
    """The old bookings, as bytes by their `_id`."""
    raw = database.get_collection("bookings", CODEC.with_options(document_class=RawBSONDocument))
    return {one["_id"]: one.raw for one in raw.find({"sessions": {"$exists": False}})}


def settle(server: Server, database: Db) -> None:
    """The platform, with a crowd of clients who make the migration take a while."""
    crowd = [
        an_old_booking(FIRST_OF_CROWD + number, client=client, of=number % 3, day=100 + number, start="9:00")
        for number, client in enumerate(client for client in CROWD for _ in range(OF_EACH))
    ]
    own = an_old_booking(900, client=BOOKERS[0], of=0, day=99, start="9:00")
    Platform.settle(server, database, State.UNMIGRATED, [*crowd, own])
    database.users.insert_many(map(a_user, CROWD))


@pytest.mark.parametrize("way", [pytest.param(way, id=way.name) for way in (BY_CUTOVER, IN_PLACE)])
def test_the_whole_story(server: Server, database: Db, service: Service, way: Way) -> None:
    """Old bookings are read and cancelled, migrated while bookings come in, and rolled back; answers stay the same."""
    settle(server, database)
    cancel_some(service)
    before, originals = answers(service), old_ones(database)

    def look() -> None:
        assert before == answers(service)

    with ExitStack() as opened:
        bookers = [Booker(opened.enter_context(service.client(user(number))), number) for number in BOOKERS]
        experts = [opened.enter_context(service.client(user(100 + number))) for number in range(3)]
        confirmer = Confirmer(experts)
        for command in way.alone:
            run(server, database, *command)
        with at_work(*(booker.book for booker in bookers), confirmer.confirm, look):
            for command in way.beside:
                run(server, database, *command)
        check_bookers(bookers)
        confirmer.check(database)
        assert {booking_id(40), booking_id(41)} == set(old_ones(database))
        assert before == answers(service)

        with at_work(*(booker.book for booker in bookers), confirmer.confirm, look):
            run(server, database, *way.back)
        check_bookers(bookers)
        confirmer.check(database)
        changed = {booking_id(FIRST_OF_CROWD + number) for number in confirmer.confirmed}
        restored = old_ones(database)
        assert originals.keys() == restored.keys()
        assert changed == {key for key, raw in originals.items() if restored[key] != raw}
        assert before == answers(service)


def check_bookers(bookers: Sequence[Booker]) -> None:
    """What was acknowledged is there, once each, and in the totals; nothing else was refused than for a while."""
    for booker in bookers:
        listed: list[str] = []
        page, pages = 0, 1
        while page < pages:
            page += 1
            data = booker.client.get(f"/api/bookings?from=2030-01-01&limit=100&page={page}").json()["data"]
            pages = data["pagination"]["pages"]
            listed += [one["sessionId"] for one in data["sessions"]]
        booking = booker.client.get(f"/api/bookings/{client_document_id(user(booker.number))}").json()
        document = booking["data"]["booking"]
        own = 1 if booker.number == BOOKERS[0] else 0

        assert sorted(booker.acknowledged) == sorted(listed)
        assert len(listed) + own == document["totalSessions"]
        assert 20 * (len(listed) + own) == document["totalSpent"]
        assert set(booker.problems) <= {503}
        assert booker.acknowledged
