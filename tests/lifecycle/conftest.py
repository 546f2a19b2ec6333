"""What the tests of a run's life share: a database with old bookings, and the program as a process."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pymongo.collection import Collection
from pymongo.database import Database
from typer.testing import CliRunner, Result

from booking_migrate.cli import finalize, verify
from booking_migrate.cli.app import app
from tests.support.booking_lines import booking, client
from tests.support.failpoints import Step
from tests.support.forked import prepare_forking
from tests.support.killed import killed_at
from tests.support.repeated import leave
from tests.support.server import Server, environment_of

ROOT = Path(__file__).parents[2]
Db = Database[dict[str, Any]]

prepare_forking()


@pytest.fixture
def environment(server: Server, database: Db) -> dict[str, str]:
    """The variables that name the server and the test's database, and none that the program would take for options."""
    return environment_of(server.uri, database.name)


@pytest.fixture
def bookings(database: Db) -> None:
    """Thirty bookings of four clients, two of them to be rejected; one client has a document in the target already."""
    database.bookings.insert_many(
        [*map(booking, range(28)), booking(28, currency="usd"), booking(29, duration=5)]
    )
    database.clients.insert_one({"_id": 1, "clientId": client(2), "sessions": [], "by": "the application"})


@dataclass(frozen=True)
class Ended:
    """How a run of the program in this process ended."""

    returncode: int
    stdout: str
    stderr: str


_OF_ITS_OWN = ("run_id", "seconds", "started_at", "ended_at", "options", "cluster_time")


def comparable(report: str, *but: str) -> dict[str, Any]:
    """A report as JSON without what every run has of its own, and without these fields."""
    return {name: value for name, value in json.loads(report).items() if name not in (*_OF_ITS_OWN, *but)}


class Command:
    """The program, run to its end; in this process, since starting one takes longer than the run."""

    def __init__(self, environment: Mapping[str, str], database: Db) -> None:
        self._environment = environment
        self._database = database

    def __call__(self, *arguments: str) -> Ended:
        """Run it with these arguments."""
        result = CliRunner().invoke(app, list(arguments), env=self._environment, prog_name="booking-migrate")
        return Ended(result.exit_code, result.stdout, result.stderr)

    def once(self, *commands: Sequence[str]) -> list[int]:
        """Run it with each of these arguments, or leave what that left of the same documents; see `repeated.leave`."""
        return leave(self._database, lambda *arguments: self(*arguments).returncode, commands)

    def undisturbed(self, *arguments: str) -> tuple[Ended, dict[str, str]]:
        """Run it, take that back, and return how it ended and what it left; of documents that were there before, it is known."""
        found = contents(self._database)
        known = (repr(found), arguments)
        if known not in _UNDISTURBED:
            ended = self(*arguments)
            _UNDISTURBED[known] = (self._database.name, ended, contents(self._database))
            self("rollback", "--target", "clients", "--yes", "--quiet")
            assert found == contents(self._database)
        where, ended, left = _UNDISTURBED[known]
        return replace(ended, stdout=ended.stdout.replace(where, self._database.name)), left


_UNDISTURBED: dict[tuple[str, tuple[str, ...]], tuple[str, Ended, dict[str, str]]] = {}


@pytest.fixture
def command(environment: Mapping[str, str], database: Db, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The program in the test's database."""
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    for module in (finalize, verify):
        # After how long differences are read again: those of tests are there, or are gone at once.
        monkeypatch.setattr(module, "RECHECK_SECONDS", 0.05)
    return Command(environment, database)


@pytest.fixture
def killed(environment: Mapping[str, str]) -> Callable[..., int]:
    """A function that runs the program, kills it when it reaches a step for the Nth time, and returns its exit code."""

    def run(step: str, count: int, *arguments: str) -> int:
        return killed_at(Step(step), count, environment, *arguments)

    return run


def contents(database: Db) -> dict[str, str]:
    """The server's hash of each collection that is not the program's own bookkeeping of runs and locks."""
    hashes: dict[str, str] = database.command("dbHash")["collections"]
    own = (
        "booking_migrate_runs",
        "booking_migrate_ranges",
        "booking_migrate_before",
        "booking_migrate_locks",
        "booking_migrate_dirty",
        "booking_migrate_window",
    )
    return {name: digest for name, digest in hashes.items() if name not in own}


def own_validator(collection: Collection[dict[str, Any]]) -> Mapping[str, Any]:
    """A collection's validator without the guard that a cut-over adds; empty without one, so also if no fence is left."""
    validator: Mapping[str, Any] = collection.options().get("validator", {})
    if "booking_migrate_guard" not in str(validator):
        return validator
    own: Mapping[str, Any] = validator["$and"][0] if "$and" in validator else {}
    return own


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A function that runs the program in this process, with no variable set that it would take for an option."""
    for name in list(os.environ):
        if name.startswith(("BOOKING_MIGRATE_", "MONGODB_")):
            monkeypatch.delenv(name)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), prog_name="booking-migrate")

    return run
