"""What the tests of the service share: a small platform, in each of the three states that its bookings can be in."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.service.indexes import create_index, needed_indexes
from booking_migrate.service.plan import ServiceCollections, ServicePlan
from booking_migrate.service.repository import Repository
from booking_migrate.stores.mongo.connection import open_collection
from tests.support.platform import Platform, State
from tests.support.server import Server

Db = Database[dict[str, Any]]


@pytest.fixture
def collections(server: Server, database: Db) -> ServiceCollections:
    """The collections of an empty platform."""
    names = ("bookings", "users", "experts", "booking_migrate_slots")
    return ServiceCollections(*(open_collection(server.client(), database.name, name) for name in names))


@pytest.fixture
def repository(collections: ServiceCollections) -> Repository:
    """The repository over them, with its indexes."""
    for index in needed_indexes(collections, "userId"):
        create_index(index)
    return Repository(collections, ServicePlan())


@pytest.fixture(params=State)
def state(request: pytest.FixtureRequest) -> State:
    """How far the migration is."""
    chosen: State = request.param
    return chosen


@pytest.fixture
def platform(server: Server, database: Db) -> Callable[..., Platform]:
    """A function that fills the database with a platform in one state."""
    return lambda state=State.UNMIGRATED, more=(): Platform.settle(server, database, state, more)
