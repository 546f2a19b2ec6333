"""dry-run on files: its verdict, its exit code, what it writes when asked to, and that it writes nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.booking_lines import MIXED, SOUND, booking, lines
from tests.support.sample_reports import HOSTILE

Run = Callable[..., Any]
PLACES = ("--source", "bookings.jsonl", "--target", "clients.jsonl")


@pytest.fixture(autouse=True)
def bookings(workspace: Path) -> Path:
    """Ten sound bookings of four clients."""
    path = workspace / "bookings.jsonl"
    path.write_text(SOUND, encoding="utf-8")
    return path


def files(folder: Path) -> set[str]:
    """The names of what is in a folder."""
    return {path.name for path in folder.iterdir()}


def test_ready(run: Run, workspace: Path) -> None:
    """Sound bookings are ready to migrate: exit 0, the verdict first, no file made."""
    result = run("dry-run", *PLACES)

    assert (0, "") == (result.exit_code, result.stderr)
    assert result.stdout.startswith(
        "Ready to migrate\n10 of 10 bookings would be migrated into 4 client documents"
    )
    assert {"bookings.jsonl"} == files(workspace)


def test_rejections(run: Run, bookings: Path) -> None:
    """Bookings that would be rejected give exit 3 and a verdict that says so; it still fits a screen."""
    bookings.write_text(MIXED, encoding="utf-8")
    result = run("dry-run", *PLACES)

    assert 3 == result.exit_code
    assert result.stdout.startswith("Ready, but 3 bookings would be rejected\n")
    assert "--accept currency-not-allowed" in result.stdout
    assert len(result.stdout.splitlines()) <= 40


def test_a_file_alone_is_enough(run: Run) -> None:
    """Without a server the default target is taken as empty, whatever MONGODB_URI other programs use."""
    result = run("dry-run", "--source", "bookings.jsonl", env={"MONGODB_URI": "mongodb://127.0.0.1:1/other"})

    assert 0 == result.exit_code
    assert "bookings.jsonl -> bookings_consolidated" in result.stdout


def test_nothing_to_migrate(run: Run, bookings: Path) -> None:
    """An empty source is no success to be proud of, but no failure."""
    bookings.write_text("", encoding="utf-8")
    result = run("dry-run", *PLACES)

    assert 0 == result.exit_code
    assert result.stdout.startswith("Nothing to migrate\n")


def test_after_migrating(run: Run) -> None:
    """After the migration there is nothing to do."""
    run("migrate", *PLACES)

    assert run("dry-run", *PLACES).stdout.startswith("Nothing to do\n")


@pytest.mark.parametrize(("options", "code"), [((), 5), (("--overwrite",), 0)])
def test_a_target_file_with_other_content(
    run: Run, workspace: Path, options: tuple[str, ...], code: int
) -> None:
    """A target file that holds something else stands in the way unless it may be overwritten; it is left alone."""
    workspace.joinpath("clients.jsonl").write_text("something else\n", encoding="utf-8")
    result = run("dry-run", *PLACES, "--json", *options)
    report = json.loads(result.stdout)

    assert code == result.exit_code
    assert ([] if options else ["TargetHoldsOther"]) == [
        each["kind"] for each in report["dry_run"]["blockers"]
    ]
    assert 10 == report["counts"]["migrated"]
    assert "something else\n" == workspace.joinpath("clients.jsonl").read_text(encoding="utf-8")


def test_a_target_that_cannot_be_written(run: Run, workspace: Path) -> None:
    """A folder in the target's place is a blocker, and named first."""
    workspace.joinpath("clients.jsonl").mkdir()
    result = run("dry-run", *PLACES)

    assert 5 == result.exit_code
    assert result.stdout.startswith(
        "Not ready: migrate would be refused\nclients.jsonl cannot be used: it is a directory"
    )


@pytest.mark.parametrize("content", ["{broken", '{"_id": 1}\n{"_id"'])
def test_bad_input(run: Run, bookings: Path, content: str) -> None:
    """A broken source is refused as by migrate: place and line, exit 5, no traceback."""
    bookings.write_text(content, encoding="utf-8")
    result = run("dry-run", *PLACES)

    assert 5 == result.exit_code
    assert "bookings.jsonl, line" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_same_file_twice(run: Run) -> None:
    """What is read cannot be written, be it as the target or as the file for rejected bookings."""
    target = run("dry-run", "--source", "bookings.jsonl", "--target", "bookings.jsonl")
    rejects = run("dry-run", *PLACES, "--reject-file", "bookings.jsonl")

    assert (2, 2) == (target.exit_code, rejects.exit_code)


def test_reject_file(run: Run, workspace: Path, bookings: Path) -> None:
    """--reject-file holds byte for byte what migrate keeps, is written anew each time, and goes when it is empty."""
    bookings.write_text(MIXED, encoding="utf-8")
    run("dry-run", *PLACES, "--reject-file", "wrong.jsonl", "--accept", "duration-too-short")
    result = run("dry-run", *PLACES, "--reject-file", "wrong.jsonl", "--json")
    foretold = workspace.joinpath("wrong.jsonl").read_bytes()
    run("migrate", *PLACES)

    assert "wrong.jsonl" == json.loads(result.stdout)["rejects"]
    assert workspace.joinpath("clients.jsonl.rejected.jsonl").read_bytes() == foretold


def test_a_plan_that_still_fits(run: Run, workspace: Path) -> None:
    """With --plan, migrate goes ahead while options and data are those of the plan; the plan tells no more than it must."""
    run("dry-run", *PLACES, "--plan", "plan.json")
    result = run("migrate", *PLACES, "--plan", "plan.json")
    plan = json.loads(workspace.joinpath("plan.json").read_text(encoding="utf-8"))

    assert 0 == result.exit_code
    assert ("booking-migrate plan", 1) == (plan["format"], plan["version"])
    assert {"source": "bookings.jsonl", "target": "clients.jsonl"} == plan["places"]
    assert 10 == plan["expected"]["migrated"]


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (("--accept", "price-negative"), "accept was nothing and is price-negative"),
        (("--max-document-size", "1MiB"), "max-document-size was 8388608 and is 1048576"),
        (("--config", "other.toml"), "contract.currencies was not given and is INR"),
        (("--target", "others.jsonl"), "target was clients.jsonl and is others.jsonl"),
        (("--users", "users.jsonl"), "users was not given and is users.jsonl"),
    ],
)
def test_a_plan_under_other_options(
    run: Run, workspace: Path, options: tuple[str, ...], difference: str
) -> None:
    """Another option, contract or place than planned is refused, and named; nothing is written."""
    workspace.joinpath("other.toml").write_text('[contract]\ncurrencies = ["INR"]\n', encoding="utf-8")
    workspace.joinpath("users.jsonl").write_text("", encoding="utf-8")
    run("dry-run", *PLACES, "--plan", "plan.json")
    before = files(workspace)
    result = run("migrate", *PLACES, "--plan", "plan.json", *options)

    assert 5 == result.exit_code
    assert difference in result.stderr
    assert before == files(workspace)


def test_a_plan_over_other_data(run: Run, bookings: Path) -> None:
    """Data that changed since the plan is refused, and what changed is named."""
    run("dry-run", *PLACES, "--plan", "plan.json")
    bookings.write_text(SOUND + lines(booking(77)), encoding="utf-8")
    result = run("migrate", *PLACES, "--plan", "plan.json")

    assert 5 == result.exit_code
    assert "SHA-256 of source was" in result.stderr


@pytest.mark.parametrize("content", ["", "{}", '{"format": "booking-migrate plan", "version": 2}', "[]"])
def test_no_plan(run: Run, workspace: Path, content: str) -> None:
    """A file that is no plan, or one of a version to come, is a usage error."""
    workspace.joinpath("plan.json").write_text(content, encoding="utf-8")
    result = run("migrate", *PLACES, "--plan", "plan.json")

    assert 2 == result.exit_code
    assert "plan.json is not a plan of this version" in result.stderr


def test_a_plan_of_standard_input(run: Run) -> None:
    """Standard input comes only once, so there is no plan of it."""
    result = run("dry-run", "--source", "-", "--plan", "plan.json", input=SOUND)

    assert 5 == result.exit_code
    assert "comes only once" in result.stderr


def test_a_sample_of_a_file(run: Run, bookings: Path) -> None:
    """A sample's figures are scaled to the whole and marked as estimates."""
    bookings.write_text(lines(*(booking(number) for number in range(400))), encoding="utf-8")
    result = run("dry-run", *PLACES, "--sample", "250")

    assert 0 == result.exit_code
    assert "Every figure is estimated from a sample of" in result.stdout
    assert result.stdout.startswith("Ready, judging by a sample")
    assert "≈400 of ≈400 bookings" in result.stdout
    assert "Read everything:\n    booking-migrate dry-run --source" in result.stdout
    assert "--sample" not in result.stdout.rpartition("Read everything:")[2]


def test_hostile_data(run: Run, workspace: Path, bookings: Path) -> None:
    """Markup, control characters and megabytes in the data neither break nor bloat a report."""
    hostile = HOSTILE.replace("\x00", "").replace("\ud800", "")
    documents = [
        booking(1, status=hostile, paymentStatus="x" * 1_000_000),
        booking(2, _id=hostile, clientId=hostile, currency="x" * 1_000_000),
        booking(3, _id="y" * 1_000_000, clientId="z" * 1_000_000),
    ]
    bookings.write_text(lines(*documents), encoding="utf-8")
    names = ["report.html", "report.md", "report.json", "report.xml"]
    result = run("dry-run", *PLACES, *(part for name in names for part in ("--report", name)))
    page = workspace.joinpath("report.html").read_text(encoding="utf-8")

    assert 3 == result.exit_code
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert max(workspace.joinpath(name).stat().st_size for name in names) < 40_000
    assert "\x1b[2J" not in result.stdout
