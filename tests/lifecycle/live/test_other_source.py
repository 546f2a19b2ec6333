"""A source that others replace or change while a cut-over of it is under way or was killed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.lifecycle.live.test_killed import ABORT, CUTOVER, PLACES, ROLLBACK, assert_free, copies
from tests.support.application import sessions_of
from tests.support.booking_lines import booking
from tests.support.failpoints import Step
from tests.support.killed import dies_at, stopped_at

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]


@pytest.fixture
def bookings(database: Db, command: Run) -> Db:
    """Forty bookings of four clients, migrated and verified."""
    database.bookings.insert_many(map(booking, range(40)))
    assert 0 == command("migrate", *PLACES, "--quiet").returncode
    assert 0 == command("verify", *PLACES, "--quiet").returncode
    return database


@pytest.mark.parametrize("step", [Step.COPIED, Step.SETTLED])
@pytest.mark.parametrize("next_command", [CUTOVER, ABORT, ROLLBACK], ids=["cutover", "abort", "rollback"])
def test_restored_from_a_backup(
    bookings: Db, command: Run, killed: Callable[..., int], step: Step, next_command: tuple[str, ...]
) -> None:
    """A source that was restored after a kill is another collection, and not the swapped target: the attempt is undone."""
    assert -9 == killed(step.value, 1, *CUTOVER)
    stored, options = list(bookings.bookings.find()), bookings.bookings.options()
    bookings.bookings.drop()
    bookings.create_collection("bookings", **options)
    bookings.bookings.insert_many(stored, bypass_document_validation=True)
    ended = command(*next_command)

    assert (5 if next_command is CUTOVER else 0) == ended.returncode, ended.stderr
    assert stored == list(bookings.bookings.find())
    assert_free(bookings, allowed=lambda _: False)
    if next_command is ROLLBACK:
        return
    for arguments in (("migrate",), ("verify",)):
        assert 0 == command(*arguments, *PLACES, "--quiet").returncode
    assert 0 == command(*CUTOVER).returncode
    assert 40 == len(sessions_of(bookings.bookings)[0])


@pytest.mark.parametrize("next_command", [CUTOVER, ABORT, ROLLBACK], ids=["cutover", "abort", "rollback"])
def test_dropped_after_a_kill(
    bookings: Db, command: Run, killed: Callable[..., int], next_command: tuple[str, ...]
) -> None:
    """A source that is gone was not swapped: nothing is dropped or completed, and that it does not exist is said."""
    assert -9 == killed(Step.COPIED.value, 1, *CUTOVER)
    bookings.bookings.rename("bookings_of_others")
    ended = command(*next_command)
    kept = copies(bookings)
    bookings.bookings_of_others.rename("bookings")

    assert 5 == ended.returncode, ended.stdout
    assert "bookings does not exist" in " ".join(ended.stderr.split())
    assert 1 == len(kept)
    assert 40 == bookings[kept[0]].count_documents({})
    assert 0 == command(*ABORT).returncode


def test_a_validator_that_is_set_while_it_is_copied(
    bookings: Db, command: Run, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """What is changed in the source's options before the fence is there again when the fence is lifted."""
    wanted = {"duration": {"$gte": 1}}
    gate = tmp_path / "gate"
    process = stopped_at(Step.COPIED, environment, gate, *CUTOVER)
    bookings.command("collMod", "bookings", validator=wanted)
    bookings.bookings.create_index("scheduledDate")
    assert -9 == dies_at(process, gate, Step.FENCED)
    assert 0 == command(*ABORT).returncode
    assert wanted == bookings.bookings.options()["validator"]
    done = command(*CUTOVER)

    assert 0 == done.returncode, done.stderr
    assert "sessions.scheduledDate_1" in bookings.bookings.index_information()
