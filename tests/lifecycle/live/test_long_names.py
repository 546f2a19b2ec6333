"""Collections whose names would be too long: what is made of a source's name, and what the user names."""

from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Command
from tests.support.booking_lines import booking

Db = Database[dict[str, Any]]

_LIMIT = 255
_ENDING = len("_legacy_20261123T151100Z-ab12cd")


@pytest.mark.parametrize("ways", [(), ("--at-rest",)], ids=["live", "at rest"])
@pytest.mark.parametrize("excess", [0, 1])
def test_a_cutover(database: Db, command: Command, ways: tuple[str, ...], excess: int) -> None:
    """It is refused before anything is changed, and preflight says so; the longest name that is possible is not."""
    source = "b" * (_LIMIT - _ENDING - len(database.name) - 1 + excess)
    places = ("--source", source, "--target", "clients")
    database[source].insert_many(map(booking, range(8)))
    for arguments in (("migrate",), ("verify",)):
        assert 0 == command(*arguments, *places, "--quiet").returncode
    before = database[source].options()
    preflight = command("preflight", *places)
    ended = command("cutover", *places, "--yes", "--json", *ways)

    assert (5 if excess else 0) == ended.returncode, ended.stderr
    if excess:
        assert "by 1 byte" in " ".join(ended.stderr.split())
        assert "--archive" in ended.stderr
        assert "longer than a server allows" in " ".join((preflight.stdout + preflight.stderr).split())
        assert before == database[source].options()
        (run,) = database.booking_migrate_runs.find()
        assert "done" == run["state"]


@pytest.mark.parametrize("excess", [0, 1])
def test_an_archive(database: Db, command: Command, excess: int) -> None:
    """One that has the name of the collection is refused before anything is written, with the option that names it."""
    source = "b" * (_LIMIT - len("_legacy") - len(database.name) - 1 + excess)
    database[source].insert_many(map(booking, range(8)))
    migrate = ("migrate", "--in-place", "--source", source)
    preflight = command("preflight", "migrate", "--in-place", "--source", source)
    before = database.list_collection_names()
    ended = command(*migrate)

    assert (5 if excess else 0) == ended.returncode, ended.stderr
    assert (5 if excess else 0) == preflight.returncode, preflight.stdout
    if excess:
        assert "longer than a server allows, by 1 byte" in " ".join(ended.stderr.split())
        assert "--archive ARCHIVE" in ended.stderr
        assert "longer than a server allows" in " ".join(preflight.stdout.split())
        assert before == database.list_collection_names()
        assert 0 == command(*migrate, "--archive", "old").returncode


def _long(database: Db) -> str:
    return "c" * (_LIMIT - len(database.name))


@pytest.mark.parametrize(
    "arguments",
    [
        ("migrate", "--source", "bookings", "--target"),
        ("dry-run", "--source", "bookings", "--target"),
        ("migrate", "--in-place", "--source", "bookings", "--archive"),
        ("references", "map", "--source", "bookings", "--out"),
        ("view", "create", "--source", "bookings", "--name"),
    ],
    ids=["target", "dry-run", "archive", "map", "view"],
)
def test_a_name_that_was_given(database: Db, command: Command, arguments: tuple[str, ...]) -> None:
    """It is refused before anything is written."""
    database.bookings.insert_many(map(booking, range(8)))
    before = database.list_collection_names()
    ended = command(*arguments, _long(database))

    assert 5 == ended.returncode, ended.stderr
    assert "longer than a server allows, by 1 byte" in " ".join(ended.stderr.split())
    assert before == database.list_collection_names()


def test_a_map(database: Db, command: Command) -> None:
    """It is built beside itself: the longer name counts, and nothing is read for it."""
    database.bookings.insert_many(map(booking, range(8)))
    places = ("--source", "bookings", "--target", "clients")
    assert 0 == command("migrate", *places).returncode
    beside = len("booking_migrate_map__0123456789ab")
    name = "m" * (_LIMIT - len(database.name) - 1 - beside)
    fitting = command("references", "map", *places, "--out", name)
    ended = command("references", "map", *places, "--out", f"{name}m")

    assert 0 == fitting.returncode, fitting.stderr
    assert 5 == ended.returncode, ended.stderr
    assert "longer than a server allows, by 1 byte" in " ".join(ended.stderr.split())
