"""Every report as JSON is valid under the published schema, and has no field that the schema does not know."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from pymongo.database import Database

from booking_migrate.reports.schema import KINDS, report_schema
from tests.golden.conftest import FILES
from tests.support.booking_lines import booking
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Any]


def _strict(part: Any) -> Any:
    """The schema, with fields refused that it does not know."""
    if isinstance(part, dict):
        closed = {"additionalProperties": False} if "properties" in part and "type" in part else {}
        return {**closed, **{name: _strict(value) for name, value in part.items()}}
    return [_strict(each) for each in part] if isinstance(part, list) else part


STRICT = jsonschema_rs.validator_for(_strict(report_schema()))


def faults(report: Any) -> list[str]:
    """What is not valid in a report."""
    return [f"{list(error.instance_path)}: {error.message}" for error in STRICT.iter_errors(report)]


def test_the_command_prints_it(run: Run) -> None:
    """`schema` prints a JSON Schema of the dialect that it names, and nothing else."""
    printed = run("schema")
    schema = json.loads(printed.stdout)

    assert 0 == printed.exit_code
    assert report_schema() == schema
    jsonschema_rs.meta.validate(schema)


GOLDEN = sorted(path for path in FILES.glob("*.json") if not path.name.endswith(".schema.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_reports(path: Path) -> None:
    """The golden reports are valid."""
    assert [] == faults(json.loads(path.read_text(encoding="utf-8")))


def test_what_it_refuses() -> None:
    """A report without what every report has, of another type, or without its kind's own part is not valid."""
    good = json.loads((FILES / "dry-run-ready.json").read_text(encoding="utf-8"))

    assert faults({**good, "command": 5})
    assert faults({**good, "unheard": 5})
    assert faults({name: value for name, value in good.items() if name != "dry_run"})


def _reports(run: Run, database: Db, folder: Path) -> Iterator[tuple[str, Any]]:
    """The report of every command, as a migration goes on, and of some that fail."""
    plan = str(folder / "plan.json")
    places = ("--target", "clients")

    def reported(*arguments: str) -> tuple[str, Any]:
        done = run(*arguments, "--json")
        return " ".join(arguments), json.loads(done.stdout)

    yield reported("dry-run")
    database.bookings.insert_many([*map(booking, range(12)), booking(12, duration=5)])
    yield reported("init")
    folder.joinpath("app.js").write_text("db.collection('bookings').find({ status: 'pending' });\n")
    yield reported("audit-code", "app.js")
    database.payments.insert_one({"bookingId": booking(1)["_id"]})
    yield reported("references", "find", *places)
    yield reported("references", "map", *places, "--out", str(folder / "map.csv"))
    yield reported("preflight", *places, "--role")
    yield reported("dry-run", *places, "--plan", plan)
    yield reported("migrate", *places, "--plan", plan)
    yield reported("explain", str(booking(1)["_id"]), *places)
    yield reported("verify", *places)
    yield reported("status")
    yield reported("cutover", *places, "--yes")
    yield reported("cutover", *places, "--yes", "--rejected", "carry")
    yield reported("view", "create", "old", "--source", "bookings")
    yield reported("service-indexes")
    yield reported("status")
    yield reported("references", "rewrite", "--field", "payments.bookingId", "--yes")
    yield reported("references", "verify")
    yield reported("rollback", "--yes")
    yield reported("rollback", "--references", "--yes")
    yield reported("control", "pause")
    yield reported("rollback", "--yes")
    yield reported("migrate", "--in-place")
    yield reported("references", "keep")
    yield reported("finalize", "--in-place", "--yes")
    yield reported("migrate", "--source", "missing")
    yield reported("migrate", "--bach-size", "5")
    yield reported("nonsense")


def test_real_reports(
    server: Server, database: Db, run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the commands report of a whole life is valid, and so is what they report when they are refused."""
    monkeypatch.setenv("MONGODB_URI", server.uri)
    monkeypatch.setenv("BOOKING_MIGRATE_DB", database.name)
    found = {name: (report, faults(report)) for name, report in _reports(run, database, workspace)}

    assert {} == {name: wrong for name, (_, wrong) in found.items() if wrong}
    assert set(KINDS) <= {report["command"] for report, _ in found.values()}
    assert 2 == found["nonsense"][0]["exit_code"]
