"""What is built, installed and published, and the recipes for it: the wheel, workflows, the image, the Job."""

import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
import yaml
from typer.core import TyperGroup

from booking_migrate import __version__
from booking_migrate.cli.app import app
from booking_migrate.errors import ExitCode
from tests.support.readme import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CONTAINERFILE = ROOT / "examples" / "container" / "Containerfile"
JOB = ROOT / "examples" / "kubernetes" / "job.yaml"
CONTAINERS = (ROOT / "examples" / "containers.md").read_text(encoding="utf-8")
_PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and a source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder


def test_the_wheel_has_the_program_and_nothing_else(built: Path) -> None:
    """Every file of the package that is under version control is in the wheel, with its types, and no test."""
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "booking_migrate"
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    expected = {str(path.relative_to(ROOT)) for path in files}
    about = {name for name in names if name.startswith(f"booking_migrate-{__version__}.dist-info/")}

    assert "booking_migrate/py.typed" in expected
    assert expected == names - about
    assert f"booking_migrate-{__version__}.dist-info/licenses/LICENSE" in about


def test_the_source_distribution_has_what_a_wheel_is_built_of(built: Path) -> None:
    """Program, pages, tests and examples are in it, and nothing that git ignores."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}

    assert {"pyproject.toml", "README.md", "LICENSE", "booking_migrate/py.typed", "tests/README.md"} <= names
    assert not [name for name in names if ".venv" in name or "__pycache__" in name]


def test_the_wheel_runs(built: Path, tmp_path: Path) -> None:
    """Installed, it has its command, shows its version, and makes a report whose template is package data."""
    (wheel,) = built.glob("*.whl")
    place = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(place), str(wheel)], check=True, capture_output=True)
    command = [str(place / "bin" / "booking-migrate")]
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("BOOKING_", "MONGODB_"))
    }
    environment = {**kept, "PYTHONPATH": str(place)}
    examples = {name: str(ROOT / "examples" / f"{name}.jsonl") for name in ("bookings", "users", "experts")}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        done = [*command, *arguments]
        return subprocess.run(
            done, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
        )

    migrated = run(
        *("migrate", "--source", examples["bookings"], "--target", "clients.jsonl", "--quiet"),
        *("--users", examples["users"], "--experts", examples["experts"], "--report", "report.html"),
    )

    assert f"booking-migrate {__version__}\n" == run("--version").stdout
    assert (3, "") == (migrated.returncode, migrated.stderr)
    assert 40 == len((tmp_path / "clients.jsonl").read_text(encoding="utf-8").splitlines())
    assert "<style>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_there_are_workflows_for_tests_and_releases() -> None:
    """Both are there, each with the least that it may do."""
    read = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in WORKFLOWS}

    assert {"tests", "release"} == read.keys()
    assert {"contents": "read"} == read["tests"]["permissions"]
    assert {} == read["release"]["permissions"]
    assert {"id-token": "write"} == read["release"]["jobs"]["publish"]["permissions"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned(path: Path) -> None:
    """Each action stands as a commit with its version as a comment, or is a workflow of this repository."""
    uses = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))

    assert uses
    assert [] == [each for each in uses if not each.startswith("./") and not _PINNED.fullmatch(each)]


def test_the_matrix_has_every_python_that_the_package_names() -> None:
    """Classifiers and the matrix of the workflow name the same versions."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    matrix = _workflow("tests")["jobs"]["replica-set"]["strategy"]["matrix"]

    assert re.findall(r"Python :: (3\.\d+)", text) == matrix["python"]
    assert ["6.0", "7.0", "8.0"] == matrix["mongodb"]


def _workflow(name: str) -> dict[str, Any]:
    path = next(path for path in WORKFLOWS if path.stem == name)
    read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read


def test_the_image_is_pinned_slim_and_without_privileges() -> None:
    """The base has a complete version, what is copied exists, the user is a number, and the program is process 1."""
    text = CONTAINERFILE.read_text(encoding="utf-8").replace("\\\n", "")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    copied = [
        word for name, rest in steps if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]
    ]
    (user,) = [rest for name, rest in steps if name == "USER"]
    (entry,) = [json.loads(rest) for name, rest in steps if name == "ENTRYPOINT"]

    assert all(re.match(r"python:3\.\d+\.\d+-slim-", rest) for name, rest in steps if name == "FROM")
    assert [] == [each for each in copied if not (ROOT / each).exists()]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert ["booking-migrate"] == entry


def test_the_job_runs_a_command_of_the_program() -> None:
    """Its command takes its options, its variables are read, and its image is that of this version."""
    container = _pod()["containers"][0]
    name, *arguments = container["args"]
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    (secret,) = [each for each in _documents() if each["kind"] == "Secret"]

    with group.commands[name].make_context(name, arguments, parent=typer.Context(group)) as context:
        assert "bookings_consolidated" == context.params["target"]
    assert {"MONGODB_URI"} == secret["stringData"].keys()
    assert [{"secretRef": {"name": secret["metadata"]["name"]}}] == container["envFrom"]
    assert f"booking-migrate:{__version__}" == container["image"]


def test_the_job_tries_again_where_that_helps() -> None:
    """Every exit code is decided: those that another pod would have again end the Job, as the page says; others do not."""
    job = next(each for each in _documents() if each["kind"] == "Job")
    rules = job["spec"]["podFailurePolicy"]["rules"]
    final = {code for rule in rules if rule["action"] == "FailJob" for code in rule["onExitCodes"]["values"]}
    again = {
        ExitCode.UNEXPECTED,
        ExitCode.NOT_WRITTEN,
        ExitCode.CANNOT_CONNECT,
        ExitCode.LOCKED,
        ExitCode.HUNG_UP,
        ExitCode.INTERRUPTED,
        ExitCode.TERMINATED,
    }
    rejected = int(ExitCode.REJECTED)
    others = ", ".join(map(str, sorted(final - {rejected})))

    assert sorted(set(ExitCode) - {ExitCode.DONE}) == sorted([*final, *again])
    assert f"some bookings are rejected ({rejected})" in CONTAINERS
    assert f"({others}) | the Job fails at once" in CONTAINERS
    assert "Never" == _pod()["restartPolicy"]
    assert _pod()["securityContext"]["runAsNonRoot"]


def _documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(JOB.read_text(encoding="utf-8")))


def _pod() -> dict[str, Any]:
    job = next(each for each in _documents() if each["kind"] == "Job")
    pod: dict[str, Any] = job["spec"]["template"]["spec"]
    return pod


def test_the_page_runs_commands_of_the_program() -> None:
    """Each `podman run` has a command with options that it takes."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    text = (ROOT / "examples" / "containers.md").read_text(encoding="utf-8")
    lines = re.findall(rf"podman run .* booking-migrate:{re.escape(__version__)} (.+)", text)

    assert 2 == len(lines)
    for line in lines:
        name, *arguments = shlex.split(line)
        with group.commands[name].make_context(name, arguments, parent=typer.Context(group)) as context:
            assert name == context.info_name
