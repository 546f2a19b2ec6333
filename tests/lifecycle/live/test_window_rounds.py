"""What one round of a reverse window counts and handles."""

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.cli.window import open_window
from booking_migrate.follow.follower import Follower
from booking_migrate.rollback.window import Window
from booking_migrate.rollback.window_parts import begin_of, follower_of
from booking_migrate.stores.connection import Connection, open_journal
from tests.lifecycle.conftest import Command
from tests.lifecycle.live.test_window import PLACES, WINDOW, interrupt_when_built
from tests.support.booking_lines import booking, client
from tests.support.server import Server

Db = Database[dict[str, Any]]

CLIENTS, OF_EACH = 40, 3


@pytest.fixture
def follower(
    server: Server, database: Db, command: Command, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Follower]:
    """Follow the changes of 40 clients, which were cut over with a reverse window."""
    database.bookings.insert_many(
        [booking(number, clientId=client(number % CLIENTS)) for number in range(CLIENTS * OF_EACH)]
    )
    database.bookings.create_index("clientId")
    with monkeypatch.context() as patched:
        patched.setattr(Window, "_is_over", interrupt_when_built)
        commands = ("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"), (*WINDOW, "--quiet")
        assert [0, 0, 0] == command.once(*commands)
    connection = Connection(server.uri, database.name)
    (run,) = (each for each in open_journal(connection).journal.runs() if each.window)
    parts = open_window(connection, run)
    begin = begin_of(run.window, parts)
    assert begin is not None
    feed = parts.feed(begin)
    yield follower_of(parts, feed, confirm=lambda: None, save=lambda _: None, on_replaced=lambda _: None)
    feed.close()
    connection.close()


def test_own_writes_are_no_changes(database: Db, follower: Follower) -> None:
    """What this program writes into the collection that it keeps ready comes back by the feed, and is not counted."""
    follower.round()
    before = follower.progress.changes
    for number in range(CLIENTS):
        of_booking = {"sessions.legacyBookingId": booking(number)["_id"]}
        database.bookings.update_one(of_booking, {"$set": {"sessions.$.notes": "changed"}})
    follower.round()
    follower.round()
    assert CLIENTS == follower.progress.changes - before


def move(database: Db, number: int) -> None:
    """Reassign the session of a booking to the next client."""
    key = booking(number)["_id"]
    one = database.bookings.find_one({"sessions.legacyBookingId": key})
    assert one is not None
    (moved,) = (each for each in one["sessions"] if each["legacyBookingId"] == key)
    database.bookings.update_one({"_id": one["_id"]}, {"$pull": {"sessions": {"legacyBookingId": key}}})
    database.bookings.update_one({"clientId": client((number + 1) % CLIENTS)}, {"$push": {"sessions": moved}})


def test_clients_whose_sessions_moved(database: Db, follower: Follower) -> None:
    """Sessions that moved relate every client to every other one; a change of one of them is still about a few."""
    for number in range(CLIENTS):
        move(database, number)
    assert CLIENTS == follower.round().clients
    key = booking(2 * CLIENTS + 7)["_id"]
    of_booking = {"sessions.legacyBookingId": key}
    database.bookings.update_one(of_booking, {"$set": {"sessions.$.notes": "changed"}})
    assert 5 > follower.round().clients
