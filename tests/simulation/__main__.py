"""Replay one seed, or search many, with a process on each core: `python -m tests.simulation SEED`, `python -m tests.simulation FIRST END`."""

import os
import sys
import time
from multiprocessing import Pool

from tests.simulation.schedule import run_seed
from tests.simulation.world import Violation

_AT_ONCE = 50


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    if len(arguments) == 1:
        print("\n".join(run_seed(int(arguments[0]))))  # noqa: T201 - this is its output
        return 0
    first, end = map(int, arguments)
    began, failed = time.monotonic(), 0
    with Pool(os.cpu_count()) as processes:
        for failure in processes.imap(_failure, range(first, end), _AT_ONCE):
            if failure is not None:
                failed += 1
                print(failure)  # noqa: T201 - this is its output
    seconds = time.monotonic() - began
    print(f"{end - first} schedules, {failed} failed, {(end - first) / seconds:.0f} a second")  # noqa: T201 - as above
    return 1 if failed else 0


def _failure(seed: int) -> str | None:
    """Return what does not hold in the schedule of a seed, with its trace; None: everything does."""
    try:
        run_seed(seed)
    except Violation as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
