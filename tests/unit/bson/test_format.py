"""Two documents are the same only if their bytes are."""

import bson
import pytest
from bson.int64 import Int64

from booking_migrate.bson.format import differences


def test_equal_bytes_have_no_difference() -> None:
    """The same document twice differs in nothing."""
    assert [] == differences(bson.encode({"a": 1}), bson.encode({"a": 1}))


@pytest.mark.parametrize("value", [Int64(1), 1.0, True, "1", None], ids=lambda value: type(value).__name__)
def test_types_count(value: object) -> None:
    """An int 1 is not long 1, not 1.0 and not true."""
    (difference,) = differences(bson.encode({"x": 0, "a": 1}), bson.encode({"x": 0, "a": value}))

    assert "a" == difference.field


def test_what_is_on_one_side_only() -> None:
    """A field that one side lacks is named with nothing on that side."""
    left, right = differences(bson.encode({"a": 1, "b": 2}), bson.encode({"a": 1, "c": 2}))

    assert ("b: int32 2 expected, nothing found", "c: nothing expected, int32 2 found") == (
        str(left),
        str(right),
    )


def test_order_counts() -> None:
    """The same fields in another order are a difference, named at the first one out of place."""
    (difference,) = differences(bson.encode({"a": 1, "b": 2, "c": 3}), bson.encode({"a": 1, "c": 3, "b": 2}))

    assert "b" == difference.field
    assert "b: same value, other bytes or another place" == str(difference)
