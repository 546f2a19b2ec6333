"""The worker matrix: ``python -m tests.benchmarks.workers --bookings 300000``.

`migrate` with one, two and four processes, also over a slow link (``--delay``), and with a Dask cluster of two workers, beside a copy
through a client, in turn over several rounds. With ``--against DIRECTORY`` the program in another checkout is measured in turn with
this one.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.benchmarks import alternatives
from tests.benchmarks.__main__ import DATABASE, clear, fill
from tests.benchmarks.measurement import ROOT, Measurement, run_program
from tests.benchmarks.slow_link import slow_link
from tests.support.cluster import running_cluster
from tests.support.server import Server, running_server

_COPY = "a copy through a client"


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.workers", description=__doc__)
    parser.add_argument("--bookings", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--against", type=Path, help="another checkout, whose program is measured in turn")
    parser.add_argument(
        "--delay", type=float, default=5, metavar="MS", help="of a slow link; 0 leaves it out"
    )
    parser.add_argument("--no-cluster", action="store_true", help="leave the Dask cluster out")
    arguments = parser.parse_args()
    measured: defaultdict[str, list[Measurement]] = defaultdict(list)
    with ExitStack() as stack:
        server = stack.enter_context(running_server(cache_gib=2.0))
        fill(server, arguments.bookings)
        ways = _ways(server, arguments.workers, arguments.against)
        if arguments.delay:
            uri = stack.enter_context(slow_link(server.uri, arguments.delay))
            for count in arguments.workers:
                ways[f"--workers {count}, {arguments.delay:g} ms away"] = _migrate(
                    uri, ROOT, "--workers", str(count)
                )
        if not arguments.no_cluster:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            cluster = stack.enter_context(running_cluster(folder))
            ways["--executor dask://..., two workers"] = _migrate(
                server.uri, ROOT, "--executor", cluster.executor
            )
        for number in range(arguments.rounds):
            for name, measure in ways.items():
                clear(server)
                one = measure()
                measured[name].append(one)
                memory = "" if one.peak_mib is None else f", {one.peak_mib:.0f} MiB"
                sys.stderr.write(f"round {number + 1}, {name}: {one.seconds:.2f} s{memory}\n")
    sys.stdout.write(
        f"| {arguments.bookings:,} bookings | seconds | of rounds | times the copy | peak memory |\n"
    )
    sys.stdout.write("| --- | ---: | ---: | ---: | ---: |\n")
    copy = median(each.seconds for each in measured[_COPY])
    for name, rounds in measured.items():
        seconds = sorted(each.seconds for each in rounds)
        peak = max((each.peak_mib for each in rounds if each.peak_mib is not None), default=None)
        shown = "" if peak is None else f"{peak:.0f} MiB"
        times = median(seconds) / copy
        span = f"{seconds[0]:.1f} to {seconds[-1]:.1f}"
        sys.stdout.write(f"| {name} | {median(seconds):.1f} | {span} | {times:.2f} | {shown} |\n")


def _migrate(uri: str, root: Path, *options: str) -> Callable[[], Measurement]:
    places = ("--uri", uri, "--db", DATABASE)
    return lambda: run_program(["migrate", "--quiet", *places, *options], root=root)


def _ways(server: Server, workers: list[int], against: Path | None) -> dict[str, Callable[[], Measurement]]:
    """What takes turns, by name."""
    database = server.client()[DATABASE]
    ways: dict[str, Callable[[], Measurement]] = {
        _COPY: lambda: Measurement(alternatives.copy_through_a_client(database), None)
    }
    for count in workers:
        if against is not None:
            ways[f"--workers {count}, {against.name}"] = _migrate(
                server.uri, against, "--workers", str(count)
            )
        ways[f"--workers {count}"] = _migrate(server.uri, ROOT, "--workers", str(count))
    return ways


if __name__ == "__main__":
    main()
