"""Killed at moments that nobody chose, migrate, cutover and both rollbacks are completed by the same command."""

import json
import random
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import ROOT, Ended, contents, own_validator
from tests.support.booking_lines import booking, client
from tests.support.forked import Forked

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--target", "clients", "--batch-size", "20", "--json", "--quiet")
VERIFY = ("verify", "--target", "clients", "--recheck", "0", "--quiet")
CUTOVER = ("cutover", "--target", "clients", "--rejected", "carry", "--yes", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")
IN_PLACE = ("migrate", "--in-place", "--batch-size", "20", "--json", "--quiet")
PUT_BACK = ("rollback", "--target", "bookings", "--yes", "--json")
KILLS = pytest.mark.parametrize("kills", [1, pytest.param(50, marks=pytest.mark.slow)])
"""How often each command is killed: once always, fifty times in the whole matrix. Kills at named steps are in other files."""

KILLS_IN_PLACE = pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])

_CLIENTS = 150
_START_SECONDS, _LONGEST_SECONDS = 0.02, 0.8
"""From when until when it may be killed; where that hits decides nothing but the coverage."""


def _kill_after(seconds: float, environment: Mapping[str, str], *arguments: str) -> None:
    with Forked(arguments, environment, folder=ROOT) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()


@KILLS
def test_killed_at_random_moments(
    database: Db, environment: dict[str, str], command: Run, kills: int
) -> None:
    """Whenever it is killed, what the next call leaves is what an undisturbed run, or its rollback, leaves."""
    moments = random.Random(5)
    database.bookings.insert_many(
        booking(number, clientId=client(number % _CLIENTS)) for number in range(8 * _CLIENTS)
    )
    database.bookings.create_index("clientId")
    database.clients.insert_one({"_id": 1, "clientId": client(2), "sessions": []})
    before = contents(database)
    command(*MIGRATE)
    after = contents(database)
    command(*ROLLBACK)

    for kill in range(kills):
        _kill_after(moments.uniform(_START_SECONDS, _LONGEST_SECONDS), environment, *MIGRATE)
        assert 0 == command(*MIGRATE).returncode, kill
        assert after == contents(database), kill
        _kill_after(moments.uniform(_START_SECONDS, _LONGEST_SECONDS), environment, *ROLLBACK)
        assert 0 == command(*ROLLBACK).returncode, kill
        assert before == contents(database), kill


@KILLS
def test_cutover_killed_at_random_moments(
    database: Db, environment: dict[str, str], command: Run, kills: int
) -> None:
    """Whenever a cut-over is killed, the next one comes to what an undisturbed one comes to, and no fence is left."""
    moments = random.Random(7)
    documents = [booking(number, clientId=client(number % _CLIENTS)) for number in range(8 * _CLIENTS)]
    documents += [booking(8 * _CLIENTS + number, duration=5) for number in range(20)]

    for kill in range(kills):
        for name in database.list_collection_names():
            database.drop_collection(name)
        database.bookings.insert_many(documents)
        source = contents(database)["bookings"]
        assert (3, 0) == (command(*MIGRATE).returncode, command(*VERIFY).returncode), kill
        _kill_after(moments.uniform(_START_SECONDS, _LONGEST_SECONDS), environment, *CUTOVER)
        is_over = database.booking_migrate_runs.find_one({"state": "cut-over"}) is not None
        assert (5 if is_over else 0) == command(*CUTOVER).returncode, kill
        (legacy,) = (name for name in database.list_collection_names() if "_legacy_" in name)
        assert source == contents(database)[legacy], kill
        assert _CLIENTS + 20 == database.bookings.count_documents({}), kill
        assert {} == own_validator(database.bookings), kill
        assert "clients" not in database.list_collection_names(), kill


@KILLS
def test_rollback_of_a_cutover_killed_at_random_moments(
    database: Db, environment: dict[str, str], command: Run, kills: int
) -> None:
    """Whenever the rollback of a cut-over is killed, the next one brings everything back, and no fence is left."""
    moments = random.Random(11)
    documents = [booking(number, clientId=client(number % _CLIENTS)) for number in range(8 * _CLIENTS)]
    documents += [booking(8 * _CLIENTS + number, duration=5) for number in range(20)]
    database.bookings.insert_many(documents)
    before = contents(database)

    for kill in range(kills):
        assert (3, 0) == (command(*MIGRATE).returncode, command(*VERIFY).returncode), kill
        assert 0 == command(*CUTOVER).returncode, kill
        _kill_after(moments.uniform(_START_SECONDS, _LONGEST_SECONDS), environment, *ROLLBACK)
        assert 0 == command(*ROLLBACK).returncode, kill
        assert before == contents(database), kill
        assert {} == own_validator(database.bookings), kill


@KILLS_IN_PLACE
def test_in_place_killed_at_random_moments(
    database: Db, environment: dict[str, str], command: Run, kills: int
) -> None:
    """Whenever it is killed in place, the next call leaves what an undisturbed run, or its rollback, leaves."""
    moments = random.Random(9)
    database.bookings.insert_many(
        booking(number, clientId=client(number % _CLIENTS)) for number in range(8 * _CLIENTS)
    )
    database.bookings.insert_one({"_id": 1, "clientId": client(2), "sessions": []})
    before = contents(database)
    undisturbed = json.loads(command(*IN_PLACE).stdout)["counts"]
    after = contents(database)
    command(*PUT_BACK)
    assert before == contents(database)

    for kill in range(kills):
        database.booking_migrate_runs.delete_many({})
        _kill_after(moments.uniform(_START_SECONDS, _LONGEST_SECONDS), environment, *IN_PLACE)
        was_done = database.booking_migrate_runs.count_documents({"state": "done"}) > 0
        ended = command(*IN_PLACE)
        assert 0 == ended.returncode, (kill, ended.stderr)
        assert after == contents(database), kill
        assert was_done or undisturbed == json.loads(ended.stdout)["counts"], kill
        _kill_after(moments.uniform(_START_SECONDS, _LONGEST_SECONDS), environment, *PUT_BACK)
        assert 0 == command(*PUT_BACK).returncode, kill
        assert before == contents(database), kill
