"""The real code of a reverse window and of a rollback out of it in seeded schedules; see `README.md`."""

import pytest

from tests.simulation.mutants import removed
from tests.simulation.process import from_sound_worlds
from tests.simulation.search import search
from tests.simulation.window_mutants import MUTANTS
from tests.simulation.window_schedule import cut_over, run_window_seed, simulated_window
from tests.simulation.world import Violation

_PROCESSES = 2
_SEEDS_OF_MUTANTS = 1500
_SHOWN_BY = {
    "POSITION_BEFORE_CHANGES": 77,
    "FEED_FROM_THE_COMPARISON": 131,
    "PARTS_NOT_NOTED": 0,
    "GROUP_NOT_CLOSED": 26,
    "DRAIN_BY_CLOCK": 0,
    "FENCE_NOT_REREAD": 94,
    "FENCE_LEFT": 36,
    "DDL_OUTLIVES_PROCESS": 110,
    "TAIL_IN_TWO_STEPS": 170,
    "TAIL_FORGETS_OTHERS": 171,
}
"""Seeds that show what few schedules do: a search would take long. If the schedules have changed, the test names another seed."""


@pytest.mark.parametrize(("first", "end"), [(0, 100), pytest.param(100, 1500, marks=pytest.mark.slow)])
def test_nothing_is_lost_in_any_schedule(first: int, end: int) -> None:
    """After the rollback every booking is there once, with what both applications did to it, whatever the schedule."""
    failures = list(search(run_window_seed, first, end, _PROCESSES, within=simulated_window))

    assert not failures, "\n".join(failures)


def test_a_seed_replays() -> None:
    """The same seed makes the same schedule."""
    with simulated_window():
        assert [run_window_seed(seed) for seed in range(20)] == [run_window_seed(seed) for seed in range(20)]


def _is_shown_by(number: int) -> bool:
    try:
        run_window_seed(number)
    except Violation:
        return True
    return False


@pytest.mark.parametrize("name", MUTANTS)
def test_removed_guard_is_found(name: str) -> None:
    """A schedule among a fixed number of seeds loses, doubles or keeps something stale, or is stopped by it."""
    known = _SHOWN_BY.get(name)
    with simulated_window(), from_sound_worlds(cut_over), removed(MUTANTS[name]):
        if known is not None and _is_shown_by(known):
            return
        first = next(filter(_is_shown_by, range(_SEEDS_OF_MUTANTS)), None)
    assert first is not None, (
        f"no schedule of {_SEEDS_OF_MUTANTS} shows that it takes this guard: {MUTANTS[name].guard}"
    )
    assert known is None, f"seed {known} no longer shows what {name} does: note {first} in _SHOWN_BY"
