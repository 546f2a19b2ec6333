"""Connection strings that cannot be used: the reason, the hint, the exit code, and no part of a password."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pymongo.synchronous.topology import Topology

from booking_migrate.stores.mongo import connection
from tests.cli.conftest import Run, RunProcess
from tests.support.booking_lines import SOUND
from tests.support.server import Server

HOST = "127.0.0.1:1"
TAIL = f"{HOST}/shop?serverSelectionTimeoutMS=1"


@pytest.mark.parametrize(
    ("uri", "code", "message", "hint"),
    [
        (f"mongodb://ann:p@ss@{TAIL}", 2, "is not percent-encoded", "@ as %40"),
        (f"mongodb://ann:12/ss@{TAIL}", 2, "is not percent-encoded", "/ as %2F"),
        (f"mongodb://ann:12?a=ss@{TAIL}", 2, "is not percent-encoded", "? as %3F"),
        (f"mongodb://ann@{TAIL}", 2, "it has a user but no password", "mongodb://USER:PASSWORD@HOST"),
        (f"mongodb://ann:@{TAIL}&authSource=admin", 2, "it has a user but no password", "@ as %40"),
        ("mongodb+srv://ann@h.example.invalid/shop", 2, "it has a user but no password", "@ as %40"),
        (f"mongodb://ann@{TAIL}&authMechanism=SCRAM-SHA-1", 2, "a user but no password", "@ as %40"),
        (f"mongodb://ann@{TAIL}&authMechanism=PLAIN", 2, "a user but no password", "@ as %40"),
        (f"mongodb://CN=ann@{TAIL}&tls=true&authMechanism=MONGODB-X509", 10, "no MongoDB server", "port"),
        ("http://127.0.0.1", 2, "does not begin with mongodb://", "mongodb://HOST:PORT"),
        ("mongodb://h:99999/shop", 2, "Port must be an integer between 0 and 65535", "mongodb://HOST:PORT"),
        (
            "mongodb://h/shop?replicaSet",
            2,
            "'replicaSet' in the connection string has no value",
            "OPTION=VALUE",
        ),
        (f"mongodb://{TAIL}&maxPoolSize=many", 2, "option maxPoolSize in", "Correct maxPoolSize"),
        (f"mongodb://{TAIL}&readPreference=any", 2, "Not a valid read preference", "Correct readPreference"),
        (f"mongodb://{TAIL}&authMechanism=PASS", 2, "option authMechanism in", "Correct authMechanism"),
        (
            f"mongodb://{TAIL}&tls=true&tlsCAFile=/absent.pem",
            2,
            "/absent.pem cannot be read: No such file",
            "tlsCAFile",
        ),
        (
            f"mongodb://{TAIL}&tlsCertificateKeyFile=/absent.pem",
            2,
            "/absent.pem cannot be read: No",
            "Correct the path",
        ),
        (
            f"mongodb://{TAIL}&tls=true&tlsCAFile=bad.pem",
            2,
            "the driver cannot use tlsCAFile: no cert",
            "PEM",
        ),
        (
            f"mongodb://{TAIL}&tls=true&tlsCertificateKeyFile=bad.pem",
            2,
            "cannot use tlsCertificateKeyFile",
            "PEM",
        ),
        (f"mongodb://{TAIL}&tls=true&tlsCAFile=.", 2, "cannot be read: Is a directory", "Correct the path"),
        (
            f"mongodb://u:p@{TAIL}&authMechanism=MONGODB-AWS",
            10,
            "pymongo_auth_aws is not installed",
            "pymongo[aws]",
        ),
        (f"mongodb://u@{TAIL}&authMechanism=GSSAPI", 10, "kerberos is not installed", "pymongo[gssapi]"),
        (
            f"mongodb://{TAIL}",
            10,
            f"no MongoDB server answers at {HOST}: Connection refused",
            "host and port",
        ),
        (
            f"  mongodb://{TAIL}\r\n",
            10,
            f"no MongoDB server answers at {HOST}: Connection refused",
            "host and port",
        ),
    ],
)
def test_a_connection_string_that_cannot_be_used(
    run: Run, workspace: Path, uri: str, code: int, message: str, hint: str
) -> None:
    """The first line says what is wrong, the hint what helps; if no server answers, that no run was started is said, too."""
    workspace.joinpath("bad.pem").write_text("no certificate", encoding="utf-8")

    result = run("migrate", env={"MONGODB_URI": uri})

    assert code == result.exit_code, result.output
    told, *others = result.stderr.splitlines()
    (advised,) = (each for each in others if each.startswith("hint: "))
    assert message in told
    assert hint in advised
    assert ("No run was started, and nothing was changed." in others) is ("no MongoDB server" in message)


def test_an_srv_name_that_does_not_exist(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SRV name that cannot be resolved is a failed connection that names the record."""
    from dns import resolver  # noqa: PLC0415

    def unknown(*_: object, **__: object) -> None:
        raise resolver.NXDOMAIN

    monkeypatch.setattr(resolver, "resolve", unknown)
    result = run("migrate", env={"MONGODB_URI": "mongodb+srv://cluster.example.invalid/shop"})

    assert 10 == result.exit_code
    assert "name server" in result.stderr
    assert "mongodb+srv://" in result.stderr


def test_a_wrong_replica_set_name(run: Run, server: Server) -> None:
    """The host that was asked is named although the driver drops it, and the hint names the option."""
    host = server.uri.partition("://")[2].partition("/")[0]
    result = run(
        "migrate", env={"MONGODB_URI": f"mongodb://{host}/shop?replicaSet=other&serverSelectionTimeoutMS=300"}
    )

    assert 10 == result.exit_code
    assert f"no MongoDB server answers at {host}: " in result.stderr
    assert "Check the replica set's name in replicaSet=" in result.stderr


def test_an_unknown_option_is_one_plain_warning(run_process: RunProcess) -> None:
    """An option that the driver does not know is named with the nearest one, once, without the driver's own text."""
    done = run_process("migrate", env={"MONGODB_URI": f"mongodb://{TAIL}&retryWritse=true"})

    assert [
        "warning: unknown option 'retryWritse' in the connection string is ignored; did you mean retrywrites?"
    ] == [line for line in done.stderr.splitlines() if "retryWritse" in line]
    assert "UserWarning" not in done.stderr
    assert "site-packages" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate", "mongodb://ann:QXZ", "JQX@host"],
        ["migrate", "mongodb://ann:QXZ JQX@host"],
        ["migrate", "--batch-size", "mongodb://ann:QXZ'JQX\\@host"],
        ["migrate", "--source", "mongodb://ann:QXZ JQX@host"],
        ["mongodb://ann:QXZ@JQX/host"],
    ],
)
def test_a_connection_string_in_the_wrong_place(run: Run, arguments: list[str]) -> None:
    """A usage error repeats no part of the password, also of one that the shell has split at a blank."""
    result = run(*arguments)

    assert 2 == result.exit_code
    assert not [part for part in ("QXZ", "JQX") if part in result.output]


@contextmanager
def _config(path: Path, uri: str) -> Iterator[list[str]]:
    escaped = "".join(f"\\U{ord(each):08x}" for each in uri)
    path.write_text(f'uri = "{escaped}"', encoding="utf-8")
    yield ["--config", str(path)]


# Letters that no message has in a row of three, beside everything that has a meaning in a connection string.
PASSWORDS = st.text(alphabet="QXZJ" + "@:/?#%[]&=+ ;'\"\\" + "éß漢", min_size=3, max_size=24).filter(
    lambda text: re.search(r"[QXZJéß漢]{3}", text)
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@example("Q@XXX/ZZZ", "--uri", 0)
@example("QXZ JQ'XZJ", "misplaced", 0)
@example("12/QXZ", "MONGODB_URI", 1)
@example("12?appName=QXZ", "MONGODB_URI", 0)
@given(
    PASSWORDS,
    st.sampled_from(["--uri", "MONGODB_URI", "BOOKING_MIGRATE_URI", "--config", "misplaced"]),
    st.integers(0, 2),
)
def test_no_part_of_a_password_that_is_not_encoded_is_shown(
    run: Run, tmp_path: Path, password: str, way: str, form: int
) -> None:
    """Whatever a password holds and wherever the connection string is from, no three characters in a row appear."""
    encoded = (password, password.replace("@", "%40"), password.replace("%", "%25"))[form]
    uri = f"mongodb://ann:{encoded}@{TAIL}"
    with _config(tmp_path / "my.toml", uri) as config:
        arguments = {"--uri": ["--uri", uri], "--config": config, "misplaced": ["--source", uri]}.get(way, [])
        env = {way: uri} if way.isupper() and not way.startswith("-") else None
        result = run("migrate", "--json", "--verbose", *arguments, env=env)

    assert result.exit_code in (2, 10), result.output
    parts = [part for part in re.findall(r"(?s)(?=(...))", password) if re.search(r"[QXZJé漢]", part)]
    assert not [part for part in parts if part in result.output]


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "68b61bd7a4c0bf9eaab38ee5"),
        ("explain", "68b61bd7a4c0bf9eaab38ee5", "--source", "in.jsonl"),
        (
            "explain",
            "68b61bd7a4c0bf9eaab38ee5",
            "--source",
            "in.jsonl",
            "--target",
            "out.jsonl",
            "--users",
            "users",
        ),
        ("view", "create", "--name", "flat"),
        ("view", "drop", "--name", "flat"),
        ("service-indexes",),
    ],
    ids=" ".join,
)
def test_a_server_that_is_away_is_not_waited_for(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """The first contact fails when the time for finding a server is over; what follows it would be tried for much longer."""
    for name in ("in.jsonl", "out.jsonl"):
        workspace.joinpath(name).write_text(SOUND, encoding="utf-8")
    searches: list[object] = []
    select_server = Topology.select_server

    def counted(self: Topology, *given: Any, **named: Any) -> Any:
        searches.append(self)
        assert 10 > len(searches), "it is tried again and again"
        return select_server(self, *given, **named)

    monkeypatch.setattr(Topology, "select_server", counted)
    result = run(*arguments, "--uri", f"mongodb://{TAIL}")

    assert 10 == result.exit_code, result.stderr
    assert f"no MongoDB server answers at {HOST}" in result.stderr
    assert 1 == len(searches)


def test_an_srv_name_without_its_module(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that is missing is named, with the command that installs it."""
    monkeypatch.setattr(connection, "find_spec", lambda name: None if name == "dns" else object())
    ended = run("status", env={"MONGODB_URI": "mongodb+srv://example.invalid/shop"})

    assert 10 == ended.exit_code, ended.output
    assert "dnspython is not installed" in ended.stderr
    assert "pip install dnspython" in ended.stderr
