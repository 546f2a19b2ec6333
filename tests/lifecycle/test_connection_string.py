"""What a connection string asks for never weakens a step, and a member that is not the primary is named."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson.objectid import ObjectId
from pymongo import MongoClient, monitoring
from pymongo.database import Database

from booking_migrate.stores.mongo import connection
from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import booking, client
from tests.support.replica_set import ReplicaSet, replica_set
from tests.support.sent_commands import SentCommands
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

WEAK = "&readPreference=secondaryPreferred&readConcernLevel=local&w={w}&journal=false&retryWrites=false"

OPLOG_WINDOW = ("find", "oplog.rs")
"""How far the oplog reaches is no matter of a majority."""

READS = frozenset({"find", "aggregate", "count", "distinct"})
WRITES = frozenset(
    {
        *("insert", "update", "delete", "findAndModify", "bulkWrite", "commitTransaction", "create"),
        *("createIndexes", "dropIndexes", "drop", "collMod", "renameCollection"),
    }
)
DURABLE_LATER = ("update", "booking_migrate_locks")
"""A lease is renewed without waiting for a majority: the write behind it waits."""

LIMITED = frozenset({"collMod", "dropIndexes"})
"""With a time limit, which is not for members that lag, a majority is waited for by the next command that writes, on the same collection."""


class Commands(SentCommands):
    """Remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Remember one."""
        self.sent.append(dict(event.command))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Everything that the program sends."""
    listener = Commands()
    make = connection.make_client

    def listening(uri: str) -> MongoClient[Any]:
        monkeypatch.setattr(connection, "MongoClient", heard)
        return make(uri)

    def heard(*arguments: Any, **options: Any) -> MongoClient[Any]:
        options["event_listeners"] = [*options.get("event_listeners", ()), listener]
        return MongoClient(*arguments, **options)

    monkeypatch.setattr(connection, "make_client", listening)
    return listener


def _is_about_operations(command: dict[str, Any]) -> bool:
    """Whether it asks for running operations, which have no read concern."""
    return any("$currentOp" in stage for stage in command.get("pipeline", []))


def weaknesses(sent: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The commands that read from elsewhere than the primary, or read or write with less than a majority."""
    for at, command in enumerate(sent):
        name, value = next(iter(command.items()))
        if command.get("$readPreference", {"mode": "primary"})["mode"] not in ("primary", "primaryPreferred"):
            yield name, command["$readPreference"]
        in_transaction = "autocommit" in command
        concern = command.get("readConcern", {}).get("level")
        if (
            (name, value) != OPLOG_WINDOW
            and name in READS
            and not _is_about_operations(command)
            and not in_transaction
            and concern not in ("majority", "snapshot")
        ):
            yield name, (value, command)
        if command.get("startTransaction") and concern != "snapshot":
            yield name, (value, command)
        is_write = name in WRITES and (not in_transaction or name == "commitTransaction")
        if (
            is_write
            and command.get("writeConcern", {}).get("w") != "majority"
            and (name, value) != DURABLE_LATER
            and not (name in LIMITED and "maxTimeMS" in command and _is_settled(value, sent[at + 1 :]))
        ):
            yield name, (value, command)


def _is_settled(collection: str, later: list[dict[str, Any]]) -> bool:
    writes = (each for each in later if next(iter(each)) in WRITES)
    # Another thread may renew the lease in between.
    written = next((each for each in writes if next(iter(each.items())) != DURABLE_LATER), {})
    return written.get("update") == collection and written["writeConcern"]["w"] == "majority"


@pytest.mark.each_value
@pytest.mark.parametrize("w", ["0", "1"])
@pytest.mark.parametrize(
    "steps",
    [
        (("migrate", 3), ("verify", 0), ("explain 65f1a0000000000000000000", 0), ("cutover --rejected carry --yes", 0),
         ("status", 0), ("rollback --yes", 0)),
        (("dry-run", 3), ("migrate", 3), ("rollback --yes", 0)),
        (("migrate --merge-client-documents", 3),),
        (("migrate --in-place", 3), ("verify --in-place", 0), ("rollback --target bookings --yes", 0)),
        (("migrate --in-place", 3), ("finalize --yes", 0)),
    ],
    ids=["cutover", "side-by-side", "joined", "in-place", "finalized"],
)  # fmt: skip
def test_no_step_is_weakened(
    server: Server, database: Db, command: Run, commands: Commands, steps: tuple[tuple[str, int], ...], w: str
) -> None:
    """Whatever read preference and concerns the string has, all is read from the primary and proven by a majority."""
    database.bookings.insert_many([*map(booking, range(29)), booking(29, duration=5)])
    if any("--merge-client-documents" in step for step, _ in steps):
        # Joining documents of one client with different ids takes a transaction.
        for collection, number in ((database.bookings, "5"), (database.bookings_consolidated, "6")):
            collection.insert_one({"_id": ObjectId(number * 24), "clientId": client(1), "sessions": []})
    uri = server.uri + WEAK.format(w=w)
    codes = [command(*step.split(), "--uri", uri) for step, _ in steps]

    assert [code for _, code in steps] == [each.returncode for each in codes], codes[-1].stderr
    assert len(commands.sent) > len(steps)
    assert [] == list(weaknesses(commands.sent))


@pytest.fixture(scope="module")
def trio() -> Iterator[ReplicaSet]:
    """A primary, a secondary and an arbiter."""
    with replica_set(has_arbiter=True) as servers:
        yield servers


@pytest.mark.each_value
@pytest.mark.parametrize(("number", "state"), [(1, "a secondary"), (2, "an arbiter")])
@pytest.mark.parametrize("step", ["status", "dry-run", "migrate", "verify", "rollback --yes"])
def test_a_string_that_reaches_another_member_than_the_primary(
    trio: ReplicaSet, command: Run, step: str, number: int, state: str
) -> None:
    """A direct connection to a secondary or an arbiter ends with 10, what it is, and the string to use instead."""
    host = f"127.0.0.1:{trio.ports[number]}"
    ended = command(*step.split(), "--uri", f"mongodb://{host}/?directConnection=true")

    assert 10 == ended.returncode, ended.stderr
    assert f"reaches only {host}, which is {state} in the replica set tests" in ended.stderr
    assert f"mongodb://127.0.0.1:{trio.ports[0]}" in ended.stderr
    assert "/?replicaSet=tests" in ended.stderr


def test_a_string_that_reaches_the_primary_alone(trio: ReplicaSet, command: Run) -> None:
    """A direct connection to the primary is as good as one to the set."""
    uri = f"mongodb://127.0.0.1:{trio.ports[0]}/?directConnection=true"

    assert 0 == command("status", "--uri", uri).returncode


def test_a_set_without_a_primary(trio: ReplicaSet, command: Run) -> None:
    """A string of a set whose primary does not answer ends with 10 and the members' states."""
    primary, secondary, arbiter = trio.ports
    trio.kill(primary)
    try:
        ended = command("migrate", "--uri", f"{trio.uri}&serverSelectionTimeoutMS=1000")
    finally:
        trio.restart(primary)
        trio.await_primary()

    states = f"127.0.0.1:{primary} DOWN, 127.0.0.1:{secondary} SECONDARY, 127.0.0.1:{arbiter} ARBITER"
    assert 10 == ended.returncode, ended.stderr
    assert all(each in ended.stderr for each in states.split(", ")), ended.stderr
    assert "the replica set has no primary that can be reached" in ended.stderr
