"""A connection is closed without waiting for the driver's own threads."""

from threading import Event
from typing import Any

import pytest
from pymongo import MongoClient

from booking_migrate.stores.connection import Connection


def test_closing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver closes its client, however long it takes to end, and a command is not held up by that."""
    begun, may_end = Event(), Event()
    whole = MongoClient.close

    def close(client: MongoClient[Any]) -> None:
        begun.set()
        may_end.wait()
        whole(client)

    monkeypatch.setattr(MongoClient, "close", close)
    connection = Connection("mongodb://127.0.0.1:1", "shop")
    connection.collection("bookings")
    connection.close()
    connection.close()

    assert begun.is_set()
    may_end.set()
