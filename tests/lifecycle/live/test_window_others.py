"""What a reverse window keeps ready holds whatever others write to it, and nothing expires in it."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.errors import PlaceNotFound
from booking_migrate.rollback.window import Window
from booking_migrate.stores.mongo.kept_copy import KeptCopy
from booking_migrate.stores.mongo.rollback import MongoRestored
from tests.lifecycle.conftest import Command
from tests.lifecycle.live.test_follow import newest, started
from tests.lifecycle.live.test_window import (
    CUTOVER,
    PLACES,
    ROLLBACK,
    WINDOW,
    await_window,
    interrupt_when_built,
    own,
)
from tests.lifecycle.test_convert_later import session
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Command

BOOKINGS = 24


@pytest.fixture
def ready(database: Db, command: Run) -> Db:
    """Bookings that a TTL index deletes in the far future; migrated."""
    database.bookings.insert_many(
        booking(number, exp=datetime(2099, 1, 1, tzinfo=UTC)) for number in range(BOOKINGS)
    )
    database.bookings.create_index("exp", expireAfterSeconds=0)
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    return database


def ttl_of(database: Db) -> set[str]:
    """The collections that have a TTL index."""
    return {
        name
        for name in database.list_collection_names()
        if any("expireAfterSeconds" in index for index in database[name].list_indexes())
    }


def restored_of(database: Db) -> Any:
    """The collection that is kept ready."""
    (name,) = (each for each in database.list_collection_names() if "_restored_" in each)
    return database[name]


@pytest.mark.parametrize("way", [WINDOW, CUTOVER, (*CUTOVER, "--at-rest")])
def test_nothing_expires_before_it_is_live(
    ready: Db, command: Run, monkeypatch: pytest.MonkeyPatch, way: tuple[str, ...]
) -> None:
    """A TTL index of the old collection is created again once it is live, and stands in no other collection before."""
    monkeypatch.setattr(Window, "_is_over", interrupt_when_built)
    seen = []
    swap = MongoRestored.begin_expiry

    def expiring(self: MongoRestored, settings: str) -> Any:
        seen.append(ttl_of(ready))
        return swap(self, settings)

    monkeypatch.setattr(MongoRestored, "begin_expiry", expiring)
    assert 0 == command(*way).returncode
    kept = ttl_of(ready)
    back = command(*ROLLBACK)

    assert 0 == back.returncode, back.stderr
    assert (set(), [set()], {"bookings"}) == (kept, seen, ttl_of(ready))
    assert BOOKINGS == ready.bookings.count_documents({})
    assert {"_id_", "exp_1"} == set(ready.bookings.index_information())


def damage(ready: Db, number: int) -> None:
    """Delete, change and add documents of what is kept ready, as others would."""
    restored = restored_of(ready)
    assert restored.delete_many({"clientId": client(0)}).deleted_count
    assert restored.update_one({"clientId": client(1)}, {"$set": {"notes": "foreign"}}).modified_count
    assert restored.delete_one({"notes": "booked"}).deleted_count
    restored.insert_many([{"_id": f"junk {number}"}, booking(900 + number)])


def test_writes_of_others_to_what_is_kept_ready(ready: Db, environment: dict[str, str], command: Run) -> None:
    """What others delete, change and add there is put right, while the window is kept, and by the rollback after it."""
    before = list(ready.bookings.find().sort("_id", 1))
    with started(environment, *WINDOW) as window:
        await_window(window, command)
        ready.bookings.update_one(
            {"clientId": client(2)}, {"$push": {"sessions": session(7, notes="booked")}}
        )
        await_that(lambda: restored_of(ready).count_documents({"notes": "booked"}) == 1)
        damage(ready, 1)
        await_that(lambda: restored_of(ready).count_documents({}) == BOOKINGS + 1)
        await_that(lambda: not restored_of(ready).count_documents({"notes": "foreign"}))
        window.kill()
        window.wait(120)
    damage(ready, 2)
    back = command(*ROLLBACK)

    assert 3 == back.returncode, back.stderr
    assert 1 == json.loads(back.stdout)["undone"]["since"]["converted"]
    assert before == list(ready.bookings.find({"notes": {"$ne": "booked"}}).sort("_id", 1))
    assert 1 == ready.bookings.count_documents({"notes": "booked"})
    assert {"bookings"} == own(ready)
    assert "booking_migrate_window" not in ready.list_collection_names()


def test_writes_of_others_between_a_write_and_its_check(
    ready: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others delete and change there before it is read back is written again, and the window stays open."""
    differing = KeptCopy.differing
    damaged: list[Any] = []

    def meanwhile(self: KeptCopy, ids: Sequence[Any], documents: Sequence[bytes], *rest: Any) -> list[Any]:
        if "_restored_" in self.name and ids and len(damaged) < 2:
            restored = restored_of(ready)
            damaged.append(ids)
            if len(damaged) == 1:
                assert restored.delete_one({"notes": "booked"}).deleted_count
            else:
                assert restored.update_one({"notes": "booked"}, {"$set": {"notes": "foreign"}}).modified_count
        return differing(self, ids, documents, *rest)

    def book(window: Window) -> bool:
        if window._window.get("built") and window._follower is not None:
            if restored_of(ready).count_documents({"notes": "booked"}):
                raise KeyboardInterrupt
            ready.bookings.update_one(
                {"clientId": client(2), "sessions.notes": {"$ne": "booked"}},
                {"$push": {"sessions": session(7, notes="booked")}},
            )
        return False

    monkeypatch.setattr(KeptCopy, "differing", meanwhile)
    monkeypatch.setattr(Window, "_is_over", book)
    kept = command(*WINDOW)
    back = command(*ROLLBACK)

    assert 0 == kept.returncode, kept.stderr
    assert 2 == len(damaged)
    assert 3 == back.returncode, back.stderr
    assert 1 == json.loads(back.stdout)["undone"]["since"]["converted"]
    assert BOOKINGS + 1 == ready.bookings.count_documents({})
    assert 1 == ready.bookings.count_documents({"notes": "booked"})


def await_that(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_that_lost_its_lock(ready: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window whose lock another process took ends with that, whatever it finds first, and says nothing of the cut-over."""

    def lose(window: Window) -> bool:
        if window._window.get("built"):
            ready.booking_migrate_locks.update_many({}, {"$inc": {"token": 1}})
            ready.booking_migrate_runs.update_many({}, {"$set": {"state": "rolled-back"}})
            raise PlaceNotFound(window._run.legacy or "")
        return False

    monkeypatch.setattr(Window, "_is_over", lose)
    lost = command(*WINDOW)
    said = " ".join(lost.stderr.split())

    assert 11 == lost.returncode, said
    assert "another run has taken it" in said
    assert "The cut-over is complete" not in said


def test_an_old_booking_written_in_a_window(ready: Db, environment: dict[str, str], command: Run) -> None:
    """It is kept and reported as what it is; status prints no migration in place, which the window refuses."""
    with started(environment, *WINDOW) as window:
        await_window(window, command)
        ready.command(
            "insert", "bookings", documents=[booking(990, clientId=client(80))], bypassDocumentValidation=True
        )
        run = newest(command)
        back = command(*(each for each in ROLLBACK if each != "--json"))
        window.communicate(timeout=120)
    said = " ".join(back.stdout.split())

    assert ["verify", "rollback", "finalize"] == [each.split()[1] for each in run["possible"]]
    assert 3 == back.returncode, back.stderr
    assert "1 old booking written since by an old application, kept" in said
    assert "new shape" not in said
    assert "client documents beside" not in said
    assert BOOKINGS + 1 == ready.bookings.count_documents({})
