"""How much of what changed is held at a time."""

import gc
from typing import Any
from weakref import WeakSet

import pytest
from pymongo.database import Database

from booking_migrate.follow import engine
from booking_migrate.follow.part import Part
from tests.lifecycle.conftest import Command
from tests.support.booking_lines import booking, client

PLACES = ("--source", "bookings", "--target", "clients")
# No limit that a busy machine could pass.
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")


def test_memory_does_not_grow_with_the_clients_that_changed(
    database: Database[dict[str, Any]], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documents of clients that are derived, written or verified are held, not those of all before them in a round."""
    alive = WeakSet[Part]()
    most = [0]

    class Watched(Part):
        def __init__(self, *arguments: Any) -> None:
            alive.add(self)
            most.append(len(alive))
            super().__init__(*arguments)

    monkeypatch.setattr(engine, "_CLIENTS_AT_ONCE", 1)
    monkeypatch.setattr(engine, "Part", Watched)
    database.bookings.insert_many(
        {**booking(number), "clientId": client(number % 30)} for number in range(60)
    )
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    database.bookings.update_many({}, {"$set": {"notes": "changed"}})
    # Parts are released when nothing refers to them, not when Python happens to look for cycles.
    gc.disable()
    try:
        done = command(*CUTOVER)
    finally:
        gc.enable()

    assert 0 == done.returncode, done.stderr
    assert len(most) > 30
    # One that is read ahead, one that is derived, one that is written, one that is verified.
    assert 4 >= max(most)
