"""Replay one seed, or search many: `python -m tests.simulation SEED`, `python -m tests.simulation FIRST END`."""

import sys
import time

from tests.simulation.schedule import run_seed
from tests.simulation.world import Violation


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    if len(arguments) == 1:
        print("\n".join(run_seed(int(arguments[0]))))  # noqa: T201 - this is its output
        return 0
    first, end = map(int, arguments)
    began, failed = time.monotonic(), 0
    for seed in range(first, end):
        try:
            run_seed(seed)
        except Violation as error:
            failed += 1
            print(error)  # noqa: T201 - this is its output
    seconds = time.monotonic() - began
    print(f"{end - first} schedules, {failed} failed, {(end - first) / seconds:.0f} a second")  # noqa: T201 - as above
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
