"""Without one of its guards, the real code fails in some schedule; see `mutants.py`."""

from itertools import chain

import pytest

from tests.simulation.mutants import MUTANTS, removed
from tests.simulation.process import simulated
from tests.simulation.schedule import run_seed
from tests.simulation.world import Violation

_SEEDS = 3000
_SHOWN_BY = {
    "FOREIGN_DERIVED_OVER": 227,
    "COPY_EVENTS_IGNORED": 242,
    "TAIL_IGNORES_TARGET": 469,
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
