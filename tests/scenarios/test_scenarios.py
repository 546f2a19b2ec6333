"""Each folder here is a case: what goes in, with which options, and what must come out, from files and from MongoDB.

A bug report becomes such a folder: ``source.jsonl``, perhaps ``users.jsonl`` and ``experts.jsonl``, ``options.toml`` (a
config file), ``expected_exit``, ``expected.jsonl`` (the client documents) and ``rejections.json`` (ids by reason).
``pytest tests/scenarios --update-golden`` writes the last two; read them before you commit them.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo.database import Database
from typer.testing import CliRunner, Result

from booking_migrate.bson.document import CODEC
from booking_migrate.cli.app import app
from booking_migrate.errors import ExitCode
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.places import JsonFormat, parse_place
from tests.support.migration import client_documents

SCENARIOS = sorted(path.parent for path in Path(__file__).parent.glob("*/source.jsonl"))
scenario = pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)


def dump(path: Path) -> bytes:
    """The documents of an Extended JSON file as a dump in client order."""
    place, extended = parse_place(str(path)), JsonFormat.EXTENDED
    with closing(open_reader(place, Connection(), json_format=extended)) as reader:
        return b"".join(scanned.raw for scanned in reader.scan_by_client())


def run(folder: Path, *arguments: str, migrate: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON report of a migration with the scenario's options, whose result is proven afterwards.

    Args:
        folder: the scenario.
        arguments: options of the migration and of the proof.
        migrate: options of the migration alone.
    """
    expected = int((folder / "expected_exit").read_text())

    result = invoke("migrate", folder, *arguments, *migrate)

    assert expected == result.exit_code, result.output
    if expected in (ExitCode.DONE, ExitCode.REJECTED):
        proof = invoke("verify", folder, *arguments)
        assert proof.exit_code == ExitCode.DONE, proof.output
    return dict(json.loads(result.stdout))


def invoke(command: str, folder: Path, *arguments: str) -> Result:
    """Run a command with the scenario's options."""
    line = [command, "--json", "--config", str(folder / "options.toml"), *arguments]
    return CliRunner().invoke(app, line, env={"MONGODB_URI": ""}, catch_exceptions=False)


def rejections(report: dict[str, Any]) -> str:
    """Which ids were rejected for which reason, as the scenario has it in ``rejections.json``."""
    found = {group["reason"]: group["sample_ids"] for group in report["rejections"]}
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


@scenario
def test_from_files(folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """From file to file, the client documents and rejections are those committed."""
    target = tmp_path / "target.jsonl"
    people = [part for name in ("users", "experts") for part in (f"--{name}", str(folder / f"{name}.jsonl"))]

    report = run(
        folder, "--source", str(folder / "source.jsonl"), "--target", str(target),
        *(people if (folder / "users.jsonl").exists() else []),
    )  # fmt: skip

    if request.config.getoption("--update-golden"):
        (folder / "expected.jsonl").write_bytes(target.read_bytes() if target.exists() else b"")
        (folder / "rejections.json").write_text(rejections(report))
    assert (folder / "expected.jsonl").read_bytes() == (target.read_bytes() if target.exists() else b"")
    assert (folder / "rejections.json").read_text() == rejections(report)


@scenario
def test_from_a_database(folder: Path, database: Database[dict[str, Any]], server_uri: str) -> None:
    """From collection to collection, the client documents and rejections are the same ones."""
    database.create_collection("bookings")
    for name, collection in (("source", "bookings"), ("users", "users"), ("experts", "experts")):
        path = folder / f"{name}.jsonl"
        if path.exists() and path.read_bytes():
            documents: list[dict[str, Any]] = bson.decode_all(dump(path), CODEC)
            database[collection].insert_many(documents)

    database.bookings.create_index("clientId")
    report = run(folder, "--uri", server_uri, "--db", database.name)

    assert dump(folder / "expected.jsonl") == client_documents(database["bookings_consolidated"])
    assert (folder / "rejections.json").read_text() == rejections(report)
