"""JSON lines that a pool of workers parses, and writes: the same bytes and the same errors as in one process."""

import json
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import cast

import pytest

from booking_migrate.errors import BrokenDocument
from booking_migrate.migrate.pipeline import migrate
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.workers import WorkerPool
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.files import json_lines, text_writer
from booking_migrate.stores.files.extended_json import to_json
from booking_migrate.stores.files.json_lines import read_line_rows
from booking_migrate.stores.open import open_reader, open_target
from booking_migrate.stores.places import parse_place
from booking_migrate.stores.ports import Pool, StartPool
from tests.benchmarks.data import bookings

_COUNT = 3000


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[StartPool]:
    """Two workers, which are ready; they are used from the first block on."""
    monkeypatch.setattr(json_lines, "_WORTH_IT", 1)
    monkeypatch.setattr(text_writer, "_WORTH_IT", 1)
    monkeypatch.setattr(json_lines, "_BLOCK", 1 << 14)
    with WorkerPool(2) as started:
        started.submit(int).result()
        yield cache(lambda: cast("Pool", started))


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_the_number_of_workers_makes_no_difference(tmp_path: Path, pool: StartPool, suffix: str) -> None:
    """Parsed and written by this process, or by workers, a migration has the same bytes; one booking of them is rejected."""
    source = tmp_path / "bookings.jsonl"
    lines = [to_json(raw) for raw in bookings(_COUNT)]
    lines[1700] = lines[1700].replace('"sessionType":"chat"', '"sessionType":"letter"')
    source.write_text("\n".join(lines), encoding="utf-8")
    results = []
    for name, start in (("one", None), ("several", pool)):
        target = tmp_path / f"{name}.{suffix}"
        with closing(open_reader(parse_place(str(source)), Connection(), start_pool=start)) as reader:
            outcome = migrate(
                MigrationPlan(workers=1),
                reader,
                open_target(
                    parse_place(str(target)), Connection(), source_name="bookings.jsonl", start_pool=start
                ),
            )
        assert (_COUNT, 1) == (outcome.counts.scanned, outcome.counts.rejected)
        results.append(target.read_bytes())

    one, several = results
    assert one == several
    assert one.count(b'"legacyBookingId"') == _COUNT - 1


def test_a_broken_line_is_named_whoever_parses_it(pool: StartPool) -> None:
    """The line's number counts from the beginning of the file, and the first broken line is the one that is named."""
    lines = [f'{{"_id": {number}}}' for number in range(5000)]
    lines[3210] = '{"_id": 1, "a": {"b": NaN}}'
    lines[4100] = "{"
    text = "\n".join(lines).encode()

    with pytest.raises(BrokenDocument) as caught:
        list(read_line_rows(BytesIO(text), "b.jsonl", None, pool))

    assert ("b.jsonl", "line 3211") == (caught.value.place, caught.value.position)


@pytest.mark.parametrize(
    "first",
    [
        '{"_id": "6553f10062656e6368000000"}',
        '{"_id": {"$oid": "6553f10062656e6368000000"}}',
        '{"createdAt": "2026-01-01T10:00:00Z", "price": {"$numberDecimal": "1"}}',
    ],
)
def test_what_the_first_document_settles_holds_for_workers(pool: StartPool, first: str) -> None:
    """Plain, extended, or plain beside a few wrappers: the first document says so, after blank lines too."""
    lines = ["", first, *(json.dumps({"_id": f"{number:024x}", "n": number}) for number in range(3000))]
    text = "\n".join(lines).encode()

    assert list(read_line_rows(BytesIO(text), "b.jsonl", None)) == list(
        read_line_rows(BytesIO(text), "b.jsonl", None, pool)
    )
