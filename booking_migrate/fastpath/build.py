"""A short cut for the usual client: all of its bookings are usual ones, and agree on whose they are.

Its document is put together from the bookings' bytes. It means what `domain.consolidate` means for a client without any
document yet, and a property test compares the two; whenever in doubt, the client is left to the thorough way.
"""

import struct
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from bson import encode
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC, MAXIMUM_SIZE, elements
from booking_migrate.bson.layout import OBJECT_ID
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.ids import client_document_object_id
from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.totals import decimal_of, total
from booking_migrate.fastpath.flat import FlatBookings, FlatReader, session_bytes

_TOO_MUCH = 2 * MAXIMUM_SIZE
"""So many bytes are not taken apart all at once: it would take much memory, and a client cannot have as many."""

_TIME, _SIZE = struct.Struct("<q"), struct.Struct("<i")


class FlatClient(NamedTuple):
    """A client whose document was made from usual bookings alone."""

    object_id: bytes
    """The twelve bytes of `clientId`."""

    document: bytes
    """The client document's BSON, as it must be if the client has none yet."""

    sessions: int
    """How many bookings the client has."""

    currency: str
    """That of all bookings."""

    spent: int | Decimal
    """The sum of their prices."""

    @property
    def client_id(self) -> ObjectId:
        """The `clientId`."""
        return ObjectId(self.object_id)

    @property
    def key(self) -> bytes:
        """The sort key of `clientId`."""
        return sort_key(self.client_id)


class Shown(NamedTuple):
    """What somebody who looks on is shown."""

    bookings: FlatBookings
    """Usual bookings; not all of them belong to usual clients."""

    left: frozenset[int]
    """Which of all documents belong to no usual client."""

    size: int
    """The bytes of all others."""


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody's look at the bookings of usual clients. Goes to other processes."""

    see: Callable[[Shown], Any]
    """What is made of them, a function of a module."""

    wanted: frozenset[str]
    """The fields whose values are looked at."""


class BuiltClients(NamedTuple):
    """What came of documents."""

    clients: list[FlatClient]
    """In the order of their documents."""

    left: list[int]
    """Which documents belong to no usual client, ascending."""

    sight: Any
    """What a look at the usual clients' bookings came to."""


@dataclass(frozen=True, slots=True)
class FlatRules:
    """What decides whether a client is a usual one. Goes to other processes."""

    contract: Contract
    accepted: frozenset[Reason]
    """The value rules that are waived."""

    maximum_size: int
    """Of a client document, in bytes; a client whose document would be larger is left."""

    can_store: Callable[[bytes], bool] | None = None
    """Whether the target can hold a session, a function of a module; None: it holds all of them."""

    look: Look | None = None
    """None: nobody looks."""


class FlatClients:
    """Makes the documents of usual clients."""

    def __init__(self, rules: FlatRules) -> None:
        """Take the rules."""
        wanted = rules.look.wanted if rules.look else ()
        self._read = FlatReader(rules.contract, rules.accepted, wanted).read
        self._maximum_size = rules.maximum_size
        self._can_hold = rules.can_store
        self._look = rules.look

    def compose(self, raw: bytes, borders: Sequence[int], odd: Container[int] = ()) -> BuiltClients:
        """Make the documents of the usual clients among the owners of some documents.

        Args:
            raw: bytes in which all documents of some clients stand, one behind the other, those of one client together;
                documents that belong to no client may stand anywhere. No two have the same `_id`, but for the odd ones.
            borders: where each of them begins, and where the last one ends.
            odd: numbers of documents whose clients are to be left.

        If the documents are more than a client can have, all of them are left, so that memory is bounded.
        """
        if borders[-1] - borders[0] > _TOO_MUCH:
            return BuiltClients([], list(range(len(borders) - 1)), None)
        usual = self._read(raw, borders)
        left, odd_clients = _declined(usual, raw, borders, odd)
        clients: list[FlatClient] = []
        owners = usual.clients
        changes = [row for row, (one, other) in enumerate(pairwise(owners), 1) if one != other]
        for first, end in pairwise([0, *changes, len(owners)] if owners else ()):
            client = None if owners[first] in odd_clients else self._client(usual, first, end)
            if client is None:
                left += usual.numbers[first:end]
            else:
                clients.append(client)
        left.sort()
        return BuiltClients(clients, left, self._sight(usual, borders, left))

    def _sight(self, usual: FlatBookings, borders: Sequence[int], left: Sequence[int]) -> Any:
        if self._look is None:
            return None
        size = borders[-1] - borders[0] - sum(borders[number + 1] - borders[number] for number in left)
        return self._look.see(Shown(usual, frozenset(left), size))

    def _client(self, usual: FlatBookings, first: int, end: int) -> FlatClient | None:
        """The client whose bookings stand from one place on to before another."""
        count = end - first
        whose = usual.whose[first]
        if usual.whose[first:end].count(whose) != count:
            return None
        ids = usual.ids
        order = sorted(zip(usual.created[first:end], ids[first:end], range(first, end), strict=True))
        sessions = [session_bytes(usual.own[row], booking_id) for _, booking_id, row in order]
        if self._can_hold is not None and not all(map(self._can_hold, sessions)):
            return None
        prices = usual.prices[first:end]
        spent = total(prices)
        user_id, email, currency = whose
        object_id = usual.clients[first]
        earliest, latest = order[0][0], max(usual.updated[first:end])
        document = _document(object_id, user_id, email, sessions, spent, earliest=earliest, latest=latest)
        if len(document) > self._maximum_size:
            return None
        exactly = spent if isinstance(spent, int) else sum(map(decimal_of, prices), Decimal(0))
        return FlatClient(object_id, document, count, currency[4:-1].decode(), exactly)


def _declined(
    usual: FlatBookings, raw: bytes, borders: Sequence[int], odd: Container[int]
) -> tuple[list[int], frozenset[bytes | None]]:
    """The documents that are no usual bookings, and the clients that are none because of them or of odd ones."""
    count = len(borders) - 1
    left: list[int] = []
    if len(usual.numbers) < count:
        found = frozenset(usual.numbers)
        left = [number for number in range(count) if number not in found]
    clients = {object_id_of_client(raw[borders[number] : borders[number + 1]]) for number in left}
    clients.update(
        client for number, client in zip(usual.numbers, usual.clients, strict=True) if number in odd
    )
    return left, frozenset(clients)


def object_id_of_client(raw: bytes) -> bytes | None:
    """The twelve bytes of `clientId`; None if it is no ObjectId."""
    found = next((part for part in elements(raw) if part.name == b"clientId"), None)
    return found.value if found is not None and found.kind == OBJECT_ID else None


def _document(
    client_id: bytes,
    user_id: bytes,
    email: bytes,
    sessions: Sequence[bytes],
    spent: Any,
    *,
    earliest: int,
    latest: int,
) -> bytes:
    """The client document; `client_document.FIELDS` says in which order its fields stand."""
    count = len(sessions)
    totals = encode({"totalSessions": count, "totalSpent": spent}, codec_options=CODEC)
    head = b"\x07_id\x00%b\x07clientId\x00%b\x02clientUserId\x00%b\x02clientEmail\x00%b\x04sessions\x00" % (
        client_document_object_id(client_id),
        client_id,
        user_id,
        email,
    )
    tail = b"\x00%b\x09createdAt\x00%b\x09updatedAt\x00%b\x00" % (
        totals[4:-1],
        _TIME.pack(earliest),
        _TIME.pack(latest),
    )
    parts: list[bytes] = [b""] * (2 * count)
    parts[::2] = _keys(count)
    parts[1::2] = sessions
    body_size = sum(map(len, parts))
    array_size = _SIZE.size + body_size + len(b"\x00")
    size = _SIZE.size + len(head) + _SIZE.size + body_size + len(tail)
    # In one step, since it may have megabytes; the tail begins with the end of the array.
    return b"".join((_SIZE.pack(size), head, _SIZE.pack(array_size), *parts, tail))


def _keys(count: int) -> Sequence[bytes]:
    """What stands before each document of an array."""
    if count > len(_KEYS):
        return [b"\x03%d\x00" % place for place in range(count)]
    return _KEYS[:count]


_KEYS = [b"\x03%d\x00" % place for place in range(1000)]
