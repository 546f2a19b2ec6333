"""The pipeline of a migration side by side; see `booking_migrate/migrate/README.md` for its picture.

It works for every kind of place and every kind of document. Memory holds one batch, or one client if that is larger.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import monotonic

from booking_migrate.events import Advanced, Listener, NullListener, PhaseEnded, PhaseStarted
from booking_migrate.migrate.batches import Batch, BatchReader
from booking_migrate.migrate.counts import MigrationCounts, NullObserver, Observer
from booking_migrate.migrate.lookup import Directory
from booking_migrate.migrate.merge import Changes, DepartedClients, Effects, TargetMerge
from booking_migrate.migrate.preflight import merge_duplicates
from booking_migrate.runs.plan import MigrationOutcome, MigrationPlan
from booking_migrate.runs.provenance import NoHistory, TargetHistory
from booking_migrate.runs.workers import WORTH_IT, WorkerPool
from booking_migrate.stores.ports import DocumentReader, TargetWriter


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
) -> MigrationOutcome:
    """Migrate side by side: every booking of the source becomes a session in the target, or is rejected there.

    Running it again over an unchanged source writes nothing; over a source that has changed it derives the clients again
    whose bookings changed, moved, came or went. Running it after an interruption completes it.

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
        with _pool(plan, source, start_pool) as pool:
            merge_duplicates(source, target, history, merge_documents=plan.merge_client_documents)
            target.prepare()
            listener.notify(PhaseStarted(f"converting {source.name}", source.estimate_count()))
            directory = Directory(users, experts, plan.people)
            reader = BatchReader(plan, directory, target, counts=counts, observer=observer)
            merge = TargetMerge(plan, reader, target, history, counts=counts, observer=observer).merge
            departed = DepartedClients(target, history)
            for batch in reader.batches(source, pool):
                effects = effects.plus(_write(batch, merge, target, departed))
                listener.notify(Advanced(batch.documents))
            effects = effects.plus(departed.reconcile_rest())
        listener.notify(PhaseEnded())
        counts.check()
        is_changed = target.finish()
    finally:
        target.abandon()
    return _outcome(counts, effects, target, is_changed=is_changed, seconds=monotonic() - started)


def _pool(
    plan: MigrationPlan, source: DocumentReader, start: Callable[[], WorkerPool] | None
) -> AbstractContextManager[WorkerPool]:
    if (source.estimate_count() or 0) < WORTH_IT:
        return WorkerPool(1)
    return WorkerPool(plan.workers) if start is None else nullcontext(start())


def _write(
    batch: Batch, merge: Callable[[Batch], Changes], target: TargetWriter, departed: DepartedClients
) -> Effects:
    """Write one batch, and what the clients before it that have departed leave."""
    changes = merge(batch)
    target.write(changes.new, changes.changed, batch.rejected, changes.removed)
    return changes.effects.plus(departed.reconcile(changes.keys))


def _outcome(
    counts: MigrationCounts, effects: Effects, target: TargetWriter, *, is_changed: bool, seconds: float
) -> MigrationOutcome:
    return MigrationOutcome(
        counts=counts.counts(changed=is_changed),
        rejections=counts.rejections(),
        spent=counts.spent(),
        findings=counts.findings(),
        documents_written=effects.written if is_changed else 0,
        documents_changed=effects.changed,
        documents_removed=effects.removed,
        changed=is_changed,
        seconds=seconds,
        rejects_name=target.rejects_name if counts.rejected else None,
    )
