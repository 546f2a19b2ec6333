"""Undo a migration in place: client by client, the originals come back from the archive.

The application may write meanwhile, in either shape. Each group of clients is put back in one transaction, in which the
originals also leave the archive; so an interrupted rollback continues with what is still there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from booking_migrate.bson.document import value_in
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import (
    id_key,
    sort_key,
)
from booking_migrate.domain.carried_changes import ChangesSince
from booking_migrate.domain.contract import is_client_id
from booking_migrate.errors import Contended, NotRestored
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.in_place.archive import NotedClients, check_archive_of, claimed
from booking_migrate.in_place.give_back import Group, Manner, Return
from booking_migrate.in_place.passes import bisect_on_conflict
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.states import check_transition
from booking_migrate.runs.undo import UndoOutcome, undo_rejects
from booking_migrate.stores.in_place import CLAIMED_BOOKINGS, Move, Unit
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote, RunJournal, RunRecord, RunState

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace

_AT_ONCE = 300
"""How many bookings of the journal are looked up at a time; all others of their clients come with them."""


def assess_changes_in_place(
    runs: Sequence[RunRecord], collection: "MongoInPlace", journal: RunJournal
) -> ChangesSince:
    """Return what has happened to the result of runs since; nothing is written.

    Args:
        runs: the runs, the newest first; all of one archive.
        collection: where they were made.
        journal: knows what they noted.
    """
    run_ids = [run.run_id for run in reversed(runs)]
    since = ChangesSince()
    for run in runs:
        check_archive_of(run, collection, journal)
        for noted, about in _moved(journal, run, run_ids):
            for clients, found_by in _clients_of(collection, noted):
                since.merge(collection.work(lambda unit: _assess(unit, about, clients, found_by)))  # noqa: B023 - called at once
    return since


def _assess(
    unit: Unit, about: NotedClients, clients: Mapping[bytes, Any], found_by: Sequence[bytes]
) -> ChangesSince:
    """Assess clients, each when it is found by the first of its bookings: it may be found several times."""
    whole = Group(unit, about, Manner(searches=False))
    whole.read(list(clients.values()))
    first = {
        key: min(id_key(raw) for raw in originals) for key, originals in whole.originals.items() if originals
    }
    wanted = [clients[key] for key in clients if first.get(key) in found_by]
    if len(wanted) == len(clients):
        return whole.give_back().since
    group = Group(unit, about, Manner(searches=False))
    group.read(wanted)
    return group.give_back().since


def undo_in_place(
    run: RunRecord,
    collection: "MongoInPlace",
    stores: RunStores,
    lock: HeldLock,
    *,
    listener: Listener,
    signal_guard: SignalGuard,
    discard_later: bool = False,
    older: RunRecord | None = None,
) -> UndoOutcome:
    """Undo a run in place whose collection's lock is held, or continue doing so.

    Args:
        run: the run.
        collection: where it was made.
        stores: where its life is kept.
        lock: that of the collection.
        listener: notified of the progress.
        signal_guard: holds a signal back while clients are put back.
        discard_later: whether what the application has done since is dropped.
        older: the run that is undone next; its report is to name what had happened to both.

    Raises:
        OldBookingsLost, ArchiveNotOwn: the archive is not the run's any more; nothing was changed.
        LeaseLost: another run has taken the lock over.
        Contended: the application writes to a client continuously, so that it could not be put back.
        NotRestored: in the end a booking is not back.
    """
    check_archive_of(run, collection, stores.journal)
    check_transition(run, RunState.ROLLING_BACK)
    lock.confirm()
    if run.server_session is not None:
        collection.end_session(run.server_session)
    run = stores.journal.save(
        run.run_id,
        state=RunState.ROLLING_BACK.value,
        problem=None,
        server_session=collection.server_session(),
    )
    manner = Manner(discards=discard_later, hands_down=older is not None)
    undoing = _Undo(run, collection, stores.journal, lock, listener, signal_guard, manner)
    undoing.prepare()
    undoing.put_back()
    undo_rejects(run, stores, lock, signal_guard)
    undoing.prove()
    return undoing.finish(older)


@dataclass
class _Undo:
    """One running rollback."""

    run: RunRecord
    collection: "MongoInPlace"
    journal: RunJournal
    lock: HeldLock
    listener: Listener
    signal_guard: SignalGuard
    manner: Manner

    def __post_init__(self) -> None:
        """Begin with the counts of an interrupted rollback."""
        self.outcome = UndoOutcome(
            self.run, unit="booking", since=ChangesSince(), is_discarded=self.manner.discards
        )
        self._recall(self.run.undone)

    def _recall(self, undone: Mapping[str, Any]) -> None:
        """Continue the counts of an interrupted rollback."""
        if undone:
            self.outcome.restored = undone["restored"]
            self.outcome.since = ChangesSince(**undone["since"])

    def prepare(self) -> None:
        """Make the index by which the sessions of a booking are found wherever they stand now; it goes at the end."""
        lacking = self.collection.lacks_claims_index()
        if lacking is None:
            return
        self.lock.confirm()
        made = [*self.run.indexes_made, *({lacking} - {*self.run.indexes_made})]
        self.run = self.journal.save(self.run.run_id, indexes_made=made)
        self.collection.index_claims()

    def put_back(self) -> None:
        """Put every client back.

        Raises:
            Contended: the application writes to one of them continuously.
        """
        total = self.run.tally.get("moved", {}).get("migrated")
        self.listener.notify(PhaseStarted(f"putting back bookings of {self.run.source}", total))
        for noted, about in _moved(self.journal, self.run, [self.run.run_id]):
            for clients, _ in _clients_of(self.collection, noted):
                attempted = bisect_on_conflict(
                    list(clients.values()),
                    lambda some: self._attempt(some, about),  # noqa: B023 - called at once
                )
                for some, count in attempted:
                    if count is None:
                        raise Contended(self.collection.name, [display_id(each) for each in some])
                    self.listener.notify(Advanced(count))
        self.listener.notify(PhaseEnded())

    def _attempt(self, clients: Sequence[Any], about: NotedClients) -> int:
        with self.signal_guard.critical_section():
            returned = self.collection.work(lambda unit: self._take(unit, clients, about))
            self._recall(self._counted(returned))
        return returned.restored

    def _take(self, unit: Unit, clients: Sequence[Any], about: NotedClients) -> Return:
        group = Group(unit, about, self.manner)
        group.read(clients)
        returned = group.give_back()
        self.lock.confirm()
        undone = {"undone": self._counted(returned)}
        unit.take(Move(returned, self.run.run_id, self.lock.token, undone))
        return returned

    def _counted(self, returned: Return) -> Mapping[str, Any]:
        """Return the counts with these clients in them."""
        since = ChangesSince(**asdict(self.outcome.since or ChangesSince()))
        since.merge(returned.since)
        return {"restored": self.outcome.restored + returned.restored, "since": asdict(since)}

    def prove(self) -> None:
        """Read again every booking that the run had moved.

        One that the application has deleted since it was put back, or has given a session again, is listed as kept.

        Raises:
            NotRestored: one is still in the archive.
        """
        for noted in self.journal.ranges(self.run.run_id, NoteKind.MOVED):
            remaining = iter(noted.notes)
            while some := list(islice(remaining, _AT_ONCE)):
                self._prove({note.key: note for note in some})

    def _prove(self, notes: Mapping[bytes, DocumentNote]) -> None:
        ids = [note.document_id for note in notes.values()]
        found = {id_key(raw): value_in(raw, b"clientId") for raw in self.collection.find(ids)}
        left = [
            value_in(raw, b"_id") for raw in self.collection.archived(ids) if notes[id_key(raw)].before != raw
        ]
        if left:
            raise NotRestored(self.collection.name, len(left), display_id(left[0]), "booking")
        clients = {sort_key(client_id): client_id for client_id in found.values() if is_client_id(client_id)}
        standing = claimed(self.collection.find_by_client(list(clients.values())))
        standing -= self._claimed_before(clients)
        for key, note in notes.items():
            if key not in found or key in standing:
                self.outcome.keep(display_id(note.document_id))

    def _claimed_before(self, clients: Mapping[bytes, Any]) -> set[bytes]:
        """Return the bookings that client documents claimed before the run; a conflict was decided for the booking."""
        if not clients:
            return set()
        noted = self.journal.between(self.run.run_id, min(clients), max(clients))
        return claimed(note.before for part in noted for note in part.notes if note.before is not None)

    def finish(self, older: RunRecord | None) -> UndoOutcome:
        """Take away what the run had made beside documents, and close it. May be repeated."""
        run, outcome = self.run, self.outcome
        self.lock.confirm()
        own = [name for name in run.indexes_made if name != CLAIMED_BOOKINGS]
        outcome.index_removed = self.collection.drop_indexes(own)
        self.collection.drop_indexes([name for name in run.indexes_made if name not in own])
        if not run.archive_existed:
            outcome.target_dropped = self.collection.drop_archive(only_if_empty=True)
        self.lock.confirm()
        if older is not None and outcome.since is not None:
            self.journal.save(older.run_id, undone={"restored": 0, "since": asdict(outcome.since)})
        outcome.run = self.journal.save(run.run_id, state=RunState.ROLLED_BACK.value)
        self.journal.forget(run.run_id)
        return outcome


def _moved(
    journal: RunJournal, run: RunRecord, run_ids: Sequence[str]
) -> Iterator[tuple[RangeNote, NotedClients]]:
    """Yield what a run noted of bookings that it moved, each part with all that these runs noted of the same clients."""
    covered: tuple[bytes, bytes] | None = None
    about = NotedClients(journal, run_ids)
    for noted in journal.ranges(run.run_id, NoteKind.MOVED):
        # A range comes in several parts, and what is known of its clients is held once.
        if covered != (noted.first, noted.last):
            covered = noted.first, noted.last
            about = NotedClients(journal, run_ids)
            about.cover(covered)
        yield noted, about


def _clients_of(
    collection: "MongoInPlace", noted: RangeNote
) -> Iterator[tuple[Mapping[bytes, Any], Sequence[bytes]]]:
    """Yield the clients of a range that have not been put back, and the sort keys of the bookings that they are found by."""
    remaining = iter(noted.notes)
    while some := list(islice(remaining, _AT_ONCE)):
        superseded = {note.key: note.before for note in some}
        left = [
            raw
            for raw in collection.archived([note.document_id for note in some])
            if superseded[id_key(raw)] != raw
        ]
        clients = {sort_key(each): each for each in (value_in(raw, b"clientId") for raw in left)}
        if clients:
            yield clients, [id_key(raw) for raw in left]
