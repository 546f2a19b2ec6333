"""The port through which a run learns how far secondaries are behind."""

from typing import Protocol


class LagGauge(Protocol):
    """Measures the replication lag of the target's replica set. It only reads."""

    def seconds(self, *, waits: bool = True) -> float | str:
        """Return how far the slowest secondary is behind the primary, 0 without secondaries; or why that is not known.

        It is not known without a replica set or the privilege, and while a secondary is down or recovering.

        Args:
            waits: whether to wait for a server to be found; not at the first contact, as there may be none.

        Raises:
            ConnectionProblem: the server does not answer.
        """
