"""Measure the program and print a table: ``python -m tests.benchmarks --bookings 1000000``.

Every way is measured at a tenth of the bookings and at all of them, so that the table shows whether memory grows.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from bson.raw_bson import RawBSONDocument

from tests.benchmarks.data import bookings, write_dump, write_lines
from tests.benchmarks.measurement import ConversionCost, conversion_cost, run_program
from tests.support.readme import README, with_block
from tests.support.server import Server, running_server

_DATABASE = "benchmark"
_INSERTED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    way: str
    bookings: int
    per_second: float
    peak_mib: float


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--bookings", type=int, default=1_000_000)
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    cost = conversion_cost()
    rows: list[Row] = []
    for count in (arguments.bookings // 10, arguments.bookings):
        for row in _rows(count):
            sys.stderr.write(f"{row.way}, {row.bookings}: {row.per_second:.0f}/s, {row.peak_mib:.0f} MiB\n")
            rows.append(row)
    table = _table(rows, cost)
    sys.stdout.write(table)
    if arguments.readme:
        README.write_text(with_block("figures", table), encoding="utf-8")
    if arguments.json:
        figures = {"machine": _machine(), "conversion": asdict(cost), "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _rows(count: int) -> Iterator[Row]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        ways: list[tuple[str, str, Callable[[Path, int], None]]] = [
            ("BSON file to BSON file, migrate", "bson", write_dump),
            ("JSON lines to JSON lines, migrate", "jsonl", write_lines),
        ]
        for way, suffix, write in ways:
            source, target = folder / f"bookings.{suffix}", folder / f"clients.{suffix}"
            write(source, count)
            yield _row(way, count, ["--source", str(source), "--target", str(target)])
            source.unlink()
            target.unlink()
    with running_server() as server:
        _fill(server, count)
        places = ["--uri", server.uri, "--db", _DATABASE]
        yield _row("MongoDB, dry-run", count, places, "dry-run")
        yield _row("MongoDB to MongoDB, migrate", count, places)
        yield _row("MongoDB to MongoDB, verify", count, places, "verify")
        yield _row("MongoDB to MongoDB, verify, two workers", count, [*places, "--workers", "2"], "verify")


def _row(way: str, count: int, places: Sequence[str], command: str = "migrate") -> Row:
    measured = run_program([command, "--quiet", *places])
    return Row(way, count, count / measured.seconds, measured.peak_mib)


def _fill(server: Server, count: int) -> None:
    """Put the bookings into a collection with an index on `clientId`, as the old application has it."""
    collection = server.client()[_DATABASE]["bookings"]
    remaining = map(RawBSONDocument, bookings(count))
    while some := list(islice(remaining, _INSERTED_AT_ONCE)):
        collection.insert_many(some, ordered=False)
    collection.create_index("clientId")


def _table(rows: Sequence[Row], cost: ConversionCost) -> str:
    lines = [
        "| way | bookings | bookings per second | peak memory |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {row.way} | {row.bookings:,} | {row.per_second:,.0f} | {row.peak_mib:.0f} MiB |"
            for row in rows
        ),
        "",
        f"Reading, checking and converting a booking takes {cost.convert:.1f} µs, {cost.ratio:.2f} times what decoding and",
        f"encoding it takes ({cost.decode_and_encode:.1f} µs), and {cost.convert_thoroughly:.1f} µs if it is an unusual one;",
        f"consolidating takes {cost.consolidate:.1f} µs more.",
        f"Measured on {_machine()}.",
    ]
    return "\n".join(lines) + "\n"


def _machine() -> str:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in _cpu_info().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{_cores()} cores ({cpu}), {platform.system()}, CPython {platform.python_version()}"


def _cores() -> int:
    return _cpu_info().count("processor\t")


def _cpu_info() -> str:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
