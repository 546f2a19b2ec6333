"""The new structure's document: one per client, with its `sessions` and totals."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from functools import cached_property, reduce
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128, create_decimal128_context
from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import (
    ARRAY,
    DOCUMENT,
    NULL,
    OBJECT_ID,
    Document,
    Element,
    body_of,
    element_of,
    elements,
    read_fields,
    read_value,
    wrap,
    wrap_bytes,
)
from booking_migrate.bson.format import describe
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.contract import DOCUMENT_FIELDS, TOTALS
from booking_migrate.domain.ids import client_document_id, time_of
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.domain.rejection import Fault, Reason
from booking_migrate.domain.session import CLIENT_FIELDS, Session

# No traps: a session that the application wrote may have a price of NaN, and then the sum is NaN.
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_DECIMAL128 = create_decimal128_context()
_DECIMAL128.clear_traps()
_INT32 = range(-(1 << 31), 1 << 31)
_INT64 = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True)
class StoredSession:
    """An element of `sessions` in a client document that is already there."""

    element: Element
    """The array element; its name is its index."""

    @cached_property
    def fields(self) -> Document:
        """Return the session's first level, decoded; empty if the element is not a document."""
        return read_fields(self.element.value) if self.element.kind == DOCUMENT else {}

    @property
    def legacy_key(self) -> bytes | None:
        """Return the sort key of `legacyBookingId`; None if the new application booked this session."""
        return sort_key(self.fields["legacyBookingId"]) if "legacyBookingId" in self.fields else None

    @property
    def identity(self) -> bytes:
        """Return what identifies the session: the sort key of `sessionId`, or its bytes if it has none."""
        return sort_key(self.fields["sessionId"]) if "sessionId" in self.fields else self.element.value

    def time(self, name: str) -> int | None:
        """Return `createdAt` or `updatedAt` in milliseconds since 1970.

        If it is absent from the session of a booking, the time in the booking's ObjectId counts, else the other date.
        """
        value, legacy_id = self.fields.get(name), self.fields.get("legacyBookingId")
        if type(value) is DatetimeMS or "legacyBookingId" not in self.fields:
            return int(value) if type(value) is DatetimeMS else None
        if type(legacy_id) is ObjectId:
            return time_of(legacy_id)
        other = self.fields.get("updatedAt" if name == "createdAt" else "createdAt")
        return int(other) if type(other) is DatetimeMS else None


@dataclass(frozen=True)
class ClientDocument:
    """A client document that is already there: the application wrote it, or an earlier run."""

    raw: bytes
    parts: tuple[Element, ...]
    """Its elements, in order. No name occurs twice, and `sessions` is an array."""

    @property
    def is_altered(self) -> bool:
        """Return whether its elements are other than its bytes: it has absorbed something of another document."""
        return wrap(list(self.parts)) != self.raw

    @cached_property
    def fields(self) -> Document:
        """Return its first level but `sessions`, decoded."""
        return read_fields(wrap([part for part in self.parts if part.name != b"sessions"]))

    @cached_property
    def sessions(self) -> tuple[StoredSession, ...]:
        """Return its sessions, in order."""
        array = next(part.value for part in self.parts if part.name == b"sessions")
        return tuple(StoredSession(element) for element in elements(array))

    @cached_property
    def document_id(self) -> Any:
        """Return the `_id`, decoded."""
        return self._value(b"_id")

    @cached_property
    def client_id(self) -> Any:
        """Return the `clientId`, decoded."""
        return self._value(b"clientId")

    def _value(self, name: bytes) -> Any:
        # Nothing else is decoded: of most documents no other field is asked for.
        found = next((part for part in self.parts if part.name == name), None)
        if found is None:
            return None
        return ObjectId(found.value) if found.kind == OBJECT_ID else read_value(found)

    def time(self, name: str) -> int | None:
        """Return a date of the document in milliseconds since 1970; None if it is absent or no date."""
        value = self.fields.get(name)
        return int(value) if type(value) is DatetimeMS else None


def read_client_document(raw: bytes) -> ClientDocument | Fault:
    """Read a client document, or return the fault that keeps it from being migrated.

    Raises:
        MalformedBson: if the bytes are not a BSON document.
    """
    parts = tuple(elements(raw))
    kinds = {part.name: part.kind for part in parts}
    if kinds.get(b"sessions") != ARRAY:
        return Fault(Reason.SESSIONS_NOT_AN_ARRAY, "sessions", "not an array")
    if len(kinds) != len(parts):
        return Fault(Reason.DUPLICATE_FIELD, None, "a field occurs more than once")
    document = ClientDocument(raw, parts)
    if b"_id" not in kinds:
        return Fault(Reason.ID_MISSING, "_id", "absent")
    if b"clientId" not in kinds:
        return Fault(Reason.CLIENT_ID_MISSING, "clientId", "absent")
    if not is_client_id(document.client_id):
        return Fault(
            Reason.CLIENT_ID_INVALID, "clientId", f"{describe(document.client_id)} is not a client id"
        )
    return document


def absorb(document: ClientDocument, other: ClientDocument) -> ClientDocument:
    """Return a client document with what another one of the same client has beyond it, sessions aside.

    Fields that it lacks, or client fields that it has as null, are taken over; where both have a field, its own stays.
    Of the dates the earliest `createdAt` and the latest `updatedAt` count.
    """
    parts = {part.name: part for part in document.parts}
    for part in other.parts:
        own = parts.get(part.name)
        is_absent = own is None or (
            own.kind == NULL and part.name.decode("utf-8", "replace") in CLIENT_FIELDS
        )
        if is_absent and part.name != b"__v":
            parts[part.name] = part
    for name, choose in (("createdAt", min), ("updatedAt", max)):
        times = [time for time in (document.time(name), other.time(name)) if time is not None]
        if times:
            parts[name.encode()] = element_of(name, DatetimeMS(choose(times)))
    return ClientDocument(document.raw, tuple(parts.values()))


def compose(
    base: ClientDocument | None,
    added: Sequence[StoredSession | Session],
    replaced: Mapping[int, Session] | None = None,
    dropped: Collection[int] = (),
    owners: Sequence[Session] = (),
) -> bytes:
    """Write a client document.

    Args:
        base: the document that the client has already; it keeps its `_id`, its sessions, its own client fields, its
            unknown fields and the order of its fields. None if the client has none.
        added: the sessions to put behind those of ``base``, in order; at least one, unless some are replaced.
        replaced: sessions that take the place of those of ``base`` with these indexes.
        dropped: the indexes of sessions of ``base`` that the document loses, because their booking has another one there.
        owners: bookings to take client fields from that ``base`` lacks, if no session is added or replaced.

    Returns:
        The BSON bytes. Totals and dates are taken over all sessions.
    """
    kept: list[StoredSession | Session] = [*(base.sessions if base else ())]
    for index, session in (replaced or {}).items():
        kept[index] = session
    if dropped:
        kept, added = [], [*(one for index, one in enumerate(kept) if index not in dropped), *added]
    sessions = [*kept, *added]
    made = [session for session in sessions if isinstance(session, Session)] or owners
    values: Document = _client_fields(base, made)
    values |= totals_of(sessions)
    for name, choose in (("createdAt", min), ("updatedAt", max)):
        times = [base.time(name) if base else None, *(_time(session, name) for session in sessions)]
        known = [time for time in times if time is not None]
        if known:
            values[name] = DatetimeMS(choose(known))
    array = Element(ARRAY, b"sessions", _array(kept, added))
    if base is None:
        names = [name for name in DOCUMENT_FIELDS if name in values]
        before, after = names[: names.index(TOTALS[0])], names[names.index(TOTALS[0]) :]
        body = [body_of({name: values[name] for name in before}), array.raw]
        return wrap_bytes(b"".join([*body, body_of({name: values[name] for name in after})]))
    fields = {part.name: part for part in base.parts}
    fields[b"sessions"] = array
    for name in DOCUMENT_FIELDS:
        if name in values:
            fields[name.encode()] = element_of(name, values[name])
    return wrap(list(fields.values()))


def _client_fields(base: ClientDocument | None, made: Sequence[Session]) -> Document:
    """Return the fields that say whose document it is: the base's own, else those of the last session that has them."""
    values: Document = {}
    if base is None:
        client_id = made[-1].client_id
        values = {"_id": client_document_id(client_id), "clientId": client_id}
    own = base.fields if base else {}
    found = {
        "clientUserId": [session.client_user_id for session in made],
        "clientEmail": [session.client_email for session in made],
    }
    for name in CLIENT_FIELDS:
        if own.get(name) is None and found[name]:
            values[name] = found[name][-1]
    return values


def _array(kept: Sequence[StoredSession | Session], added: Sequence[StoredSession | Session]) -> bytes:
    """Return the array's bytes: sessions that stay keep their elements' bytes, all others are numbered by their index."""
    body = [
        session.element.raw if isinstance(session, StoredSession) else _numbered(index, session)
        for index, session in enumerate(kept)
    ]
    body += [_numbered(index, session) for index, session in enumerate(added, start=len(kept))]
    return wrap_bytes(b"".join(body))


def _numbered(index: int, session: StoredSession | Session) -> bytes:
    if isinstance(session, Session):
        return b"%c%d\x00%b" % (DOCUMENT, index, session.raw)
    return b"%c%d\x00%b" % (session.element.kind, index, session.element.value)


def _time(session: StoredSession | Session, name: str) -> int | None:
    if isinstance(session, Session):
        return session.created_at if name == "createdAt" else session.updated_at
    return session.time(name)


def totals_of(sessions: Collection[StoredSession | Session | Document]) -> Document:
    """Return the totals of a client document with these sessions, which may be decoded already."""
    return {"totalSessions": len(sessions), "totalSpent": total(map(_price, sessions))}


def _price(session: StoredSession | Session | Document) -> Any:
    if isinstance(session, Session):
        return session.price
    return (session.fields if isinstance(session, StoredSession) else session).get("price")


def decimal_of(value: float | Decimal128) -> Decimal:
    """Return the decimal number that a BSON number stands for; NaN and infinities stay what they are.

    A double stands for the decimal number of 15 significant digits, as with ``$toDecimal``
    (MongoDB manual, reference/operator/aggregation/toDecimal).
    """
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, Decimal128):
        return value.to_decimal()
    return Decimal(f"{value:.15g}")


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """Return a sum without rounding, so that it does not depend on the order of its parts."""
    return reduce(_EXACT.add, amounts, Decimal(0))


def total(values: Iterable[Any]) -> int | float | Decimal128:
    """Return the sum of the numbers among some decoded values; anything else is passed over, as ``$sum`` does.

    It is computed in decimal, in the type that the server's ``$sum`` would give
    (MongoDB manual, reference/operator/aggregation/sum). So it does not depend on the order of the values.

    Returns:
        int (BSON int32), Int64, float (double) or Decimal128. Integers that outgrow int32 give Int64, and those that
        outgrow int64 a double.
    """
    integers = 0
    decimals = Decimal(0)
    types = set()
    for value in values:
        kind = type(value)
        if kind is int or kind is Int64:
            integers += value
        elif kind is float or kind is Decimal128:
            decimals = _EXACT.add(decimals, decimal_of(value))
        else:
            continue
        types.add(kind)
    if Decimal128 in types:
        return Decimal128(_DECIMAL128.plus(_EXACT.add(decimals, Decimal(integers))))
    if float in types:
        return float(_EXACT.add(decimals, Decimal(integers)))
    if Int64 in types or integers not in _INT32:
        return Int64(integers) if integers in _INT64 else float(integers)
    return integers
