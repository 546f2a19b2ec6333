"""Status for many runs, for monitoring and for watching; and a run that is continued with its own options."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from bson.int64 import Int64
from pymongo.database import Database

from booking_migrate.cli import status
from booking_migrate.cli.open import current_process
from booking_migrate.reports.lifecycle import LifeReport, RunReport
from booking_migrate.reports.pages.status import _attention
from booking_migrate.stores.connection import Connection, open_journal
from booking_migrate.stores.journal import RunState
from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import booking

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
PLACES = ("--target", "clients")


def runs_of(command: Run, *options: str) -> list[dict[str, Any]]:
    """The runs as status has them, the newest first."""
    found: list[dict[str, Any]] = json.loads(command("status", "--json", *options).stdout)["runs"]
    return found


def expire(database: Db) -> None:
    """Let the lock of a killed process expire."""
    database.booking_migrate_locks.update_many({}, [{"$set": {"until": {"$toDate": Int64(0)}}}])


def test_a_lock_whose_run_is_not_recorded_is_shown(database: Db, command: Run, server_uri: str) -> None:
    """A process that holds a lock and has not recorded its run yet is named, as messages about that lock name it."""
    with closing(Connection(server_uri, database.name)) as connection:
        locks = open_journal(connection).locks
        lease = locks.acquire("clients", current_process("migrate", "20261129T151100Z-ab12cd"))
        page = " ".join(command("status").stdout.split())
        (lock,) = json.loads(command("status", "--json").stdout)["locks"]
        locks.release(lease)

    assert "clients is locked by migrate 20261129T151100Z-ab12cd by" in page
    assert "No run was ever recorded" not in page
    assert ("clients", True) == (lock["name"], lock["holder"].startswith("migrate 20261129T151100Z-ab12cd"))
    assert [] == json.loads(command("status", "--json").stdout)["locks"]


def test_one_line_a_run(database: Db, command: Run) -> None:
    """Of several runs each takes one line, one that changed nothing is only counted, and --run shows everything about one."""
    database.bookings.insert_many([*map(booking, range(8)), booking(8, duration=5)])
    first = json.loads(command("migrate", *PLACES, "--json").stdout)["run_id"]
    command("verify", *PLACES, "--recheck", "0")
    unchanged = json.loads(command("migrate", *PLACES, "--json").stdout)["run_id"]
    command("migrate", "--target", "others")
    shown = command("status").stdout
    (run,) = runs_of(command, "--run", first)

    assert "1 run changed nothing" in shown
    assert unchanged in shown
    assert f"{first} done, bookings -> clients, 9 bookings" in " ".join(shown.split())
    assert "process" not in shown
    assert (1, 0, True) == (run["rejected"], run["conflicts"], run["verified_clean"])
    assert "process" in command("status", "--run", first).stdout
    assert 12 == command("status", "--run", "unknown").returncode


def test_a_verification_changes_neither_rate_nor_heartbeat(
    database: Db, command: Run, killed: Callable[..., int]
) -> None:
    """What a verify notes about a run is no sign of life of its process."""
    database.bookings.insert_many(map(booking, range(40)))
    command("migrate", "--target", "done")
    killed("batch-written", 1, "migrate", *PLACES, "--batch-size", "5")
    expire(database)
    before = runs_of(command)
    command("verify", "--target", "done", "--recheck", "0")
    command("verify", *PLACES, "--recheck", "0")
    after = runs_of(command)

    for name in ("rate", "heard_at"):
        assert [each[name] for each in before if each["target"] == "clients"] == [
            each[name] for each in after if each["target"] == "clients"
        ]
    assert [each["rate"] for each in before] == [each["rate"] for each in after]


def test_monitoring(database: Db, command: Run, killed: Callable[..., int]) -> None:
    """--check ends with 5 as long as a run is stale, and with 0 when it was continued."""
    database.bookings.insert_many(map(booking, range(40)))
    healthy = command("status", "--check").returncode
    killed("batch-written", 1, "migrate", *PLACES, "--batch-size", "5")
    expire(database)
    stale = command("status", "--check", "--json")
    command("migrate", *PLACES)

    assert (0, 5, 0) == (healthy, stale.returncode, command("status", "--check").returncode)
    assert (5, None) == (json.loads(stale.stdout)["exit_code"], json.loads(stale.stdout)["error"])


def test_a_run_is_continued_with_its_own_options(
    database: Db, command: Run, killed: Callable[..., int]
) -> None:
    """--resume takes places and options from the journal; a run that is finished or unknown is not resumed: 12."""
    database.bookings.insert_many([*map(booking, range(40)), booking(40, duration=5)])
    killed("batch-written", 1, "migrate", *PLACES, "--batch-size", "5", "--accept", "duration-too-short")
    expire(database)
    (run,) = runs_of(command)
    refused = command("migrate", "--resume", run["run_id"], "--accept", "currency-not-allowed", "--json")
    done = command("migrate", "--resume", run["run_id"], "--json")
    report = json.loads(done.stdout)
    again = command("migrate", "--resume", run["run_id"])

    assert (5, "OtherOptions") == (refused.returncode, json.loads(refused.stdout)["error"]["kind"])
    assert (0, run["run_id"], "clients", 41) == (
        done.returncode,
        report["run_id"],
        report["target"],
        report["counts"]["scanned"],
    )
    assert (12, True) == (again.returncode, "it is done" in again.stderr)
    assert 12 == command("migrate", "--resume", "unknown").returncode


def test_watching_waits_for_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that begins before a run does not end before it."""
    monkeypatch.setattr(status, "_PAUSE", 0)
    moments = [(), (), (_run(alive=True),), (_run(alive=True),), (_run(alive=False),)]
    reports = [
        LifeReport(command="status", run_id="x", source="", target="", exit_code=0, runs=runs)
        for runs in moments
    ]
    left = iter(reports)

    assert reports[-1] is status._watch(next(left), left)
    assert None is next(left, None)


def test_a_running_cut_over_says_whether_it_refuses_writes() -> None:
    """As long as it prepares the swap they are accepted; what an attempt that did not complete has refused is not left out."""
    run = _run(alive=True).model_copy(update={"state": RunState.CUTTING_OVER, "refused_seconds": 0.4})
    refusing = run.model_copy(update={"refuses_writes_since": run.started_at})

    accepted = "writes are still accepted; attempts that did not complete refused them for 0.4 s"
    assert accepted in list(_attention(run))
    assert not any("accepted" in line for line in _attention(refusing))


def _run(*, alive: bool) -> RunReport:
    now = datetime.now(UTC)
    return RunReport(
        run_id="20261123T151100Z-ab12cd",
        state=RunState.RUNNING if alive else RunState.DONE,
        alive=alive,
        stale=False,
        heard_at=now,
        started_at=now,
        source="bookings",
        target="clients",
        tool_version="1",
        user="ann",
        host="machine",
        pid=1,
        documents=1,
        total=None,
        rate=None,
        resumed=0,
        kept=0,
        problem=None,
        possible=(),
    )
