"""What every migration promises, on dirty documents of every BSON type."""

import random
from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bson
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from booking_migrate.bson.document import CODEC, element_of, elements, wrap
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.session import Converter, People, Session, read_booking
from booking_migrate.runs.plan import MigrationOutcome
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.places import parse_place
from tests.support.bookings import ABSENT, a_booking
from tests.support.examples import examples
from tests.support.migration import client_documents, migrate

Document = dict[str, Any]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(),
    st.text(max_size=12),
    st.binary(max_size=8),
    st.binary(min_size=16, max_size=16).map(lambda data: Binary(data, 4)),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.integers(-(2**62), 2**62).map(DatetimeMS),
    st.decimals(allow_nan=True, places=2, min_value=-(10**6), max_value=10**6).map(Decimal128),
    st.builds(Timestamp, st.integers(1, 2**31), st.integers(1, 2**31)),
    st.sampled_from([MinKey(), MaxKey(), Regex("a.*", "im"), Code("x"), Code("x", {"a": 1})]),
)
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.text("abc", max_size=2), SCALARS, max_size=3)
)

CLIENTS = [
    ObjectId("68b6134f8e21e1ae686349f7"), ObjectId("68b6134f8e21e1ae686349f8"), "client", 7, Int64(7), Binary(bytes(16), 4),
]  # fmt: skip
FIELDS = [name for name in a_booking() if name != "_id"]
RARE_PRICES = [
    -0.0,
    Decimal128("-0E+2"),
    Decimal128("1E+3"),
    Decimal128("9.99E+6144"),
    Int64(2**63 - 1),
    1e300,
]
RARE_DATES = [ABSENT, DatetimeMS(-(2**63)), DatetimeMS(2**63 - 1)]
GOOD_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "price": st.one_of(
            st.integers(0, 10**6),
            st.integers(0, 10**12).map(Int64),
            st.floats(0, 1e6),
            st.decimals(0, 10**6, places=2).map(Decimal128),
            st.sampled_from(RARE_PRICES),
        ),
        "createdAt": st.one_of(st.integers(-(2**40), 2**45).map(DatetimeMS), st.sampled_from(RARE_DATES)),
        "updatedAt": st.one_of(st.integers(-(2**40), 2**45).map(DatetimeMS), st.sampled_from(RARE_DATES)),
        "status": st.sampled_from(["pending", "completed", ABSENT]),
        "clientEmail": st.sampled_from(["a@example.com", "b@example.com"]),
        "extra": VALUES,
        "notes": st.one_of(st.none(), st.text(max_size=20)),
    },
)
DIRT = st.one_of(
    st.just({}),
    st.just({}),
    st.tuples(st.sampled_from([*FIELDS, "sessionId", "extra"]), VALUES).map(lambda pair: dict([pair])),
    st.sampled_from(FIELDS).map(lambda name: {name: ABSENT}),
)
IDS = st.one_of(
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.integers(0, 1000),
    st.text("abc", max_size=3),
    st.floats(0, 9),
)


@st.composite
def bookings(draw: st.DrawFn) -> list[Document]:
    """Bookings of a few clients with different ids, about half of them dirty."""
    documents = []
    for document_id in draw(st.lists(IDS, max_size=12, unique_by=sort_key)):
        changes = {**draw(GOOD_CHANGES), **draw(DIRT)}
        client = {"clientId": draw(st.sampled_from(CLIENTS))} if "clientId" not in changes else {}
        documents.append(a_booking(_id=document_id, **{**client, **changes}))
    return documents


def as_dump(documents: list[Document]) -> bytes:
    """The documents as a BSON dump."""
    return b"".join(bson.encode(document, codec_options=CODEC) for document in documents)


class Workplace:
    """A folder in which bookings are migrated from file to file."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._runs = 0

    def migrate(
        self, documents: list[Document], target: str = "", **plan: Any
    ) -> tuple[MigrationOutcome, bytes, bytes]:
        """The outcome, the client documents' bytes and the rejected records' bytes."""
        self._runs += 1
        place = self._folder / str(self._runs)
        place.mkdir()
        source = place / "bookings.bson"
        source.write_bytes(as_dump(documents))
        path = place / (target or "clients.bson")
        outcome = migrate(str(source), str(path), **plan)
        rejected = Path(f"{path}.rejected.jsonl")
        return outcome, path.read_bytes(), rejected.read_bytes() if rejected.exists() else b""


def rejected_ids(folder: bytes) -> list[bytes]:
    """The sort keys of the bookings in a file of rejected records."""
    with TemporaryDirectory() as name:
        path = Path(name) / "rejected.jsonl"
        path.write_bytes(folder)
        with closing(open_reader(parse_place(str(path)), Connection())) as reader:
            records = [bson.decode(scanned.raw, CODEC) for scanned in reader.scan_by_client()]
    return [sort_key(record["bookingId"]) for record in records]


@given(bookings())
def test_every_booking_is_in_one_session_or_one_rejection(documents: list[Document]) -> None:
    """Invariant 1: scanned = migrated + rejected, and by id each booking is in exactly one place."""
    with TemporaryDirectory() as folder:
        outcome, clients, rejects = Workplace(folder).migrate(documents)

    made = bson.decode_all(clients, CODEC)
    found = [sort_key(session["legacyBookingId"]) for client in made for session in client["sessions"]]
    assert Counter(sort_key(document["_id"]) for document in documents) == Counter(
        [*found, *rejected_ids(rejects)]
    )
    assert (len(documents), len(found)) == (outcome.counts.scanned, outcome.counts.migrated)
    assert len(made) == outcome.counts.clients


@settings(max_examples=examples(50, one_of=2))
@given(bookings(), st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_same_input_gives_the_same_bytes(
    documents: list[Document], batch: int, shuffler: random.Random
) -> None:
    """Invariant 2: neither the size of a batch nor the order of reading changes a byte of result or rejects."""
    shuffled = list(documents)
    shuffler.shuffle(shuffled)
    with TemporaryDirectory() as folder:
        workplace = Workplace(folder)
        _, clients, rejects = workplace.migrate(documents)
        _, clients_again, rejects_again = workplace.migrate(shuffled, batch_bookings=batch)

    assert (clients, rejects) == (clients_again, rejects_again)


@settings(max_examples=examples(50, one_of=2))
@given(bookings())
def test_a_second_run_writes_nothing(documents: list[Document]) -> None:
    """Invariant 2: run again, everything is already migrated and no file is touched."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bookings.bson").write_bytes(as_dump(documents))
        source, target = str(folder / "bookings.bson"), str(folder / "clients.jsonl")
        first = migrate(source, target)
        before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}

        second = migrate(source, target)

        assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    assert (first.counts.migrated, 0) == (second.counts.already_migrated, second.counts.migrated)
    assert first.rejections == second.rejections


@given(bookings())
def test_a_session_gives_its_booking_back(documents: list[Document]) -> None:
    """Conversion has an inverse: session, client and the dropped fields make the old booking, byte for byte."""
    converter = Converter()
    for document in documents:
        raw = bson.encode(document, codec_options=CODEC)
        session = converter.convert(read_booking(raw), People())
        if isinstance(session, Session):
            carried = {part.name: part for part in elements(session.raw)}
            carried[b"_id"] = carried.pop(b"legacyBookingId")._replace(name=b"_id")
            for name in ("clientId", "clientUserId", "clientEmail", "__v"):
                if name in document:
                    carried[name.encode()] = element_of(name, document[name])
            assert raw == wrap([carried[name.encode()] for name in document])


@settings(
    max_examples=settings().max_examples // 6, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(documents=bookings(), batch=st.integers(1, 5))
def test_a_database_gives_the_same_documents_as_a_file(
    database: Database[Document], server_uri: str, documents: list[Document], batch: int
) -> None:
    """Invariant 2 across places: a collection's client documents are a dump's, byte for byte; a second run is idle."""
    for name in ("bookings", "clients", "booking_migrate_rejected"):
        database[name].drop()
    database.create_collection("bookings")
    if documents:
        database["bookings"].insert_many(documents)

    outcome = migrate("bookings", "clients", uri=server_uri, db=database.name, batch_bookings=batch)
    again = migrate("bookings", "clients", uri=server_uri, db=database.name)

    with TemporaryDirectory() as folder:
        in_file, clients, rejects = Workplace(folder).migrate(documents)
    in_database = client_documents(database["clients"])
    rejected = database["booking_migrate_rejected"].distinct("bookingId")
    assert clients == in_database
    assert in_file.counts == outcome.counts
    assert in_file.rejections == outcome.rejections == again.rejections
    assert Counter(rejected_ids(rejects)) == Counter(map(sort_key, rejected))
    assert (outcome.counts.migrated, False) == (
        again.counts.already_migrated,
        again.changed,
    )
