"""The run of a migration in place: pass after pass through the collection, until one finds nothing to convert."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from booking_migrate.bson.order import sort_key
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.in_place.archive import Replay, check_archive
from booking_migrate.in_place.group import GroupPlan, GroupPlanner
from booking_migrate.in_place.mover import Moved, Mover, MoverPool
from booking_migrate.in_place.passes import AdaptiveSize, Batch, Pass, Progress, batches
from booking_migrate.migrate.counts import MigrationCounts
from booking_migrate.migrate.lookup import Directory
from booking_migrate.migrate.preflight import SAMPLE, findings_of, sample_documents
from booking_migrate.quantities import agreed
from booking_migrate.runs.plan import Finding, MigrationOutcome, MigrationPlan
from booking_migrate.runs.provenance import history_in_place
from booking_migrate.runs.regulator import Regulator
from booking_migrate.runs.session import RunSession, RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.status import refuse_readers
from booking_migrate.runs.workers import WORTH_IT
from booking_migrate.stores.destination import refuse_unfit
from booking_migrate.stores.journal import NoteKind, RunRecord
from booking_migrate.stores.ports import DocumentReader

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace


@dataclass(frozen=True, slots=True)
class InPlaceOutcome:
    """The outcome of a migration in place."""

    outcome: MigrationOutcome
    run: RunRecord
    is_resumed: bool
    passes: int
    is_complete: bool
    """Whether the last pass found nothing that could be converted."""


def migrate_in_place(
    plan: MigrationPlan,
    collection: "MongoInPlace",
    *,
    stores: RunStores,
    session: RunSession,
    users: DocumentReader | None,
    experts: DocumentReader | None,
    most_passes: int,
    listener: Listener,
    signal_guard: SignalGuard,
) -> InPlaceOutcome:
    """Migrate within one collection while the application runs, under a journal and a lock.

    Each group of clients is moved in one transaction, and the journal with it; so a killed run is continued by finding what
    is left, and its counts are those of an uninterrupted run.

    Args:
        plan: what is to be done.
        collection: where the bookings are.
        stores: where the run's life is kept.
        session: opens and closes the requested run in the journal.
        users: where users are looked up; None if nowhere.
        experts: where experts are looked up; None if nowhere.
        most_passes: how many passes through the collection it makes at most.
        listener: notified of the progress.
        signal_guard: defers a signal while a batch is moved.

    Raises:
        Refused: a precondition does not hold; nothing was written.
        TargetBusy, LeaseLost: another run is active on the collection.
        OtherOptions, UnfinishedRun: an interrupted run is there that this request does not continue.
        ConnectionProblem, WriteFailed: the server cannot be asked, or cannot take the result.
    """
    regulator = session.regulator()
    try:
        regulator.check()
        for place in (users, experts):
            if place is not None:
                place.check()
        collection.check()
        directory = Directory(users, experts, plan.people)
        named = _examined(plan, collection, directory)
        running = _InPlace(
            plan,
            collection,
            directory,
            stores,
            session,
            most_passes,
            regulator,
            listener,
            signal_guard,
            named,
        )
        return running.migrate()
    except BaseException as error:
        session.fail(error)
        raise


@dataclass
class _InPlace:
    """One active run."""

    plan: MigrationPlan
    collection: "MongoInPlace"
    directory: Directory
    stores: RunStores
    session: RunSession
    most_passes: int
    regulator: Regulator
    listener: Listener
    signal_guard: SignalGuard
    named: Sequence[Finding]
    """Findings about the collection's indexes and options."""

    documents: int = 0
    total: int | None = None
    pool: MoverPool = field(init=False)
    """Set by `_prepare`."""

    def __post_init__(self) -> None:
        """Begin with batches as large as the options allow."""
        self.measure = AdaptiveSize(partial(self.regulator.size, self.plan.batch_bookings))

    def migrate(self) -> InPlaceOutcome:
        """Carry out the run, from its lock to its end."""
        started = monotonic()
        is_prepared = self._prepare()
        passes = 0
        while True:
            passes += 1
            this = self._pass(passes)
            is_complete = this.is_last
            if is_complete or passes >= self.most_passes:
                break
            this.rejects.abandon()
        try:
            this.check(self.collection.name, passes)
            with self.signal_guard.critical_section():
                self.session.confirm()
                is_rejects_changed = this.rejects.finish()
                return self._finish(
                    this,
                    passes,
                    changed=is_prepared or is_rejects_changed or self.pool.progress.counts.scanned > 0,
                    is_complete=is_complete,
                    seconds=monotonic() - started,
                )
        finally:
            this.rejects.abandon()

    def _prepare(self) -> bool:
        """Open the run and create missing indexes; return whether any was created, now or before an interruption."""
        self.session.lock()
        refuse_readers(self.collection.name, self.stores.journal, self.stores.locks)
        check_archive(self.collection, self.stores.journal)
        left_open = self.session.run.server_session if self.session.is_resumed else None
        if left_open is not None:
            # Before the first write: one of them may hold the run's own record.
            self.collection.end_units(self.session.run_id, left_open)
        self.session.open()
        self.pool = self._movers()
        self.session.keep(server_session=self.collection.server_sessions(self.pool.size))
        run = self.session.run
        if run.archive_existed is None:
            self.session.keep(
                archive_existed=self.collection.archive_exists(),
                indexes_made=list(self.collection.lacking_indexes()),
            )
        self.collection.prepare()
        self.session.confirm()
        if self.session.is_resumed and not self.collection.has_transactions:
            self._complete_step(self.pool.own)
        run = self.session.run
        return bool(run.indexes_made) or not run.archive_existed

    def _movers(self) -> MoverPool:
        """Return the movers, each with what its slot had moved before an interruption."""
        run, journal = self.session.run, self.stores.journal
        saved = {each["slot"]: Progress.of(each.get("tally", {})) for each in journal.progress(run.run_id)}
        earlier = Progress.of(run.tally)
        if not self.collection.has_transactions:
            saved, earlier = {0: earlier}, Progress(MigrationCounts())
        history = history_in_place(journal, self.collection.name)
        movers = [
            Mover(
                self.collection,
                GroupPlanner(self.plan, self.directory),
                self.session,
                journal,
                history,
                slot,
                saved.pop(slot, Progress(MigrationCounts())),
            )
            for slot in range(self._slots())
        ]
        for each in saved.values():
            earlier = earlier.plus(each)
        return MoverPool(movers[0], movers[1:], earlier, self.measure, self.signal_guard)

    def _slots(self) -> int:
        """Return how many transactions may run at a time, including that of the main thread."""
        is_many = self.collection.has_transactions and self.collection.estimate_count() >= WORTH_IT
        return self.plan.workers + 2 if is_many and self.plan.workers > 1 else 1

    def _complete_step(self, mover: Mover) -> None:
        """Repeat the unit of work that was interrupted between its steps, by its notes.

        It follows from the original bookings and the documents from before, whether they have been moved or not.
        """
        run = self.session.run
        noted = list(
            self.stores.journal.ranges(run.run_id, NoteKind.DOCUMENTS, NoteKind.MOVED, after=run.noted)
        )
        moved = [note for each in noted if each.kind is NoteKind.MOVED for note in each.notes]
        if not moved:
            return
        mover.cut_off = frozenset(each.name for each in noted)
        before = [
            note.before
            for each in noted
            if each.kind is NoteKind.DOCUMENTS
            for note in each.notes
            if note.before is not None
        ]
        with self.signal_guard.critical_section():
            plan = self.collection.work(
                lambda unit: mover.take_again(Replay(unit, self.collection, moved, before, noted[-1].name))
            )
            self._keep_rejected(plan, Pass(self.collection.rejects()))

    def _finish(
        self, last: Pass, passes: int, *, changed: bool, is_complete: bool, seconds: float
    ) -> InPlaceOutcome:
        progress = self.pool.progress
        moved, rejected = progress.counts, last.rejected
        # Those of the application that came during the run count as there before.
        there = max(0, self.collection.count_client_documents() - progress.written)
        counts = replace(moved.counts_with(rejected), client_documents=there)
        self.session.finish(
            changed=changed, counts=asdict(counts), documents=self.documents, tally=progress.saved()
        )
        outcome = MigrationOutcome(
            counts=counts,
            rejections=rejected.rejections(),
            spent=moved.spent(),
            rejected_money=rejected.rejected_money(),
            findings=(*moved.findings(), *self.named, *_remaining(last, is_complete=is_complete)),
            documents_written=progress.written,
            documents_changed=progress.changed,
            changed=changed,
            seconds=seconds,
            rejects_name=last.rejects.name if rejected.rejected else None,
        )
        return InPlaceOutcome(outcome, self.session.run, self.session.is_resumed, passes, is_complete)

    def _pass(self, number: int) -> Pass:
        this = Pass(self.collection.rejects())
        self.total = self.collection.estimate_count()
        label = "converting" if number == 1 else f"pass {number}: looking for bookings that came meanwhile in"
        self.documents = 0
        self.listener.notify(PhaseStarted(f"{label} {self.collection.name}", self.total))
        self.pool.move(self._batches(), lambda batch, moved: self._end(batch, moved, this))
        self.listener.notify(PhaseEnded())
        return this

    def _batches(self) -> Iterator[Batch]:
        """Yield the batches that are left to be moved or rejected, each when the rate limit allows it."""
        for batch in batches(self.collection.pending(), self.measure):
            self.regulator.wait()
            self.regulator.took(batch.documents)
            yield batch

    def _end(self, batch: Batch, moved: Moved, this: Pass) -> None:
        """Account for a batch."""
        self.documents += batch.documents
        if batch.strays:
            self._reject_strays(batch.strays, this)
        for client_id in moved.given_up:
            this.leave(client_id, batch.met.pop(sort_key(client_id)))
        for plan in moved.plans:
            self._keep_rejected(plan, this)
        met = (key for keys in batch.met.values() for key in keys)
        this.account(met, batch.ids, moved.plans, self.collection.find)
        this.rejects.flush()
        self.session.checkpoint(self.documents, self.total)
        self.listener.notify(Advanced(batch.documents))

    def _reject_strays(self, ids: Sequence[Any], this: Pass) -> None:
        """Reject documents without a client; one that has a client now is left for the next pass."""
        plan = GroupPlan()
        movable = self.pool.own.planner.convert(self.collection.find(ids), plan)
        plan.counts.scanned -= len(movable)
        self._keep_rejected(plan, this)
        known = {sort_key(each): each for each in ids}
        this.account(known, known, [plan], self.collection.find)

    def _keep_rejected(self, plan: GroupPlan, this: Pass) -> None:
        this.rejected.reject(plan.rejected)
        this.rejected.scanned += len(plan.rejected)
        this.done(plan)
        for rejection in plan.rejected:
            this.rejects.add(rejection)


def _examined(plan: MigrationPlan, collection: "MongoInPlace", directory: Directory) -> tuple[Finding, ...]:
    """Return the findings about the collection's indexes and options.

    Raises:
        UnfitPlace: one of them conflicts with client documents.
    """
    documents = sample_documents(plan, collection.ends(SAMPLE), directory)
    found = collection.examine(documents)
    refuse_unfit(collection.name, found, in_place=True)
    return tuple(findings_of(collection.name, found, is_over=True))


def _remaining(last: Pass, *, is_complete: bool) -> Sequence[Finding]:
    if is_complete:
        return ()
    return (
        Finding(
            kind="bookings-still-come",
            title=agreed(
                "{booking|bookings} in the old shape that the last pass still found; more may have come since",
                last.moved,
            ),
            count=last.moved,
            sample_ids=(),
            advice="Stop what still writes the old shape, then run the same command again.",
        ),
    )
