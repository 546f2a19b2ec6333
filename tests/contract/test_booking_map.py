"""What every place of a map promises (`stores.booking_map.BookingMap`), place by place."""

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import bson
import pytest
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import CODEC, Opaque
from booking_migrate.errors import BadPlace, MapExists, NotAMap, UnusablePlace, WriteFailed
from booking_migrate.stores.booking_map import NAMES, BookingMap, MapEntry
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.files.booking_map import csv_text
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.open_map import open_map, parse_map_place
from booking_migrate.stores.places import parse_place
from tests.support.server import Server

Db = Database[dict[str, Any]]

LINES = ("map.jsonl", "map.ndjson.gz")
TABLES = ("map.csv", "map.csv.gz")
FILES = (*LINES, *TABLES)
COLLECTION = "ids"


@dataclass(frozen=True)
class MapAt:
    """A place for a map, and what it holds."""

    name: str
    open: Callable[..., BookingMap]
    held: Callable[[], list[tuple[Any, ...]] | None]
    """The entries that it holds, as texts in CSV; None: it is not there."""

    beside: Callable[[], list[str]]
    """What else is there."""


def written(place: BookingMap, *batches: Sequence[MapEntry]) -> bool:
    """Write a map whole; return whether its place has changed."""
    try:
        place.prepare()
        for batch in batches:
            place.write(batch)
        return place.finish()
    finally:
        place.abandon()


def entries(count: int) -> list[MapEntry]:
    """Some entries."""
    ids = [ObjectId(f"{number:024x}") for number in range(4 * count)]
    return [MapEntry(*ids[4 * number : 4 * number + 4]) for number in range(count)]


def texts(some: Sequence[MapEntry]) -> list[tuple[str, ...]]:
    """Entries of ObjectIds as CSV has them."""
    return [tuple(map(str, entry)) for entry in some]


def _file_entries(path: Path) -> list[tuple[Any, ...]] | None:
    if not path.exists():
        return None
    if ".csv" in path.name:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        head, *rows = csv.reader(io.StringIO(text))
        assert list(NAMES) == head
        return [tuple(row) for row in rows]
    with closing(open_reader(parse_place(str(path)), Connection())) as reader:
        documents = [bson.decode(one.raw, CODEC) for one in _in_order(reader)]
    return [tuple(document[name] for name in NAMES) for document in documents]


def _in_order(reader: Any) -> Iterator[Any]:
    return iter(reader.scan_by_client())


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MapAt]:
    """A place of the parametrised kind, with nothing there yet."""
    if request.param != COLLECTION:
        path = tmp_path / request.param
        chosen = parse_map_place(str(path))
        yield MapAt(
            str(path),
            lambda *, overwrite=False: open_map(chosen, Connection(), overwrite=overwrite),
            lambda: _file_entries(path),
            lambda: sorted(one.name for one in tmp_path.iterdir() if one != path),
        )
        return
    server: Server = request.getfixturevalue("server")
    database: Db = request.getfixturevalue("database")
    with closing(Connection(server.uri, database.name)) as connection:

        def held() -> list[tuple[Any, ...]] | None:
            if COLLECTION not in database.list_collection_names():
                return None
            found = database.get_collection(COLLECTION, CODEC).find().sort("_id", 1)
            return [tuple(each[name] for name in ("_id", *NAMES[1:])) for each in found]

        yield MapAt(
            COLLECTION,
            lambda *, overwrite=False: open_map(parse_map_place(COLLECTION), connection, overwrite=overwrite),
            held,
            lambda: sorted(set(database.list_collection_names()) - {COLLECTION}),
        )


everywhere = pytest.mark.parametrize("place", [*FILES, COLLECTION], indirect=True)


def _as_held(place: MapAt, some: Sequence[MapEntry]) -> list[tuple[Any, ...]]:
    return list(texts(some)) if ".csv" in place.name else [tuple(entry) for entry in some]


@everywhere
def test_entries_arrive(place: MapAt) -> None:
    """What was written is there, whole, with nothing beside it; an empty map is there, too."""
    some = entries(5)

    assert written(place.open(), some[:3], some[3:])
    assert _as_held(place, some) == place.held()
    assert [] == place.beside()
    assert written(place.open(overwrite=True))
    assert [] == place.held()


@everywhere
def test_it_appears_whole_or_not_at_all(place: MapAt) -> None:
    """Before it is finished nothing is there, and an abandoned map leaves nothing, nor does it touch an earlier one."""
    unfinished = place.open()
    unfinished.prepare()
    unfinished.write(entries(3))
    assert place.held() is None
    unfinished.abandon()
    unfinished.abandon()
    assert (None, []) == (place.held(), place.beside())

    written(place.open(), entries(2))
    unfinished = place.open(overwrite=True)
    unfinished.prepare()
    unfinished.write(entries(3))
    assert _as_held(place, entries(2)) == place.held()
    unfinished.abandon()
    assert (_as_held(place, entries(2)), []) == (place.held(), place.beside())


@everywhere
def test_an_earlier_map_is_replaced_only_on_request(place: MapAt) -> None:
    """Another map there is refused and stays; with --overwrite it is replaced."""
    written(place.open(), entries(2))

    with pytest.raises(MapExists) as refused:
        written(place.open(), entries(3))

    assert "--overwrite" in (refused.value.hint or "")
    assert _as_held(place, entries(2)) == place.held()
    assert written(place.open(overwrite=True), entries(3))
    assert (_as_held(place, entries(3)), []) == (place.held(), place.beside())


@everywhere
def test_the_same_map_again(place: MapAt) -> None:
    """A place that holds this very map is left as it is."""
    written(place.open(), entries(3))

    assert not written(place.open(), entries(3))
    assert not written(place.open(overwrite=True), entries(3))
    assert (_as_held(place, entries(3)), []) == (place.held(), place.beside())


def test_a_collection_of_others_is_never_replaced(server: Server, database: Db) -> None:
    """A collection that holds anything but a map is refused, with --overwrite, too, and nothing in it changes."""
    database.payments.insert_many([{"_id": 1, "amount": 5}, {"_id": 2, "bookingId": 7, "sessionId": 8}])
    with closing(Connection(server.uri, database.name)) as connection:
        for overwrite in (False, True):
            with pytest.raises(NotAMap):
                written(open_map(parse_map_place("payments"), connection, overwrite=overwrite), entries(1))

    assert 2 == database.payments.count_documents({})
    assert ["payments"] == database.list_collection_names()


def test_a_view_takes_no_map(server: Server, database: Db) -> None:
    """A view is refused as a place for a map."""
    database.create_collection("seen", viewOn="payments")
    with closing(Connection(server.uri, database.name)) as connection, pytest.raises(UnusablePlace):
        written(open_map(parse_map_place("seen"), connection, overwrite=True), entries(1))


def test_what_a_killed_process_left(server: Server, database: Db) -> None:
    """Entries of a map that was never finished do not get into the next one."""
    database[f"booking_migrate_map_{COLLECTION}"].insert_one({"_id": "left"})
    with closing(Connection(server.uri, database.name)) as connection:
        assert written(open_map(parse_map_place(COLLECTION), connection, overwrite=False), entries(2))

    assert [entry.legacy_id for entry in entries(2)] == [each["_id"] for each in database[COLLECTION].find()]
    assert [COLLECTION] == database.list_collection_names()


def test_two_processes_that_write_one_map(server: Server, database: Db) -> None:
    """Of two that write the same map at a time the earlier one ends, whatever it has written when; the later one's map is whole."""
    with closing(Connection(server.uri, database.name)) as connection:
        earlier, later = (open_map(parse_map_place(COLLECTION), connection, overwrite=False) for _ in "12")
        earlier.prepare()
        earlier.write(entries(3)[:1])
        later.prepare()
        earlier.write(entries(3)[1:])
        with pytest.raises(WriteFailed):
            earlier.finish()
        assert COLLECTION not in database.list_collection_names()
        earlier.abandon()
        later.write(entries(3))
        assert later.finish()

    assert [entry.legacy_id for entry in entries(3)] == [each["_id"] for each in database[COLLECTION].find()]
    assert [COLLECTION] == database.list_collection_names()


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_others_put_there_meanwhile_is_not_replaced(
    server: Server, database: Db, *, overwrite: bool
) -> None:
    """A collection that appears while its map is written is looked at before it is replaced."""
    with closing(Connection(server.uri, database.name)) as connection:
        place = open_map(parse_map_place(COLLECTION), connection, overwrite=overwrite)
        place.prepare()
        place.write(entries(2))
        database[COLLECTION].insert_one({"_id": 1, "amount": 5})
        with pytest.raises(NotAMap):
            place.finish()
        place.abandon()

    assert [{"_id": 1, "amount": 5}] == list(database[COLLECTION].find())


def test_old_ids_that_come_twice(server: Server, database: Db) -> None:
    """In a collection the first of several entries of one old id stays, and the others are counted."""
    first, other = entries(2)
    with closing(Connection(server.uri, database.name)) as connection:
        place = open_map(parse_map_place(COLLECTION), connection, overwrite=False)
        written(place, [first], [other._replace(legacy_id=first.legacy_id), other])

    assert 1 == place.repeated
    assert [first.session_id, other.session_id] == [each["sessionId"] for each in database[COLLECTION].find()]


VALUES: list[tuple[Any, str]] = [
    (ObjectId("65f1a0000000000000000007"), "65f1a0000000000000000007"),
    ('a, "b"\nc', 'a, "b"\nc'),
    (7, "7"),
    (Int64(2**60), str(2**60)),
    (Binary.from_uuid(UUID(int=5)), "00000000-0000-0000-0000-000000000005"),
    (1.5, '{"$numberDouble":"1.5"}'),
    (Decimal128("1.50"), '{"$numberDecimal":"1.50"}'),
    ({"a": 1}, '{"a":{"$numberInt":"1"}}'),
    (None, ""),
]


@pytest.mark.parametrize(("value", "text"), VALUES)
@pytest.mark.parametrize("name", ["map.jsonl", "map.csv", COLLECTION])
def test_ids_of_every_type(
    server: Server, database: Db, tmp_path: Path, name: str, value: Any, text: str
) -> None:
    """Ids keep their BSON type in JSON lines and in a collection; CSV has their text."""
    entry = entries(1)[0]._replace(legacy_id=value, session_id=value)
    path = tmp_path / name
    with closing(Connection(server.uri, database.name)) as connection:
        written(
            open_map(parse_map_place(name if name == COLLECTION else str(path)), connection, overwrite=False),
            [entry],
        )

    if name == COLLECTION:
        found: Any = database.get_collection(COLLECTION, CODEC).find_one()
        assert (value, value) == (found["_id"], found["sessionId"])
        assert type(value) is type(found["sessionId"])
    else:
        (held,) = _file_entries(path) or []
        expected = text if ".csv" in name else value
        assert (expected, expected) == (held[0], held[2])
        assert type(expected) is type(held[0])
    assert text == csv_text(value)


@pytest.mark.parametrize("name", ["map.jsonl", "map.csv"])
def test_what_a_text_cannot_hold(tmp_path: Path, name: str) -> None:
    """An id that is not valid UTF-8 is named and fails; the file does not appear."""
    invalid = Opaque(2, b"\x03\x00\x00\x00\xff\xfe\x00")
    path = tmp_path / name

    with pytest.raises(WriteFailed, match="a collection can"):
        written(
            open_map(parse_map_place(str(path)), Connection(), overwrite=False),
            [entries(1)[0]._replace(legacy_id=invalid)],
        )

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("map.json", "JSON lines or CSV"),
        ("map.bson", "JSON lines or CSV"),
        ("map.xlsx", "neither read nor written"),
        ("booking_migrate_runs", "own records"),
        ("a/b", "suffix"),
        ("", "empty"),
    ],
)
def test_what_is_no_place_for_a_map(name: str, problem: str) -> None:
    """Other files, own collections and names that are none are refused, and the reason says what is right."""
    with pytest.raises(BadPlace) as refused:
        parse_map_place(name)

    assert problem in f"{refused.value.message} {refused.value.hint}"
