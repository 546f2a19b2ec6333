"""What status and rollback report, in every format."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--target", "clients", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "clients", "--yes")


def test_no_runs(command: Run) -> None:
    """A database without a journal has no runs, and looking at it writes nothing."""
    shown = command("status")

    assert 0 == shown.returncode
    assert shown.stdout.startswith("No runs\n")


@pytest.mark.usefixtures("bookings")
def test_status_writes_nothing(database: Db, command: Run) -> None:
    """Looking at runs leaves every collection as it is."""
    command(*MIGRATE)
    before = database.command("dbHash")["collections"]
    command("status")

    assert before == database.command("dbHash")["collections"]


@pytest.mark.usefixtures("bookings")
def test_what_can_be_done_next(command: Run) -> None:
    """After each step of its life, status names the commands that make sense for a run."""
    run_id = json.loads(command(*MIGRATE).stdout)["run_id"]
    (done,) = json.loads(command("status", "--json").stdout)["runs"]
    command(*ROLLBACK)
    (undone,) = json.loads(command("status", "--json").stdout)["runs"]

    assert ("done", "rolled-back") == (done["state"], undone["state"])
    assert [
        "booking-migrate verify --source bookings --target clients",
        f"booking-migrate rollback --run {run_id}",
    ] == done["possible"]
    assert ["booking-migrate migrate --source bookings --target clients"] == undone["possible"]


@pytest.mark.usefixtures("bookings")
def test_every_format(command: Run, tmp_path: Path) -> None:
    """Runs and rollbacks can be written as JSON, Markdown, HTML and JUnit XML."""
    command(*MIGRATE)
    for name in ("status", "rollback"):
        paths = [tmp_path / f"{name}{suffix}" for suffix in (".json", ".md", ".html", ".xml")]
        arguments = [argument for path in paths for argument in ("--report", str(path))]
        yes = ["--yes", "--target", "clients"] if name == "rollback" else []
        assert 0 == command(name, *yes, *arguments).returncode
        assert all(path.stat().st_size for path in paths)
    shown = tmp_path.joinpath("rollback.md").read_text()

    assert "Rolled back" in shown
    assert "- 3 client documents removed" in shown


@pytest.mark.usefixtures("bookings")
def test_a_newer_journal_is_refused(database: Db, command: Run) -> None:
    """A journal that a newer version of the program wrote is neither read nor continued: exit code 5."""
    command(*MIGRATE)
    database.booking_migrate_runs.update_one({}, {"$set": {"version": 99}})

    assert [5, 5, 5] == [
        each.returncode for each in (command("status"), command(*MIGRATE), command(*ROLLBACK))
    ]


@pytest.mark.usefixtures("bookings")
def test_no_password_in_the_journal(server: Any, database: Db, command: Run) -> None:
    """The connection string stands nowhere in the journal."""
    command(*MIGRATE)

    for name in database.list_collection_names(filter={"name": {"$regex": "^booking_migrate_"}}):
        assert not any(server.uri in str(document) for document in database[name].find())


@pytest.mark.usefixtures("bookings")
def test_reports_say_what_they_are_about(server: Server, database: Db, command: Run) -> None:
    """The JSON of a migration and of a verification names server, database, begin, end, cluster time, and clients behind."""
    migrated = json.loads(command(*MIGRATE).stdout)
    database.bookings.update_one({"isMigrated": {"$ne": True}}, {"$set": {"notes": "later"}})
    verified = json.loads(command("verify", "--target", "clients", "--json", "--quiet").stdout)
    times = [
        datetime.fromisoformat(each[name])
        for each in (migrated, verified)
        for name in ("started_at", "ended_at")
    ]

    assert [database.name, database.name] == [each["database"] for each in (migrated, verified)]
    assert all(each["host"] and each["host"] in server.uri for each in (migrated, verified))
    assert times == sorted(times)
    assert migrated["cluster_time"] <= verified["cluster_time"]
    assert (None, 1) == (migrated["behind"], verified["behind"])


def test_a_report_about_files_names_neither_server_nor_database(tmp_path: Path, command: Run) -> None:
    """A connection string in the environment is not what a run between files is about."""
    source = tmp_path / "in.jsonl"
    source.write_text("", encoding="utf-8")
    done = command(
        "migrate", "--source", str(source), "--target", str(tmp_path / "out.jsonl"), "--json", "--quiet"
    )
    report = json.loads(done.stdout)

    assert 0 == done.returncode
    assert (None, None) == (report["host"], report["database"])
