"""Verify of very many differences: what it asks the server, and how long it waits, hardly depends on their number."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from bson.objectid import ObjectId

from booking_migrate.verify import reconcile
from booking_migrate.verify.client_check import check_batch
from tests.lifecycle.conftest import Command, Db
from tests.support.booking_lines import booking

_CLIENTS = 900
_WAIT = 1.0
_PLACES = ("--target", "clients", "--recheck", str(_WAIT), "--quiet")


def _client(number: int) -> ObjectId:
    return ObjectId(f"65f0a0{number:018x}")


@pytest.fixture
def migrated(database: Db, command: Command) -> None:
    """A migration of many clients with two bookings each."""
    database.bookings.insert_many(
        [booking(number, clientId=_client(number // 2)) for number in range(2 * _CLIENTS)]
    )
    assert [0] == command.once(("migrate", "--target", "clients"))


class _Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """The clock by which clients wait for their second reading."""
    clock = _Clock()
    monkeypatch.setattr(reconcile, "sleep", clock.sleep)
    monkeypatch.setattr(reconcile, "monotonic", lambda: clock.now)
    return clock


@contextmanager
def _counted_reads(database: Db) -> Iterator[list[int]]:
    """The number of reads that the server gets meanwhile, by its own profiler."""
    counted: list[int] = []
    database.command("profile", 2)
    try:
        yield counted
    finally:
        database.command("profile", 0)
    of_data = {"ns": {"$in": [f"{database.name}.{name}" for name in ("bookings", "clients")]}}
    counted.append(database["system.profile"].count_documents(of_data))
    database.drop_collection("system.profile")


@pytest.mark.parametrize(
    ("collection", "change"),
    [
        ("bookings", {"$set": {"notes": "changed"}}),
        ("clients", {"$set": {"sessions.$[].notes": "changed"}}),
        ("clients", {"$set": {"totalSpent": 1, "totalSessions": 1}}),
        ("clients", {"$push": {"sessions": {"$each": [], "$sort": {"sessionId": -1}}}}),
        ("clients", {"$set": {"sessions": []}}),
    ],
)
@pytest.mark.usefixtures("migrated")
def test_many_changes_cost_one_wait_and_few_reads(
    database: Db, command: Command, clock: _Clock, collection: str, change: dict[str, Any]
) -> None:
    """Whatever is wrong about every client, all of them wait for their second reading together and are read in batches."""
    with _counted_reads(database) as for_none:
        clean = command("verify", *_PLACES)
    waited_for_none = clock.now
    database[collection].update_many({}, change)
    with _counted_reads(database) as for_all:
        found = command("verify", *_PLACES)

    # A change of the source since the run is behind, and no mismatch.
    assert [0, 0 if collection == "bookings" else 4] == [clean.returncode, found.returncode]
    assert [0.0, _WAIT] == [waited_for_none, clock.now]
    assert for_all[0] - for_none[0] <= 20


@pytest.mark.parametrize("emptied", ["bookings", "clients"])
@pytest.mark.usefixtures("migrated")
def test_a_whole_side_that_is_gone_costs_one_wait_and_few_reads(
    database: Db, command: Command, clock: _Clock, emptied: str
) -> None:
    """Every booking missing, or every session extra, is found with one wait and few reads."""
    database[emptied].delete_many({})
    with _counted_reads(database) as reads:
        found = command("verify", *_PLACES)

    assert (0 if emptied == "bookings" else 4) == found.returncode
    assert _WAIT == clock.now
    assert reads[0] <= 30


@pytest.mark.usefixtures("migrated", "clock")
def test_what_did_not_change_is_not_derived_twice(
    database: Db, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose documents are the same at the second reading keeps what the first one came to."""
    derived: list[int] = []

    def counted(*arguments: Any) -> Any:
        derived.append(len(arguments[1]))
        return check_batch(*arguments)

    monkeypatch.setattr(reconcile, "check_batch", counted)
    database.clients.update_many({}, {"$set": {"totalSpent": 1}})

    assert 4 == command("verify", *_PLACES).returncode
    assert 0 == sum(derived)


@pytest.mark.usefixtures("migrated")
def test_little_memory_is_held(
    database: Db, command: Command, clock: _Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When what waits takes too much memory, the first clients are waited for, and all of them are reported."""
    monkeypatch.setattr(reconcile, "_HELD_BYTES", 1)
    database.clients.update_many({}, {"$set": {"totalSpent": 1}})
    report = command("verify", *_PLACES, "--json")

    assert f'"mismatch_count": {_CLIENTS}' in report.stdout
    assert _WAIT < clock.now
