"""Without one of its guards, the real code fails in some schedule; see `mutants.py`."""

from itertools import chain

import pytest

from tests.simulation.mutants import MUTANTS, removed
from tests.simulation.process import simulated
from tests.simulation.schedule import run_seed
from tests.simulation.world import Violation

_SEEDS = 3000
_SHOWN_BY = {
    "DRAIN_BY_CLOCK": 69,
    "TOKEN_SAVED_IN_DRAIN": 160,
    "DRAINED_FORGOTTEN": 134,
    "FENCE_NOT_REREAD": 333,
    "FOREIGN_DERIVED_OVER": 931,
    "COPY_EVENTS_IGNORED": 281,
    "LATER_CHANGES_SETTLED": 398,
    "ABORT_WITHOUT_TAIL": 118,
    "TAIL_ONCE": 85,
    "TAIL_IGNORES_TARGET": 247,
    "DDL_OUTLIVES_PROCESS": 1374,
}
"""Seeds that show what few schedules do: they are tried first, and the others if the schedules have changed since."""


@pytest.mark.parametrize("name", MUTANTS)
def test_removed_guard_is_found(name: str) -> None:
    """A schedule among a fixed number of seeds loses, doubles or keeps something stale, or does not end."""
    with simulated(), removed(MUTANTS[name]):
        for seed in chain([_SHOWN_BY.get(name, 0)], range(_SEEDS)):
            try:
                run_seed(seed)
            except Violation:
                return
    pytest.fail(f"no schedule of {_SEEDS} shows that it takes this guard: {MUTANTS[name].guard}")
