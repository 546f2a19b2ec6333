"""Who is slow, and a database that does not answer, keep nobody else waiting for ever."""

import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from booking_migrate.service.plan import Limits, ServiceCollections, ServicePlan
from booking_migrate.service.repository import Repository
from tests.support.fail_commands import failing
from tests.support.platform import Platform, user
from tests.support.server import Server
from tests.support.service import WISH, serving

Db = Database[dict[str, Any]]


def test_a_slow_body(repository: Repository, platform: Callable[..., Platform]) -> None:
    """A body that does not arrive in time is 408, and meanwhile others are served."""
    platform()
    head = "POST /api/bookings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with serving(repository, limits=Limits(concurrent=1, waiting=5, seconds=0.5)) as service:
        address = ("127.0.0.1", int(service.url.rpartition(":")[2]))
        with closing(socket.create_connection(address, timeout=30)) as slow, service.client(user(0)) as quick:
            slow.sendall(head.encode())
            served = quick.get("/api/bookings").status_code
            answer = slow.recv(1000)

    assert 200 == served
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_database_that_is_away() -> None:
    """Without a database requests are 503, the process is alive and not ready."""
    with MongoClient[dict[str, Any]]("mongodb://127.0.0.1:1") as client:
        names = ("bookings", "users", "experts", "booking_migrate_slots")
        collections = ServiceCollections(*(client["nowhere"][name] for name in names))
        repository = Repository(collections, ServicePlan(seconds=0.3))
        with serving(repository) as service, service.client(user(0)) as caller:
            answers = [caller.get(path) for path in ("/health", "/ready", "/api/bookings")]

    assert [200, 503, 503] == [answer.status_code for answer in answers]
    assert ["1", "1"] == [answer.headers["Retry-After"] for answer in answers[1:]]
    assert "127.0.0.1" not in answers[2].text


@pytest.mark.parametrize(
    ("what", "path"),
    [
        pytest.param({"failCommands": ["find"], "errorCode": 11602}, "/api/bookings", id="an election"),
        pytest.param(
            {"failCommands": ["find"], "closeConnection": True}, "/api/bookings", id="a lost connection"
        ),
        pytest.param(
            {"failCommands": ["find"], "blockConnection": True, "blockTimeMS": 3000},
            "/api/bookings",
            id="slow",
        ),
    ],
)
def test_a_database_in_trouble(
    server: Server,
    collections: ServiceCollections,
    platform: Callable[..., Platform],
    what: dict[str, Any],
    path: str,
) -> None:
    """What may go away by itself is 503, in bounded time."""
    platform()
    with (
        serving(Repository(collections, ServicePlan(seconds=1.0))) as service,
        service.client(user(0)) as caller,
        failing(server, what["failCommands"], what, of=None),
    ):
        answer = caller.get(path)

    assert (503, False) == (answer.status_code, answer.json()["success"])


@pytest.mark.parametrize("collection", ["users", "experts"])
def test_people_who_cannot_be_looked_up(
    server: Server,
    collections: ServiceCollections,
    platform: Callable[..., Platform],
    collection: str,
) -> None:
    """Where the people of old bookings cannot be looked up just now, the answer is 503."""
    platform()
    namespace = f"{collections.users.database.name}.{collection}"
    repository = Repository(collections, ServicePlan(seconds=1.0))
    caller = repository.people.caller(str(user(0)))
    with (
        pytest.MonkeyPatch.context() as patched,
        serving(repository) as service,
        service.client(user(0)) as client,
        failing(server, ["find"], {"errorCode": 11602, "namespace": namespace}, of=None),
    ):
        patched.setattr(repository.people, "caller", lambda _: caller)
        answer = client.get("/api/bookings")

    assert 503 == answer.status_code


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(
            {"failCommands": ["commitTransaction"], "closeConnection": True}, id="a commit that gets lost"
        ),
        pytest.param(
            {
                "failCommands": ["commitTransaction"],
                "writeConcernError": {"code": 64, "errmsg": "waiting for a majority"},
            },
            id="a commit that is done, but who knows",
        ),
        pytest.param(
            {"failCommands": ["insert"], "errorCode": 112, "errorLabels": ["TransientTransactionError"]},
            id="a conflict",
        ),
        pytest.param({"failCommands": ["update"], "closeConnection": True}, id="a lost connection"),
    ],
)
def test_troubles_that_pass(
    server: Server,
    database: Db,
    repository: Repository,
    platform: Callable[..., Platform],
    what: dict[str, Any],
) -> None:
    """A booking that meets a passing trouble is booked in the end, and only once."""
    platform()
    with (
        serving(repository) as service,
        service.client(user(7)) as caller,
        failing(server, what["failCommands"], what, times=2, of=None),
    ):
        answer = caller.post("/api/bookings", json=WISH)

    assert 201 == answer.status_code
    [document] = database.bookings.find({"clientId": user(7)})
    assert 1 == len(document["sessions"])


def test_out_of_time(
    server: Server, collections: ServiceCollections, platform: Callable[..., Platform]
) -> None:
    """A booking that runs out of time leaves no transaction open, which would keep others from booking."""
    platform()
    slow = Repository(collections, ServicePlan(seconds=1.0))
    with serving(slow) as service, service.client(user(7)) as caller:
        with failing(server, ["update"], {"blockConnection": True, "blockTimeMS": 1200}, of=None):
            late = caller.post("/api/bookings", json=WISH)
        again = caller.post("/api/bookings", json=WISH)

    assert (503, 201) == (late.status_code, again.status_code)
    assert 0 == server.client().admin.command("serverStatus")["transactions"]["currentOpen"]


def test_a_collection_that_refuses_writes(
    database: Db, repository: Repository, platform: Callable[..., Platform]
) -> None:
    """During a cut-over, which refuses writes for a while, a change is 503 and done later."""
    platform()
    database.command("collMod", "bookings", validator={"fence": True}, validationLevel="strict")
    with serving(repository) as service, service.client(user(7)) as caller:
        refused = caller.post("/api/bookings", json=WISH)
        database.command("collMod", "bookings", validator={})
        booked = caller.post("/api/bookings", json=WISH)

    assert (503, "5", 201) == (refused.status_code, refused.headers["Retry-After"], booked.status_code)


def test_an_unexpected_error(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody expected is 500 in the envelope; the log says where it came about, and quotes nothing."""

    def fail(*_: Any) -> None:
        raise KeyError("a booking's notes")

    monkeypatch.setattr(repository.people, "caller", fail)
    with serving(repository) as service, service.client(user(0)) as caller:
        answer = caller.get("/api/bookings")

    assert (500, {"success": False, "error": "something went wrong here"}) == (
        answer.status_code,
        answer.json(),
    )
    [line] = service.logged(1)
    assert "KeyError" in line
    assert "notes" not in line + answer.text


def test_many_slow_ones(repository: Repository, platform: Callable[..., Platform]) -> None:
    """Connections that send nothing keep nobody else from working."""
    platform()
    with serving(repository, limits=Limits(concurrent=2, waiting=10)) as service:
        address = ("127.0.0.1", int(service.url.rpartition(":")[2]))
        idle = [socket.create_connection(address, timeout=30) for _ in range(20)]
        try:
            assert 401 == httpx.get(f"{service.url}/api/bookings").status_code
        finally:
            for connection in idle:
                connection.close()
