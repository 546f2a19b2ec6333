"""Running the program as a user does, with the clock and the memory of its process."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import bson

from booking_migrate.domain.booking import read_booking
from booking_migrate.domain.bson_document import CODEC
from booking_migrate.domain.consolidation import ClientCase, consolidate
from booking_migrate.domain.contract import Contract
from booking_migrate.domain.conversion import Converter
from booking_migrate.domain.people import People
from booking_migrate.domain.usual_booking import UsualBookings
from tests.benchmarks.data import BOOKINGS_A_CLIENT, bookings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of the program."""

    seconds: float
    peak_mib: float | None
    """The largest resident memory of its process; None if it has none of its own."""


def run_program(arguments: Sequence[str], expected_exit: int = 0) -> Measurement:
    """Run the program in a process of its own.

    Raises:
        RuntimeError: it did not end as expected.
    """
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCHER, sys.executable, "-m", "booking_migrate", *arguments],
        cwd=ROOT,
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


# The kernel counts into a process's peak what its parent held when it was forked, so the program gets a small parent.
_LAUNCHER = """
import os, sys, time
started = time.perf_counter()
child = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(child, 0)
print()
print(os.waitstatus_to_exitcode(status), time.perf_counter() - started, usage.ru_maxrss)
"""


@dataclass(frozen=True, slots=True)
class ConversionCost:
    """What the steps cost per booking, in microseconds; medians of several alternating rounds."""

    decode_and_encode: float
    convert: float
    """Reading, checking and converting a usual booking."""

    convert_thoroughly: float
    """The same for a booking that is not known to be a usual one."""

    consolidate: float

    @property
    def ratio(self) -> float:
        """Converting in terms of decoding and encoding the same document."""
        return self.convert / self.decode_and_encode


def conversion_cost(count: int = 20_000, rounds: int = 7) -> ConversionCost:
    """Measure conversion beside what decoding and encoding the same documents costs, in this process."""
    raws = list(bookings(count))
    converter, usual, nobody = Converter(Contract()), UsualBookings(Contract()), People()

    def code() -> None:
        for raw in raws:
            document = bson.decode(raw, CODEC)
            bson.encode(document, codec_options=CODEC)

    def convert() -> None:
        for raw in raws:
            usual.convert(raw)

    def convert_thoroughly() -> None:
        for raw in raws:
            converter.convert(read_booking(raw), nobody)

    sessions = [session for session in map(usual.convert, raws) if session]
    groups = [sessions[at : at + BOOKINGS_A_CLIENT] for at in range(0, count, BOOKINGS_A_CLIENT)]

    def group() -> None:
        for one in groups:
            consolidate(ClientCase(one))

    times = [[_seconds(step) for step in (code, convert, convert_thoroughly, group)] for _ in range(rounds)]
    return ConversionCost(*(median(column) / count * 1e6 for column in zip(*times, strict=True)))


def _seconds(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started
