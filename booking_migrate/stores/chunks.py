"""Chunks: the documents of whole clients, many at a time, and cutting a scan in client order into them.

Documents are concatenated BSON, as servers and files provide them, so that few operations handle many.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import inf
from typing import NamedTuple, Protocol, TypeVar

from bson.objectid import ObjectId
from typing_extensions import override

from booking_migrate.bson.document import elements
from booking_migrate.bson.order import OBJECT_ID_KEY, element_key
from booking_migrate.stores.ports import ClientParts, Duplicate, ScannedDocument

PIECE_DOCUMENTS, PIECE_BYTES = 5000, 4 * 1024 * 1024
"""A block ends at this number of documents, or when they have this number of bytes, however few they are."""

FIRST, LAST = ObjectId(bytes(12)), ObjectId(bytes([255] * 12))
"""The least ObjectId, and the greatest."""

_NO_CLIENT = frozenset({0x03, 0x04, 0x06, 0x0A})
"""The BSON types of a `clientId` that make a document one of its own: document, array, undefined, null."""

_LENGTH = struct.Struct("<i")
_DOCUMENTS_PER_BLOCK = 1000
Item = TypeVar("Item")
_NONE: Mapping[int, Duplicate] = {}


class ClientRange(NamedTuple):
    """Clients whose `clientId` is an ObjectId, from one up to another."""

    first: ObjectId
    """The least `clientId` in it."""

    end: ObjectId
    """The least `clientId` beyond it."""


class Chunk(Protocol):
    """All documents of some clients, those of one client together, in client order. May go to another process."""

    def read(self) -> "tuple[DocumentBlock, Chunk | None]":
        """Return the documents, and a piece with the rest of them if they are very many.

        Raises:
            ConnectionProblem, NotPermitted, UnusablePlace: they cannot be read.
        """


class RangeChunk(Chunk, Protocol):
    """A chunk that says where its documents are, and not which they are."""

    clients: ClientRange

    def within(self, clients: ClientRange) -> "RangeChunk":
        """Return the same place, but another range."""


class DocumentBlock(NamedTuple):
    """Some documents, numbered from 0."""

    raw: bytes
    """The documents' BSON, one behind the other."""

    starts: Sequence[int]
    """Where each of them begins."""

    duplicates: Mapping[int, Duplicate] = _NONE
    """The marks of those whose `_id` occurs more than once in their place, by number."""

    def read(self) -> "tuple[DocumentBlock, Chunk | None]":
        """Return the block itself, without a rest, since no client is split."""
        return self, None

    def document(self, number: int) -> bytes:
        """Return one document."""
        start = self.starts[number]
        return self.raw[start : start + _LENGTH.unpack_from(self.raw, start)[0]]

    def documents(self) -> list[bytes]:
        """Return all documents."""
        raw = self.raw
        ends = [*self.starts[1:], len(raw)]
        return [raw[start:end] for start, end in zip(self.starts, ends, strict=False)]

    def part(self, first: int, end: int) -> "DocumentBlock":
        """Return the documents from one number on to before another."""
        starts = self.starts
        begin = starts[first] if first < len(starts) else len(self.raw)
        stop = starts[end] if end < len(starts) else len(self.raw)
        marks = {number - first: mark for number, mark in self.duplicates.items() if first <= number < end}
        return DocumentBlock(self.raw[begin:stop], [start - begin for start in starts[first:end]], marks)


def by_size(
    items: Iterable[Item], size: Callable[[Item], int], most: int, most_items: float = inf
) -> Iterator[list[Item]]:
    """Cut a sequence into pieces of at most `most` bytes, or of one item that has more, and of at most `most_items` items."""
    group: list[Item] = []
    total = 0
    for item in items:
        own = size(item)
        if group and (total + own > most or len(group) >= most_items):
            yield group
            group, total = [], 0
        group.append(item)
        total += own
    if group:
        yield group


def split(raw: bytes) -> DocumentBlock:
    """Find the documents in bytes that are documents back to back."""
    starts: list[int] = []
    position, end, length_at = 0, len(raw), _LENGTH.unpack_from
    while position < end:
        starts.append(position)
        position += length_at(raw, position)[0]
    return DocumentBlock(raw, starts)


def join(parts: Sequence[DocumentBlock]) -> DocumentBlock:
    """Return the documents of all parts, one behind the other."""
    if len(parts) == 1:
        return parts[0]
    starts: list[int] = []
    duplicates: dict[int, Duplicate] = {}
    shift = 0
    for part in parts:
        duplicates |= {len(starts) + number: mark for number, mark in part.duplicates.items()}
        starts += [shift + start for start in part.starts]
        shift += len(part.raw)
    return DocumentBlock(b"".join([part.raw for part in parts]), starts, duplicates)


def block_of(documents: Sequence[ScannedDocument]) -> DocumentBlock:
    """Return the same documents, all at a time."""
    marks = {
        number: document.duplicate
        for number, document in enumerate(documents)
        if document.duplicate is not Duplicate.NONE
    }
    return split(b"".join([document.raw for document in documents]))._replace(duplicates=marks)


def pack(documents: Iterable[ScannedDocument]) -> Iterator[DocumentBlock]:
    """Yield the same documents, many at a time."""
    remaining = iter(documents)
    while some := list(islice(remaining, _DOCUMENTS_PER_BLOCK)):
        yield block_of(some)


def unpack(parts: Iterable[DocumentBlock]) -> Iterator[ScannedDocument]:
    """Yield the same documents, one at a time."""
    for part in parts:
        for number, raw in enumerate(part.documents()):
            yield ScannedDocument(raw, part.duplicates.get(number, Duplicate.NONE))


def whole_clients(scan: Iterator[DocumentBlock], limit: int) -> Iterator[DocumentBlock]:
    """Yield the documents of a scan in client order, in pieces that split no client.

    A piece holds about ``limit`` documents, or those of one client if they are more. Documents of no client may come in
    the middle of one; where very many do, they come in pieces of their own, so that they need not be held.
    """
    held: list[DocumentBlock] = []
    last: bytes | None = None
    for part in _chunks(scan, limit):
        if (
            sum(len(one.starts) for one in held) + len(part.starts) < limit
            and sum(len(one.raw) for one in held) + len(part.raw) < PIECE_BYTES
        ):
            held.append(part)
            last = _last_key(part) or last
            continue
        cut = _last_boundary(part, last)
        last = _last_key(part) or last
        if cut is None:
            own, strays = _strays_apart(part)
            held += own
            yield from strays
        else:
            if held or cut:
                yield join([*held, part.part(0, cut)])
            held = [part.part(cut, len(part.starts))]
    if any(part.starts for part in held):
        yield join(held)


class ClientStream(ClientParts):
    """A scan in client order as ranges of clients, each read as far as it is asked for; see `ClientParts`."""

    def __init__(self, scan: Callable[[], Iterator[DocumentBlock]]) -> None:
        self._begin = scan
        self._scan: Iterator[DocumentBlock] = iter(())
        self._held: list[DocumentBlock] = []
        self._piece: DocumentBlock | None = None

    @override
    def scan_below(self) -> Iterator[DocumentBlock]:
        self._scan = self._begin()
        return self._until(FIRST)

    @override
    def ranges(self, documents: int) -> Iterator[ClientRange]:
        first = FIRST
        piece: DocumentBlock | None = None
        for following in whole_clients(self._until(LAST), documents):
            client = _first_client(following)
            if client is None:
                # Only documents without a client, whose position does not matter.
                self._piece = following
                yield ClientRange(first, first)
                continue
            if piece is not None:
                self._piece = piece
                yield ClientRange(first, client)
                first = client
            piece = following
        self._piece = piece
        yield ClientRange(first, LAST)

    @override
    def chunk(self, clients: ClientRange, documents: int) -> DocumentBlock:
        piece, self._piece = self._piece, None
        if piece is not None:
            return piece
        return join([*self._until(clients.end)] or [split(b"")])

    @override
    def scan_above(self) -> Iterator[DocumentBlock]:
        return self._until(None)

    def _until(self, end: ObjectId | None) -> Iterator[DocumentBlock]:
        """Yield what is left, up to the first document whose client is not below another one; None: all of it."""
        while (block := self._held.pop() if self._held else next(self._scan, None)) is not None:
            cut = len(block.starts) if end is None else _first_at(block, OBJECT_ID_KEY + end.binary)
            if cut:
                yield block.part(0, cut)
            if cut < len(block.starts):
                self._held.append(block.part(cut, len(block.starts)))
                return


def _first_at(block: DocumentBlock, key: bytes) -> int:
    """Return the number of the first document in client order whose client is not below a key; how many there are if none is."""
    last = _last_key(block)
    if last is None or last < key:
        return len(block.starts)
    return next(
        number for number in range(len(block.starts)) if (client_key(block.document(number)) or b"") >= key
    )


def _first_client(block: DocumentBlock) -> ObjectId | None:
    """Return the first client of a block of documents whose clients are all ObjectIds; None if none of them has a client."""
    keys = (client_key(block.document(number)) for number in range(len(block.starts)))
    found = next(filter(None, keys), None)
    return None if found is None else ObjectId(found[len(OBJECT_ID_KEY) :])


def part_starts(block: DocumentBlock, limit: int) -> Iterator[int]:
    """Yield where to cut all documents of some clients, in client order, so that no client is split: about every ``limit`` documents.

    The number of the first document of each part, and in the end how many documents there are.
    """
    count, begin, last = len(block.starts), 0, None
    while begin < count:
        yield begin
        end = begin + limit
        owners = (client_key(block.document(number)) for number in range(min(end, count) - 1, begin - 1, -1))
        last = next(filter(None, owners), last)
        # A document of no client may be between those of one.
        while end < count and client_key(block.document(end)) in (None, last):
            end += 1
        begin = end
    yield count


def _last_key(part: DocumentBlock) -> bytes | None:
    """Return the key of the last client in a part."""
    keys = (client_key(part.document(number)) for number in reversed(range(len(part.starts))))
    return next(filter(None, keys), None)


def _chunks(scan: Iterator[DocumentBlock], limit: int) -> Iterator[DocumentBlock]:
    for part in scan:
        count = len(part.starts)
        if count <= limit:
            yield part
            continue
        for first in range(0, count, limit):
            yield part.part(first, min(first + limit, count))


def _last_boundary(part: DocumentBlock, before: bytes | None) -> int | None:
    """Return the number of the first document of the last client; None if its documents may begin further ahead.

    ``before`` is the key of the last client ahead of the part; None if it is the first part.
    """
    first, last = 0, None
    for number in reversed(range(len(part.starts))):
        key = client_key(part.document(number))
        if key is not None:
            if last is not None and key != last:
                return first
            first, last = number, key
    return None if last is None or before is None or before == last else first


def _strays_apart(part: DocumentBlock) -> tuple[Iterator[DocumentBlock], Iterator[DocumentBlock]]:
    """Return the documents of a client, and those of none."""
    own: list[ScannedDocument] = []
    strays: list[ScannedDocument] = []
    for scanned in unpack([part]):
        (strays if client_key(scanned.raw) is None else own).append(scanned)
    return pack(own), pack(strays)


def client_key(raw: bytes) -> bytes | None:
    """Return the sort key of a document's `clientId`; None if its client could have no other document."""
    found = next((part for part in elements(raw) if part.name == b"clientId"), None)
    return None if found is None or found.kind in _NO_CLIENT else element_key(found)
