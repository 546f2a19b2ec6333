"""The fast path for flat clients never says anything else than the reference path."""

import random
from collections.abc import Container
from decimal import Decimal
from typing import Any

import bson
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.bson.document import CODEC
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.consolidate import ClientCase, Consolidation, consolidate
from booking_migrate.domain.rules import Rules
from booking_migrate.domain.session import Converter, People, Session, read_booking
from booking_migrate.fastpath.flat import BuiltClients, FlatClients, FlatRules, object_id_of_client
from booking_migrate.migrate.counts import MigrationCounts
from booking_migrate.stores.chunks import split
from tests.properties.test_migration import Document, bookings
from tests.support.bookings import a_booking, raw

RULES = FlatRules()
CONVERTER = Converter()
CLIENTS = [ObjectId("68b6134f8e21e1ae686349f7"), ObjectId("68b6134f8e21e1ae686349f8"), "client", None]
PRICES = st.one_of(
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**62).map(Int64),
    st.floats(0, 1e6),
    st.decimals(0, 10**6, places=2).map(Decimal128),
)
USUAL = st.builds(
    lambda number, client, price, created, email: a_booking(
        _id=ObjectId(f"68b61bd7a4c0bf9eaa{number:06x}"),
        clientId=client,
        price=price,
        createdAt=created,
        clientEmail=email,
    ),
    st.integers(0, 2**24 - 1),
    st.sampled_from(CLIENTS[:2]),
    PRICES,
    st.integers(-(2**40), 2**45).map(DatetimeMS),
    st.sampled_from(["a@example.com", "a@example.com", "a@example.com", "b@example.com"]),
)


def encoded(documents: list[Document]) -> list[bytes]:
    """The documents in client order, those of one client in no order."""
    return [bson.encode(document, codec_options=CODEC) for document in documents]


def thorough(documents: list[bytes]) -> Consolidation | None:
    """What the reference path makes of one client's bookings; None if one of them is rejected."""
    sessions = [CONVERTER.convert(read_booking(document), People()) for document in documents]
    if not all(isinstance(session, Session) for session in sessions):
        return None
    return consolidate(ClientCase([each for each in sessions if isinstance(each, Session)]))


def counted(tally: MigrationCounts) -> tuple[object, object]:
    """What a run tells of a tally."""
    return tally.counts(changed=True), tally.spent()


def composed(documents: list[bytes], odd: Container[int] = (), rules: FlatRules = RULES) -> BuiltClients:
    """What comes of documents."""
    block = split(b"".join(documents))
    return FlatClients(rules).build(block.raw, [*block.starts, len(block.raw)], odd)


def compared(documents: list[bytes], odd: frozenset[int] = frozenset()) -> int:
    """Compose them, compare with the reference path, and say how many flat clients there were."""
    clients, left, _ = composed(documents, odd)
    for client in clients:
        own = [document for document in documents if object_id_of_client(document) == client.object_id]
        consolidation = thorough(own)

        assert consolidation is not None
        assert not consolidation.disagreement
        assert (consolidation.document, len(own)) == (client.document, client.sessions)
        shortly, thoroughly = MigrationCounts(), MigrationCounts()
        shortly.take_flat(client, is_new=True)
        thoroughly.take(client.client_id, consolidation)
        assert counted(thoroughly) == counted(shortly)
    flat = {client.object_id for client in clients}
    others = [number for number, each in enumerate(documents) if object_id_of_client(each) not in flat]
    assert others == left
    assert [client.object_id for client in clients] == sorted(flat)
    return len(clients)


@given(st.lists(USUAL, max_size=12, unique_by=lambda document: document["_id"]), st.randoms())
def test_flat_clients_get_the_document_of_the_reference_path(
    documents: list[Document], chance: random.Random
) -> None:
    """Document, totals in every type, order and counts are those of conversion and consolidation."""
    chance.shuffle(documents)
    compared(sorted(encoded(documents), key=lambda document: object_id_of_client(document) or b""))


@given(bookings())
def test_of_dirty_bookings_only_flat_clients_are_taken(documents: list[Document]) -> None:
    """Of dirty documents of all types, whatever is not left is as the reference path has it."""
    compared(
        sorted(
            encoded(documents), key=lambda document: sort_key(bson.decode(document, CODEC).get("clientId"))
        )
    )


def test_one_odd_booking_leaves_the_whole_client() -> None:
    """A client with an odd, broken or marked booking is left with all its bookings, before and behind it, too."""
    first, second = (ObjectId(f"68b6134f8e21e1ae6863490{number}") for number in (1, 2))

    def booked(number: int, client: ObjectId, **changes: Any) -> bytes:
        return raw(_id=ObjectId(f"68b61bd7a4c0bf9eaa{number:06x}"), clientId=client, **changes)

    flat = [booked(1, first), booked(2, first), booked(3, first)]
    other = [booked(4, second)]
    for number in range(3):
        broken = [*flat]
        broken[number] = booked(9, first, duration=1)
        assert 1 == compared([*broken, *other])
        clients, left, _ = composed([*flat, *other], {number})
        assert ([second.binary], [0, 1, 2]) == ([client.object_id for client in clients], left)


def test_documents_of_no_client_split_no_client() -> None:
    """A booking without a client in the middle of a client's is left, and the client is one."""
    flat = [raw(_id=ObjectId(f"68b61bd7a4c0bf9eaa{number:06x}")) for number in range(4)]
    stray = raw(_id=ObjectId("68b61bd7a4c0bf9eaa00ffff"), clientId=None)
    clients, left, _ = composed([*flat[:2], stray, *flat[2:]])

    assert ([4], [2]) == ([client.sessions for client in clients], left)


def test_what_does_not_fit_is_left() -> None:
    """A document over the limit, or sessions that the target cannot hold, are for the reference path."""
    documents = [raw()]
    size = len(composed(documents).clients[0].document)
    for rules in (
        FlatRules(Rules(maximum_document_size=size - 1)),
        FlatRules(Rules(maximum_document_size=size), lambda session: b"legacyBookingId" not in session),
    ):
        assert ([], [0], None) == composed(documents, rules=rules)
    assert 1 == len(composed(documents, rules=FlatRules(Rules(maximum_document_size=size))).clients)


def test_amounts_are_exact() -> None:
    """The amount spent is the exact sum of prices, whatever the document's total is rounded to."""
    prices = [4224.11, 663.83, 9533.41]
    documents = [
        raw(_id=ObjectId(f"68b61bd7a4c0bf9eaa{number:06x}"), price=price)
        for number, price in enumerate(prices)
    ]
    (client,) = composed(documents).clients

    assert Decimal("14421.35") == client.spent
    assert 14421.35 == bson.decode(client.document)["totalSpent"]


def test_more_than_a_client_can_have_is_left() -> None:
    """Bookings of many more bytes than any document holds are not taken apart all at once."""
    many = [
        raw(_id=ObjectId(f"68b61bd7a4c0bf9eaa{number:06x}"), notes="x" * 1900) for number in range(15_000)
    ]
    clients, left, _ = composed(many)

    assert ([], 15_000) == (clients, len(left))
