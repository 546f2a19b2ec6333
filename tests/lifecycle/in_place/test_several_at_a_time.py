"""Several transactions at a time in place and in its rollback: the same bytes and counts as one after the other."""

import random
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from bson.int64 import Int64
from pymongo.database import Database

from booking_migrate.in_place import restoring
from booking_migrate.in_place.mover import MoverPool
from booking_migrate.in_place.unchanged_clients import Unchanged
from tests.lifecycle.conftest import ROOT, Ended, comparable, contents
from tests.support.booking_lines import booking, client
from tests.support.bookings import ABSENT
from tests.support.crews import main_of_many, take_several_at_a_time
from tests.support.forked import Forked

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--in-place", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "bookings", "--yes", "--json", "--quiet")
CLIENTS = 40
KILLS = pytest.mark.parametrize("kills", [1, pytest.param(40, marks=pytest.mark.slow)])


@pytest.fixture
def platform(database: Db) -> Db:
    """Bookings of plain clients and of all others, and client documents of the application."""
    odd = [
        booking(1000, clientId=client(3), currency="usd"),
        booking(1001, clientId=client(4), duration=5),
        booking(1002, clientId=client(5), createdAt=ABSENT),
        booking(1003, clientId=client(6), clientEmail="other@example.com"),
        booking(1004, clientId="a client of another kind"),
        booking(1005, clientId=Int64(7)),
        booking(1006, clientId=None),
        booking(1007, _id="an id of another kind", clientId=client(9)),
        {"_id": 1, "clientId": client(8), "sessions": [{"sessionId": 5, "by": "the application"}]},
        *(booking(2000 + number, clientId=client(10)) for number in range(40)),
    ]
    database.bookings.insert_many(
        [*(booking(number, clientId=client(number % CLIENTS)) for number in range(8 * CLIENTS)), *odd]
    )
    return database


def told(ended: Ended) -> dict[str, Any]:
    """A report without what depends on the run and the time."""
    return comparable(ended.stdout)


def test_the_same_as_one_after_the_other(platform: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Collection, archive, rejects and report are the same; so is a rollback, after which all is as it was."""
    before = contents(platform)
    alone = command(*MIGRATE)
    expected = contents(platform)
    undone = command(*ROLLBACK)
    assert before == contents(platform)
    take_several_at_a_time(monkeypatch.setattr)
    together = command(*MIGRATE)
    proven = command("verify", "--in-place", "--quiet")

    assert (3, 3) == (alone.returncode, together.returncode), together.stderr
    assert expected == contents(platform)
    assert told(alone) == told(together)
    assert 0 == proven.returncode, proven.stdout
    again = command(*MIGRATE)
    assert expected == contents(platform)
    assert 3 == again.returncode, again.stderr
    undone_together = command(*ROLLBACK)
    assert 0 == undone_together.returncode, undone_together.stderr
    assert before == contents(platform)
    assert told(undone)["undone"]["restored"] == told(undone_together)["undone"]["restored"]


def test_taken_ids_are_looked_up(platform: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the archive or the collection has an id already, it is decided as if it had been asked for before."""
    stored = [booking(number, clientId=client(number), notes="again") for number in (3, 4)]

    def story() -> tuple[dict[str, Any], ...]:
        command(*MIGRATE)
        platform.bookings.insert_many([*stored, booking(5, clientId=client(5))])
        second = command(*MIGRATE)
        after = contents(platform)
        undone = command(*ROLLBACK)
        restored = contents(platform)
        platform.bookings.delete_many({"notes": "again"})
        platform.bookings.insert_many(booking(number, clientId=client(number)) for number in (3, 4))
        return told(second)["counts"], after, told(undone)["undone"]["since"], restored

    before = contents(platform)
    alone = story()
    assert before == contents(platform)
    take_several_at_a_time(monkeypatch.setattr)
    together = story()

    assert 2 == together[0]["conflicts"]
    assert alone == together


def test_a_session_elsewhere_is_found(platform: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of a session in another client's document goes with the booking that comes back, which is listed as a change."""
    take_several_at_a_time(monkeypatch.setattr)
    before = contents(platform)
    command(*MIGRATE)
    (copied,) = platform.bookings.find({"clientId": client(20), "sessions": {"$exists": True}})
    platform.bookings.update_one(
        {"clientId": client(21), "sessions": {"$exists": True}},
        {"$push": {"sessions": copied["sessions"][2]}},
    )
    undone = command(*ROLLBACK)

    assert 3 == undone.returncode, undone.stderr
    assert 1 == told(undone)["undone"]["since"]["lost"]
    assert before == contents(platform)


def test_a_client_is_in_one_group_at_a_time(
    platform: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No client is put back by two transactions at the same time, wherever its bookings are noted."""
    take_several_at_a_time(monkeypatch.setattr)
    monkeypatch.setattr(restoring, "_BOOKINGS_PER_LOOKUP", 3)
    working: list[Any] = []
    doubled: list[Any] = []
    whole = restoring.Restorer.unchanged

    def unchanged(returner: restoring.Restorer, found: restoring.FoundClients) -> Any:
        doubled.extend(each for each in found.client_ids if each in working)
        working.extend(found.client_ids)
        results: list[Unchanged] = list(whole(returner, found))
        for each in found.client_ids:
            working.remove(each)
        return results

    monkeypatch.setattr(restoring.Restorer, "unchanged", unchanged)
    before = contents(platform)
    command(*MIGRATE)
    undone = command(*ROLLBACK)

    assert 0 == undone.returncode, undone.stderr
    assert [] == doubled
    assert before == contents(platform)


def test_what_came_between_two_passes_is_kept(
    platform: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that was booked into a document before the run wrote it again is kept, though the document is the run's."""
    take_several_at_a_time(monkeypatch.setattr)
    whole = MoverPool.move
    added = {"sessionId": Int64(1), "price": 5}
    pending = [True]

    def move(*arguments: Any) -> None:
        whole(*arguments)
        if pending:
            pending.clear()
            platform.bookings.update_one(
                {"clientId": client(20), "sessions": {"$exists": True}}, {"$push": {"sessions": added}}
            )
            platform.bookings.insert_one(booking(3000, clientId=client(20)))

    monkeypatch.setattr(MoverPool, "move", move)
    migrated = command(*MIGRATE)
    undone = command(*ROLLBACK)
    kept = platform.bookings.find_one({"clientId": client(20), "sessions": {"$exists": True}}) or {}

    assert 3 == migrated.returncode, migrated.stderr
    assert 1 == told(undone)["undone"]["since"]["later"], undone.stderr
    assert [1] == [session["sessionId"] for session in kept["sessions"]]


def _kill_after(seconds: float, environment: Mapping[str, str], *arguments: str) -> None:
    with Forked(arguments, environment, main=main_of_many, folder=ROOT) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()


@KILLS
def test_killed_at_random_moments(
    platform: Db,
    environment: dict[str, str],
    command: Run,
    monkeypatch: pytest.MonkeyPatch,
    kills: int,
) -> None:
    """Whenever it is killed, what the next call leaves and counts is what an undisturbed run, or its rollback, leaves."""
    moments = random.Random(3)
    before = contents(platform)
    expected_report = told(command(*MIGRATE))
    expected = contents(platform)
    command(*ROLLBACK)
    take_several_at_a_time(monkeypatch.setattr)

    for kill in range(kills):
        _kill_after(moments.uniform(0.05, 0.8), environment, *MIGRATE)
        resumed = command(*MIGRATE)
        assert 3 == resumed.returncode, (kill, resumed.stderr)
        assert expected == contents(platform), kill
        if told(resumed)["changed"]:
            assert expected_report["counts"] == told(resumed)["counts"], kill
        _kill_after(moments.uniform(0.05, 0.8), environment, *ROLLBACK)
        undone = command(*ROLLBACK)
        assert 0 == undone.returncode, (kill, undone.stderr)
        assert before == contents(platform), kill
        if not told(undone)["undone"]["already"]:
            assert expected_report["counts"]["migrated"] == told(undone)["undone"]["restored"], kill
