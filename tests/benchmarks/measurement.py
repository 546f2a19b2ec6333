"""Running the program as a user does, with the clock and the memory of its process."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from statistics import median

import bson

from booking_migrate.bson.document import CODEC
from booking_migrate.domain.consolidate import ClientCase, consolidate
from booking_migrate.domain.session import Converter, People, Session, read_booking
from booking_migrate.fastpath.flat import FlatClients, FlatRules
from booking_migrate.stores.chunks import pack, whole_clients
from booking_migrate.stores.ports import ScannedDocument
from tests.benchmarks import launcher
from tests.benchmarks.data import CLIENT, bookings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of the program."""

    seconds: float
    peak_mib: float | None
    """The most memory that its processes had together; None if it has none of its own."""


def run_program(arguments: Sequence[str], expected_exit: int = 0, *, root: Path = ROOT) -> Measurement:
    """Run the program in a process of its own.

    Args:
        arguments: its arguments.
        expected_exit: its exit code.
        root: the checkout whose program is run.

    Raises:
        RuntimeError: it did not end as expected.
    """
    done = subprocess.run(
        [sys.executable, launcher.__file__, sys.executable, "-m", "booking_migrate", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    exit_code, seconds, peak = done.stdout.splitlines()[-1].split()
    if int(exit_code) != expected_exit:
        raise RuntimeError(f"{' '.join(arguments)} ended with {exit_code}: {done.stderr}")
    return Measurement(float(seconds), int(peak) / 1024)


def has_option(command: str, option: str) -> bool:
    """Whether the program has an option."""
    helped = subprocess.run(
        [sys.executable, "-m", "booking_migrate", command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return option in helped.stdout


@dataclass(frozen=True, slots=True)
class ConversionCost:
    """What the steps cost per booking, in microseconds; medians of several alternating rounds."""

    decode_and_encode: float
    compose: float
    """Making client documents of usual bookings: reading, checking, converting, consolidating."""

    compose_thoroughly: float
    """The same for bookings that are not known to be usual ones."""

    @property
    def ratio(self) -> float:
        """Making client documents in terms of decoding and encoding the bookings."""
        return self.compose / self.decode_and_encode


def conversion_cost(count: int = 20_000, rounds: int = 7) -> ConversionCost:
    """Measure conversion beside what decoding and encoding the same documents costs, in this process."""
    raws = sorted(bookings(count), key=lambda raw: raw[CLIENT])
    parts = list(whole_clients(pack(ScannedDocument(raw) for raw in raws), 500))
    converter, nobody = Converter(), People()
    usual = FlatClients(FlatRules())

    def code() -> None:
        for raw in raws:
            document = bson.decode(raw, CODEC)
            bson.encode(document, codec_options=CODEC)

    def compose() -> None:
        for part in parts:
            usual.build(part.raw, [*part.starts, len(part.raw)])

    def compose_thoroughly() -> None:
        results = (converter.convert(read_booking(raw), nobody) for raw in raws)
        sessions = (result for result in results if isinstance(result, Session))
        for _, group in groupby(sessions, key=attrgetter("client_id")):
            consolidate(ClientCase(list(group)))

    times = [[_seconds(step) for step in (code, compose, compose_thoroughly)] for _ in range(rounds)]
    return ConversionCost(*(median(column) / count * 1e6 for column in zip(*times, strict=True)))


def _seconds(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started
