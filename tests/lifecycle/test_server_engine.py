"""The server engine under the journal: the same result as the stream engine's, however often it is cut off."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson.int64 import Int64
from pymongo.database import Database

from booking_migrate.events import Step
from tests.lifecycle.conftest import ROOT, Ended, contents
from tests.support.booking_lines import booking, client
from tests.support.bookings import ABSENT
from tests.support.killed import GATE
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Killed = Callable[..., Any]

MIGRATE = ("migrate", "--target", "clients", "--batch-size", "1", "--json", "--quiet")
SERVER = (*MIGRATE, "--engine", "server")
STREAM = (*MIGRATE, "--engine", "stream")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")
_CLIENTS = 12
MIGRATE_STEPS = [
    (Step.RUN_NOTED, 1),
    (Step.TARGET_PREPARED, 1),
    (Step.RANGE_NOTED, 1),
    (Step.RANGE_NOTED, 4),
    (Step.RANGE_MERGED, 1),
    (Step.RANGE_MERGED, 4),
    (Step.BATCH_WRITTEN, 1),
    (Step.BATCH_WRITTEN, 5),
    (Step.TARGET_FINISHED, 1),
]


@pytest.fixture
def indexed(database: Db) -> None:
    """Sixty bookings of twelve clients and more that are not plain, one client known to the target, with an index."""
    odd = [
        booking(60, clientId=client(3), currency="usd"),
        booking(61, clientId=client(4), duration=5),
        booking(62, clientId=client(5), expertEmail=ABSENT),
        booking(63, clientId=client(6), clientEmail="other@example.com"),
        booking(64, clientId="a client of another kind"),
        booking(65, clientId=Int64(7)),
        booking(66, clientId=None),
        booking(67, clientId=True),
        booking(68, clientId=client(7), currency="EUR"),
        {"_id": 1, "clientId": client(8), "sessions": [{"by": "the application"}]},
    ]
    database.bookings.insert_many(
        [*(booking(number, clientId=client(number % _CLIENTS)) for number in range(60)), *odd]
    )
    database.bookings.create_index("clientId")
    database.clients.insert_one({"_id": 2, "clientId": client(2), "sessions": [], "by": "the application"})


def _told(ended: Ended) -> dict[str, Any]:
    """A report without what depends on the run and on the engine."""
    unlike = ("run_id", "seconds", "engines")
    return {name: value for name, value in json.loads(ended.stdout).items() if name not in unlike}


@pytest.mark.usefixtures("indexed")
def test_same_result_as_the_stream_engine(database: Db, command: Run) -> None:
    """Target, rejects, report and exit code are those of the stream engine; the report says who did what."""
    before = contents(database)
    streamed = command(*STREAM)
    expected = contents(database)
    command(*ROLLBACK)
    assert before == contents(database)
    grouped = command(*SERVER)

    assert (3, 3) == (streamed.returncode, grouped.returncode), grouped.stderr
    assert _told(streamed) == _told(grouped)
    assert expected == contents(database)
    assert [("stream", "--engine stream")] == _engines(streamed)
    assert {("server", "plain clients"), ("stream", "clients that are not plain")} < set(_engines(grouped))
    assert 0 == command(*ROLLBACK).returncode
    assert before == contents(database)


def _engines(ended: Ended) -> list[tuple[str, str]]:
    return [(share["engine"], share["reason"]) for share in json.loads(ended.stdout)["engines"]]


@pytest.mark.usefixtures("indexed")
@pytest.mark.parametrize(("step", "count"), MIGRATE_STEPS)
def test_killed_at_every_step(database: Db, command: Run, killed: Killed, step: Step, count: int) -> None:
    """Killed anywhere, a run is completed by either engine, or rolled back; both leave what an undisturbed one leaves."""
    before = contents(database)
    undisturbed = command(*STREAM)
    expected = contents(database)
    command(*ROLLBACK)

    for again in (SERVER, STREAM):
        assert -9 == killed(step.value, count, *SERVER).returncode
        resumed = command(*again)
        assert 3 == resumed.returncode, resumed.stderr
        assert expected == contents(database)
        assert _told(undisturbed) == _told(resumed)
        assert 0 == command(*ROLLBACK).returncode
        assert before == contents(database)
    assert -9 == killed(step.value, count, *SERVER).returncode
    assert 0 == command(*ROLLBACK).returncode
    assert before == contents(database)


@pytest.mark.usefixtures("indexed")
def test_a_range_in_doubt_is_somebody_elses_once_changed(database: Db, command: Run, killed: Killed) -> None:
    """What others have changed of a range that was in doubt is kept by a rollback, and named."""
    killed(Step.RANGE_MERGED.value, 1, *SERVER)
    database.clients.update_one({"clientId": client(0)}, {"$set": {"sessions.0.notes": "changed"}})
    undone = command(*ROLLBACK)

    kept = database.clients.find_one({"clientId": client(0)})
    assert kept is not None
    assert (3, 1, [f"{kept['_id']}"]) == (
        undone.returncode,
        *(json.loads(undone.stdout)["undone"][name] for name in ("kept", "kept_ids")),
    )
    assert "changed" == kept["sessions"][0]["notes"]
    assert 2 == database.clients.count_documents({})


@pytest.mark.usefixtures("indexed")
def test_bookings_that_come_between_death_and_rollback(database: Db, command: Run, killed: Killed) -> None:
    """A range in doubt is recognised as the run's although its clients have booked again since."""
    before = list(database.clients.find())
    killed(Step.RANGE_MERGED.value, 1, *SERVER)
    database.bookings.insert_one(booking(90, clientId=client(0)))
    undone = command(*ROLLBACK)

    assert 0 == undone.returncode, undone.stderr
    assert before == list(database.clients.find())


@pytest.mark.usefixtures("indexed")
def test_a_killed_run_goes_on_in_the_server(
    server: Server, database: Db, environment: dict[str, str], command: Run
) -> None:
    """What the server is still at work on for a killed run is ended before the run is rolled back."""
    before = contents(database)
    admin = server.client().admin
    hanging = "hangWhileBuildingDocumentSourceMergeBatch"
    # Like an aggregation that really works, and unlike one that merely hangs, it can be ended.
    data = {"shouldCheckForInterrupt": True}
    admin.command("configureFailPoint", hanging, mode="alwaysOn", data=data)
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "booking_migrate", *SERVER],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None and not _at_work(admin):
                time.sleep(0.02)
            process.kill()
        assert 0 < _at_work(admin)
        undone = command(*ROLLBACK)
        assert (0, 0) == (undone.returncode, _at_work(admin)), undone.stderr
    finally:
        admin.command("configureFailPoint", hanging, mode="off")

    assert before == contents(database)


def _at_work(admin: Db) -> int:
    """How many aggregations of the program the server is at work on."""
    marked = {"command.comment": {"$regex": "^booking-migrate "}}
    return len(list(admin.aggregate([{"$currentOp": {}}, {"$match": marked}])))


@pytest.mark.usefixtures("indexed")
def test_a_signal_ends_the_run_after_its_ranges(
    database: Db, environment: dict[str, str], command: Run, tmp_path: Path
) -> None:
    """Ctrl-C lets the server finish the ranges that it is at work on, and leaves none in doubt."""
    command(*STREAM)
    expected = contents(database)
    command(*ROLLBACK)
    gate = tmp_path / "gate"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.killed", "wait", Step.RANGE_MERGED.value, "2", *SERVER],
        env={**environment, GATE: f"{gate}"},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None and not Path(f"{gate}.reached").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        Path(f"{gate}.open").touch()
        ended = process.wait(60)
    ranges = database.booking_migrate_ranges
    begun, finished = (set(ranges.distinct("first", {"kind": kind})) for kind in ("grouping", "grouped"))
    resumed = command(*SERVER)

    assert (130, 3) == (ended, resumed.returncode), resumed.stderr
    assert 2 <= len(finished) <= len(begun) < _CLIENTS
    assert expected == contents(database)


@pytest.mark.usefixtures("indexed")
def test_documents_of_others_are_kept(database: Db, command: Run) -> None:
    """A document that the server wrote and others have changed since is kept by a rollback, and named."""
    command(*SERVER)
    changed = database.clients.find_one_and_update({"clientId": client(0)}, {"$set": {"totalSpent": 1}})
    undone = command(*ROLLBACK)

    assert changed is not None
    assert (3, [f"{changed['_id']}"]) == (
        undone.returncode,
        json.loads(undone.stdout)["undone"]["kept_ids"],
    )
    assert 2 == database.clients.count_documents({})


@pytest.mark.usefixtures("indexed")
def test_a_second_run_writes_nothing(database: Db, command: Run) -> None:
    """A second migrate by the server engine finds everything there and changes nothing."""
    command(*SERVER)
    before = contents(database)
    second = json.loads(command(*SERVER).stdout)

    assert (False, 0) == (second["changed"], second["counts"]["migrated"])
    assert before == contents(database)
    assert {"done", "unchanged"} == {run["state"] for run in database.booking_migrate_runs.find()}


@pytest.mark.usefixtures("indexed")
def test_large_clients_go_to_the_stream_engine(database: Db, command: Run) -> None:
    """A client with too many bookings for a range, and one too large for a document, are no trouble for the others."""
    database.bookings.insert_many(
        [
            *(booking(100 + number, clientId=client(9)) for number in range(30)),
            *(booking(200 + number, clientId=client(10), x="x" * 9000) for number in range(3)),
        ]
    )
    size = ("--max-document-size", "20KB")
    streamed = command(*STREAM, *size)
    expected = contents(database)
    command(*ROLLBACK)
    grouped = command(*SERVER, *size)

    assert _told(streamed) == _told(grouped)
    assert expected == contents(database)
    assert "client-document-too-large" in [group["reason"] for group in _told(grouped)["rejections"]]
    assert ("stream", "one client has more bookings than the server should group") in _engines(grouped)


@pytest.mark.usefixtures("indexed")
def test_what_the_server_breaks_off(server: Server, database: Db, command: Run) -> None:
    """An aggregation that the server breaks off ends nothing: the clients that it has left go to the stream engine."""
    streamed = command(*STREAM)
    expected = contents(database)
    command(*ROLLBACK)
    admin, name = server.client().admin, "internalQueryMaxPushBytes"
    usual = admin.command({"getParameter": 1, name: 1})[name]
    admin.command({"setParameter": 1, name: 2000})
    try:
        broken = command(*SERVER)
    finally:
        admin.command({"setParameter": 1, name: usual})

    assert _told(streamed) == _told(broken)
    assert expected == contents(database)
    assert any("the server could not: " in reason for _engine, reason in _engines(broken))


def test_without_an_index(database: Db, command: Run) -> None:
    """Without an index on clientId auto says why the stream engine does it, and --engine server is refused."""
    database.bookings.insert_many(map(booking, range(8)))
    refused = command(*SERVER)
    done = command(*MIGRATE)

    assert (5, 0) == (refused.returncode, done.returncode)
    assert "bookings has no index on clientId alone" in refused.stderr
    assert [("stream", "bookings has no index on clientId alone that holds every document")] == _engines(done)


def test_arrays_for_client_ids(database: Db, command: Run) -> None:
    """An index that holds arrays has some documents twice, so the stream engine reads the collection itself."""
    database.bookings.insert_many([*map(booking, range(8)), booking(9, clientId=[client(0), client(1)])])
    database.bookings.create_index("clientId")
    done = command(*MIGRATE)

    assert [("stream", "bookings may have arrays for clientId")] == _engines(done)
    assert (9, 8, 1) == tuple(_told(done)["counts"][name] for name in ("scanned", "migrated", "rejected"))


def test_files_have_no_server(command: Run) -> None:
    """The server engine cannot be asked for with a file: exit code 2, and nothing is written."""
    assert 2 == command("migrate", "--source", "a.jsonl", "--engine", "server").returncode
