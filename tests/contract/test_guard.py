"""The guard of a live collection: old bookings are refused, whatever has become of the collection's own validator."""

from itertools import product
from typing import Any

import pytest
from bson import json_util
from pymongo.database import Database
from pymongo.errors import WriteError

from booking_migrate.stores.mongo.cutover import MongoLive
from tests.support.booking_lines import booking, client

Db = Database[dict[str, Any]]

OWN = {"sessions": {"$exists": False}}
"""A validator for old bookings, which refuses client documents where it is enforced."""

FOR_CLIENTS = {"totalSessions": {"$gte": 0}}
"""A validator that names a field of client documents, and so is carried."""

DOCUMENT = {"clientId": client(1), "sessions": []}
MODES = [*product(["strict", "moderate", "off"], ["error", "warn"])]


def live_of(database: Db) -> MongoLive:
    """The parts of a cut-over after the swap: the live collection has the source's name."""
    return MongoLive(database.bookings, database.clients)


def is_taken(database: Db, document: dict[str, Any]) -> bool:
    """Whether the live collection takes a document of somebody else."""
    try:
        database.bookings.insert_one(dict(document))
    except WriteError:
        return False
    return True


@pytest.mark.parametrize("is_lenient", [True, False])
@pytest.mark.parametrize(("level", "action"), MODES)
def test_it_is_enforced_and_the_own_validation_is_as_before(
    database: Db, level: str, action: str, is_lenient: bool
) -> None:
    """It refuses old bookings; the own validator refuses what it did before, and comes back with its level and its action."""
    own: dict[str, Any] = {"validator": OWN, "validationLevel": level, "validationAction": action}
    database.create_collection("bookings", **own)
    took = is_taken(database, DOCUMENT)
    target = MongoLive(database.source, database.bookings)
    target.guard(is_lenient=is_lenient)

    assert not is_taken(database, booking(1))
    assert took == is_taken(database, DOCUMENT)
    live_of(database).guard(is_live=True)
    assert not is_taken(database, booking(1))
    live_of(database).unguard(is_live=True)
    assert own == database.bookings.options()


@pytest.mark.parametrize(("level", "action"), MODES)
def test_it_is_enforced_beside_a_validator_that_is_carried(database: Db, level: str, action: str) -> None:
    """A validator that a cut-over carries from the old collection, in whatever mode, does not switch it off."""
    own: dict[str, Any] = {"validator": FOR_CLIENTS, "validationLevel": level, "validationAction": action}
    database.create_collection("bookings")
    live = live_of(database)
    live.guard(is_live=True)
    live.carry_validation(json_util.dumps({"options": own}))

    assert not is_taken(database, booking(1))
    assert is_taken(database, DOCUMENT) is (level == "off" or action == "warn")
    live.unguard(is_live=True)
    assert own == database.bookings.options()


@pytest.mark.parametrize("mode", [{"validationLevel": "off"}, {"validationAction": "warn"}])
def test_it_is_enforced_again(database: Db, mode: dict[str, str]) -> None:
    """Where its validator is there, and somebody has switched it off, raising it once more lets it refuse old bookings again."""
    own: dict[str, Any] = {"validator": FOR_CLIENTS, "validationLevel": "moderate"}
    database.create_collection("bookings", **own)
    live = live_of(database)
    live.guard(is_live=True)
    database.command({"collMod": "bookings", **mode})
    assert is_taken(database, booking(1))
    live.guard(is_live=True)

    assert not is_taken(database, booking(2))
    live.unguard(is_live=True)
    assert own.items() <= database.bookings.options().items()
