"""`preflight`: what prevents each command, found without writing."""

import json
import shlex
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.runs.lock import HeldLock
from booking_migrate.stores.connection import Connection, open_journal
from booking_migrate.stores.locks import Holder
from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import booking
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
PLACES = ("--source", "bookings", "--target", "clients")


@pytest.fixture
def look(database: Db, command: Run) -> Callable[..., Mapping[str, Any]]:
    """A function that returns the report of preflight; nothing may be written by it."""
    database.bookings.insert_many(map(booking, range(12)))

    def looked(*arguments: str) -> Mapping[str, Any]:
        before = database.command("dbHash")["collections"]
        done = command("preflight", *arguments, *PLACES, "--json")
        assert before == database.command("dbHash")["collections"]
        report: Mapping[str, Any] = json.loads(done.stdout)
        assert report["exit_code"] == done.returncode, done.stderr
        return report

    return looked


def ready(report: Mapping[str, Any]) -> list[str]:
    """The commands that are ready."""
    return [each["command"] for each in report["verdicts"] if each["ready"]]


def obstacles(report: Mapping[str, Any]) -> dict[str, str]:
    """What prevents commands, by subject."""
    checks = [check for each in report["verdicts"] for check in each["checks"]]
    return {
        each["subject"]: f"{each['found']} {each['hint']}" for each in checks if each["state"] == "obstacle"
    }


def test_the_verdicts_follow_the_life_of_a_migration(
    command: Run, look: Callable[..., Mapping[str, Any]]
) -> None:
    """What is ready before anything, after migrate, after verify, after the cut-over; the disk already has what was copied."""
    reports = [look()]
    for step in ("migrate", "verify"):
        assert 0 == command(step, *PLACES, "--quiet").returncode
        reports.append(look())
    found = list(map(ready, reports))
    copied = [
        [
            each["command"]
            for each in report["verdicts"]
            for check in each["checks"]
            if "the target has" in check["found"]
        ]
        for report in reports
    ]
    assert 0 == command("cutover", *PLACES, "--yes", "--quiet").returncode
    after = look()

    assert [
        ["migrate", "control"],
        ["migrate", "verify", "rollback", "control"],
        ["migrate", "verify", "cutover", "rollback", "control"],
    ] == found
    assert [[], ["migrate"], ["migrate"]] == copied
    assert ["verify", "rollback", "finalize", "control"] == ready(after)
    within = look("--in-place")
    assert ["migrate --in-place", "verify", "rollback", "finalize", "control"] == ready(within)
    assert ready(within) == [each["command"] for each in within["verdicts"]]
    assert 0 == after["exit_code"]


def test_an_unverified_run_is_in_the_way_of_a_cutover(
    command: Run, look: Callable[..., Mapping[str, Any]]
) -> None:
    """With the command named, the exit code says it, and the hint is the command that helps."""
    assert 0 == command("migrate", *PLACES, "--quiet").returncode

    report = look("cutover")

    assert 5 == report["exit_code"]
    assert "booking-migrate verify --source bookings --target clients" in obstacles(report)["runs"]


@pytest.mark.parametrize("is_in_place", [False, True])
def test_validators_are_tried_out(
    database: Db, look: Callable[..., Mapping[str, Any]], *, is_in_place: bool
) -> None:
    """A validator that refuses client documents prevents it, that of the place that will be written to."""
    validator = {"$jsonSchema": {"required": ["expertId"]}}
    if is_in_place:
        database.command("collMod", "bookings", validator=validator)
    else:
        database.create_collection("clients", validator=validator)

    found = obstacles(look("migrate", *(["--in-place"] if is_in_place else [])))

    assert ["documents"] == list(found)
    assert "refuses 3 of 3 client documents" in found["documents"] or "expertId" in found["documents"]
    assert "collMod" in found["documents"]
    mode = " --in-place" if is_in_place else ""
    assert f": booking-migrate migrate{mode} {' '.join(PLACES)}" in found["documents"]


def test_a_process_at_the_target_is_in_the_way(
    server: Server, database: Db, look: Callable[..., Mapping[str, Any]]
) -> None:
    """Who holds the lock is named."""
    holder = Holder("some-run", "migrate", "ann", "machine", 4711, "")
    with closing(Connection(server.uri, database.name)) as connection:
        lock = HeldLock.acquire(open_journal(connection).locks, "clients", holder)
        found = obstacles(look("verify"))
        lock.release()

    assert "process 4711 of ann on machine" in found["lock"]


def test_a_target_that_was_dropped(
    database: Db, command: Run, look: Callable[..., Mapping[str, Any]]
) -> None:
    """Without the target, verify and cutover are not ready and name the way back, which works."""
    for step in ("migrate", "verify"):
        assert 0 == command(step, *PLACES, "--quiet").returncode
    database.clients.drop()
    found = look()
    (back,) = {
        each.partition(": ")[2] for name in ("verify", "cutover") for each in [obstacles(look(name))["runs"]]
    }
    verified = command("verify", *PLACES)

    assert ["migrate", "rollback", "control"] == ready(found)
    assert "clients, which run" in obstacles(look("verify"))["runs"]
    assert verified.returncode != 0
    assert 0 == command(*shlex.split(back)[1:], "--yes").returncode
    assert ["migrate", "control"] == ready(look())


@pytest.mark.parametrize("step", ["verify", "rollback", "finalize"])
def test_a_kept_copy_that_was_dropped(
    database: Db, command: Run, look: Callable[..., Mapping[str, Any]], step: str
) -> None:
    """After a cut-over, what needs the old bookings is not ready without them."""
    for each in (("migrate",), ("verify",), ("cutover", "--yes")):
        assert 0 == command(*each, *PLACES, "--quiet").returncode
    (legacy,) = (name for name in database.list_collection_names() if "_legacy_" in name)
    database[legacy].drop()

    assert f"{legacy}, which kept the old bookings, no longer exists" in obstacles(look(step))["runs"]


def test_an_archive_that_was_dropped(
    database: Db, command: Run, look: Callable[..., Mapping[str, Any]]
) -> None:
    """In place, what needs the archive is not ready without it."""
    assert 0 == command("migrate", "--in-place", "--source", "bookings", "--quiet").returncode
    database.bookings_legacy.drop()

    for step in ("verify", "rollback", "finalize"):
        assert "bookings_legacy, which kept the old bookings" in obstacles(look(step))["runs"]


def test_the_lag_is_measured_if_it_is_to_be_limited(look: Callable[..., Mapping[str, Any]]) -> None:
    """With --max-lag, migrate is ready where the lag can be measured; the role has the privilege for it."""
    asked = look("migrate", "--max-lag", "10", "--role")
    usual = look("migrate", "--role")

    assert ["migrate"] == ready(asked)
    assert "replSetGetStatus" in asked["role"]
    assert "replSetGetStatus" not in usual["role"]
    assert "lag" in {check["subject"] for each in asked["verdicts"] for check in each["checks"]}


def test_a_role_is_one_line(command: Run) -> None:
    """However narrow the screen, the command that creates the role can be copied, or piped, as one."""
    shown = command("preflight", "--role", *PLACES).stdout
    (line,) = (each.strip() for each in shown.splitlines() if "createRole" in each)
    role = json.loads(line.partition("runCommand(")[2].removesuffix(")"))

    assert line.startswith("db.getSiblingDB(")
    assert "find" in role["privileges"][0]["actions"]


def test_files_are_refused(command: Run) -> None:
    """A file has neither privileges nor a lock."""
    done = command("preflight", "--source", "bookings.jsonl")

    assert 5 == done.returncode
    assert "preflight looks at collections" in done.stderr
