"""References are rewritten in every form, nothing else is touched, and an undo restores every byte."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import COUNT, REWRITE, UNDO
from tests.support.references import MAKERS, expected, found

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

pytestmark = pytest.mark.usefixtures("cut_over")


def hashes(database: Db) -> dict[str, str]:
    """The server's hash of each collection but those of the program."""
    known: dict[str, str] = database.command("dbHash")["collections"]
    return {name: value for name, value in known.items() if not name.startswith("booking_migrate_")}


def test_every_form_has_new_ids_and_nothing_else_is_touched(database: Db, command: Run, tables: str) -> None:
    """Eight forms in four collections become session ids, and no other collection changes."""
    before = hashes(database)
    done = command(*REWRITE, "--config", tables)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert expected(COUNT) == found(database)
    assert {name for name, value in hashes(database).items() if before[name] != value} == set(MAKERS)


def test_an_undo_restores_every_byte(database: Db, command: Run, tables: str) -> None:
    """After a rewrite and its undo, every collection has the hash that it had, no note is left, and the rollback is the next step."""
    before = hashes(database)
    command(*REWRITE, "--config", tables)
    done = command(*UNDO)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert before == hashes(database)
    assert 0 == database.booking_migrate_reference_notes.count_documents({})
    report = json.loads(done.stdout)
    undone = report["references"]
    assert undone["documents"] == undone["identical"] > 0
    assert [f"booking-migrate rollback --run {report['run_id']}"] == [
        each["command"] for each in report["next_steps"]
    ]


def test_a_second_rewrite_changes_nothing(database: Db, command: Run, tables: str) -> None:
    """Run again, it finds nothing to rewrite, and leaves no record."""
    command(*REWRITE, "--config", tables)
    before, records = hashes(database), database.booking_migrate_references.count_documents({})
    done = command(*REWRITE, "--config", tables)
    report = json.loads(done.stdout)

    assert 0 == done.returncode
    assert not report["changed"]
    assert 0 == sum(each["rewritten"] for each in report["fields"])
    assert before == hashes(database)
    assert records == database.booking_migrate_references.count_documents({})
