"""A run whose changes the oplog has lost is read again as a whole, and an earlier verification does not count for that."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.lifecycle.live.test_killed import CUTOVER, PLACES
from tests.support.booking_lines import booking, client
from tests.support.fail_commands import fail_point
from tests.support.failpoints import Step, failpoints
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

_HISTORY_LOST = 286


@pytest.fixture
def changed(database: Db, command: Run) -> Db:
    """Forty bookings, migrated and verified; then others changed the target."""
    database.bookings.insert_many(map(booking, range(40)))
    assert 0 == command("migrate", *PLACES, "--quiet").returncode
    assert 0 == command("verify", *PLACES, "--quiet").returncode
    database.clients.update_one({"clientId": client(1)}, {"$set": {"notes": "by others"}})
    return database


def test_a_cutover_that_is_interrupted(server: Server, changed: Db, command: Run) -> None:
    """The next cut-over verifies the whole target all the same: what others wrote in the lost time does not go live."""
    lost = {"namespace": f"{changed.name}.$cmd.aggregate", "errorCode": _HISTORY_LOST}
    with fail_point(server) as point:

        def act(step: Step) -> None:
            if step is Step.CUTOVER_NOTED:
                point.set(["aggregate"], lost, times=1)
            if step is Step.COPIED:
                raise KeyboardInterrupt

        with failpoints(act):
            interrupted = command(*CUTOVER)
    (run,) = (each for each in changed.booking_migrate_runs.find() if each["state"] == "done")
    refused = command(*CUTOVER)

    assert 130 == interrupted.returncode, interrupted.stderr
    assert "everything is read again" in interrupted.stderr
    assert "token" in run["follow"]
    assert 5 == refused.returncode, refused.stdout
    assert "mismatches: 1" in " ".join(refused.stderr.split())
    assert 40 == changed.bookings.count_documents({"sessions": {"$exists": False}})
