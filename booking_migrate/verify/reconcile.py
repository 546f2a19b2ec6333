"""Decide about differences: by the rejected records, by the owners of bookings, and by reading clients again.

On a collection in use a difference may be one of time only, so a client that has any is read again before it is reported.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from time import monotonic, sleep
from typing import Any, NamedTuple

from booking_migrate.bson.document import read_value
from booking_migrate.bson.format import differences, display_id
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.domain.rejection import ConflictPolicy, Reason
from booking_migrate.stores.ports import ComparedReader
from booking_migrate.stores.rejects import RejectedRecord, RejectedRecords
from booking_migrate.verify.client_check import check_batch
from booking_migrate.verify.expected import PeopleLookup, needs_people
from booking_migrate.verify.join import ClientPair, SourceDocument, TargetDocument
from booking_migrate.verify.mismatch import REJECTED_FIELD, Kind, Mismatch
from booking_migrate.verify.outcome import (
    ClientResult,
    UnresolvedBooking,
    VerificationCounts,
    VerificationPlan,
    VerificationRules,
)
from booking_migrate.verify.sessions import CLAIM

_IDS_PER_QUERY = 1000
"""A single client document may claim more bookings than a query can name."""

_CLIENTS_PER_RECHECK = 200
_HELD_BYTES = 64 * 1024 * 1024
"""The memory that deferred clients may take, so that it does not grow with the number of differences."""

_COPIES = 4
"""How often a deferred client's documents are in memory: as bytes, decoded, and in what was found."""

_HELD_FOR_A_CLIENT = 1000
"""The bytes that a deferred client takes beside its documents."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Decides about the results of clients, and counts them."""

    _source: ComparedReader
    _rejected: RejectedRecords
    _counts: VerificationCounts
    _rules: VerificationRules

    def is_sound(self, result: ClientResult) -> bool:
        """Return whether a client has no mismatch; the records of its rejected bookings are not claimed."""
        return not result.mismatches and not any(
            self._wrong(booking, self._rejected.find(booking.raw)) for booking in result.unresolved
        )

    def take(self, results: Iterable[ClientResult]) -> None:
        """Count results, and claim the records of rejected bookings."""
        mismatches: list[Mismatch] = []
        foreign: list[Mismatch] = []
        for result in results:
            self._counts.add_client(result)
            mismatches += result.mismatches
            foreign += result.foreign
            for booking in result.unresolved:
                record = self._rejected.claim(booking.raw)
                if record is not None and record.reason == Reason.CONFLICT.value and not booking.differing:
                    booking = self._with_archived(booking)  # noqa: PLW2901 - the same booking
                wrong = self._wrong(booking, record)
                self._counts.totals["missing_bookings"] += _is_gone(booking, record)
                mismatches += wrong
                if record is not None and _is_kept(booking, record):
                    self._counts.totals["already_migrated"] += 1
                elif record is not None and (not wrong or _is_conflict(booking, record)):
                    self._counts.add_rejected(record.reason, booking)
        for mismatch in self._with_owners(mismatches):
            self._counts.add_mismatch(mismatch)
        for mismatch in self._with_owners(foreign):
            # A booking that the source does not have at all may be one of another source, migrated before.
            if mismatch.kind is Kind.CLIENT:
                self._counts.add_mismatch(mismatch)

    def _wrong(self, booking: UnresolvedBooking, record: RejectedRecord | None) -> tuple[Mismatch, ...]:
        """Return what is wrong about a booking under the rules of the verification."""
        is_allowed = self._rules.allow_deleted and _is_gone(booking, record)
        return () if is_allowed else mismatches_of(booking, record)

    def pass_over(self, result: ClientResult) -> None:
        """Count a client as behind, and claim the records of its rejected bookings."""
        self._counts.totals["behind"] += 1
        for booking in result.unresolved:
            self._rejected.claim(booking.raw)

    def report_unclaimed(self, is_changed: Callable[[Any], bool]) -> None:
        """Report the rejected records that no booking has claimed.

        Args:
            is_changed: returns whether a booking has changed since the target was derived, by its `_id`; those are left out.
        """
        for record in self._rejected.unclaimed():
            if not is_changed(record.booking_id):
                self._counts.add_mismatch(_without_booking(record))

    def _with_archived(self, booking: UnresolvedBooking) -> UnresolvedBooking:
        """Add how a booking differs from the one that the source has under the same `_id`: in place, in the archive."""
        others = (raw for raw in self._source.find([booking.booking_id]) if raw != booking.raw)
        differing = tuple(
            Mismatch(
                Kind.CONTENT, booking.client_id, booking.booking_id, each.field, each.expected, each.found
            )
            for raw in others
            for each in differences(booking.raw, raw)
        )
        return booking._replace(differing=differing)

    def _with_owners(self, mismatches: list[Mismatch]) -> Iterator[Mismatch]:
        """Turn an extra session that claims another client's booking into a mismatch of the client."""
        claims = {
            element_key(mismatch.found): read_value(mismatch.found)
            for mismatch in mismatches
            if mismatch.kind is Kind.EXTRA and mismatch.field == CLAIM and mismatch.found is not None
        }
        owners = {}
        ids = list(claims.values())
        for start in range(0, len(ids), _IDS_PER_QUERY):
            for raw in self._source.find(ids[start : start + _IDS_PER_QUERY]):
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


def mismatches_of(booking: UnresolvedBooking, record: RejectedRecord | None) -> tuple[Mismatch, ...]:
    """Return what is wrong about a booking, given its record among the rejected; empty if it is correctly rejected.

    A conflict is never right: it is listed with its differences, unless the record holds a decision for the target.
    """
    if record is None:
        return booking.differing or (_missing(booking),)
    if _is_kept(booking, record):
        return ()
    if _is_conflict(booking, record):
        return tuple(replace(mismatch, kind=Kind.CONFLICT) for mismatch in booking.differing)
    found = ", ".join(sorted(record.reasons))
    if booking.broken:
        causes = [broken.reason.value for broken in booking.broken]
        if record.reason in causes:
            return ()
        return (
            _about_record(booking, f"rejected for {found} where {booking.broken[0].reason} is the cause"),
        )
    return booking.differing or (_about_record(booking, f"rejected for {found}, but it can be converted"),)


def _is_gone(booking: UnresolvedBooking, record: RejectedRecord | None) -> bool:
    """Return whether a booking that can be converted has no session and is not among the rejected."""
    return record is None and not booking.broken and not booking.differing


def _is_conflict(booking: UnresolvedBooking, record: RejectedRecord) -> bool:
    """Return whether a booking was rejected because its session has other content, and still has."""
    return bool(booking.differing) and record.reason == Reason.CONFLICT.value


def _is_kept(booking: UnresolvedBooking, record: RejectedRecord) -> bool:
    """Return whether a booking's session was kept with other content, by a recorded decision."""
    return _keeps_session(record.decision) and booking.is_decidable and _is_conflict(booking, record)


def _keeps_session(decision: str | None) -> bool:
    """Return whether a recorded decision keeps the session; that of a later version of this tool is not known to."""
    if decision is None or decision not in set(ConflictPolicy):
        return False
    match ConflictPolicy(decision):
        case ConflictPolicy.TARGET:
            return True
        case ConflictPolicy.REJECT | ConflictPolicy.SOURCE:
            return False


def _missing(booking: UnresolvedBooking) -> Mismatch:
    if not booking.broken:
        detail = "the booking is neither in the target nor among the rejected"
        return Mismatch(Kind.MISSING, booking.client_id, booking.booking_id, detail=detail)
    reasons = ", ".join(broken.reason for broken in booking.broken)
    return _about_record(booking, f"cannot be converted ({reasons}) but is not among the rejected")


def _about_record(booking: UnresolvedBooking, detail: str) -> Mismatch:
    return Mismatch(Kind.MISSING, booking.client_id, booking.booking_id, REJECTED_FIELD, detail=detail)


def _without_booking(record: RejectedRecord) -> Mismatch:
    """Return the mismatch of a rejected record without a booking in the source, or with one that is in the target too."""
    detail = f"rejected for {', '.join(sorted(record.reasons))}, but no booking of the source is missing that is this one"
    return Mismatch(Kind.EXTRA, None, record.booking_id, REJECTED_FIELD, detail=detail)


class _Deferred(NamedTuple):
    """A client that is to be read again, and the result of its first reading."""

    pair: ClientPair
    result: ClientResult
    due: float
    """When it may be read again, by the monotonic clock."""

    held: int
    """About how many bytes of memory it takes."""


@dataclass(slots=True)
class Recheck:
    """The clients that had mismatches at the first reading.

    They wait while the others are checked, so that very many of them cost one wait and not one for every few clients.
    """

    _plan: VerificationPlan
    _source: ComparedReader
    _target: ComparedReader
    _lookup: PeopleLookup
    _deferred: deque[_Deferred] = field(default_factory=deque)
    _held: int = 0

    def is_wanted(self, pair: ClientPair) -> bool:
        """Return whether a client with mismatches is to be read again."""
        return self._plan.recheck_seconds > 0 and pair.is_client

    def defer(self, pair: ClientPair, result: ClientResult) -> None:
        """Put a client off."""
        documents = sum(map(len, (*pair.source_bytes, *pair.target_bytes)))
        before = 0 if pair.baseline is None else len(pair.baseline.document)
        held = _COPIES * (documents + before) + _HELD_FOR_A_CLIENT
        self._deferred.append(_Deferred(pair, result, monotonic() + self._plan.recheck_seconds, held))
        self._held += held

    def due(self) -> Iterator[list[tuple[ClientPair, ClientResult]]]:
        """Check the clients again that have waited long enough, many at a time; yield their final results."""
        while self._held > _HELD_BYTES or (
            len(self._deferred) >= _CLIENTS_PER_RECHECK
            and self._deferred[_CLIENTS_PER_RECHECK - 1].due <= monotonic()
        ):
            yield self._check_next()

    def rest(self) -> Iterator[list[tuple[ClientPair, ClientResult]]]:
        """Check all others again, each when it is due."""
        while self._deferred:
            yield self._check_next()

    def _check_next(self) -> list[tuple[ClientPair, ClientResult]]:
        count = min(_CLIENTS_PER_RECHECK, len(self._deferred))
        deferred = [self._deferred.popleft() for _ in range(count)]
        self._held -= sum(each.held for each in deferred)
        sleep(max(0.0, deferred[-1].due - monotonic()))
        again = list(self._read_again([each.pair for each in deferred]))
        kept = [
            before.result if _is_same(pair, before.pair) else None
            for pair, before in zip(again, deferred, strict=True)
        ]
        # A client that both sides have lost meanwhile has no mismatch.
        changed = [
            pair
            for pair, result in zip(again, kept, strict=True)
            if result is None and (pair.source or pair.target)
        ]
        people = self._lookup.people_for(document for pair in changed for document in pair.source)
        results = iter(check_batch(self._plan.rules, changed, people))
        return [
            (pair, next(results) if result is None else result)
            for pair, result in zip(again, kept, strict=True)
            if pair.source or pair.target
        ]

    def _read_again(self, pairs: list[ClientPair]) -> Iterator[ClientPair]:
        ids = [pair.client_id for pair in pairs]
        both = self._plan.both_sides
        if both is not None:
            both.read_now()
        source, target = (self._source, self._target) if both is None else (both.source, both.target)
        sources, targets = _by_client(source, ids), _by_client(target, ids)
        for pair in pairs:
            key = pair.key
            yield ClientPair(
                # A file does not change, and only its scan knows which of its documents have one `_id`.
                source=[SourceDocument(raw) for raw in sources.get(key, ())]
                if self._source.is_live
                else pair.source,
                target=[TargetDocument(raw) for raw in targets.get(key, ())]
                if self._target.is_live
                else pair.target,
                baseline=pair.baseline,
            )


def _is_same(pair: ClientPair, before: ClientPair) -> bool:
    """Return whether both sides hold what they held; then the result is the same, unless people were looked up.

    The bytes are the same, so the documents of the first reading are examined, which are decoded already.
    """
    return (
        sorted(pair.source_bytes) == sorted(before.source_bytes)
        and sorted(pair.target_bytes) == sorted(before.target_bytes)
        and not any(needs_people(document) for document in before.source)
    )


def _by_client(reader: ComparedReader, ids: list[Any]) -> dict[bytes | None, list[bytes]]:
    found: dict[bytes | None, list[bytes]] = {}
    if reader.is_live:
        for raw in reader.find_by_client(ids):
            found.setdefault(TargetDocument(raw).client_key, []).append(raw)
    return found
