"""Many nights at random: an application at work, the program killed anywhere, and a ledger that has to be the result.

The long form is run by ``pytest -m slow tests/lifecycle/live/test_ledger.py``: 200 seeds.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.support.application import Application, sessions_of
from tests.support.booking_lines import booking
from tests.support.failpoints import Step

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--source", "bookings", "--target", "clients")
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")
STEPS = (
    Step.CUTOVER_NOTED,
    Step.COPIED,
    Step.FENCED,
    Step.DRAINED,
    Step.SETTLED,
    Step.SWAPPED,
    Step.TAILED,
    Step.RANGE_NOTED,
    Step.BATCH_WRITTEN,
    Step.CUT_OVER,
)
SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 200))]
_KILLS = 2


@pytest.mark.parametrize("seed", SEEDS)
def test_ledger(database: Db, command: Run, killed: Callable[..., Any], seed: int) -> None:
    """Whatever was acknowledged before the swap is the new collection, nothing lost, doubled or stale."""
    random = Random(seed)
    database.bookings.insert_many(map(booking, range(60)))
    with Application(database.bookings, seed=seed, pause=0.003) as application:
        assert 0 == command("migrate", *PLACES, "--quiet").returncode
        assert 0 == command("verify", *PLACES, "--quiet").returncode
        for _ in range(_KILLS):
            killed(random.choice(STEPS).value, random.randint(1, 2), *CUTOVER)
        done = command(*CUTOVER)
    (legacy,) = (name for name in database.list_collection_names() if "_legacy_" in name)
    proven = command("verify", "--source", legacy, "--target", "bookings", "--recheck", "0", "--quiet")

    # 5: one of those that were killed had come to its end already.
    assert done.returncode in {0, 5}, done.stderr
    application.check(*sessions_of(database.bookings))
    assert 0 == proven.returncode, proven.stdout
    assert "clients" not in database.list_collection_names()
    assert 0 == database.bookings.count_documents({"sessions": {"$exists": False}})
