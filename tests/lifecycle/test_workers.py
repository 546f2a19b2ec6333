"""Several processes that read and convert: the same bytes and counts as one process alone."""

import json
from typing import Any, cast

import pytest
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from pymongo.database import Database

from booking_migrate.fastpath import flat as usual_client
from tests.lifecycle.conftest import Command, Ended, comparable, contents
from tests.support.booking_lines import booking, client
from tests.support.bookings import ABSENT
from tests.support.crews import take_for_many
from tests.support.fail_commands import failing
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Command

MIGRATE = ("migrate", "--target", "clients", "--batch-size", "4", "--json", "--quiet")
DRY_RUN = ("dry-run", "--target", "clients", "--batch-size", "4", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")
CLIENTS = 30


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take few bookings for many."""
    take_for_many(monkeypatch)


@pytest.fixture
def platform(database: Db) -> Db:
    """Bookings of plain clients and of all others, clients that the target knows, and an index."""
    odd = [
        booking(400, clientId=client(3), currency="usd"),
        booking(401, clientId=client(4), duration=5),
        booking(402, clientId=client(5), expertEmail=ABSENT),
        booking(403, clientId=client(6), clientEmail="other@example.com"),
        booking(404, clientId="a client of another kind"),
        booking(405, clientId=Int64(7)),
        booking(406, clientId=None),
        booking(407),
        {"_id": 1, "clientId": client(8), "sessions": [{"by": "the application"}]},
        *(booking(500 + number, clientId=client(9)) for number in range(40)),
        *(booking(600 + number, clientId=client(10), createdAt=ABSENT) for number in range(3)),
    ]
    database.bookings.insert_many(
        [*(booking(number, clientId=client(number % CLIENTS)) for number in range(300)), *odd]
    )
    database.bookings.create_index("clientId")
    database.clients.insert_one({"_id": 2, "clientId": client(2), "sessions": [], "by": "the application"})
    return database


def told(ended: Ended) -> dict[str, Any]:
    """A report without what depends on the run and the time."""
    # Its commands repeat the options of the run.
    return comparable(ended.stdout, "dry_run", "next_steps")


@pytest.mark.parametrize("workers", ["2", "3"])
def test_several_processes_do_the_same(platform: Db, command: Run, workers: str) -> None:
    """Target, rejects and report are those of one process; so they are a second time, when all is there already."""
    alone, expected = command.undisturbed(*MIGRATE, "--workers", "1")
    together = command(*MIGRATE, "--workers", workers)

    assert (3, 3) == (alone.returncode, together.returncode), together.stderr
    assert told(alone) == told(together)
    assert expected == contents(platform)
    again = told(command(*MIGRATE, "--workers", workers))
    assert (False, 0) == (again["changed"], again["counts"]["migrated"])
    assert expected == contents(platform)


def test_several_processes_without_an_index(platform: Db, command: Run) -> None:
    """A collection that cannot be cut into ranges is read by one, and converted by several."""
    platform.bookings.drop_index("clientId_1")
    alone = command(*MIGRATE, "--workers", "1")
    expected = contents(platform)
    command(*ROLLBACK)

    assert told(alone) == told(command(*MIGRATE, "--workers", "2"))
    assert expected == contents(platform)


def test_a_client_with_tens_of_thousands_of_bookings(platform: Db, command: Run) -> None:
    """One client's bookings that are many chunks long are one document, the same by one process and by two, and proven."""
    size = ("--max-document-size", "16MiB", "--batch-size", "1000")
    platform.bookings.insert_many(booking(number, clientId=client(50)) for number in range(1000, 26_000))
    alone = command(*MIGRATE, *size, "--workers", "1")
    expected = contents(platform)
    command(*ROLLBACK)
    together = command(*MIGRATE, *size, "--workers", "2")
    document = platform.clients.find_one({"clientId": client(50)}, {"totalSessions": 1})
    proven = command("verify", "--target", "clients", *size[:2], "--json", "--quiet")

    assert told(alone) == told(together)
    assert expected == contents(platform)
    assert document is not None
    assert 25_000 == document["totalSessions"]
    assert 0 == proven.returncode, proven.stdout


def test_new_bookings_of_known_clients(platform: Db, command: Run) -> None:
    """Clients that have other documents by now are taken again, from their bookings on, and nothing is counted twice."""
    command(*MIGRATE)
    new = [booking(1000 + number, clientId=client(number)) for number in range(12, 20)]
    platform.bookings.insert_many(new)
    second = command(*MIGRATE, "--workers", "2")
    grown = contents(platform)
    command(*ROLLBACK)
    command(*ROLLBACK)
    whole = command(*MIGRATE, "--workers", "1")

    assert (3, 8) == (second.returncode, told(second)["counts"]["migrated"]), second.stderr
    assert told(whole)["counts"]["scanned"] == told(second)["counts"]["scanned"]
    assert grown["clients"] == contents(platform)["clients"]


@pytest.mark.usefixtures("platform")
def test_the_engine_option_is_ignored(command: Run) -> None:
    """`--engine` of an older version is accepted with a warning, and changes nothing."""
    expected = told(command(*MIGRATE))
    command(*ROLLBACK)
    ended = command(*(part for part in MIGRATE if part != "--quiet"), "--engine", "server")

    assert expected == told(ended)
    assert "--engine is ignored" in ended.stderr


@pytest.mark.parametrize("target", ["clients.bson", "clients.jsonl"])
def test_from_a_file_to_a_file(platform: Db, command: Run, tmp_path: Any, target: str) -> None:
    """A file is read by one process and converted by several, with the same bytes."""
    source = tmp_path / "bookings.bson"
    source.write_bytes(b"".join(cast("Any", platform.bookings.find_raw_batches())))
    people = ("--batch-size", "4", "--quiet", "--source", str(source))
    results = []
    for workers in ("1", "3"):
        place = tmp_path / workers / target
        place.parent.mkdir()
        assert 3 == command("migrate", *people, "--target", str(place), "--workers", workers).returncode
        results.append(place.read_bytes())

    assert results[0] == results[1] != b""


def seen(ended: Ended) -> dict[str, Any]:
    """What a dry-run has counted and found; not how it guesses at the time."""
    report = json.loads(ended.stdout)
    figures = {name: report["dry_run"][name] for name in ("distributions", "largest_clients")}
    # The server's own sizes change with each of its checkpoints.
    gains = {
        name: size for name, size in report["dry_run"]["gains"].items() if not name.startswith(_BY_SERVER)
    }
    return {"counts": report["counts"], "findings": report["findings"], "gains": gains, **figures}


_BY_SERVER = ("index_", "storage_")


def test_a_dry_run_sees_the_same(platform: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts, risks and charts of a dry-run are the same, however many processes look, and by the thorough way."""
    platform.bookings.insert_many(
        [
            *(booking(2000 + number, clientId=client(25)) for number in range(2)),
            booking(2100, clientId=client(26), startTime="23:50", endTime="0:20"),
            booking(2101, clientId=client(27), scheduledDate=DatetimeMS(-(10**12)), status="cancelled"),
            booking(2102, clientId=client(27), cancellationTime=DatetimeMS(10**14), paymentStatus="paid"),
            booking(2103, clientId=client(28), cancellationTime=None),
        ]
    )
    reports = [seen(command(*DRY_RUN, "--workers", workers)) for workers in ("1", "2")]
    monkeypatch.setattr(usual_client, "MOST_BYTES", -1)
    thorough = seen(command(*DRY_RUN, "--workers", "1"))

    assert thorough == reports[0] == reports[1]
    assert {"booked-twice", "expert-overlaps", "dates-out-of-range"} <= {
        finding["kind"] for finding in thorough["findings"]
    }


def test_a_lost_connection_is_waited_out(server: Server, platform: Db, command: Run) -> None:
    """A piece whose reading breaks off in another process is read again; nothing is lost or comes twice."""
    alone = command(*MIGRATE, "--workers", "1")
    expected = contents(platform)
    command(*ROLLBACK)
    with failing(server, ["find"], {"closeConnection": True}, times=5):
        together = command(*MIGRATE, "--workers", "2")

    assert told(alone) == told(together), together.stderr
    assert expected == contents(platform)
