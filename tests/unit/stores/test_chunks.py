"""Cutting a scan into pieces of whole clients."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import bson
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.bson.order import sort_key
from booking_migrate.stores.chunks import (
    FIRST,
    LAST,
    PIECE_BYTES,
    ClientStream,
    DocumentBlock,
    block_of,
    client_key,
    split,
    whole_clients,
)
from booking_migrate.stores.ports import ScannedDocument

ABSENT = object()
STRAYS = [ABSENT, None, [1], {"a": 1}]


def document(number: int, client: Any, size: int = 0) -> bytes:
    """A document of a client."""
    client_id = {} if client is ABSENT else {"clientId": client}
    return bson.encode({"_id": number, **client_id, "x": "x" * size})


def chunks(documents: list[bytes], limit: int, at_once: int = 3) -> list[list[bytes]]:
    """The documents in pieces, scanned so many at a time."""
    parts = [
        block_of([ScannedDocument(raw) for raw in documents[start : start + at_once]])
        for start in range(0, len(documents), at_once)
    ]
    return [chunk.documents() for chunk in whole_clients(iter(parts), limit)]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.sampled_from(STRAYS)), max_size=30),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_no_client_is_split(rows: list[tuple[int, int, Any]], limit: int, at_once: int) -> None:
    """Every document comes once, no client is in two pieces, and clients keep their order; strays may be anywhere."""
    owners: list[Any] = []
    for client, count, stray in sorted(rows, key=lambda row: row[0]):
        owners += [*([client] * count), stray, client]
    raws = [document(number, owner) for number, owner in enumerate(owners)]
    cut = chunks(raws, limit, at_once)

    assert sorted(raws) == sorted(raw for chunk in cut for raw in chunk)
    assert all(cut)
    clients = [list(filter(None, map(client_key, chunk))) for chunk in cut]
    seen = [key for chunk in clients for key in chunk]
    assert sorted(seen) == seen
    for number, chunk in enumerate(clients):
        others = {key for other in clients[number + 1 :] for key in other}
        assert not others & set(chunk)


def test_pieces_are_about_so_large() -> None:
    """A piece ends with the first client behind its limit."""
    raws = [document(number, number // 4) for number in range(40)]

    assert [4, 8, 8, 8, 8, 4] == [len(chunk) for chunk in chunks(raws, limit=8, at_once=40)]


def test_large_documents_make_small_pieces() -> None:
    """A piece ends when it has very many bytes, too."""
    raws = [document(number, number, PIECE_BYTES // 2) for number in range(6)]

    assert max(len(chunk) for chunk in chunks(raws, limit=100, at_once=1)) <= 3


def test_very_many_strays_are_not_held() -> None:
    """Documents of no client in the middle of a client come in pieces of their own, before the client's."""
    raws = [document(0, 7), *(document(number, [7]) for number in range(1, 26)), document(26, 7)]
    cut = chunks(raws, limit=5, at_once=100)

    assert max(map(len, cut)) <= 6
    assert [0, 26] == [bson.decode(raw)["_id"] for raw in cut[-1] if client_key(raw) is not None]


def test_whose_a_document_is() -> None:
    """A client's key is that of the value; what can belong to no client has none."""
    assert sort_key("a") == client_key(document(1, "a"))
    assert [None] * len(STRAYS) == [client_key(document(1, stray)) for stray in STRAYS]
    assert [] == list(whole_clients(iter([split(b"")]), 5))


CLIENTS = [7, "a", *(ObjectId(f"{number:024x}") for number in (0, 1, 5, 9)), LAST, True]
"""In MongoDB's order; the first two stand below every ObjectId, the last two above the ranges."""


def stream(documents: list[bytes], at_once: int) -> ClientStream:
    """A scan of these documents, so many at a time."""

    def scan() -> Iterator[DocumentBlock]:
        for start in range(0, len(documents), at_once):
            yield split(b"".join(documents[start : start + at_once]))

    return ClientStream(scan)


def raws(blocks: Iterable[DocumentBlock]) -> list[bytes]:
    """The documents of all blocks."""
    return [raw for block in blocks for raw in block.documents()]


def clients_of(documents: list[bytes]) -> list[ObjectId]:
    """The clients of documents that have an ObjectId for one."""
    found = (bson.decode(raw).get("clientId") for raw in documents)
    return [each for each in found if isinstance(each, ObjectId)]


OWNERS = st.lists(
    st.tuples(st.integers(0, len(CLIENTS) - 1), st.integers(1, 4), st.booleans(), st.sampled_from(STRAYS)),
    max_size=12,
)


def scanned(rows: list[tuple[int, int, bool, Any]]) -> list[bytes]:
    """Documents in client order, with strays among them."""
    owners: list[Any] = []
    for client, count, has_stray, stray in sorted(rows, key=lambda row: row[0]):
        owners += [*([CLIENTS[client]] * count), *([stray] if has_stray else [])]
    return [document(number, owner) for number, owner in enumerate(owners)]


@given(OWNERS, OWNERS, st.integers(1, 6), st.integers(1, 6))
def test_a_scan_as_ranges_of_clients(
    rows: list[tuple[int, int, bool, Any]],
    others: list[tuple[int, int, bool, Any]],
    limit: int,
    at_once: int,
) -> None:
    """Two scans side by side: each document comes once, in the range of its client, and the ranges cover all clients."""
    ours, theirs = scanned(rows), scanned(others)
    leading, following = stream(ours, at_once), stream(theirs, at_once)
    found = raws(leading.scan_below()), raws(following.scan_below())
    ranges = []
    for clients in leading.ranges(limit):
        for side, documents in zip((leading, following), found, strict=True):
            part = raws([side.chunk(clients, limit)])
            assert all(clients.first <= each < clients.end for each in clients_of(part))
            documents.extend(part)
        ranges.append(clients)
    for side, documents in zip((leading, following), found, strict=True):
        documents.extend(raws(side.scan_above()))

    assert [sorted(ours), sorted(theirs)] == [sorted(found[0]), sorted(found[1])]
    assert (FIRST, LAST) == (ranges[0].first, ranges[-1].end)
    assert all(before.end == after.first for before, after in pairwise(ranges))


def test_a_scan_as_ranges_is_read_as_far_as_asked() -> None:
    """A range is handed out when the one behind it has begun, and not when everything was read."""
    taken: list[int] = []

    def scan() -> Iterator[DocumentBlock]:
        for number in range(100):
            taken.append(number)
            yield split(document(number, ObjectId(f"{number:024x}")))

    parts = ClientStream(scan)
    assert [] == list(parts.scan_below())
    ranges = parts.ranges(4)
    first = next(ranges)

    assert 4 >= len(raws([parts.chunk(first, 4)])) > 0
    assert len(taken) < 12
