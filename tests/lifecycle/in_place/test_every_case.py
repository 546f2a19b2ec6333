"""Each scenario, with all its dirt, in place: the same decisions as side by side, proven, and put back."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from booking_migrate.errors import ExitCode
from tests.lifecycle.conftest import ROOT, Ended, contents
from tests.scenarios.test_scenarios import dump

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

SCENARIOS = sorted(path.parent for path in (ROOT / "tests" / "scenarios").glob("*/source.jsonl"))
COLLECTIONS = {"source": "bookings", "users": "users", "experts": "experts"}


def _options(folder: Path) -> Iterator[str]:
    yield from ("--config", str(folder / "options.toml"), "--json")


def _documents(database: Db, name: str) -> set[bytes]:
    found = database[name].with_options(codec_options=CODEC).find({"sessions": {"$type": "array"}})
    return {bson.encode(document, codec_options=CODEC) for document in found}


def _kept(database: Db) -> set[bytes]:
    found = database.booking_migrate_rejected.with_options(codec_options=CODEC).find()
    unlike = ("_id", "target")
    return {
        bson.encode(
            {name: value for name, value in record.items() if name not in unlike}, codec_options=CODEC
        )
        for record in found
    }


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)
def test_every_case(folder: Path, database: Db, command: Run) -> None:
    """Counts, rejections and new client documents are those of side by side; then it is proven and put back."""
    database.create_collection("bookings")
    for name, collection in COLLECTIONS.items():
        path = folder / f"{name}.jsonl"
        if path.exists() and path.read_bytes():
            documents: list[dict[str, Any]] = bson.decode_all(dump(path), CODEC)
            database[collection].insert_many(documents)
    before = contents(database)
    beside = command("migrate", "--target", "beside", *_options(folder))
    expected, rejected = json.loads(beside.stdout), _kept(database)
    written = _documents(database, "beside")
    if beside.returncode != ExitCode.REFUSED:
        command("rollback", "--target", "beside", "--yes")
    assert before == contents(database)
    done = command("migrate", "--in-place", *_options(folder))
    report = json.loads(done.stdout)

    if "are_joined" in folder.name or "joined_" in folder.name:
        # Two client documents of one client are joined side by side only.
        assert "In place they are not joined" in done.stdout
    else:
        assert beside.returncode == done.returncode, done.stderr
    if done.returncode == ExitCode.REFUSED:
        assert before == contents(database)
        return
    unlike = ("client_documents",)
    assert {**expected["counts"], **dict.fromkeys(unlike)} == {**report["counts"], **dict.fromkeys(unlike)}
    assert expected["rejections"] == report["rejections"]
    assert rejected == _kept(database)
    assert written <= _documents(database, "bookings")
    proven = command("verify", "--in-place", "--recheck", "0", *_options(folder))
    assert ExitCode.DONE == proven.returncode, proven.stdout
    undone = command("rollback", "--target", "bookings", "--yes", "--json")
    assert ExitCode.DONE == undone.returncode, undone.stderr
    assert before == contents(database)
