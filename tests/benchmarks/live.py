"""For how long a cut-over beside two writers at full speed refuses writes: ``python -m tests.benchmarks.live``.

Each round fills a database, migrates, verifies and cuts over, while a process of its own inserts, updates, moves and deletes
bookings; its ledger of acknowledged writes is compared with the result. The parts of the outage are the program's own report.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Event, Process, Queue
from multiprocessing.synchronize import Event as EventType
from statistics import median, quantiles
from typing import Any

from bson import decode
from bson.objectid import ObjectId
from pymongo import MongoClient

from tests.benchmarks import follow
from tests.benchmarks.data import client_ids, insert_bookings
from tests.support.application import Application, sessions_of
from tests.support.server import Server, running_server

_DATABASE = "live_benchmark"
_AT_ONCE = 10_000
_SIZES = (10_000, 100_000)
_PARTS = ("fence_ms", "drain_ms", "settle_ms", "rename_ms")
_WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Round:
    """One cut-over."""

    parts: dict[str, int]
    attempts: int
    acknowledged: int
    """Writes of the application."""

    @property
    def outage(self) -> int:
        """Return for how many milliseconds writes were refused."""
        return sum(self.parts.values())


def main() -> None:
    """Measure, and print one line for each size."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.live", description=__doc__)
    parser.add_argument("--bookings", type=int, nargs="*", default=list(_SIZES))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument(
        "--follow",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="measure how many changes a second are followed instead; --follow --help has the options of that",
    )
    arguments = parser.parse_args()
    if arguments.follow is not None:
        follow.main(arguments.follow)
        return
    sys.stdout.write(
        "| bookings | rounds | refused, median | 95 of 100 | fence | drain | settle | rename | attempts |\n"
    )
    sys.stdout.write("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
    with running_server(cache_gib=2.0, oplog_mib=4096) as server:
        for size in arguments.bookings:
            rounds = [
                _measured(server, size, number, arguments.writers) for number in range(arguments.rounds)
            ]
            sys.stdout.write(f"{_line(size, rounds)}\n")
            sys.stdout.flush()


def _measured(server: Server, size: int, number: int, writers: int) -> Round:
    server.client().drop_database(_DATABASE)
    collection = server.client()[_DATABASE]["bookings"]
    insert_bookings(collection, size)
    collection.create_index("clientId")
    over = Event()
    answer: Queue[Any] = Queue()
    process = Process(target=_write, args=(server.uri, number, writers, client_ids(size), over, answer))
    process.start()
    try:
        time.sleep(_WARM_UP_SECONDS)
        _run(server, "migrate", "--quiet")
        _run(server, "verify", "--quiet")
        report = json.loads(_run(server, "cutover", "--quiet", "--yes", "--json"))["cutover"]
    finally:
        over.set()
        ledger, doubtful, acknowledged = answer.get()
        process.join()
    checked = Application(collection)
    checked.ledger = {key: None if raw is None else decode(raw) for key, raw in ledger}
    checked.doubtful = set(doubtful)
    checked.check(*sessions_of(collection))
    followed = report["followed"]
    result = Round({part: followed[part] for part in _PARTS}, followed["attempts"], acknowledged)
    sys.stderr.write(
        f"{size}: refused {result.outage} ms {result.parts}, attempts {result.attempts}, writes {acknowledged}\n"
    )
    return result


def _write(
    uri: str, seed: int, writers: int, clients: Sequence[ObjectId], over: EventType, answer: "Queue[Any]"
) -> None:
    from bson import encode  # noqa: PLC0415 - of the writing process alone

    with MongoClient[dict[str, Any]](uri) as client:
        application = Application(client[_DATABASE]["bookings"], seed=seed, threads=writers, clients=clients)
        with application:
            over.wait()
        ledger = [
            (key, None if version is None else encode(version)) for key, version in application.ledger.items()
        ]
        answer.put((ledger, list(application.doubtful), sum(application.acknowledged.values())))


def _line(size: int, rounds: Sequence[Round]) -> str:
    outages = [each.outage for each in rounds]
    worst = max(outages) if len(outages) < 2 else quantiles(outages, n=20, method="inclusive")[-1]
    parts = [f"{median(each.parts[part] for each in rounds):.0f} ms" for part in _PARTS]
    attempts = (
        f"{median(each.attempts for each in rounds):.0f}, at most {max(each.attempts for each in rounds)}"
    )
    figures = [
        f"{size:,}",
        str(len(rounds)),
        f"{median(outages):.0f} ms",
        f"{worst:.0f} ms",
        *parts,
        attempts,
    ]
    return f"| {' | '.join(figures)} |"


def _run(server: Server, *arguments: str) -> str:
    environment = {**os.environ, "MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": _DATABASE}
    command = [sys.executable, "-m", "booking_migrate", *arguments]
    done = subprocess.run(command, env=environment, check=False, text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main()
