"""A migration in place comes to the same documents, counts and rejections as one side by side, and can be taken back."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any
from unittest.mock import patch

import bson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.database import Database
from typer.testing import CliRunner

from booking_migrate.bson.document import CODEC
from booking_migrate.bson.order import sort_key
from booking_migrate.cli.app import app
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.mongo.raw import find_raw
from tests.properties.test_migration import Document, bookings
from tests.support.examples import examples
from tests.support.migration import client_documents, migrate


def _command(environment: Mapping[str, str], *arguments: str) -> int:
    # Without the variables of whoever runs the tests.
    with patch.dict("os.environ", environment):
        return CliRunner().invoke(app, list(arguments), prog_name="booking-migrate").exit_code


def _contents(uri: str, database: str, name: str) -> list[bytes]:
    with closing(Connection(uri, database)) as connection:
        return sorted(find_raw(connection.collection(name), {}))


@settings(max_examples=examples(9, one_of=6), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=bookings(), batch=st.integers(1, 5))
def test_in_place_is_side_by_side(
    database: Database[Document], server_uri: str, documents: list[Document], batch: int
) -> None:
    """Dirty documents of every type: same client documents byte for byte, same rejected; proven, and put back whole."""
    for name in database.list_collection_names():
        database.drop_collection(name)
    database.create_collection("bookings")
    if documents:
        database["bookings"].with_options(codec_options=CODEC).insert_many(documents)
    before = _contents(server_uri, database.name, "bookings")
    beside = migrate("bookings", "clients", uri=server_uri, db=database.name)
    rejected = {sort_key(each) for each in database["booking_migrate_rejected"].distinct("bookingId")}
    database["booking_migrate_rejected"].drop()
    environment = {"MONGODB_URI": server_uri, "BOOKING_MIGRATE_DB": database.name}

    done = _command(environment, "migrate", "--in-place", "--batch-size", str(batch), "--quiet")
    proven = _command(environment, "verify", "--in-place", "--recheck", "0", "--quiet")
    written = [raw for raw in _contents(server_uri, database.name, "bookings") if raw not in before]
    left = [raw for raw in _contents(server_uri, database.name, "bookings") if raw in before]
    archived = _contents(server_uri, database.name, "bookings_legacy")
    kept: set[Any] = {sort_key(each) for each in database["booking_migrate_rejected"].distinct("bookingId")}
    undone = _command(environment, "rollback", "--target", "bookings", "--yes", "--quiet")

    assert (3 if beside.counts.rejected else 0, 0) == (done, proven)
    assert sorted(bson.decode_all(client_documents(database["clients"]), CODEC), key=str) == sorted(
        (bson.decode(raw, CODEC) for raw in written), key=str
    )
    assert rejected == kept
    assert before == sorted([*left, *archived])
    assert undone in (0, 12)
    assert before == _contents(server_uri, database.name, "bookings")
