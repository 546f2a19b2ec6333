"""JSON arrays that a pool of workers parses: the same documents and the same errors as in one process."""

from collections.abc import Iterator
from functools import cache
from io import BytesIO
from typing import cast

import pytest

from booking_migrate.errors import BrokenDocument
from booking_migrate.runs.workers import WorkerPool
from booking_migrate.stores.files import json_arrays
from booking_migrate.stores.files.extended_json import to_json
from booking_migrate.stores.files.json_arrays import read_array_rows
from booking_migrate.stores.ports import Pool, StartPool
from tests.benchmarks.data import bookings

_COUNT = 3000


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[StartPool]:
    """Two workers, which are ready; they are used from the first document on."""
    monkeypatch.setattr(json_arrays, "_WORTH_IT", 1)
    monkeypatch.setattr(json_arrays, "_BLOCK", 1 << 14)
    with WorkerPool(2) as started:
        started.submit(int).result()
        yield cache(lambda: cast("Pool", started))


@pytest.mark.parametrize(
    ("begin", "between", "end"), [("[\n", ",\n", "\n]"), ("[", ",", "]"), ("", "\n", "")]
)
def test_workers_read_what_one_process_reads(pool: StartPool, begin: str, between: str, end: str) -> None:
    """The same rows in the same order, with brackets and without."""
    text = (begin + between.join(map(to_json, bookings(_COUNT))) + end).encode()
    rows = list(read_array_rows(BytesIO(text), "b.json", None))

    assert _COUNT == len(rows)
    assert rows == list(read_array_rows(BytesIO(text), "b.json", None, pool))


@pytest.mark.parametrize("problem", ['{"_id": NaN}', '{"_id": 1, "_id": 1}', "[]", '{"_id": {"$oid": "1"}}'])
def test_a_broken_document_is_named_whoever_parses_it(pool: StartPool, problem: str) -> None:
    """Its number and its line count from the beginning of the file, and the first broken one is the one that is named."""
    documents = [to_json(raw) for raw in bookings(_COUNT)]
    documents[2100], documents[2700] = problem, "{"
    text = ("[\n" + ",\n".join(documents) + "\n]").encode()

    with pytest.raises(BrokenDocument) as caught:
        list(read_array_rows(BytesIO(text), "b.json", None, pool))

    assert ("b.json", "document 2101, line 2102") == (caught.value.place, caught.value.position)
