"""From chunks of the source to batches of whole clients whose bookings are converted.

`build_documents` is the fast path, and needs nothing but its chunk; `BatchReader` converts what that declined.
"""

from collections.abc import Callable, Collection, Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

from booking_migrate.bson.document import depth, value_in
from booking_migrate.bson.order import OBJECT_ID_KEY, sort_key
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.domain.rejection import Fault, Reason, Rejection
from booking_migrate.domain.session import (
    Booking,
    Converter,
    People,
    Session,
    nested_too_deep,
    read_booking,
)
from booking_migrate.fastpath.flat import FlatClient, FlatClients, FlatReader, FlatRules, object_id_of_client
from booking_migrate.migrate.counts import MigrationCounts, Observer
from booking_migrate.migrate.lookup import Directory
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.workers import WorkerPool
from booking_migrate.stores.chunks import (
    PIECE_DOCUMENTS,
    Chunk,
    DocumentBlock,
    block_of,
    client_key,
    part_starts,
    unpack,
)
from booking_migrate.stores.ports import (
    DocumentReader,
    Duplicate,
    ScannedDocument,
    TargetWriter,
    stores_any_bson,
)

_CACHE_BLOCK = 500
"""How many documents are processed together; the results fit into the processor's cache."""


class BuildResult(NamedTuple):
    """The result of the fast path for a chunk."""

    clients: list[FlatClient]
    """In the order of their bookings."""

    declined: DocumentBlock
    """The documents of all other clients, and of none."""

    documents: int
    """How many documents were read."""

    size: int
    """Their bytes."""

    collected: list[Any]
    """What the rules' collector returned for the bookings of the flat clients."""

    rest: Chunk | None
    """The rest of the chunk."""


def _read_up_to(chunk: Chunk | None, last: bytes) -> Iterator[DocumentBlock]:
    """Read a chunk again, as far as a client: its bookings may be behind the first piece if others are more than before.

    Args:
        chunk: what is read.
        last: the client, by the twelve bytes of its id.
    """
    while chunk is not None:
        block, chunk = chunk.read()
        yield block
        keys = (client_key(raw) for raw in reversed(block.documents()))
        reached = next(filter(None, keys), None)
        if reached is None or reached >= OBJECT_ID_KEY + last:
            return


def build_documents(rules: FlatRules, chunk: Chunk, *, excluded: Collection[bytes] = ()) -> BuildResult:
    """Read a chunk and build the documents of its flat clients.

    Args:
        rules: decide which clients are flat.
        chunk: what is read.
        excluded: clients that are declined in any case, by the twelve bytes of their ids.
    """
    block, rest = chunk.read()
    raw, starts, duplicates = block
    offsets = [*starts, len(raw)]
    flat = _clients_of(rules)
    clients: list[FlatClient] = []
    declined: list[ScannedDocument] = []
    collected: list[Any] = []
    for first, end in pairwise(part_starts(block, _CACHE_BLOCK)):
        unfit: Container[int] = ()
        if duplicates or excluded:
            unfit = frozenset(
                number - first
                for number in range(first, end)
                if number in duplicates
                or (excluded and object_id_of_client(block.document(number)) in excluded)
            )
        built = flat.build(raw, offsets[first : end + 1], unfit)
        clients += built.clients
        declined += [
            ScannedDocument(block.document(first + number), duplicates.get(first + number, Duplicate.NONE))
            for number in built.declined
        ]
        if built.collected is not None:
            collected.append(built.collected)
    return BuildResult(clients, block_of(declined), len(starts), len(raw), collected, rest)


@lru_cache(maxsize=1)
def _clients_of(rules: FlatRules) -> FlatClients:
    return FlatClients(rules)


# Compiling the contract takes as long as converting many clients, and following converts a few at a time, again and again.
_converter_of = lru_cache(maxsize=1)(Converter)
_flat_reader_of = lru_cache(maxsize=1)(FlatReader)

BATCH_BYTES = 8 * 1024 * 1024
"""A batch ends when its documents have this number of bytes, however few they are."""

_DUPLICATE = Fault(Reason.DUPLICATE_ID, "_id", "another document has this _id and other content")
_NOT_EXTENDED_JSON = Fault(
    Reason.NOT_EXTENDED_JSON, None, "Extended JSON cannot hold this document unchanged"
)
_NO_PEOPLE = People()


@dataclass(slots=True)
class ClientBookings:
    """One client of a batch, converted by the reference path."""

    client_id: Any
    key: bytes
    """The sort key of `clientId`."""

    sessions: list[Session] = field(default_factory=list)
    documents: list[ClientDocument] = field(default_factory=list)
    """The client documents that the source has of the client."""


@dataclass(slots=True, eq=False)
class Origin:
    """The chunk that flat clients of a batch were built from."""

    chunk: Chunk
    collected: Sequence[Any]
    """What the collector returned for the bookings of the flat clients; see `BuiltClients`."""


@dataclass(slots=True)
class FlatEntry:
    """One client of a batch, built by the fast path."""

    built: FlatClient
    origin: Origin

    @property
    def client_id(self) -> Any:
        """Return the `clientId`."""
        return self.built.client_id

    @property
    def key(self) -> bytes:
        """Return the sort key of `clientId`."""
        return self.built.key


@dataclass(slots=True)
class Batch:
    """Whole clients, converted, and the rejected documents met on the way."""

    origins: list[Origin] = field(default_factory=list)
    flat: list[FlatEntry] = field(default_factory=list)
    clients: list[ClientBookings] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    documents: int = 0
    """How many documents of the source are in it."""

    size: int = 0
    """Their bytes."""


@dataclass(slots=True)
class _Pending:
    """A booking whose users or expert have to be looked up before it can be converted."""

    booking: Booking
    known: tuple[Fault, ...]
    client: ClientBookings | None


class BatchReader:
    """Converts the bookings of a source, batch by batch: flat clients on the fast path, all others one by one."""

    def __init__(
        self,
        plan: MigrationPlan,
        directory: Directory,
        target: TargetWriter,
        *,
        counts: MigrationCounts,
        observer: Observer,
    ) -> None:
        """Prepare the conversion.

        Args:
            plan: the rules, and how many documents make a batch.
            directory: looks up users and experts.
            target: knows which documents it can store.
            counts: counts every document read.
            observer: notified of every booking.
        """
        self.converter = _converter_of(plan.rules)
        self._flat = _flat_reader_of(plan.rules)
        can_store = None if target.can_store is stores_any_bson else target.can_store
        self._rules = FlatRules(plan.rules, can_store, observer.collector)
        self._can_store = target.can_store
        self._limit = plan.batch_bookings
        self._directory = directory
        self._counts = counts
        self._observer = observer
        self._batch = Batch()
        self._pending: list[_Pending] = []

    @property
    def build(self) -> Callable[[Chunk], BuildResult]:
        """Return the function that builds the flat clients of a chunk; it may go to another process."""
        return partial(build_documents, self._rules)

    @property
    def chunk_documents(self) -> int:
        """Return about how many documents a chunk is to have."""
        return min(self._limit, PIECE_DOCUMENTS)

    def batches(self, source: DocumentReader, pool: WorkerPool) -> Iterator[Batch]:
        """Yield batches of whole clients, in client order."""
        chunks = source.scan_chunks(self.chunk_documents, apart=pool.workers > 1)
        for chunk, built in pool.each(self.build, chunks):
            yield from self.batches_of(chunk, built)

    def batches_of(self, chunk: Chunk, built: BuildResult) -> Iterator[Batch]:
        """Yield the batches of one chunk: usually one, several if the chunk is larger than estimated.

        Args:
            chunk: all documents of some clients.
            built: what `build` made of it.
        """
        while True:
            yield from self._take_built(chunk, built)
            if built.rest is None:
                break
            chunk = built.rest
            built = self.build(chunk)
        if self._batch.documents:
            yield self._end_batch()

    def _take_built(self, chunk: Chunk, built: BuildResult) -> Iterator[Batch]:
        """Add the result of the fast path, convert what it declined, and yield full batches."""
        self._counts.scanned += sum(client.sessions for client in built.clients)
        origin = Origin(chunk, built.collected)
        self._batch.origins.append(origin)
        self._batch.flat += [FlatEntry(client, origin) for client in built.clients]
        self._batch.documents += built.documents
        self._batch.size += built.size
        for raw, duplicate in unpack([built.declined]):
            self._take(raw, duplicate)
            if len(self._batch.rejected) >= self._limit:
                yield self._split_off_rejected()
        if self._batch.documents >= self._limit or self._batch.size >= BATCH_BYTES:
            yield self._end_batch()

    def reconvert(self, batch: Batch, origin: Origin, clients: dict[bytes, FlatClient]) -> None:
        """Convert flat clients of a batch again by the reference path, from their bookings on.

        Args:
            batch: gets the clients.
            origin: where their bookings are; what was collected of them is collected again without them.
            clients: the clients, by the twelve bytes of their ids.
        """
        self._counts.scanned -= sum(client.sessions for client in clients.values())
        following, self._batch = self._batch, batch
        collected: list[Any] = []
        for block in _read_up_to(origin.chunk, max(clients)):
            for raw in block.documents():
                if object_id_of_client(raw) in clients:
                    self._take(raw, Duplicate.NONE)
            if origin.collected:
                collected += build_documents(self._rules, block, excluded=clients).collected
        origin.collected = collected
        self._convert_pending()
        self._batch = following

    def _take(self, raw: bytes, duplicate: Duplicate) -> None:
        """Convert a document of a client that is not flat, or defer it until users and experts are looked up."""
        session = None if duplicate is Duplicate.CONFLICT else self._flat.convert(raw)
        if session is not None:
            self._counts.scanned += 1
            self._keep(session, self._client(session.client_id))
            return
        booking = read_booking(raw)
        # Of several `clientId` the first counts: by it the place is sorted, and documents of one client come together.
        client = self._client(booking.fields.get("clientId") if booking.exact else value_in(raw, b"clientId"))
        known = (_DUPLICATE,) if duplicate is Duplicate.CONFLICT else ()
        if booking.is_client_document:
            if duplicate is not Duplicate.COPY:
                self._take_client_document(booking, known, client)
            return
        self._counts.scanned += 1
        if booking.lacks_client() or booking.lacks_expert():
            self._pending.append(_Pending(booking, known, client))
            if len(self._pending) >= self._limit:
                self._convert_pending()
        else:
            self._keep(self.converter.convert(booking, _NO_PEOPLE, known), client)

    def _client(self, client_id: Any) -> ClientBookings | None:
        """Return the client of this id in the current batch; None if the id cannot be a client's."""
        if not is_client_id(client_id):
            return None
        key, clients = sort_key(client_id), self._batch.clients
        if not clients or clients[-1].key != key:
            clients.append(ClientBookings(client_id, key))
        return clients[-1]

    def _take_client_document(
        self, booking: Booking, known: tuple[Fault, ...], client: ClientBookings | None
    ) -> None:
        document = read_client_document(booking.raw)
        # A file may have what no server would take.
        if (deep := nested_too_deep(depth(booking.raw), "as a client document")) is not None:
            document = deep
        elif isinstance(document, ClientDocument) and not self._can_store(document.raw):
            document = _NOT_EXTENDED_JSON
        if known or client is None or isinstance(document, Fault):
            faults = (*known, document) if isinstance(document, Fault) else known
            self._counts.scanned += 1
            self._batch.rejected.append(Rejection(booking.raw, faults, booking.document_id))
        else:
            self._counts.client_documents += 1
            client.documents.append(document)

    def _keep(self, result: Session | Rejection, client: ClientBookings | None) -> None:
        if isinstance(result, Session) and not self._can_store(result.raw):
            result = Rejection(result.booking, (_NOT_EXTENDED_JSON,), result.legacy_id)
        self._observer.on_booking(result)
        if isinstance(result, Rejection):
            self._batch.rejected.append(result)
        elif client is not None:
            # One client may have very many bookings, and their decoded fields are not needed any more.
            result.fields = None
            client.sessions.append(result)

    def _convert_pending(self) -> None:
        if not self._pending:
            return
        people = self._directory.find(pending.booking for pending in self._pending)
        for pending in self._pending:
            self._keep(self.converter.convert(pending.booking, people, pending.known), pending.client)
        self._pending.clear()

    def _split_off_rejected(self) -> Batch:
        """Return a batch of rejected documents only: they belong to no client, and may be very many."""
        rejected, self._batch.rejected = self._batch.rejected, []
        size = sum(len(rejection.raw) for rejection in rejected)
        self._batch.documents -= len(rejected)
        self._batch.size -= size
        return Batch(rejected=rejected, documents=len(rejected), size=size)

    def _end_batch(self) -> Batch:
        self._convert_pending()
        batch, self._batch = self._batch, Batch()
        return batch
