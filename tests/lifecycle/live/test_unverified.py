"""What a verification counts for: not for clients derived after it, and in a cut-over not for what changes are still to be read."""

from typing import Any

import pytest
from bson.timestamp import Timestamp
from pymongo.database import Database

from booking_migrate.follow.follower import Follower
from booking_migrate.follow.run import _Following
from booking_migrate.runs.lock import HeldLock
from booking_migrate.stores.mongo.kept_copy import KeptCopy
from tests.lifecycle.conftest import Command
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")


def test_a_round_that_is_interrupted(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C right behind a round leaves what it has derived unverified, though its position is saved."""
    database.bookings.insert_many(map(booking, range(8)))
    whole, handle, confirm = _Following._round, Follower._handle, HeldLock.confirm
    derived: set[bytes] = set()

    def changed(self: _Following) -> None:
        database.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "since"}})
        whole(self)

    def handled(self: Follower, *arguments: Any) -> Any:
        result = handle(self, *arguments)
        derived.update(result.clients)
        return result

    def confirmed(self: HeldLock) -> None:
        if derived:
            raise KeyboardInterrupt
        confirm(self)

    monkeypatch.setattr(_Following, "_round", changed)
    monkeypatch.setattr(Follower, "_handle", handled)
    monkeypatch.setattr(HeldLock, "confirm", confirmed)
    ended = command("migrate", *PLACES, "--follow")
    (run,) = database.booking_migrate_runs.find()

    assert 0 == ended.returncode, ended.stderr
    assert derived
    assert run["follow"]["unverified"] >= run["follow"]["time"]


def test_what_changes_between_reading_and_deriving(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verification in a cut-over does not count what the target has earlier than the kept copy: the next round derives that."""
    bookings = database.bookings
    bookings.insert_many(map(booking, range(12)))
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    unverified = Timestamp(database.command("ping")["operationTime"].time + 1, 1)
    database.booking_migrate_runs.update_one({}, {"$set": {"follow.unverified": unverified}})
    handle = Follower._handle_rest
    is_written = False

    def written(self: Follower, *arguments: Any) -> Any:
        nonlocal is_written
        if self.kept is not None and not is_written:
            is_written = True
            # The clients are derived again because of changes that were read; these were not.
            bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "meanwhile"}})
            bookings.update_one({"_id": booking(1)["_id"]}, {"$set": {"clientId": client(2)}})
            bookings.update_one({"_id": booking(4)["_id"]}, {"$set": {"duration": 5}})
            bookings.delete_one({"_id": booking(3)["_id"]})
            bookings.insert_one(booking(15))
        return handle(self, *arguments)

    create = KeptCopy.create

    def copied(self: KeptCopy) -> None:
        create(self)
        bookings.update_many({"_id": {"$gte": booking(8)["_id"]}}, {"$set": {"price": 99}})

    monkeypatch.setattr(Follower, "_handle_rest", written)
    monkeypatch.setattr(KeptCopy, "create", copied)
    done = command("cutover", *PLACES, "--yes", "--rejected", "leave", "--max-outage", "60s")

    assert is_written
    assert 0 == done.returncode, done.stderr
    verified = command("verify", *PLACES, "--recheck", "0", "--quiet")
    assert 0 == verified.returncode, verified.stderr
