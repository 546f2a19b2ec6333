"""The kept copy is watched as the target is: what others write to it before the swap is found."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.stores.mongo.kept_copy import KeptCopy
from tests.lifecycle.conftest import Command
from tests.lifecycle.test_modes import advised
from tests.support.application import Application, sessions_of
from tests.support.booking_lines import booking
from tests.support.failpoints import Step, failpoints

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")
FIRST = booking(0)["_id"]

ACTS: dict[str, Callable[[Any], Any]] = {
    "update": lambda copy: copy.update_one({"_id": FIRST}, {"$set": {"notes": "by others"}}),
    "insert": lambda copy: copy.insert_one(booking(900)),
    "delete": lambda copy: copy.delete_one({"_id": FIRST}),
    "drop": lambda copy: copy.drop(),
}


@pytest.fixture
def migrated(database: Db, command: Run) -> None:
    """Forty bookings, migrated and verified."""
    database.bookings.insert_many(map(booking, range(40)))
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))


def legacy_of(database: Db) -> Any:
    """The kept copy."""
    (name,) = (name for name in database.list_collection_names() if "_legacy_" in name)
    return database[name]


@pytest.fixture
def after_comparison(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """A function that has something done once, when the copy was compared with the source."""

    def arrange(act: Callable[[], Any]) -> None:
        compare, left = KeptCopy.compare, [act]

        def wrapped(self: KeptCopy) -> Any:
            yield from compare(self)
            if left:
                left.pop()()

        monkeypatch.setattr(KeptCopy, "compare", wrapped)

    return arrange


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("kind", ACTS)
def test_others_who_write_to_the_copy(
    database: Db, command: Run, after_comparison: Callable[[Callable[[], Any]], None], kind: str
) -> None:
    """What others do to the kept copy ends the cut-over before writes are refused; the same command then makes a new copy."""
    after_comparison(lambda: ACTS[kind](legacy_of(database)))
    fenced: list[Step] = []
    with failpoints(fenced.append):
        refused = command(*CUTOVER)

    assert 5 == refused.returncode, refused.stdout
    assert "the kept copy was changed by others" in " ".join(refused.stderr.split())
    assert [[*CUTOVER]] == advised(refused)
    assert Step.FENCED not in fenced
    assert 40 == database.bookings.count_documents({"sessions": {"$exists": False}})
    assert {} == database.bookings.options().get("validator", {})

    assert 0 == command(*CUTOVER).returncode
    assert 40 == legacy_of(database).count_documents({})


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("step", [Step.DRAINED, Step.SETTLED])
def test_others_who_write_to_the_copy_behind_the_fence(database: Db, command: Run, step: Step) -> None:
    """What comes too late to end the cut-over is named in its report, and verify finds it."""

    def act(reached: Step) -> None:
        if reached is step:
            ACTS["update"](legacy_of(database))

    with failpoints(act):
        done = command(*CUTOVER)
    verified = command("verify", *PLACES, "--quiet")

    assert 0 == done.returncode, done.stderr
    followed = json.loads(done.stdout)["cutover"]["followed"]
    assert [str(FIRST)] == followed["kept_changed_by_others"]
    assert 4 == verified.returncode


@pytest.mark.usefixtures("migrated")
def test_own_writes_to_the_copy(database: Db, command: Run) -> None:
    """Beside an application at full speed, what the program itself writes to the copy is not taken for that of others."""
    with Application(database.bookings) as application:
        done = command(*CUTOVER)

    assert 0 == done.returncode, done.stderr
    application.check(*sessions_of(database.bookings))
    assert [] == json.loads(done.stdout)["cutover"]["followed"]["kept_changed_by_others"]


def test_names_that_begin_with_a_dollar(database: Db, command: Run) -> None:
    """A booking with a field that the server takes in an insert, and not in a replacement, is brought into the copy."""
    named = {"a.b": 2, "$x": {"$y": 1}}
    database.bookings.insert_many([{**booking(number), **named} for number in range(3)])
    assert 0 == command("migrate", *PLACES, "--quiet").returncode
    assert 0 == command("verify", *PLACES, "--quiet").returncode

    def act(step: Step) -> None:
        if step is Step.COPIED:
            database.bookings.update_one({"_id": FIRST}, {"$set": {"notes": "changed"}})
            database.bookings.insert_one({**booking(3), **named})

    with failpoints(act):
        done = command(*CUTOVER)

    assert 0 == done.returncode, done.stderr
    kept = list(legacy_of(database).find().sort("_id", 1))
    assert ["changed", *(booking(number)["notes"] for number in (1, 2, 3))] == [
        each["notes"] for each in kept
    ]
    assert [named] * 4 == [{name: each[name] for name in named} for each in kept]
