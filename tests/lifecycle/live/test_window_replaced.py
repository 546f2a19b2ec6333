"""A reverse window whose collections others drop, rename or replace as a whole: no document's change shows that."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Command
from tests.lifecycle.live.test_follow import ended_by, started
from tests.lifecycle.live.test_window import PLACES, ROLLBACK, WINDOW, await_window, own
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]


BOOKINGS = 24
_PATIENCE = 120
NOTE = "by others"
_REPLACED = "was dropped, renamed or replaced as a whole"


@pytest.fixture
def ready(database: Db, command: Command) -> Db:
    """Bookings, migrated and verified."""
    database.bookings.insert_many(map(booking, range(BOOKINGS)))
    for arguments in (("migrate",), ("verify",)):
        assert 0 == command(*arguments, *PLACES, "--quiet").returncode
    return database


def changed(database: Db) -> list[dict[str, Any]]:
    """The client documents, with another note at the first session of one."""
    documents = list(database.bookings.find())
    documents[0]["sessions"][0]["notes"] = NOTE
    return documents


def dropped(database: Db) -> None:
    """Drop the client documents, and store them again, one changed, as a restore does."""
    documents = changed(database)
    database.bookings.drop()
    database.bookings.insert_many(documents)


def replaced(database: Db) -> None:
    """Replace the client documents on the server."""
    with_note = {"$map": {"input": "$sessions", "in": {"$mergeObjects": ["$$this", {"notes": NOTE}]}}}
    database.bookings.aggregate([{"$set": {"sessions": with_note}}, {"$out": "bookings"}])


def renamed(database: Db) -> None:
    """Take the client documents away, and put another collection in their place."""
    database.other.insert_many(changed(database))
    database.bookings.rename("bookings_of_before")
    database.other.rename("bookings")


def changed_elsewhere(database: Db) -> None:
    """Change the client documents under another name, and take them back."""
    database.bookings.rename("elsewhere")
    database.elsewhere.update_one({"clientId": client(0)}, {"$set": {"sessions.0.notes": NOTE}})
    database.elsewhere.rename("bookings")


REPLACEMENTS = [dropped, replaced, renamed, changed_elsewhere]


def assert_undone(database: Db, command: Command) -> None:
    """Roll back, and assert that what is restored has what others did to the client documents."""
    back = command(*ROLLBACK)

    assert 3 == back.returncode, back.stderr
    assert BOOKINGS == database.bookings.count_documents({"sessions": {"$exists": False}})
    assert database.bookings.count_documents({"notes": NOTE})


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_a_rollback(
    ready: Db, environment: dict[str, str], command: Command, replace: Callable[[Db], None]
) -> None:
    """A rollback out of the window changes nothing and says so; the same command restores everything."""
    with started(environment, *WINDOW) as window:
        await_window(window, command)
        window.kill()
        window.wait(_PATIENCE)
    replace(ready)
    before = list(ready.bookings.find())
    refused = command(*ROLLBACK)
    said = " ".join(refused.stderr.split())

    assert 5 == refused.returncode, refused.stdout
    assert f"bookings {_REPLACED}" in said
    assert "booking-migrate rollback" in said
    assert before == list(ready.bookings.find())
    assert_undone(ready, command)


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_a_window(
    ready: Db, environment: dict[str, str], command: Command, replace: Callable[[Db], None]
) -> None:
    """A window ends, and leaves what it kept ready; the same command reads everything again."""
    with started(environment, *WINDOW) as window:
        await_window(window, command)
        replace(ready)
        _, said = window.communicate(timeout=_PATIENCE)
        ended = window.returncode
    left = own(ready)
    with started(environment, *WINDOW) as window:
        await_window(window, command)
        code, again = ended_by(window, signal.SIGINT)

    assert 5 == ended, said
    assert f"bookings {_REPLACED}" in " ".join(said.split())
    assert [name for name in left if "_restored_" in name]
    assert 0 == code, again
    assert_undone(ready, command)


def part_of_kept(kept: Any) -> None:
    """Replace the kept copy on the server by a part of it."""
    kept.aggregate([{"$limit": 3}, {"$out": kept.name}])


def no_kept(kept: Any) -> None:
    """Drop the kept copy."""
    kept.drop()


@pytest.mark.parametrize("replace", [part_of_kept, no_kept])
@pytest.mark.parametrize("is_open", [True, False], ids=["window", "rollback"])
def test_the_kept_copy(
    ready: Db, environment: dict[str, str], command: Command, replace: Callable[[Any], None], *, is_open: bool
) -> None:
    """What is ready may be the last to have the old bookings: it stays until the kept copy is there again."""
    with started(environment, *WINDOW) as window:
        await_window(window, command)
        (name,) = (each for each in own(ready) if "_legacy_" in each)
        (restored,) = (each for each in own(ready) if "_restored_" in each)
        backup = list(ready[name].find().sort("_id", 1))
        if is_open:
            replace(ready[name])
            _, said = window.communicate(timeout=_PATIENCE)
            code = window.returncode
        else:
            window.kill()
            window.wait(_PATIENCE)
            replace(ready[name])
            ended = command(*ROLLBACK)
            code, said = ended.returncode, ended.stderr
    kept_ready = ready[restored].count_documents({})
    ready[name].drop()
    ready[name].insert_many(backup)
    back = command(*ROLLBACK)

    assert 5 == code, said
    expected = f"{name} {_REPLACED}" if is_open or replace is part_of_kept else "no longer exists"
    assert expected in " ".join(said.split())
    assert BOOKINGS == kept_ready
    assert 0 == back.returncode, back.stderr
    assert backup == list(ready.bookings.find().sort("_id", 1))
