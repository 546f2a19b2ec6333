"""A run goes on in its own mode, nothing is migrated twice after a cut-over, and advice leads onward, not back."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended, contents
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Killed = Callable[..., Any]

MIGRATE = ("migrate", "--target", "clients", "--quiet", "--json", "--batch-size", "5")
IN_PLACE = ("migrate", "--in-place", "--quiet", "--json", "--batch-size", "5")
VERIFY = ("verify", "--target", "clients", "--recheck", "0", "--quiet", "--json")
CUTOVER = ("cutover", "--target", "clients", "--yes", "--quiet", "--json")


@pytest.fixture
def platform(database: Db) -> Db:
    """Twenty-four bookings of four clients."""
    database.bookings.insert_many(map(booking, range(24)))
    return database


def error(ended: Ended) -> dict[str, str]:
    """The error of a report."""
    found: dict[str, str] = json.loads(ended.stdout)["error"]
    return found


def advised(ended: Ended) -> list[list[str]]:
    """The commands that a hint names, as words without the program's name."""
    lines = error(ended)["hint"].splitlines()
    return [shlex.split(line.split("booking-migrate ", 1)[1]) for line in lines if "booking-migrate " in line]


@pytest.mark.parametrize("is_killed", [True, False])
def test_in_place_is_not_continued_side_by_side(
    platform: Db, command: Run, killed: Killed, is_killed: bool
) -> None:
    """A run in place stands: migrate without --in-place is refused, and the command that continues it works."""
    if is_killed:
        killed("batch-written", 1, *IN_PLACE)
    else:
        command(*IN_PLACE)
    before = contents(platform)
    refused = command(*MIGRATE)
    onward = advised(refused)[0]

    assert (5, "OtherMode") == (refused.returncode, error(refused)["kind"])
    assert before == contents(platform)
    assert ["migrate", "--in-place"] == onward[:2]
    assert 0 == command(*onward).returncode
    assert 0 == command("verify", "--in-place", "--quiet").returncode


@pytest.mark.usefixtures("platform")
def test_side_by_side_is_not_continued_in_place(command: Run, killed: Killed) -> None:
    """A run side by side stands: migrate --in-place is refused, and names how to go on and how to go back."""
    killed("batch-written", 1, *MIGRATE, "--accept", "duration-too-short")
    refused = command(*IN_PLACE)
    commands = advised(refused)

    assert (5, "OtherMode") == (refused.returncode, error(refused)["kind"])
    assert ["--accept", "duration-too-short"] == commands[0][-2:]
    assert "rollback" == commands[-1][0]
    assert 0 == command(*commands[0]).returncode
    assert 5 == command(*IN_PLACE).returncode
    assert 0 == command("rollback", "--target", "clients", "--yes").returncode
    assert 0 == command(*IN_PLACE).returncode


@pytest.mark.parametrize("policy", ["carry", "leave"])
def test_migrate_after_a_cutover(platform: Db, command: Run, policy: str) -> None:
    """After a cut-over migrate is refused, whatever its target; stragglers of an old application go in place."""
    platform.bookings.insert_one(booking(70, duration=5))
    command(*MIGRATE)
    command(*VERIFY)
    assert 0 == command(*CUTOVER, "--rejected", policy).returncode
    live = contents(platform)
    refused = [command(*MIGRATE), command("migrate", "--target", "other", "--quiet", "--json")]
    # Past the guard, as an application without it would.
    platform.bookings.insert_one(booking(80, clientId=client(50)), bypass_document_validation=True)
    _, onward, back = advised(refused[0])

    assert [(5, "CutOverAlready")] * 2 == [(each.returncode, error(each)["kind"]) for each in refused]
    assert live["bookings"] != contents(platform)["bookings"]
    assert ["migrate", "--in-place", "--source", "bookings", "--archive", "bookings_legacy"] == onward
    assert (3 if policy == "carry" else 0) == command(*onward, "--quiet").returncode
    assert 1 == platform.bookings.count_documents({"clientId": client(50), "sessions": {"$size": 1}})
    assert ["rollback", "--run"] == back[:2]
    too_early = command(*back, "--yes", "--quiet", "--json")
    assert (5, "LaterRun") == (too_early.returncode, error(too_early)["kind"])
    assert command(*advised(too_early)[0], "--yes", "--quiet").returncode in (0, 3)
    assert command(*back, "--yes", "--quiet").returncode in (0, 3)
    assert 26 == platform.bookings.count_documents({"sessions": {"$exists": False}})


@pytest.mark.usefixtures("platform")
def test_migrate_after_a_killed_cutover(command: Run, killed: Killed) -> None:
    """A killed cut-over is aborted first, which loses nothing; what continues it has the options of the run."""
    command(*MIGRATE, "--max-document-size", "4MiB")
    command(*VERIFY, "--max-document-size", "4MiB")
    killed("fenced", 1, *CUTOVER, "--max-document-size", "4MiB")
    refused = command(*MIGRATE, "--max-document-size", "4MiB")
    abort, onward, back = advised(refused)

    assert (5, "UnfinishedRun") == (refused.returncode, error(refused)["kind"])
    assert ("cutover", "rollback") == (onward[0], back[0])
    assert "--abort" in abort
    assert 0 == command(*onward, "--yes", "--quiet").returncode


def test_finalize_of_a_killed_run(platform: Db, command: Run, killed: Killed) -> None:
    """Finalize of a run in place that was killed names the command that goes on with it, and calls it interrupted."""
    killed("batch-written", 1, *IN_PLACE)
    refused = command("finalize", "--yes", "--quiet", "--json")

    assert (5, "UnfinishedRun") == (refused.returncode, error(refused)["kind"])
    assert ["migrate", "--in-place"] == advised(refused)[0][:2]
    assert "interrupted" in error(refused)["message"]
    assert "running" not in error(refused)["message"]
    assert 0 == command(*advised(refused)[0]).returncode
    assert 24 == platform.bookings_legacy.count_documents({})


def test_verify_leaves_the_heartbeat(platform: Db, command: Run, killed: Killed) -> None:
    """Neither the rate of a finished run nor when a killed one was heard of last moves by a verification."""
    command(*MIGRATE)
    done = platform.booking_migrate_runs.find_one({})
    platform.bookings.insert_many(map(booking, range(24, 40)))
    killed("batch-written", 1, *MIGRATE)
    before = json.loads(command("status", "--json").stdout)["runs"]
    command(*VERIFY)
    after = json.loads(command("status", "--json").stdout)["runs"]

    assert done is not None
    moving = ("heard_at", "rate", "documents")
    assert [[each[name] for name in moving] for each in before] == [
        [each[name] for name in moving] for each in after
    ]


def test_verify_of_an_unfinished_run_says_so(platform: Db, command: Run, killed: Killed) -> None:
    """A killed run is named beside the mismatches that it left, with the command that continues it."""
    killed("batch-written", 1, *MIGRATE)
    report = json.loads(command(*VERIFY).stdout)
    (finding,) = [each for each in report["findings"] if each["kind"] == "run-not-finished"]

    assert 4 == report["exit_code"]
    assert platform.booking_migrate_runs.find_one({})["_id"] in finding["sample_ids"]  # type: ignore[index]
    assert "booking-migrate migrate --source bookings --target clients" in finding["advice"]


@pytest.mark.parametrize("way", ["in place", "cut over"])
def test_a_dry_run_foresees_the_refusal(platform: Db, command: Run, way: str) -> None:
    """Where migrate side by side would be refused, a dry-run says so, and which run is the cause."""
    before = json.loads(command("dry-run", "--json").stdout)["findings"]
    if way == "in place":
        command(*IN_PLACE)
    else:
        for each in (MIGRATE, ("verify", "--target", "clients"), CUTOVER):
            command(*each, *(["--rejected", "leave"] if each is CUTOVER else []))
    run = platform.booking_migrate_runs.find_one() or {}
    found = {each["kind"]: each for each in json.loads(command("dry-run", "--json").stdout)["findings"]}

    assert "migrate-refused" not in {each["kind"] for each in before}
    assert str(run["_id"]) in found["migrate-refused"]["advice"]
    assert 5 == command(*MIGRATE).returncode
