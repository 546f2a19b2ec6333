"""The usual client at a glance: its document is made once more from the bookings' bytes, and the bytes are compared.

Nearly all clients of a collection are usual: flat bookings of the second generation with ObjectIds, none of them rejected,
and a client document that holds nothing else. For them nothing has to be decoded. Whatever is unusual, and every client
whose document is not byte for byte what comes out here, is left to the thorough way (`client_check`), which also says what
is wrong. A property test compares the two.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from bson.datetime_ms import DatetimeMS

from booking_migrate.bson.document import MAXIMUM_SIZE, body_of, wrap_bytes
from booking_migrate.bson.layout import (
    DATE,
    NULL,
    NUMBERS,
    OBJECT_ID,
    STRING,
    Column,
    Layout,
    LayoutCache,
    LayoutGroup,
    merge_columns,
    numbers_of,
    whole_numbers_of,
)
from booking_migrate.domain.contract import FIELDS, FieldRule, Kind, Presence
from booking_migrate.stores.blocks import DocumentBlock
from booking_migrate.stores.ports import Duplicate, stores_any_bson
from booking_migrate.verify.client_check import ClientResult
from booking_migrate.verify.derivation import object_id_of_client, object_id_of_session, total_spent
from booking_migrate.verify.documents import KEY_OF_OBJECT_ID, SourceDocument
from booking_migrate.verify.join import ClientPair
from booking_migrate.verify.plan import VerificationRules
from booking_migrate.verify.rules import Check, ContractRules

_CUT = frozenset({"_id", "clientId", "clientUserId", "clientEmail", "__v"})
_UNFIT = frozenset({"sessions", "sessionId", "legacyBookingId"})
_KINDS = {
    Kind.IDENTIFIER: frozenset({OBJECT_ID}),
    Kind.STRING: frozenset({STRING}),
    Kind.NUMBER: frozenset(NUMBERS),
    Kind.DATE: frozenset({DATE}),
}
_TOO_MUCH = 2 * MAXIMUM_SIZE
"""So many bytes are not taken apart all at once: it would take much memory, and a client cannot have as many."""

_AT_ONCE = 500
"""How many documents are looked at together: few enough for the processor's cache."""

_LENGTH = struct.Struct("<i")
_SESSION_ID, _LEGACY_ID = b"\x07sessionId\x00", b"\x07legacyBookingId\x00"
_FRAME = len(b"SIZE" + _SESSION_ID + bytes(12) + _LEGACY_ID + bytes(12) + b"\x00")


class _Bookings(NamedTuple):
    """Usual bookings that keep the contract, in the order of their documents: for each of them a value in every column."""

    numbers: Sequence[int]
    """Which ones of all documents they are."""

    ids: Column
    clients: Column
    user_ids: Column
    emails: Column
    created: Sequence[int]
    """In milliseconds since 1970."""

    updated: Sequence[int]
    prices: Sequence[Any]
    own: Column
    """What their sessions have of them, as BSON."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where everything is in the bookings of one layout."""

    place: Mapping[str, int]
    kept: tuple[int, ...]
    """The places of what the session has of the booking."""

    price: int
    """The BSON type byte of `price`."""


_FACTS = ("_id", "clientId", "clientUserId", "clientEmail", "createdAt", "updatedAt", "price")


class FastPath:
    """Looks at clients, each by itself, under the rules of one verification."""

    def __init__(self, rules: VerificationRules) -> None:
        self._is_blind = rules.can_store is not stores_any_bson
        self._largest = rules.maximum_document_size
        contract = ContractRules(rules.contract, rules.accepted)
        checks = {
            rule.name: partial(_keeps, contract.check_of(rule.name))
            for rule in FIELDS
            if rule.kind in (Kind.STRING, Kind.NUMBER)
        }
        self._layouts = LayoutCache(_CUT, _plan, checks, _FACTS)

    def check(self, pairs: Sequence[ClientPair]) -> list[ClientResult | None]:
        """What checking each client comes to if it is a usual one that is as it must be; None: the thorough way has to tell."""
        results: list[ClientResult | None] = [None] * len(pairs)
        some: list[int] = []
        documents = 0
        for place, pair in enumerate(pairs):
            if not self._may_be_flat(pair):
                continue
            some.append(place)
            documents += len(pair.source)
            if documents >= _AT_ONCE:
                self._check_together(pairs, some, results)
                some, documents = [], 0
        self._check_together(pairs, some, results)
        return results

    def _may_be_flat(self, pair: ClientPair) -> bool:
        if self._is_blind or pair.baseline is not None or len(pair.target) != 1 or not pair.source:
            return False
        return (
            all(document.duplicate is Duplicate.NONE for document in pair.source)
            and sum(len(document.raw) for document in pair.source) <= _TOO_MUCH
        )

    def _check_together(
        self, pairs: Sequence[ClientPair], places: Sequence[int], results: list[ClientResult | None]
    ) -> None:
        raws = [document.raw for place in places for document in pairs[place].source]
        bookings = self._read(b"".join(raws), [0, *accumulate(map(len, raws))])
        rows = {number: row for row, number in enumerate(bookings.numbers)}
        number = 0
        for place in places:
            pair = pairs[place]
            count = len(pair.source)
            first, last = rows.get(number), rows.get(number + count - 1)
            number += count
            # All of them are there if as many rows as documents lie between the first and the last.
            if first is None or last is None or last - first + 1 < count:
                continue
            if self._is_sound(bookings, first, last + 1, pair.target[0].raw):
                results[place] = ClientResult(scanned=count, migrated=count, sessions=count)

    def check_many(
        self, source: DocumentBlock, first: int, end: int, target: Mapping[bytes, bytes | None]
    ) -> Iterator[tuple[bytes, Sequence[int]]]:
        """Those of many clients who are as they must be, each once.

        Args:
            source: documents in client order.
            first: which of them is the first to be looked at; a client begins with it.
            end: before which of them to stop; another client begins with it.
            target: the document of each client, by the key of `clientId`; None if there is more about the client to be known.

        Yields:
            The key of `clientId`, and which documents are the client's bookings.
        """
        raw, starts, duplicates = source
        borders = [*starts[first:end], starts[end] if end < len(starts) else len(raw)]
        if borders[-1] - borders[0] > _TOO_MUCH:
            return
        bookings = self._read(raw, borders)
        usual = frozenset(bookings.numbers)
        odd = {
            SourceDocument(source.document(number)).client_key
            for number in range(first, end)
            if number - first not in usual or number in duplicates
        }
        changes = [row for row, (one, other) in enumerate(pairwise(bookings.clients), 1) if one != other]
        for begin, stop in pairwise([0, *changes, len(bookings.clients)] if usual else ()):
            key = KEY_OF_OBJECT_ID + bookings.clients[begin]
            document = None if key in odd or self._is_blind else target.get(key)
            if document is not None and self._is_sound(bookings, begin, stop, document):
                yield key, [first + number for number in bookings.numbers[begin:stop]]

    def _read(self, raw: bytes, borders: Sequence[int]) -> _Bookings:
        several = [_columns(alike) for alike in self._layouts.read(raw, borders)]
        return several[0] if len(several) == 1 else _Bookings(*merge_columns(several or [_NOTHING]))

    def _is_sound(self, bookings: _Bookings, first: int, end: int, found: bytes) -> bool:
        """Whether the document of a client is what follows from the client's bookings."""
        return len(found) <= self._largest and found == _document(bookings, first, end)


_NOTHING = _Bookings(*((),) * len(_Bookings._fields))


def _keeps(check: Check, value: Any) -> bool:
    return check(value) is None


def _plan(layout: Layout) -> _Plan | None:
    kinds = layout.kinds
    if kinds.get("_id") != OBJECT_ID or not _UNFIT.isdisjoint(kinds):
        return None
    for rule in FIELDS:
        kind = kinds.get(rule.name, NULL)
        if kind not in _KINDS[rule.kind] and not (kind == NULL and _may_lack(rule)):
            return None
    return _Plan(layout.place, layout.kept, kinds["price"])


def _may_lack(rule: FieldRule) -> bool:
    return rule.presence is Presence.OPTIONAL


def _columns(alike: LayoutGroup[_Plan]) -> _Bookings:
    """The columns of bookings of one layout."""
    plan, columns = alike.plan, alike.columns
    values = {name: columns[plan.place[name]] for name in _FACTS}
    return _Bookings(
        alike.numbers,
        values["_id"],
        values["clientId"],
        values["clientUserId"],
        values["clientEmail"],
        whole_numbers_of(values["createdAt"]),
        whole_numbers_of(values["updatedAt"]),
        numbers_of(plan.price, values["price"]),
        [b"".join(parts) for parts in zip(*(columns[place] for place in plan.kept), strict=True)],
    )


def _session(own: bytes, booking_id: bytes) -> bytes:
    length = _LENGTH.pack(len(own) + _FRAME)
    return b"".join(
        (length, _SESSION_ID, object_id_of_session(booking_id), own, _LEGACY_ID, booking_id, b"\x00")
    )


def _document(bookings: _Bookings, first: int, end: int) -> bytes:
    """The client document of the bookings from one row on to before another."""
    ids, own = bookings.ids, bookings.own
    rows = [
        row
        for *_, row in sorted(
            zip(bookings.created[first:end], ids[first:end], range(first, end), strict=True)
        )
    ]
    last = rows[-1]
    array = wrap_bytes(
        b"".join([b"\x03%d\x00%b" % (place, _session(own[row], ids[row])) for place, row in enumerate(rows)])
    )
    totals = body_of(
        {
            "totalSessions": end - first,
            "totalSpent": total_spent(bookings.prices[first:end]),
            "createdAt": DatetimeMS(bookings.created[rows[0]]),
            "updatedAt": DatetimeMS(max(bookings.updated[first:end])),
        }
    )
    client_id = bookings.clients[first]
    return wrap_bytes(
        b"".join(
            [
                b"\x07_id\x00", object_id_of_client(client_id),
                b"\x07clientId\x00", client_id,
                b"\x02clientUserId\x00", bookings.user_ids[last],
                b"\x02clientEmail\x00", bookings.emails[last],
                b"\x04sessions\x00", array, totals,
            ]
        )
    )  # fmt: skip
