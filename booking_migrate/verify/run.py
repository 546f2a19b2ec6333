"""Run a verification: both sides are read once, client by client, and then what is left over is reported."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from secrets import SystemRandom
from typing import TypeVar

from booking_migrate.bson.document import identity_of
from booking_migrate.bson.format import display_id
from booking_migrate.errors import TargetInOldShape, UnaccountedBookings
from booking_migrate.events import Advanced, Listener, NullListener, PhaseEnded, PhaseStarted
from booking_migrate.runs.control import Setting
from booking_migrate.runs.regulator import Regulator, Unregulated
from booking_migrate.runs.workers import WORTH_IT, WorkerPool
from booking_migrate.stores.chunks import ClientStream, pack, unpack
from booking_migrate.stores.ports import ClientParts, ComparedReader, DocumentReader
from booking_migrate.stores.rejects import RejectedRecords
from booking_migrate.verify.client_check import check_batch
from booking_migrate.verify.expected import PeopleLookup
from booking_migrate.verify.fastpath import FastPath, FlatResult, check_range, range_pairs
from booking_migrate.verify.join import ClientPair, TargetDocument, pair_clients, with_first_checked
from booking_migrate.verify.mismatch import INDEX_FIELD, Kind, Mismatch, Rule
from booking_migrate.verify.outcome import (
    ClientResult,
    VerificationCounts,
    VerificationOutcome,
    VerificationPlan,
)
from booking_migrate.verify.reconcile import Recheck, Reconciler

_BATCHES_PER_WORKER = 2
"""The batches under way for each worker: enough to keep it busy, and no more in memory."""

_NULL_LISTENER = NullListener()
_UNREGULATED = Unregulated()

Batch = list[ClientPair]
Item = TypeVar("Item")


def ignore(_mismatch: Mismatch) -> None:
    """Do nothing: the default sink; mismatches are only counted."""


def verify(
    plan: VerificationPlan,
    source: ComparedReader,
    target: ComparedReader,
    rejected: RejectedRecords,
    *,
    users: DocumentReader | None = None,
    experts: DocumentReader | None = None,
    has_client_index: Callable[[], bool] | None = None,
    sink: Callable[[Mismatch], None] = ignore,
    listener: Listener = _NULL_LISTENER,
    regulator: Regulator | Unregulated = _UNREGULATED,
) -> VerificationOutcome:
    """Prove that the target is what the source had to become, or list every mismatch. Nothing is written.

    Args:
        plan: what must hold, and how to check it.
        source: the old bookings.
        target: the client documents.
        rejected: the records of the bookings that could not be converted.
        users: where users are looked up, if anywhere.
        experts: where experts are looked up, if anywhere.
        has_client_index: returns whether the target keeps a client from having two documents; None for a file.
        sink: takes every mismatch as it is found, in client order.
        listener: notified of progress.
        regulator: holds the reading back by what others ask.

    Raises:
        PlaceNotFound, UnusablePlace, BrokenDocument, ConnectionProblem, NotPermitted: a place cannot be read.
        TargetInOldShape: the target begins with an old booking.
        UnaccountedBookings: no mismatch was found, yet the counts do not add up: a fault of the verifier.
        SlicingFault: the fast path slices a document wrongly: a fault of the tool.
    """
    started = time.monotonic()
    for place in (source, target, users, experts):
        if place is not None:
            place.check()
    gathered = VerificationCounts(sink)
    lookup = PeopleLookup(users, experts, plan.people)
    run = _Run(plan, source, target, lookup, gathered, listener, regulator)
    reconciler = Reconciler(source, rejected, gathered, plan.rules)
    listener.notify(PhaseStarted(f"verifying {target.name} against {source.name}", source.estimate_count()))
    run.check_clients(reconciler)
    listener.notify(PhaseEnded())
    if has_client_index is not None and not has_client_index():
        detail = "no unique index on clientId keeps a client from getting a second document"
        gathered.add_mismatch(Mismatch(Kind.MISSING, field=INDEX_FIELD, detail=detail))
    if plan.sample is None:
        if plan.behind is not None:
            plan.behind.update()
        reconciler.report_unclaimed(_never if plan.behind is None else plan.behind.covers_booking)
    rules = tuple(rule for rule in Rule if rule is not Rule.INDEX or has_client_index is not None)
    outcome = run.outcome(rules, rejected.name, time.monotonic() - started)
    counts = outcome.counts
    accounted = (
        counts.migrated + counts.already_migrated + counts.rejected + gathered.totals["missing_bookings"]
    )
    if not outcome.mismatch_count and counts.scanned != accounted:
        raise UnaccountedBookings(counts.scanned, accounted)
    return outcome


def _never(_booking_id: object) -> bool:
    return False


@dataclass(slots=True)
class _Run:
    """One verification in progress."""

    _plan: VerificationPlan
    _source: ComparedReader
    _target: ComparedReader
    _lookup: PeopleLookup
    _gathered: VerificationCounts
    _listener: Listener
    _regulator: Regulator | Unregulated
    _is_first_target: bool = True
    _clients_seen: int = 0
    _clients_checked: int = 0
    _others_checked: int = 0

    def check_clients(self, reconciler: Reconciler) -> None:
        """Check all clients, or a random sample of them."""
        plan = self._plan
        workers = plan.workers if (self._source.estimate_count() or 0) >= WORTH_IT else 1
        recheck = Recheck(plan, self._source, self._target, self._lookup)
        with WorkerPool(workers) as pool:
            for batch, results in self._check_batches(pool):
                clients = sum(pair.is_client for pair in batch)
                self._clients_checked += clients
                self._others_checked += len(batch) - clients
                final: list[tuple[ClientPair, ClientResult]] = []
                for pair, result in zip(batch, results, strict=True):
                    if recheck.is_wanted(pair) and not reconciler.is_sound(result):
                        recheck.defer(pair, result)
                    else:
                        final.append((pair, result))
                self._settle(reconciler, final)
                for again in recheck.due():
                    self._settle(reconciler, again)
                self._advance(sum(len(pair.source) for pair in batch))
            for again in recheck.rest():
                self._settle(reconciler, again)
        if plan.sample is None:
            self._clients_seen = self._clients_checked + self._others_checked

    def _advance(self, bookings: int) -> None:
        self._regulator.took(bookings)
        self._listener.notify(Advanced(bookings))

    def _regulated(self, items: Iterable[Item], pool: WorkerPool | None = None) -> Iterator[Item]:
        """Yield items, each as soon as nothing holds it back; the pool is as large as was asked for since."""
        for item in items:
            self._regulator.wait()
            wanted = self._regulator.workers
            if pool is not None and wanted is not None and wanted != pool.workers:
                pool.resize(wanted)
            yield item

    def _settle(self, reconciler: Reconciler, results: Iterable[tuple[ClientPair, ClientResult]]) -> None:
        """Take final results; clients that differ because the source has changed since are only counted."""
        behind = self._plan.behind
        settled = list(results)
        unsound = (
            [] if behind is None else [pair for pair, result in settled if not reconciler.is_sound(result)]
        )
        if behind is None or not unsound:
            reconciler.take(result for _, result in settled)
            return
        behind.update(unsound)
        covered = {id(pair) for pair in unsound if behind.covers(pair)}
        for pair, result in settled:
            if id(pair) in covered:
                reconciler.pass_over(result)
        reconciler.take(result for pair, result in settled if id(pair) not in covered)

    def outcome(self, rules: tuple[Rule, ...], rejects_name: str, seconds: float) -> VerificationOutcome:
        """Return what was found, with a result for each of these rules."""
        gathered = self._gathered
        counts = gathered.counts()
        missing = gathered.totals["missing"] + gathered.totals["missing_bookings"]
        is_allowed = self._plan.rules.allow_deleted
        return VerificationOutcome(
            counts=counts,
            results=gathered.results(rules),
            rejections=gathered.rejections(),
            findings=gathered.findings(),
            later_sessions=gathered.totals["later"],
            behind=gathered.totals["behind"],
            knows_behind=self._plan.behind is not None and self._plan.behind.is_complete,
            changed_sessions=gathered.totals["changed"],
            deleted_sessions=missing if is_allowed else 0,
            missing_sessions=0 if is_allowed else missing,
            clients_checked=self._clients_checked,
            clients_seen=self._clients_seen,
            sampled=self._plan.sample is not None,
            recheck=self._plan.recheck,
            rejects_name=rejects_name if counts.rejected else None,
            seconds=seconds,
        )

    def _check_batches(self, pool: WorkerPool) -> Iterator[tuple[Batch, list[ClientResult]]]:
        """Yield batches of clients with their results, in client order; flat clients without mismatch are only counted."""
        plan = self._plan
        is_cut = pool.workers > 1 or (self._source.is_loaded and self._target.is_loaded)
        sides = _partitioned(self._source, self._target) if is_cut and plan.sample is None else None
        declined = self._declined() if sides is None else self._declined_of_ranges(*sides, pool)
        under_way: deque[tuple[Batch, Future[list[ClientResult]]]] = deque()
        for batch in _batches(declined, plan.batch_bookings):
            _set_baselines(plan, batch)
            people = self._lookup.people_for(document for pair in batch for document in pair.source)
            under_way.append((batch, pool.submit(check_batch, plan.rules, batch, people)))
            if pool.workers == 1 or len(under_way) >= pool.workers * _BATCHES_PER_WORKER:
                done, checked = under_way.popleft()
                yield done, checked.result()
        for done, checked in under_way:
            yield done, checked.result()

    def _declined(self) -> Iterator[ClientPair]:
        """Yield all clients, or those of a sample, but the flat ones that are as they must be."""
        target = with_first_checked(self._target.scan_by_client(), self._refuse_old_shape)
        pairs: Iterable[ClientPair] = pair_clients(self._source.scan_by_client(), target)
        if self._plan.sample is not None:
            pairs, self._clients_seen = _random_sample(pairs, self._plan.sample)
        fast_path = FastPath(self._plan.rules)
        for batch in self._regulated(_batches(pairs, self._plan.batch_bookings)):
            yield from self._count_flat(fast_path.check(batch))

    def _declined_of_ranges(
        self, source: ClientParts, target: ClientParts, pool: WorkerPool
    ) -> Iterator[ClientPair]:
        """Yield all clients but the flat ones that the workers find to be as they must be."""
        below = with_first_checked(unpack(target.scan_below()), self._refuse_old_shape)
        yield from pair_clients(unpack(source.scan_below()), below)
        rules = self._plan.rules
        self._regulator.offer(Setting.WORKERS)
        ranges = self._regulated(range_pairs(source, target), pool)
        for _, first in pool.each(partial(check_range, rules), ranges):
            part: FlatResult | None = first
            while part is not None:
                if part.first_target is not None:
                    self._refuse_old_shape(part.first_target)
                yield from self._count_flat(part)
                part = None if part.rest is None else check_range(rules, part.rest)
        yield from pair_clients(unpack(source.scan_above()), unpack(target.scan_above()))

    def _count_flat(self, result: FlatResult) -> list[ClientPair]:
        """Count flat clients; return all others."""
        self._clients_checked += result.clients
        self._gathered.add_flat(result.clients, result.bookings)
        self._advance(result.bookings)
        return result.declined

    def _refuse_old_shape(self, raw: bytes) -> None:
        document = TargetDocument(raw)
        if self._is_first_target and b"sessions" not in document.by_name:
            raise TargetInOldShape(self._target.name, display_id(document.value(b"_id")), is_written=False)
        self._is_first_target = False


def _partitioned(source: ComparedReader, target: ComparedReader) -> tuple[ClientParts, ClientParts] | None:
    """Return both sides in ranges of clients; None if one of them cannot be read that way."""
    ours = source.partition()
    theirs = None if ours is None else target.partition()
    if ours is None or theirs is None:
        return None
    if isinstance(theirs, ClientStream) and not isinstance(ours, ClientStream):
        # What a range of the source leaves for later cannot be taken from a scan that is further on by then.
        ours = ClientStream(lambda: pack(source.scan_by_client()))
    return ours, theirs


def _batches(pairs: Iterable[ClientPair], size: int) -> Iterator[Batch]:
    """Yield pairs together that hold about ``size`` documents."""
    batch: Batch = []
    documents = 0
    for pair in pairs:
        batch.append(pair)
        documents += len(pair.source) + len(pair.target)
        if documents >= size:
            yield batch
            batch, documents = [], 0
    if batch:
        yield batch


def _random_sample(pairs: Iterable[ClientPair], count: int) -> tuple[Sequence[ClientPair], int]:
    """Return ``count`` clients, each as likely as any other, in their order; and the number of all clients."""
    random = SystemRandom()
    kept: list[tuple[int, ClientPair]] = []
    seen = 0
    for pair in pairs:
        if not pair.is_client:
            continue
        # Reservoir sampling: the n-th client is kept with probability count / n, in the place of any other.
        if len(kept) < count:
            kept.append((seen, pair))
        elif (index := random.randrange(seen + 1)) < count:
            kept[index] = (seen, pair)
        seen += 1
    return [pair for _position, pair in sorted(kept, key=lambda item: item[0])], seen


def _set_baselines(plan: VerificationPlan, batch: Batch) -> None:
    """Look up what the target held of these clients before the migration."""
    clients = [pair for pair in batch if pair.is_client and pair.target]
    documents = [document.raw for pair in clients for document in pair.target if document.has_sessions]
    known = plan.baselines(documents)
    for pair in clients if known else ():
        found = (known.get(identity_of(document.raw)) for document in pair.target if document.has_sessions)
        pair.baseline = next((each for each in found if each is not None), None)
