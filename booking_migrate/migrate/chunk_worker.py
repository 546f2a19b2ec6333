"""Handle chunks completely in a worker, for a run whose lock another process holds.

A chunk may be handled twice, because a worker was killed or considered lost. The second time, documents that are already
there unchanged are left out, and the documents from before the run are known from the journal, as in a resumed run.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Semaphore, local
from typing import NamedTuple

from booking_migrate.errors import DuplicateKeys, TargetChanged, UniqueIndexViolated
from booking_migrate.events import NullListener
from booking_migrate.migrate.counts import NullObserver
from booking_migrate.migrate.journaled_target import JournaledTarget, ProgressCounter
from booking_migrate.migrate.lookup import Directory
from booking_migrate.migrate.pipeline import ChunkHandler, Elsewhere, HandledChunk
from booking_migrate.runs.delegation import DelegatedRun, RunShare
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.regulator import Unregulated
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.chunks import Chunk
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open_workers import (
    SharedPlaces,
    WorkerPlaces,
    open_worker_places,
    with_collection,
)

_ATTEMPTS = 3
"""How often a chunk is handled if others write its documents concurrently: a worker that was considered lost, or the
application."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What all chunks of a run share; it is sent to each worker once."""

    plan: MigrationPlan
    places: SharedPlaces
    share: RunShare
    was_empty: bool
    """Whether the target had no document when the run began."""


class Task(NamedTuple):
    """One chunk, without a connection string."""

    number: int
    """The number of its notes in the journal."""

    chunk: Chunk


class _Desk:
    """The places and the handler of one thread of a worker."""

    def __init__(self, assignment: Assignment, places: WorkerPlaces, *, was_empty: bool) -> None:
        self._places = places
        self._run = DelegatedRun(places.journal, places.locks, assignment.share)
        places.target.expect(was_empty=was_empty)
        self._target = JournaledTarget(
            places.target, self._run, SignalGuard(), ProgressCounter(NullListener()), Unregulated()
        )
        plan = assignment.plan
        directory = Directory(places.users, places.experts, plan.people)
        self._handler = ChunkHandler(plan, directory, self._target, self._target, observer=NullObserver())

    def handle(self, number: int, chunk: Chunk) -> HandledChunk:
        """Handle a chunk; it is durable when this returns."""
        self._run.begin(number)
        try:
            handled = self._handler.handle(chunk)
            self._target.settle()
        finally:
            self._target.abandon()
        record_ids, has_records = self._places.rejects.drain()
        changed = self._places.target.drain() or has_records
        people = (self._places.users, self._places.experts)
        asked = frozenset(each.kind for each in people if each.is_needed)
        return handled._replace(elsewhere=Elsewhere(changed, record_ids, asked))

    def wait(self) -> None:
        """Wait until a majority read sees what others have written to the target."""
        self._places.target.settle()


class _Job:
    """An assignment in this process; each thread that works on it has places of its own, and the connection is shared."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._connection = Connection(assignment.places.uri, assignment.places.database)
        self._is_sole = assignment.was_empty
        self._threads = local()
        self._busy = 0
        self._changed = Condition()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the block as work in progress."""
        with self._changed:
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Wait until no work is in progress, and close the connection."""
        with self._changed:
            self._changed.wait_for(lambda: self._busy == 0, _END_SECONDS)
        self._connection.close()

    def handle(self, task: Task) -> HandledChunk:
        """Handle a chunk, again if another process wrote documents of it at the same time."""
        chunk = with_collection(task.chunk, self._assignment.places, self._connection)
        for attempt in range(1, _ATTEMPTS + 1):
            desk = getattr(self._threads, "desk", None) or self._open()
            # After an error it may hold a part of a chunk.
            self._threads.desk = None
            try:
                handled = desk.handle(task.number, chunk)
            except (DuplicateKeys, TargetChanged) as error:
                if isinstance(error, UniqueIndexViolated) or attempt == _ATTEMPTS:
                    raise
                self._is_sole = False
                desk.wait()
            else:
                self._threads.desk = desk
                break
        return handled

    def _open(self) -> _Desk:
        places = open_worker_places(self._assignment.places, self._connection)
        return _Desk(self._assignment, places, was_empty=self._is_sole)


_END_SECONDS = 30.0
"""How long the end of an assignment waits for the chunks in progress."""

_CHUNKS_PER_WORKER = 2
"""How many chunks a local worker handles at a time."""

_SEATS = ThreadPoolExecutor(_CHUNKS_PER_WORKER, thread_name_prefix="chunk")
_ROOM = Semaphore(_CHUNKS_PER_WORKER)

_JOBS: dict[str, _Job] = {}
"""The assignments of this process, by the name of the run and its token."""


def begin(name: str, assignment: Assignment) -> None:
    """Take an assignment. The server is contacted with its first chunk only."""
    _JOBS[name] = _Job(assignment)


def handle(name: str, task: Task) -> HandledChunk:
    """Handle one chunk of an assignment completely.

    Raises:
        LeaseLost: the run has lost its lock.
        BookingMigrateError: as `ChunkHandler.handle`.
    """
    job = _JOBS.get(name)
    if job is None:
        # It joined with another version of the program, or the run has ended.
        raise RuntimeError("this worker is not prepared for the run")
    with job.working():
        return job.handle(task)


def ahead(work: Callable[[str, Task], HandledChunk], name: str, task: Task) -> "Future[HandledChunk]":
    """Begin to handle a chunk concurrently with another one: a worker is not idle while the server works.

    Returns:
        Its future result. If the maximum number of chunks is in progress, this waits until one of them is done.
    """
    _ROOM.acquire()
    result = _SEATS.submit(work, name, task)
    result.add_done_callback(lambda _result: _ROOM.release())
    return result


def end(name: str) -> None:
    """Forget an assignment, and the connection string with it; the chunks in progress are completed first."""
    if (job := _JOBS.pop(name, None)) is not None:
        job.close()
