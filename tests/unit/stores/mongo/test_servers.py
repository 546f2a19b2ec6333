"""What the states of servers mean, and what is made of the driver's errors about them."""

from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError

from booking_migrate.errors import AuthenticationFailed, ServerUnreachable
from booking_migrate.stores.mongo.servers import Member, can_acknowledge, connection_problem


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("PRIMARY", True),
        ("PRIMARY SECONDARY ARBITER", True),
        ("PRIMARY DOWN ARBITER", False),
        ("PRIMARY RECOVERING ARBITER", False),
        ("PRIMARY SECONDARY DOWN", True),
        ("PRIMARY DOWN DOWN", False),
        ("PRIMARY ARBITER", True),
        ("PRIMARY SECONDARY DOWN ARBITER ARBITER", False),
        ("PRIMARY SECONDARY SECONDARY DOWN DOWN", True),
    ],
)
def test_a_majority_that_holds_data(states: str, expected: bool) -> None:
    """A majority of all members counts, of which arbiters acknowledge nothing; all that hold data are enough."""
    members = [Member(f"db{number}", state) for number, state in enumerate(states.split())]

    assert expected is can_acknowledge(members)


def test_a_refused_login_that_the_driver_remembers() -> None:
    """A server that the driver takes for unknown because of a refused login is one that refuses the login."""
    reason = "a:1: Authentication failed., full error: {'code': 18, 'codeName': 'AuthenticationFailed'}, Timeout: 1s"
    other = "a:1: Something else, full error: {'secret': 1}, Timeout: 1s"
    with MongoClient[dict[str, Any]]("mongodb://127.0.0.1:1/db", connect=False) as client:
        found = connection_problem(ServerSelectionTimeoutError(reason), client.db.bookings)
        unlike = connection_problem(ServerSelectionTimeoutError(other), client.db.bookings)

    assert isinstance(found, AuthenticationFailed)
    assert isinstance(unlike, ServerUnreachable)
    assert unlike.message.endswith(": Something else")
