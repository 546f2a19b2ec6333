"""Verifying a database in use whose changes cannot be read: both sides at one cluster time, and the source as it was."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from bson.timestamp import Timestamp
from pymongo.database import Database
from typer.testing import CliRunner

from booking_migrate.cli.app import app
from tests.lifecycle.conftest import Ended
from tests.lifecycle.live.test_unavailable import streams_fail
from tests.support.application import Application
from tests.support.booking_lines import booking, client
from tests.support.server import Server, environment_of, guarded_server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--source", "bookings", "--target", "clients")
VERIFY = ("verify", *PLACES, "--json")
_UNAUTHORIZED = 13


@pytest.fixture
def migrated(database: Db, command: Run) -> None:
    """Forty bookings of four clients, migrated."""
    database.bookings.insert_many(map(booking, range(40)))
    assert 0 == command("migrate", *PLACES, "--quiet").returncode


def report_of(ended: Ended) -> dict[str, Any]:
    """The report."""
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


@pytest.mark.usefixtures("migrated")
def test_clients_that_changed_are_behind(server: Server, database: Db, command: Run) -> None:
    """Without the privilege, clients whose bookings are other than at the run's time are behind; what others changed is a mismatch."""
    bookings = database.bookings
    bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "changed"}})
    bookings.update_one({"_id": booking(1)["_id"]}, {"$set": {"clientId": client(50)}})
    bookings.delete_many({"clientId": client(2)})
    database.clients.update_one({"clientId": client(3)}, {"$set": {"sessions.0.notes": "by others"}})
    with streams_fail(server, database, _UNAUTHORIZED):
        ended = command(*VERIFY)
    report = report_of(ended)

    assert 4 == ended.returncode
    assert (4, "snapshot") == (report["behind"], report["verification"]["recheck"])
    assert [("content", str(client(3)))] == [
        (each["kind"], each["client_id"]) for each in report["mismatches"]
    ]
    assert "lacks the privilege changeStream" in ended.stderr
    assert "both sides at one cluster time" in " ".join(ended.stderr.split())


@pytest.mark.usefixtures("migrated")
def test_beside_an_application(server: Server, database: Db, command: Run) -> None:
    """What an application writes at full speed is never a mismatch."""
    with Application(database.bookings), streams_fail(server, database, _UNAUTHORIZED):
        for _ in range(3):
            ended = command(*VERIFY, "--recheck", "0.01")
            assert 0 == ended.returncode, ended.stdout


@pytest.mark.usefixtures("migrated")
def test_a_time_that_the_server_no_longer_has(server: Server, database: Db, command: Run) -> None:
    """A client that changed is then listed as a mismatch, and that is said."""
    database.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "changed"}})
    database.booking_migrate_runs.update_many({}, {"$set": {"follow": {"time": Timestamp(1, 1)}}})
    with streams_fail(server, database, _UNAUTHORIZED):
        ended = command(*VERIFY)

    assert 4 == ended.returncode
    assert 0 == report_of(ended)["behind"]
    assert "clients that changed since are listed as mismatches" in " ".join(ended.stderr.split())


def test_a_server_without_cluster_times() -> None:
    """A standalone server is read again as it is, and that is said."""
    with guarded_server() as server:
        database = server.client()["alone"]
        database.bookings.insert_many(map(booking, range(4)))

        def run(*arguments: str) -> Ended:
            result = CliRunner().invoke(
                app, list(arguments), env=environment_of(server.uri, "alone"), prog_name="booking-migrate"
            )
            return Ended(result.exit_code, result.stdout, result.stderr)

        assert 0 == run("migrate", *PLACES, "--quiet").returncode
        ended = run(*VERIFY)

    assert 0 == ended.returncode, ended.stdout
    assert "plain" == report_of(ended)["verification"]["recheck"]
    assert "clients with a difference are read again as they are" in " ".join(ended.stderr.split())
