"""Build the documents of flat clients: all of a client's bookings are flat, and agree on the client's fields.

The document is joined from the bookings' bytes. It means what `domain.consolidate` means for a client that has no document
yet; a property test compares the two. A client that is not certain to be flat is declined and left to the reference path.
"""

import struct
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from bson import encode
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC, OBJECT_ID, elements
from booking_migrate.bson.layout import MOST_BYTES
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import decimal_of, total
from booking_migrate.domain.ids import client_document_object_id
from booking_migrate.domain.rules import DEFAULT_RULES, Rules
from booking_migrate.fastpath.flat import FlatBookings, FlatReader, session_bytes

_TIME, _SIZE = struct.Struct("<q"), struct.Struct("<i")


class FlatClient(NamedTuple):
    """A client whose document was built from flat bookings alone."""

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
        """Return the `clientId`."""
        return ObjectId(self.object_id)

    @property
    def key(self) -> bytes:
        """Return the sort key of `clientId`."""
        return sort_key(self.client_id)


@dataclass(frozen=True, slots=True)
class Collector:
    """Collects facts about the bookings of flat clients where they are read; goes to worker processes."""

    collect: Callable[[FlatBookings, frozenset[int], int], Any]
    """A function of a module. It takes flat bookings, the positions of all documents that belong to no flat client, and the
    bytes of the others."""

    fields: frozenset[str]
    """The names of the fields whose values it reads."""


class BuiltClients(NamedTuple):
    """The result of building the documents of a chunk."""

    clients: list[FlatClient]
    """In the order of their documents."""

    declined: list[int]
    """The positions of the documents that belong to no flat client, ascending."""

    collected: Any
    """What the collector returned for the bookings of the flat clients."""


@dataclass(frozen=True, slots=True)
class FlatRules:
    """What decides whether a client is flat, and what is collected of it. Goes to worker processes."""

    rules: Rules = DEFAULT_RULES
    """A client whose document would be larger than they allow is declined."""

    can_store: Callable[[bytes], bool] | None = None
    """Whether the target can store a session, a function of a module; None: it stores all of them."""

    collector: Collector | None = None
    """None: nothing is collected."""


class FlatClients:
    """Builds the documents of flat clients."""

    def __init__(self, rules: FlatRules) -> None:
        """Compile the rules."""
        wanted = rules.collector.fields if rules.collector else ()
        self._read = FlatReader(rules.rules, wanted).read
        self._maximum_size = rules.rules.maximum_document_size
        self._can_store = rules.can_store
        self._collector = rules.collector

    def build(self, raw: bytes, offsets: Sequence[int], unfit: Container[int] = ()) -> BuiltClients:
        """Build the documents of the flat clients among the owners of some documents.

        Args:
            raw: bytes in which all documents of some clients stand, one behind the other, those of one client together;
                documents that belong to no client may stand anywhere. No two have the same `_id`, except unfit ones.
            offsets: where each of them begins, and where the last one ends.
            unfit: positions of documents whose clients are to be declined.

        If the documents are more than a client can have, all of them are declined, so that memory is bounded.
        """
        if offsets[-1] - offsets[0] > MOST_BYTES:
            return BuiltClients([], list(range(len(offsets) - 1)), None)
        flat = self._read(raw, offsets)
        declined, unfit_clients = _declined(flat, raw, offsets, unfit)
        clients: list[FlatClient] = []
        owners = flat.clients
        changes = [row for row, (one, other) in enumerate(pairwise(owners), 1) if one != other]
        for first, end in pairwise([0, *changes, len(owners)] if owners else ()):
            client = None if owners[first] in unfit_clients else self._client(flat, first, end)
            if client is None:
                declined += flat.numbers[first:end]
            else:
                clients.append(client)
        declined.sort()
        return BuiltClients(clients, declined, self._collect(flat, offsets, declined))

    def _collect(self, flat: FlatBookings, offsets: Sequence[int], declined: Sequence[int]) -> Any:
        if self._collector is None:
            return None
        size = offsets[-1] - offsets[0] - sum(offsets[number + 1] - offsets[number] for number in declined)
        return self._collector.collect(flat, frozenset(declined), size)

    def _client(self, flat: FlatBookings, first: int, end: int) -> FlatClient | None:
        """Return the client whose bookings are the rows from `first` to before `end`; None if it is declined."""
        count = end - first
        owner = flat.owner_fields[first]
        if flat.owner_fields[first:end].count(owner) != count:
            return None
        ids = flat.ids
        order = sorted(zip(flat.created[first:end], ids[first:end], range(first, end), strict=True))
        sessions = [session_bytes(flat.bodies[row], booking_id) for _, booking_id, row in order]
        if self._can_store is not None and not all(map(self._can_store, sessions)):
            return None
        prices = flat.prices[first:end]
        spent = total(prices)
        user_id, email, currency = owner
        object_id = flat.clients[first]
        earliest, latest = order[0][0], max(flat.updated[first:end])
        document = _document(object_id, user_id, email, sessions, spent, earliest=earliest, latest=latest)
        if len(document) > self._maximum_size:
            return None
        exactly = spent if isinstance(spent, int) else sum(map(decimal_of, prices), Decimal(0))
        return FlatClient(object_id, document, count, currency[4:-1].decode(), exactly)


def _declined(
    flat: FlatBookings, raw: bytes, offsets: Sequence[int], unfit: Container[int]
) -> tuple[list[int], frozenset[bytes | None]]:
    """Return the documents that are not flat bookings, and the clients that are declined for them or for unfit ones."""
    count = len(offsets) - 1
    declined: list[int] = []
    if len(flat.numbers) < count:
        found = frozenset(flat.numbers)
        declined = [number for number in range(count) if number not in found]
    clients = {object_id_of_client(raw[offsets[number] : offsets[number + 1]]) for number in declined}
    clients.update(
        client for number, client in zip(flat.numbers, flat.clients, strict=True) if number in unfit
    )
    return declined, frozenset(clients)


def object_id_of_client(raw: bytes) -> bytes | None:
    """Return the twelve bytes of `clientId`; None if it is not an ObjectId."""
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
    """Return the client document; `domain.client_document.FIELDS` has the order of its fields."""
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
    """Return what precedes each document of an array: type byte and key."""
    if count > len(_KEYS):
        return [b"\x03%d\x00" % index for index in range(count)]
    return _KEYS[:count]


_KEYS = [b"\x03%d\x00" % index for index in range(1000)]
