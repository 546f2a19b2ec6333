"""A verification does not count for clients that are derived after it, also by a round that is interrupted."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.follow.follower import Follower
from booking_migrate.follow.run import _Following
from booking_migrate.runs.lock import HeldLock
from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import booking

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]


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
    ended = command("migrate", "--source", "bookings", "--target", "clients", "--follow")
    (run,) = database.booking_migrate_runs.find()

    assert 0 == ended.returncode, ended.stderr
    assert derived
    assert run["follow"]["unverified"] >= run["follow"]["time"]
