"""The stream engine: reads bookings in client order, converts, groups, writes. It is the definition of a migration.

It works for every kind of place and every kind of document. Memory holds one batch, or one client if that is larger.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.booking import Booking, read_booking
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.consolidate import ClientCase, Consolidation, consolidate
from booking_migrate.domain.contract import is_client_id
from booking_migrate.domain.people import People
from booking_migrate.domain.rejection import Fault, Reason, Rejection
from booking_migrate.domain.session import Converter, Session
from booking_migrate.events import Advanced, Listener, NullListener, PhaseEnded, PhaseStarted
from booking_migrate.fastpath.build import FlatClient, FlatRules, object_id_of_client
from booking_migrate.fastpath.flat import FlatReader
from booking_migrate.migrate.build_documents import BuildResult, compose
from booking_migrate.migrate.counts import MigrationCounts
from booking_migrate.migrate.departed import DepartedClients
from booking_migrate.migrate.existing import Effects, Settled, StandingDocument, find_standing, parsed
from booking_migrate.migrate.lookup import Directory
from booking_migrate.migrate.observer import NullObserver, Observer
from booking_migrate.migrate.preflight import merge_duplicates
from booking_migrate.runs.outcome import MigrationOutcome
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.provenance import NoHistory, TargetHistory
from booking_migrate.runs.workers import WORTH_IT, WorkerPool
from booking_migrate.stores.blocks import Chunk, unpack
from booking_migrate.stores.chunks import PIECE_DOCUMENTS
from booking_migrate.stores.ports import (
    DocumentReader,
    Duplicate,
    TargetWriter,
    stores_any_bson,
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


@dataclass(slots=True, eq=False)
class _Origin:
    """Where usual clients of a batch come from."""

    chunk: Chunk
    sights: Sequence[Any]
    """See `BuildResult.sights`."""


@dataclass(slots=True)
class _Flat:
    """One usual client of a batch."""

    made: FlatClient
    origin: _Origin
    """Where its bookings are."""

    @property
    def key(self) -> bytes:
        """The sort key of `clientId`."""
        return self.made.key


@dataclass(slots=True)
class _Waiting:
    """A booking that cannot be converted before somebody has been looked up."""

    booking: Booking
    known: tuple[Fault, ...]
    client: _Client | None


@dataclass(slots=True)
class _Batch:
    """What has become of the documents of whole clients."""

    origins: list[_Origin] = field(default_factory=list)
    usual: list[_Flat] = field(default_factory=list)
    clients: list[_Client] = field(default_factory=list)
    """The others."""

    rejected: list[Rejection] = field(default_factory=list)
    documents: int = 0
    size: int = 0
    """In bytes."""


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
) -> MigrationOutcome:
    """Migrate side by side: every booking of the source becomes a session in the target, or is rejected there.

    Running it again over an unchanged source finds everything done and writes nothing; over a source that has changed it
    derives the clients again whose bookings changed, moved, came or went. Running it after it was cut off completes it.

    Args:
        plan: what is to be done.
        source: where the bookings are; only read.
        target: where the client documents go.
        users: where `clientUserId` and the like are looked up; None if nowhere.
        experts: where experts' users are looked up; None if nowhere.
        listener: who wants to know how it goes.
        observer: who wants to see every booking and every client.
        history: where the target's documents come from; what runs of this tool wrote is derived again. None: others wrote
            all of them.

    Raises:
        Refused: a precondition does not hold; nothing was written.
        UnaccountedBookings: a fault of the tool; a file target does not appear.
        ConnectionProblem, DuplicateKeys, TargetChanged: the server or somebody else came between.
    """
    started = monotonic()
    ear, eye = listener or NullListener(), observer or NullObserver()
    known = history or NoHistory()
    tally = MigrationCounts()
    try:
        for place in (source, users, experts):
            if place is not None:
                place.check()
        with WorkerPool(plan.workers if (source.estimate_count() or 0) >= WORTH_IT else 1) as pool:
            merge_duplicates(source, target, known, merge_documents=plan.merge_client_documents)
            target.prepare()
            ear.notify(PhaseStarted(f"converting {source.name}", source.estimate_count()))
            directory = Directory(users, experts, plan.lookup)
            work = _Work(plan, directory, target, history=known, tally=tally, observer=eye)
            departed = DepartedClients(target, known)
            effects = Effects()
            for batch in work.batches(source, pool):
                settled = work.settle(batch)
                target.write(settled.new, settled.changed, batch.rejected, settled.removed)
                effects = effects.plus(settled.effects)
                effects = effects.plus(departed.reconcile(settled.keys))
                ear.notify(Advanced(batch.documents))
            effects = effects.plus(departed.reconcile_rest())
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
        documents_written=effects.written if is_changed else 0,
        documents_changed=effects.changed,
        documents_removed=effects.removed,
        changed=is_changed,
        seconds=monotonic() - started,
        rejects_name=target.rejects_name if tally.rejected else None,
    )


class _Work:
    """Turns a scan into batches of clients whose bookings are converted, and those into what is to be written."""

    def __init__(
        self,
        plan: MigrationPlan,
        directory: Directory,
        target: TargetWriter,
        *,
        history: TargetHistory,
        tally: MigrationCounts,
        observer: Observer,
    ) -> None:
        self._converter = Converter(plan.contract, plan.accepted)
        self._usual = FlatReader(plan.contract, plan.accepted)
        can_store = None if target.can_store is stores_any_bson else target.can_store
        self._rules = FlatRules(
            plan.contract, plan.accepted, plan.maximum_document_size, can_store, observer.look
        )
        self._limit = plan.batch_bookings
        self._maximum_size = plan.maximum_document_size
        self._on_conflict = plan.on_conflict
        self._history = history
        self._directory = directory
        self._target = target
        self._tally = tally
        self._observer = observer
        self._batch = _Batch()
        self._waiting: list[_Waiting] = []

    def batches(self, source: DocumentReader, pool: WorkerPool) -> Iterator[_Batch]:
        """Batches of whole clients, in client order."""
        chunks = source.scan_chunks(min(self._limit, PIECE_DOCUMENTS), apart=pool.workers > 1)
        for chunk, first in pool.each(partial(compose, self._rules), chunks):
            part, composed = chunk, first
            while True:
                yield from self._take_composed(part, composed)
                if composed.rest is None:
                    break
                part = composed.rest
                composed = compose(self._rules, part)
        if self._batch.documents:
            yield self._end_batch()

    def _take_composed(self, chunk: Chunk, composed: BuildResult) -> Iterator[_Batch]:
        """Take what came of a piece, and batches that are full by then."""
        self._tally.scanned += sum(client.sessions for client in composed.clients)
        origin = _Origin(chunk, composed.sights)
        self._batch.origins.append(origin)
        self._batch.usual += [_Flat(client, origin) for client in composed.clients]
        self._batch.documents += composed.documents
        self._batch.size += composed.size
        for raw, duplicate in unpack([composed.left]):
            self._take(raw, duplicate)
            if len(self._batch.rejected) >= self._limit:
                yield self._split_off_rejected()
        if self._batch.documents >= self._limit or self._batch.size >= BATCH_BYTES:
            yield self._end_batch()

    def _take(self, raw: bytes, duplicate: Duplicate) -> None:
        """Convert a document of no usual client, or put it by until somebody has been looked up."""
        session = None if duplicate is Duplicate.CONFLICT else self._usual.convert(raw)
        if session is not None:
            self._tally.scanned += 1
            self._keep(session, self._client(session.client_id))
            return
        booking = read_booking(raw)
        client = self._client(booking.fields.get("clientId"))
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

    def _client(self, client_id: Any) -> _Client | None:
        """The client of this id in the batch at hand; None if no client can have it."""
        if not is_client_id(client_id):
            return None
        key, clients = sort_key(client_id), self._batch.clients
        if not clients or clients[-1].key != key:
            clients.append(_Client(client_id, key))
        return clients[-1]

    def _take_client_document(
        self, booking: Booking, known: tuple[Fault, ...], client: _Client | None
    ) -> None:
        document = read_client_document(booking.raw)
        if isinstance(document, ClientDocument) and not self._target.can_store(document.raw):
            document = Fault(Reason.NOT_EXTENDED_JSON, None, _NOT_JSON)
        if known or client is None or isinstance(document, Fault):
            faults = (*known, document) if isinstance(document, Fault) else known
            self._tally.scanned += 1
            self._batch.rejected.append(Rejection(booking.raw, faults, booking.document_id))
        else:
            self._tally.client_documents += 1
            client.documents.append(document)

    def _keep(self, result: Session | Rejection, client: _Client | None) -> None:
        if isinstance(result, Session) and not self._target.can_store(result.raw):
            fault = Fault(Reason.NOT_EXTENDED_JSON, None, _NOT_JSON)
            result = Rejection(result.booking, (fault,), result.legacy_id)
        self._observer.on_booking(result)
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
        batch, self._batch = self._batch, _Batch()
        return batch

    def settle(self, batch: _Batch) -> Settled:
        """Consolidate a batch's clients with what the target has of them; count everything."""
        present = self._present(batch)
        self._take_again(batch, present)
        for origin in batch.origins:
            for sight in origin.sights:
                self._observer.on_flat_bookings(sight)
        self._tally.reject(batch.rejected)
        clients: list[_Flat | _Client] = [*batch.usual, *batch.clients]
        clients.sort(key=_key)
        settled = Settled()
        for client in clients:
            there = present.get(client.key, _ABSENT)
            if isinstance(client, _Flat):
                self._tally.take_flat(client.made, is_new=there.found is None)
                self._observer.on_flat_client(client.made)
                settled.add(client.key, there, client.made.document)
            else:
                result = self._consolidate(batch, client, there)
                settled.add(client.key, there, result.document, is_adopted=bool(result.kept))
        return settled

    def _present(self, batch: _Batch) -> dict[bytes, StandingDocument]:
        """Return the target's documents of a batch's clients, by the sort key of `clientId`."""
        ids: list[Any] = [client.made.client_id for client in batch.usual]
        ids += [client.client_id for client in batch.clients]
        documents = {}
        for start in range(0, len(ids), _AT_ONCE):
            for each in find_standing(self._target, self._history, ids[start : start + _AT_ONCE]):
                documents[each.key] = each
        return documents

    def _take_again(self, batch: _Batch, present: Mapping[bytes, StandingDocument]) -> None:
        """Take usual clients from their bookings on if what the target has of them must be taken apart.

        That is so if others wrote it, or if it has to be counted which sessions an earlier run's document had already.
        """
        usual: list[_Flat] = []
        again: dict[_Origin, dict[bytes, FlatClient]] = {}
        for client in batch.usual:
            there = present.get(client.key, _ABSENT)
            is_same = there.raw == client.made.document and there.found in (None, there.raw)
            if is_same or (there.baseline is None and there.found is None):
                usual.append(client)
            else:
                again.setdefault(client.origin, {})[client.made.object_id] = client.made
        batch.usual = usual
        following, self._batch = self._batch, batch
        for origin, clients in again.items():
            self._tally.scanned -= sum(client.sessions for client in clients.values())
            read = origin.chunk.read()[0]
            for raw in read.documents():
                if object_id_of_client(raw) in clients:
                    self._take(raw, Duplicate.NONE)
            if origin.sights:
                origin.sights = compose(self._rules, read, clients).sights
        self._convert_waiting()
        self._batch = following

    def _consolidate(self, batch: _Batch, client: _Client, there: StandingDocument) -> Consolidation:
        """Bring a client's bookings and documents together; count and note what becomes of them."""
        found = None if there.found is there.baseline else parsed(there.found)
        case = ClientCase(client.sessions, client.documents, parsed(there.baseline), found)
        consolidation = consolidate(case, self._maximum_size, self._on_conflict)
        self._tally.take(client.client_id, consolidation)
        self._observer.on_client(client.client_id, consolidation)
        batch.rejected += [*consolidation.rejected, *consolidation.contradicting, *consolidation.kept]
        return consolidation


def _key(client: _Flat | _Client) -> bytes:
    return client.key


_ABSENT = StandingDocument(b"", None, None, None)
_NOBODY = People()
_NOT_JSON = "Extended JSON cannot hold this document unchanged"

_AT_ONCE = 1000
"""How many clients one question to the target names; the port allows a few thousand."""
