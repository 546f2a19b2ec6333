"""Whether memory grows with the data: ``python -m tests.benchmarks.memory --bookings 100000 500000 2000000``.

Each command is run for each number of bookings and of processes; what counts is the most memory that all its processes had together
(PSS: what each has for itself, and its share of the rest). Memory hardly depends on what else the machine does, seconds do.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.benchmarks.__main__ import DATABASE, clear, fill
from tests.benchmarks.launcher import together
from tests.benchmarks.measurement import ROOT, run_program
from tests.support.server import Server, running_server

_SIZES = (100_000, 500_000, 2_000_000)
_LOOK_SECONDS = 0.25

STEPS: dict[str, Sequence[str]] = {
    "dry-run": ("dry-run",),
    "migrate": ("migrate",),
    "verify": ("verify",),
    "rollback": ("rollback", "--yes"),
}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory", description=__doc__)
    parser.add_argument("--bookings", type=int, nargs="+", default=list(_SIZES))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", nargs="+", choices=[*STEPS, "follow"], default=[*STEPS, "follow"])
    arguments = parser.parse_args()
    table: defaultdict[str, list[float]] = defaultdict(list)
    for count in arguments.bookings:
        with running_server(cache_gib=1.0) as server:
            fill(server, count)
            for name, peak in _peaks(server, arguments.steps, arguments.workers):
                table[name].append(peak)
                sys.stderr.write(f"{count:,} bookings, {name}: {peak:.0f} MiB\n")
    sys.stdout.write(
        f"| memory of all processes | {' | '.join(f'{each:,}' for each in arguments.bookings)} |\n"
    )
    sys.stdout.write(f"| --- | {' | '.join('---:' for _ in arguments.bookings)} |\n")
    for name, peaks in table.items():
        sys.stdout.write(f"| {name} | {' | '.join(f'{peak:.0f} MiB' for peak in peaks)} |\n")


def _peaks(server: Server, steps: Sequence[str], workers: Sequence[int]) -> Iterator[tuple[str, float]]:
    for number in workers:
        clear(server)
        for step in (name for name in STEPS if name in steps):
            command, *options = STEPS[step]
            if step != "rollback":
                options += ["--workers", str(number)]
            place = ("--uri", server.uri, "--db", DATABASE, "--quiet")
            peak = run_program([command, *options, *place]).peak_mib
            assert peak is not None
            yield f"{step}, {number} processes" if number > 1 else f"{step}, one process", peak
        if "follow" in steps:
            clear(server)
            yield f"migrate --follow --workers {number}", _following(server, number)


def _following(server: Server, workers: int) -> float:
    """The peak of a run that follows, until it has caught up and has been idle for a while."""
    peak = 0.0
    with _follower(server, workers) as process:
        database = server.client()[DATABASE]
        idle_since = None
        while idle_since is None or time.monotonic() - idle_since < 5:
            assert process.poll() is None, "the follower has ended"
            time.sleep(_LOOK_SECONDS)
            peak = max(peak, together(process.pid) / 1024)
            run = database["booking_migrate_runs"].find_one(sort=[("started_at", -1)]) or {}
            if idle_since is None and run.get("follow"):
                idle_since = time.monotonic()
    return peak


@contextmanager
def _follower(server: Server, workers: int) -> Iterator["subprocess.Popen[bytes]"]:
    arguments = ["migrate", "--follow", "--workers", str(workers), "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "booking_migrate", *arguments, "--uri", server.uri, "--db", DATABASE],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


if __name__ == "__main__":
    main()
