"""Workers that handle chunks completely: whoever is killed, and whenever, the bytes and counts are those of one process."""

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from booking_migrate.bson.order import sort_key
from booking_migrate.errors import LeaseLost
from booking_migrate.migrate import chunk_worker
from booking_migrate.migrate.chunk_worker import Assignment, Task
from booking_migrate.migrate.dispatch import Delegated, Delegation
from booking_migrate.migrate.pipeline import Elsewhere
from booking_migrate.runs.delegation import RunShare
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.stores.chunks import Chunk, split
from booking_migrate.stores.connection import Connection, open_journal
from booking_migrate.stores.journal import NoteKind, RangeNote
from booking_migrate.stores.locks import Holder
from booking_migrate.stores.mongo.raw import RAW_OPTIONS
from booking_migrate.stores.open_workers import SharedPlaces
from booking_migrate.stores.readers import Kind
from tests.lifecycle.conftest import Command, Ended, comparable, contents
from tests.support.booking_lines import booking, client
from tests.support.bookings import ABSENT
from tests.support.crews import MOMENTS, kill_workers, main_with_workers, take_for_many
from tests.support.failpoints import Step
from tests.support.killed import killed_at, waiting_at
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Command

MIGRATE = ("migrate", "--target", "clients", "--batch-size", "20", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")
_PATIENCE = 120


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take few bookings for many."""
    take_for_many(monkeypatch)


@pytest.fixture
def platform(database: Db) -> Db:
    """Plain clients, some whose people are looked up, rejected bookings, and documents that others wrote to the target."""
    database.bookings.insert_many(
        [
            *(booking(number, clientId=client(number % 20)) for number in range(200)),
            *(booking(300 + number, clientId=client(3 * number), currency="usd") for number in range(5)),
            *(booking(310 + number, clientId=client(4 * number), expertEmail=ABSENT) for number in range(4)),
            booking(320, clientId=None),
            booking(321, clientId="a client of another kind"),
        ]
    )
    database.bookings.create_index("clientId")
    database.clients.insert_many(
        [
            {"_id": 1, "clientId": client(2), "sessions": []},
            {"_id": 2, "clientId": client(11), "sessions": []},
        ]
    )
    return database


def told(ended: Ended) -> dict[str, Any]:
    """A report without what depends on the run and the time."""
    # Its commands repeat the options of the run.
    return comparable(ended.stdout, "next_steps")


@pytest.mark.parametrize(
    ("moment", "is_empty"), [*((each, False) for each in MOMENTS), ("half-written", True), ("written", True)]
)
def test_a_killed_worker(
    platform: Db,
    command: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    moment: str,
    *,
    is_empty: bool,
) -> None:
    """A chunk whose worker is killed is handled by another one, and a rollback takes back everything."""
    if is_empty:
        platform.clients.drop()
    before = contents(platform)
    alone, expected = command.undisturbed(*MIGRATE, "--workers", "1")
    kill_workers(monkeypatch, moment, tmp_path / "signs")
    together = command(*MIGRATE, "--workers", "2")

    assert [tmp_path / "signs" / "0"] == list((tmp_path / "signs").iterdir())
    assert (3, 3) == (alone.returncode, together.returncode), together.stderr
    assert told(alone) == told(together)
    assert expected == contents(platform)
    assert 0 == command("verify", "--target", "clients", "--quiet").returncode
    command(*ROLLBACK)
    assert before == contents(platform)


@pytest.mark.usefixtures("platform")
def test_too_many_killed_workers(command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A chunk over which every worker ends is given up with an error that says so; the run can be continued."""
    with monkeypatch.context() as patch:
        kill_workers(patch, "begun", tmp_path / "signs", times=100)
        failed = command(*MIGRATE, "--workers", "2")
    resumed = command(*MIGRATE, "--workers", "2")

    assert (1, "WorkerLost") == (failed.returncode, json.loads(failed.stdout)["error"]["kind"])
    assert 3 == resumed.returncode, resumed.stderr


@pytest.mark.parametrize(
    ("step", "count"), [(Step.TARGET_PREPARED, 1), (Step.CHUNK_TAKEN, 1), (Step.CHUNK_TAKEN, 4)]
)
def test_the_coordinating_process_is_killed(
    platform: Db, command: Run, environment: Mapping[str, str], step: Step, count: int
) -> None:
    """Its workers end with it, the same command completes the run, and everything is as if nothing had happened."""
    alone, expected = command.undisturbed(*MIGRATE, "--workers", "1")
    code = killed_at(step, count, environment, *MIGRATE, "--workers", "2", main=main_with_workers)
    resumed = command(*MIGRATE, "--workers", "2")

    assert (-9, 3) == (code, resumed.returncode), resumed.stderr
    assert told(alone) == told(resumed)
    assert expected == contents(platform)


def test_workers_are_added_from_another_terminal(
    platform: Db, command: Run, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """Their number is changed while the run works, which is said, and everything is as if nothing had happened."""
    alone, expected = command.undisturbed(*MIGRATE, "--workers", "1")
    gate, log = tmp_path / "gate", tmp_path / "log"
    arguments = (*MIGRATE, "--workers", "2", "--log-file", str(log))
    with waiting_at(Step.CHUNK_TAKEN, environment, gate, *arguments, main=main_with_workers) as process:
        deadline = time.monotonic() + _PATIENCE
        while not Path(f"{gate}.reached").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        asked = command("control", "set", "workers=4", "--json")
        # Longer than between two looks at what is asked.
        time.sleep(0.3)
        Path(f"{gate}.open").touch()
        output, errors = process.communicate(timeout=_PATIENCE)

    assert 0 == asked.returncode, asked.stderr
    assert 3 == process.returncode, errors
    assert "workers is 4 from now on" in log.read_text()
    assert told(alone) == told(Ended(3, output, errors))
    assert expected == contents(platform)


@pytest.mark.parametrize("ending", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_chunks_in_progress_complete(
    platform: Db,
    command: Run,
    environment: Mapping[str, str],
    tmp_path: Path,
    ending: tuple[signal.Signals, int],
) -> None:
    """After a signal the run is interrupted, nothing is written any more, and the same command completes it."""
    alone, expected = command.undisturbed(*MIGRATE, "--workers", "1")
    gate = tmp_path / "gate"
    arguments = (*MIGRATE, "--workers", "2")
    with waiting_at(Step.CHUNK_TAKEN, environment, gate, *arguments, main=main_with_workers) as process:
        deadline = time.monotonic() + _PATIENCE
        while not Path(f"{gate}.reached").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, ending[0])
        process.communicate(timeout=_PATIENCE)
    written = contents(platform)
    (run,) = json.loads(command("status", "--json").stdout)["runs"][:1]
    resumed = command(*arguments)

    assert (ending[1], "interrupted", 3) == (process.returncode, run["state"], resumed.returncode)
    assert written["clients"] != expected["clients"]
    assert told(alone) == told(resumed)
    assert expected == contents(platform)


def test_documents_of_others_that_come_meanwhile(
    platform: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client document that the application writes during the run is kept and added to, not refused as a duplicate."""
    platform.clients.drop()
    whole = Delegated._dispatch
    client_document = {"_id": 7, "clientId": client(19), "sessions": [], "by": "the application"}

    def insert_first(self: Delegated, chunk: Chunk) -> Any:
        if not platform.clients.find_one({"_id": 7}):
            platform.clients.insert_one(client_document)
        return whole(self, chunk)

    monkeypatch.setattr(Delegated, "_dispatch", insert_first)
    ended = command(*MIGRATE, "--workers", "2")

    assert 3 == ended.returncode, ended.stderr
    (document,) = platform.clients.find({"clientId": client(19)})
    assert (7, "the application", 10) == (document["_id"], document["by"], document["totalSessions"])


def test_a_worker_without_the_lock_writes_nothing(database: Db, server: Server) -> None:
    """As soon as another process holds the lock, or it was released, a worker neither notes nor writes."""
    connection = Connection(server.uri, database.name)
    stores = open_journal(connection)
    holder = Holder("run", "migrate", "user", "host", 0, "")
    lease = stores.locks.acquire("clients", holder)
    database.booking_migrate_locks.update_one({}, {"$set": {"pid": 1}})
    places = SharedPlaces(server.uri, database.name, "bookings", "clients", {Kind.USERS: "users"})
    chunk_worker.begin(
        "run", Assignment(MigrationPlan(), places, RunShare("run", lease, ["run"]), was_empty=True)
    )
    database.bookings.insert_many([booking(number, clientId=client(number)) for number in range(4)])
    raw = [each.raw for each in _raw(database)]

    def handle(*numbers: int) -> None:
        chunk = split(b"".join(raw[number] for number in numbers))
        chunk_worker.handle("run", Task(stores.journal.reserve(), chunk))

    handle(0)
    kept = contents(database), database.booking_migrate_ranges.count_documents({})
    database.booking_migrate_locks.update_one({}, {"$inc": {"token": 1}})
    with pytest.raises(LeaseLost):
        handle(1)
    database.booking_migrate_locks.update_one({}, {"$inc": {"token": -1}})
    stores.locks.release(lease)
    with pytest.raises(LeaseLost):
        handle(2)
    chunk_worker.end("run")
    connection.close()

    assert 1 == database.clients.count_documents({})
    assert kept == (contents(database), database.booking_migrate_ranges.count_documents({}))


def _raw(database: Db) -> list[RawBSONDocument]:
    found = database.bookings.with_options(codec_options=RAW_OPTIONS).find()
    return sorted(found, key=lambda document: sort_key(document["clientId"]))


def test_a_lost_lock_ends_the_run(platform: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another process takes the lock over, the run ends with that error, whichever process noticed it."""
    include = Delegation.include

    def take_over(self: Delegation, elsewhere: Elsewhere) -> None:
        include(self, elsewhere)
        platform.booking_migrate_locks.update_one({}, {"$inc": {"token": 1}})

    monkeypatch.setattr(Delegation, "include", take_over)
    ended = command(*MIGRATE, "--workers", "2")

    assert (11, "LeaseLost") == (ended.returncode, json.loads(ended.stdout)["error"]["kind"])


def test_notes_of_workers_stand_in_order(database: Db, server: Server) -> None:
    """Notes under a reserved number stand where it was reserved, and those of a second attempt behind those of the first."""
    connection = Connection(server.uri, database.name)
    ours, theirs, later = (open_journal(connection).journal for _ in range(3))
    note = RangeNote(NoteKind.DOCUMENTS, b"", b"", [])

    ours.note("run", 1, note)
    number = ours.reserve()
    ours.note("run", 1, note)
    for journal in (theirs, later):
        journal.note_under("run", 1, number)
        journal.note("run", 1, note)
        journal.note("run", 1, note)
    names = [each.name for each in ours.ranges("run", NoteKind.DOCUMENTS)]
    connection.close()

    assert 6 == len(set(names))
    assert [number - 1, *[number] * 4, number + 1] == [int(name.split("/")[2][:9]) for name in names]
    assert ["0000", "0000", "0001", "0001"] == [name.split(".")[1][:4] for name in names[1:5]]
