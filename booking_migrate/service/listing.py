"""Filtering, sorting and paging of session lists."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

from bson.datetime_ms import DatetimeMS

from booking_migrate.bson.document import Document
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import decimal_of
from booking_migrate.domain.contract import DEFAULT_STATUS, NUMBER_TYPES
from booking_migrate.service.timetable import DAY, read_slot

Item = TypeVar("Item")


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

    first_date: int | None = None
    """The earliest `scheduledDate`, in milliseconds since 1970; its whole UTC day belongs to the range."""

    last_date: int | None = None
    """The latest one; its whole UTC day belongs to the range."""

    def admits(self, fields: Document) -> bool:
        """Return whether a decoded session passes all filters."""
        if self.statuses and fields.get("status", DEFAULT_STATUS) not in self.statuses:
            return False
        if self.payment_statuses and fields.get("paymentStatus", DEFAULT_STATUS) not in self.payment_statuses:
            return False
        if self.session_types and fields.get("sessionType") not in self.session_types:
            return False
        if self.expert_keys is not None and sort_key(fields.get("expertId")) not in self.expert_keys:
            return False
        return self._is_in_range(fields.get("scheduledDate"))

    def _is_in_range(self, date: Any) -> bool:
        if self.first_date is None and self.last_date is None:
            return True
        if type(date) is not DatetimeMS:
            return False
        after_start = self.first_date is None or int(date) >= self.first_date // DAY * DAY
        return after_start and (self.last_date is None or int(date) < self.last_date // DAY * DAY + DAY)


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list."""

    items: Sequence[Item]
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


def arrange(
    items: Iterable[Item], fields_of: Callable[[Item], Document], filters: Filters, order: Order
) -> list[Item]:
    """Return the items that pass the filters, sorted.

    Equal ones are in the order of their `sessionId`, so that repeated requests return the same list.
    """
    wanted = [item for item in items if filters.admits(fields_of(item))]
    wanted.sort(key=lambda item: sort_key(fields_of(item).get("sessionId")))
    key = _KEYS[order.value.removeprefix("-")]
    wanted.sort(key=lambda item: key(fields_of(item)), reverse=order.value.startswith("-"))
    return wanted


def paginate(items: Sequence[Item], page: int, limit: int) -> Page[Item]:
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
