"""Whether the members of a replica set that are up can acknowledge a write."""

import pytest

from booking_migrate.stores.mongo.servers import Member, can_acknowledge


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
