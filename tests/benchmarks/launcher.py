"""Run a command and print its exit code, its seconds, and the most memory that its processes had together, in KiB.

The kernel counts into a process's peak what its parent held when it was forked, so the program gets this small parent.
"""

import os
import sys
import time
from pathlib import Path

_LOOK_SECONDS = 0.25


def together(group: int) -> int:
    """The memory that the processes of a group have now, in KiB: what each has for itself, and its share of the rest."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[2]) == group:
                rollup = folder.joinpath("smaps_rollup").read_text()
                total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            # It has ended meanwhile.
            continue
    return total


def main(command: list[str]) -> None:
    """Run it."""
    started = looked = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ, setpgroup=0)
    peak = 0
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.005)
        if time.perf_counter() - looked > _LOOK_SECONDS:
            peak, looked = max(peak, together(child)), time.perf_counter()
    seconds = time.perf_counter() - started
    sys.stdout.write(f"\n{os.waitstatus_to_exitcode(status)} {seconds} {max(peak, usage.ru_maxrss)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
