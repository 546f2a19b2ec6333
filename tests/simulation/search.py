"""Carrying out many schedules, by ranges of seeds, in several processes."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from multiprocessing import get_context
from threading import active_count

from tests.simulation.world import Violation

Run = Callable[[int], list[str]]
"""Carries out the schedule of a seed, and returns its trace; a function of a module."""

Within = Callable[[], AbstractContextManager[None]]
"""Lets the code run on one thread, by a world's clock; a function of a module."""

_AT_ONCE = 25
_COLLECTED_AFTER = 6000
"""Of what one schedule leaves, most is part of cycles. So few objects are still in the processor's cache when they are freed."""


def search(run: Run, first: int, end: int, processes: int | None = None, *, within: Within) -> Iterator[str]:
    """Yield what does not hold in the schedules of a range of seeds, each with its seed and its trace, by seed.

    Args:
        run: carries out one of them.
        first: the first seed.
        end: the first seed beyond the range.
        processes: how many to use; None: as many as there are cores.
        within: what schedules run in.
    """
    count = min(processes or os.cpu_count() or 1, -(-(end - first) // _AT_ONCE))
    ranges = [(within, run, each, min(each + _AT_ONCE, end)) for each in range(first, end, _AT_ONCE)]
    if count <= 1:
        for each in ranges:
            yield from _violations(each)
        return
    # Forked from this process, they have everything already; under pytest with several workers, it has threads.
    with get_context("fork" if active_count() == 1 else "forkserver").Pool(count) as pool:
        for found in pool.imap(_violations, ranges):
            yield from found


def _violations(range_of_seeds: tuple[Within, Run, int, int]) -> list[str]:
    within, run, first, end = range_of_seeds
    found = []
    gc.set_threshold(_COLLECTED_AFTER)
    with within():
        for seed in range(first, end):
            try:
                run(seed)
            except Violation as error:
                found.append(str(error))
    return found
