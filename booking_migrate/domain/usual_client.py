"""A short cut for the usual client: all of its bookings are usual ones, and agree on whose they are.

Its document is put together from the bookings' bytes. It means what `domain.consolidation` means for a client without any
document yet, and a property test compares the two; whenever in doubt, the client is left to the thorough way.
"""

import struct
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from bson import encode
from bson.objectid import ObjectId

from booking_migrate.domain.bson_document import CODEC, elements, wrap_bytes
from booking_migrate.domain.bson_layout import OBJECT_ID
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.ids import client_document_object_id
from booking_migrate.domain.ordering import sort_key
from booking_migrate.domain.rejection import Reason
from booking_migrate.domain.totals import decimal_of, total
from booking_migrate.domain.usual_booking import UsualBooking, UsualBookings, session_bytes

_TIME = struct.Struct("<q")


class UsualClient(NamedTuple):
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

    sight: Any
    """What `UsualRules.look` made of the bookings."""

    @property
    def client_id(self) -> ObjectId:
        """The `clientId`."""
        return ObjectId(self.object_id)

    @property
    def key(self) -> bytes:
        """The sort key of `clientId`."""
        return sort_key(self.client_id)


class Composition(NamedTuple):
    """What came of documents."""

    clients: list[UsualClient]
    """In the order of their documents."""

    left: list[int]
    """Where the documents are that belong to no usual client, ascending."""


@dataclass(frozen=True, slots=True)
class UsualRules:
    """What decides whether a client is a usual one. Goes to other processes."""

    contract: Contract
    accepted: frozenset[Reason]
    """The value rules that are waived."""

    maximum_size: int
    """Of a client document, in bytes; a client whose document would be larger is left."""

    can_hold: Callable[[bytes], bool] | None = None
    """Whether the target can hold a session, a function of a module; None: it holds all of them."""

    look: Callable[[Sequence[UsualBooking]], Any] | None = None
    """Somebody's look at the bookings of each client, a function of a module; None: nobody looks."""


class UsualClients:
    """Makes the documents of usual clients."""

    def __init__(self, rules: UsualRules) -> None:
        """Take the rules."""
        self._read = UsualBookings(rules.contract, rules.accepted).read
        self._maximum_size = rules.maximum_size
        self._can_hold = rules.can_hold
        self._look = rules.look

    def compose(self, documents: Sequence[bytes], odd: Container[int] = ()) -> Composition:
        """Make the documents of the usual clients among the owners of some documents.

        Args:
            documents: all documents of some clients, those of one client together; documents that belong to no client
                may stand anywhere. No two of them have the same `_id`, but for the odd ones.
            odd: places of documents whose clients are to be left.
        """
        clients: list[UsualClient] = []
        left: list[int] = []
        owner, bookings, places, is_usual = b"", list[UsualBooking](), list[int](), False
        for place, raw in enumerate(documents):
            booking = self._read(raw)
            client = object_id_of_client(raw) if booking is None else booking[2][booking[1].client_id]
            if client is None:
                left.append(place)
                continue
            if client != owner:
                self._end(bookings if is_usual else (), places, clients, left)
                owner, bookings, places, is_usual = client, [], [], True
            places.append(place)
            if booking is None or place in odd:
                is_usual = False
            else:
                bookings.append(booking)
        self._end(bookings if is_usual else (), places, clients, left)
        left.sort()
        return Composition(clients, left)

    def _end(
        self, bookings: Sequence[UsualBooking], places: list[int], clients: list[UsualClient], left: list[int]
    ) -> None:
        """Come to the end of one client's documents."""
        client = self._client(bookings) if bookings else None
        if client is None:
            left += places
        else:
            clients.append(client)

    def _client(self, bookings: Sequence[UsualBooking]) -> UsualClient | None:
        facts = [plan.facts(values) for _, plan, values in bookings]
        ids, clients, users, emails, created, updated, prices, currencies = zip(*facts, strict=True)
        if len({*zip(users, emails, currencies, strict=True)}) > 1:
            return None
        count = len(bookings)
        times = struct.unpack(f"<{2 * count}q", b"".join((*created, *updated)))
        order = sorted(zip(times, ids, range(count), strict=False))
        sessions = [session_bytes(bookings[number], legacy_id) for _, legacy_id, number in order]
        if self._can_hold is not None and not all(map(self._can_hold, sessions)):
            return None
        amounts = [plan.price_of(price) for (_, plan, _), price in zip(bookings, prices, strict=True)]
        spent = total(amounts)
        document = _document(
            clients[0],
            users[0],
            emails[0],
            sessions,
            spent,
            earliest=times[order[0][2]],
            latest=max(times[count:]),
        )
        if len(document) > self._maximum_size:
            return None
        exactly = spent if isinstance(spent, int) else sum(map(decimal_of, amounts), Decimal(0))
        sight = None if self._look is None else self._look(bookings)
        return UsualClient(clients[0], document, count, currencies[0][4:-1].decode(), exactly, sight)


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
    array = wrap_bytes(b"".join([b"\x03%d\x00%b" % element for element in enumerate(sessions)]))
    totals = encode({"totalSessions": len(sessions), "totalSpent": spent}, codec_options=CODEC)
    return wrap_bytes(
        b"\x07_id\x00%b\x07clientId\x00%b\x02clientUserId\x00%b\x02clientEmail\x00%b\x04sessions\x00%b%b"
        b"\x09createdAt\x00%b\x09updatedAt\x00%b"
        % (
            client_document_object_id(client_id),
            client_id,
            user_id,
            email,
            array,
            totals[4:-1],
            _TIME.pack(earliest),
            _TIME.pack(latest),
        )
    )
