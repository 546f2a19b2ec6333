"""Without one of its guards, the real code fails in some schedule; see `mutants.py`."""

import pytest

from tests.simulation.mutants import MUTANTS, removed
from tests.simulation.process import simulated
from tests.simulation.schedule import run_seed
from tests.simulation.world import Violation

_SEEDS = 3000


@pytest.mark.parametrize("name", MUTANTS)
def test_removed_guard_is_found(name: str) -> None:
    """A schedule among a fixed number of seeds loses, doubles or keeps something stale, or does not end."""
    with simulated(), removed(MUTANTS[name]):
        for seed in range(_SEEDS):
            try:
                run_seed(seed)
            except Violation:
                return
    pytest.fail(f"no schedule of {_SEEDS} shows that it takes this guard: {MUTANTS[name].guard}")
