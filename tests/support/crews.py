"""Few bookings taken for as many as are worth several processes, or several transactions at a time."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from booking_migrate.cli import app
from booking_migrate.in_place import move_back, passes, put_back
from booking_migrate.in_place import run as in_place
from booking_migrate.migrate import pipeline as stream
from booking_migrate.runs import undo
from booking_migrate.runs.workers import WorkerPool
from booking_migrate.stores.mongo import journal_notes
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


_SMALL: tuple[tuple[Any, str, int], ...] = (
    (in_place, "WORTH_IT", 0),
    (move_back, "WORTH_IT", 0),
    (passes, "_FIRST_BYTES", 4_000),
    (passes, "_MOST_BYTES", 4_000),
    (put_back, "_MOST_BYTES", 4_000),
    (undo, "_MANY_RANGES", 0),
    (journal_notes, "_NOTES", 3),
)
"""What decides whether there are many, and how many go at a time."""


def take_several_at_a_time(set_to: Callable[[Any, str, int], object] = setattr) -> None:
    """Have several transactions work at a time, in place and in a rollback, however few bookings there are."""
    for module, name, value in _SMALL:
        set_to(module, name, value)


def main_of_many(*arguments: str) -> None:
    """Be the program with `take_several_at_a_time`, in a process of its own."""
    take_several_at_a_time()
    sys.argv = ["booking-migrate", *arguments]
    app.main()
