"""The server engine: MongoDB groups the bookings of plain clients by itself, and the stream engine does the rest.

It stands before the stream engine as a reader, and does the ranges whose turn it is (`engine.choice`). While the stream engine reads on, the server works on the next few ranges of
clients; of a range that is done, only the documents of those clients are read that the server has left, in client order
like everything else. So there is one survey, one tally, one target, one journal and one report for both engines, and what a
migration means is said once, in `engine.stream`.

What a run wrote is known by its digests (DESIGN.md, invariant 7), and the server cannot make any. So a range is noted down
before the server works on it, and what it has written is read back at once and noted with its digests. Deriving the
documents again when a run is rolled back would cost a migration nothing, but would prove nothing: the source is in use, and
of a client whose booking was edited since, the run's own document would be taken for somebody else's. A run that is killed
between the two leaves the range in doubt; `engine.doubt` settles it by what the documents say of themselves.

Between a document's writing and its reading back lies as long as the server works on the range, about a second. Whoever
changes the target of a running migration just then has the change taken for the run's; nobody should, before the cut-over.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

from bson.objectid import ObjectId

from booking_migrate.domain.bson_document import read_fields
from booking_migrate.domain.ordering import sort_key
from booking_migrate.engine.choice import EngineChoice
from booking_migrate.engine.grouped import read_grouped
from booking_migrate.engine.interruption import Shield
from booking_migrate.engine.journaled_target import NotingSession, Odometer
from booking_migrate.engine.outcome import Engine, EngineShare
from booking_migrate.engine.tally import Tally
from booking_migrate.engine.throttle import NoThrottle, Throttle
from booking_migrate.errors import BookingMigrateError, NotPermitted, ServerCannotGroup
from booking_migrate.events import Advanced, EngineChosen, Reached, Step
from booking_migrate.stores.base import DocumentReader, ScannedDocument
from booking_migrate.stores.grouping import ClientCount, ClientRange, GroupingServer
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote, identity_of
from booking_migrate.stores.packed import Packed, Piece
from booking_migrate.stores.whole_clients import whole_clients

DEFAULT_WORKERS = 2

PLAIN = "plain clients"
LEFT = "clients that are not plain"
OTHER_IDS = "clientId is no ObjectId"
_MANY_BOOKINGS = "one client has more bookings than the server should group"
_INTERRUPTED = "the run had begun with them before it was interrupted"
_PRESENT = "the target has documents of many of these clients"

_EXCLUDED = 500
"""How many clients of a range may have a document in the target without the range going to the stream engine."""

_ASKED_FOR = 500
"""How many clients' documents are asked for at a time."""


class _Written(NamedTuple):
    """What the server has written of a range."""

    notes: Sequence[DocumentNote]
    left: Sequence[ObjectId]
    """The clients without a document."""

    sessions: int
    spent: dict[str, Decimal]
    problem: str | None


@dataclass(slots=True)
class _Work:
    """One range, on its way."""

    clients: ClientRange
    reason: str = PLAIN
    """Why which engine does it."""

    writing: Future[_Written] | None = None
    """What comes of the server's work; None if the stream engine does the range."""


class GroupingSession(NotingSession, Protocol):
    """What this engine asks of the run beyond what every target does; see `RunSession`."""

    @property
    def run_id(self) -> str:
        """See `RunSession.run_id`."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """A server that can group bookings, and how it is to be used."""

    server: GroupingServer
    workers: int = DEFAULT_WORKERS
    """How many ranges it works on at a time."""

    is_required: bool = False
    """Whether it does all it can, however fast it is, and the run is refused if it can do nothing for these collections."""


@dataclass(frozen=True, slots=True)
class NoGrouping:
    """There is no server that could, or should, group bookings."""

    reason: str
    """Why, for people."""


class ServerAssistedReader:
    """See `DocumentReader` for the promises; this one has the server do what it can, and yields the rest."""

    def __init__(
        self,
        source: DocumentReader,
        grouping: Grouping,
        session: GroupingSession,
        tally: Tally,
        odometer: Odometer,
        *,
        shield: Shield,
        throttle: Throttle | NoThrottle,
        range_bookings: int,
        expect: Callable[[int], None],
    ) -> None:
        """Take the parts.

        Args:
            source: the bookings.
            grouping: the server that groups them.
            session: the run, which notes down what is written.
            tally: counts what the server has done, too.
            odometer: knows how far the run is, and whom to tell about its steps.
            shield: holds a signal back while a range is noted down.
            throttle: pauses before a range while a secondary is behind.
            range_bookings: how many bookings a range has, about.
            expect: is told how many documents the server has put into the target, see `TargetWriter.expect`.
        """
        self._source = source
        self._server = grouping.server
        self._is_required = grouping.is_required
        self._workers = grouping.workers
        self._session = session
        self._tally = tally
        self._odometer = odometer
        self._shield = shield
        self._throttle = throttle
        self._range_bookings = range_bookings
        self._expect = expect
        self._pool = ThreadPoolExecutor(max_workers=grouping.workers, thread_name_prefix="range")
        self._ahead: deque[_Work] = deque()
        self._shares: Counter[tuple[Engine, str]] = Counter()
        self._ranges: Counter[tuple[Engine, str]] = Counter()
        self._obstacle: str | None = None
        self._choice = EngineChoice(None, only_server=grouping.is_required)
        self._reasons: dict[int, str] = {}
        """Why the stream engine does the pieces that are under way, by their identity."""

    @property
    def name(self) -> str:
        """See `DocumentReader.name`."""
        return self._source.name

    @property
    def shares(self) -> tuple[EngineShare, ...]:
        """Which engine did how much, and why."""
        return tuple(
            EngineShare(engine, reason, self._ranges[engine, reason], documents)
            for (engine, reason), documents in self._shares.items()
        )

    def check(self) -> None:
        """See `DocumentReader.check`. Finds out, too, whether the server can do anything.

        Raises:
            ServerCannotGroup: it cannot, and has to.
        """
        self._source.check()
        try:
            self._obstacle = self._server.obstacle()
        except NotPermitted as error:
            self._obstacle = error.message
        if self._obstacle is not None and self._is_required:
            raise ServerCannotGroup(self.name, self._obstacle)

    def estimate_count(self) -> int | None:
        """See `DocumentReader.estimate_count`."""
        return self._source.estimate_count()

    def scan_client_documents(self) -> Iterator[bytes]:
        """See `DocumentReader.scan_client_documents`."""
        return self._source.scan_client_documents()

    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        """See `DocumentReader.find`."""
        return self._source.find(ids)

    def scan_by_client(self) -> Iterator[ScannedDocument]:
        """See `DocumentReader.scan_by_client`: everything, since the server's work comes with pieces."""
        return self._source.scan_by_client()

    def scan_pieces(self, documents: int, *, apart: bool) -> Iterator[Piece]:
        """See `DocumentReader.scan_pieces`; clients whose documents the server has written are left out."""
        if self._obstacle is not None:
            yield from self._noted(self._source.scan_pieces(documents, apart=apart), self._obstacle)
            return
        self._choice = EngineChoice(self.estimate_count(), only_server=self._is_required)
        yield from self._whole(self._server.scan_before(), OTHER_IDS, documents)
        yield from self._ranges_of_clients(documents, apart=apart)
        yield from self._whole(self._server.scan_behind(), OTHER_IDS, documents)

    def _ranges_of_clients(self, documents: int, *, apart: bool) -> Iterator[Piece]:
        """All clients with ObjectIds, one range after the other, each done by the engine whose turn it is."""
        end: ObjectId | None = None
        while True:
            is_server = self._choice.next is Engine.SERVER
            size = documents if apart and not is_server else self._range_bookings
            clients = next(self._server.ranges(size, end), None)
            if clients is None:
                break
            end = clients.end
            if is_server:
                self._choice.begin_grouping()
                self._begin(clients)
                yield from self._end_all(documents, leave=self._left_under_way)
            else:
                yield from self._end_all(documents)
                self._choose(Engine.STREAM, self._choice.reason)
                yield from self._noted(self._streamed(clients, documents, apart=apart), self._choice.reason)
        yield from self._end_all(documents)

    def _streamed(self, clients: ClientRange, documents: int, *, apart: bool) -> Iterator[Piece]:
        if apart:
            yield self._server.piece(clients, documents)
        else:
            yield from whole_clients(self._server.scan(clients), documents)

    @property
    def _left_under_way(self) -> int:
        """How many ranges the server may go on with before the next one begins; on trial it does as many as it works on."""
        is_over = self._choice.is_trial and len(self._ahead) >= self._workers
        return 0 if is_over else self._workers

    def _end_all(self, documents: int, leave: int = 0) -> Iterator[Piece]:
        """Bring the ranges that are under way to their end, but for so many."""
        while len(self._ahead) > leave:
            yield from self._end(documents)

    def note_read(self, piece: Piece, documents: int) -> None:
        """Count what a piece turned out to have."""
        self._shares[Engine.STREAM, self._reasons.pop(id(piece))] += documents
        self._choice.note_streamed(documents)

    def _whole(self, scan: Iterator[Packed], reason: str, documents: int) -> Iterator[Piece]:
        return self._noted(whole_clients(scan, documents), reason)

    def _noted(self, pieces: Iterator[Piece], reason: str) -> Iterator[Piece]:
        for piece in pieces:
            self._reasons[id(piece)] = reason
            yield piece

    def _begin(self, clients: ClientRange) -> None:
        """Choose an engine for a range; have the server begin with it if it is the server."""
        if not clients.is_groupable:
            self._ahead.append(_Work(clients, _MANY_BOOKINGS))
            return
        first, end = sort_key(clients.first), sort_key(clients.end)
        if self._session.between(first, end):
            self._ahead.append(_Work(clients, _INTERRUPTED))
            return
        there = list(self._server.present_ids(clients, _EXCLUDED + 1))
        present = [read_fields(raw)["clientId"] for raw in there]
        excluded = set(present)
        known = self._server.clients(clients)
        wanted = [each for each in known if each.client not in excluded]
        if len(present) > _EXCLUDED or not wanted:
            self._ahead.append(_Work(clients, _PRESENT))
            return
        self._throttle.wait()
        with self._shield.protected():
            notes = [DocumentNote(identity_of(raw), None, None) for raw in there]
            self._session.note(RangeNote(NoteKind.GROUPING, first, end, notes))
            self._reach(Step.RANGE_NOTED)
            writing = self._pool.submit(self._write, clients, wanted, known)
            self._ahead.append(_Work(clients, writing=writing))

    def _write(
        self, clients: ClientRange, wanted: Sequence[ClientCount], known: Sequence[ClientCount]
    ) -> _Written:
        """Have the server write a range, and read back what it has written. On a thread of its own."""
        self._session.confirm()
        problem = self._server.merge(clients, wanted, self._session.run_id)
        asked_for = {each.client for each in wanted}
        left = dict.fromkeys(each.client for each in known)
        notes: list[DocumentNote] = []
        sessions, spent = 0, dict[str, Decimal]()
        for raw in self._server.present(clients):
            document = read_grouped(raw)
            if document is None or document.client_id not in asked_for:
                continue
            del left[document.client_id]
            notes.append(DocumentNote(document.identity, sha256(raw).digest(), None))
            sessions += document.sessions
            spent[document.currency] = spent.get(document.currency, Decimal(0)) + document.spent
        return _Written(notes, list(left), sessions, spent, problem)

    def _end(self, documents: int) -> Iterator[Piece]:
        """Bring the oldest range to its end: note down what the server has written, and yield what it has left."""
        work = self._ahead[0]
        if work.writing is None:
            self._ahead.popleft()
            self._choose(Engine.STREAM, work.reason)
            yield from self._whole(self._server.scan(work.clients), work.reason, documents)
            return
        with self._shield.protected():
            written = work.writing.result()
            self._reach(Step.RANGE_MERGED)
            self._ahead.popleft()
            self._note(work.clients, written)
        self._count(written)
        reason = LEFT if written.problem is None else f"the server could not: {written.problem}"
        for start in range(0, len(written.left), _ASKED_FOR):
            some = written.left[start : start + _ASKED_FOR]
            yield from self._whole(self._server.scan_clients(some), reason, documents)

    def _note(self, clients: ClientRange, written: _Written) -> None:
        first, end = sort_key(clients.first), sort_key(clients.end)
        if written.notes:
            self._session.note(RangeNote(NoteKind.DOCUMENTS, first, end, written.notes))
        self._session.note(RangeNote(NoteKind.GROUPED, first, end, ()))
        self._reach(Step.BATCH_WRITTEN)

    def _count(self, written: _Written) -> None:
        self._tally.take_grouped(len(written.notes), written.sessions, written.spent)
        self._expect(len(written.notes))
        self._choose(Engine.SERVER, PLAIN)
        self._shares[Engine.SERVER, PLAIN] += written.sessions
        self._choice.note_grouped(written.sessions)
        self._odometer.notify(Advanced(written.sessions))
        self._session.checkpoint(self._odometer.documents, self._odometer.total)

    def _choose(self, engine: Engine, reason: str) -> None:
        self._ranges[engine, reason] += 1
        self._odometer.notify(EngineChosen(engine.value, reason))

    def close(self) -> None:
        """See `DocumentReader.close`. What the server is at work on is waited for, and noted down if it can be.

        The source is not its own, and stays open.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._shield.protected():
            for work in self._ahead:
                try:
                    if work.writing is not None:
                        self._note(work.clients, work.writing.result())
                except (BookingMigrateError, CancelledError):
                    # It is in doubt then, which the next run or the rollback settles.
                    continue
            self._ahead.clear()
        self._pool.shutdown()

    def _reach(self, step: Step) -> None:
        self._odometer.notify(Reached(step))
