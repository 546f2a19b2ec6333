"""What is read of a server is read again where the connection is lost in the middle."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.stores.connection import Connection
from booking_migrate.stores.mongo.inspection import MongoInspector
from tests.support.fail_commands import failing
from tests.support.pauses import shorten_pauses
from tests.support.server import Server


@pytest.mark.each_value
@pytest.mark.parametrize("command", ["find", "getMore"])
@pytest.mark.parametrize(
    "look",
    [
        pytest.param(lambda inspector: inspector.changes_per_second("bookings"), id="changes"),
        pytest.param(lambda inspector: inspector.oplog_seconds(), id="oplog"),
    ],
)
def test_a_lost_connection(
    server: Server,
    database: Database[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    look: Callable[[MongoInspector], float | None],
    command: str,
) -> None:
    """A look at the oplog survives lost connections, those in the middle of a cursor too, which the driver does not retry."""
    shorten_pauses(monkeypatch, 0.01)
    database.bookings.insert_many([{"clientId": number} for number in range(300)], ordered=False)
    with closing(Connection(server.uri, database.name)) as connection:
        inspector = MongoInspector(connection.collection("bookings"))
        with failing(server, [command], {"closeConnection": True}, times=3):
            seen = look(inspector)

    assert seen is not None
    assert 0 <= seen
