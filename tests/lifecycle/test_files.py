"""The life of a run into a file: what its sidecar says, and how its files go again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
import pytest

from booking_migrate.bson.document import element_of, elements, wrap, write_fields
from booking_migrate.errors import ExitCode
from tests.support.booking_lines import MIXED, booking, client

Run = Callable[..., Any]
ARGUMENTS = ("--target", "out.jsonl")


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old bookings in a file of the folder to run in."""
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("in.jsonl").write_text(MIXED, encoding="utf-8")


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_there_and_back(tmp_path: Path, invoke: Run) -> None:
    """Rollback removes what the run wrote; a second one says so."""
    before = _names(tmp_path)
    migrated = invoke("migrate", "--source", "in.jsonl", *ARGUMENTS)
    sidecar = json.loads(tmp_path.joinpath("out.jsonl.run.json").read_text())
    undone = invoke("rollback", *ARGUMENTS, "--yes", "--json")
    again = invoke("rollback", *ARGUMENTS, "--yes", "--json")

    assert ("done", 10) == (sidecar["run"]["state"], sidecar["run"]["counts"]["migrated"])
    assert [ExitCode.REJECTED, ExitCode.DONE, ExitCode.DONE] == [
        each.exit_code for each in (migrated, undone, again)
    ]
    assert (2, "file") == tuple(json.loads(undone.stdout)["undone"][key] for key in ("removed", "unit"))
    assert json.loads(again.stdout)["undone"]["already"] is True
    assert before | {"out.jsonl.run.json"} == _names(tmp_path)


def test_second_run(tmp_path: Path, invoke: Run) -> None:
    """A second migrate changes nothing, not even the sidecar."""
    invoke("migrate", "--source", "in.jsonl", *ARGUMENTS)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    invoke("migrate", "--source", "in.jsonl", *ARGUMENTS)

    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_client_named_twice(tmp_path: Path, invoke: Run) -> None:
    """A booking that names two clients is rejected alone, and the bookings of both around it stay together."""
    raws = [write_fields(booking(number)) for number in range(1200)]
    for number in range(0, 1200, 7):
        raws[number] = wrap([*elements(raws[number]), element_of("clientId", client((number + 1) % 4))])
    tmp_path.joinpath("in.bson").write_bytes(b"".join(raws))
    places = ("--source", "in.bson", "--target", "out.bson", "--json")
    migrated = json.loads(invoke("migrate", *places).stdout)
    verified = invoke("verify", *places)

    assert (1200, 172) == tuple(migrated["counts"][name] for name in ("scanned", "rejected"))
    assert 4 == len(bson.decode_all(tmp_path.joinpath("out.bson").read_bytes()))
    assert ExitCode.DONE == verified.exit_code, verified.stdout
    assert 1028 == json.loads(verified.stdout)["counts"]["migrated"]


def test_a_changed_file_is_kept(tmp_path: Path, invoke: Run) -> None:
    """A file that somebody has changed since is kept and named, and the exit code is 3."""
    invoke("migrate", "--source", "in.jsonl", *ARGUMENTS)
    target = tmp_path / "out.jsonl"
    target.write_text(target.read_text() + "{}\n", encoding="utf-8")
    undone = invoke("rollback", *ARGUMENTS, "--yes", "--json")

    assert ExitCode.REJECTED == undone.exit_code
    assert ["out.jsonl"] == json.loads(undone.stdout)["undone"]["kept_ids"]
    assert {"in.jsonl", "out.jsonl", "out.jsonl.run.json"} == _names(tmp_path)


def test_written_through_a_link(tmp_path: Path, invoke: Run) -> None:
    """Rollback removes the file that a link led to, where the run wrote it, and the link stays."""
    link, real = tmp_path / "out.jsonl", tmp_path / "data" / "real.jsonl"
    real.parent.mkdir()
    link.symlink_to(real)
    invoke("migrate", "--source", "in.jsonl", *ARGUMENTS)
    assert real.exists()
    undone = invoke("rollback", *ARGUMENTS, "--yes")

    assert ExitCode.DONE == undone.exit_code, undone.output
    assert (False, True) == (real.exists(), link.is_symlink())


def test_a_run_killed_before_its_end_is_completed(tmp_path: Path, killed: Run, invoke: Run) -> None:
    """Killed when its files have just appeared, a run is completed by the same command and can be rolled back."""
    source, target = str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")
    assert -9 == killed("target-finished", 1, "migrate", "--source", source, "--target", target)
    completed = invoke("migrate", "--source", source, "--target", target, "--json")
    undone = invoke("rollback", "--target", target, "--yes")

    assert (10, True) == tuple(
        json.loads(completed.stdout)[key] if key == "changed" else json.loads(completed.stdout)["counts"][key]
        for key in ("migrated", "changed")
    )
    assert ExitCode.DONE == undone.exit_code, undone.output
    assert {"in.jsonl", "out.jsonl.run.json"} == _names(tmp_path)


def test_status(invoke: Run) -> None:
    """Status tells of a target file's run what its sidecar says, and how to undo it."""
    invoke("migrate", "--source", "in.jsonl", *ARGUMENTS)
    (run,) = json.loads(invoke("status", *ARGUMENTS, "--json").stdout)["runs"]

    assert ("done", False, False) == tuple(run[key] for key in ("state", "alive", "stale"))
    assert "booking-migrate rollback --target out.jsonl" == run["possible"][-1]


def test_nothing_to_roll_back(invoke: Run) -> None:
    """A file that no run is known to have written is not touched: exit code 12."""
    Path("out.jsonl").touch()

    assert ExitCode.NOTHING_TO_DO == invoke("rollback", *ARGUMENTS, "--yes").exit_code


def test_a_newer_sidecar_is_refused(invoke: Run) -> None:
    """What a newer version of the program wrote is not touched."""
    Path("out.jsonl.run.json").write_text('{"version": 99}', encoding="utf-8")

    assert ExitCode.REFUSED == invoke("rollback", *ARGUMENTS, "--yes").exit_code
    assert ExitCode.REFUSED == invoke("migrate", "--source", "in.jsonl", *ARGUMENTS).exit_code
