"""Changes are read while a run reads its source: what was read is durable, what failed is read afterwards, and nothing is lost."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.follow import backlog
from tests.lifecycle.conftest import ROOT, Ended, contents
from tests.lifecycle.live.test_unavailable import streams_fail
from tests.support.booking_lines import booking
from tests.support.changing_beside import CHANGED, Application, killed_beside
from tests.support.fail_commands import fail_point
from tests.support.failpoints import Step, failpoints
from tests.support.forked import Forked
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--source", "bookings", "--target", "clients")
MIGRATE = ("migrate", *PLACES, "--batch-size", "5", "--json")
_PATIENCE = 60
_HISTORY_LOST, _UNAUTHORIZED = 286, 13


@pytest.fixture(autouse=True)
def _forty(database: Db) -> None:
    """Forty bookings of four clients."""
    database.bookings.insert_many(map(booking, range(40)))


def is_as_new(database: Db, command: Run) -> bool:
    """Whether the target is what a migration of the source as it is now makes, and nothing is left to be handled."""
    assert 0 == command("migrate", "--source", "bookings", "--target", "anew", "--quiet").returncode
    now = contents(database)
    return now["clients"] == now["anew"] and not database.booking_migrate_dirty.count_documents({})


@pytest.mark.parametrize("follows", [False, True])
def test_what_is_read_beside_the_run(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, *, follows: bool
) -> None:
    """Changes are read and kept while the run reads its source; what the run writes itself is not among them."""
    monkeypatch.setattr(backlog, "_IN_MEMORY", 0)
    application = Application(database)
    with failpoints(application):
        code = command(*MIGRATE).returncode if not follows else _followed(command, monkeypatch)

    assert 0 == code
    assert {"booking", "client"} == application.kept
    assert is_as_new(database, command)


def _followed(command: Run, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a run that is followed until the first round is done."""
    from booking_migrate.follow.run import _Following  # noqa: PLC0415

    whole = _Following._round

    def once(following: _Following) -> None:
        whole(following)
        raise KeyboardInterrupt

    monkeypatch.setattr(_Following, "_round", once)
    return command(*MIGRATE, "--follow").returncode


@pytest.mark.parametrize("dies_at", [Step.TARGET_FINISHED, Step.RUN_FINISHED])
def test_a_run_that_is_killed(
    database: Db, command: Run, environment: Mapping[str, str], dies_at: Step
) -> None:
    """Killed behind what was kept, the run is resumed with another beginning; done, what was kept is behind until a cut-over."""
    with Forked((dies_at.value, *MIGRATE), environment, main=killed_beside, folder=ROOT) as process:
        try:
            _, errors = process.communicate(timeout=_PATIENCE)
        finally:
            process.kill()
    left = database.booking_migrate_dirty.count_documents({})
    run = database.booking_migrate_runs.find_one({}) or {}

    assert -9 == process.returncode, errors
    assert left >= CHANGED
    assert "token" in run["follow"]
    if dies_at is Step.TARGET_FINISHED:
        assert 0 == command(*MIGRATE).returncode
        assert is_as_new(database, command)
        return
    verified = command("verify", *PLACES, "--json")
    assert 0 == verified.returncode, verified.stdout
    assert json.loads(verified.stdout)["behind"]
    assert 0 == command("cutover", *PLACES, "--yes", "--max-outage", "60s").returncode
    assert {"meanwhile"} == {
        each["notes"] for each in _sessions(database) if each["legacyBookingId"] == booking(0)["_id"]
    }
    assert 41 == len(_sessions(database))


def _sessions(database: Db) -> list[dict[str, Any]]:
    return [session for each in database.bookings.find() for session in each["sessions"]]


@pytest.mark.parametrize("is_known", [True, False])
def test_history_lost_beside_the_run(database: Db, server: Server, command: Run, *, is_known: bool) -> None:
    """What could not be read beside the run is read when it has ended; if the oplog has lost it, everything is read again."""
    lost = {"namespace": f"{database.name}.$cmd.aggregate", "errorCode": _HISTORY_LOST, "errorLabels": []}
    change = Application(database, waits=False)
    with fail_point(server) as point:

        def act(step: Step) -> None:
            if step is Step.RUN_NOTED:
                point.set(["getMore"], lost)
            if step is Step.RUN_FINISHED:
                point.clear()
                if not is_known:
                    database.booking_migrate_runs.update_many({}, {"$unset": {"follow": ""}})
            change(step)

        with failpoints(act):
            done = command(*MIGRATE)

    assert 0 == done.returncode, done.stderr
    assert is_as_new(database, command)


@pytest.mark.parametrize("may", [True, False])
def test_without_the_privilege(database: Db, server: Server, command: Run, *, may: bool) -> None:
    """A user who may not follow changes migrates as ever; what changed meanwhile is then not brought in."""
    failing: AbstractContextManager[None] = (
        nullcontext() if may else streams_fail(server, database, _UNAUTHORIZED)
    )
    with failing, failpoints(Application(database, waits=False)):
        done = command(*MIGRATE)

    assert 0 == done.returncode, done.stderr
    assert may is is_as_new(database, command)
