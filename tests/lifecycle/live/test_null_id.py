"""A document whose `_id` is null is one as all others, for a cut-over, a reverse window and a rollback."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.rollback.window import Window
from booking_migrate.stores.mongo.links import LEGACY_FIELD
from tests.lifecycle.conftest import Command, contents
from tests.lifecycle.live.test_window import PLACES, ROLLBACK, WINDOW, interrupt_when_built
from tests.support.booking_lines import booking, client
from tests.support.failpoints import Step, failpoints

Db = Database[dict[str, Any]]
Run = Command

NULL = booking(30, _id=None, notes="first")
NULL_OF_CLIENT = {"_id": None, "clientId": client(77), "sessions": [{"x": 1}]}
CUTOVER = ("cutover", *PLACES, "--yes", "--quiet", "--max-outage", "60s")


@pytest.fixture
def migrated(database: Db, command: Run) -> Db:
    """Bookings, one of them with null as its `_id`; migrated and verified."""
    database.bookings.insert_many([*map(booking, range(12)), NULL])
    database.bookings.create_index("clientId")
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    return database


def sessions(database: Db) -> list[Any]:
    """The notes of the live sessions whose booking has null as its `_id`."""
    found = database.bookings.find({LEGACY_FIELD: {"$type": "null"}})
    return [
        session["notes"]
        for each in found
        for session in each["sessions"]
        if session.get("legacyBookingId", 0) is None
    ]


ACTS: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "nothing": (lambda _bookings: None, ["first"]),
    "update": (lambda bookings: bookings.update_one({"_id": None}, {"$set": {"notes": "new"}}), ["new"]),
    "delete": (lambda bookings: bookings.delete_one({"_id": None}), []),
    "replace": (
        lambda bookings: bookings.replace_one(
            {"_id": None}, NULL | {"notes": "new"}, bypass_document_validation=True
        ),
        ["new"],
    ),
}


@pytest.mark.parametrize(
    ("act", "is_late"),
    [("nothing", False), ("update", False), ("delete", False), ("delete", True), ("replace", True)],
)
def test_cut_over(migrated: Db, command: Run, act: str, is_late: bool) -> None:
    """What is done to it before the cut-over, or past the fence, is in the sessions and in the kept copy; rollback gives it back."""
    change, notes = ACTS[act]

    def reached(step: Step) -> None:
        if is_late and step is Step.SETTLED:
            change(migrated.bookings)

    if not is_late:
        change(migrated.bookings)
    with failpoints(reached):
        done = command(*CUTOVER)
    assert 0 == done.returncode, done.stderr
    assert notes == sessions(migrated)
    (kept,) = (migrated[name] for name in migrated.list_collection_names() if "_legacy_" in name)
    assert notes == [each["notes"] for each in kept.find({"_id": None})]
    verified = command("verify", *PLACES, "--quiet")
    assert 0 == verified.returncode, verified.stdout + verified.stderr

    back = command(*ROLLBACK)
    assert 0 == back.returncode, back.stdout + back.stderr
    assert notes == [each["notes"] for each in migrated.bookings.find({"_id": None})]
    assert 12 + len(notes) == migrated.bookings.count_documents({})


def test_reverse_window(migrated: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client document with null as its `_id` that is inserted in a window is given back by rollback as all others are."""
    migrated.bookings.delete_one({"_id": None})
    with monkeypatch.context() as patch:
        patch.setattr(Window, "_is_over", interrupt_when_built)
        done = command(*WINDOW)
    assert 0 == done.returncode, done.stderr
    migrated.bookings.insert_one(dict(NULL_OF_CLIENT))
    back = command(*ROLLBACK)

    # Its session has no booking to become.
    assert 3 == back.returncode, back.stdout + back.stderr
    assert NULL_OF_CLIENT == migrated.bookings.find_one({"_id": None})
    assert 12 + 1 == migrated.bookings.count_documents({})


def test_carried(database: Db, command: Run) -> None:
    """A rejected booking with null as its `_id` is carried along and given back; it is not taken for another's document."""
    database.bookings.insert_many([*map(booking, range(12)), NULL | {"duration": 5}])
    database.bookings.create_index("clientId")
    before = contents(database)["bookings"]
    assert [3, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    done = command(*CUTOVER, "--rejected", "carry")
    assert 0 == done.returncode, done.stderr
    assert 1 == database.bookings.count_documents({"_id": None})
    verified = command("verify", *PLACES, "--quiet")
    assert 0 == verified.returncode, verified.stdout + verified.stderr
    back = command(*ROLLBACK)

    assert 0 == back.returncode, back.stdout + back.stderr
    assert before == contents(database)["bookings"]


def test_changed_in_a_window(migrated: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the new application does in a window to the session of such a booking is in what rollback gives back."""
    before = contents(migrated)["bookings"]
    with monkeypatch.context() as patch:
        patch.setattr(Window, "_is_over", interrupt_when_built)
        done = command(*WINDOW)
    assert 0 == done.returncode, done.stderr
    change = {"$set": {"sessions.$[own].notes": "new"}}
    its_own = [{"own.legacyBookingId": {"$type": "null"}}]
    migrated.bookings.update_one({LEGACY_FIELD: {"$type": "null"}}, change, array_filters=its_own)
    back = command(*ROLLBACK)

    # It names what was changed.
    assert 3 == back.returncode, back.stdout + back.stderr
    assert 13 == migrated.bookings.count_documents({})
    migrated.bookings.update_one({"_id": None, "notes": "new"}, {"$set": {"notes": "first"}})
    assert before == contents(migrated)["bookings"]
