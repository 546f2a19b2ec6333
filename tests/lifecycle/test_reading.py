"""Reading in client order: along the index, or in one scan that the server sorts; the cost decides, the result is the same."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import bson
import pytest
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from pymongo.errors import OperationFailure

from booking_migrate.bson.order import sort_key
from booking_migrate.errors import ExitCode
from booking_migrate.events import Event, Listener, ReadingChosen, ReadingWay
from booking_migrate.migrate import pipeline
from booking_migrate.migrate.batches import Batch, BatchReader
from booking_migrate.runs.workers import WorkerPool
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.mongo import read_cost, scan
from booking_migrate.stores.mongo.read_cost import choose_reading
from booking_migrate.stores.mongo.scan import BegunSort, clients_along, find_sorted
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.places import parse_place
from tests.lifecycle.conftest import Ended, comparable, contents
from tests.support.booking_lines import booking, client
from tests.support.crews import take_for_many
from tests.support.fail_commands import failing
from tests.support.server import Server
from tests.support.wrapped_methods import WrappedMethods

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

MIGRATE = ("migrate", "--target", "clients", "--batch-size", "20", "--json", "--quiet")
VERIFY = ("verify", "--target", "clients", "--json", "--quiet")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")
DISK_USE_REFUSED, NOT_AUTHORIZED, INTERRUPTED = 292, 13, 237
DOCUMENTS = 400
UNDEFINED = object()


@pytest.fixture
def platform(database: Db) -> Db:
    """Bookings of many clients in no order, some of ids that stand below and above all others, and an index."""
    owners: list[Any] = [client(number % 40) for number in range(300)]
    owners += [Int64(7), "a client", None, True, ObjectId(bytes([255] * 12)), ObjectId(bytes(12))]
    bookings = [booking(number, clientId=owner) for number, owner in enumerate(owners)]
    random.Random(3).shuffle(bookings)
    database.bookings.insert_many(bookings)
    database.bookings.create_index("clientId")
    return database


@pytest.fixture
def sorts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every collection for one that is larger than the cache and lies in no order."""
    monkeypatch.setattr(read_cost, "_SMALL", 0)
    monkeypatch.setattr(read_cost, "_SHARE", 0)
    monkeypatch.setattr(read_cost, "_DEARER", 0)


@contextmanager
def refused(server: Server, command: str, code: int) -> Iterator[None]:
    """Let the server refuse a command once."""
    with failing(server, [command], {"errorCode": code}, times=1, of=None):
        yield


class Noted(Listener):
    """How collections were going to be read."""

    def __init__(self) -> None:
        self.readings: list[ReadingChosen] = []

    def notify(self, event: Event) -> None:
        """Note one."""
        if isinstance(event, ReadingChosen):
            self.readings.append(event)


def ways(ended: Ended) -> dict[str, str]:
    """How a report says that collections were read."""
    return {each["place"]: each["way"] for each in json.loads(ended.stdout)["reading"]}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_same_result_either_way(
    platform: Db,
    command: Run,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    workers: str,
) -> None:
    """Target, rejects and reports of migrate and verify are the same, and say how was read; so is what verify finds wrong."""
    take_for_many(monkeypatch)
    runs = []
    for _ in range(2):
        migrated = command(*MIGRATE, "--workers", workers)
        verified = command(*VERIFY, "--workers", workers)
        held = contents(platform)
        platform.clients.update_one({"clientId": client(3)}, {"$set": {"totalSessions": 1}})
        platform.clients.insert_one({"clientId": client(900), "sessions": []})
        wrong = command(*VERIFY, "--workers", workers)
        platform.clients.delete_one({"clientId": client(900)})
        platform.clients.update_one({"clientId": client(3)}, {"$set": {"totalSessions": 8}})
        assert held == contents(platform)
        command(*ROLLBACK)
        runs.append((held, migrated, verified, wrong))
        request.getfixturevalue("sorts")
    (held, *along), (again, *sorted_) = runs

    assert [3, 0, 4] == [each.returncode for each in along], along[1].stderr
    assert held == again
    for one, other in zip(along, sorted_, strict=True):
        assert comparable(one.stdout, "reading") == comparable(other.stdout, "reading")
    assert {"bookings": "index"} == ways(along[0])
    assert {"bookings": "sort"} == ways(sorted_[0])
    assert {"bookings": "sort", "clients": "sort"} == ways(sorted_[1])


def test_a_range_that_grows_while_it_is_read_again(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that has to be converted again is found behind those whose bookings have become very many meanwhile."""
    take_for_many(monkeypatch)
    # All work is done here, since no worker is ever ready.
    monkeypatch.setattr(WorkerPool, "is_ready", False)
    monkeypatch.setattr(pipeline, "WorkerPool", WorkerPool)
    database.bookings.insert_many([booking(number, clientId=client(number // 8)) for number in range(48)])
    database.bookings.create_index("clientId")
    assert ExitCode.DONE == command(*MIGRATE, "--workers", "2").returncode
    database.bookings.update_many({"clientId": client(1)}, {"$set": {"notes": "changed"}})
    added = [booking(number, clientId=client(0)) for number in range(100, 160)]

    lost: set[ObjectId] = set()

    def convert_again(
        whole: Callable[..., None], reader: BatchReader, batch: Batch, origin: Any, clients: dict[bytes, Any]
    ) -> None:
        if not database.bookings.find_one({"_id": added[0]["_id"]}):
            database.bookings.insert_many(added)
        whole(reader, batch, origin, clients)
        lost.update(set(map(ObjectId, clients)) - {each.client_id for each in batch.clients})

    wrapped = WrappedMethods[str](print)
    wrapped.around(BatchReader, "reconvert", convert_again)
    with wrapped:
        changed = command(*MIGRATE, "--workers", "2")

    assert ExitCode.DONE == changed.returncode, changed.stderr
    assert 108 == database.bookings.count_documents({})
    assert set() == lost
    found = database.clients.find_one({"clientId": client(1)})
    assert found is not None
    assert ["changed"] * 8 == [session["notes"] for session in found["sessions"]]


@pytest.mark.usefixtures("sorts")
def test_a_server_that_does_not_sort_on_its_disk(platform: Db, server: Server) -> None:
    """The index is the way then, and the report says so."""
    noted = Noted()
    connection = Connection(server.uri, platform.name)
    reader = open_reader(parse_place("bookings"), connection, listener=noted)
    try:
        reader.partition()
        # What is asked of it before is not a `find`.
        with refused(server, "find", DISK_USE_REFUSED):
            found = [
                raw for chunk in reader.scan_chunks(50, apart=False) for raw in chunk.read()[0].documents()
            ]
    finally:
        connection.close()

    assert platform.bookings.count_documents({}) == len(found)
    assert [ReadingWay.SORT, ReadingWay.INDEX] == [each.way for each in noted.readings]
    assert "does not sort" in noted.readings[1].reason


def filled(database: Db, *, in_order: bool) -> None:
    """Large documents, two of each client, in the order of their clients or in none."""
    numbers = [number // 2 for number in range(DOCUMENTS)]
    if not in_order:
        random.Random(5).shuffle(numbers)
    padding = "x" * 6000
    database.bookings.insert_many({"clientId": client(number), "padding": padding} for number in numbers)
    database.bookings.create_index("clientId")


@pytest.mark.parametrize(
    ("in_order", "small", "share", "way", "reason"),
    [
        (False, 1 << 30, 0.0, ReadingWay.INDEX, "it is small"),
        (False, 0, 1.0, ReadingWay.INDEX, "fit the server's cache of 512 MiB"),
        (True, 0, 0.0, ReadingWay.INDEX, "its documents lie in client order on disk"),
        (
            False,
            0,
            0.0,
            ReadingWay.SORT,
            "do not fit the server's cache of 512 MiB: along the index about 6 times",
        ),
    ],
)
def test_the_cost_decides(
    database: Db,
    monkeypatch: pytest.MonkeyPatch,
    in_order: bool,
    small: int,
    share: float,
    way: ReadingWay,
    reason: str,
) -> None:
    """Small, within the cache, or in client order on disk: the index; everything else is scanned and sorted."""
    filled(database, in_order=in_order)
    monkeypatch.setattr(read_cost, "_SMALL", small)
    monkeypatch.setattr(read_cost, "_SHARE", share)
    chosen = choose_reading(database.bookings)

    assert chosen is not None
    assert way is chosen.way
    assert reason in chosen.reason


@pytest.mark.parametrize(("slowness", "way"), [(3.0, ReadingWay.INDEX), (20.0, ReadingWay.SORT)])
def test_without_the_size_of_the_cache_time_decides(
    server: Server, database: Db, monkeypatch: pytest.MonkeyPatch, slowness: float, way: ReadingWay
) -> None:
    """A user who may not ask for the server's status: a few documents are read either way, by a clock."""
    filled(database, in_order=False)
    monkeypatch.setattr(read_cost, "_SMALL", 0)
    steps = iter([slowness] * 8 + [1.0] * 8)
    now = 0.0
    reads = 0

    def clock() -> float:
        nonlocal now, reads
        reads += 1
        if reads % 2 == 0:
            now += next(steps)
        return now

    monkeypatch.setattr(read_cost, "perf_counter", clock)
    with refused(server, "serverStatus", NOT_AUTHORIZED):
        chosen = choose_reading(database.bookings)

    assert chosen is not None
    assert way is chosen.way
    assert f"{slowness:.1f} times as long" in chosen.reason


@pytest.mark.parametrize(
    ("index", "options", "reason"),
    [
        ([("clientId", -1)], {}, "along the index about"),
        ([("clientId", 1), ("createdAt", 1)], {}, "along the index about"),
        ([("status", 1)], {}, "does not have an index that begins with clientId"),
        ([("clientId", 1)], {"collation": {"locale": "en"}}, "does not have an index"),
        ([("clientId", 1)], {"sparse": True}, "does not have an index"),
    ],
)
def test_other_indexes_are_no_better(
    server: Server, database: Db, monkeypatch: pytest.MonkeyPatch, index: Any, options: Any, reason: str
) -> None:
    """Beyond the cache the server sorts, whatever index it might read along otherwise; a view is left to it."""
    filled(database, in_order=False)
    database.bookings.drop_indexes()
    database.bookings.create_index(index, **options)
    database.create_collection("seen", viewOn="bookings", pipeline=[])
    for name in ("_SMALL", "_SHARE"):
        monkeypatch.setattr(read_cost, name, 0)
    noted, connection = Noted(), Connection(server.uri, database.name)
    try:
        readers = [
            open_reader(parse_place(name), connection, listener=noted) for name in ("bookings", "seen")
        ]
        found = [
            sum(len(chunk.read()[0].starts) for chunk in reader.scan_chunks(50, apart=True))
            for reader in readers
        ]
    finally:
        connection.close()
    (chosen,) = noted.readings

    assert [DOCUMENTS, DOCUMENTS] == found
    assert (ReadingWay.SORT, "bookings") == (chosen.way, chosen.place)
    assert reason in chosen.reason


@pytest.mark.usefixtures("sorts")
def test_a_sort_that_begins_early(platform: Db, server: Server) -> None:
    """A scan that begins with the search for client documents is complete, and one that is not used is not used later."""
    platform.bookings.insert_one({"_id": 1, "clientId": client(5), "sessions": []})
    connection = Connection(server.uri, platform.name)
    with closing(connection), closing(open_reader(parse_place("bookings"), connection)) as reader:
        reader.check()
        first = list(reader.scan_client_documents())
        scanned = {each.raw for each in reader.scan_by_client()}
        list(reader.scan_client_documents())
        platform.bookings.insert_one({"_id": 2, "clientId": client(5)})
        reader.check()
        again = {each.raw for each in reader.scan_by_client()}

    assert [1] == [bson.decode(raw)["_id"] for raw in first]
    assert platform.bookings.count_documents({}) == 1 + len(scanned) == len(again)


def scans(server: Server) -> int:
    """How many whole collections the server has scanned."""
    executor = server.client().admin.command("serverStatus")["metrics"]["queryExecutor"]
    return int(executor["collectionScans"]["total"])


@pytest.mark.usefixtures("sorts")
def test_one_scan_where_no_document_has_sessions(platform: Db, server: Server) -> None:
    """The scan that sorts is the search for client documents, too."""
    connection = Connection(server.uri, platform.name)
    with closing(connection), closing(open_reader(parse_place("bookings"), connection)) as reader:
        reader.check()
        before = scans(server)
        found = list(reader.scan_client_documents())
        scanned = sum(1 for _ in reader.scan_by_client())
        count = scans(server) - before

    assert [] == found
    assert platform.bookings.count_documents({}) == scanned
    assert count == 1


@pytest.mark.usefixtures("sorts")
@pytest.mark.parametrize("sessions", [[], [{}], None, "", 0, False, {}, MinKey(), MaxKey(), UNDEFINED])
def test_whatever_sessions_is(sessions: Any, platform: Db, server: Server) -> None:
    """A document with the field is found, of whatever type it is; the scan has all documents then, too."""
    raw = bson.encode({"_id": 1, "clientId": client(5), "sessions": 0 if sessions is UNDEFINED else sessions})
    if sessions is UNDEFINED:
        raw = raw.replace(b"\x10sessions\x00\x00\x00\x00\x00", b"\x06sessions\x00")
        raw = len(raw).to_bytes(4, "little") + raw[4:]
    platform.bookings.insert_one(RawBSONDocument(raw))
    connection = Connection(server.uri, platform.name)
    with closing(connection), closing(open_reader(parse_place("bookings"), connection)) as reader:
        reader.check()
        found = [bson.decode(raw)["_id"] for raw in reader.scan_client_documents()]
        scanned = {each.raw for each in reader.scan_by_client()}

    assert [1] == found
    assert raw in scanned
    assert platform.bookings.count_documents({}) == len(scanned)


@pytest.mark.parametrize("code", [DISK_USE_REFUSED, INTERRUPTED])
def test_a_sort_that_has_begun_in_vain(platform: Db, server: Server, code: int) -> None:
    """An interruption is waited out; a server that does not sort on its disk is asked for what it can do."""
    connection = Connection(server.uri, platform.name)
    with closing(connection):
        collection = connection.collection("bookings")
        with refused(server, "find", code):
            begun = BegunSort(collection)
            assert begun._first.exception() is not None
        if code == INTERRUPTED:
            found = sum(len(block.starts) for block in find_sorted(collection, begun))
            assert platform.bookings.count_documents({}) == found
        else:
            with pytest.raises(OperationFailure):
                next(find_sorted(collection, begun))


def test_the_clients_along_their_index(platform: Db, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client once and in order, whatever types their ids have, also past an interruption; no document is fetched."""
    owners: list[Any] = [client(number) for number in range(40)]
    owners += [Int64(7), 8.5, "a client", None, True, ObjectId(bytes([255] * 12)), {"a": 1}]
    platform.clients.insert_many([{"clientId": owner, "sessions": []} for owner in owners])
    platform.clients.create_index("clientId", unique=True)
    monkeypatch.setattr(scan, "_KEYS_AT_ONCE", 10)
    connection = Connection(server.uri, platform.name)
    with closing(connection):
        collection = connection.collection("clients")
        before = fetched(server)
        found = clients_along(collection, "clientId_1")
        first = [next(found) for _ in range(10)]
        with refused(server, "getMore", INTERRUPTED):
            rest = list(found)
        count = fetched(server) - before

    assert sorted(map(sort_key, owners)) == list(map(sort_key, [*first, *rest]))
    assert count == 0


def fetched(server: Server) -> int:
    """How many documents queries have examined on the server."""
    executor = server.client().admin.command("serverStatus")["metrics"]["queryExecutor"]
    return int(executor["scannedObjects"])
