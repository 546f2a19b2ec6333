"""The commands verify and explain as a user types them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from bson.binary import Binary
from bson.decimal128 import Decimal128

from tests.support.booking_lines import MIXED, booking, lines

VERIFY = ["verify", "--source", "in.jsonl", "--target", "out.jsonl"]
Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def migrated(workspace: Path, run: Run) -> None:
    workspace.joinpath("in.jsonl").write_text(MIXED, encoding="utf-8")
    assert run("migrate", "--source", "in.jsonl", "--target", "out.jsonl").exit_code == 3


@pytest.fixture
def harmed(workspace: Path) -> None:
    """A cent is lost in the first session of every client."""
    path = workspace / "out.jsonl"
    documents = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for document in documents:
        document["sessions"][0]["price"] = {"$numberInt": "1499"}
    path.write_text(lines(*documents), encoding="utf-8")


def test_proven(run: Run) -> None:
    """A right result is proven: exit 0, though some bookings were rejected, and the verdict comes first."""
    result = run(*VERIFY)

    assert result.exit_code == 0
    assert result.stdout.startswith("Proven\nAll 13 bookings of the source are accounted for, byte for byte")


@pytest.mark.usefixtures("harmed")
def test_mismatches(run: Run) -> None:
    """Mismatches exit with 4, and the terminal names the rules broken with examples."""
    result = run(*VERIFY)

    assert result.exit_code == 4
    assert result.stdout.startswith("Not proven: 8 mismatches\n2 of 9 rules failed")
    assert "sessions-hold-what-the-bookings-held  4" in result.stdout
    assert "found int32 1499" in " ".join(result.stdout.split())


@pytest.mark.usefixtures("harmed")
def test_json(run: Run) -> None:
    """--json lists mismatches with the documented fields, one by one."""
    result = run(*VERIFY, "--json")
    report = json.loads(result.stdout)

    assert report["exit_code"] == result.exit_code == 4
    assert report["mismatch_count"] == 8
    assert {"kind", "client_id", "booking_id", "field", "expected", "found"} <= set(report["mismatches"][0])
    assert {"content", "totals"} == {each["kind"] for each in report["mismatches"]}


def test_values_of_rejected_bookings(run: Run) -> None:
    """The report of verify has the values for which bookings are rejected, and they are those that the migration counted."""
    migrated, verified = (
        json.loads(run(command, *VERIFY[1:], "--json").stdout)["rejections"]
        for command in ("migrate", "verify")
    )
    told = [
        {each["reason"]: (each["count"], each["fields"], each["values"]) for each in report}
        for report in (migrated, verified)
    ]

    assert told[0] == told[1]
    assert any(values for _, _, values in told[1].values())


@pytest.mark.usefixtures("harmed")
def test_reports(run: Run, workspace: Path) -> None:
    """JUnit has one test case for each rule, Markdown is under a page, and every mismatch is in its file."""
    names = ["v.xml", "v.md", "v.html", "v.json"]
    flags = [part for name in names for part in ("--report", name)]
    run(*VERIFY, *flags, "--mismatches", "all.jsonl")
    suite = ET.parse(workspace / "v.xml").getroot()
    listed = workspace.joinpath("all.jsonl").read_text(encoding="utf-8").splitlines()

    assert ("9", "2") == (suite.get("tests"), suite.get("failures"))
    assert len(workspace.joinpath("v.md").read_text(encoding="utf-8").splitlines()) < 75
    assert len(listed) == 8
    assert {"$numberInt": "1499"} in [json.loads(line).get("found") for line in listed]
    assert "sessions-hold-what-the-bookings-held" in workspace.joinpath("v.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("harmed")
@pytest.mark.parametrize(("policy", "ways"), [("reject", (1, 1)), ("source", (0, 1)), ("target", (1, 0))])
@pytest.mark.parametrize("from_environment", [False, True], ids=["typed", "environment"])
def test_how_conflicts_are_decided_counts_for_what_is_safe(
    run: Run, monkeypatch: pytest.MonkeyPatch, policy: str, ways: tuple[int, int], *, from_environment: bool
) -> None:
    """To migrate again is called safe only where it keeps what others changed, however that is decided."""
    if from_environment:
        monkeypatch.setenv("BOOKING_MIGRATE_ON_CONFLICT", policy)
    typed = [] if from_environment else ["--on-conflict", policy]
    steps = json.loads(run(*VERIFY, *typed, "--json").stdout)["next_steps"]
    migrations = [each for each in steps if " migrate " in (each["command"] or "")]
    safe = [each for each in migrations if "Safe in any case" in each["text"]]
    losing = [each for each in migrations if "is lost" in each["text"]]

    assert ways == (len(safe), len(losing))
    assert all(1 >= each["command"].count("--on-conflict") for each in migrations)
    assert all("--on-conflict source" not in each["command"] for each in safe)


def test_options_of_the_migration_count(run: Run) -> None:
    """A rule that is waived for verify but was not for migrate makes the rejected booking a mismatch."""
    result = run(*VERIFY, "--accept", "duration-too-short", "--json")
    report = json.loads(result.stdout)

    assert result.exit_code == 4
    assert [("missing", "rejected")] == [(each["kind"], each["field"]) for each in report["mismatches"]]


def test_waived_in_both(run: Run) -> None:
    """The same waiver for both is fine."""
    waived = ["--accept", "duration-too-short"]
    run("migrate", "--source", "in.jsonl", "--target", "out.jsonl", *waived, "--overwrite")

    assert run(*VERIFY, *waived).exit_code == 0


def test_nothing(run: Run, workspace: Path) -> None:
    """An empty source with an empty target passes and says that nothing was compared."""
    for name in ("a.jsonl", "b.jsonl"):
        workspace.joinpath(name).touch()
    result = run("verify", "--source", "a.jsonl", "--target", "b.jsonl")

    assert result.exit_code == 0
    assert result.stdout.startswith("Nothing was compared\n")


def test_empty_target(run: Run, workspace: Path) -> None:
    """A source with bookings and an empty target do not pass."""
    workspace.joinpath("out.jsonl").write_text("", encoding="utf-8")

    assert run(*VERIFY).exit_code == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--source", "out.jsonl", "--target", "in.jsonl"],
        ["--source", "in.jsonl", "--target", "absent.jsonl"],
        ["--source", "absent.jsonl", "--target", "out.jsonl"],
        ["--source", "in.jsonl", "--target", "broken.jsonl"],
        ["--source", "in.jsonl", "--target", "out.jsonl", "--users", "absent.jsonl"],
        ["--source", "in.jsonl", "--target", "out.jsonl", "--rejects", "."],
    ],
)
def test_refused(run: Run, workspace: Path, arguments: list[str]) -> None:
    """Swapped arguments, places that do not exist and broken files are refused with one message."""
    workspace.joinpath("broken.jsonl").write_text("{", encoding="utf-8")
    result = run("verify", *arguments)

    assert result.exit_code == 5
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("sessions", [5, None, {}])
def test_sessions_that_are_no_array(run: Run, workspace: Path, sessions: Any) -> None:
    """A client document whose sessions is no array is a mismatch, not a traceback."""
    path = workspace / "out.jsonl"
    documents = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    documents[1]["sessions"] = sessions
    path.write_text(lines(*documents), encoding="utf-8")
    result = run(*VERIFY, "--json")

    assert result.exit_code == 4
    assert ("content", "sessions") in {
        (each["kind"], each["field"]) for each in json.loads(result.stdout)["mismatches"]
    }


def test_same_place(run: Run) -> None:
    """Source and target that are one place are a mistake."""
    assert run("verify", "--source", "in.jsonl", "--target", "./in.jsonl").exit_code == 2


def test_mismatches_never_overwrite_data(run: Run, workspace: Path) -> None:
    """The file of mismatches must not be one that is read."""
    before = workspace.joinpath("in.jsonl").read_bytes()

    assert run(*VERIFY, "--mismatches", "in.jsonl").exit_code == 2
    assert before == workspace.joinpath("in.jsonl").read_bytes()


def test_sample(run: Run) -> None:
    """A sample says that it proves no more than what it saw."""
    result = run(*VERIFY, "--sample", "2")

    assert result.exit_code == 0
    assert result.stdout.startswith("No mismatch in the sample\n2 clients of 4 checked, chosen at random")


def test_workers(run: Run) -> None:
    """With several processes the result is the same."""
    assert run(*VERIFY, "--workers", "2").exit_code == 0


def test_nothing_is_written(run: Run, workspace: Path) -> None:
    """Verify leaves every file as it was and makes none."""
    before = {path: path.read_bytes() for path in workspace.iterdir()}
    run(*VERIFY)

    assert before == {path: path.read_bytes() for path in workspace.iterdir()}


EXPLAIN = ["--source", "in.jsonl", "--target", "out.jsonl"]


def test_explain_migrated(run: Run) -> None:
    """A migrated booking is shown beside its session."""
    result = run("explain", f"65f1a0{5:018x}", *EXPLAIN)

    assert result.exit_code == 0
    assert result.stdout.startswith(f"Booking 65f1a0{5:018x} was migrated\nIt is session 2 of 3")
    assert "legacyBookingId" in result.stdout


def test_explain_rejected(run: Run) -> None:
    """A rejected booking is shown with its cause."""
    result = run("explain", f"65f1a0{11:018x}", *EXPLAIN)

    assert result.exit_code == 0
    assert "was rejected" in result.stdout
    assert "duration-too-short" in result.stdout


@pytest.mark.usefixtures("harmed")
def test_explain_different(run: Run) -> None:
    """A booking whose session is not as it should be exits with 4 and says how."""
    result = run("explain", f"65f1a0{0:018x}", *EXPLAIN, "--json")
    explanation = json.loads(result.stdout)["explanation"]

    assert result.exit_code == 4
    assert ("different", "price") == (explanation["fate"], explanation["mismatches"][0]["field"])


def test_explain_missing(run: Run, workspace: Path) -> None:
    """A booking that is nowhere exits with 4."""
    workspace.joinpath("in.jsonl").write_text(MIXED + lines(booking(99)), encoding="utf-8")
    result = run("explain", f"65f1a0{99:018x}", *EXPLAIN)

    assert result.exit_code == 4
    assert "is not accounted for" in result.stdout


def test_explain_nobody(run: Run) -> None:
    """A booking that the source does not hold is refused, and the hint says which id is meant."""
    result = run("explain", "no-such-booking", *EXPLAIN)

    assert result.exit_code == 5
    assert "booking 'no-such-booking' is not in" in result.stderr
    assert "it is the _id of an old booking, which its session has as legacyBookingId" in result.stderr


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ('{"$oid": "65f1a0000000000000000005"}', 0),
        ('{"$uuid": "65f1a000-0000-4000-8000-000000000005"}', 0),
        ('{"$numberDecimal": "7.5"}', 0),
        ('{"$oid": "65f1a0"}', 5),
        ("{", 5),
    ],
)
def test_explain_any_id(run: Run, workspace: Path, written: str, code: int) -> None:
    """An `_id` of any type can be given in Extended JSON; what is none is no booking."""
    odd = [
        booking(5),
        booking(5, _id=Binary.from_uuid(UUID("65f1a000-0000-4000-8000-000000000005"))),
        booking(5, _id=Decimal128("7.5")),
    ]
    workspace.joinpath("odd.jsonl").write_text(lines(*odd), encoding="utf-8")
    run("migrate", "--source", "odd.jsonl", "--target", "odd-out.jsonl")
    result = run("explain", written, "--source", "odd.jsonl", "--target", "odd-out.jsonl")

    assert code == result.exit_code, result.output
