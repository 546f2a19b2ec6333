"""Dispatch chunks to workers, and take their results in the order of the chunks.

The coordinating process holds the lock, numbers the chunks, and adds up. With workers that handle chunks completely, it
dispatches only as many as they need to stay busy, and pauses before the next one while the regulator holds it back. A chunk whose
worker has ended is dispatched again. After a signal nothing more is dispatched, and what is in progress is completed, unless
a second signal comes.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import override

from booking_migrate.errors import WorkerLost
from booking_migrate.migrate import chunk_worker
from booking_migrate.migrate.chunk_worker import Assignment, Task
from booking_migrate.migrate.journaled_target import JournaledTarget
from booking_migrate.migrate.pipeline import ChunkDispatch, ChunkHandler, Delegator, Elsewhere, HandledChunk
from booking_migrate.runs.control import Setting
from booking_migrate.runs.delegation import RunShare
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.regulator import Regulator
from booking_migrate.runs.session import RunSession
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.workers import Awaited, Pool, Preparation, WorkerPool, done
from booking_migrate.stores.chunks import Chunk
from booking_migrate.stores.journal import RunJournal
from booking_migrate.stores.locks import Lease
from booking_migrate.stores.open_workers import SharedPlaces, without_address
from booking_migrate.stores.ports import DocumentReader
from booking_migrate.stores.readers import PeopleReader

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.target import MongoTarget

_AHEAD = 3
"""How many chunks per worker may be in progress or queued."""

_LIVES = 3
"""How many workers may be lost over one chunk."""


@dataclass(slots=True)
class Delegation(Delegator):
    """The parts for delegating the chunks of an open run."""

    plan: MigrationPlan
    places: SharedPlaces
    session: RunSession
    journal: RunJournal
    kept: JournaledTarget
    target: "MongoTarget"
    people: Iterable[DocumentReader | None]
    regulator: Regulator
    signal_guard: SignalGuard

    @override
    def pool(self) -> AbstractContextManager[Pool] | None:
        if self.plan.executor is None:
            return None
        # The packages of the extra may not be installed, and are slow to import.
        from booking_migrate.runs.cluster import ClusterPool  # noqa: PLC0415

        return ClusterPool(self.plan.executor)

    @override
    def begin(self, handler: ChunkHandler, pool: Pool) -> "Delegated":
        return Delegated(self, handler, pool)

    @property
    def assignment(self) -> Assignment:
        """Return what all chunks have in common."""
        run = self.session.run
        runs = [each for each in self.session.history.runs if each != run.run_id]
        share = RunShare(run.run_id, Lease(run.target, self.session.token), [*runs, run.run_id])
        return Assignment(self.plan, self.places, share, self.target.was_empty)

    def include(self, elsewhere: Elsewhere) -> None:
        """Add the outcome of a worker to the run; it is durable."""
        self.kept.settle()
        self.target.include(changed=elsewhere.changed, record_ids=elsewhere.record_ids)
        for each in self.people:
            if isinstance(each, PeopleReader) and each.kind in elsewhere.asked:
                each.need()
        self.kept.checkpoint()


@dataclass(slots=True)
class _Dispatched:
    """A dispatched chunk."""

    chunk: Chunk
    result: Awaited[HandledChunk]
    lives: int = 1
    """How often it was dispatched."""


class Delegated(ChunkDispatch):
    """Lets workers handle chunks completely."""

    def __init__(self, delegation: Delegation, handler: ChunkHandler, pool: Pool) -> None:
        """Assign the run to the workers."""
        self._delegation = delegation
        self._handler = handler
        self._pool = pool
        assignment = delegation.assignment
        self._name = f"booking-migrate-{assignment.share.run_id}-{assignment.share.lease.token}"
        self._pending: deque[_Dispatched] = deque()
        begin = partial(chunk_worker.begin, self._name, assignment)
        if isinstance(pool, WorkerPool):
            delegation.regulator.offer(Setting.WORKERS)
        pool.prepare(Preparation(self._name, begin, partial(chunk_worker.end, self._name)))

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """After a signal, wait for the dispatched chunks; a second signal ends the waiting."""
        if error is None or isinstance(error, Exception):
            return
        if not all(dispatched.result.done() for dispatched in self._pending):
            self._delegation.signal_guard.announce_wait()
        for dispatched in self._pending:
            dispatched.result.exception()

    def each(self, source: DocumentReader) -> Iterator[HandledChunk]:
        """Yield the outcome of each chunk; it is durable.

        Raises:
            LeaseLost: the run has lost its lock.
            WorkerLost: several workers ended over one chunk.
            BookingMigrateError: as `ChunkHandler.handle`.
        """
        for chunk in source.scan_chunks(self._handler.chunk_documents, apart=True):
            self._delegation.regulator.wait()
            self._resize()
            # Until the first worker is ready, this process does the work.
            result: Awaited[HandledChunk]
            result = self._dispatch(chunk) if self._pool.is_ready else done(self._handler.handle(chunk))
            self._pending.append(_Dispatched(chunk, result))
            while self._pending and (
                self._pending[0].result.done() or len(self._pending) >= _AHEAD * self._pool.workers
            ):
                yield self._taken()
        while self._pending:
            yield self._taken()

    def _resize(self) -> None:
        """Work with as many processes as was asked for since."""
        wanted = self._delegation.regulator.workers
        if wanted is not None and wanted != self._pool.workers and isinstance(self._pool, WorkerPool):
            self._pool.resize(wanted)

    def _dispatch(self, chunk: Chunk) -> Awaited[HandledChunk]:
        task = Task(self._delegation.journal.reserve(), without_address(chunk))
        if isinstance(self._pool, WorkerPool):
            result: Awaited[Any] = self._pool.submit(
                chunk_worker.ahead, chunk_worker.handle, self._name, task
            )
            return result
        return self._pool.submit(chunk_worker.handle, self._name, task)

    def _taken(self) -> HandledChunk:
        """Take the outcome of the first chunk; if its worker has ended, dispatch it again."""
        dispatched = self._pending[0]
        while True:
            try:
                handled = dispatched.result.result()
                break
            except WorkerLost:
                if dispatched.lives == _LIVES:
                    raise
                dispatched.lives += 1
                dispatched.result = self._dispatch(dispatched.chunk)
        self._pending.popleft()
        if handled.elsewhere is not None:
            self._delegation.include(handled.elsewhere)
        return handled
