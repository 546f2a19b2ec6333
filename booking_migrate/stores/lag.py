"""The port through which a run learns how far secondaries are behind."""

from typing import Protocol


class LagGauge(Protocol):
    """Measures the replication lag of the target's replica set. It only reads."""

    def seconds(self) -> float | None:
        """How far the slowest secondary is behind the primary; 0 without secondaries; None if nobody can tell.

        A secondary that is down or recovering counts as one whose lag nobody can tell.
        """
