"""The real code of following and of the live cut-over in seeded schedules; see `README.md`."""

import pytest

from tests.simulation.process import simulated
from tests.simulation.schedule import run_seed
from tests.simulation.search import search

_PROCESSES = 2


@pytest.mark.parametrize(("first", "end"), [(0, 300), pytest.param(300, 6000, marks=pytest.mark.slow)])
def test_nothing_is_lost_in_any_schedule(first: int, end: int) -> None:
    """Live collection and kept copy are what the acknowledged writes make, whatever the schedule, and no fence is left."""
    failures = list(search(run_seed, first, end, _PROCESSES, within=simulated))

    assert not failures, "\n".join(failures)


def test_a_seed_replays() -> None:
    """The same seed makes the same schedule."""
    with simulated():
        assert [run_seed(seed) for seed in range(40)] == [run_seed(seed) for seed in range(40)]
