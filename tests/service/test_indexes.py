"""Requests are answered by index, and indexes are created only when somebody asks for it."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.errors import DuplicateClientDocuments
from booking_migrate.service.plan import ServiceCollections, create_index, missing_indexes, needed_indexes
from booking_migrate.service.snapshot import blocking_query, booking_query, queries_by_expert
from booking_migrate.stores.mongo.raw import SIMPLE, any_of
from tests.support.platform import FIRST_DAY, Platform, State, booking_id, expert, user

Db = Database[dict[str, Any]]


def stages(plan: Any) -> set[str]:
    """The names of all stages of an explained plan."""
    if isinstance(plan, dict):
        own = {plan["stage"]} if "stage" in plan else set()
        return own.union(*(stages(inner) for inner in plan.values()))
    return set().union(*map(stages, plan)) if isinstance(plan, list) else set()


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(any_of("clientId", [user(0)]), id="a client's bookings"),
        pytest.param(queries_by_expert([expert(0)], None, None)[0], id="an expert's old bookings"),
        pytest.param(queries_by_expert([expert(0)], None, None)[1], id="an expert's sessions"),
        pytest.param(
            queries_by_expert([expert(0)], FIRST_DAY, None)[1], id="an expert's sessions from a day on"
        ),
        pytest.param(blocking_query(expert(0), FIRST_DAY), id="what is in the way"),
        pytest.param(booking_query([booking_id(0), "an id as text"]), id="an old booking's session"),
    ],
)
def test_lists_and_conflict_checks_use_an_index(
    collections: ServiceCollections,
    platform: Callable[..., Platform],
    state: State,
    query: Any,
) -> None:
    """No request reads a collection from end to end."""
    platform(state)
    explained = collections.bookings.find(query, collation=SIMPLE).explain()
    found = stages(explained["queryPlanner"]["winningPlan"])

    assert "IXSCAN" in found
    assert "COLLSCAN" not in found


def test_a_conflict_check_reads_what_is_near(
    collections: ServiceCollections, platform: Callable[..., Platform]
) -> None:
    """The range of dates is part of the index's bounds, in both shapes."""
    platform(State.HALF)
    statistics = collections.bookings.find(blocking_query(expert(0), FIRST_DAY), collation=SIMPLE).explain()

    assert statistics["executionStats"]["totalDocsExamined"] <= 8


def test_nothing_is_created_twice(empty_collections: ServiceCollections, empty_database: Db) -> None:
    """What serves the same is not created again, whoever made it."""
    empty_database.bookings.create_index([("clientId", 1), ("createdAt", 1)])
    empty_database.bookings.create_index(
        "clientId", unique=True, partialFilterExpression={"sessions": {"$exists": True}}
    )
    needed = needed_indexes(empty_collections, "userId")
    missing = missing_indexes(needed)

    assert 4 == len(missing)
    for index in missing:
        create_index(index)
    assert [] == missing_indexes(needed)


@pytest.mark.parametrize(
    "options", [{"sparse": True}, {"partialFilterExpression": {"price": 1}}, {"collation": {"locale": "de"}}]
)
def test_what_serves_less_does_not_count(
    empty_collections: ServiceCollections, empty_database: Db, options: dict[str, Any]
) -> None:
    """An index that leaves documents out, or compares otherwise, does not do."""
    empty_database.bookings.create_index([("expertId", 1), ("scheduledDate", 1)], **options)

    assert 6 == len(missing_indexes(needed_indexes(empty_collections, "userId")))


def test_two_documents_of_a_client(empty_collections: ServiceCollections, empty_database: Db) -> None:
    """The unique index is refused, and the client named, where a client has two documents already."""
    empty_database.bookings.insert_many([{"clientId": 7, "sessions": []} for _ in range(2)])
    empty_database.bookings.insert_many([{"clientId": 8} for _ in range(2)])

    with pytest.raises(DuplicateClientDocuments) as refused:
        create_index(needed_indexes(empty_collections, "userId")[0])

    assert "7 has those with _id " in str(refused.value)
