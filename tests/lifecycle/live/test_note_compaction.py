"""The journal of a result that is followed does not grow with how often its documents are written."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.follow.follower import Follower, Round
from booking_migrate.runs import finished
from booking_migrate.stores.mongo.journal import MongoJournal
from tests.lifecycle.conftest import Command, Ended
from tests.lifecycle.live.test_finalize import go_live
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")
THEIRS = {"_id": 1, "clientId": client(2), "sessions": [], "by": "the application"}
CLIENTS, ROUNDS = 4, 20
LARGE = 300_000


@pytest.fixture
def follow(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Ended]:
    """A function that follows while the application changes a booking of each client again and again."""
    database.bookings.insert_many(map(booking, range(12)))
    database.clients.insert_one(dict(THEIRS))
    monkeypatch.setattr(finished, "_AT_LEAST", 0)
    assert 0 == command("migrate", *PLACES, "--quiet").returncode
    whole = Follower.round

    def run() -> Ended:
        rounds = iter(range(ROUNDS))

        def changed(follower: Follower, seconds: float = 0.0) -> Round:
            number = next(rounds, None)
            if number is None:
                raise KeyboardInterrupt
            for client_number in range(CLIENTS):
                key = booking(client_number)["_id"]
                database.bookings.update_one({"_id": key}, {"$set": {"notes": f"{number}"}})
            if number == ROUNDS // 2:
                database.bookings.delete_many({"clientId": client(3)})
            return whole(follower, seconds)

        with monkeypatch.context() as patch:
            patch.setattr(Follower, "round", changed)
            return command("migrate", *PLACES, "--follow", "--quiet")

    return run


def test_repeated_images_are_dropped(
    database: Db, command: Run, follow: Callable[[], Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where documents of an earlier run are followed, their images count: few large ones are dropped like many notes."""
    monkeypatch.setattr(finished, "_AT_LEAST", 20_000)
    database.bookings.update_many({}, {"$set": {"theirs": "a" * LARGE}})
    assert 0 == command("migrate", *PLACES, "--quiet").returncode
    # Another run, which finds documents of the one before.
    database.bookings.update_many({}, {"$set": {"price": 1}})

    followed = follow()

    assert 0 == followed.returncode, followed.stderr
    size = sum(len(each["bytes"]) for each in database.booking_migrate_before.find())
    # Without that it would be one for each client and round.
    assert size < CLIENTS * ROUNDS * LARGE
    assert 0 == command("verify", *PLACES, "--quiet").returncode
    check_undone(database, command)


def noted(database: Db) -> int:
    """How many notes of documents the journal has."""
    ranges = database.booking_migrate_ranges.find({"kind": "documents"})
    return sum(len(each["documents"]) for each in ranges)


def check_undone(database: Db, command: Run) -> None:
    """Roll back, and assert that the target and the journal are as before."""
    undone = command("rollback", "--target", "clients", "--yes", "--quiet")

    assert 0 == undone.returncode, undone.stderr
    assert [THEIRS] == list(database.clients.find())
    assert 0 == database.booking_migrate_ranges.count_documents({})
    assert 0 == database.booking_migrate_before.count_documents({})


def test_old_notes_are_dropped(database: Db, command: Run, follow: Callable[[], Ended]) -> None:
    """Of each document a few notes are left, and a rollback undoes it all the same, also after a second time."""
    followed = follow(), follow()

    assert [0, 0] == [each.returncode for each in followed], followed[0].stderr
    # Each time one of them may not have been worth it any more, and removals are kept.
    assert noted(database) < CLIENTS * ROUNDS // 2
    assert 0 == command("verify", *PLACES, "--quiet").returncode
    check_undone(database, command)


def test_a_process_that_ends_before_the_old_notes_are_dropped(
    database: Db, command: Run, follow: Callable[[], Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is noted twice then says the same: following is resumed, a cut-over succeeds, and so does its rollback."""

    def end(_journal: MongoJournal, _names: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(MongoJournal, "drop", end)
        assert 1 == follow().returncode
    assert noted(database) > 2 * CLIENTS
    assert 0 == follow().returncode
    before = list(database.bookings.find().sort("_id"))

    go_live(command)

    undone = command("rollback", "--target", "clients", "--yes")
    # The one field that others gave a client document has no place in a booking.
    assert 3 == undone.returncode, undone.stdout
    assert "1 change to client fields dropped" in undone.stdout
    assert before == list(database.bookings.find().sort("_id"))
