"""Killed at moments that nobody chose, migrate and rollback are completed by the same command."""

import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import ROOT, Ended, contents
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--target", "clients", "--batch-size", "20", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")
_KILLS = 25
"""For migrate, and as many for rollback."""

_CLIENTS = 400
_START_SECONDS, _LONGEST_SECONDS = 0.4, 2.5
"""From when until when it may be killed; where that hits decides nothing but the coverage."""


def _kill_after(seconds: float, environment: Mapping[str, str], *arguments: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "booking_migrate", *arguments],
        env=dict(environment),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.mark.slow
def test_killed_at_random_moments(database: Db, environment: dict[str, str], command: Run) -> None:
    """Whenever it is killed, what the next call leaves is what an undisturbed run, or its rollback, leaves."""
    moments = random.Random(5)
    database.bookings.insert_many(
        booking(number, clientId=client(number % _CLIENTS)) for number in range(8 * _CLIENTS)
    )
    database.clients.insert_one({"_id": 1, "clientId": client(2), "sessions": []})
    before = contents(database)
    command(*MIGRATE)
    after = contents(database)
    command(*ROLLBACK)

    for kill in range(_KILLS):
        _kill_after(moments.uniform(_START_SECONDS, _LONGEST_SECONDS), environment, *MIGRATE)
        assert 0 == command(*MIGRATE).returncode, kill
        assert after == contents(database), kill
        _kill_after(moments.uniform(_START_SECONDS, _LONGEST_SECONDS), environment, *ROLLBACK)
        assert 0 == command(*ROLLBACK).returncode, kill
        assert before == contents(database), kill
