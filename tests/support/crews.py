"""Few bookings taken for as many as are worth several processes."""

import pytest

from booking_migrate.migrate import pipeline as stream
from booking_migrate.runs.workers import WorkerPool
from booking_migrate.verify import run as verify_run


class Ready(WorkerPool):
    """A crew whose others are ready for the first piece; usually few pieces are done before they are."""

    def __init__(self, workers: int = 1) -> None:
        super().__init__(workers)
        self._first.result()


def take_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have several processes work, and all of it, however few bookings there are."""
    for module in (stream, verify_run):
        monkeypatch.setattr(module, "WORTH_IT", 0)
        monkeypatch.setattr(module, "WorkerPool", Ready)
