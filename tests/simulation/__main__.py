"""Replay one seed, or search many, with a process on each core: `python -m tests.simulation [window] SEED`, or `FIRST END`.

With `window`, schedules are those of a reverse window.
"""

import sys
import time

from tests.simulation.process import simulated
from tests.simulation.schedule import run_seed
from tests.simulation.search import search
from tests.simulation.window_schedule import run_window_seed, simulated_window


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    run, within = run_seed, simulated
    if arguments[0] == "window":
        run, within = run_window_seed, simulated_window
        del arguments[0]
    if len(arguments) == 1:
        with within():
            print("\n".join(run(int(arguments[0]))))  # noqa: T201 - this is its output
        return 0
    first, end = map(int, arguments)
    began, failed = time.monotonic(), 0
    for failure in search(run, first, end, within=within):
        failed += 1
        print(failure)  # noqa: T201 - this is its output
    seconds = time.monotonic() - began
    print(f"{end - first} schedules, {failed} failed, {(end - first) / seconds:.0f} a second")  # noqa: T201 - as above
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
