"""What an application notices of `migrate --follow`: ``python -m tests.benchmarks.latency``.

Two threads write at a steady pace to bookings of all clients. How long each write takes is measured beside nothing, beside
`migrate`, beside the whole verification, and while its changes are followed and verified; all of it on the same cores.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from bson.raw_bson import RawBSONDocument
from typing_extensions import override

from tests.benchmarks.data import bookings, client_ids
from tests.support.application import Application
from tests.support.server import Server, running_server

_DATABASE = "latency_benchmark"
_AT_ONCE = 10_000
_SECONDS = 10.0


class _Timed(Application):
    """An application that remembers how long each of its writes took."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.times: list[float] = []

    @override
    def _write(self, *arguments: Any) -> None:
        began = time.perf_counter()
        super()._write(*arguments)
        self.times.append(time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the writes of one phase took."""

    phase: str
    writes: int
    seconds: float
    median: float
    worst: float
    """Of 95 in 100."""


def main() -> None:
    """Measure, and print one line for each phase."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.latency", description=__doc__)
    parser.add_argument("--bookings", type=int, default=300_000)
    parser.add_argument("--pause", type=float, default=0.01, help="seconds between two writes of a thread")
    arguments = parser.parse_args()
    with running_server(cache_gib=2.0, oplog_mib=4096) as server:
        for each in _measured(server, arguments.bookings, arguments.pause):
            sys.stdout.write(
                f"| {each.phase} | {each.writes / each.seconds:,.0f}/s | {each.median * 1000:.1f} ms | {each.worst * 1000:.1f} ms |\n"
            )


def _measured(server: Server, size: int, pause: float) -> Sequence[Latency]:
    collection = server.client()[_DATABASE]["bookings"]
    documents = [RawBSONDocument(raw) for raw in bookings(size)]
    for start in range(0, size, _AT_ONCE):
        collection.insert_many(documents[start : start + _AT_ONCE], ordered=False)
    collection.create_index("clientId")
    with _Timed(collection, pause=pause, clients=client_ids(size)) as application:

        def phase(name: str, work: Callable[[], object], beside: AbstractContextManager[object]) -> Latency:
            with beside:
                before, began = len(application.times), time.perf_counter()
                work()
                seconds = time.perf_counter() - began
                times = application.times[before:]
            return Latency(name, len(times), seconds, median(times), quantiles(times, n=20)[-1])

        return [
            phase("nothing", lambda: time.sleep(_SECONDS), nullcontext()),
            phase("`migrate`", lambda: _run(server, "migrate", "--quiet"), nullcontext()),
            phase("`verify`", lambda: _run(server, "verify", "--quiet"), nullcontext()),
            phase("`migrate --follow`", lambda: time.sleep(_SECONDS), _Following(server)),
        ]


class _Following(AbstractContextManager[None]):
    """A process that follows, while the context lasts; it has caught up when that begins."""

    def __init__(self, server: Server) -> None:
        self._process = subprocess.Popen(
            _command("migrate", "--follow"),
            env=_environment(server),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @override
    def __enter__(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "ready to cut over" in line:
                return
        raise SystemExit("following ended before it had caught up")

    @override
    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.communicate()


def _run(server: Server, *arguments: str) -> None:
    done = subprocess.run(
        _command(*arguments), env=_environment(server), check=False, text=True, capture_output=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}\n{done.stdout}")


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "booking_migrate", *arguments]


def _environment(server: Server) -> dict[str, str]:
    return {**os.environ, "MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": _DATABASE}


if __name__ == "__main__":
    main()
