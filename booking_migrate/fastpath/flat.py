"""The fast path for flat bookings: second generation, complete, flat, with ObjectIds; read column by column, by slicing bytes.

Nearly all of a collection looks like this. Such a booking is converted by slicing its bytes along its layout (`bson.layout`),
without decoding it and without a step for each value. Whether a layout is flat is decided once; the values are checked by the
contract's own validator. A client is flat if all of its bookings are and agree on the client's fields: its document is joined
from their bytes. What is not certain to be flat is declined and left to the reference path (`domain`), with which property
tests compare both.
"""

import struct
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from bson import encode
from bson.objectid import ObjectId
from pydantic_core import SchemaValidator, ValidationError

from booking_migrate.bson.document import CODEC, NULL, OBJECT_ID, elements
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
from booking_migrate.domain.client_document import decimal_of, exact_sum, total
from booking_migrate.domain.contract import FIELDS, RESERVED, FieldRule, Presence
from booking_migrate.domain.ids import client_document_object_id, session_object_id
from booking_migrate.domain.rules import DEFAULT_RULES, Rules
from booking_migrate.domain.session import DROPPED, Session

_UNFIT = frozenset({"sessions", *RESERVED})
_NEEDED = ("_id", "clientId", "createdAt", "updatedAt")
_SIZE, _TIME = struct.Struct("<i"), struct.Struct("<q")


class FlatBookings(NamedTuple):
    """Flat bookings that keep the contract, in the order of their documents: one value of each in every column."""

    numbers: Sequence[int]
    """Their positions among all documents."""

    ids: Column
    """`_id`, twelve bytes."""

    clients: Column
    """`clientId`, twelve bytes."""

    owner_fields: Sequence[tuple[bytes, bytes, bytes]]
    """`clientUserId`, `clientEmail` and `currency`, as BSON has strings."""

    created: Sequence[int]
    """`createdAt`, in milliseconds since 1970."""

    updated: Sequence[int]
    """`updatedAt`, likewise."""

    prices: Sequence[Any]
    """`price`, decoded."""

    bodies: Column
    """What the session takes over from the booking, as BSON."""

    groups: Sequence[LayoutGroup]
    """The same bookings by layout, with the values of every wanted field."""


class FlatReader:
    """Recognises the flat bookings under one contract."""

    def __init__(self, rules: Rules = DEFAULT_RULES, wanted: Iterable[str] = ()) -> None:
        """Compile the checks of the contract.

        Args:
            rules: the contract, and what is waived of it.
            wanted: names of further fields whose values `FlatBookings.groups` must have.
        """
        checks = {
            rule.name: partial(_keeps, rules.contract.value_validator(rule, rules.accepted))
            for rule in FIELDS
            if not CHECKED.isdisjoint(rule.kind.flat_types)
        }
        self._layouts = LayoutCache(frozenset(DROPPED), _is_flat, checks, {*_NEEDED, *wanted})

    def read(self, raw: bytes, offsets: Sequence[int]) -> FlatBookings:
        """Return the flat bookings among documents.

        Args:
            raw: the documents' BSON, one behind the other.
            offsets: where each of them begins, and where the last one ends.
        """
        groups = self._layouts.read(raw, offsets)
        several = [_columns(group) for group in groups]
        if len(several) == 1:
            return several[0]
        merged = merge_columns([columns[:-1] for columns in several] or [_NOTHING])
        return FlatBookings._make([*merged, groups])

    def convert(self, raw: bytes) -> Session | None:
        """Convert a booking if it is flat and keeps the contract; else return None. `Session.fields` stays empty.

        Args:
            raw: the document's BSON bytes.
        """
        return self.convert_all([raw])[0]

    def convert_all(self, documents: Sequence[bytes]) -> Sequence[Session | None]:
        """Convert bookings as `convert` does; no more of them than may be held at a time."""
        flat = self.read(b"".join(documents), [0, *accumulate(map(len, documents))])
        sessions: list[Session | None] = [None] * len(documents)
        for row, number in enumerate(flat.numbers):
            sessions[number] = _session(flat, row, documents[number])
        return sessions


def _session(flat: FlatBookings, row: int, raw: bytes) -> Session:
    user_id, email, currency = (value[4:-1].decode() for value in flat.owner_fields[row])
    legacy_id = flat.ids[row]
    return Session(
        session_bytes(flat.bodies[row], legacy_id),
        raw,
        ObjectId(legacy_id),
        OBJECT_ID_KEY + legacy_id,
        flat.created[row],
        flat.updated[row],
        ObjectId(flat.clients[row]),
        user_id,
        email,
        flat.prices[row],
        currency,
    )


_NOTHING = ((),) * (len(FlatBookings._fields) - 1)


def _keeps(validator: SchemaValidator, value: Any) -> bool:
    try:
        validator.validate_python(value)
    except ValidationError:
        return False
    return True


def _is_flat(layout: Layout) -> bool:
    kinds = layout.kinds
    is_fit = kinds.get("_id") == OBJECT_ID and _UNFIT.isdisjoint(kinds)
    return is_fit and all(_is_flat_kind(rule, kinds.get(rule.name)) for rule in FIELDS)


def _is_flat_kind(rule: FieldRule, kind: int | None) -> bool:
    """Return whether values of this BSON type are checked here; absent and null are fine for optional fields only."""
    if kind is None or kind == NULL:
        return rule.presence is Presence.OPTIONAL
    return kind in rule.kind.flat_types


def _columns(group: LayoutGroup) -> FlatBookings:
    """Return the columns of bookings of one layout."""
    of = group.values
    return FlatBookings(
        group.numbers,
        of("_id"),
        of("clientId"),
        list(zip(of("clientUserId"), of("clientEmail"), of("currency"), strict=True)),
        group.whole_numbers("createdAt"),
        group.whole_numbers("updatedAt"),
        group.decoded_numbers("price"),
        group.remainders(),
        (group,),
    )


def session_bytes(body: bytes, legacy_id: bytes) -> bytes:
    """Return a session's BSON.

    Args:
        body: what it takes over from the booking.
        legacy_id: the booking's `_id`, twelve bytes.
    """
    size = _SIZE.pack(len(body) + _FRAME)
    return b"".join((size, _SESSION_ID, session_object_id(legacy_id), body, _LEGACY_ID, legacy_id, b"\x00"))


_SESSION_ID, _LEGACY_ID = b"\x07sessionId\x00", b"\x07legacyBookingId\x00"
_FRAME = 4 + len(_SESSION_ID) + 12 + len(_LEGACY_ID) + 12 + 1
"""The bytes of a session beside its body."""


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
        return OBJECT_ID_KEY + self.object_id


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
            raw: all documents of some clients, one behind the other, those of one client together;
                documents that belong to no client may be anywhere. No two have the same `_id`, except unfit ones.
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
        prices = flat.prices[first:end]
        spent = total(prices)
        user_id, email, currency = owner
        object_id = flat.clients[first]
        earliest, latest = order[0][0], max(flat.updated[first:end])
        document = _document(object_id, user_id, email, sessions, spent, earliest=earliest, latest=latest)
        if len(document) > self._maximum_size or not self._is_storable(document, sessions):
            return None
        exactly = spent if isinstance(spent, int) else exact_sum(map(decimal_of, prices))
        return FlatClient(object_id, document, count, currency[4:-1].decode(), exactly)

    def _is_storable(self, document: bytes, sessions: Sequence[bytes]) -> bool:
        """Return whether the target can store all sessions of a client; it can if it stores the document, which is one question."""
        can_store = self._can_store
        return can_store is None or can_store(document) or all(map(can_store, sessions))


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
    """Return the client document; `domain.contract.DOCUMENT_FIELDS` has the order of its fields."""
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
