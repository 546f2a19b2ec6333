"""What callers see: ids as texts, old bookings and client documents in the new structure, and lists of sessions.

A client sees what a migration would make of the client's current documents: the result of `consolidate` over all of
them. So the answers are the same before, during and after a migration, by construction.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from sys import maxsize
from typing import Any
from uuid import UUID

from bson.binary import Binary, UuidRepresentation
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import Document
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import (
    ClientDocument,
    decimal_of,
    read_client_document,
    totals_of,
)
from booking_migrate.domain.consolidate import ClientCase, consolidate
from booking_migrate.domain.contract import DEFAULT_STATUS, DOCUMENT_FIELDS
from booking_migrate.domain.kinds import NUMBER_TYPES
from booking_migrate.domain.rules import Rules
from booking_migrate.domain.session import OWNER_FIELDS
from booking_migrate.service.appointment import read_slot

_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_UUID_SUBTYPES = (3, 4)

LISTED_FIELDS = ("_id", *OWNER_FIELDS)
"""Which fields of the client document each session in a list comes with."""

LONGEST = 128
"""The maximum length of an id in a request or a token, in characters."""


def meanings(text: str) -> list[Any]:
    """Return the ids that a text may stand for, likeliest first: an ObjectId, a UUID, an integer, and the text itself."""
    found: list[Any] = []
    if _OBJECT_ID.fullmatch(text):
        found.append(ObjectId(text))
    if _UUID.fullmatch(text):
        found.append(Binary.from_uuid(UUID(text)))
        found.append(Binary.from_uuid(UUID(text), UuidRepresentation.PYTHON_LEGACY))
    if _INTEGER.fullmatch(text):
        found.append(Int64(text))
    return [*found, text]


def as_text(value: Any) -> str | None:
    """Return an id as responses show it, so that `meanings` finds it again; None for other types."""
    if isinstance(value, Binary) and value.subtype in _UUID_SUBTYPES and len(value) == len(UUID(int=0).bytes):
        return str(UUID(bytes=bytes(value)))
    is_plain = isinstance(value, ObjectId | str) or (isinstance(value, int) and not isinstance(value, bool))
    return str(value) if is_plain else None


def likeliest(text: str, documents: Iterable[Document], field: str = "_id") -> Document | None:
    """Return the document whose id a text most likely stands for; None if none of them matches.

    Args:
        text: the id as text.
        documents: the candidates; all of them have the field.
        field: the field of the id.
    """
    candidates = list(documents)
    return next(
        (
            one
            for meaning in meanings(text)
            for one in candidates
            if type(one[field]) is type(meaning) and one[field] == meaning
        ),
        next((one for one in candidates if as_text(one[field]) == text), None),
    )


@dataclass(frozen=True, slots=True)
class SeenSession:
    """One session of a client in the new structure."""

    fields: Document
    """`sessionId` and all other fields, decoded."""

    is_old: bool
    """Whether it is stored as a booking in the old shape, whose `_id` is its `legacyBookingId`."""

    @property
    def session_id(self) -> Any:
        """Return the `sessionId`, decoded; None if the session lacks it."""
        return self.fields.get("sessionId")


@dataclass(frozen=True, slots=True)
class ClientView:
    """One client's bookings in the new shape."""

    fields: Document
    """The client document's first level but `sessions`, decoded."""

    sessions: tuple[SeenSession, ...]
    """In the document's order."""

    @property
    def client_id(self) -> Any:
        """Return the `clientId`, decoded."""
        return self.fields["clientId"]

    @property
    def owner(self) -> Document:
        """Return the `LISTED_FIELDS`, as far as the document has them."""
        return {name: self.fields[name] for name in LISTED_FIELDS if name in self.fields}

    def session(self, session_id: ObjectId) -> SeenSession | None:
        """Return the session with this id, or None."""
        return next((one for one in self.sessions if one.session_id == session_id), None)

    def of_experts(self, expert_keys: frozenset[bytes]) -> "ClientView":
        """Return the view of an expert: what `seen_by_experts` shows of the sessions, and totals over those.

        Args:
            expert_keys: the sort keys of the expert's ids.
        """
        own = tuple(
            replace(one, fields=seen)
            for one in self.sessions
            if (seen := seen_by_experts(one.fields, expert_keys)) is not None
        )
        # Fields of the application may be private to the client.
        known = {name: value for name, value in self.fields.items() if name in DOCUMENT_FIELDS}
        return replace(self, fields={**known, **totals_of([one.fields for one in own])}, sessions=own)


def is_of_expert(fields: Document, expert_keys: frozenset[bytes]) -> bool:
    """Return whether a session is one of these experts'."""
    return "expertId" in fields and sort_key(fields["expertId"]) in expert_keys


def seen_by_experts(fields: Document, expert_keys: frozenset[bytes]) -> Document | None:
    """Return what experts see of a session of a client, in a list too; None: nothing, since it is not theirs."""
    return fields if is_of_expert(fields, expert_keys) else None


_ANY_SIZE = Rules(maximum_document_size=maxsize)


def view_of(case: ClientCase) -> ClientView | None:
    """Return what a client sees; None if no booking of the client can be shown.

    A booking that a migration would reject is not shown, because it would not become a session either. A client document
    that would be too large is shown nevertheless.
    """
    result = consolidate(case, _ANY_SIZE)
    document = None if result.document is None else read_client_document(result.document)
    if not isinstance(document, ClientDocument):
        return None
    first_old = len(document.sessions) - len(result.migrated)
    return ClientView(
        fields=document.fields,
        sessions=tuple(
            SeenSession(session.fields, is_old=number >= first_old)
            for number, session in enumerate(document.sessions)
        ),
    )


class Order(StrEnum):
    """The order of a list; a minus sign means descending."""

    DATE = "scheduledDate"
    DATE_FALLING = "-scheduledDate"
    CREATED = "createdAt"
    CREATED_FALLING = "-createdAt"
    PRICE = "price"
    PRICE_FALLING = "-price"


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a list; one that is empty or None admits everything."""

    statuses: frozenset[str] = frozenset()
    payment_statuses: frozenset[str] = frozenset()
    session_types: frozenset[str] = frozenset()
    expert_keys: frozenset[bytes] | None = None
    """The sort keys of the experts' ids."""

    first: int | None = None
    """The earliest `scheduledDate`, in milliseconds since 1970."""

    behind: int | None = None
    """The upper bound of `scheduledDate`, excluded."""

    def admits(self, fields: Document) -> bool:
        """Return whether a decoded session passes all filters."""
        for wanted, found in (
            (self.statuses, fields.get("status", DEFAULT_STATUS)),
            (self.payment_statuses, fields.get("paymentStatus", DEFAULT_STATUS)),
            (self.session_types, fields.get("sessionType")),
        ):
            # The application may have stored a value that cannot be looked up in a set.
            if wanted and not (type(found) is str and found in wanted):
                return False
        if self.expert_keys is not None and sort_key(fields.get("expertId")) not in self.expert_keys:
            return False
        return self._is_in_range(fields.get("scheduledDate"))

    def _is_in_range(self, date: Any) -> bool:
        if self.first is None and self.behind is None:
            return True
        if type(date) is not DatetimeMS:
            return False
        return (self.first is None or int(date) >= self.first) and (
            self.behind is None or int(date) < self.behind
        )


@dataclass(frozen=True, slots=True)
class ListedSession:
    """One session of a list."""

    booking: Document
    """`_id` and the client's fields of the client document that has the session, or will have it after a migration."""

    session: Document


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    items: Sequence[ListedSession]
    page: int
    """Its number, from 1."""

    limit: int
    """The maximum number of items on a page."""

    total: int
    """The number of items in the whole list."""

    @property
    def pages(self) -> int:
        """Return the number of pages; 0 for an empty list."""
        return -(-self.total // self.limit)


def arrange(items: Iterable[ListedSession], filters: Filters, order: Order) -> list[ListedSession]:
    """Return the items that pass the filters, sorted.

    Equal ones are in the order of their `sessionId`, so that repeated requests return the same list.
    """
    wanted = [item for item in items if filters.admits(item.session)]
    wanted.sort(key=lambda item: sort_key(item.session.get("sessionId")))
    key = _KEYS[order.value.removeprefix("-")]
    wanted.sort(key=lambda item: key(item.session), reverse=order.value.startswith("-"))
    return wanted


def paginate(items: Sequence[ListedSession], page: int, limit: int) -> Page:
    """Return one page of a list; a page behind its end is empty."""
    return Page(items[(page - 1) * limit : page * limit], page, limit, len(items))


def _by_date(fields: Document) -> tuple[int, int]:
    """Return the start of the session; sessions without a date come first."""
    slot, date = read_slot(fields), fields.get("scheduledDate")
    if slot is not None:
        return 1, slot.start
    return (1, int(date) // 60_000) if type(date) is DatetimeMS else (0, 0)


def _by_creation(fields: Document) -> tuple[int, int]:
    created = fields.get("createdAt")
    return (1, int(created)) if type(created) is DatetimeMS else (0, 0)


def _by_price(fields: Document) -> tuple[int, Decimal]:
    """Return the price as a decimal; prices that are not numbers come first."""
    price: Any = fields.get("price")
    number = decimal_of(price) if type(price) in NUMBER_TYPES else Decimal("NaN")
    return (0, Decimal(0)) if number.is_nan() else (1, number)


_KEYS: dict[str, Callable[[Document], tuple[int, Any]]] = {
    Order.DATE.value: _by_date,
    Order.CREATED.value: _by_creation,
    Order.PRICE.value: _by_price,
}
