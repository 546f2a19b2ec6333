"""Lists are filtered, sorted and cut into pages, whatever stands in a session."""

from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.bson.order import sort_key
from booking_migrate.service.appointment import DAY
from booking_migrate.service.view import Filters, ListedSession, Order, arrange, paginate

DATE = 20_000 * DAY

anything: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.integers(-5, 5), st.floats(), st.text(max_size=3), st.just(Decimal128("NaN"))
)


def session(number: int, **fields: Any) -> dict[str, Any]:
    own = {
        "sessionId": ObjectId(f"{number:024x}"),
        "scheduledDate": DatetimeMS(DATE),
        "startTime": "9:30",
        "endTime": "10:00",
        "status": "pending",
        "paymentStatus": "pending",
        "sessionType": "chat",
        "expertId": 1,
        "price": 20,
        "createdAt": DatetimeMS(DATE),
    }
    return {**own, **fields}


def numbers(sessions: list[dict[str, Any]]) -> list[int]:
    return [int(str(one["sessionId"]), 16) for one in sessions]


def arranged(
    *sessions: dict[str, Any], filters: Filters | None = None, order: Order = Order.DATE
) -> list[int]:
    listed = [ListedSession({}, one) for one in sessions]
    return numbers([one.session for one in arrange(listed, filters or Filters(), order)])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        pytest.param(Filters(), [1, 2, 3], id="none"),
        pytest.param(Filters(statuses=frozenset({"pending"})), [1, 3], id="an absent status is pending"),
        pytest.param(Filters(payment_statuses=frozenset({"paid", "failed"})), [2], id="payment"),
        pytest.param(Filters(session_types=frozenset({"video"})), [3], id="type"),
        pytest.param(Filters(expert_keys=frozenset({sort_key(2.0)})), [2], id="expert, as MongoDB compares"),
        pytest.param(Filters(first=DATE), [1, 2], id="from a day on"),
        pytest.param(Filters(behind=DATE + DAY), [1, 3], id="to the end of a day"),
        pytest.param(Filters(first=DATE, behind=DATE + DAY), [1], id="one day"),
    ],
)
def test_filters(filters: Filters, expected: list[int]) -> None:
    """Each filter lets through what it says."""
    first = session(1, scheduledDate=DatetimeMS(DATE + DAY - 1))
    del first["status"]
    second = session(
        2, status="confirmed", paymentStatus="paid", expertId=2, scheduledDate=DatetimeMS(DATE + DAY)
    )
    third = session(3, sessionType="video", scheduledDate=DatetimeMS(DATE - 1))

    assert expected == sorted(arranged(first, second, third, filters=filters))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        pytest.param(Order.DATE, [3, 1, 2], id="by start, 9:30 before 12:30"),
        pytest.param(Order.DATE_FALLING, [2, 1, 3], id="by falling start"),
        pytest.param(Order.PRICE, [2, 3, 1], id="by price, whatever its type"),
        pytest.param(Order.CREATED, [1, 2, 3], id="by creation"),
        pytest.param(Order.CREATED_FALLING, [3, 1, 2], id="equal ones keep the order of their ids"),
    ],
)
def test_orders(order: Order, expected: list[int]) -> None:
    """Each order sorts as it says, and equal sessions by their id."""
    sessions = [
        session(1, startTime="12:30", endTime="13:00", price=Decimal128("20.5")),
        session(2, startTime="13:30", endTime="14:00", price=19.99),
        session(3, createdAt=DatetimeMS(DATE + 1)),
    ]

    assert expected == arranged(*reversed(sessions), order=order)


@given(st.lists(st.tuples(anything, anything, anything), max_size=6), st.sampled_from(Order))
def test_nothing_in_a_session_breaks_a_list(values: list[tuple[Any, Any, Any]], order: Order) -> None:
    """Sessions with values of any type are all listed, in one order whatever order they came in."""
    sessions = [
        session(number, scheduledDate=date, price=price, createdAt=created)
        for number, (date, price, created) in enumerate(values)
    ]

    assert arranged(*sessions, order=order) == arranged(*reversed(sessions), order=order)
    assert list(range(len(values))) == sorted(arranged(*sessions, order=order))


@given(st.integers(0, 30), st.integers(1, 10))
def test_pages_make_up_the_list(count: int, limit: int) -> None:
    """All pages together are the list, and one behind the last is empty."""
    items = [ListedSession({}, {"number": number}) for number in range(count)]
    first = paginate(items, 1, limit)
    pages = [paginate(items, number, limit).items for number in range(1, first.pages + 1)]

    assert items == [item for page in pages for item in page]
    assert all(pages)
    assert (count, []) == (first.total, list(paginate(items, first.pages + 1, limit).items))
