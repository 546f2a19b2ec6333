"""Values and money of rejected bookings: the most frequent first, bounded, and without personal data."""

from decimal import Decimal
from typing import Any

import bson
import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from booking_migrate.domain.rejection import Fault, Reason, Rejection
from booking_migrate.migrate import rejected_values
from booking_migrate.migrate.rejected_values import RejectedValues, amount_of
from booking_migrate.runs import causing_values
from booking_migrate.runs.plan import RejectedMoney, RejectedValue


def rejected(field: str | None, reason: Reason = Reason.WRONG_TYPE, /, **fields: Any) -> Rejection:
    """A booking rejected for one field."""
    return Rejection(bson.encode(fields), (Fault(reason, field, "detail"),), 1)


def test_the_most_frequent_first() -> None:
    """Values come by falling count, counted in two processes or in one; an absent one is a value, too."""
    one, other = RejectedValues(), RejectedValues()
    for price in ("free", "₹1,499.00", "free", 5):
        one.add(rejected("price", price=price, currency="INR"))
    for fields in ({"price": "₹1,499.00"}, {"price": "₹1,499.00"}, {}):
        other.add(rejected("price", **fields))
    one.include(other)

    assert (
        RejectedValue("price", "'₹1,499.00'", 3),
        RejectedValue("price", "'free'", 2),
        RejectedValue("price", "absent", 1),
        RejectedValue("price", "int32 5", 1),
    ) == one.of(Reason.WRONG_TYPE)
    assert ("price",) == one.fields(Reason.WRONG_TYPE)
    money = RejectedMoney({"INR": Decimal("1504.00"), "unknown": Decimal("2998.00")}, 3)
    assert money == one.money()


def test_personal_values_are_not_shown() -> None:
    """Of what may be personal, only type and length are shown: known fields, and all that the contract does not know."""
    values = RejectedValues()
    for name in ("clientEmail", "notes", "clientUserId", "phone"):
        values.add(rejected(name, **{name: "ann@example"}))

    assert {"string of 11 characters"} == {each.value for each in values.of(Reason.WRONG_TYPE)}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of different values, and of currencies, further ones are not kept apart; sums stay complete."""
    monkeypatch.setattr(causing_values, "_MOST_VALUES", 3)
    monkeypatch.setattr(rejected_values, "_MOST_CURRENCIES", 2)
    values = RejectedValues()
    for number in range(9):
        values.add(rejected("price", price=number, currency=f"C{number}"))

    assert 3 == len(values.of(Reason.WRONG_TYPE))
    assert {"C0": Decimal(0), "C1": Decimal(1), "others": Decimal(35)} == values.money().prices


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (5, "5"),
        (Int64(7), "7"),
        (4224.11, "4224.11"),
        (Decimal128("1.10"), "1.10"),
        ("1499", "1499"),
        ("₹1,499.00", "1499.00"),
        ("Rs. 1,00,000", None),
        ("₹1,00,000.50", "100000.50"),
        ("$ -20", "-20"),
        ("20 EUR", "20"),
        ("12,50", None),
        ("1.499,00", None),
        ("free", None),
        ("", None),
        ("9" * 100, None),
        (True, None),
        (None, None),
        (float("nan"), None),
        (Decimal128("Infinity"), None),
        ([5], None),
    ],
)
def test_amounts(value: Any, amount: str | None) -> None:
    """A number, or a text that can only be read in one way."""
    assert (None if amount is None else Decimal(amount)) == amount_of(value)


def test_documents_at_fault_as_a_whole_have_no_value() -> None:
    """A duplicate or a conflict is not about a value, and a client document has no price."""
    values = RejectedValues()
    values.add(rejected("_id", Reason.DUPLICATE_ID, price=5, currency="INR"))
    values.add(rejected(None, Reason.NESTED_TOO_DEEP, sessions=[]))

    assert () == values.of(Reason.DUPLICATE_ID) + values.of(Reason.NESTED_TOO_DEEP)
    assert RejectedMoney({"INR": Decimal(5)}) == values.money()
