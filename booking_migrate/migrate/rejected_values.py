"""The values of the fields for which bookings are rejected, and how much money is in those bookings."""

import re
from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

from bson.decimal128 import Decimal128

from booking_migrate.bson.document import Document, decoded
from booking_migrate.bson.format import short
from booking_migrate.domain.client_document import decimal_of, exact_sum
from booking_migrate.domain.rejection import Reason, Rejection
from booking_migrate.runs.causing_values import CausingValues
from booking_migrate.runs.plan import RejectedMoney, RejectedValue

_MOST_CURRENCIES = 50
_UNKNOWN = "unknown"
_OTHERS = "others"
_LONGEST_PRICE = 40

_PRICE = re.compile(r"[^\d.,+-]*([+-]?(?:\d{1,3}(?:,\d{2,3})*,\d{3}|\d+)(?:\.\d+)?)[^\d.,]*", re.ASCII)
"""A price in a text, with currency signs around it. A comma that may be a decimal point is not read."""

_NOTHING = Decimal(0)


class RejectedValues:
    """Counts values and money of rejected bookings."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._causing = CausingValues()
        self._prices: dict[str, Decimal] = {}
        self._unpriced = 0

    def add(self, rejection: Rejection) -> None:
        """Count one rejected booking, under its first reason."""
        fields = decoded(rejection.raw)
        fault = rejection.faults[0]
        if fault.field is not None:
            self._causing.add(fault.reason, fault.field, fields)
        if "sessions" not in fields:
            self._pay(fields)

    def _pay(self, fields: Document) -> None:
        amount = amount_of(fields.get("price"))
        if amount is None:
            self._unpriced += 1
            return
        currency = fields.get("currency")
        self._add_price(short(currency) if isinstance(currency, str) else _UNKNOWN, amount)

    def _add_price(self, currency: str, amount: Decimal) -> None:
        if currency not in self._prices and len(self._prices) >= _MOST_CURRENCIES:
            currency = _OTHERS
        self._prices[currency] = exact_sum((self._prices.get(currency, _NOTHING), amount))

    def include(self, other: "RejectedValues") -> None:
        """Add what was counted elsewhere."""
        self._causing.include(other._causing)  # noqa: SLF001 - of its own class
        for currency, amount in other._prices.items():  # noqa: SLF001
            self._add_price(currency, amount)
        self._unpriced += other._unpriced  # noqa: SLF001

    def of(self, reason: Reason) -> tuple[RejectedValue, ...]:
        """Return the most frequent values of a reason."""
        return self._causing.of(reason)

    def fields(self, reason: Reason) -> tuple[str, ...]:
        """Return the fields at fault of a reason, sorted."""
        return self._causing.fields(reason)

    def money(self) -> RejectedMoney:
        """Return the prices of the rejected bookings."""
        prices: Mapping[str, Decimal] = dict(sorted(self._prices.items()))
        return RejectedMoney(prices, self._unpriced)


def amount_of(value: Any) -> Decimal | None:
    """Return the amount that a price stands for, also as text such as ``₹1,499.00``; None if it cannot be read."""
    if isinstance(value, str):
        found = _PRICE.fullmatch(value) if len(value) <= _LONGEST_PRICE else None
        return None if found is None else Decimal(found[1].replace(",", ""))
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal128):
        return decimal_of(value) if value.to_decimal().is_finite() else None
    return decimal_of(value) if isinstance(value, int | float) and isfinite(value) else None
