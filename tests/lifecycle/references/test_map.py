"""`references map`: the same map before the migration and after it, as a file, on standard output and as a collection."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.runs.provenance import history_of
from booking_migrate.stores.connection import Connection, open_journal
from tests.lifecycle.conftest import Ended
from tests.support.booking_lines import MIXED, booking, client
from tests.support.booking_map import comparable, derived_map, read_map
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--source", "bookings", "--target", "clients")
MAP = ("references", "map", *PLACES, "--quiet", "--out")
QUIET = ("--yes", "--quiet")


def mapped(command: Run, path: Path, *more: str) -> str:
    """The map as a file, made anew."""
    done = command(*MAP, str(path), "--overwrite", *more)
    assert 3 == done.returncode, done.stderr
    return path.read_text()


def part_of(done: Ended) -> dict[str, Any]:
    """What a report says of a map."""
    part: dict[str, Any] = json.loads(done.stdout)["map"]
    return part


@pytest.mark.usefixtures("bookings")
def test_one_map_through_the_life_of_a_migration(command: Run, database: Db, tmp_path: Path) -> None:
    """From before the migration to after its end, and after a rollback, a map is byte for byte the same."""
    database.clients.drop()
    path = tmp_path / "map.jsonl"
    found = {"before": mapped(command, path)}
    command("migrate", *PLACES, "--quiet")
    found["migrated"] = mapped(command, path)
    command("verify", *PLACES, "--quiet")
    command("cutover", *PLACES, "--rejected", "leave", *QUIET)
    found["cut over"] = mapped(command, path)
    command("rollback", "--target", "clients", *QUIET)
    found["rolled back"] = mapped(command, path)
    command("migrate", *PLACES, "--quiet")
    command("verify", *PLACES, "--quiet")
    command("cutover", *PLACES, "--rejected", "carry", *QUIET)
    command("finalize", "--source", "bookings", *QUIET)
    found["finalized"] = mapped(command, path)

    entries = [json_util.loads(line) for line in found["before"].splitlines()]
    assert {booking(number)["_id"] for number in range(28)} == {each["legacyBookingId"] for each in entries}
    assert {found["before"]} == {*found.values()}


@pytest.mark.usefixtures("bookings")
def test_the_same_in_place(command: Run, database: Db, tmp_path: Path) -> None:
    """Before, after and half way through a migration in place the map is the same."""
    database.clients.drop()
    path = tmp_path / "map.csv"
    before = mapped(command, path)
    command("migrate", "--in-place", "--quiet")
    after = mapped(command, path)
    command("finalize", *QUIET)
    finalized = mapped(command, path)

    assert "legacyBookingId,bookingId,sessionId,clientId" == before.splitlines()[0]
    assert 28 == len(before.splitlines()) - 1
    assert before == after == finalized


@pytest.mark.usefixtures("bookings")
def test_what_it_was_made_of(command: Run, tmp_path: Path) -> None:
    """The report says what was mapped, whether it was derived or read and from where, and how many were left out."""
    path = str(tmp_path / "map.jsonl")
    derived = command(*MAP, path, "--json")
    command("migrate", *PLACES, "--quiet")
    read = command(*MAP, path, "--json")
    command("verify", *PLACES, "--quiet")
    command("cutover", *PLACES, "--rejected", "leave", *QUIET)
    live = command(*MAP, path, "--json")

    expected = {"place": path, "entries": 28, "clients": 4, "left_out": 2, "repeated": 0}
    assert [{**expected, "read_from": name} for name in (None, "clients", "bookings")] == [
        part_of(done) for done in (derived, read, live)
    ]
    assert [3, 3, 3] == [done.returncode for done in (derived, read, live)]
    assert [True, False, False] == [json.loads(done.stdout)["changed"] for done in (derived, read, live)]
    assert 30 == json.loads(derived.stdout)["counts"]["scanned"]


@pytest.mark.usefixtures("bookings")
def test_as_a_collection(command: Run, database: Db) -> None:
    """A collection has the old id as `_id`; the same map again changes nothing, another one there is replaced with --overwrite only."""
    first = command(*MAP, "booking_ids", "--json")
    kept = database.booking_ids.distinct("bookingId", {"clientId": client(2)})
    same = command(*MAP, "booking_ids", "--json")
    database.bookings.delete_one({"_id": booking(0)["_id"]})
    refused = command(*MAP, "booking_ids")
    again = command(*MAP, "booking_ids", "--overwrite")
    (found,) = database.booking_ids.find({"_id": booking(1)["_id"]})

    # The client has a client document already.
    assert [1] == kept
    assert [3, 3, 5, 3] == [done.returncode for done in (first, same, refused, again)]
    assert [True, False] == [json.loads(done.stdout)["changed"] for done in (first, same)]
    assert "--overwrite" in refused.stderr
    assert {"_id", "bookingId", "sessionId", "clientId"} == set(found)
    assert 27 == database.booking_ids.count_documents({})
    assert not [name for name in database.list_collection_names() if name.startswith("booking_migrate_map")]


@pytest.mark.usefixtures("bookings")
def test_a_map_is_no_reference(command: Run) -> None:
    """A search for references does not take the old ids in a map for some."""
    command(*MAP, "booking_ids")
    found = json.loads(command("references", "find", *PLACES, "--json").stdout)

    assert [] == found["fields"]
    assert {"clients"}.issuperset(each["name"] for each in found["searched"])


@pytest.mark.usefixtures("bookings")
def test_nothing_else_is_written(command: Run, database: Db, tmp_path: Path) -> None:
    """A map in a file leaves the database as it is."""
    before = database.command("dbHash")["collections"]
    mapped(command, tmp_path / "map.jsonl")

    assert before == database.command("dbHash")["collections"]


@pytest.mark.parametrize("out", ["bookings", "clients", "users"])
@pytest.mark.usefixtures("bookings")
def test_what_is_read_is_never_overwritten(command: Run, database: Db, out: str) -> None:
    """Source, target and users are refused as a place for the map, with --overwrite, too."""
    done = command(*MAP, out, "--overwrite")

    assert 2 == done.returncode
    assert "also given as" in done.stderr
    assert 30 == database.bookings.count_documents({})


@pytest.mark.usefixtures("bookings")
def test_a_client_whose_bookings_are_gone(command: Run, database: Db, server: Server) -> None:
    """What an earlier run wrote for a client whose bookings were deleted since is in neither map."""
    command("migrate", *PLACES, "--quiet")
    database.bookings.delete_many({"clientId": client(1)})
    place: dict[str, Any] = {"uri": server.uri, "db": database.name}
    with closing(Connection(server.uri, database.name)) as connection:
        history = history_of(open_journal(connection).journal, source="bookings", target="clients")
        before = derived_map("bookings", "clients", **place, history=history)
    command("migrate", *PLACES, "--quiet")

    assert comparable(before) == comparable(read_map("clients", **place))
    assert client(1) not in {entry.client_id for entry in before}


def test_an_unfinished_run(command: Run, database: Db, killed: Callable[..., int], tmp_path: Path) -> None:
    """While a run is unfinished, its target lacks bookings, so the map is derived."""
    database.bookings.insert_many(map(booking, range(28)))
    killed("batch-written", 1, "migrate", *PLACES, "--batch-size", "5", "--quiet")
    done = command(*MAP, str(tmp_path / "map.jsonl"), "--json")

    assert (28, None) == (part_of(done)["entries"], part_of(done)["read_from"])


def test_without_legacy_ids(command: Run, database: Db, tmp_path: Path) -> None:
    """After `finalize --drop-legacy-ids` the map is empty, and that is said."""
    database.bookings.insert_many(map(booking, range(8)))
    command("migrate", "--in-place", "--quiet")
    command("finalize", "--drop-legacy-ids", *QUIET)
    done = command("references", "map", *PLACES, "--out", str(tmp_path / "map.jsonl"))

    assert 0 == done.returncode, done.stderr
    assert "the map is empty: no session has a legacyBookingId" in " ".join(done.stderr.split())
    assert "" == (tmp_path / "map.jsonl").read_text()


def test_from_file_to_standard_output(invoke: Callable[..., Any], tmp_path: Path) -> None:
    """A file of bookings is mapped onto standard output without a server, and the result is on standard error."""
    source = tmp_path / "bookings.jsonl"
    source.write_text(MIXED, encoding="utf-8")
    done = invoke("references", "map", "--source", str(source), "--out", "-")
    entries = [json_util.loads(line) for line in done.stdout.splitlines()]

    assert 3 == done.exit_code, done.stderr
    assert [booking(number)["_id"] for number in range(10)] == sorted(
        each["legacyBookingId"] for each in entries
    )
    assert all(isinstance(each["sessionId"], ObjectId) for each in entries)
    assert "10 old ids mapped" in done.stderr
    assert 2 == invoke("references", "map", "--source", str(source), "--out", "-", "--json").exit_code
