"""A server that groups bookings: what `GroupingServer` promises, on a real one."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.domain.contract import Contract
from booking_migrate.domain.rejection import Reason
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.grouping import ClientRange, PlainRules
from booking_migrate.stores.mongo.client_index import ensure_client_index
from booking_migrate.stores.mongo.grouping import MongoGrouping
from tests.support.booking_lines import booking, client
from tests.support.bookings import ABSENT

Db = Database[dict[str, Any]]
Make = Callable[..., MongoGrouping]

EVERYBODY = ClientRange(ObjectId(bytes(12)), ObjectId(bytes([255] * 12)), is_groupable=True)
_MEBIBYTE = 1024 * 1024


@pytest.fixture
def make(database: Db, server_uri: str) -> Iterator[Make]:
    """A function that makes a server over the test's bookings, with an index and an empty target."""
    database.bookings.create_index("clientId")
    with closing(Connection(server_uri, database.name)) as connection:

        def made(accepted: frozenset[Reason] = frozenset(), **contract: Any) -> MongoGrouping:
            source, target = connection.collection("bookings"), connection.collection("clients")
            ensure_client_index(target)
            rules = PlainRules(Contract(**contract), accepted, 8 * _MEBIBYTE)
            return MongoGrouping(source, target, rules, connection.address("bookings"))

        yield made


def _merged(server: MongoGrouping, database: Db) -> list[ObjectId]:
    """The clients that get documents."""
    assert server.merge(EVERYBODY, server.clients(EVERYBODY), "run") is None
    return [document["clientId"] for document in database.clients.find().sort("clientId")]


@pytest.mark.parametrize(
    ("changes", "contract", "accepted"),
    [
        ({"currency": "EUR"}, {"currencies": ["INR"]}, Reason.CURRENCY_NOT_ALLOWED),
        ({"sessionType": "fax"}, {}, Reason.SESSION_TYPE_NOT_ALLOWED),
        ({"duration": 14}, {}, Reason.DURATION_TOO_SHORT),
        ({"startTime": "24:00"}, {}, Reason.TIME_INVALID),
        ({"status": "lost"}, {}, Reason.STATUS_NOT_ALLOWED),
        ({"price": -1}, {}, Reason.PRICE_NEGATIVE),
        ({"paymentStatus": "lost"}, {}, Reason.PAYMENT_STATUS_NOT_ALLOWED),
        ({"notes": "x" * 23}, {"maximum_notes_length": 22}, Reason.NOTES_TOO_LONG),
        ({"cancellationReason": "x" * 501}, {}, Reason.CANCELLATION_REASON_TOO_LONG),
        ({"cancelledBy": "nobody"}, {}, Reason.CANCELLED_BY_NOT_ALLOWED),
        ({"refundAmount": -5}, {}, Reason.REFUND_AMOUNT_NEGATIVE),
        ({"clientUserId": "123"}, {}, Reason.USER_ID_INVALID),
        ({"expertEmail": "nobody"}, {}, Reason.EMAIL_INVALID),
    ],
    ids=lambda value: value.value if isinstance(value, Reason) else "",
)
def test_the_contract_is_checked_unless_waived(
    database: Db, make: Make, changes: dict[str, Any], contract: dict[str, Any], accepted: Reason
) -> None:
    """One booking that breaks a rule leaves its client to the stream engine, unless the rule is waived."""
    database.bookings.insert_many(map(booking, range(8)))
    database.bookings.insert_one(booking(8, **changes))
    others = [client(1), client(2), client(3)]

    assert others == _merged(make(**contract), database)
    if {"clientUserId", "currency"} & changes.keys():
        # Waived it is no fault any more, but the client's bookings do not agree on it.
        database.bookings.update_many({"clientId": client(0)}, {"$set": changes})
    database.clients.drop()
    assert [client(0), *others] == _merged(make(frozenset({accepted}), **contract), database)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": ABSENT},
        {"clientEmail": None},
        {"expertUserId": ABSENT},
        {"createdAt": ABSENT},
        {"sessions": 1},
    ],
    ids=lambda changes: f"{next(iter(changes))}",
)
def test_what_is_lacking_is_left(database: Db, make: Make, changes: dict[str, Any]) -> None:
    """A client with a booking that has something to add or to look up, or that is none, is left to the stream engine."""
    database.bookings.insert_many(map(booking, range(8)))
    database.bookings.insert_one(booking(8, **changes))

    assert [client(1), client(2), client(3)] == _merged(make(), database)


def test_clients_too_large_for_a_group(database: Db, make: Make) -> None:
    """A client whose bookings are more than the server can collect is left, and the others of its range are not."""
    database.bookings.insert_many(map(booking, range(8)))
    for number in range(10):
        large = {"one": "x" * 12 * _MEBIBYTE}
        database.bookings.insert_one(booking(100 + number, clientId=client(2), **large))

    assert [client(0), client(1), client(3)] == _merged(make(), database)


def test_nothing_is_overwritten(database: Db, make: Make) -> None:
    """A document that is in the target already stays, and what went wrong is told."""
    database.bookings.insert_many(map(booking, range(8)))
    server = make()
    database.clients.insert_one({"_id": 1, "clientId": client(0), "sessions": []})
    problem = server.merge(EVERYBODY, server.clients(EVERYBODY), "run")

    assert problem is not None
    assert "DuplicateKey" in problem
    assert [{"_id": 1, "clientId": client(0), "sessions": []}] == list(database.clients.find({"_id": 1}))


def test_a_client_that_has_changed_is_left(database: Db, make: Make) -> None:
    """A client that has another number of documents by now than when they were counted gets no document."""
    database.bookings.insert_many(map(booking, range(8)))
    server = make()
    counted = server.clients(EVERYBODY)
    database.bookings.insert_one(booking(8))

    assert server.merge(EVERYBODY, counted, "run") is None
    assert [client(1), client(2), client(3)] == sorted(database.clients.distinct("clientId"))


@pytest.mark.parametrize("size", [1, 3, 5, 100])
def test_ranges(database: Db, make: Make, size: int) -> None:
    """Ranges follow each other without a gap, cut no client in two, and are found by counting bookings."""
    database.bookings.insert_many(booking(number, clientId=client(number % 4)) for number in range(18))
    server = make()
    ranges = list(server.ranges(size))

    assert (EVERYBODY.first, EVERYBODY.end) == (ranges[0].first, ranges[-1].end)
    assert [each.end for each in ranges[:-1]] == [each.first for each in ranges[1:]]
    counts = [[each.documents for each in server.clients(part)] for part in ranges]
    assert [5, 5, 4, 4] == [count for part in counts for count in part]
    assert [] == [
        part for part, each in zip(counts, ranges, strict=True) if each.is_groupable and sum(part) > size
    ]
