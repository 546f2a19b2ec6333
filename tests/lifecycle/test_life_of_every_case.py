"""Each scenario lives through a whole life on MongoDB: planned, migrated, proven, cut over, rolled back.

That a rollback without a cut-over leaves everything as it was, `in_place/test_every_case.py` shows of each scenario.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from booking_migrate.errors import ExitCode
from tests.lifecycle.conftest import ROOT, Ended, contents
from tests.scenarios.test_scenarios import dump
from tests.support.crews import take_for_many

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

SCENARIOS = sorted(path.parent for path in (ROOT / "tests" / "scenarios").glob("*/source.jsonl"))
COLLECTIONS = {"source": "bookings", "users": "users", "experts": "experts"}


@dataclass
class Life:
    """A scenario under way: where it is, how to run the program on it, and what is known of its database."""

    folder: Path
    plan: Path
    database: Db
    command: Run
    before: dict[str, str]
    """The hashes before anything ran."""

    migrated: dict[str, str]
    """The hashes after the first migrate."""

    workers: str = "1"
    """How many processes migrate."""

    @property
    def expected_exit(self) -> int:
        """How dry-run and migrate have to end."""
        return int((self.folder / "expected_exit").read_text())

    @property
    def is_refused(self) -> bool:
        """Whether the case is one of a migration that must not begin."""
        return self.expected_exit == ExitCode.REFUSED

    def run(self, name: str, *arguments: str) -> Ended:
        """Run a command with the scenario's options."""
        workers = ("--workers", self.workers) if name == "migrate" else ()
        return self.command(
            name, "--json", "--config", str(self.folder / "options.toml"), *arguments, *workers
        )


def plan(life: Life) -> None:
    """dry-run foresees how migrate ends, saves its plan, and writes nothing."""
    ended = life.run("dry-run", "--plan", str(life.plan))

    assert life.expected_exit == ended.returncode, ended.stderr
    assert life.before == contents(life.database)


def migrate(life: Life) -> None:
    """Migrate follows the plan and leaves the source as it was; refused, it leaves everything as it was."""
    ended = life.run("migrate", *(() if life.is_refused else ("--plan", str(life.plan))))
    life.migrated = contents(life.database)

    assert life.expected_exit == ended.returncode, ended.stderr
    for name in life.before if life.is_refused else COLLECTIONS.values():
        assert life.before.get(name) == life.migrated.get(name), name


def verify(life: Life) -> None:
    """Verify finds nothing wrong and writes nothing to the data."""
    ended = life.run("verify", "--recheck", "0")

    assert (ExitCode.DONE, []) == (ended.returncode, json.loads(ended.stdout)["mismatches"]), ended.stderr
    assert life.migrated == contents(life.database)


def migrate_again(life: Life) -> None:
    """A second migrate finds everything there and writes nothing."""
    ended = life.run("migrate")
    report = json.loads(ended.stdout)

    assert life.expected_exit == ended.returncode, ended.stderr
    assert (False, 0) == (report["changed"], report["counts"]["migrated"])
    assert life.migrated == contents(life.database)


def cut_over(life: Life) -> None:
    """The target takes the source's name, and the copy holds what the source held."""
    ended = life.run("cutover", "--rejected", "carry", "--yes")

    assert ExitCode.DONE == ended.returncode, ended.stderr
    legacy = json.loads(ended.stdout)["cutover"]["legacy"]
    assert life.before["bookings"] == contents(life.database)[legacy]


def roll_back_the_cutover(life: Life) -> None:
    """Rollback gives the live collection its old bookings back, and leaves nothing else behind."""
    ended = life.run("rollback", "--yes")

    assert ExitCode.DONE == ended.returncode, ended.stderr
    assert life.before == contents(life.database)


def find_nothing_to_roll_back(life: Life) -> None:
    """Of a run that was refused there is nothing to roll back."""
    ended = life.run("rollback", "--yes")

    assert ExitCode.NOTHING_TO_DO == ended.returncode, ended.stderr
    assert life.before == contents(life.database)


LIFE: list[Callable[[Life], None]] = [
    plan,
    migrate,
    migrate_again,
    verify,
    cut_over,
    roll_back_the_cutover,
]
REFUSED_LIFE: list[Callable[[Life], None]] = [plan, migrate, find_nothing_to_roll_back]


@pytest.mark.each_value
@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_life_of_every_case(
    folder: Path, workers: str, tmp_path: Path, database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one process and in several, every step of a case's life ends as it must, and in the end everything is as in the beginning."""
    database.create_collection("bookings")
    for name, collection in COLLECTIONS.items():
        path = folder / f"{name}.jsonl"
        if path.exists() and path.read_bytes():
            documents: list[dict[str, Any]] = bson.decode_all(dump(path), CODEC)
            database[collection].insert_many(documents)
    if workers != "1":
        database.bookings.create_index("clientId")
        take_for_many(monkeypatch)
    before = contents(database)
    life = Life(
        folder, tmp_path / "plan.json", database, command, before=before, migrated=before, workers=workers
    )

    for step in REFUSED_LIFE if life.is_refused else LIFE:
        step(life)
