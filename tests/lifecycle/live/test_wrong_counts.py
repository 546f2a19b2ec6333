"""A server whose own count of documents is wrong since a crash: nothing that decides about data believes it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, WriteConcern

from booking_migrate.stores.mongo.connection import open_collection
from booking_migrate.stores.mongo.cutover import MongoLive
from booking_migrate.stores.mongo.rejects import find_records_of
from tests.support.server import free_port, start_mongod, temporary_folder

COUNT = 5
# It makes no checkpoint, so that what it counts is lost, and the documents, which are in the log, are not.
_OPTIONS = ("--syncdelay", "0")


@pytest.fixture
def crashed() -> Iterator[MongoClient[dict[str, Any]]]:
    """A server that was killed when it had stored documents, and runs again."""
    with temporary_folder() as name:
        folder, port = Path(name), free_port()
        process = start_mongod(folder, port, *_OPTIONS)
        with MongoClient[dict[str, Any]]("127.0.0.1", port) as client:
            database = client.get_database("crashed", write_concern=WriteConcern(j=True))
            record = {"source": "bookings", "target": "clients"}
            database.rejected.insert_many([{**record, "bookingId": number} for number in range(COUNT)])
            database.bookings.insert_many([{"_id": number} for number in range(COUNT)])
            database.kept.insert_many([{"_id": number} for number in range(COUNT + 1)])
        process.kill()
        process.wait()
        process = start_mongod(folder, port, *_OPTIONS)
        try:
            with MongoClient[dict[str, Any]]("127.0.0.1", port) as client:
                assert 0 == client["crashed"].rejected.estimated_document_count()
                yield client
        finally:
            process.kill()
            process.wait()


def test_after_a_crash(crashed: MongoClient[dict[str, Any]]) -> None:
    """Rejected records are found, and a copy with more documents than the source differs from it."""
    rejected, bookings, clients = (
        open_collection(crashed, "crashed", name) for name in ("rejected", "bookings", "clients")
    )
    found = list(find_records_of(rejected, range(COUNT), source="bookings", target="clients"))

    live = MongoLive(bookings, clients)

    assert COUNT == len(found)
    assert COUNT == live.count()
    assert not live.has_same_count("kept")
