"""The pipeline of a migration side by side; see `booking_migrate/migrate/README.md` for its picture.

It works for every kind of place and document. Memory holds one batch, or one client if that is larger. Chunks are independent,
and handling one is idempotent: documents that are already in the target unchanged are left out, and the documents from before
the run are looked up in the journal. The same function handles every chunk, in every process.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import NamedTuple, Protocol

from typing_extensions import override

from booking_migrate.events import Advanced, Listener, NullListener, PhaseEnded, PhaseStarted
from booking_migrate.migrate.batches import BatchReader, BuildResult
from booking_migrate.migrate.counts import MigrationCounts, NullObserver, Observer
from booking_migrate.migrate.lookup import Directory
from booking_migrate.migrate.merge import DepartedClients, Effects, TargetMerge
from booking_migrate.migrate.preflight import merge_duplicates
from booking_migrate.runs import workers
from booking_migrate.runs.plan import MigrationOutcome, MigrationPlan
from booking_migrate.runs.provenance import NoHistory, TargetHistory
from booking_migrate.runs.regulator import Regulator, Unregulated
from booking_migrate.runs.workers import WORTH_IT, Pool, WorkerPool
from booking_migrate.stores.chunks import Chunk
from booking_migrate.stores.ports import DocumentReader, TargetWriter
from booking_migrate.stores.readers import Kind


class Elsewhere(NamedTuple):
    """What the coordinating process has to know about a chunk that another process handled."""

    changed: bool
    """Whether it changed anything in the target or in the rejected records."""

    record_ids: Sequence[str]
    """The ids of the chunk's rejected records."""

    asked: frozenset[Kind]
    """Which people it looked up."""


class HandledChunk(NamedTuple):
    """The outcome of handling a chunk, in this process or another one."""

    counts: MigrationCounts
    effects: Effects
    keys: Sequence[bytes]
    """The sort keys of its clients, in order."""

    documents: int
    """How many documents of the source it has."""

    elsewhere: Elsewhere | None = None
    """None: it was handled in this process."""


class ChunkHandler:
    """Reads, looks people up, converts, consults the target, writes and counts; a target with a journal notes before it writes."""

    def __init__(
        self,
        plan: MigrationPlan,
        directory: Directory,
        target: TargetWriter,
        history: TargetHistory,
        *,
        observer: Observer,
    ) -> None:
        """Take the parts.

        Args:
            plan: the rules of the conversion, and how much is done at a time.
            directory: looks up users and experts.
            target: where the client documents go.
            history: which documents of the target runs of this tool wrote.
            observer: notified of every booking and every client.
        """
        self._counts = MigrationCounts()
        self._reader = BatchReader(plan, directory, target, counts=self._counts, observer=observer)
        merge = TargetMerge(plan, self._reader, target, history, counts=self._counts, observer=observer)
        self._merge = merge.merge
        self._target = target
        self.chunk_documents = self._reader.chunk_documents

    @property
    def build(self) -> Callable[[Chunk], BuildResult]:
        """Return the first part of `handle`, which needs only the chunk, so that another process can do it ahead."""
        return self._reader.build

    def handle(self, chunk: Chunk, built: BuildResult | None = None) -> HandledChunk:
        """Handle a chunk. A target that writes in the background may still be writing the last batch.

        Args:
            chunk: all documents of some clients.
            built: what `build` made of it, if that was done ahead.

        Raises:
            ConnectionProblem, NotPermitted, UnusablePlace: a place cannot be read.
            TargetInOldShape: a document of the target is not a client document.
            DuplicateKeys, TargetChanged, WriteFailed: as `TargetWriter.write`.
        """
        effects, keys, documents = Effects(), list[bytes](), 0
        for batch in self._reader.batches_of(chunk, built or self._reader.build(chunk)):
            changes = self._merge(batch)
            self._target.write(changes.new, changes.changed, batch.rejected, changes.removed)
            effects = effects.plus(changes.effects)
            keys += changes.keys
            documents += batch.documents
        return HandledChunk(self._counts.drain(), effects, keys, documents)


class ChunkDispatch(Protocol):
    """Handles the chunks of a source."""

    def each(self, source: DocumentReader) -> Iterator[HandledChunk]:
        """Yield the outcome of each chunk, in the order of the chunks."""


class InThisProcess(ChunkDispatch):
    """Handles chunks in this process; a pool does the part ahead that needs only the chunk."""

    def __init__(self, handler: ChunkHandler, pool: WorkerPool, regulator: Regulator | Unregulated) -> None:
        """Take the parts."""
        self._handler = handler
        self._pool = pool
        self._regulator = regulator

    @override
    def each(self, source: DocumentReader) -> Iterator[HandledChunk]:
        # The last chunk may still be in flight when it is yielded.
        chunks = source.scan_chunks(self._handler.chunk_documents, apart=self._pool.workers > 1)
        for chunk, built in self._pool.each(self._handler.build, chunks):
            self._regulator.wait()
            yield self._handler.handle(chunk, built)


class Delegator(Protocol):
    """Lets workers handle chunks completely."""

    def pool(self) -> AbstractContextManager[Pool] | None:
        """Return the workers if they are not local processes."""

    def begin(self, handler: ChunkHandler, pool: Pool) -> AbstractContextManager[ChunkDispatch]:
        """Assign a run, whose target is prepared, to the workers of a pool."""


def migrate(
    plan: MigrationPlan,
    source: DocumentReader,
    target: TargetWriter,
    *,
    users: DocumentReader | None = None,
    experts: DocumentReader | None = None,
    listener: Listener | None = None,
    observer: Observer | None = None,
    history: TargetHistory | None = None,
    start_pool: Callable[[], WorkerPool] | None = None,
    delegation: Delegator | None = None,
    regulator: Regulator | None = None,
) -> MigrationOutcome:
    """Migrate side by side: every booking of the source becomes a session in the target, or is rejected there.

    Running it again over an unchanged source writes nothing; over a source that has changed it derives the clients again
    whose bookings were changed, moved, added or deleted. Running it after an interruption completes it.

    Args:
        plan: the rules of the conversion, and how much is done at a time.
        source: where the bookings are; only read.
        target: where the client documents go.
        users: where `clientUserId` and the like are looked up; None: nowhere.
        experts: where experts' users are looked up; None: nowhere.
        listener: notified of the progress.
        observer: notified of every booking and every client.
        history: which documents of the target runs of this tool wrote; those are derived again. None: others wrote all.
        start_pool: returns a pool that others use, too, and close; None: it has one of its own.
        delegation: lets workers handle chunks completely. None: they read and convert, and this process does the rest.
        regulator: holds chunks back by what others ask; None: nothing does.

    Raises:
        Refused: a precondition does not hold; nothing was written.
        UnaccountedBookings: a fault of the tool; a file target does not appear.
        ConnectionProblem, DuplicateKeys, TargetChanged: the server failed, or another process wrote to the target.
    """
    started = monotonic()
    listener, observer = listener or NullListener(), observer or NullObserver()
    history = history or NoHistory()
    counts, effects = MigrationCounts(), Effects()
    try:
        for place in (source, users, experts):
            if place is not None:
                place.check()
        with _workers(plan, source, delegation, start_pool) as pool:
            merge_duplicates(source, target, history, merge_documents=plan.merge_client_documents)
            target.prepare()
            listener.notify(PhaseStarted(f"converting {source.name}", source.estimate_count()))
            directory = Directory(users, experts, plan.people)
            handler = ChunkHandler(plan, directory, target, history, observer=observer)
            departed = DepartedClients(target, history)
            regulated = regulator or Unregulated()
            with _chosen(delegation, handler, pool, regulated) as hands_out:
                for handled in hands_out.each(source):
                    counts.include(handled.counts)
                    effects = effects.plus(handled.effects).plus(departed.reconcile(handled.keys))
                    regulated.took(handled.documents)
                    listener.notify(Advanced(handled.documents))
            effects = effects.plus(departed.reconcile_rest())
            observer.on_end()
        listener.notify(PhaseEnded())
        counts.check()
        is_changed = target.finish()
    finally:
        target.abandon()
    return _outcome(counts, effects, target, is_changed=is_changed, seconds=monotonic() - started)


def _workers(
    plan: MigrationPlan,
    source: DocumentReader,
    delegation: Delegator | None,
    start: Callable[[], WorkerPool] | None,
) -> AbstractContextManager[Pool]:
    pool = None if delegation is None else delegation.pool()
    if pool is not None:
        return pool
    if (source.estimate_count() or 0) < WORTH_IT:
        return WorkerPool(1)
    return WorkerPool(plan.workers) if start is None else nullcontext(start())


def _chosen(
    delegation: Delegator | None, handler: ChunkHandler, pool: Pool, regulator: Regulator | Unregulated
) -> AbstractContextManager[ChunkDispatch]:
    if isinstance(pool, workers.WorkerPool) and (delegation is None or pool.workers == 1):
        return nullcontext(InThisProcess(handler, pool, regulator))
    if delegation is None:
        raise RuntimeError("these workers only handle chunks completely, and nothing was delegated to them")
    return delegation.begin(handler, pool)


def _outcome(
    counts: MigrationCounts, effects: Effects, target: TargetWriter, *, is_changed: bool, seconds: float
) -> MigrationOutcome:
    return MigrationOutcome(
        counts=counts.counts(changed=is_changed),
        rejections=counts.rejections(),
        spent=counts.spent(),
        rejected_money=counts.rejected_money(),
        findings=counts.findings(),
        documents_written=effects.written if is_changed else 0,
        documents_changed=effects.changed,
        documents_removed=effects.removed,
        changed=is_changed,
        seconds=seconds,
        rejects_name=target.rejects_name if counts.rejected else None,
    )
