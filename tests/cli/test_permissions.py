"""A server that lets nobody in without a password: what a wrong one, or a lacking privilege, leads to."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote_plus

import pytest
from pymongo import MongoClient
from pymongo.monitoring import (
    CommandStartedEvent,
)

from booking_migrate.stores.mongo import connection
from tests.cli.conftest import Run, RunProcess
from tests.support.bookings import a_booking
from tests.support.sent_commands import SentCommands
from tests.support.server import Server, guarded_server

PASSWORD = "p@ss:w/%ord"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server with bookings, a reader and a writer."""
    with guarded_server() as server:
        database = server.client()["platform"]
        database["bookings"].insert_one(a_booking())
        database.command("createUser", "reader", pwd=PASSWORD, roles=["read"])
        database.command("createUser", "writer", pwd=PASSWORD, roles=["readWrite"])
        yield server


def uri_of(server: Server, user: str, password: str = PASSWORD) -> str:
    """A connection string for one user."""
    host = server.uri.partition("@")[2].partition("/")[0]
    return f"mongodb://{user}:{quote_plus(password)}@{host}/platform"


_READS = {
    *("aggregate", "collStats", "connectionStatus", "count", "endSessions", "find", "getMore", "hello"),
    *(
        "killCursors",
        "listCollections",
        "listDatabases",
        "listIndexes",
        "ping",
        "saslContinue",
        "saslStart",
        "explain",
        "serverStatus",
    ),
}
"""The commands that write nothing."""


class SentWrites(SentCommands):
    """Records the commands that may write and that a client sends, permitted or not."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Record a command."""
        if event.command_name not in _READS:
            self.names.append(event.command_name)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> SentWrites:
    """The write commands of a program that runs in this process."""
    recorder = SentWrites()

    def client(*arguments: Any, event_listeners: Sequence[Any] = (), **options: Any) -> MongoClient[Any]:
        return MongoClient(*arguments, event_listeners=[*event_listeners, recorder], **options)

    monkeypatch.setattr(connection, "MongoClient", client)
    return recorder


def test_a_wrong_password_is_no_connection(guarded: Server, run_process: RunProcess) -> None:
    """Exit code 10, one clear message, no traceback, and the password nowhere."""
    done = run_process("migrate", env={"MONGODB_URI": uri_of(guarded, "writer", "wr0ng%secret")})

    assert 10 == done.returncode
    tried = (
        "user writer, looked for in the database platform, because the connection string has no authSource"
    )
    assert f"does not accept this user and password: {tried}" in done.stderr
    assert "if it was created in platform, check the password" in done.stderr
    assert "percent-encode" in done.stderr
    assert "Traceback" not in done.stderr
    for secret in ("wr0ng%secret", quote_plus("wr0ng%secret")):
        assert secret not in done.stdout + done.stderr


def test_no_user_at_a_server_with_access_control(guarded: Server, run_process: RunProcess) -> None:
    """Exit code 10, naming server, database and the variable that takes user and password."""
    host = guarded.uri.partition("@")[2].partition("/")[0]
    done = run_process("migrate", env={"MONGODB_URI": f"mongodb://{host}/platform"})

    assert 10 == done.returncode
    assert f"{host} requires authentication for the database platform" in done.stderr
    assert f"export MONGODB_URI='mongodb://USER:PASSWORD@{host}/platform" in done.stderr


def test_a_forgotten_auth_source(guarded: Server, run_process: RunProcess) -> None:
    """A user of the database admin that is looked for in another one cannot log in; the hint names authSource."""
    done = run_process("migrate", env={"MONGODB_URI": guarded.uri.replace("/?authSource=admin", "/platform")})
    wrong = guarded.uri.replace("secret", "wrong").replace("/?", "/platform?")
    named = run_process("migrate", env={"MONGODB_URI": wrong})

    assert (10, 10) == (done.returncode, named.returncode)
    assert (
        "looked for in the database platform, because the connection string has no authSource" in done.stderr
    )
    assert (
        "hint: Usual: the user was created in the database admin, and authSource is missing. Keep the other options of your connection "
        "string, such as replicaSet:" in done.stderr
    )
    assert "/platform?authSource=admin'" in done.stderr
    assert "looked for in the database admin, as authSource says" in named.stderr
    assert "authSource is missing" not in named.stderr


def test_who_may_only_read_is_refused_before_anything_is_written(
    guarded: Server, run_process: RunProcess
) -> None:
    """Exit code 5, naming the place; no collection appears."""
    done = run_process("migrate", "--verbose", env={"MONGODB_URI": uri_of(guarded, "reader")})

    assert 5 == done.returncode
    assert "migrate is not ready: this user lacks on platform: insert, update, remove" in " ".join(
        done.stderr.split()
    )
    assert PASSWORD not in done.stdout + done.stderr
    assert ["bookings"] == guarded.client()["platform"].list_collection_names()


def test_the_built_in_role_for_writing_is_enough(guarded: Server, run_process: RunProcess) -> None:
    """A user with `readWrite` on the database can migrate; nothing that is printed holds the password."""
    done = run_process(
        "migrate", "--target", "clients", "--json", env={"MONGODB_URI": uri_of(guarded, "writer")}
    )

    assert 0 == done.returncode
    assert 1 == guarded.client()["platform"]["clients"].count_documents({})
    guarded.client()["platform"].drop_collection("clients")
    assert quote_plus(PASSWORD) not in done.stdout + done.stderr


@pytest.mark.parametrize("roles", [["read"], ["data-reader"]])
def test_who_may_only_read_gets_a_verification(
    guarded: Server, run_process: RunProcess, run: Run, sent: SentWrites, roles: list[str]
) -> None:
    """Verify proves the result for a user who may not write the journal, or not even read it; it sends no write and says so."""
    database = guarded.client()["platform"]
    assert (
        0
        == run_process(
            "migrate", "--target", "clients", env={"MONGODB_URI": uri_of(guarded, "writer")}
        ).returncode
    )
    if roles == ["data-reader"]:
        readable = ("bookings", "clients", "users", "experts", "booking_migrate_rejected")
        privileges = [
            *(
                {
                    "resource": {"db": "platform", "collection": name},
                    "actions": ["find", "listIndexes", "collStats"],
                }
                for name in readable
            ),
            {"resource": {"db": "platform", "collection": ""}, "actions": ["listCollections"]},
        ]
        database.command("createRole", "data-reader", privileges=privileges, roles=[])
    database.command("createUser", roles[0], pwd=PASSWORD, roles=roles)
    uri = {"MONGODB_URI": uri_of(guarded, roles[0])}
    done = run("verify", "--target", "clients", "--workers", "1", env=uri)
    written = list(sent.names)
    by_writer = run("verify", "--target", "clients", env={"MONGODB_URI": uri_of(guarded, "writer")})
    database.drop_collection("clients")

    assert 0 == done.exit_code, done.stderr
    assert [] == written
    assert 1 == done.stderr.count("cutover will not know of this verification")
    assert ("read" in roles) == (1 == done.stderr.count("warning:"))
    assert "cutover will not know" not in by_writer.stderr
    assert {"findAndModify"} == set(sent.names)


def test_a_database_that_the_user_does_not_see(guarded: Server, run_process: RunProcess) -> None:
    """A typo is more likely than a lacking role: the database that there is comes first, the role only if the name is right."""
    done = run_process("dry-run", "--db", "platfrom", env={"MONGODB_URI": uri_of(guarded, "reader")})
    hint = done.stderr.partition("hint: ")[2].splitlines()

    assert 5 == done.returncode
    assert "This user sees no database platfrom, but platform. If platform is meant:" == hint[0]
    assert "booking-migrate dry-run --db platform" == hint[1].strip()
    assert hint[2].startswith("Or, only if the name platfrom is right: It needs read on platfrom;")


def test_preflight_of_a_database_that_does_not_exist(guarded: Server, run_process: RunProcess) -> None:
    """An administrator is told that there is none of this name, and which there are."""
    admin = guarded.uri.replace("/?", "/platfrom?")
    done = run_process("preflight", "--role", env={"MONGODB_URI": admin})
    said = " ".join(done.stdout.split())

    assert "database platfrom does not exist, or has no collection that this user sees" in said
    assert "Did you mean platform? The server has platform: name the right one with --db" in said
