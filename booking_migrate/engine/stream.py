"""The stream engine: reads bookings in client order, converts, groups, writes. It is the definition of a migration.

It works for every kind of place and every kind of document. Memory holds one batch, or one client if that is larger.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from booking_migrate.domain.booking import Booking, read_booking
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.consolidation import ClientCase, consolidate
from booking_migrate.domain.contract import is_client_id
from booking_migrate.domain.conversion import Converter, Session
from booking_migrate.domain.description import display_id
from booking_migrate.domain.ordering import sort_key
from booking_migrate.domain.people import People
from booking_migrate.domain.rejection import Fault, Reason, Rejection
from booking_migrate.domain.usual_booking import UsualConverter
from booking_migrate.engine.lookup import Directory
from booking_migrate.engine.observation import Inattention, Observer
from booking_migrate.engine.outcome import MigrationOutcome
from booking_migrate.engine.plan import MigrationPlan
from booking_migrate.engine.survey import settle_duplicates
from booking_migrate.engine.tally import Tally
from booking_migrate.errors import TargetInOldShape
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted, Silence
from booking_migrate.stores.base import (
    DocumentReader,
    Duplicate,
    Replacement,
    ScannedDocument,
    TargetWriter,
)

BATCH_BYTES = 8 * 1024 * 1024
"""A batch ends when its documents have so many bytes, however few they are."""

_DUPLICATE = Fault(Reason.DUPLICATE_ID, "_id", "another document has this _id and other content")


@dataclass(slots=True)
class _Client:
    """One client of a batch, as far as it has been read."""

    client_id: Any
    key: bytes
    sessions: list[Session] = field(default_factory=list)
    documents: list[ClientDocument] = field(default_factory=list)


@dataclass(slots=True)
class _Waiting:
    """A booking that cannot be converted before somebody has been looked up."""

    booking: Booking
    known: tuple[Fault, ...]
    client: _Client | None


@dataclass(slots=True)
class _Batch:
    """Whole clients, and the rejected documents that came between them."""

    clients: list[_Client] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    documents: int = 0
    size: int = 0


def migrate(
    plan: MigrationPlan,
    source: DocumentReader,
    target: TargetWriter,
    *,
    users: DocumentReader | None = None,
    experts: DocumentReader | None = None,
    listener: Listener | None = None,
    observer: Observer | None = None,
    tally: Tally | None = None,
) -> MigrationOutcome:
    """Migrate side by side: every booking of the source becomes a session in the target, or is rejected there.

    Running it again finds everything done and writes nothing; running it after it was cut off anywhere completes it.

    Args:
        plan: what is to be done.
        source: where the bookings are; only read.
        target: where the client documents go.
        users: where `clientUserId` and the like are looked up; None if nowhere.
        experts: where experts' users are looked up; None if nowhere.
        listener: who wants to know how it goes.
        observer: who wants to see every booking and every client.
        tally: counts, too, what is done on the way by somebody else; None: nothing is.

    Raises:
        Refused: a precondition does not hold; nothing was written.
        UnaccountedBookings: a fault of the tool; a file target does not appear.
        ConnectionProblem, DuplicateKeys, TargetChanged: the server or somebody else came between.
    """
    started = monotonic()
    ear, eye = listener or Silence(), observer or Inattention()
    tally = tally or Tally()
    try:
        for place in (source, users, experts):
            if place is not None:
                place.check()
        settle_duplicates(source, target, merge_documents=plan.merge_client_documents)
        target.prepare()
        ear.notify(PhaseStarted(f"converting {source.name}", source.estimate_count()))
        reader = _Reader(plan, Directory(users, experts, plan.lookup), target, tally, eye)
        written = changed_documents = 0
        for batch in reader.batches(source.scan_by_client()):
            new, changed = _settle(plan, batch, target, tally, eye)
            target.write(new, changed, batch.rejected)
            written += len(new)
            changed_documents += len(changed)
            ear.notify(Advanced(batch.documents))
        ear.notify(PhaseEnded())
        tally.check()
        is_changed = target.finish()
    finally:
        target.abandon()
    return MigrationOutcome(
        counts=tally.counts(changed=is_changed),
        rejections=tally.rejections(),
        spent=tally.spent(),
        findings=tally.findings(),
        documents_written=written + tally.documents_grouped if is_changed else 0,
        documents_changed=changed_documents,
        changed=is_changed,
        seconds=monotonic() - started,
        rejects_name=target.rejects_name if tally.rejected else None,
    )


class _Reader:
    """Turns a scan into batches of clients whose bookings are converted."""

    def __init__(
        self,
        plan: MigrationPlan,
        directory: Directory,
        target: TargetWriter,
        tally: Tally,
        observer: Observer,
    ) -> None:
        self._converter = Converter(plan.contract, plan.accepted)
        self._usual = UsualConverter(plan.contract, plan.accepted)
        self._limit = plan.batch_bookings
        self._directory = directory
        self._target = target
        self._tally = tally
        self._observer = observer
        self._batch = _Batch()
        self._client: _Client | None = None
        self._waiting: list[_Waiting] = []

    def batches(self, scan: Iterator[ScannedDocument]) -> Iterator[_Batch]:
        """Batches of whole clients, in client order."""
        for raw, duplicate in scan:
            session = None if duplicate is Duplicate.CONFLICT else self._usual.convert(raw)
            booking = None if session else read_booking(raw)
            client_id = session.client_id if session else booking.fields.get("clientId") if booking else None
            client = None
            if is_client_id(client_id):
                key = sort_key(client_id)
                if self._client is None or self._client.key != key:
                    if self._batch.documents >= self._limit or self._batch.size >= BATCH_BYTES:
                        yield self._end_batch()
                    self._client = _Client(client_id, key)
                    self._batch.clients.append(self._client)
                client = self._client
            self._batch.documents += 1
            self._batch.size += len(raw)
            if session:
                self._tally.scanned += 1
                self._keep(session, client)
            elif booking:
                self._take(booking, duplicate, client)
                if len(self._batch.rejected) >= self._limit:
                    yield self._split_off_rejected()
        yield self._end_batch()

    def _take(self, booking: Booking, duplicate: Duplicate, client: _Client | None) -> None:
        known = (_DUPLICATE,) if duplicate is Duplicate.CONFLICT else ()
        if booking.is_client_document:
            if duplicate is not Duplicate.COPY:
                self._take_client_document(booking, known, client)
            return
        self._tally.scanned += 1
        if booking.lacks_client() or booking.lacks_expert():
            self._waiting.append(_Waiting(booking, known, client))
            if len(self._waiting) >= self._limit:
                self._convert_waiting()
        else:
            self._keep(self._converter.convert(booking, _NOBODY, known), client)

    def _take_client_document(
        self, booking: Booking, known: tuple[Fault, ...], client: _Client | None
    ) -> None:
        document = read_client_document(booking.raw)
        if isinstance(document, ClientDocument) and not self._target.can_hold(document.raw):
            document = Fault(Reason.NOT_EXTENDED_JSON, None, _NOT_JSON)
        if known or client is None or isinstance(document, Fault):
            faults = (*known, document) if isinstance(document, Fault) else known
            self._tally.scanned += 1
            self._batch.rejected.append(Rejection(booking.raw, faults, booking.document_id))
        else:
            self._tally.client_documents += 1
            client.documents.append(document)

    def _keep(self, result: Session | Rejection, client: _Client | None) -> None:
        if isinstance(result, Session) and not self._target.can_hold(result.raw):
            fault = Fault(Reason.NOT_EXTENDED_JSON, None, _NOT_JSON)
            result = Rejection(result.booking, (fault,), result.legacy_id)
        self._observer.see_booking(result)
        if isinstance(result, Rejection):
            self._batch.rejected.append(result)
        elif client is not None:
            # One client may have very many bookings, and nobody needs their decoded fields any more.
            result.fields = None
            client.sessions.append(result)

    def _convert_waiting(self) -> None:
        people = self._directory.find(waiting.booking for waiting in self._waiting)
        for waiting in self._waiting:
            self._keep(self._converter.convert(waiting.booking, people, waiting.known), waiting.client)
        self._waiting.clear()

    def _split_off_rejected(self) -> _Batch:
        """A batch of rejected documents alone: they wait for no client, and there may be very many of them."""
        rejected, self._batch.rejected = self._batch.rejected, []
        size = sum(len(rejection.raw) for rejection in rejected)
        self._batch.documents -= len(rejected)
        self._batch.size -= size
        return _Batch(rejected=rejected, documents=len(rejected), size=size)

    def _end_batch(self) -> _Batch:
        self._convert_waiting()
        batch, self._batch, self._client = self._batch, _Batch(), None
        return batch


_NOBODY = People()
_NOT_JSON = "Extended JSON cannot hold this document unchanged"


def _settle(
    plan: MigrationPlan, batch: _Batch, target: TargetWriter, tally: Tally, observer: Observer
) -> tuple[list[bytes], list[Replacement]]:
    """Consolidate a batch's clients with what the target has of them; count everything."""
    tally.reject(batch.rejected)
    present = _present(target, batch)
    new: list[bytes] = []
    changed: list[Replacement] = []
    for client in batch.clients:
        before = present.get(client.key)
        case = ClientCase(client.sessions, client.documents, before)
        consolidation = consolidate(case, plan.maximum_document_size)
        tally.take(client.client_id, consolidation)
        observer.see_client(client.client_id, consolidation)
        batch.rejected += [*consolidation.rejected, *consolidation.contradicting]
        document = consolidation.document
        if document is None or (before is not None and document == before.raw):
            continue
        if before is None:
            new.append(document)
        else:
            changed.append(Replacement(before.raw, document))
    return new, changed


def _present(target: TargetWriter, batch: _Batch) -> dict[bytes, ClientDocument]:
    """The target's documents of a batch's clients, by the sort key of `clientId`."""
    ids = [client.client_id for client in batch.clients if client.sessions or client.documents]
    documents = {}
    for start in range(0, len(ids), _AT_ONCE):
        for raw in target.find_client_documents(ids[start : start + _AT_ONCE]):
            document = read_client_document(raw)
            if isinstance(document, Fault):
                raise TargetInOldShape(target.name, display_id(read_booking(raw).document_id))
            documents[sort_key(document.client_id)] = document
    return documents


_AT_ONCE = 1000
"""How many clients one question to the target names; the port allows a few thousand."""
