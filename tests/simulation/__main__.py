"""Replay one seed, or search many, with a process on each core: `python -m tests.simulation SEED`, `python -m tests.simulation FIRST END`."""

import sys
import time

from tests.simulation.process import simulated
from tests.simulation.schedule import run_seed
from tests.simulation.search import search


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    if len(arguments) == 1:
        with simulated():
            print("\n".join(run_seed(int(arguments[0]))))  # noqa: T201 - this is its output
        return 0
    first, end = map(int, arguments)
    began, failed = time.monotonic(), 0
    for failure in search(run_seed, first, end):
        failed += 1
        print(failure)  # noqa: T201 - this is its output
    seconds = time.monotonic() - began
    print(f"{end - first} schedules, {failed} failed, {(end - first) / seconds:.0f} a second")  # noqa: T201 - as above
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
