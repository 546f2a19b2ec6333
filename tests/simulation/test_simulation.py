"""The real code of following and of the live cut-over in seeded schedules; see `README.md`."""

import pytest

from tests.simulation.schedule import run_seed

_SEEDS, _AT_ONCE = 1200, 100


@pytest.mark.parametrize("first", range(0, _SEEDS, _AT_ONCE))
def test_nothing_is_lost_in_any_schedule(first: int) -> None:
    """Live collection and kept copy are what the acknowledged writes make, whatever the schedule, and no fence is left."""
    for seed in range(first, first + _AT_ONCE):
        run_seed(seed)


def test_a_seed_replays() -> None:
    """The same seed makes the same schedule."""
    assert [run_seed(seed) for seed in range(40)] == [run_seed(seed) for seed in range(40)]
