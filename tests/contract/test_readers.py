"""What every place that can be read promises (`stores.ports.DocumentReader`), place by place."""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from bson import decode, encode
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.errors import InvalidBSON
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from booking_migrate.bson.order import sort_key
from booking_migrate.stores.chunks import unpack
from booking_migrate.stores.ports import DocumentReader, Duplicate
from tests.support.bson_samples import deprecated_documents, ordinary_documents
from tests.support.readers import (
    BSON_FILES,
    JSON_FILES,
    Documents,
    MakeReader,
    file_reader,
    mongod_reader,
    mongomock_reader,
)

FILES = (*JSON_FILES, *BSON_FILES)
PLACES = (*FILES, "mongod", "mongomock")


def cannot(*places: str, raises: type[Exception], reason: str) -> list[Any]:
    """All places, those that cannot keep a promise as expected failures."""
    mark = pytest.mark.xfail(strict=True, raises=raises, reason=reason)
    return [pytest.param(place, marks=mark) if place in places else place for place in PLACES]


@pytest.fixture
def make_reader(request: pytest.FixtureRequest, tmp_path: Path) -> MakeReader:
    """Makes a reader of the parametrised kind of place over given documents."""
    kind: str = request.param
    if kind == "mongomock":
        return mongomock_reader
    if kind == "mongod":
        database: Database[dict[str, Any]] = request.getfixturevalue("database")
        return lambda documents: mongod_reader(database, documents)
    return lambda documents: file_reader(tmp_path, kind, documents)


def everywhere(places: Any = PLACES) -> Callable[[Any], Any]:
    """Run a test for these places."""
    return pytest.mark.parametrize("make_reader", places, indirect=True)


def booking(document_id: Any, client: Any, **fields: Any) -> bytes:
    """A document of a client."""
    return encode({"_id": document_id, "clientId": client, **fields}, codec_options=CODEC)


def raws(reader: DocumentReader) -> list[bytes]:
    """What a scan yields, without its marks; one document at a time or many."""
    scanned = list(reader.scan_by_client())

    assert scanned == list(unpack(chunk.read()[0] for chunk in reader.scan_chunks(1000, apart=False)))
    return [document.raw for document in scanned]


@everywhere(cannot("mongomock", raises=InvalidBSON, reason="mongomock knows no dates beyond Python's"))
def test_every_type_comes_byte_for_byte(make_reader: MakeReader) -> None:
    """Every document is scanned once, byte for byte, whatever types it holds."""
    documents = ordinary_documents()

    assert sorted(documents) == sorted(raws(make_reader(documents)))


@pytest.mark.parametrize("make_reader", [*BSON_FILES, "mongod"], indirect=True)
def test_deprecated_types_come_byte_for_byte(make_reader: MakeReader) -> None:
    """A place that holds BSON yields deprecated types and invalid UTF-8 as they stand."""
    documents = deprecated_documents()

    assert sorted(documents) == sorted(raws(make_reader(documents)))


def mixed_documents() -> list[bytes]:
    """320 documents whose ids and clients are of many types, in no order."""
    clients: list[Any] = [
        *range(20),
        *(Int64(n) for n in range(20)),
        *(n + 0.5 for n in range(20)),
        *(f"client {n}" for n in range(20)),
        *(ObjectId(bytes([n]) * 12) for n in range(20)),
        *(Binary(bytes([n]) * 16, 4) for n in range(20)),
        *({"part": n} for n in range(20)),
        *([None, True, False] * 6),
        *("", "a"),
    ]
    documents = [booking(f"{n}", clients[n * 37 % len(clients)]) for n in range(160)]
    documents += [booking(n, clients[n * 41 % len(clients)]) for n in range(80)]
    documents += [booking({"n": n}, clients[n * 43 % len(clients)]) for n in range(80)]
    return documents


@everywhere()
def test_order_of_clients_is_mongodbs(make_reader: MakeReader) -> None:
    """Documents come in MongoDB's order of their clients, whatever the types."""
    documents = mixed_documents()

    scanned = raws(make_reader(documents))

    keys = [sort_key(decode(raw, CODEC)["clientId"]) for raw in scanned]
    assert sorted(documents) == sorted(scanned)
    assert sorted(keys) == keys


@everywhere(cannot("mongomock", raises=NotImplementedError, reason="mongomock has no Decimal128 in a sort"))
def test_equal_clients_stand_together(make_reader: MakeReader) -> None:
    """A client is the same where MongoDB says so, whatever type its number has."""
    clients = [7, "7", Int64(7), 8, 7.0, True, Decimal128("7.00"), ObjectId(bytes(12)), 7]
    reader = make_reader([booking(n, client) for n, client in enumerate(clients)])

    groups = [
        sorted(decode(raw)["_id"] for raw in group)
        for _key, group in groupby(raws(reader), key=lambda raw: sort_key(decode(raw)["clientId"]))
    ]

    assert [[0, 2, 4, 6, 8], [3], [1], [7], [5]] == groups


@everywhere()
def test_documents_without_a_client_come_too(make_reader: MakeReader) -> None:
    """A missing, null, array or document client hides no document."""
    documents = [encode({"_id": 1}), booking(2, None), booking(3, {"a": 1})]
    documents += [booking(4, ObjectId(bytes(12)))]

    assert sorted(documents) == sorted(raws(make_reader(documents)))


@everywhere()
def test_an_empty_place_has_no_documents(make_reader: MakeReader) -> None:
    """A place that exists and is empty is read without complaint."""
    reader = make_reader([])
    reader.check()

    assert [] == raws(reader)
    assert [] == list(reader.scan_client_documents())
    assert [] == list(reader.find([1]))


@everywhere()
def test_a_place_is_read_as_often_as_wished(make_reader: MakeReader) -> None:
    """A second scan, even within the first, yields the same documents."""
    documents = [booking(n, n % 3) for n in range(30)]
    reader = make_reader(documents)

    first = reader.scan_by_client()
    next(first)
    second = raws(reader)

    assert sorted(documents) == sorted(second)
    assert 29 == len(list(first))


@everywhere()
def test_client_documents_are_told_by_sessions(make_reader: MakeReader) -> None:
    """Only documents with a field `sessions`, of whatever type, count as client documents; in client order."""
    documents = [
        booking(1, "c", sessions=[]),
        booking(2, "b"),
        booking(3, "a", sessions=None),
        booking(4, "b", sessions="x"),
    ]

    found = [decode(raw) for raw in make_reader(documents).scan_client_documents()]

    assert [3, 4, 1] == [document["_id"] for document in found]
    assert [None, "x", []] == [document["sessions"] for document in found]


@everywhere()
def test_documents_are_found_by_id(make_reader: MakeReader) -> None:
    """Documents are found by the equality of their ids, and only those."""
    documents = [booking(1, "a"), booking("x", "b"), booking(ObjectId(bytes(12)), "c")]
    reader = make_reader(documents)

    found = list(reader.find([Int64(1), ObjectId(bytes(12)), "y"]))

    assert sorted([documents[0], documents[2]]) == sorted(found)
    assert [] == list(reader.find([]))


@everywhere()
def test_the_count_is_known_after_a_scan(make_reader: MakeReader) -> None:
    """The estimate is right, or absent as long as only a full read could tell."""
    reader = make_reader([booking(n, n) for n in range(12)])

    assert reader.estimate_count() in (None, 12)
    reader.check()
    assert reader.estimate_count() == 12
    reader.close()
    reader.close()


@pytest.mark.parametrize("make_reader", FILES, indirect=True)
def test_duplicate_ids_in_a_file_are_marked(make_reader: MakeReader) -> None:
    """The same bytes again are a copy; other bytes under one id are a conflict of all of them."""
    documents: Documents = [
        booking(1, "a"),
        booking(2, "a"),
        booking(Int64(2), "b"),
        booking(2, "a"),
        booking(1, "a"),
        booking(3, "c"),
        booking(1, "a"),
        encode({"clientId": "d"}),
        encode({"clientId": "d"}),
    ]

    scanned = [(document.raw, document.duplicate) for document in make_reader(documents).scan_by_client()]

    none, copy, conflict = Duplicate.NONE, Duplicate.COPY, Duplicate.CONFLICT
    assert [
        (documents[0], none),
        (documents[1], conflict),
        (documents[3], conflict),
        (documents[4], copy),
        (documents[6], copy),
        (documents[2], conflict),
        (documents[5], none),
        (documents[7], none),
        (documents[8], none),
    ] == scanned


@pytest.mark.parametrize("make_reader", FILES, indirect=True)
def test_duplicate_client_documents_are_left_out(make_reader: MakeReader) -> None:
    """Of equal client documents one is seen, of conflicting ones none; found by id is the last."""
    one, other = booking(1, "a", sessions=[]), booking(1, "a", sessions=[1])
    copy = booking(2, "b", sessions=[])
    reader = make_reader([one, other, copy, copy])

    assert [copy] == list(reader.scan_client_documents())
    assert [other] == list(reader.find([1]))
