"""A replica set whose primary stays without a majority: what only reads works, and all else ends and says why."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import encode
from pymongo.database import Database
from typer.testing import CliRunner

from booking_migrate.cli.app import app
from booking_migrate.errors import NoMajority
from booking_migrate.stores.mongo import retry
from booking_migrate.stores.mongo.connection import open_collection
from booking_migrate.stores.mongo.cutover import MongoLive
from booking_migrate.stores.mongo.in_place_units import insert_missing
from booking_migrate.stores.mongo.rejects import CollectionRejects
from booking_migrate.stores.mongo.replica_set import build_index
from booking_migrate.stores.mongo.rollback import MongoUndo
from booking_migrate.stores.mongo.servers import known_members, members_of
from booking_migrate.stores.mongo.target import MongoTarget
from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import booking
from tests.support.failpoints import Step, failpoints
from tests.support.replica_set import ReplicaSet, replica_set
from tests.support.server import environment_of

Db = Database[dict[str, Any]]

RETRY_TIMEOUT = 0.5
FIRST = str(booking(0)["_id"])


def run(server: ReplicaSet, database: str, *arguments: str) -> Ended:
    """Run the program on a database of the set."""
    environment = environment_of(server.uri, database)
    result = CliRunner().invoke(app, list(arguments), env=environment, prog_name="booking-migrate")
    return Ended(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="module")
def server() -> Iterator[ReplicaSet]:
    """A primary and an arbiter; the secondary went down after each kind of run was made in a database of its own."""
    with replica_set(has_arbiter=True) as servers:
        for name in ("fresh", "side", "place"):
            servers.client()[name].bookings.insert_many([*map(booking, range(29)), booking(29, duration=5)])
        codes = [
            run(servers, *step).returncode
            for step in (
                ("side", "migrate"),
                ("side", "verify"),
                ("place", "migrate", "--in-place"),
            )
        ]
        assert [3, 0, 3] == codes
        servers.lose(servers.ports[1])
        for name in ("fresh", "side", "place"):
            servers.client()[name].bookings.insert_one(booking(30))
        yield servers


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RETRY_TIMEOUT", RETRY_TIMEOUT)


def states(server: ReplicaSet) -> str:
    """The members as messages have them."""
    names = ("PRIMARY", "DOWN", "ARBITER")
    return ", ".join(f"127.0.0.1:{port} {name}" for port, name in zip(server.ports, names, strict=True))


@pytest.mark.parametrize(
    "step",
    [
        ("fresh", "migrate"),
        ("fresh", "migrate", "--target", "clients.jsonl"),
        ("fresh", "migrate", "--in-place"),
        ("side", "migrate"),
        ("side", "verify"),
        ("side", "cutover", "--rejected", "carry", "--yes"),
        ("side", "rollback", "--yes"),
        ("place", "verify", "--in-place"),
        ("place", "rollback", "--target", "bookings", "--yes"),
        ("place", "finalize", "--yes"),
    ],
    ids=" ".join,
)
def test_a_command_that_needs_a_majority_ends(
    server: ReplicaSet, step: tuple[str, ...], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What writes or proves ends with 10 and the members' states before it changes anything."""
    monkeypatch.chdir(tmp_path)
    database = server.client()[step[0]]
    before = database.command("dbHash")["md5"]
    ended = run(server, *step)

    assert 10 == ended.returncode, ended.stderr
    assert f"no majority of the replica set acknowledges writes: {states(server)}" in ended.stderr
    assert "Start the members that are down" in ended.stderr
    assert before == database.command("dbHash")["md5"]


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (("side", "status"), 0),
        (("place", "status"), 0),
        (("side", "explain", FIRST), 0),
        (("fresh", "dry-run"), 3),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else str(each),
)
def test_a_command_that_only_reads_works(server: ReplicaSet, step: tuple[str, ...], code: int) -> None:
    """What only looks is not held up by members that are down."""
    ended = run(server, *step)

    assert code == ended.returncode, ended.stderr


def test_a_dry_run_says_that_there_is_no_majority(server: ReplicaSet) -> None:
    """A dry-run counts what a majority has, and names the members that keep the other commands from working."""
    report = json.loads(run(server, "fresh", "dry-run", "--json").stdout)
    finding = next(each for each in report["findings"] if each["kind"] == "no-majority")

    assert states(server).split(", ") == finding["sample_ids"]
    assert 30 == report["counts"]["scanned"]


def test_members_without_the_privilege(server: ReplicaSet) -> None:
    """The driver's own view of the members, which needs no privilege, is that of the server."""
    client = server.client()

    assert sorted(states(server).split(", ")) == sorted(map(str, known_members(client)))
    assert sorted(states(server).split(", ")) == sorted(map(str, members_of(client)))


def test_the_build_of_an_index_ends(server: ReplicaSet) -> None:
    """The build of an index, whose commit waits for all members, is given up when they have been down for too long."""
    collection = open_collection(server.client(), "indexed", "bookings")
    server.client()["indexed"].bookings.insert_one(booking(0))
    with pytest.raises(NoMajority) as given_up:
        build_index(collection, [("clientId", 1)])

    assert states(server) == given_up.value.members


@pytest.mark.parametrize("kind", ["undo", "in-place", "target"])
def test_what_is_written_and_not_acknowledged(server: ReplicaSet, kind: str) -> None:
    """A document that the first attempt writes and the next ones find there ends as what it is: no majority."""
    target, rejects = (
        open_collection(server.client(), f"twice-{kind}", name) for name in ("clients", "rejects")
    )
    writer = MongoTarget(target, CollectionRejects(rejects, source="bookings", target="clients"))
    document = encode({"_id": 1, "clientId": 1, "sessions": []})
    insert: dict[str, Callable[[], object]] = {
        "undo": lambda: MongoUndo(target, rejects, writer, source="bookings").insert([document]),
        "in-place": lambda: insert_missing(target, [document], lambda: None),
        "target": lambda: writer.write([document], [], []),
    }
    with pytest.raises(NoMajority):
        insert[kind]()

    assert 1 == server.client()[f"twice-{kind}"].clients.count_documents({})


@pytest.fixture(scope="module")
def lossy() -> Iterator[ReplicaSet]:
    """A primary, a secondary that goes down and comes back, and an arbiter."""
    with replica_set(has_arbiter=True) as servers:
        yield servers


@pytest.fixture
def losing(lossy: ReplicaSet, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """A function that runs the program and makes the secondary go down at a step of it."""
    monkeypatch.setattr(retry, "_ACKNOWLEDGED_SECONDS", RETRY_TIMEOUT)
    patience(monkeypatch, 60)

    def lose() -> None:
        lossy.lose(lossy.ports[1])
        # Long enough for a second attempt, which finds what the first one has written.
        patience(monkeypatch, 4 * RETRY_TIMEOUT)

    def lost(step: Step, database: str, *arguments: str) -> Ended:
        with failpoints(Once(step, lose)):
            ended = run(lossy, database, *arguments)
        patience(monkeypatch, 60)
        return ended

    return lost


def test_a_majority_that_is_lost_while_migrating(lossy: ReplicaSet, losing: Callable[..., Ended]) -> None:
    """The run ends with 10 and the members' states; when the secondary is back, the same command completes it."""
    bookings = lossy.client()["migrated"].bookings
    bookings.insert_many([*map(booking, range(29)), booking(29, duration=5)])
    migrate = ("migrate", "--batch-size", "5", "--json")
    lost = losing(Step.BATCH_WRITTEN, "migrated", *migrate)
    expected = f"no majority of the replica set acknowledges writes: {states(lossy)}"
    status = run(lossy, "migrated", "status")
    lossy.restart(lossy.ports[1])
    completed = run(lossy, "migrated", *migrate)
    verified = run(lossy, "migrated", "verify")

    assert 10 == lost.returncode, lost.stderr
    assert expected in lost.stderr
    assert [0, 3, 0] == [each.returncode for each in (status, completed, verified)], completed.stderr
    assert 30 == json.loads(completed.stdout)["counts"]["scanned"]


def test_a_majority_that_is_lost_behind_the_fence(lossy: ReplicaSet, losing: Callable[..., Ended]) -> None:
    """A cut-over ends with 10 and the source accepts writes again; when the secondary is back, the same command completes it."""
    bookings = lossy.client()["swapped"].bookings
    bookings.insert_many(map(booking, range(8)))
    # Noticing that a member is down takes longer than writes may be refused by default.
    cutover = ("cutover", "--yes", "--max-outage", "60s")
    codes = [run(lossy, "swapped", step).returncode for step in ("migrate", "verify")]
    lost = losing(Step.FENCED, "swapped", *cutover)
    bookings.insert_one(booking(8))
    lossy.restart(lossy.ports[1])
    done = run(lossy, "swapped", *cutover)

    assert [0, 0, 10] == [*codes, lost.returncode], lost.stderr
    assert "bookings accepts writes again" in lost.stderr
    assert 0 == done.returncode, done.stderr
    assert 9 == sum(len(each["sessions"]) for each in bookings.find())


def test_a_swap_that_no_majority_has(lossy: ReplicaSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename that an election may still undo does not count as carried out: that it is not acknowledged is said."""
    client = lossy.client()
    for name in ("bookings", "clients"):
        client["renamed"][name].insert_one(booking(0))
    live = MongoLive(*(open_collection(client, "renamed", name) for name in ("bookings", "clients")))
    settings = live.settings_of_both()
    monkeypatch.setattr(retry, "_ACKNOWLEDGED_SECONDS", RETRY_TIMEOUT)
    lossy.lose(lossy.ports[1])
    command = {"renameCollection": "renamed.clients", "to": "renamed.bookings", "dropTarget": True}
    client.admin.command({**command, "writeConcern": {"w": 1}})
    with pytest.raises(NoMajority):
        live.is_swapped(settings)
    lossy.restart(lossy.ports[1])
    patience(monkeypatch, 60)

    assert live.is_swapped(settings)


def patience(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Change how long anything is tried again."""
    monkeypatch.setattr(retry, "RETRY_TIMEOUT", seconds)


class Once:
    """Acts once, at one step."""

    def __init__(self, step: Step, act: Callable[[], None]) -> None:
        self._step: Step | None = step
        self._act = act

    def __call__(self, step: Step) -> None:
        """Act if this is the step."""
        if step is self._step:
            self._step = None
            self._act()
