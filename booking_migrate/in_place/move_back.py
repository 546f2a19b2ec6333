"""Undoing a migration in place: client by client, the originals come back from the archive.

The application may go on meanwhile, in either shape. Each group of clients is put back in one transaction, in which the
originals also leave the archive; so a rollback that was cut off anywhere goes on with what is still there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.booking import read_booking
from booking_migrate.domain.client_document import ClientDocument, read_client_document
from booking_migrate.domain.contract import is_client_id
from booking_migrate.domain.ids import client_document_id
from booking_migrate.domain.reversal import Change, Reversal, reverse
from booking_migrate.errors import Contended, NotRestored
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.in_place.archive import check_archive_of
from booking_migrate.in_place.contention import bisect_on_conflict
from booking_migrate.runs.drift import ChangesSince
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.states import check_transition
from booking_migrate.runs.undo import UndoOutcome, undo_rejects
from booking_migrate.stores.in_place import InPlaceCollection, Move, Unit
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState
from booking_migrate.stores.notes import NoteKind, RangeNote, identity_of
from booking_migrate.stores.ports import Replacement

_AT_ONCE = 300
"""How many bookings of the journal are looked up at a time; all others of their clients come with them."""


@dataclass(slots=True)
class _Client:
    """One client as it stands, and as it was."""

    client_id: Any
    originals: list[bytes] = field(default_factory=list)
    beside: dict[bytes, bytes] = field(default_factory=dict)
    """Its bookings in the collection, by the sort key of `_id`."""

    document: ClientDocument | None = None
    before: Sequence[bytes] = ()


@dataclass(slots=True)
class _Return:
    """What is to be done about a group of clients."""

    gone: list[bytes] = field(default_factory=list)
    changed: list[Replacement] = field(default_factory=list)
    new: list[bytes] = field(default_factory=list)
    originals: list[bytes] = field(default_factory=list)
    since: list[Reversal] = field(default_factory=list)


def assess_changes_in_place(
    run: RunRecord, collection: InPlaceCollection, journal: RunJournal
) -> ChangesSince:
    """What has happened to a run's result since; nothing is written."""
    check_archive_of(run, collection, journal)
    since = ChangesSince()
    for noted in journal.ranges(run.run_id, NoteKind.MOVED):
        for clients, memory in _clients_of(collection, journal, run, noted):
            returned = collection.work(lambda unit: memory.returned(unit, clients, discard_later=False))  # noqa: B023 - called at once
            for reversal in returned.since:
                _add(since, reversal)
    return since


def undo_in_place(
    run: RunRecord,
    collection: InPlaceCollection,
    stores: RunStores,
    lock: HeldLock,
    *,
    listener: Listener,
    signal_guard: SignalGuard,
    discard_later: bool = False,
) -> UndoOutcome:
    """Undo a run in place whose collection's lock is held, or go on with that.

    Args:
        run: the run.
        collection: where it was made.
        stores: where its life is kept.
        lock: that of the collection.
        listener: told about each step.
        signal_guard: holds a signal back while clients are put back.
        discard_later: whether what the application has done since is dropped.

    Raises:
        OldBookingsLost, ArchiveNotOwn: the archive is not the run's any more; nothing was changed.
        LeaseLost: another run has taken the lock over.
        Contended: somebody writes to a client all the time, so that it could not be put back.
        NotRestored: after everything, a booking is not back.
    """
    check_archive_of(run, collection, stores.journal)
    check_transition(run, RunState.ROLLING_BACK)
    lock.confirm()
    if run.server_session is not None:
        collection.end_session(run.server_session)
    run = stores.journal.save(
        run.run_id, state=RunState.ROLLING_BACK.value, server_session=collection.server_session()
    )
    undoing = _Undo(
        run,
        collection,
        stores,
        lock,
        listener=listener,
        signal_guard=signal_guard,
        discard_later=discard_later,
    )
    undoing.put_back()
    undo_rejects(run, stores, lock, signal_guard)
    undoing.prove()
    return undoing.finish()


class _Undo:
    """One rollback at work."""

    def __init__(
        self,
        run: RunRecord,
        collection: InPlaceCollection,
        stores: RunStores,
        lock: HeldLock,
        *,
        listener: Listener,
        signal_guard: SignalGuard,
        discard_later: bool,
    ) -> None:
        self._run = run
        self._collection = collection
        self._journal = stores.journal
        self._lock = lock
        self._listener = listener
        self._shield = signal_guard
        self._discards = discard_later
        self._outcome = UndoOutcome(run, unit="booking", since=ChangesSince(), is_discarded=discard_later)
        self._recall(run.undone)

    def _recall(self, undone: Mapping[str, Any]) -> None:
        """Go on counting where an interrupted rollback ended."""
        if undone:
            self._outcome.restored = undone["restored"]
            self._outcome.since = ChangesSince(**undone["since"])

    def put_back(self) -> None:
        """Put every client back.

        Raises:
            Contended: somebody writes to one of them all the time.
        """
        total = self._run.tally.get("moved", {}).get("migrated")
        self._listener.notify(PhaseStarted(f"putting back bookings of {self._run.source}", total))
        for noted in self._journal.ranges(self._run.run_id, NoteKind.MOVED):
            for clients, memory in _clients_of(self._collection, self._journal, self._run, noted):
                attempted = bisect_on_conflict(clients, lambda some: self._attempt(some, memory))  # noqa: B023 - called at once
                for some, count in attempted:
                    if count is None:
                        raise Contended(self._collection.name, [display_id(each) for each in some])
                    self._listener.notify(Advanced(count))
        self._listener.notify(PhaseEnded())

    def _attempt(self, clients: Sequence[Any], memory: "_Memory") -> int:
        with self._shield.critical_section():
            returned = self._collection.work(lambda unit: self._take(unit, clients, memory))
            self._count(returned)
        return len(returned.originals)

    def _take(self, unit: Unit, clients: Sequence[Any], memory: "_Memory") -> _Return:
        returned = memory.returned(unit, clients, discard_later=self._discards)
        self._lock.confirm()
        unit.take(
            Move(
                gone=returned.gone,
                changed=returned.changed,
                new=returned.new,
                unarchived=returned.originals,
                progress={"undone": self._counted(returned)},
                run_id=self._run.run_id,
                token=self._lock.token,
            ),
        )
        return returned

    def _counted(self, returned: _Return) -> Mapping[str, Any]:
        """The counts with these clients in them."""
        since = ChangesSince(**asdict(self._outcome.since or ChangesSince()))
        for reversal in returned.since:
            _add(since, reversal)
        return {"restored": self._outcome.restored + len(returned.originals), "since": asdict(since)}

    def _count(self, returned: _Return) -> None:
        self._recall(self._counted(returned))

    def prove(self) -> None:
        """Read again every booking that the run had moved.

        Raises:
            NotRestored: one is not in the collection, or still in the archive, or still in a client document.
        """
        for noted in self._journal.ranges(self._run.run_id, NoteKind.MOVED):
            remaining = iter(noted.notes)
            while some := list(islice(remaining, _AT_ONCE)):
                self._prove({note.key: note.document_id for note in some})

    def _prove(self, ids: Mapping[bytes, Any]) -> None:
        found = {
            sort_key(booking.document_id): booking.fields["clientId"]
            for booking in map(read_booking, self._collection.find(list(ids.values())))
        }
        archived = {
            sort_key(read_booking(raw).document_id) for raw in self._collection.archived(list(ids.values()))
        }
        clients = {sort_key(client_id): client_id for client_id in found.values()}
        documents = map(read_client_document, self._collection.find_by_client(list(clients.values())))
        claimed = {
            session.legacy_key
            for document in documents
            if isinstance(document, ClientDocument)
            for session in document.sessions
        }
        claimed -= self._claimed_before(clients)
        wrong = [key for key in ids if key not in found or key in archived or key in claimed]
        if wrong:
            raise NotRestored(self._collection.name, len(wrong), display_id(ids[wrong[0]]), "booking")

    def _claimed_before(self, clients: Mapping[bytes, Any]) -> set[bytes | None]:
        """Return the bookings that client documents claimed before the run; a conflict was decided for the booking."""
        if not clients:
            return set()
        noted = self._journal.between(self._run.run_id, min(clients), max(clients))
        images = (note.before for part in noted for note in part.notes if note.before is not None)
        return {
            session.legacy_key
            for document in map(read_client_document, images)
            if isinstance(document, ClientDocument)
            for session in document.sessions
        }

    def finish(self) -> UndoOutcome:
        """Take away what the run had made beside documents, and close it. May be repeated."""
        run, outcome = self._run, self._outcome
        self._lock.confirm()
        outcome.index_removed = self._collection.drop_indexes(run.indexes_made)
        if not run.archive_existed:
            outcome.target_dropped = self._collection.drop_archive(only_if_empty=True)
        self._lock.confirm()
        outcome.run = self._journal.save(run.run_id, state=RunState.ROLLED_BACK.value)
        self._journal.forget(run.run_id)
        return outcome


class _Memory:
    """What the run noted about some clients."""

    def __init__(self, journal: RunJournal, run: RunRecord, first: bytes, last: bytes) -> None:
        moved = journal.between(run.run_id, first, last, NoteKind.MOVED)
        self._moved = {note.key for noted in moved for note in noted.notes}
        self._documents = [note for noted in journal.between(run.run_id, first, last) for note in noted.notes]

    def returned(self, unit: Unit, client_ids: Sequence[Any], *, discard_later: bool) -> _Return:
        """Read these clients and work out what they have again. Nothing is written.

        Raises:
            NotRestored: another booking has the `_id` of one that would come back.
        """
        clients = {sort_key(each): _Client(each) for each in client_ids}
        for raw in unit.archived_of(client_ids):
            client = _owner(clients, raw)
            if client is not None and sort_key(read_booking(raw).document_id) in self._moved:
                client.originals.append(raw)
        for raw in unit.find(client_ids):
            client = _owner(clients, raw)
            document = read_client_document(raw)
            if client is not None and isinstance(document, ClientDocument):
                client.document = document
            elif client is not None:
                client.beside[sort_key(read_booking(raw).document_id)] = raw
        returned = _Return()
        for client in clients.values():
            if client.originals:
                client.before = self._before(client)
                _give_back(client, returned, discard_later=discard_later)
        return returned

    def _before(self, client: _Client) -> Sequence[bytes]:
        """The client document that the client had before the run; none if the run made it."""
        own = {sort_key(client_document_id(client.client_id))}
        if client.document is not None:
            own.add(sort_key(client.document.document_id))
        for note in self._documents:
            if note.before is None and note.key in own:
                return ()
            if note.before is not None and _client_key(note.before) == sort_key(client.client_id):
                return (note.before,)
        return ()


def _give_back(client: _Client, returned: _Return, *, discard_later: bool) -> None:
    now = client.document
    reversal = reverse(
        None if now is None else now.raw, client.originals, client.before, discard_later=discard_later
    )
    missing = {sort_key(each) for each in reversal.missing}
    for booking in reversal.bookings:
        document_id = read_booking(booking).document_id
        there = client.beside.get(sort_key(document_id))
        if there is None:
            returned.new.append(booking)
        elif there != booking and sort_key(document_id) not in missing:
            raise NotRestored("the collection", 1, display_id(document_id), "booking")
    # Without transactions a step may have been cut off when the bookings were back and their sessions gone.
    reversal = replace(
        reversal, missing=[each for each in reversal.missing if sort_key(each) not in client.beside]
    )
    kept = {identity_of(raw): raw for raw in reversal.documents}
    own = None if now is None else kept.pop(identity_of(now.raw), None)
    if now is not None and own is None:
        returned.gone.append(now.raw)
    elif now is not None and own is not None and own != now.raw:
        returned.changed.append(Replacement(now.raw, own))
    returned.new += kept.values()
    returned.originals += client.originals
    returned.since.append(reversal)


def _clients_of(
    collection: InPlaceCollection, journal: RunJournal, run: RunRecord, noted: RangeNote
) -> Iterator[tuple[Sequence[Any], _Memory]]:
    """The clients of a range that have not been put back, with what the run noted about them."""
    remaining = iter(noted.notes)
    while some := list(islice(remaining, _AT_ONCE)):
        left = collection.archived([note.document_id for note in some])
        clients = {
            sort_key(client_id): client_id
            for client_id in (read_booking(raw).fields["clientId"] for raw in left)
        }
        if clients:
            yield list(clients.values()), _Memory(journal, run, min(clients), max(clients))


def _owner(clients: Mapping[bytes, _Client], raw: bytes) -> _Client | None:
    key = _client_key(raw)
    return None if key is None else clients.get(key)


def _client_key(raw: bytes) -> bytes | None:
    client_id = read_booking(raw).fields.get("clientId")
    return sort_key(client_id) if is_client_id(client_id) else None


def _add(since: ChangesSince, reversal: Reversal) -> None:
    changes: Iterable[Change] = reversal.changes
    since.add(changes=changes, later=reversal.later, missing=reversal.missing, lost=reversal.lost)
