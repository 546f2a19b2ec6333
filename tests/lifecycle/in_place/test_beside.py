"""Beside an application that writes: nothing is overwritten, what comes late is picked up, what is killed is repeated."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from booking_migrate.errors import Contended
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.in_place import Move, Unit, Writes, open_in_place
from booking_migrate.stores.ports import Replacement
from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import booking, client
from tests.support.failpoints import Step
from tests.support.killed import goes_on, stopped_at
from tests.support.server import Server, guarded_server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--in-place", "--json", "--quiet")


@pytest.fixture
def server_of_users() -> Iterator[Server]:
    """A replica set that lets nobody in without a password."""
    with guarded_server(in_replica_set=True) as running:
        yield running


def test_killed_from_outside(
    database: Db, server: Server, environment: dict[str, str], tmp_path: Path
) -> None:
    """A transaction whose session is killed from outside is repeated: nothing is lost or counted twice."""
    database.bookings.insert_many(map(booking, range(40)))
    gate = tmp_path / "gate"
    process = stopped_at(Step.MOVE_PREPARED, environment, gate, *MIGRATE)
    untouched = database.bookings.count_documents({"sessions": {"$exists": False}})
    server.client().admin.command("killAllSessions", [])
    report = goes_on(process, gate)

    assert 40 == untouched
    assert (40, 40, 4) == tuple(report["counts"][name] for name in ("scanned", "migrated", "clients"))
    assert (4, 40) == (database.bookings.count_documents({}), database.bookings_legacy.count_documents({}))


def test_bookings_that_come_late(
    database: Db, environment: dict[str, str], command: Run, tmp_path: Path
) -> None:
    """Bookings that an old instance inserts for clients that are done are picked up, as if they had been there."""
    database.expected.insert_many(map(booking, range(16)))
    database.bookings.insert_many(booking(number) for number in range(16) if number not in (0, 8, 9))
    gate = tmp_path / "gate"
    arguments = (*MIGRATE, "--batch-size", "2")
    process = stopped_at(Step.BATCH_WRITTEN, environment, gate, *arguments)
    database.bookings.insert_many(map(booking, (0, 8, 9)))
    report = goes_on(process, gate)
    command("migrate", "--source", "expected", "--target", "clients", "--quiet")

    assert (16, 16, 4, 16) == tuple(
        report["counts"][name] for name in ("scanned", "migrated", "clients", "sessions")
    )
    assert list(database.clients.find().sort("_id", 1)) == list(database.bookings.find().sort("_id", 1))


def test_not_under_a_run_that_reads(
    database: Db, command: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    """While a run reads the collection into another one, nothing is moved away under it: exit 11, and it is named."""
    database.bookings.insert_many(map(booking, range(8)))
    gate = tmp_path / "gate"
    beside = ("migrate", "--target", "clients", "--json", "--quiet")
    process = stopped_at(Step.BATCH_WRITTEN, environment, gate, *beside)
    refused = command(*MIGRATE)
    untouched = database.bookings.count_documents({"sessions": {"$exists": False}})
    goes_on(process, gate)

    assert 11 == refused.returncode, refused.stderr
    assert "which reads it into clients" in " ".join(refused.stderr.split())
    assert 8 == untouched
    assert 0 == command("rollback", "--target", "clients", "--yes").returncode
    assert 0 == command(*MIGRATE).returncode


def test_passes_end(database: Db, command: Run) -> None:
    """After --passes N it says that the last one still found bookings; the exit code is that of the bookings."""
    database.bookings.insert_many(map(booking, range(8)))
    ended = json.loads(command(*MIGRATE, "--passes", "1").stdout)
    again = json.loads(command(*MIGRATE).stdout)

    assert (0, 1, [("bookings-still-come", 8)]) == (
        ended["exit_code"],
        ended["passes"],
        [(each["kind"], each["count"]) for each in ended["findings"]],
    )
    assert ([], False) == (again["findings"], again["changed"])


def _contending_writes() -> dict[str, Callable[[Db], Any]]:
    own = {"sessionId": ObjectId(), "price": 1}
    return {
        "changes-an-old-booking": lambda database: database.bookings.update_one(
            {"_id": booking(1)["_id"]}, {"$set": {"status": "confirmed"}}
        ),
        "deletes-an-old-booking": lambda database: database.bookings.delete_one({"_id": booking(1)["_id"]}),
        "makes-a-client-document": lambda database: database.bookings.insert_one(
            {"_id": 9, "clientId": client(1), "sessions": [own]}
        ),
        "books-into-the-document": lambda database: database.bookings.update_one(
            {"_id": 7}, {"$push": {"sessions": own}}
        ),
    }


@pytest.mark.parametrize("name", list(_contending_writes()))
def test_writes_at_the_same_time(database: Db, server_uri: str, name: str) -> None:
    """What the application writes between reading and writing makes the unit of work fail, and nothing of it is done."""
    database.bookings.insert_many([booking(1), booking(2), {"_id": 7, "clientId": client(2), "sessions": []}])

    def move(unit: Unit) -> None:
        found = unit.find([client(1), client(2)])
        _contending_writes()[name](database)
        old = [raw for raw in found if b"sessions" not in raw]
        (document,) = (raw for raw in found if b"sessions" in raw)
        changed = bson.encode({**bson.decode(document), "totalSessions": 1}, codec_options=CODEC)
        new = bson.encode({"_id": 8, "clientId": client(1), "sessions": []}, codec_options=CODEC)
        unit.take(
            Move(
                Writes(gone=old, archived=old, new=[new], changed=[Replacement(document, changed)]),
                run_id="none",
                token=1,
                progress={},
                confirm=lambda: None,
            ),
        )

    with closing(Connection(server_uri, database.name)) as connection:
        collection = open_in_place(connection, source="bookings", archive="bookings_legacy")
        collection.prepare()
        with pytest.raises(Contended):
            collection.work(move)
    assert 0 == database.bookings_legacy.count_documents({})
    assert 0 == database.bookings.count_documents({"_id": 8})
    assert 0 == database.bookings.count_documents({"totalSessions": 1})


def test_a_unit_of_another_user_cannot_commit_late(server_of_users: Server) -> None:
    """A unit of work that was suspended while another process took over fails, though that one may not end its session."""
    admin = server_of_users.client()
    database = admin["shared"]
    for name in ("first", "second"):
        database.command("createUser", name, pwd="secret", roles=["readWrite"])
    database.bookings.insert_one(booking(1))
    database.booking_migrate_ranges.create_index("run")
    address = server_of_users.uri.partition("@")[2].partition("?")[0]
    uris = [f"mongodb://{name}:secret@{address}?authSource=shared" for name in ("first", "second")]
    with closing(Connection(uris[0], "shared")) as ours, closing(Connection(uris[1], "shared")) as theirs:
        late, successor = (
            open_in_place(each, source="bookings", archive="bookings_legacy") for each in (ours, theirs)
        )
        late.prepare()
        sessions = late.server_sessions()

        def move(unit: Unit) -> None:
            found = unit.find([client(1)])
            successor.end_units("run", sessions)
            writes = Writes(gone=list(found), archived=list(found))
            unit.take(Move(writes, "run", 1, {}, lambda: None, slot=0))

        for _ in range(2):
            with pytest.raises(Contended):
                late.work(move)
    assert (1, 0) == (database.bookings.count_documents({}), database.bookings_legacy.count_documents({}))
