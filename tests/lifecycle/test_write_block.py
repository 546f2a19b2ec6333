"""A cut-over that refuses all users' writes meanwhile: by the server's own mode, which is never left on."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import WriteError

from tests.lifecycle.conftest import Command, contents
from tests.support.booking_lines import booking
from tests.support.fail_commands import failing
from tests.support.failpoints import Step
from tests.support.server import Server, guarded_server, running_server
from tests.support.writers import Writers

Db = Database[dict[str, Any]]
Run = Command
Killed = Callable[..., Any]

PLACES = ("--source", "bookings", "--target", "clients")
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s", "--block-all-writes")
OFF, ON = 1, 2
_REFUSED_BY_FENCE, _REFUSED_BY_BLOCK = 121, 371
OPERATOR = ["readWriteAnyDatabase", "dbAdminAnyDatabase", "restore", "clusterMonitor"]
NEEDED = ["setUserWriteBlockMode", "bypassWriteBlockingMode", "serverStatus"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A replica set of one that asks for passwords, with an operator, an application, and operators who may less."""
    with guarded_server(in_replica_set=True) as guarded:
        admin = guarded.client().admin
        admin.command("createUser", "operator", pwd="secret", roles=OPERATOR)
        admin.command("createUser", "application", pwd="secret", roles=["readWriteAnyDatabase"])
        for lacking in NEEDED:
            actions = [action for action in NEEDED if action != lacking]
            privilege = {"resource": {"cluster": True}, "actions": actions}
            admin.command("createRole", f"no-{lacking}", privileges=[privilege], roles=OPERATOR[:2])
            admin.command("createUser", f"no-{lacking}", pwd="secret", roles=[f"no-{lacking}"])
        yield guarded


@pytest.fixture
def environment(server: Server, database: Db, environment: dict[str, str]) -> dict[str, str]:
    """The program runs as the operator."""
    return {**environment, "MONGODB_URI": uri_of(server, "operator"), "BOOKING_MIGRATE_DB": database.name}


def uri_of(server: Server, user: str) -> str:
    """The connection string of one user."""
    return server.uri.replace("admin:secret", f"{user}:secret")


@pytest.fixture
def application(server: Server, database: Db) -> Iterator[Db]:
    """The database as the application sees it."""
    with MongoClient[dict[str, Any]](uri_of(server, "application")) as client:
        yield client[database.name]


@pytest.fixture
def migrated(database: Db, command: Run) -> None:
    """Thirty bookings of four clients, migrated and verified."""
    database.bookings.insert_many(map(booking, range(30)))
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))


def mode(server: Server) -> int:
    """Whether the server refuses users' writes."""
    found: int = server.client().admin.command("serverStatus")["repl"]["userWriteBlockMode"]
    return found


@pytest.mark.usefixtures("migrated")
def test_nobody_writes_meanwhile(
    server: Server, database: Db, application: Db, command: Run, killed: Killed
) -> None:
    """Between fence and swap the application may neither insert nor update nor delete, in any database."""
    killed(Step.FENCED.value, 1, *CUTOVER)
    elsewhere = application.client[f"test_{uuid4().hex[:16]}"]
    before = contents(database)["bookings"]
    codes = []
    for write in (
        lambda: application.bookings.insert_one(booking(40)),
        lambda: application.bookings.update_many({}, {"$set": {"status": "cancelled"}}),
        lambda: application.bookings.delete_many({}),
        lambda: elsewhere.anything.insert_one({}),
    ):
        with pytest.raises(WriteError) as refused:
            write()
        codes.append(refused.value.code)

    # The usual fence is there too, and the server asks it first.
    assert [_REFUSED_BY_FENCE, _REFUSED_BY_FENCE, _REFUSED_BY_BLOCK, _REFUSED_BY_BLOCK] == codes
    assert ON == mode(server)
    assert before == contents(database)["bookings"]

    done = command(*CUTOVER)
    elsewhere.anything.insert_one({})
    server.client().drop_database(elsewhere.name)

    assert 0 == done.returncode, done.stderr
    assert OFF == mode(server)
    assert 4 == application.bookings.count_documents({"sessions": {"$exists": True}})


@pytest.mark.usefixtures("migrated")
def test_writers_lose_nothing(server: Server, database: Db, application: Db, command: Run) -> None:
    """An application that inserts, updates and deletes at full speed does not end the cut-over, and loses no write."""
    database.bookings.insert_many(map(booking, range(30, 300)))
    with Writers(application.bookings, updated=range(100), deleted=range(100, 300)) as writers:
        done = command(*CUTOVER)
    live: dict[Any, Any] = {}
    for document in database.bookings.find():
        sessions = document.get("sessions", [{**document, "legacyBookingId": document["_id"]}])
        live |= {each["legacyBookingId"]: each for each in sessions}

    assert 0 == done.returncode, done.stderr
    assert OFF == mode(server)
    assert writers.inserted <= live.keys()
    assert writers.updated == {key: live[key]["notes"] for key in writers.updated}
    assert writers.deleted.isdisjoint(live)


@pytest.mark.each_value
@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("step", [Step.CUTOVER_NOTED, Step.COPIED, Step.FENCED, Step.SWAPPED])
@pytest.mark.parametrize("way_out", ["cutover", "rollback"])
def test_killed_anywhere(application: Db, command: Run, killed: Killed, step: Step, way_out: str) -> None:
    """Whoever clears up after a kill, the application can write again, though they did not ask for the mode."""
    assert -9 == killed(step.value, 1, *CUTOVER)
    arguments = CUTOVER[:-1] if way_out == "cutover" else ("rollback", "--target", "clients", "--yes")
    ended = command(*arguments)
    application.bookings.insert_one({"clientId": "somebody", "sessions": []})

    assert way_out == "rollback" or ended.returncode == 0, ended.stderr


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("refused", ["renameCollection", "collMod", "setUserWriteBlockMode"])
def test_a_failure_lifts_it(server: Server, database: Db, command: Run, refused: str) -> None:
    """When the server refuses a step, the mode is off again and the source as it was."""
    before = contents(database)
    with failing(server, [refused], {"errorCode": 96}, times=1):
        failed = command(*CUTOVER)

    assert 5 == failed.returncode, failed.stderr
    assert OFF == mode(server)
    assert before == contents(database)
    assert 0 == command(*CUTOVER).returncode
    assert OFF == mode(server)


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("lacking", NEEDED)
def test_a_privilege_is_missing(server: Server, database: Db, command: Run, lacking: str) -> None:
    """Without a privilege that it takes, the cut-over is refused before anything is touched, naming it."""
    before = contents(database)
    refused = command(*CUTOVER, "--uri", uri_of(server, f"no-{lacking}"))

    assert 5 == refused.returncode
    assert f"the user lacks {lacking} (database" in refused.stderr
    assert "WritesNotBlockable" == json.loads(refused.stdout)["error"]["kind"]
    assert (before, OFF) == (contents(database), mode(server))


@pytest.mark.usefixtures("migrated")
def test_somebody_has_blocked_them_already(server: Server, database: Db, command: Run) -> None:
    """A block that somebody else has set is left as it is."""
    before = contents(database)
    admin = server.client().admin
    admin.command({"setUserWriteBlockMode": 1, "global": True})
    try:
        refused = command(*CUTOVER)
        there = mode(server)
    finally:
        admin.command({"setUserWriteBlockMode": 1, "global": False})

    assert (5, ON) == (refused.returncode, there), refused.stderr
    assert "already" in refused.stderr
    assert before == contents(database)


@pytest.mark.parametrize("kind", ["open", "alone"])
def test_servers_that_cannot(command: Run, kind: str) -> None:
    """A server that asks for no password, or that stands alone, is refused by what it lacks."""
    name = f"test_{uuid4().hex[:16]}"
    with running_server() if kind == "open" else guarded_server() as other:
        other.client()[name].bookings.insert_many(map(booking, range(9)))
        place = ("--uri", other.uri, "--db", name)
        for step in ("migrate", "verify"):
            assert 0 == command(step, *PLACES, *place).returncode
        before = contents(other.client()[name])
        refused = command(*CUTOVER, *place)
        after = contents(other.client()[name])
        other.client().drop_database(name)

    assert 5 == refused.returncode
    expected = "no user is logged in" if kind == "open" else "does not have setUserWriteBlockMode"
    assert expected in refused.stderr
    assert before == after
