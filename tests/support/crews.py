"""Few bookings taken for as many as are worth several processes or transactions, and workers killed at a moment of a chunk."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from unittest import mock

import pytest

from booking_migrate.cli import app
from booking_migrate.cli import open as open_places
from booking_migrate.in_place import passes, restoring, rollback
from booking_migrate.in_place import run as in_place
from booking_migrate.migrate import chunk_worker
from booking_migrate.migrate import pipeline as stream
from booking_migrate.migrate.chunk_worker import Task
from booking_migrate.migrate.pipeline import HandledChunk
from booking_migrate.runs import undo
from booking_migrate.runs.workers import WorkerPool
from booking_migrate.stores.mongo import journal_notes
from booking_migrate.stores.mongo.target import MongoTarget
from booking_migrate.verify import run as verify_run
from tests.support.failpoints import Step, failpoints
from tests.support.killed import Saboteur


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
    monkeypatch.setattr(open_places, "WorkerPool", Ready)


_SMALL: tuple[tuple[Any, str, int], ...] = (
    (in_place, "WORTH_IT", 0),
    (rollback, "WORTH_IT", 0),
    (passes, "_FIRST_BYTES", 4_000),
    (passes, "_MOST_BYTES", 4_000),
    (restoring, "_MOST_BYTES", 4_000),
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


MOMENTS = ("begun", "noted", "half-written", "written", "handled")
"""The moments of a chunk at which a worker may be killed."""


def kill_workers(monkeypatch: pytest.MonkeyPatch, moment: str, signs: Path, *, times: int = 1) -> None:
    """Have the first workers killed that come to a moment of a chunk, so many of them."""
    signs.mkdir()
    monkeypatch.setattr(chunk_worker, "handle", partial(_handle_or_die, moment, str(signs), times))


_handle = chunk_worker.handle
_ONE_AT_A_TIME = Lock()
"""What is wrapped in a process is wrapped for all of its threads."""


def _handle_or_die(moment: str, signs: str, times: int, name: str, task: Task) -> HandledChunk:
    """Handle a chunk in a worker."""

    def reached(which: str) -> None:
        if which != moment:
            return
        for number in range(times):
            try:
                Path(signs, str(number)).touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)

    def insert_half(target: MongoTarget, documents: list[bytes]) -> list[object]:
        insert(target, documents[: len(documents) // 2 + 1])
        reached("half-written")
        return list(insert(target, documents[len(documents) // 2 + 1 :]) if len(documents) > 1 else ())

    def act(step: Step) -> None:
        reached({Step.RANGE_NOTED: "noted", Step.BATCH_WRITTEN: "written"}.get(step, ""))

    with _ONE_AT_A_TIME:
        insert = MongoTarget._insert
        reached("begun")
        with failpoints(act), mock.patch.object(MongoTarget, "_insert", insert_half):
            handled = _handle(name, task)
        reached("handled")
    return handled


def main_with_workers(what: str, step: str, count: str, *arguments: str) -> None:
    """Be the program whose coordinating process is stopped or killed at a step, with workers however few bookings there are."""
    sys.argv = ["booking-migrate", *arguments]
    with (
        mock.patch.multiple(stream, WORTH_IT=0, WorkerPool=Ready),
        failpoints(Saboteur(what, Step(step), int(count))),
    ):
        app.main()
