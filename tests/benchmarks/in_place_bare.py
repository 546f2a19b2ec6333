"""A migration in place and its rollback beside bare transactions of the same writes: ``python -m tests.benchmarks.in_place_bare``.

Each side works on a fresh copy of the same bookings. The bare transactions (`transactions`) check, note, count and prove nothing: they
are the least that this takes on the machine, at this number of bookings. A million of them take less than five minutes on a quiet
machine of two cores; when `--seconds` are over, no further step begins, and what was measured is printed.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pymongo.database import Database

from tests.benchmarks.__main__ import DATABASE, fill
from tests.benchmarks.measurement import Measurement, run_program
from tests.benchmarks.transactions import Transactions
from tests.support.server import Server, running_server

_COLLECTION = "in_place"
_THERE, _BACK = "there", "back"
_TICKS = os.sysconf("SC_CLK_TCK")


class _Row(NamedTuple):
    name: str
    seconds: float
    server: float
    """Seconds of the processor that the server has taken."""

    peak_mib: float | None

    @property
    def direction(self) -> str:
        return self.name.rpartition(" ")[2]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.in_place_bare", description=__doc__)
    parser.add_argument("--bookings", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=240, help="begin no further step after this time")
    parser.add_argument("--cache", type=float, default=2.0, help="the server's cache, in GiB")
    arguments = parser.parse_args()
    rows = []
    began = time.monotonic()
    with running_server(cache_gib=arguments.cache) as server:
        fill(server, arguments.bookings)
        sys.stderr.write(f"filled after {time.monotonic() - began:.0f} s\n")
        for row in _rows(server):
            rows.append(row)
            sys.stderr.write(f"{row.name}: {row.seconds:.1f} s, after {time.monotonic() - began:.0f} s\n")
            if time.monotonic() - began > arguments.seconds:
                break
    sys.stdout.write(
        f"| {arguments.bookings:,} bookings | seconds | bookings per second | times the bare ones | server's processor time | memory |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
    )
    bare = {row.direction: row.seconds for row in rows if row.peak_mib is None}
    for row in rows:
        times = row.seconds / bare[row.direction]
        memory = "" if row.peak_mib is None else f"{row.peak_mib:.0f} MiB"
        sys.stdout.write(
            f"| {row.name} | {row.seconds:.1f} | {arguments.bookings / row.seconds:,.0f} | {times:.2f}"
            f" | {row.server / arguments.bookings * 1e6:.0f} µs a booking | {memory} |\n"
        )


def _rows(server: Server) -> Iterator[_Row]:
    yield from _bare(server)
    _copy(server.client()[DATABASE])
    place = ("--uri", server.uri, "--db", DATABASE, "--quiet")
    there = ("migrate", "--in-place", "--source", _COLLECTION)
    back = ("rollback", "--target", _COLLECTION, "--yes")
    yield _measured(server, f"migrate --in-place, {_THERE}", lambda: run_program([*there, *place]))
    yield _measured(server, f"rollback of it, {_BACK}", lambda: run_program([*back, *place]))


def _bare(server: Server) -> Iterator[_Row]:
    database = server.client()[DATABASE]
    _copy(database)
    bare = Transactions(database, _COLLECTION)
    yield _measured(server, f"bare transactions, {_THERE}", lambda: Measurement(bare.move(), None))
    yield _measured(server, f"bare transactions, {_BACK}", lambda: Measurement(bare.move_back(), None))


def _copy(database: Database[dict[str, Any]]) -> None:
    """Make a fresh copy of the bookings, and nothing else."""
    for name in database.list_collection_names():
        if name != "bookings":
            database.drop_collection(name)
    database["bookings"].aggregate([{"$out": _COLLECTION}])
    database[_COLLECTION].create_index("clientId")


def _measured(server: Server, name: str, work: Callable[[], Measurement]) -> _Row:
    before = _processor_time(server)
    done = work()
    return _Row(name, done.seconds, _processor_time(server) - before, done.peak_mib)


def _processor_time(server: Server) -> float:
    """The seconds of the processor that the server has taken since its start."""
    pid = int(server.client().admin.command("serverStatus")["pid"])
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()
