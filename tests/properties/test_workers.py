"""Whoever handles the chunks, the bytes and the counts are the same."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.database import Database
from typer.testing import CliRunner

from booking_migrate.bson.document import CODEC
from booking_migrate.bson.order import sort_key
from booking_migrate.cli.app import app
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.mongo.raw import find_raw
from tests.lifecycle.conftest import comparable
from tests.properties.test_migration import Document, bookings
from tests.support.cluster import Cluster, running_cluster
from tests.support.crews import MOMENTS, kill_workers, take_for_many
from tests.support.examples import examples

WRITTEN = ("clients", "booking_migrate_rejected")


def _migrated(database: Database[Document], environment: Mapping[str, str], *options: str) -> tuple[Any, ...]:
    """The report and the bytes of a migration from the beginning."""
    for name in database.list_collection_names():
        if name != "bookings":
            database.drop_collection(name)
    arguments = ["migrate", "--target", "clients", "--json", "--quiet", *options]
    with patch.dict("os.environ", environment):
        ended = CliRunner().invoke(app, arguments, prog_name="booking-migrate")
    with closing(Connection(environment["MONGODB_URI"], database.name)) as connection:
        written = [sorted(find_raw(connection.collection(name), {})) for name in WRITTEN]
    # The commands of next steps repeat the options of the run.
    told = comparable(ended.stdout, "next_steps") if ended.stdout else ended.stderr
    return ended.exit_code, told, *written


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Dask cluster of two workers."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@settings(max_examples=examples(3, one_of=20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    documents=bookings(),
    more=bookings(),
    batch=st.integers(1, 6),
    workers=st.sampled_from([2, 3, None]),
    moment=st.sampled_from([None, *MOMENTS]),
    is_indexed=st.booleans(),
)
def test_workers_are_one_process(
    database: Database[Document],
    server_uri: str,
    cluster: Cluster,
    documents: list[Document],
    more: list[Document],
    batch: int,
    workers: int | None,
    moment: str | None,
    *,
    is_indexed: bool,
) -> None:
    """Dirty documents of every type, any batch size, local workers, one of them killed or none, or a cluster's: always the same."""
    database.drop_collection("bookings")
    database.create_collection("bookings")
    known = {sort_key(each["_id"]) for each in documents}
    both = [*documents, *(each for each in more if sort_key(each["_id"]) not in known)]
    if both:
        database["bookings"].with_options(codec_options=CODEC).insert_many(both)
    if is_indexed:
        database.bookings.create_index("clientId")
    environment = {"MONGODB_URI": server_uri, "BOOKING_MIGRATE_DB": database.name}
    with ExitStack() as stack:
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        folder = stack.enter_context(TemporaryDirectory())
        take_for_many(monkeypatch)
        alone = _migrated(database, environment, "--workers", "1")
        if moment is not None and workers is not None:
            kill_workers(monkeypatch, moment, Path(folder, "signs"))
        who = ("--workers", str(workers)) if workers is not None else ("--executor", cluster.executor)
        together = _migrated(database, environment, "--batch-size", str(batch), *who)

    assert alone == together
    assert alone[0] in (0, 3)
