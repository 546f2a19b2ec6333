"""Measure with more data than the server's cache holds: ``python -m tests.benchmarks.beyond_cache``.

Every way is named with its seconds and with how much the server read into its cache meanwhile, as a multiple of the bookings.
Read is whatever the server reads: both sides of a verification, and its log for the changes that a migration brings in.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from tests.benchmarks import alternatives
from tests.benchmarks.__main__ import DATABASE, clear, fill
from tests.benchmarks.measurement import run_program
from tests.support.server import Server, running_server

_CACHE_GIB = 0.25
_OPLOG_MIB = 2048


class Round(NamedTuple):
    """One way, once."""

    seconds: float
    times_read: float
    """The bytes read into the cache, divided by those of the bookings."""


def main() -> None:
    """Measure what was asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.beyond_cache", description=__doc__)
    parser.add_argument("--bookings", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    measured: defaultdict[str, list[Round]] = defaultdict(list)
    with running_server(cache_gib=_CACHE_GIB, oplog_mib=_OPLOG_MIB) as server:
        fill(server, arguments.bookings)
        data = server.client()[DATABASE].command("collStats", "bookings")["size"]
        for number in range(arguments.rounds):
            for name, seconds in _ways(server):
                before = _read_into_cache(server)
                taken = seconds()
                one = Round(taken, (_read_into_cache(server) - before) / data)
                measured[name].append(one)
                sys.stderr.write(
                    f"round {number + 1}, {name}: {one.seconds:.1f} s, {one.times_read:.2f} read\n"
                )
        server.client().drop_database(DATABASE)
    sys.stdout.write(_table(measured, arguments.bookings, data))


def _ways(server: Server) -> list[tuple[str, Callable[[], float]]]:
    """What is measured, in this order: verify is about what the migration before it left."""
    database = server.client()[DATABASE]

    def alone(do: Callable[[alternatives.Db], float]) -> Callable[[], float]:
        def measure() -> float:
            clear(server)
            return do(database)

        return measure

    def tool(*arguments: str, fresh: bool = True) -> Callable[[], float]:
        def measure() -> float:
            if fresh:
                clear(server)
            command, *options = arguments
            return run_program([command, "--quiet", "--uri", server.uri, "--db", DATABASE, *options]).seconds

        return measure

    return [
        ("the server's own copy ($out)", alone(alternatives.copy_on_the_server)),
        ("a copy through a client", alone(alternatives.copy_through_a_client)),
        ("dry-run", tool("dry-run")),
        ("migrate", tool("migrate")),
        ("verify", tool("verify", fresh=False)),
    ]


def _read_into_cache(server: Server) -> int:
    """How many bytes the server has read into its cache since it began."""
    status = server.client().admin.command("serverStatus")
    return int(status["wiredTiger"]["cache"]["bytes read into cache"])


def _table(measured: dict[str, list[Round]], count: int, data: int) -> str:
    size = f"{data / (1 << 20):,.0f} MiB, a cache of {_CACHE_GIB * 1024:.0f} MiB"
    lines = [
        f"| {count:,} bookings, {size} | seconds | times the copy | read into the cache, times the bookings |",
        "| --- | ---: | ---: | ---: |",
    ]
    copy = median(each.seconds for each in next(iter(measured.values())))
    for name, rounds in measured.items():
        seconds = median(each.seconds for each in rounds)
        times = median(each.times_read for each in rounds)
        lines.append(f"| {name} | {seconds:.1f} | {seconds / copy:.2f} | {times:.2f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
