"""How fast a migration in place is, and what the application feels of it: ``python -m tests.benchmarks.in_place --bookings 50000``.

An application writes all the time, one write after the other with a pause between them: it books into a client's document, or changes
the notes of a booking in whichever shape that is. Its latencies are taken alone, during a migration, and during one with
``--max-rate``. Every migration is of the same bookings in a database of its own.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from statistics import median, quantiles
from typing import Any

import bson
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.write_concern import WriteConcern

from tests.benchmarks.data import bookings
from tests.support.server import Server, running_server
from tests.support.soak import append_session, change_notes

_DATABASE = "in_place_benchmark"
_INSERTED_AT_ONCE = 10_000
_PAUSE = 0.005
_ALONE_SECONDS = 5.0
_PRICE = 20


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.in_place", description=__doc__)
    parser.add_argument("--bookings", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-rate", type=int, default=2000)
    arguments = parser.parse_args()
    ways: dict[str, tuple[str, ...]] = {
        "migrate --in-place": (),
        f"with --max-rate {arguments.max_rate}": ("--max-rate", str(arguments.max_rate)),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    latencies: dict[str, list[float]] = {"application alone": [], **{name: [] for name in ways}}
    with running_server() as server:
        for _ in range(arguments.rounds):
            for name, options in ways.items():
                known = _fill(server, arguments.bookings)
                with _application(server, known) as measured:
                    time.sleep(_ALONE_SECONDS)
                latencies["application alone"] += measured
                with _application(server, known) as measured:
                    rates[name].append(_migrate(server, options))
                latencies[name] += measured
                sys.stderr.write(f"{name}: {rates[name][-1]:,.0f} bookings/s\n")
        server.client().drop_database(_DATABASE)
    sys.stdout.write(
        "| | bookings/s | write, median | write, 99th percentile | writes |\n| --- | --- | --- | --- | --- |\n"
    )
    for name, taken in latencies.items():
        rate = f"{median(rates[name]):,.0f}" if name in rates else ""
        slowest = quantiles(taken, n=100)[-1]
        sys.stdout.write(
            f"| {name} | {rate} | {1000 * median(taken):.1f} ms | {1000 * slowest:.1f} ms | {len(taken):,} |\n"
        )


def _fill(server: Server, count: int) -> list[tuple[Any, Any]]:
    """The bookings, and which there are: `_id` and client."""
    server.client().drop_database(_DATABASE)
    collection = server.client()[_DATABASE]["bookings"]
    collection.create_index(
        "clientId", unique=True, partialFilterExpression={"sessions": {"$exists": True}}, name="documents"
    )
    collection.create_index("clientId")
    known = []
    remaining = iter(bookings(count))
    while some := list(islice(remaining, _INSERTED_AT_ONCE)):
        collection.insert_many(map(RawBSONDocument, some), ordered=False)
        known += [(each["_id"], each["clientId"]) for each in map(bson.decode, some)]
    return known


@contextmanager
def _application(server: Server, known: list[tuple[Any, Any]]) -> Iterator[list[float]]:
    """An application that writes until the context ends; how long each write took, in seconds."""
    stopped = threading.Event()
    latencies: list[float] = []

    def write() -> None:
        chance = random.Random(1)
        with MongoClient[dict[str, Any]](server.uri) as mongo:
            collection = mongo[_DATABASE].get_collection("bookings", write_concern=WriteConcern("majority"))
            while not stopped.wait(_PAUSE):
                booking, client = chance.choice(known)
                began = time.perf_counter()
                if chance.random() < 0.5:
                    now = datetime.now(UTC)
                    session = {"sessionId": ObjectId(), "price": _PRICE, "createdAt": now, "updatedAt": now}
                    append_session(collection, client, session, now)
                else:
                    change_notes(collection, client, booking, f"{chance.random()}")
                latencies.append(time.perf_counter() - began)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield latencies
    finally:
        stopped.set()
        thread.join()


def _migrate(server: Server, options: tuple[str, ...]) -> float:
    """Bookings per second, by the program's own clock."""
    environment = {**os.environ, "MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": _DATABASE}
    command = [
        sys.executable,
        "-m",
        "booking_migrate",
        "migrate",
        "--in-place",
        "--json",
        "--quiet",
        *options,
    ]
    done = subprocess.run(command, env=environment, check=True, text=True, stdout=subprocess.PIPE)
    report = json.loads(done.stdout)
    rate: float = report["counts"]["migrated"] / report["seconds"]
    return rate


if __name__ == "__main__":
    main()
