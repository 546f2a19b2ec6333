"""A rollback recognises clients that nothing has happened to; it does for them what it would do session by session."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.fastpath.flat import BuiltClients
from booking_migrate.in_place import restored_group
from booking_migrate.in_place.noted import NotedClients
from tests.lifecycle.conftest import Ended, comparable, contents
from tests.support.booking_lines import booking, client
from tests.support.bookings import ABSENT

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--in-place", "--batch-size", "20", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "bookings", "--yes", "--json", "--quiet")
CLIENTS = 12


class _NothingIsFlat:
    """Declines every client."""

    def build(self, _raw: bytes, offsets: list[int]) -> BuiltClients:
        """Decline all documents."""
        return BuiltClients([], list(range(len(offsets) - 1)), None)


def changed(bookings: Any, chance: random.Random) -> None:
    """What an application and its operators do to some clients."""

    def some() -> dict[str, Any]:
        return {"clientId": client(chance.randrange(CLIENTS)), "sessions": {"$exists": True}}

    def double() -> None:
        first = bookings.find_one(some()) or {}
        bookings.update_one(some(), {"$push": {"sessions": {"$each": first.get("sessions", [])[:1]}}})

    def store_again() -> None:
        number = chance.randrange(60)
        bookings.insert_one(booking(number, clientId=client(number % CLIENTS), notes="again"))

    later = {"sessionId": ObjectId(b"x" * 12), "price": 1}
    acts: list[Callable[[], Any]] = [
        lambda: bookings.update_one(some(), {"$set": {"sessions.0.notes": "changed"}}),
        lambda: bookings.update_one(some(), {"$pop": {"sessions": 1}, "$inc": {"totalSessions": -1}}),
        lambda: bookings.update_one(some(), {"$push": {"sessions": later}}),
        lambda: bookings.delete_one(some()),
        lambda: bookings.update_one(some(), {"$set": {"clientEmail": "other@example.com"}}),
        lambda: bookings.update_one(some(), {"$set": {"vip": True}}),
        store_again,
        double,
    ]
    for act in chance.sample(acts, 4):
        act()


@pytest.mark.parametrize("seed", range(6))
def test_the_same_as_session_by_session(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Collections and report of a rollback do not depend on whether unchanged clients are recognised."""
    database.bookings.insert_many(
        [
            *(booking(number, clientId=client(number % CLIENTS)) for number in range(60)),
            *(booking(100 + number, clientId=client(number), createdAt=ABSENT) for number in range(2)),
            booking(200, clientId=client(3), clientEmail="third@example.com"),
        ]
    )
    assert 0 == command(*MIGRATE).returncode
    changed(database.bookings, random.Random(seed))
    before = {name: list(database[name].find()) for name in database.list_collection_names()}
    quick = command(*ROLLBACK)
    expected = contents(database)
    for name in {*database.list_collection_names(), *before}:
        database[name].delete_many({})
        if before.get(name):
            database[name].insert_many(before[name])
    monkeypatch.setattr(restored_group, "_FLAT", _NothingIsFlat())
    monkeypatch.setattr(NotedClients, "is_unchanged", lambda *_arguments: False)
    slow = command(*ROLLBACK)

    assert quick.returncode == slow.returncode, slow.stderr
    assert slow.returncode in (0, 3)
    assert expected == contents(database)
    assert _undone(quick) == _undone(slow)


def _undone(ended: Ended) -> dict[str, Any]:
    """A rollback's report without the index, which the data was restored without."""
    report = comparable(ended.stdout)
    return {**report, "undone": {**report["undone"], "index_removed": None}}
