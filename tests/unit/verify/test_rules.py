"""Ids, totals and dates by fixed examples."""

from decimal import Decimal
from typing import Any

import pytest
from bson import encode
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.domain.client_document import total as written
from booking_migrate.verify.rules import (
    client_document_id,
    facts_of,
    is_same_amount,
    session_id,
    total_spent,
)


def test_session_id_of_an_object_id() -> None:
    """Four time bytes, then the three counter bytes, then the five random bytes."""
    old = ObjectId("000102030405060708090a0b")

    assert ObjectId("00010203090a0b0405060708") == session_id(old, 0)


def test_session_id_of_another_id() -> None:
    """Seconds of creation modulo 2^32, before 1970 too, then eight bytes of a hash that depends on the type."""
    assert "00000001" == str(session_id("a", 1999))[:8]
    assert "ffffffff" == str(session_id("a", -1))[:8]
    assert session_id(7, 0) != session_id(Int64(7), 0)


def test_client_document_id() -> None:
    """It is in an id space of its own, and one for 7 as int32 and as Int64."""
    client = ObjectId("000102030405060708090a0b")

    assert ObjectId("0001020308090a0b04050607") == client_document_id(client)
    assert client_document_id(7) == client_document_id(Int64(7))
    assert client_document_id("7") != client_document_id(7)


@pytest.mark.parametrize(
    ("prices", "total"),
    [
        ([], 0),
        ([1, 2], 3),
        ([2**31 - 1, 1], Int64(2**31)),
        ([1, Int64(2)], Int64(3)),
        ([Int64(2**63 - 1), 1], float(2**63)),
        ([4224.11, 663.83, 9533.41], 14421.35),
        ([1, 0.5], 1.5),
        ([0.1, Decimal128("0.20")], Decimal128("0.30")),
        ([1, "2", None, True], 1),
        ([Decimal128("1E+33"), Decimal128("0.1")], Decimal128("1000000000000000000000000000000000")),
        ([-0.0], 0.0),
        ([-0.0, -0.0], 0.0),
        ([Decimal128("-0.0")], Decimal128("0.0")),
        ([Decimal128("1E+3")], Decimal128("1000")),
        ([Decimal128("1E+3"), Decimal128("2E+4")], Decimal128("21000")),
    ],
)
def test_total(prices: list[Any], total: Any) -> None:
    """The sum is exact in decimal, and of the type that $sum would give; its bytes are those that a migration writes."""
    found = encode({"": total_spent(prices)})

    assert encode({"": total}) == found
    assert encode({"": written(prices)}) == found


def test_dates() -> None:
    """A date that is absent is the time in the id, else the other date."""
    date, in_id = DatetimeMS(5), ObjectId("00000002" + "00" * 8)

    assert (5, 2000) == facts_of({"createdAt": date}, in_id)[1:]
    assert (5, 5) == facts_of({"updatedAt": date}, "text")[1:]
    assert (None, None) == facts_of({}, "text")[1:]


def test_same_amount() -> None:
    """Money of any type is the same in 15 digits, and a cent is not nothing."""
    assert is_same_amount(14421.350000000002, 14421.35)
    assert is_same_amount(Decimal128(Decimal("1.50")), 1.5)
    assert not is_same_amount(14421.36, 14421.35)
    assert not is_same_amount("1", 1)
