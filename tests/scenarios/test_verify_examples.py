"""The CI recipe as it stands, and a migration within a real MongoDB that is verified without writing to it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import monitoring
from pymongo.database import Database
from typer.testing import CliRunner

from booking_migrate.cli.app import app
from tests.support.proof import Document, source_documents
from tests.support.sent_commands import SentCommands
from tests.support.server import Server

ROOT = Path(__file__).parents[2]
READS = {
    "connectionStatus",
    "aggregate",
    "hello",
    "ismaster",
    "killCursors",
    "ping",
    "find",
    "getMore",
    "listCollections",
    "listIndexes",
    *("collStats", "explain", "serverStatus"),
    "count",
    "endSessions",
}


def _steps() -> Iterator[str]:
    """The shell commands of the recipe, but for installing and for what only the CI service has."""
    text = ROOT.joinpath("examples/ci/verify.yml").read_text(encoding="utf-8")
    for block in text.split("run: |\n")[1:]:
        lines = block.split("\n\n")[0].splitlines()
        yield "\n".join(line[10:] for line in lines)


def test_recipe(tmp_path: Path) -> None:
    """The recipe migrates the examples, proves the result and leaves its summary."""
    tmp_path.joinpath("examples").symlink_to(ROOT / "examples")
    command = tmp_path / "bin" / "booking-migrate"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m booking_migrate "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    for step in _steps():
        subprocess.run(["sh", "-ec", step], cwd=tmp_path, env=environment, check=True, timeout=60)

    assert tmp_path.joinpath("summary.md").read_text(encoding="utf-8").startswith("## ✅ Proven")
    assert "" == tmp_path.joinpath("mismatches.jsonl").read_text(encoding="utf-8")


class _Commands(SentCommands):
    """Every command that is sent to a server."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.journal: set[str] = set()
        """What is sent to the journal of runs, which is no data."""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        is_journal = event.command.get(event.command_name) == "booking_migrate_runs"
        stages = {name for stage in event.command.get("pipeline", ()) for name in stage}
        name = "aggregate that writes" if stages & {"$out", "$merge"} else event.command_name
        (self.journal if is_journal else self.names).add(name)


def _run(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    report: dict[str, Any] = json.loads(result.stdout)
    assert report["exit_code"] == result.exit_code
    return report


@pytest.fixture
def commands() -> Iterator[_Commands]:
    """Notes what clients that are made from now on send."""
    noted = _Commands()
    monitoring.register(noted)
    yield noted
    # There is no public way to take a listener back.
    monitoring._LISTENERS.command_listeners.remove(noted)


def test_within_a_database(server: Server, database: Database[Document], commands: _Commands) -> None:
    """Verify proves a migration within a database, and sends the data no command that writes; the journal gets a note."""
    database["bookings"].insert_many(
        each for each in source_documents() if "expertUserId" in each or "sessions" in each
    )
    place = ["--uri", server.uri, "--db", database.name]
    migrated = _run("migrate", *place)
    commands.names.clear()
    commands.journal.clear()
    report = _run("verify", *place, "--recheck", "0")

    assert (3, 0) == (migrated["exit_code"], report["exit_code"]), report
    assert migrated["counts"] == report["counts"]
    assert "find" in commands.names
    assert commands.names <= READS
    assert {"find", "findAndModify"} == commands.journal


def test_harmed_index(server: Server, database: Database[Document]) -> None:
    """A dropped index and a changed price are both named."""
    database["bookings"].insert_many(each for each in source_documents() if "expertUserId" in each)
    place = ["--uri", server.uri, "--db", database.name]
    _run("migrate", *place)
    target = database["bookings_consolidated"]
    target.drop_indexes()
    target.update_one({"clientId": 7}, {"$set": {"sessions.1.price": 2}})
    report = _run("verify", *place, "--recheck", "0")

    assert 4 == report["exit_code"]
    found = [(each["kind"], each["field"]) for each in report["mismatches"]]
    assert [("content", "price"), ("missing", "index"), ("totals", "totalSpent")] == sorted(found)


@pytest.mark.parametrize("missing", ["--source", "--target"])
def test_absent_collection(server: Server, database: Database[Document], missing: str) -> None:
    """A collection that does not exist is refused."""
    for name in ("bookings", "bookings_consolidated"):
        database.create_collection(name)
    report = _run("verify", "--uri", server.uri, "--db", database.name, missing, "nowhere")

    assert (5, "PlaceNotFound") == (report["exit_code"], report["error"]["kind"])


def test_mixed_places(server: Server, database: Database[Document], tmp_path: Path) -> None:
    """A collection migrated to a file is proven too."""
    database["bookings"].insert_many(each for each in source_documents() if "expertUserId" in each)
    target = ["--target", str(tmp_path / "clients.bson")]
    place = ["--uri", server.uri, "--db", database.name]
    _run("migrate", *place, *target)

    assert 0 == _run("verify", *place, *target)["exit_code"]
