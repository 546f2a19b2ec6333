"""The fast path: the document of a flat client is built once more from the bookings' bytes, and the bytes are compared.

A flat client has flat bookings of the second generation with ObjectIds, none of them rejected, and a client document that
holds nothing else; nearly all clients are flat, and nothing of them has to be decoded. Every other client, and every client
whose document is not byte for byte what is built here, is declined and left to the full check (`client_check`), which also
reports what is wrong. A property test compares the two.

The slices come from `bson.layout`, as those of the migration do. Therefore one document of each layout in each chunk is also
taken apart by the plain reader (`bson.document.elements`), which no migration of flat clients uses.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, cast

from bson import encode
from bson.datetime_ms import DatetimeMS

from booking_migrate.bson.document import (
    CODEC,
    NULL,
    OBJECT_ID,
    element_of,
    elements,
    read_value,
    wrap_bytes,
)
from booking_migrate.bson.format import display_id
from booking_migrate.bson.layout import (
    CHECKED,
    MOST_BYTES,
    Column,
    Layout,
    LayoutCache,
    LayoutGroup,
    merge_columns,
)
from booking_migrate.bson.order import OBJECT_ID_KEY
from booking_migrate.domain.contract import FIELDS, RESERVED, Presence
from booking_migrate.errors import SlicingFault
from booking_migrate.stores.chunks import Chunk, DocumentBlock, RangeChunk, join, part_starts, split
from booking_migrate.stores.ports import ClientParts, Duplicate, ScannedDocument, stores_any_bson
from booking_migrate.verify.expected import DROPPED
from booking_migrate.verify.join import (
    ClientPair,
    SourceDocument,
    TargetDocument,
    pair_clients,
)
from booking_migrate.verify.outcome import VerificationRules
from booking_migrate.verify.rules import (
    Check,
    ContractRules,
    object_id_of_client,
    object_id_of_session,
    total_spent,
)

RANGE_DOCUMENTS = 5000
"""The bookings that are read together."""

_CACHE_BLOCK = 500
"""The bookings that are checked together: few enough for the processor's cache."""

_UNFIT = frozenset({"sessions", *RESERVED})


class RangePair(NamedTuple):
    """The same range of clients on both sides."""

    source: Chunk
    target: Chunk


class FlatResult(NamedTuple):
    """The result of checking the flat ones among some clients."""

    bookings: int
    """The bookings of flat clients without a mismatch."""

    clients: int
    """Those clients."""

    declined: list[ClientPair]
    """All others, in their order."""

    first_target: bytes | None = None
    """The range's first document of the target; None if it has none."""

    rest: RangePair | None = None
    """The clients that were not read yet, if the range is very large."""


def range_pairs(source: ClientParts, target: ClientParts) -> Iterator[RangePair]:
    """Yield all ranges of the source, each with what the target has of the same clients."""
    for clients in source.ranges(RANGE_DOCUMENTS):
        chunks = (side.chunk(clients, RANGE_DOCUMENTS) for side in (source, target))
        yield RangePair(*chunks)


def check_range(rules: VerificationRules, pair: RangePair) -> FlatResult:
    """Read both sides of a range, and check its flat clients; runs in worker processes.

    Raises:
        SlicingFault: the slices of a document are not its elements.
    """
    ours, left = pair.source.read()
    of_target: Chunk = pair.target
    rest = None
    if left is not None:
        # Only as far as the source was read. Blocks leave nothing, and beside a source in ranges the target is one, too.
        source, target = cast("RangeChunk", left), cast("RangeChunk", pair.target)
        whole, border = target.clients, source.clients.first
        of_target = target.within(whole._replace(end=border))
        rest = RangePair(source, target.within(whole._replace(first=border)))
    theirs = join([*_read_whole(of_target)] or [split(b"")])
    targets = [TargetDocument(raw) for raw in theirs.documents()]
    remaining = set(range(len(ours.starts)))
    sound: set[bytes] = set()
    for key, numbers in _fast_path_of(rules).sound_clients(ours, _by_client(targets)):
        sound.add(key)
        remaining.difference_update(numbers)
    declined = pair_clients(
        (_scanned(ours, number) for number in sorted(remaining)),
        (_scanned(theirs, number) for number, each in enumerate(targets) if each.client_key not in sound),
    )
    first_target = targets[0].raw if targets else None
    return FlatResult(len(ours.starts) - len(remaining), len(sound), list(declined), first_target, rest)


def _by_client(documents: Iterable[TargetDocument]) -> Mapping[bytes, bytes | None]:
    """Return the document of each client; None if it has several."""
    found: dict[bytes, bytes | None] = {}
    for document in documents:
        key = document.client_key
        if key is not None:
            found[key] = None if key in found else document.raw
    return found


def _scanned(block: DocumentBlock, number: int) -> ScannedDocument:
    return ScannedDocument(block.document(number), block.duplicates.get(number, Duplicate.NONE))


def _read_whole(chunk: Chunk | None) -> Iterator[DocumentBlock]:
    while chunk is not None:
        block, chunk = chunk.read()
        yield block


class _Bookings(NamedTuple):
    """Flat bookings that keep the contract, in the order of their documents: one value of each in every column."""

    numbers: Sequence[int]
    """Their positions among all documents."""

    ids: Column
    clients: Column
    user_ids: Column
    emails: Column
    created: Sequence[int]
    """In milliseconds since 1970."""

    updated: Sequence[int]
    prices: Sequence[Any]
    bodies: Column
    """What their sessions take over from them, as BSON."""


_SLICED = ("_id", "clientId", "clientUserId", "clientEmail", "createdAt", "updatedAt", "price")


class FastPath:
    """Checks flat clients under the rules of one verification."""

    def __init__(self, rules: VerificationRules) -> None:
        self._declines_all = rules.can_store is not stores_any_bson
        self._maximum_size = rules.maximum_document_size
        contract = ContractRules(rules.contract, rules.accepted)
        checks = {
            rule.name: partial(_is_valid, contract.check_of(rule.name))
            for rule in FIELDS
            if not CHECKED.isdisjoint(rule.kind.flat_types)
        }
        self._layouts = LayoutCache(DROPPED, _is_flat, checks, _SLICED)
        self._compared: set[Layout] = set()
        """The layouts of which a document of this chunk was taken apart by the plain reader, too."""

    def check(self, pairs: Sequence[ClientPair]) -> FlatResult:
        """Check clients.

        Raises:
            SlicingFault: the slices of a document are not its elements.
        """
        target = {
            pair.key: pair.target[0].raw
            for pair in pairs
            if pair.key is not None and pair.source and len(pair.target) == 1
        }
        documents = [document for pair in pairs if pair.key in target for document in pair.source]
        raws = [document.raw for document in documents]
        marks = {
            number: document.duplicate
            for number, document in enumerate(documents)
            if document.duplicate is not Duplicate.NONE
        }
        block = DocumentBlock(b"".join(raws), [0, *accumulate(map(len, raws))][:-1], marks)
        sound = {key: len(numbers) for key, numbers in self.sound_clients(block, target)}
        return FlatResult(sum(sound.values()), len(sound), [pair for pair in pairs if pair.key not in sound])

    def sound_clients(
        self, source: DocumentBlock, target: Mapping[bytes, bytes | None]
    ) -> Iterator[tuple[bytes, Sequence[int]]]:
        """Yield the flat clients whose documents are as they must be, each once.

        Args:
            source: all documents of some clients, in client order.
            target: the document of each client, by the key of `clientId`; None declines a client.

        Yields:
            The key of `clientId`, and the positions of the client's bookings.

        Raises:
            SlicingFault: the slices of a document are not its elements.
        """
        self._compared.clear()
        if self._declines_all:
            return
        for first, end in pairwise(part_starts(source, _CACHE_BLOCK)):
            yield from self._sound_clients(source, first, end, target)

    def _sound_clients(
        self, source: DocumentBlock, first: int, end: int, target: Mapping[bytes, bytes | None]
    ) -> Iterator[tuple[bytes, Sequence[int]]]:
        raw, starts, duplicates = source
        offsets = [*starts[first:end], starts[end] if end < len(starts) else len(raw)]
        if offsets[-1] - offsets[0] > MOST_BYTES:
            return
        bookings = self._read(raw, offsets)
        flat = frozenset(bookings.numbers)
        unfit: set[bytes | None] = set()
        if len(flat) < end - first or duplicates:
            unfit = {
                SourceDocument(source.document(number)).client_key
                for number in range(first, end)
                if number - first not in flat or number in duplicates
            }
        changes = [row for row, (one, other) in enumerate(pairwise(bookings.clients), 1) if one != other]
        for begin, stop in pairwise([0, *changes, len(bookings.clients)] if flat else ()):
            key = OBJECT_ID_KEY + bookings.clients[begin]
            found = None if key in unfit else target.get(key)
            if found is None or len(found) > self._maximum_size:
                continue
            if found == _document(bookings, begin, stop):
                yield key, [first + number for number in bookings.numbers[begin:stop]]

    def _read(self, raw: bytes, offsets: Sequence[int]) -> _Bookings:
        groups = self._layouts.read(raw, offsets)
        tables = [_columns(group) for group in groups]
        bookings = tables[0] if len(tables) == 1 else _Bookings(*merge_columns(tables or [_NOTHING]))
        for group in groups:
            if group.layout not in self._compared:
                self._compared.add(group.layout)
                number = group.numbers[0]
                _check_slices(bookings, number, raw[offsets[number] : offsets[number + 1]])
        return bookings


_fast_path_of = lru_cache(maxsize=1)(FastPath)
_DATE = struct.Struct("<q")
_NOTHING = _Bookings(*((),) * len(_Bookings._fields))


def _is_valid(check: Check, value: Any) -> bool:
    return check(value) is None


def _is_flat(layout: Layout) -> bool:
    kinds = layout.kinds
    if kinds.get("_id") != OBJECT_ID or not _UNFIT.isdisjoint(kinds):
        return False
    for rule in FIELDS:
        kind = kinds.get(rule.name, NULL)
        may_be_absent = rule.presence is Presence.OPTIONAL
        if kind not in rule.kind.flat_types and not (kind == NULL and may_be_absent):
            return False
    return True


def _columns(group: LayoutGroup) -> _Bookings:
    """Return the columns of bookings of one layout."""
    return _Bookings(
        group.numbers,
        group.values("_id"),
        group.values("clientId"),
        group.values("clientUserId"),
        group.values("clientEmail"),
        group.whole_numbers("createdAt"),
        group.whole_numbers("updatedAt"),
        group.decoded_numbers("price"),
        group.remainders(),
    )


def _check_slices(bookings: _Bookings, number: int, raw: bytes) -> None:
    """Compare the slices of a booking with its elements.

    Raises:
        SlicingFault: they differ.
    """
    row = bisect_left(bookings.numbers, number)
    parts = {part.name.decode("utf-8", "surrogateescape"): part for part in elements(raw)}
    sliced = {
        "_id": bookings.ids[row],
        "clientId": bookings.clients[row],
        "clientUserId": bookings.user_ids[row],
        "clientEmail": bookings.emails[row],
        "createdAt": _DATE.pack(bookings.created[row]),
        "updatedAt": _DATE.pack(bookings.updated[row]),
        "price": element_of("", bookings.prices[row]).value,
    }
    read = {name: parts[name].value for name in sliced if name in parts}
    sliced["session"] = bookings.bodies[row]
    read["session"] = b"".join(part.raw for name, part in parts.items() if name not in DROPPED)
    wrong = [name for name, value in sliced.items() if value != read.get(name)]
    if wrong:
        booking_id = read_value(parts["_id"]) if "_id" in parts else None
        raise SlicingFault(display_id(booking_id), wrong[0])


def _session(body: bytes, booking_id: bytes) -> bytes:
    session_id = object_id_of_session(booking_id)
    return wrap_bytes(b"\x07sessionId\x00%b%b\x07legacyBookingId\x00%b" % (session_id, body, booking_id))


def _document(bookings: _Bookings, first: int, end: int) -> bytes:
    """Return the client document of the bookings from one row up to, and without, another."""
    ids, bodies = bookings.ids, bookings.bodies
    order = sorted(zip(bookings.created[first:end], ids[first:end], range(first, end), strict=True))
    array = wrap_bytes(
        b"".join(
            [
                b"\x03%d\x00%b" % (index, _session(bodies[row], ids[row]))
                for index, (_, _, row) in enumerate(order)
            ]
        )
    )
    totals = {
        "totalSessions": end - first,
        "totalSpent": total_spent(bookings.prices[first:end]),
        "createdAt": DatetimeMS(order[0][0]),
        "updatedAt": DatetimeMS(max(bookings.updated[first:end])),
    }
    last = order[-1][-1]
    client_id = bookings.clients[first]
    head = b"\x07_id\x00%b\x07clientId\x00%b\x02clientUserId\x00%b\x02clientEmail\x00%b\x04sessions\x00" % (
        object_id_of_client(client_id),
        client_id,
        bookings.user_ids[last],
        bookings.emails[last],
    )
    return wrap_bytes(b"".join((head, array, encode(totals, codec_options=CODEC)[4:-1])))
