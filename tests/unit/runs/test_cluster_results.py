"""What comes back from a worker of a cluster beside the result."""

from typing import Any

from booking_migrate.events import Retried
from booking_migrate.runs.cluster import ClusterResult, with_events
from booking_migrate.stores.waits import WAITS


class Ended:
    """A task of a cluster that has ended, in the manner of its futures."""

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome

    def result(self) -> Any:
        """Return what the task returned."""
        return self._outcome


def double(number: int) -> int:
    """Double a number, after trouble that was overcome."""
    WAITS.note(Retried("the primary steps down", 1))
    return 2 * number


def test_events_of_a_worker_are_noted_where_they_are_logged() -> None:
    """What stores note in a worker, such as retries, leaves it with the result, and is noted in the process that has the log."""
    list(WAITS.take_events())
    outcome = with_events(double, 21)
    left = list(WAITS.take_events())
    result: int = ClusterResult[int](Ended(outcome), "dask://host").result()

    assert ([], 42) == (left, result)
    assert [Retried("the primary steps down", 1)] == list(WAITS.take_events())
