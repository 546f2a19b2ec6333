"""Risks that are found while bookings and clients are read, each with a count and sample ids.

Those of single bookings that can be converted come from `booking_risks`; those of clients and rejections are found here.
"""

import heapq
from collections.abc import Iterable
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from typing_extensions import override

from booking_migrate.bson.document import Document, decoded
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.client_document import totals_of
from booking_migrate.domain.consolidate import Consolidation
from booking_migrate.domain.rejection import NOT_FOUND, Reason, Rejection
from booking_migrate.domain.session import Session
from booking_migrate.dry_run.booking_risks import (
    COLLECTOR,
    BatchStats,
    BookingColumns,
    find_risks,
    is_date_in_range,
    row_of,
)
from booking_migrate.dry_run.outcome import LargeClient, Statistics
from booking_migrate.dry_run.risk_kinds import NEAR_PERCENT, RISKS, risk
from booking_migrate.dry_run.samples import SampleWatch
from booking_migrate.fastpath.flat import Collector, FlatClient
from booking_migrate.migrate.counts import SAMPLES, Observer, Samples
from booking_migrate.runs.plan import Finding
from booking_migrate.stores.scratch import Appointment, Scratchpad

LARGEST = 10
"""How many of the largest clients are named."""

_DATES = ("scheduledDate", "createdAt", "updatedAt", "cancellationTime")
_HEX_DIGITS = 24


class RiskWatch(Observer):
    """Finds risks and feeds the statistics."""

    collector: Collector | None = COLLECTOR

    def __init__(self, scratchpad: Scratchpad, maximum_document_size: int) -> None:
        """Begin without findings.

        Args:
            scratchpad: stores what concerns several clients.
            maximum_document_size: in bytes.
        """
        self.documents = 0
        self.document_bytes = 0
        self._sized = 0
        self._is_batch_over = False
        self.statistics = Statistics(maximum_document_size)
        self._scratchpad = scratchpad
        self.maximum_document_size = maximum_document_size
        self._samples = {kind: Samples() for kind in RISKS}
        self._ids: list[Any] = []
        """The `_id` of the batch's bookings that can be converted."""

        self._rows: list[tuple[Any, ...]] = []
        """The values of `BookingColumns` for each of them."""

        self._largest: list[tuple[int, int, LargeClient]] = []
        self.chosen = SampleWatch()
        """Which bookings and clients are shown as samples."""

    @override
    def on_booking(self, result: Session | Rejection) -> None:
        if self._is_batch_over:
            self._end_batch()
        if isinstance(result, Rejection):
            self._on_rejection(result)
            return
        fields = result.fields or decoded(result.booking)
        self.statistics.on_booking(fields, len(result.booking))
        self._ids.append(result.legacy_id)
        self._rows.append(row_of(result, fields))

    def _on_rejection(self, rejection: Rejection) -> None:
        self.chosen.on_rejection(rejection)
        fields = decoded(rejection.raw)
        self.statistics.on_booking(fields, len(rejection.raw))
        dates = [value for name in _DATES if type(value := fields.get(name)) is DatetimeMS]
        if not all(is_date_in_range(int(date)) for date in dates):
            self._samples["dates-out-of-range"].add(rejection.document_id)
        if not NOT_FOUND.isdisjoint(fault.reason for fault in rejection.faults):
            self._samples["people-not-found"].add(rejection.document_id)

    @override
    def on_client(self, client_id: Any, consolidation: Consolidation) -> None:
        self._is_batch_over = True
        self.chosen.on_client(client_id, consolidation)
        self._on_spelling(client_id)
        document = consolidation.document
        if not consolidation.size:
            return
        too_large = sum(
            rejection.reason is Reason.CLIENT_DOCUMENT_TOO_LARGE for rejection in consolidation.rejected
        )
        sessions = consolidation.session_count + too_large
        self._on_size(client_id, sessions, consolidation.size)
        if document is None:
            return
        self.documents += 1
        self.document_bytes += len(document)
        converted = [*consolidation.migrated, *consolidation.already_migrated]
        currencies = {session.currency for session in converted}
        if consolidation.session_count > len(converted) or not consolidation.migrated:
            stored = decoded(document)
            currencies |= _currencies(stored)
            if not consolidation.migrated and _has_wrong_totals(stored):
                self._samples["totals-wrong"].add(client_id)
        if len(currencies) > 1:
            self._samples["clients-with-several-currencies"].add(client_id)

    @override
    def on_flat_bookings(self, collected: BatchStats) -> None:
        self.statistics.on_bookings(
            collected.size, collected.statuses, collected.payment_statuses, collected.days
        )
        for kind, found in collected.found.items():
            self._add(kind, map(ObjectId, found))
        self._scratchpad.add_appointment_block(collected.appointments)

    @override
    def on_flat_client(self, client: FlatClient) -> None:
        self.chosen.on_flat_client(client)
        self._on_spelling(client.client_id)
        self._on_size(client.client_id, client.sessions, len(client.document))
        self.documents += 1
        self.document_bytes += len(client.document)

    @override
    def on_end(self) -> None:
        """Do nothing: findings are asked for."""

    def _on_size(self, client_id: Any, sessions: int, size: int) -> None:
        self._sized += 1
        self.statistics.on_document(sessions, size)
        if size > self.maximum_document_size:
            self._samples["documents-over-limit"].add(client_id)
        elif size > self.maximum_document_size * NEAR_PERCENT / 100:
            self._samples["documents-near-limit"].add(client_id)
        if len(self._largest) < LARGEST or size > self._largest[0][0]:
            # Of equal sizes the one that comes first stays, so that the list does not depend on chance.
            entry = (size, -self._sized, LargeClient(display_id(client_id), sessions, size))
            push = heapq.heappush if len(self._largest) < LARGEST else heapq.heappushpop
            push(self._largest, entry)

    def _on_spelling(self, client_id: Any) -> None:
        """Text sorts before ObjectIds, so all text has come when the first ObjectId does."""
        if type(client_id) is ObjectId:
            if self._scratchpad.has_text_client(client_id.binary):
                self._samples["client-id-as-text"].add(client_id)
        elif type(client_id) is str:
            text = client_id.strip()
            if len(text) == _HEX_DIGITS and ObjectId.is_valid(text):
                self._scratchpad.add_text_client(ObjectId(text).binary)

    def _end_batch(self) -> None:
        ids = self._ids
        if ids:
            risks = find_risks(BookingColumns._make(zip(*self._rows, strict=True)))
            for kind, rows in risks.found.items():
                self._add(kind, (ids[row] for row in rows))
            self._scratchpad.add_appointments(
                Appointment(expert, start, end, display_id(ids[row]))
                for expert, start, end, row in risks.appointments
            )
        self._ids.clear()
        self._rows.clear()
        self._is_batch_over = False

    def _add(self, kind: str, ids: Iterable[Any]) -> None:
        for document_id in ids:
            self._samples[kind].add(document_id)

    def largest_clients(self) -> tuple[LargeClient, ...]:
        """Return the clients with the largest documents, the largest first."""
        return tuple(client for _, _, client in sorted(self._largest, reverse=True))

    def findings(self) -> tuple[Finding, ...]:
        """Return the risks found; called once, at the end."""
        self._end_batch()
        found = {kind: (samples.count, samples.ids()) for kind, samples in self._samples.items()}
        found["expert-overlaps"] = self._scratchpad.overlapping(SAMPLES)
        return tuple(risk(kind, ids, count) for kind, (count, ids) in found.items() if count)


def _sessions(document: Document) -> list[Document]:
    """Return the sessions of a client document; none if they hold a value that Python cannot show."""
    sessions = document["sessions"]
    return [each for each in sessions if isinstance(each, dict)] if isinstance(sessions, list) else []


def _currencies(document: Document) -> set[str]:
    found = (session.get("currency") for session in _sessions(document))
    return {currency for currency in found if isinstance(currency, str)}


def _has_wrong_totals(document: Document) -> bool:
    sessions = document["sessions"]
    if not isinstance(sessions, list):
        return False
    totals = totals_of([each if isinstance(each, dict) else {} for each in sessions])
    # A total of another type is wrong too: verify compares bytes.
    return any(
        type(value) is not type(document.get(name)) or sort_key(value) != sort_key(document.get(name))
        for name, value in totals.items()
    )
