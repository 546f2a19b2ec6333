"""Keeping old ids usable: the index by which they are found, from the cut-over to the end, and until a rollback."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Command
from tests.support.booking_lines import booking

Db = Database[dict[str, Any]]
Run = Command

INDEX = "booking_migrate_legacy_ids"
PLACES = ("--source", "bookings", "--target", "clients")
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")
FINALIZE = ("finalize", "--yes", "--json", "--quiet")
KEEP = ("references", "keep", "--json")


def names(database: Db) -> set[str]:
    """The indexes of the live collection."""
    return {index["name"] for index in database.bookings.list_indexes()}


@pytest.fixture
def migrated(database: Db, command: Run) -> None:
    """Twelve bookings, migrated and verified, without the index, as on a server whose changes cannot be followed."""
    database.bookings.insert_many(map(booking, range(12)))
    command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    if INDEX in database.clients.index_information():
        database.clients.drop_index(INDEX)


@pytest.mark.parametrize("way", [(), ("--at-rest",)], ids=["beside the application", "at rest"])
@pytest.mark.usefixtures("migrated")
def test_a_cutover_keeps_the_index(database: Db, command: Run, way: tuple[str, ...]) -> None:
    """The live collection has it from the swap on, the report names it, and finalize leaves it."""
    done = command(*CUTOVER, *way, "--keep-index")
    after = names(database)
    ended = command(*FINALIZE)

    assert 0 == done.returncode, done.stderr
    assert INDEX == json.loads(done.stdout)["cutover"]["kept_index"]
    assert INDEX in after
    assert 0 == ended.returncode, ended.stderr
    assert INDEX in names(database)


@pytest.mark.usefixtures("migrated")
def test_at_rest_there_is_none_unless_asked_for(database: Db, command: Run) -> None:
    """A cut-over at rest makes no such index by itself, and the report says nothing of one."""
    done = command(*CUTOVER, "--at-rest")

    assert json.loads(done.stdout)["cutover"]["kept_index"] is None
    assert INDEX not in names(database)


@pytest.mark.usefixtures("migrated")
def test_a_rollback_removes_it(database: Db, command: Run) -> None:
    """After a rollback the old bookings have the indexes that they had."""
    before = names(database)
    command(*CUTOVER, "--at-rest", "--keep-index")
    done = command("rollback", "--target", "clients", "--yes", "--quiet")

    assert 0 == done.returncode, done.stderr
    assert before == names(database)


@pytest.mark.usefixtures("migrated")
def test_finalize_makes_it(database: Db, command: Run) -> None:
    """Finalize --keep-index makes it if it is lacking, also when everything else was done by an earlier one."""
    command(*CUTOVER, "--at-rest")
    done = command(*FINALIZE, "--keep-index")
    database.bookings.drop_index(INDEX)
    again = command(*FINALIZE, "--keep-index")

    assert [0, 0] == [done.returncode, again.returncode]
    assert [INDEX, INDEX] == [json.loads(each.stdout)["finalized"]["kept_index"] for each in (done, again)]
    assert INDEX in names(database)


@pytest.mark.usefixtures("migrated")
def test_an_index_over_nothing_is_a_usage_error(database: Db, command: Run) -> None:
    """--keep-index with --drop-legacy-ids is refused before anything is done."""
    command(*CUTOVER)
    done = command(*FINALIZE, "--keep-index", "--drop-legacy-ids")

    assert 2 == done.returncode
    assert ["cut-over"] == database.booking_migrate_runs.distinct("state")


@pytest.mark.usefixtures("migrated")
def test_a_live_collection_gets_it(database: Db, command: Run) -> None:
    """`references keep` makes it once, and does nothing where an index does the same, whatever its name."""
    command(*CUTOVER, "--at-rest")
    first, second = (command(*KEEP) for _ in range(2))
    database.bookings.drop_index(INDEX)
    database.bookings.create_index("sessions.legacyBookingId", name="own")
    third = command(*KEEP)

    assert [0, 0, 0] == [done.returncode for done in (first, second, third)]
    assert [(INDEX, True), (INDEX, False), ("own", False)] == [
        (part["name"], part["made"])
        for part in (json.loads(done.stdout)["index"] for done in (first, second, third))
    ]
    assert INDEX not in names(database)


def test_in_place_a_rollback_removes_what_was_kept(database: Db, command: Run) -> None:
    """In place, a rollback removes the index that was made on request, and no index that was there before."""
    database.bookings.insert_many(map(booking, range(12)))
    for is_own in (False, True):
        if is_own:
            database.bookings.create_index("sessions.legacyBookingId", name="own")
        before = names(database)
        command("migrate", "--in-place", "--quiet")
        kept = command(*KEEP)
        there = names(database)
        done = command("rollback", "--target", "bookings", "--yes", "--quiet")

        assert 0 == done.returncode, done.stderr
        assert is_own is not json.loads(kept.stdout)["index"]["made"]
        assert is_own is not (INDEX in there)
        assert before == names(database)


def test_in_place_finalize_keeps_it(database: Db, command: Run) -> None:
    """Finalize --keep-index of a migration in place makes the index."""
    database.bookings.insert_many(map(booking, range(12)))
    command("migrate", "--in-place", "--quiet")
    done = command(*FINALIZE, "--keep-index")

    assert INDEX == json.loads(done.stdout)["finalized"]["kept_index"]
    assert INDEX in names(database)


def test_old_bookings_get_none(database: Db, command: Run) -> None:
    """Before a migration `references keep` is refused, because no session has an old id."""
    database.bookings.insert_many(map(booking, range(12)))
    done = command(*KEEP)

    assert 5 == done.returncode
    assert "no session in bookings has a legacyBookingId" in json.loads(done.stdout)["error"]["message"]
    assert {"_id_"} == names(database)


@pytest.mark.usefixtures("migrated")
def test_an_unfinished_cutover_is_printed_with_the_option(
    database: Db, command: Run, killed: Callable[..., int]
) -> None:
    """The command that status prints for a killed cut-over has --keep-index, and completes it with the index."""
    killed("swapped", 1, *CUTOVER, "--at-rest", "--keep-index")
    (run,) = json.loads(command("status", "--json").stdout)["runs"]
    done = command(*CUTOVER, "--at-rest", "--keep-index")

    assert "--keep-index" in run["possible"][0]
    assert INDEX == json.loads(done.stdout)["cutover"]["kept_index"]
    assert INDEX in names(database)
