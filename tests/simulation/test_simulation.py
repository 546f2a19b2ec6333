"""The real code of following and of the live cut-over in seeded schedules; see `README.md`."""

from tests.simulation.process import simulated
from tests.simulation.schedule import run_seed
from tests.simulation.search import search

_SEEDS, _PROCESSES = 1200, 2


def test_nothing_is_lost_in_any_schedule() -> None:
    """Live collection and kept copy are what the acknowledged writes make, whatever the schedule, and no fence is left."""
    failures = list(search(run_seed, 0, _SEEDS, _PROCESSES, within=simulated))

    assert not failures, "\n".join(failures)


def test_a_seed_replays() -> None:
    """The same seed makes the same schedule."""
    with simulated():
        assert [run_seed(seed) for seed in range(40)] == [run_seed(seed) for seed in range(40)]
