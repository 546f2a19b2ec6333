"""The server makes the bytes that the stream engine makes, or nothing (DESIGN.md, invariant 2 and section 5)."""

import random
from contextlib import closing
from typing import Any

import bson
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from booking_migrate.domain.bson_document import CODEC, Element, wrap
from booking_migrate.domain.bson_document import elements as elements_of
from booking_migrate.domain.contract import Contract
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.grouping import PlainRules
from booking_migrate.stores.mongo.client_index import ensure_client_index
from booking_migrate.stores.mongo.grouping import MongoGrouping
from booking_migrate.stores.mongo.scan import find_documents
from tests.properties.test_migration import DIRT, GOOD_CHANGES
from tests.support.bookings import ABSENT, a_booking
from tests.support.migration import migrate

Document = dict[str, Any]

CLIENTS = [ObjectId(bytes([number + 1]) * 11 + b"%d" % number) for number in range(5)]
PRICES = st.one_of(
    st.integers(0, 2**31 - 1),
    st.integers(0, 10**12).map(Int64),
    st.integers(0, 2000).map(Int64),
    st.floats(0, 1e9),
    st.floats(0, 500).map(lambda price: round(price, 2)),
    st.sampled_from([-0.0, 1e-3, 5e-324, 4224.11, 663.83, 9533.41]),
)
PLAIN_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "price": PRICES,
        "createdAt": st.integers(-3, 3).map(DatetimeMS),
        "updatedAt": st.integers(-(2**40), 2**45).map(DatetimeMS),
        "duration": st.sampled_from([15, 45.5, Int64(60)]),
        "status": st.sampled_from(["pending", "completed"]),
        "expertId": st.sampled_from([ObjectId(bytes(12)), "", "expert", 7, Int64(7)]),
        "notes": st.one_of(st.none(), st.text(max_size=20), st.just("é" * 1000), st.just("\U0001f600" * 500)),
        "paymentMethod": st.one_of(st.none(), st.text(max_size=3)),
        "cancellationTime": st.one_of(st.none(), st.just(DatetimeMS(5))),
        "refundAmount": st.one_of(st.none(), PRICES),
        "extra": st.sampled_from(
            [1, 1.5, "x", None, True, b"x", Binary(b"x", 5), Decimal128("1.10"), [1, [2]], {"a": {"b": [3]}}]
        ),
        "a.b": st.just("$c"),
        "$dollar": st.just(1),
        "": st.just("empty"),
        "__v": st.sampled_from([0, 7, Int64(0), None, 1.5, ABSENT]),
        "endTime": st.sampled_from(["9:05", "23:59", "23:59\n", "24:00"]),
    },
)
_NO_TEXT = b"\x02\x00\x00\x00\xff\x00"
ODD = [
    Element(0x02, b"unknown", _NO_TEXT),
    Element(0x02, b"meetingLink", _NO_TEXT),
    Element(0x02, b"\xff", b"\x01\x00\x00\x00\x00"),
    Element(0x0E, b"paymentMethod", b"\x02\x00\x00\x00x\x00"),
    Element(0x0E, b"unknown", b"\x02\x00\x00\x00x\x00"),
    Element(0x06, b"unknown", b""),
    Element(0x0B, b"unknown", b"x\x00mi\x00"),
    Element(0x04, b"unknown", wrap([Element(0x10, b"7", b"\x01\x00\x00\x00")])),
    Element(0x11, b"unknown", bytes(8)),
]
"""Elements that Python's decoder changes or refuses, or that the server may."""

IDS = st.binary(min_size=12, max_size=12).map(ObjectId)


@st.composite
def bookings(draw: st.DrawFn, changes: st.SearchStrategy[Document]) -> list[bytes]:
    """Bookings of a few clients, some of them with their fields in another order or with a name twice."""
    documents = []
    for document_id in draw(st.lists(IDS, max_size=14, unique=True)):
        document = a_booking(_id=document_id, clientId=draw(st.sampled_from(CLIENTS)))
        document.update(draw(changes))
        raw = bson.encode(
            {name: value for name, value in document.items() if value is not ABSENT}, codec_options=CODEC
        )
        first, *parts = elements_of(raw)
        if draw(st.integers(0, 9)) == 0:
            parts = draw(st.permutations(parts))
        if draw(st.integers(0, 29)) == 0:
            parts.append(draw(st.sampled_from(parts)))
        if draw(st.integers(0, 9)) == 0:
            parts.append(draw(st.sampled_from(ODD)))
        documents.append(wrap([first, *parts]))
    return documents


def both(
    database: Database[Document], uri: str, documents: list[bytes], rules: PlainRules, size: int
) -> tuple[list[bytes], list[bytes]]:
    """What the stream engine makes of the bookings, and what the server makes of them in ranges of so many bookings."""
    for name in ("bookings", "streamed", "grouped", "booking_migrate_rejected"):
        database[name].drop()
    database["bookings"].create_index("clientId")
    if documents:
        database["bookings"].insert_many(map(RawBSONDocument, documents))
    migrate("bookings", "streamed", uri=uri, db=database.name, contract=rules.contract,
            accepted=rules.accepted, maximum_document_size=rules.maximum_document_size)  # fmt: skip
    with closing(Connection(uri, database.name)) as connection:
        source, target = connection.collection("bookings"), connection.collection("grouped")
        ensure_client_index(target)
        server = MongoGrouping(source, target, rules, connection.address("bookings"))
        assert server.obstacle() is None
        for clients in server.ranges(size):
            if clients.is_groupable:
                assert server.merge(clients, server.clients(clients), "run") is None
        streamed = list(find_documents(connection.collection("streamed"), {}, by_client=True))
        return streamed, list(find_documents(target, {}, by_client=True))


RULES = PlainRules(Contract(), frozenset(), 8 * 1024 * 1024)
_FEW = settings(
    max_examples=settings().max_examples // 2, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_FEW
@given(
    documents=bookings(PLAIN_CHANGES),
    size=st.sampled_from([1, 3, 100]),
    shuffler=st.randoms(use_true_random=False),
)
def test_the_server_makes_the_same_bytes(
    database: Database[Document], server_uri: str, documents: list[bytes], size: int, shuffler: random.Random
) -> None:
    """Each document that the server makes is that of the stream engine, byte for byte, for any range and order."""
    shuffler.shuffle(documents)
    streamed, grouped = both(database, server_uri, documents, RULES, size)

    assert [] == [document for document in grouped if document not in streamed]


@_FEW
@given(documents=bookings(st.one_of(GOOD_CHANGES, DIRT)), size=st.sampled_from([2, 100]))
def test_the_server_leaves_what_it_cannot_do(
    database: Database[Document], server_uri: str, documents: list[bytes], size: int
) -> None:
    """Of dirty bookings, too, the server makes what the stream engine makes, or nothing."""
    streamed, grouped = both(database, server_uri, documents, RULES, size)

    assert [] == [document for document in grouped if document not in streamed]


@_FEW
@given(
    prices=st.lists(st.one_of(st.integers(0, 10**6), st.floats(1, 10**6)), min_size=1, max_size=14),
    shuffler=st.randoms(use_true_random=False),
)
def test_plain_clients_are_done_by_the_server(
    database: Database[Document], server_uri: str, prices: list[float], shuffler: random.Random
) -> None:
    """A plain client is not left to the stream engine: the server makes all documents, byte for byte."""
    documents = [
        bson.encode(
            a_booking(_id=ObjectId(f"{number:024x}"), clientId=shuffler.choice(CLIENTS), price=price),
            codec_options=CODEC,
        )
        for number, price in enumerate(prices)
    ]
    streamed, grouped = both(database, server_uri, documents, RULES, 100)

    assert streamed == grouped
