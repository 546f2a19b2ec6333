"""`totalSpent`: the sum of prices in decimal, in the type that the server's ``$sum`` would give.

Source: MongoDB manual, reference/operator/aggregation/sum and toDecimal. A double counts as the
decimal number of 15 significant digits that it stands for, so the sum does not depend on the order of its terms.
"""

from collections.abc import Iterable
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from math import isfinite
from typing import Any

from bson.decimal128 import Decimal128, create_decimal128_context
from bson.int64 import Int64

# No traps: a session that the application wrote may have a price of NaN, and then the sum is NaN.
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_DECIMAL128 = create_decimal128_context()
_DECIMAL128.clear_traps()
_INT32 = range(-(1 << 31), 1 << 31)
_INT64 = range(-(1 << 63), 1 << 63)

NUMBER_TYPES = frozenset({int, Int64, float, Decimal128})
"""The Python types of BSON's numbers; bool is not among them."""


def decimal_of(value: float | Decimal128) -> Decimal:
    """Return the decimal number that a BSON number stands for; NaN and infinities stay what they are."""
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, Decimal128):
        return value.to_decimal()
    return Decimal(f"{value:.15g}")


def total(values: Iterable[Any]) -> int | float | Decimal128:
    """Return the sum of the numbers among some decoded values; anything else is passed over, as ``$sum`` does.

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


def is_finite(value: float | Decimal128) -> bool:
    """Return whether a BSON number is neither NaN nor infinite."""
    return value.to_decimal().is_finite() if isinstance(value, Decimal128) else isfinite(value)
