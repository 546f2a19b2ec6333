"""What the tests of the service share: a small platform, in each of the three states that its bookings can be in."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import httpx
import pytest
from pymongo.database import Database

from booking_migrate.service.indexes import create_index, needed_indexes
from booking_migrate.service.plan import ServiceCollections, ServicePlan
from booking_migrate.service.repository import Repository
from booking_migrate.stores.mongo.connection import open_collection
from tests.support.platform import Platform, State, user
from tests.support.server import Server
from tests.support.service import Service, serving

Db = Database[dict[str, Any]]


@pytest.fixture
def collections(server: Server, database: Db) -> ServiceCollections:
    """The collections of an empty platform."""
    return open_all(server, database.name)


@pytest.fixture
def repository(collections: ServiceCollections) -> Repository:
    """The repository over them, with its indexes."""
    for index in needed_indexes(collections, "userId"):
        create_index(index)
    return Repository(collections, ServicePlan())


@pytest.fixture
def service(repository: Repository) -> Iterator[Service]:
    """The service over the repository, with real HTTP."""
    with serving(repository) as running:
        yield running


@pytest.fixture
def client_of(service: Service) -> Iterator[Callable[[int], httpx.Client]]:
    """A function that gives the client of a user, by the user's number."""
    with ExitStack() as opened:
        yield cache(lambda number: opened.enter_context(service.client(user(number))))


@pytest.fixture(params=State)
def state(request: pytest.FixtureRequest) -> State:
    """How far the migration is."""
    chosen: State = request.param
    return chosen


@pytest.fixture
def platform(server: Server, database: Db) -> Callable[..., Platform]:
    """A function that fills the database with a platform in one state."""
    return lambda state=State.UNMIGRATED, more=(): Platform.settle(server, database, state, more)


@pytest.fixture(scope="module")
def inputs(server: Server) -> Iterator[Service]:
    """A service for requests that change nothing, over an unmigrated platform; one for all tests of a module."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    client = server.client()
    opened = open_all(server, name)
    for index in needed_indexes(opened, "userId"):
        create_index(index)
    Platform.settle(server, client[name], State.UNMIGRATED)
    try:
        with serving(Repository(opened, ServicePlan())) as running:
            yield running
    finally:
        client.drop_database(name)


def open_all(server: Server, database: str) -> ServiceCollections:
    """The collections of a platform."""
    names = ("bookings", "users", "experts", "booking_migrate_slots")
    return ServiceCollections(*(open_collection(server.client(), database, name) for name in names))
