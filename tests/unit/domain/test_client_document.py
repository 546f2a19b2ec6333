"""`totalSpent` is summed in decimal, in the type of the server's ``$sum``."""

from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from booking_migrate.bson.document import element_of
from booking_migrate.domain.client_document import StoredSession, total, totals_of
from booking_migrate.domain.kinds import is_finite
from tests.support.bookings import session_of


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ([], 0),
        ([1, 2], 3),
        ([Int64(1), 2], Int64(3)),
        ([1, 2.5], 3.5),
        ([1, 2.0], 3.0),
        ([2**31 - 1, 1], Int64(2**31)),
        ([2**31 - 1, 1, -5], 2**31 - 5),
        ([Int64(2**63 - 1), 1], float(2**63)),
        ([4224.11, 663.83, 9533.41], 14421.35),
        ([0.1] * 10, 1.0),
        ([-0.0], 0.0),
        ([Decimal128("1.50"), 1], Decimal128("2.50")),
        ([Decimal128("1.50"), 10.5], Decimal128("12.00")),
        ([Decimal128("1E+6000"), 1], Decimal128("1.000000000000000000000000000000000E+6000")),
        (["5", None, True, 3], 3),
    ],
)
def test_the_sum_and_its_type(prices: list[Any], expected: Any) -> None:
    """The sum is exact in decimal and has the type that ``$sum`` would give it."""
    result = total(prices)

    assert (type(expected), expected) == (type(result), result)


@pytest.mark.parametrize(
    "price",
    [float("nan"), Decimal128("NaN"), Decimal128("sNaN"), float("inf")],
    ids=["nan", "NaN", "sNaN", "inf"],
)
def test_a_price_that_is_no_number_spoils_the_sum_and_nothing_else(price: Any) -> None:
    """A session of the application may have such a price; the sum says so, as the server's would."""
    result = total([1, price, 2.5])

    assert not is_finite(result)


def test_totals_do_not_depend_on_how_a_session_is_held() -> None:
    """A converted session, a stored one and a decoded one count alike, and one that is no document without a price."""
    converted = session_of(price=2.5)
    stored = StoredSession(element_of("0", {"price": 3}))
    no_document = StoredSession(element_of("1", "text"))

    totals = totals_of([converted, stored, {"price": 4}, no_document])

    assert totals == {"totalSessions": 4, "totalSpent": 9.5}
