"""The run of a verification: both sides once, client by client, and then what is left over."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from booking_migrate.bson.document import read_value
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.errors import TargetInOldShape, UnaccountedBookings
from booking_migrate.events import Advanced, Listener, NullListener, PhaseEnded, PhaseStarted
from booking_migrate.runs.workers import WORTH_IT, WorkerPool
from booking_migrate.stores.blocks import unpack
from booking_migrate.stores.ports import ComparedReader, DocumentReader, RejectedRecords
from booking_migrate.verify.batches import batches, check_all, chosen_by_chance
from booking_migrate.verify.client_check import ClientResult
from booking_migrate.verify.documents import SourceDocument, TargetDocument
from booking_migrate.verify.join import ClientPair, pair_clients, watched
from booking_migrate.verify.mismatch import INDEX_FIELD, Kind, Mismatch, Rule
from booking_migrate.verify.outcome import VerificationCounts, VerificationOutcome
from booking_migrate.verify.parallel import RangeResult, check_range, range_pairs
from booking_migrate.verify.people import PeopleLookup
from booking_migrate.verify.plan import VerificationPlan
from booking_migrate.verify.recheck import Recheck
from booking_migrate.verify.rejects import is_conflict, is_kept, is_settled, settle, without_booking
from booking_migrate.verify.sessions import CLAIM

_ASKED_AT_ONCE = 1000
"""How many bookings are looked for at a time: a single client document may claim more than a query can name."""

_SILENCE = NullListener()


def ignore(_mismatch: Mismatch) -> None:
    """The default sink: mismatches are only counted."""


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
    listener: Listener = _SILENCE,
) -> VerificationOutcome:
    """Prove that the target is what the source had to become, or list every mismatch. Nothing is written.

    Args:
        plan: what must hold, and how to go about it.
        source: the old bookings.
        target: the client documents.
        rejected: the records of the bookings that could not be converted.
        users: where users are looked up, if anywhere.
        experts: likewise experts.
        has_client_index: says whether the target keeps a client from having two documents; None for a file.
        sink: is given every mismatch as it is found, in client order.
        listener: told how the work goes on.

    Raises:
        PlaceNotFound, UnusablePlace, BrokenDocument, ConnectionProblem, NotPermitted: a place cannot be read.
        TargetInOldShape: the target begins with an old booking.
        UnaccountedBookings: no mismatch was found, yet the counts do not add up: a fault of the verifier.
    """
    begun = time.monotonic()
    for place in (source, target, users, experts):
        if place is not None:
            place.check()
    run = _Run(plan, source, PeopleLookup(users, experts, plan.people), rejected, VerificationCounts(sink))
    listener.notify(PhaseStarted(f"verifying {target.name} against {source.name}", source.estimate_count()))
    checked = run.check_clients(source, target, listener)
    listener.notify(PhaseEnded())
    if has_client_index is not None and not has_client_index():
        detail = "no unique index on clientId keeps a client from getting a second document"
        run.gathering.add_mismatch(Mismatch(Kind.MISSING, field=INDEX_FIELD, detail=detail))
    if plan.sample is None:
        run.report_unclaimed()
    rules = tuple(rule for rule in Rule if rule is not Rule.INDEX or has_client_index is not None)
    counts = run.gathering.counts()
    outcome = VerificationOutcome(
        counts=counts,
        results=run.gathering.results(rules),
        rejections=run.gathering.rejections(),
        findings=run.gathering.findings(),
        later_sessions=run.gathering.totals["later"],
        changed_sessions=run.gathering.totals["changed"],
        clients_checked=checked,
        clients_seen=run.clients_seen,
        sampled=plan.sample is not None,
        rejects_name=rejected.name if counts.rejected else None,
        seconds=time.monotonic() - begun,
    )
    accounted = counts.migrated + counts.already_migrated + counts.rejected
    if not outcome.mismatch_count and counts.scanned != accounted:
        raise UnaccountedBookings(counts.scanned, accounted)
    return outcome


class _Run:
    """One verification under way."""

    def __init__(
        self,
        plan: VerificationPlan,
        source: ComparedReader,
        lookup: PeopleLookup,
        rejected: RejectedRecords,
        gathering: VerificationCounts,
    ) -> None:
        self._plan = plan
        self._source = source
        self._lookup = lookup
        self._rejected = rejected
        self.gathering = gathering
        self.clients_seen = 0
        self._checked = 0
        """How many clients have been checked."""

    def check_clients(self, source: ComparedReader, target: ComparedReader, listener: Listener) -> int:
        """Check all clients, or those that chance chooses; how many were checked."""
        plan = self._plan
        workers = plan.workers if (source.estimate_count() or 0) >= WORTH_IT else 1
        with WorkerPool(workers) as pool:
            pairs: Iterable[ClientPair] = self._counted(self._pairs(source, target, pool, listener))
            if plan.sample is not None:
                pairs, self.clients_seen = chosen_by_chance(pairs, plan.sample)
            recheck = Recheck(plan, source, target, self._lookup)
            parts = batches(pairs, plan.batch_bookings)
            for batch, results in check_all(plan, parts, self._lookup, pool):
                self._checked += sum(pair.is_client for pair in batch)
                sound = []
                for pair, result in zip(batch, results, strict=True):
                    if not (recheck.is_wanted(pair) and self._is_dubious(result)):
                        sound.append(result)
                    else:
                        recheck.defer(pair, result)
                self._take(sound)
                for again in recheck.due():
                    self._take(again)
                listener.notify(Advanced(sum(len(pair.source) for pair in batch)))
            for again in recheck.rest():
                self._take(again)
        if plan.sample is None:
            self.clients_seen = self._checked + self.gathering.totals["orphans"]
        return self._checked

    def _pairs(
        self, source: ComparedReader, target: ComparedReader, pool: WorkerPool, listener: Listener
    ) -> Iterator[ClientPair]:
        """All clients; those that a glance in another process finds to be as they must be are only counted."""
        is_first = True

        def refuse_old_shape(raw: bytes) -> None:
            nonlocal is_first
            document = TargetDocument(raw)
            if is_first and b"sessions" not in document.by_name:
                raise TargetInOldShape(target.name, display_id(document.value(b"_id")))
            is_first = False

        ours = source.cut() if pool.workers > 1 and self._plan.sample is None else None
        theirs = None if ours is None else target.cut()
        if ours is None or theirs is None:
            yield from pair_clients(
                source.scan_by_client(), watched(target.scan_by_client(), refuse_old_shape)
            )
            return
        before = watched(unpack(theirs.scan_below()), refuse_old_shape)
        yield from pair_clients(unpack(ours.scan_below()), before)
        rules = self._plan.rules
        for _, first in pool.each(partial(check_range, rules), range_pairs(ours, theirs)):
            glanced: RangeResult | None = first
            while glanced is not None:
                if glanced.first_target is not None:
                    refuse_old_shape(glanced.first_target)
                self._checked += glanced.clients
                self.gathering.add_flat(glanced.clients, glanced.bookings)
                listener.notify(Advanced(glanced.bookings))
                yield from glanced.unusual
                glanced = None if glanced.rest is None else check_range(rules, glanced.rest)
        yield from pair_clients(unpack(ours.scan_above()), unpack(theirs.scan_above()))

    def _counted(self, pairs: Iterable[ClientPair]) -> Iterator[ClientPair]:
        for pair in pairs:
            self.gathering.totals["orphans"] += not pair.is_client
            yield pair

    def _is_dubious(self, result: ClientResult) -> bool:
        return bool(result.mismatches) or not all(is_settled(one, self._rejected) for one in result.open)

    def _take(self, results: Iterable[ClientResult]) -> None:
        """Settle what is open, and add up."""
        mismatches: list[Mismatch] = []
        strange: list[Mismatch] = []
        for result in results:
            self.gathering.add_client(result)
            mismatches += result.mismatches
            strange += result.strange
            for booking in result.open:
                record = self._rejected.claim(booking.raw)
                wrong = settle(booking, record)
                mismatches += wrong
                if record is not None and is_kept(booking, record):
                    self.gathering.totals["already_migrated"] += 1
                elif record is not None and (not wrong or is_conflict(booking, record)):
                    self.gathering.add_rejected(record.reason, booking.booking_id)
        for mismatch in self._with_owners(mismatches):
            self.gathering.add_mismatch(mismatch)
        for mismatch in self._with_owners(strange):
            # A booking that the source does not have at all may be one of another source, migrated before.
            if mismatch.kind is Kind.CLIENT:
                self.gathering.add_mismatch(mismatch)

    def _with_owners(self, mismatches: list[Mismatch]) -> Iterator[Mismatch]:
        """Tell a session of another client's booking from one of no booking at all."""
        claims = {
            element_key(mismatch.found): read_value(mismatch.found)
            for mismatch in mismatches
            if mismatch.kind is Kind.EXTRA and mismatch.field == CLAIM and mismatch.found is not None
        }
        owners = {}
        ids = list(claims.values())
        for start in range(0, len(ids), _ASKED_AT_ONCE):
            for raw in self._source.find(ids[start : start + _ASKED_AT_ONCE]):
                booking = SourceDocument(raw)
                if not booking.is_client_document:
                    owners[sort_key(booking.booking_id)] = booking.client_id
        for mismatch in mismatches:
            is_claim = mismatch.kind is Kind.EXTRA and mismatch.field == CLAIM and mismatch.found is not None
            key = element_key(mismatch.found) if is_claim and mismatch.found is not None else b""
            if key not in owners:
                yield mismatch
            else:
                owner = display_id(owners[key])
                yield replace(mismatch, kind=Kind.CLIENT, detail=f"the booking is one of client {owner}")

    def report_unclaimed(self) -> None:
        """Report the rejected records that no booking needs."""
        for record in self._rejected.unclaimed():
            self.gathering.add_mismatch(without_booking(record))
