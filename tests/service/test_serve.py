"""The commands serve and service-indexes, as a user runs them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo.database import Database
from typer.testing import CliRunner, Result

from booking_migrate.cli.app import app
from booking_migrate.service.plan import ServiceCollections
from tests.support.platform import Platform, State, user
from tests.support.server import Server, environment_of, guarded_server
from tests.support.service import SECRET, token

Db = Database[dict[str, Any]]
Run = Callable[..., Result]
ROOT = Path(__file__).parents[2]
_SECONDS = 60


@pytest.fixture
def environment(server: Server, empty_database: Db) -> dict[str, str]:
    """The variables that name the server and the test's database, and no others that the program looks at."""
    return environment_of(server.uri, empty_database.name)


@pytest.fixture
def run(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs the program in this process."""
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)

    def invoke(*arguments: str, **variables: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={**environment, **variables})

    return invoke


@contextmanager
def served(environment: Mapping[str, str], *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service as a process, and its address."""
    command = [sys.executable, "-m", "booking_migrate", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("Serving at "), line + process.stderr.read()
        url = line.split()[2].rstrip(";")
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{url}/health")
                break
            except httpx.TransportError:
                time.sleep(0.02)
        yield process, url
    finally:
        process.kill()
        process.communicate(timeout=_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_from_its_start_to_its_end(
    environment: Mapping[str, str], server: Server, empty_database: Db, number: signal.Signals
) -> None:
    """It starts with a key, creates its indexes if asked to, answers, writes its log, and ends well when told to."""
    Platform.settle(server, empty_database, State.UNMIGRATED)
    variables = {**environment, "BOOKING_MIGRATE_JWT_KEY": SECRET}

    with served(variables, "--create-indexes") as (process, url):
        headers = {"Authorization": f"Bearer {token(user(0))}"}
        answer = httpx.get(f"{url}/api/bookings", headers=headers)
        process.send_signal(number)
        output, errors = process.communicate(timeout=_SECONDS)

    assert (200, 8) == (answer.status_code, answer.json()["data"]["pagination"]["total"])
    assert (0, "") == (process.returncode, errors)
    assert {"/health", "/api/bookings"} == {json.loads(line)["path"] for line in output.splitlines()}
    assert SECRET not in output
    assert "server" not in answer.headers
    assert (
        7
        == len(list(empty_database.bookings.list_indexes()))
        + len(list(empty_database.experts.list_indexes()))
        - 1
    )


def test_a_trial_without_tokens(
    run: Run, environment: Mapping[str, str], server: Server, empty_database: Db
) -> None:
    """As one user, without tokens, it works on this machine, and only under this machine's names."""
    Platform.settle(server, empty_database, State.UNMIGRATED)
    assert 0 == run("service-indexes").exit_code

    with served(environment, "--insecure-user", str(user(0))) as (_, url):
        answer = httpx.get(f"{url}/api/bookings")
        stranger = httpx.get(f"{url}/api/bookings", headers={"Host": "rebound.example.com"})

    assert (200, 8) == (answer.status_code, answer.json()["data"]["pagination"]["total"])
    assert 400 == stranger.status_code


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        pytest.param([], {}, "it has no default", id="no key"),
        pytest.param([], {"BOOKING_MIGRATE_JWT_KEY": "secret"}, "at least 32 bytes", id="a short secret"),
        pytest.param(
            ["--insecure-user", "1", "--host", "0.0.0.0"], {}, "which others can reach", id="open to others"
        ),
        pytest.param(
            ["--insecure-user", "1"], {"BOOKING_MIGRATE_JWT_KEY": SECRET}, "one of the two", id="both"
        ),
        pytest.param(
            [],
            {"BOOKING_MIGRATE_JWT_KEY": SECRET, "BOOKING_MIGRATE_JWT_ALGORITHM": "RS256"},
            "does not go with a secret",
            id="another kind of key",
        ),
        pytest.param(
            ["--source", "bookings.jsonl"],
            {"BOOKING_MIGRATE_JWT_KEY": SECRET},
            "collections only",
            id="a file",
        ),
        pytest.param(
            ["--host", "256.1.1.1", "--create-indexes"],
            {"BOOKING_MIGRATE_JWT_KEY": SECRET},
            "cannot listen on 256.1.1.1",
            id="no address",
        ),
    ],
)
def test_it_does_not_start(run: Run, arguments: list[str], variables: dict[str, str], said: str) -> None:
    """Without a sound key, or open to others without tokens, it refuses to start with exit code 2 and says why."""
    result = run("serve", *arguments, **variables)

    assert (2, "") == (result.exit_code, result.stdout)
    assert said in result.stderr
    assert SECRET not in result.stderr


def test_a_port_that_is_taken(run: Run) -> None:
    """A port that somebody else has is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run("serve", "--create-indexes", "--insecure-user", "1", "--port", port)

    assert 2 == result.exit_code
    assert f"port {port}" in result.stderr


def test_without_indexes(run: Run, empty_database: Db) -> None:
    """It creates no index silently: without them it refuses to start, names them and says what to do."""
    result = run("serve", "--insecure-user", "1")

    assert 5 == result.exit_code
    assert "bookings: sessions.expertId, sessions.scheduledDate" in result.stderr
    assert "booking-migrate service-indexes" in result.stderr
    assert [] == empty_database.list_collection_names()


def test_without_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the packages are not installed, it says how to install them."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "fastapi" else object())
    result = run("serve", "--insecure-user", "1")

    assert 2 == result.exit_code
    assert "pip install 'booking-migrate[service]'" in result.stderr


def test_a_server_that_stands_alone(run: Run) -> None:
    """A server without transactions is refused."""
    with guarded_server() as alone:
        result = run("serve", "--insecure-user", "1", "--create-indexes", MONGODB_URI=alone.uri)

    assert 5 == result.exit_code
    assert "is not a replica set" in result.stderr
    assert "secret" not in result.stderr


def test_no_server(run: Run) -> None:
    """A server that does not answer is exit code 10."""
    uri = "mongodb://user:p4ssw0rd@127.0.0.1:1/?serverSelectionTimeoutMS=100"
    result = run("serve", "--insecure-user", "1", MONGODB_URI=uri)

    assert 10 == result.exit_code
    assert "p4ssw0rd" not in result.stderr


def test_service_indexes(run: Run, empty_collections: ServiceCollections) -> None:
    """service-indexes creates what is missing, says what each index is for, and does nothing the second time."""
    first, second = (run("service-indexes", "--json") for _ in range(2))

    reports = [json.loads(result.stdout) for result in (first, second)]
    assert [True, False] == [report["changed"] for report in reports]
    assert [[True] * 6, [False] * 6] == [[one["created"] for one in report["indexes"]] for report in reports]
    assert (
        "exists  bookings: clientId (unique), for one client document a client"
        in run("service-indexes").stdout
    )
    assert 6 == len(list(empty_collections.bookings.list_indexes()))


def test_help_needs_no_extra() -> None:
    """Neither the help of serve nor that of another command imports the web framework."""
    command = [sys.executable, "-X", "importtime", "-m", "booking_migrate"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for arguments in (["serve", "--help"], ["migrate", "--help"]):
        result = subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, check=True
        )
        imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
        assert set() == {"fastapi", "starlette", "uvicorn", "jwt"} & imported


def test_other_commands_do_without_the_extra(tmp_path: Path) -> None:
    """A migration runs where the packages of the service are not installed."""
    blocked = "import sys; sys.modules.update(dict.fromkeys(('fastapi', 'uvicorn', 'jwt', 'cryptography', 'starlette')))"
    start = f"{blocked}; from booking_migrate.cli.app import main; main()"
    arguments = [
        "migrate",
        "--source",
        "examples/reference_booking.jsonl",
        "--target",
        str(tmp_path / "out.jsonl"),
    ]
    result = subprocess.run(
        [sys.executable, "-c", start, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert 0 == result.returncode, result.stderr
