"""A rewrite of references, or its undo, is paused, slowed down and continued from another terminal."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import COUNT, REWRITE, UNDO
from tests.lifecycle.references.rewriting.test_rewrite import hashes
from tests.lifecycle.test_control import ME, await_line, logged
from tests.support.forked import Forked
from tests.support.killed_calls import killed_around
from tests.support.references import expected, found

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

pytestmark = pytest.mark.usefixtures("cut_over")

SLOW = ("--batch-size", "1", "--max-rate", "1")
"""Without another rate this takes minutes."""

_PATIENCE = 60


def requests_of(command: Run) -> list[tuple[str, str, Any, str]]:
    """What is asked of commands on the run, by status."""
    (run,) = json.loads(command("status", "--json").stdout)["runs"]
    return [(each["command"], each["setting"], each["value"], each["by"]) for each in run["requests"]]


def documents(database: Db) -> int:
    """How many documents the rewrite has noted."""
    return sum(len(note["documents"]) for note in database.booking_migrate_reference_notes.find())


def await_control(command: Run, *arguments: str) -> Ended:
    """What control says, once the process has recorded itself."""
    deadline = time.monotonic() + _PATIENCE
    while (asked := command("control", *arguments)).returncode and time.monotonic() < deadline:
        time.sleep(0.05)
    return asked


def test_a_rewrite_is_paused_and_continued(
    database: Db, command: Run, environment: Mapping[str, str], tables: str, tmp_path: Path
) -> None:
    """A pause holds within a batch, status shows it with who asked, and another rate and resume let it complete."""
    log = tmp_path / "log"
    with Forked([*REWRITE, *SLOW, "--config", tables, *logged(log)], environment) as process:
        asked = await_control(command, "pause", "--json")
        said = await_line(process, log, "paused")
        begun, page = documents(database), " ".join(command("status").stdout.split())
        shown = requests_of(command)
        time.sleep(0.5)
        still = documents(database)
        changed = command("control", "set", "max-rate=none", "--json")
        resumed = command("control", "resume", "--json")
        _, errors = process.communicate(_PATIENCE)

    assert (0, ["references rewrite"]) == (asked.returncode, json.loads(asked.stdout)["commands"])
    assert [("references rewrite", "pause", True, ME)] == shown
    assert f"references rewrite: paused by {ME} since" in page
    assert said["resume"] in page
    assert begun == still < COUNT
    assert (0, 0) == (changed.returncode, resumed.returncode), changed.stderr
    assert 0 == process.returncode, errors
    assert expected(COUNT) == found(database)
    assert [] == requests_of(command)
    assert 5 <= command("control", "pause").returncode


def test_a_paused_rewrite_that_was_killed(
    database: Db, command: Run, environment: Mapping[str, str], tables: str, tmp_path: Path
) -> None:
    """It is paused still when it continues; status names the command that ends the pause first, and nothing else is held back."""
    before, log = hashes(database), tmp_path / "log"
    with Forked([*REWRITE, *SLOW, "--config", tables, *logged(log)], environment) as process:
        await_control(command, "pause")
        await_line(process, log, "paused")
        process.kill()
    (run,) = json.loads(command("status", "--json").stdout)["runs"]
    first = run["possible"][0]
    resumed = command(*first.split()[1:], "--json")
    undone = command(*UNDO)

    assert "booking-migrate control resume --run" in first
    assert "First end the pause" in run["purposes"][0]
    assert (0, False) == (resumed.returncode, json.loads(resumed.stdout)["at_work"])
    assert 0 == undone.returncode
    assert before == hashes(database)


def test_an_undo_is_paused_and_continued(
    database: Db, command: Run, environment: Mapping[str, str], tables: str, tmp_path: Path
) -> None:
    """What was asked before an undo was killed holds when it continues; resume ends that, and every byte is restored."""
    before, log = hashes(database), tmp_path / "log"
    assert 0 == command(*REWRITE, "--batch-size", "7", "--config", tables).returncode
    killed_around(
        "after booking_migrate.stores.mongo.reference_journal:MongoReferenceJournal.drop",
        1,
        environment,
        *UNDO,
    )
    (run,) = database.booking_migrate_runs.find()
    asked = command("control", "pause", "--run", run["_id"], "--json")
    with Forked([*UNDO, *logged(log)], environment) as process:
        await_line(process, log, "paused")
        shown = requests_of(command)
        resumed = command("control", "resume")
        _, errors = process.communicate(_PATIENCE)

    assert (0, ["rollback --references"]) == (asked.returncode, json.loads(asked.stdout)["commands"])
    assert [("rollback --references", "pause", True, ME)] == shown
    assert (0, 0) == (resumed.returncode, process.returncode), errors
    assert before == hashes(database)
