"""What all tests share: a real MongoDB server, and a database of one's own in it."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database

from tests.support.server import Server, running_server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A real server, started when the first test asks for it and stopped at the end of the run."""
    with running_server() as running:
        yield running


@pytest.fixture
def database(server: Server) -> Iterator[Database[dict[str, Any]]]:
    """A database that nobody else uses; dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    client = server.client()
    yield client[name]
    client.drop_database(name)
