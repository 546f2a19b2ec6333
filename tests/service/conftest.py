"""What the tests of the service share: a small platform, in each of the three states that its bookings can be in.

Database, indexes and service are made once for all tests of a module; each test settles its platform anew.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import httpx
import pytest
from pymongo.database import Database

from booking_migrate.service.plan import ServiceCollections, ServicePlan, create_index, needed_indexes
from booking_migrate.service.repository import Repository
from booking_migrate.stores.mongo.connection import open_collection
from tests.support.platform import Platform, State, user
from tests.support.server import Server
from tests.support.service import Service, serving

Db = Database[dict[str, Any]]


@contextmanager
def a_database(server: Server) -> Iterator[Db]:
    """A database that nobody else uses; dropped in the end."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    client = server.client()
    try:
        yield client[name]
    finally:
        client.drop_database(name)


def open_all(server: Server, database: Db) -> ServiceCollections:
    """The collections of a platform."""
    names = ("bookings", "users", "experts", "booking_migrate_slots")
    return ServiceCollections(*(open_collection(server.client(), database.name, name) for name in names))


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Db]:
    """The module's database."""
    with a_database(server) as found:
        yield found


@pytest.fixture
def empty_database(server: Server) -> Iterator[Db]:
    """A database of the test's own, with nothing in it."""
    with a_database(server) as found:
        yield found


@pytest.fixture
def empty_collections(server: Server, empty_database: Db) -> ServiceCollections:
    """The collections of a platform that is not there yet."""
    return open_all(server, empty_database)


@pytest.fixture(scope="module")
def collections(server: Server, database: Db) -> ServiceCollections:
    """The collections of the module's platform, with their indexes."""
    opened = open_all(server, database)
    for index in needed_indexes(opened, "userId"):
        create_index(index)
    return opened


@pytest.fixture(scope="module")
def repository(collections: ServiceCollections) -> Repository:
    """The repository over them."""
    return Repository(collections, ServicePlan())


@pytest.fixture(scope="module")
def service(repository: Repository) -> Iterator[Service]:
    """The service over the repository, with real HTTP."""
    with serving(repository) as running:
        yield running


@pytest.fixture(scope="module")
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
    """A function that fills the module's database with a platform in one state, and nothing else."""
    return lambda state=State.UNMIGRATED, more=(): Platform.settle(server, database, state, more)


@pytest.fixture(scope="module")
def inputs(server: Server) -> Iterator[Service]:
    """A service for requests that change nothing, over an unmigrated platform that all tests of a module share."""
    with a_database(server) as own:
        opened = open_all(server, own)
        for index in needed_indexes(opened, "userId"):
            create_index(index)
        Platform.settle(server, own, State.UNMIGRATED)
        with serving(Repository(opened, ServicePlan())) as running:
            yield running
