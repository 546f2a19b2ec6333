"""Counts that were made apart and added up."""

import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.domain.consolidate import ClientCase, consolidate
from booking_migrate.domain.rejection import Fault, Reason, Rejection
from booking_migrate.domain.session import Converter, People, Session, read_booking
from booking_migrate.errors import UnaccountedBookings
from booking_migrate.migrate.counts import MigrationCounts
from tests.support.bookings import raw

PRICES = st.one_of(
    st.integers(0, 2**31 - 1),
    st.floats(0, 1e6),
    st.decimals(0, 10**6, places=2).map(Decimal128),
    st.sampled_from([Decimal128("9.99E+6000"), Decimal128("1E-6000")]),
)
CLIENTS = st.lists(
    st.tuples(
        st.booleans(), PRICES, st.sampled_from(["USD", "INR"]), st.sampled_from(["a@x.org", "b@x.org"])
    ),
    max_size=12,
)


def counted(clients: Sequence[Any], numbers: Sequence[int]) -> MigrationCounts:
    """The counts of some clients with two bookings each, or with a rejected one."""
    counts = MigrationCounts()
    for number in numbers:
        is_rejected, price, currency, email = clients[number]
        client = ObjectId(f"68b6134f8e21e1ae68{number:06x}")
        document_id = ObjectId(f"68b61bd7a4c0bf9eaa{number:06x}")
        if is_rejected:
            counts.scanned += 1
            reason = (Reason.CURRENCY_NOT_ALLOWED, Reason.DUPLICATE_ID)[number % 2]
            rejected = raw(_id=document_id, price=price, currency=currency)
            counts.reject([Rejection(rejected, (Fault(reason, "currency", "no"),), document_id)])
            continue
        documents = [
            raw(_id=document_id, clientId=client, price=price, currency=currency, clientEmail=email),
            raw(_id=number, clientId=client, price=1, currency=currency, clientEmail="a@x.org"),
        ]
        sessions = [Converter().convert(read_booking(document), People()) for document in documents]
        counts.scanned += len(sessions)
        counts.take(client, consolidate(ClientCase([each for each in sessions if isinstance(each, Session)])))
    return counts


@given(clients=CLIENTS, order=st.randoms(use_true_random=False), parts=st.integers(1, 4))
def test_parts_add_up(clients: list[Any], order: Any, parts: int) -> None:
    """Counted in parts, in other processes, and added in whatever order, everything is as if it was counted at once."""
    numbers = list(range(len(clients)))
    whole = counted(clients, numbers)
    order.shuffle(numbers)
    summed = MigrationCounts()
    for part in range(parts):
        summed.include(pickle.loads(pickle.dumps(counted(clients, numbers[part::parts]))))

    assert vars_of(whole) == vars_of(summed)


def vars_of(counts: MigrationCounts) -> tuple[Any, ...]:
    """Everything that a report has of the counts."""
    money = counts.rejected_money()
    return counts.counts(changed=True), counts.rejections(), counts.spent(), money, counts.findings()


def test_drained_counts_begin_again() -> None:
    """What was counted is handed over once."""
    counts = counted([(False, 10, "USD", "a@x.org")], [0])
    first, second = counts.drain(), counts.drain()

    assert (2, 0) == (first.scanned, second.scanned)
    assert vars_of(MigrationCounts()) == vars_of(counts)


def test_a_booking_that_no_part_accounts_for_is_found() -> None:
    """The sum is checked as the parts would be."""
    counts = MigrationCounts()
    counts.scanned = 1
    summed = counted([(False, 10, "USD", "a@x.org")], [0])
    summed.include(counts)

    with pytest.raises(UnaccountedBookings):
        summed.check()
