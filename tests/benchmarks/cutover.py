"""For how long a cut-over refuses writes: ``python -m tests.benchmarks.cutover --bookings 1000000``.

Each round migrates, verifies and cuts over the same bookings in a database of its own.
"""

import argparse
import json
import os
import subprocess
import sys
from statistics import median

from tests.benchmarks.data import insert_bookings
from tests.support.server import Server, running_server

_DATABASE = "cutover_benchmark"
_INSERTED_AT_ONCE = 10_000


def main() -> None:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cutover", description=__doc__)
    parser.add_argument("--bookings", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    refused: list[float] = []
    with running_server() as server:
        for _ in range(arguments.rounds):
            server.client().drop_database(_DATABASE)
            _fill(server, arguments.bookings)
            refused.append(_refused_seconds(server))
            sys.stderr.write(f"{refused[-1]:.1f} s\n")
        server.client().drop_database(_DATABASE)
    spread = f"{min(refused):.1f} to {max(refused):.1f}"
    sys.stdout.write(
        f"A cut-over of {arguments.bookings:,} bookings refuses writes for {median(refused):.1f} s ({spread}).\n"
    )


def _fill(server: Server, count: int) -> None:
    collection = server.client()[_DATABASE]["bookings"]
    insert_bookings(collection, count)


def _refused_seconds(server: Server) -> float:
    _run(server, "migrate", "--quiet")
    _run(server, "verify", "--quiet", "--recheck", "0")
    report = json.loads(_run(server, "cutover", "--quiet", "--yes", "--json"))
    seconds: float = report["cutover"]["refused_seconds"]
    return seconds


def _run(server: Server, *arguments: str) -> str:
    environment = {**os.environ, "MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": _DATABASE}
    command = [sys.executable, "-m", "booking_migrate", *arguments]
    return subprocess.run(command, env=environment, check=True, text=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    main()
