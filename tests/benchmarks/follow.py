"""How many changes a second are followed: ``python -m tests.benchmarks.live --follow``, or this module by itself.

Each round fills a database, migrates and verifies it; then, while nothing follows, an application inserts, updates, moves and
deletes bookings of all clients. What is measured is how a cut-over begins: all these changes are brought in, the clients are
verified, and the events of these own writes are read too, by a process that shares the cores with the server. With ``--against DIRECTORY`` the program in another
checkout takes turns with this one, and the ratio is printed.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne, UpdateOne

from tests.benchmarks.data import BOOKINGS_A_CLIENT, CLIENT, bookings
from tests.support.server import Server, running_server

_DATABASE = "follow_benchmark"
_ROOT = Path(__file__).parents[2]
_AT_ONCE = 5000
_ID = slice(9, 21)
_SEED = 11

_PROGRAM = """
import json, sys, time
from booking_migrate.follow.follower import Follower
whole = Follower.round
def rounds(follower):
    while whole(follower, 0.0).changes:
        pass
def measured(follower, *_arguments):
    began, cpu = time.perf_counter(), time.process_time()
    if profile:
        import cProfile
        profiler = cProfile.Profile()
        profiler.runcall(rounds, follower)
        profiler.dump_stats(profile)
    else:
        rounds(follower)
    figures = {"seconds": time.perf_counter() - began, "processor": time.process_time() - cpu,
        "changes": sum(follower.progress.events.values()), "clients": follower.progress.clients,
        "verified": follower.progress.verified}
    with open(answer, "w") as file:
        json.dump(figures, file)
    raise KeyboardInterrupt
Follower.round = measured
answer, profile, *arguments = sys.argv[1:]
sys.argv = ["booking-migrate", *arguments]
from booking_migrate.cli import app
app.main()
"""
"""The program, which ends when nothing is left to follow, and writes down how long that took."""


@dataclass(frozen=True, slots=True)
class Followed:
    """One backlog that was followed."""

    changes: int
    clients: int
    """How many clients were derived, each as often as that happened."""

    verified: int
    seconds: float
    processor: float
    """The processor time of the program, in seconds."""

    server: float
    """That of the server."""

    @property
    def rate(self) -> float:
        """Return the changes a second."""
        return self.changes / self.seconds


def main(options: Sequence[str] | None = None) -> None:
    """Measure, and print one line for each program."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.live --follow", description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout, whose program is measured in turn")
    parser.add_argument("--profile", default="", help="write a profile of the last round to this file")
    arguments = parser.parse_args(options)
    programs = [each for each in (arguments.against, _ROOT) if each is not None]
    found: dict[Path, list[Followed]] = {each: [] for each in programs}
    with running_server(cache_gib=2.0, oplog_mib=4096) as server:
        for _ in range(arguments.rounds):
            for program in programs:
                _fill(server, arguments.clients, arguments.changes, program)
                done = _followed(server, program, arguments.profile)
                found[program].append(done)
                sys.stderr.write(f"{program}: {_line(done)}\n")
    for program, rounds in found.items():
        middle = sorted(rounds, key=lambda each: each.rate)[len(rounds) // 2]
        sys.stdout.write(f"{program}, median of {len(rounds)}: {_line(middle)}\n")
    if arguments.against is not None:
        before, after = (median(each.rate for each in found[program]) for program in programs)
        sys.stdout.write(f"ratio of the medians: {after / before:.2f}\n")


def _line(done: Followed) -> str:
    return (
        f"{done.changes:,} changes in {done.seconds:.1f} s, {done.rate:,.0f}/s; clients derived {done.clients:,}, "
        f"verified {done.verified:,}; processor time: program {done.processor:.1f} s, server {done.server:.1f} s"
    )


def _fill(server: Server, clients: int, changes: int, program: Path) -> None:
    """Make a run that is verified, and a backlog of changes behind it."""
    server.client().drop_database(_DATABASE)
    collection = server.client()[_DATABASE]["bookings"]
    known: list[ObjectId] = []
    remaining = bookings(clients * BOOKINGS_A_CLIENT)
    while some := list(islice(remaining, _AT_ONCE)):
        collection.insert_many(map(RawBSONDocument, some), ordered=False)
        known += [ObjectId(raw[_ID]) for raw in some]
    collection.create_index("clientId")
    _run(server, program, "migrate", "--quiet")
    _run(server, program, "verify", "--quiet")
    writes = _writes(known, clients, changes)
    while operations := list(islice(writes, _AT_ONCE)):
        collection.bulk_write(operations, ordered=False)


def _writes(known: Sequence[ObjectId], clients: int, count: int) -> "Iterator[Any]":
    """Yield writes of existing bookings, no booking twice; of ten six update, one moves, two insert, one deletes."""
    chance = Random(_SEED)
    template = bytearray(next(bookings(1)))
    touched = iter(chance.sample(known, len(known)))
    for number in range(count):
        kind = number % 10
        client = ObjectId(b"".join((template[CLIENT][:8], chance.randrange(clients).to_bytes(4, "big"))))
        if kind in (3, 7):
            template[_ID], template[CLIENT] = chance.randbytes(12), client.binary
            yield InsertOne(RawBSONDocument(bytes(template)))
            continue
        key = {"_id": next(touched)}
        if kind == 5:
            yield DeleteOne(key)
        else:
            changed = {"clientId": client} if kind == 9 else {"notes": f"changed {number}"}
            yield UpdateOne(key, {"$set": changed})


def _followed(server: Server, program: Path, profile: str) -> Followed:
    answer = Path(f"/tmp/follow-{os.getpid()}.json")
    answer.unlink(missing_ok=True)
    before = _server_seconds(server)
    done = _start(server, program, "-c", _PROGRAM, str(answer), profile, "cutover", "--yes", "--quiet")
    used = _server_seconds(server) - before
    if not answer.exists():
        raise SystemExit(f"cutover ended with {done.returncode}\n{done.stderr}\n{done.stdout}")
    figures = json.loads(answer.read_text())
    answer.unlink()
    return Followed(**figures, server=used)


def _server_seconds(server: Server) -> float:
    """Return the processor time of the server so far."""
    used = server.client().admin.command("serverStatus")["extra_info"]
    seconds: float = (used["user_time_us"] + used["system_time_us"]) / 1e6
    return seconds


def _run(server: Server, program: Path, *arguments: str) -> None:
    done = _start(server, program, "-m", "booking_migrate", *arguments)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}\n{done.stdout}")


def _start(server: Server, program: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "MONGODB_URI": server.uri,
        "BOOKING_MIGRATE_DB": _DATABASE,
        "PYTHONPATH": str(program),
    }
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=program,
        check=False,
        text=True,
        capture_output=True,
    )


if __name__ == "__main__":
    main()
