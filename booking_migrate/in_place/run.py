"""The run of a migration in place: pass after pass through the collection, until one finds nothing to convert."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from booking_migrate.bson.order import sort_key
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.in_place.archive import Replay, check_archive
from booking_migrate.in_place.group import GroupPlan, GroupPlanner
from booking_migrate.in_place.passes import Batch, Measure, Pass, Progress, batches, bisect_on_conflict
from booking_migrate.migrate.counts import MigrationCounts
from booking_migrate.migrate.lookup import Directory
from booking_migrate.migrate.preflight import SAMPLE, findings_of, sample_documents
from booking_migrate.runs.commands import refuse_readers
from booking_migrate.runs.outcome import Finding, MigrationOutcome
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import NoHistory, TargetHistory, history_in_place
from booking_migrate.runs.session import RunRequest, RunSession, RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.throttle import NullThrottle, Pace, Throttle
from booking_migrate.stores.destination import refuse_unfit
from booking_migrate.stores.in_place import Move, Unit
from booking_migrate.stores.journal import NoteKind, RunRecord, identity_of
from booking_migrate.stores.ports import DocumentReader

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace

DEFAULT_PASSES = 10


@dataclass(frozen=True, slots=True)
class Manner:
    """How a migration in place goes about it. None of it decides the result."""

    passes: int = DEFAULT_PASSES
    """How many passes through the collection it makes at most."""

    maximum_rate: float | None = None
    """How many bookings a second it moves at most."""


@dataclass(frozen=True, slots=True)
class InPlaceOutcome:
    """What a migration in place came to."""

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
    request: RunRequest,
    users: DocumentReader | None,
    experts: DocumentReader | None,
    manner: Manner,
    listener: Listener,
    signal_guard: SignalGuard,
) -> InPlaceOutcome:
    """Migrate within one collection while the application runs, under a journal and a lock.

    Each group of clients is moved in one transaction, and the journal with it; so a run that was cut off anywhere is
    continued by finding what is left, and its counts are those of one that was never interrupted.

    Args:
        plan: what is to be done.
        collection: where the bookings are.
        stores: where the run's life is kept.
        session: opens and closes the run in the journal.
        request: the run to begin or to continue.
        users: where users are looked up; None if nowhere.
        experts: where experts are looked up; None if nowhere.
        manner: passes and batch size.
        listener: notified of the progress.
        signal_guard: holds a signal back while a batch is moved.

    Raises:
        Refused: a precondition does not hold; nothing was written.
        TargetBusy, LeaseLost: another run is active on the collection.
        OtherOptions, UnfinishedRun: an interrupted run is there that this request does not continue.
        ConnectionProblem, WriteFailed: the server cannot be asked, or cannot take the result.
    """
    limit = request.maximum_lag
    throttle = NullThrottle() if limit is None else Throttle(stores.lag, limit, listener)
    try:
        throttle.check()
        for place in (users, experts):
            if place is not None:
                place.check()
        collection.check()
        directory = Directory(users, experts, plan.people)
        named = _examined(plan, collection, directory)
        settler = GroupPlanner(plan, directory)
        outcome = _InPlace(
            plan,
            collection,
            settler,
            stores=stores,
            session=session,
            manner=manner,
            throttle=throttle,
            listener=listener,
            signal_guard=signal_guard,
            named=named,
        ).migrate()
    except BaseException as error:
        session.fail(error)
        raise
    return outcome


class _InPlace:
    """One active run."""

    def __init__(
        self,
        plan: MigrationPlan,
        collection: "MongoInPlace",
        settler: GroupPlanner,
        *,
        stores: RunStores,
        session: RunSession,
        manner: Manner,
        throttle: Throttle | NullThrottle,
        listener: Listener,
        signal_guard: SignalGuard,
        named: Sequence[Finding],
    ) -> None:
        self._collection = collection
        self._named = named
        self._journal = stores.journal
        self._locks = stores.locks
        self._session = session
        self._settler = settler
        self._manner = manner
        self._throttle = throttle
        self._listener = listener
        self._shield = signal_guard
        self._pace = None if manner.maximum_rate is None else Pace(manner.maximum_rate)
        self._measure = Measure(
            plan.batch_bookings if self._pace is None else min(plan.batch_bookings, self._pace.batch)
        )
        self._progress = Progress(MigrationCounts())
        self._documents = 0
        self._total: int | None = None
        self._history: TargetHistory = NoHistory()
        self._cut_off: frozenset[str] = frozenset()
        """The names of the notes about a unit of work that was cut off between its steps."""

    def migrate(self) -> InPlaceOutcome:
        """Lead the run from its lock to its end."""
        started = monotonic()
        is_prepared = self._prepare()
        passes = 0
        while True:
            passes += 1
            this = self._pass(passes)
            is_complete = this.is_last
            if is_complete or passes >= self._manner.passes:
                break
            this.rejects.abandon()
        try:
            this.check(self._collection.name, passes)
            with self._shield.critical_section():
                self._session.confirm()
                is_rejects_changed = this.rejects.finish()
                return self._finish(
                    this,
                    passes,
                    changed=is_prepared or is_rejects_changed or self._progress.tally.scanned > 0,
                    is_complete=is_complete,
                    seconds=monotonic() - started,
                )
        finally:
            this.rejects.abandon()

    def _prepare(self) -> bool:
        """Open the run and make what is lacking; whether anything was made, now or before an interruption."""
        self._session.lock()
        refuse_readers(self._collection.name, self._journal, self._locks)
        check_archive(self._collection, self._journal)
        left_open = self._session.run.server_session if self._session.is_resumed else None
        if left_open is not None:
            # Before the first write: it may hold the run's own record.
            self._collection.end_session(left_open)
        self._session.open()
        self._session.keep(server_session=self._collection.server_session())
        run = self._session.run
        if run.archive_existed is None:
            self._session.keep(
                archive_existed=self._collection.archive_exists(),
                indexes_made=list(self._collection.lacking_indexes()),
            )
        self._collection.prepare()
        self._session.confirm()
        self._progress = Progress.of(self._session.run)
        self._history = history_in_place(self._journal, self._collection.name)
        if self._session.is_resumed and not self._collection.has_transactions:
            self._complete_step()
        run = self._session.run
        return bool(run.indexes_made) or not run.archive_existed

    def _complete_step(self) -> None:
        """Take once more, from the notes, the unit of work that was cut off between its steps.

        What it had to do follows from the originals and from the documents of before, wherever they are by now.
        """
        run = self._session.run
        noted = list(self._journal.ranges(run.run_id, NoteKind.DOCUMENTS, NoteKind.MOVED, after=run.noted))
        moved = [note for each in noted if each.kind is NoteKind.MOVED for note in each.notes]
        if not moved:
            return
        self._cut_off = frozenset(each.name for each in noted)
        before = [
            note.before
            for each in noted
            if each.kind is NoteKind.DOCUMENTS
            for note in each.notes
            if note.before is not None
        ]
        with self._shield.critical_section():
            settlement = self._collection.work(
                lambda unit: self._take_again(Replay(unit, self._collection, moved, before, noted[-1].name))
            )
            self._done(settlement, Pass(self._collection.rejects()))

    def _take_again(self, unit: Replay) -> GroupPlan:
        return self._take(unit, unit.client_ids())

    def _finish(
        self, last: Pass, passes: int, *, changed: bool, is_complete: bool, seconds: float
    ) -> InPlaceOutcome:
        moved, rejected = self._progress.tally, last.rejected
        counts = moved.counts_with(rejected)
        self._session.finish(changed=changed, counts=asdict(counts), documents=self._documents)
        outcome = MigrationOutcome(
            counts=counts,
            rejections=rejected.rejections(),
            spent=moved.spent(),
            findings=(*moved.findings(), *self._named, *_remaining(last, is_complete=is_complete)),
            documents_written=self._progress.written,
            documents_changed=self._progress.changed,
            changed=changed,
            seconds=seconds,
            rejects_name=last.rejects.name if rejected.rejected else None,
        )
        return InPlaceOutcome(outcome, self._session.run, self._session.is_resumed, passes, is_complete)

    def _pass(self, number: int) -> Pass:
        this = Pass(self._collection.rejects())
        self._total = self._collection.estimate_count()
        label = "converting" if number == 1 else f"pass {number}: looking for bookings that came meanwhile in"
        self._documents = 0
        self._listener.notify(PhaseStarted(f"{label} {self._collection.name}", self._total))
        for batch in batches(self._collection.waiting(), self._measure):
            self._throttle.wait()
            if self._pace is not None:
                self._pace.wait(batch.documents)
            with self._shield.critical_section():
                self._deal_with(batch, this)
            self._listener.notify(Advanced(batch.documents))
        self._listener.notify(PhaseEnded())
        return this

    def _deal_with(self, batch: Batch, this: Pass) -> None:
        self._documents += batch.documents
        if batch.strays:
            self._reject_strays(batch.strays, this)
        if batch.clients:
            self._move(batch, this)
        this.rejects.flush()

    def _reject_strays(self, ids: Sequence[Any], this: Pass) -> None:
        """Reject documents without a client; one that has a client by now is for the next pass."""
        settlement = GroupPlan()
        mended = self._settler.convert(self._collection.find(ids), settlement)
        settlement.tally.scanned -= len(mended)
        self._keep_rejected(settlement, this)
        this.account(ids, [settlement], self._collection.find)

    def _move(self, batch: Batch, this: Pass) -> None:
        settlements = []
        for clients, settlement in bisect_on_conflict(batch.clients, self._attempt):
            if settlement is None:
                for client_id in clients:
                    this.leave(client_id, batch.met.pop(sort_key(client_id)))
            else:
                self._done(settlement, this)
                settlements.append(settlement)
        met = [document_id for ids in batch.met.values() for document_id in ids]
        this.account(met, settlements, self._collection.find)

    def _attempt(self, clients: Sequence[Any]) -> GroupPlan:
        began = monotonic()
        settlement = self._collection.work(lambda unit: self._take(unit, clients))
        self._measure.learn(monotonic() - began)
        return settlement

    def _take(self, unit: Unit, clients: Sequence[Any]) -> GroupPlan:
        """Return what happens within one unit of work."""
        settlement = self._settler.settle(unit, clients, self._history)
        self._recount(settlement)
        settlement.tally.check()
        if settlement.gone or settlement.removed or settlement.changed:
            self._session.confirm()
            unit.take(
                Move(
                    new=settlement.new,
                    changed=settlement.changed,
                    gone=[*settlement.gone, *settlement.removed],
                    archived=settlement.archived,
                    rearchived=settlement.rearchived,
                    notes=settlement.notes,
                    progress={
                        "tally": self._progress.after(settlement).saved(),
                        "documents": self._documents,
                        "total": self._total,
                    },
                    run_id=self._session.run_id,
                    token=self._session.token,
                ),
            )
        return settlement

    def _recount(self, settlement: GroupPlan) -> None:
        """Count clients once of which this run has moved bookings before."""
        if not settlement.continued or not self._progress.tally.scanned:
            return
        for document in settlement.continued:
            key = sort_key(document.client_id)
            identity = identity_of(document.raw)
            related = self._journal.between(self._session.run_id, key, key)
            counted = (noted for noted in related if noted.name not in self._cut_off)
            if any(note.identity == identity for noted in counted for note in noted.notes):
                settlement.tally.recount(len(document.sessions))

    def _done(self, settlement: GroupPlan, this: Pass) -> None:
        if settlement.gone:
            self._progress = self._progress.after(settlement)
        self._keep_rejected(settlement, this)

    def _keep_rejected(self, settlement: GroupPlan, this: Pass) -> None:
        this.rejected.reject(settlement.rejected)
        this.rejected.scanned += len(settlement.rejected)
        this.done(settlement)
        for rejection in settlement.rejected:
            this.rejects.add(rejection)


def _examined(plan: MigrationPlan, collection: "MongoInPlace", directory: Directory) -> tuple[Finding, ...]:
    """Return the findings about the collection's indexes and options.

    Raises:
        UnfitPlace: one of them conflicts with client documents.
    """
    documents = sample_documents(plan, collection.ends(SAMPLE), directory)
    found = collection.examine(documents)
    refuse_unfit(collection.name, found)
    return tuple(findings_of(collection.name, found))


def _remaining(last: Pass, *, is_complete: bool) -> Sequence[Finding]:
    if is_complete:
        return ()
    return (
        Finding(
            kind="bookings-still-come",
            title="bookings in the old shape that the last pass still found; more may have come since",
            count=last.moved,
            sample_ids=(),
            advice="Stop what still writes the old shape, then run the same command again.",
        ),
    )
