"""Undo a migration in place: client by client, the original bookings are restored from the archive.

The application may write meanwhile, in either shape. Each group of clients is restored in one transaction, in which the
originals also leave the archive; so an interrupted rollback continues with what the archive still has.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from booking_migrate.domain.kinds import is_client_id
from booking_migrate.errors import NotRestored
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.in_place.archive import check_archive_of, claimed
from booking_migrate.in_place.noted import Notes, client_key_of
from booking_migrate.in_place.restored_group import RestoredGroup, RestoreOptions
from booking_migrate.in_place.restoring import (
    FoundClients,
    Restored,
    Restorer,
    Restorers,
    found_clients,
    restore_clients,
)
from booking_migrate.in_place.unchanged_clients import plan_unchanged
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.regulator import Regulator, Unregulated
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.states import check_transition
from booking_migrate.runs.undo import UndoOutcome, undo_rejects
from booking_migrate.runs.workers import WORTH_IT
from booking_migrate.stores.in_place import CLAIMED_BOOKINGS, Unit
from booking_migrate.stores.journal import DocumentNote, NoteKind, RunJournal, RunRecord, RunState

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace

_BOOKINGS_PER_LOOKUP = 2000
"""How many bookings of the journal are looked up at a time."""

_UNREGULATED = Unregulated()

_SLOTS = 4
"""How many transactions there may be at a time, where there are many bookings."""


def assess_changes_in_place(
    runs: Sequence[RunRecord], collection: "MongoInPlace", journal: RunJournal
) -> ChangesSince:
    """Return what the application has changed in the result of runs; nothing is written.

    Args:
        runs: the runs, the newest first; all of one archive.
        collection: where they were made.
        journal: knows what they noted.
    """
    notes = Notes.of(journal, [run.run_id for run in reversed(runs)])
    since = ChangesSince()
    for run in runs:
        check_archive_of(run, collection, journal)
        for found in found_clients(journal, run, notes, collection):
            since.merge(collection.work(lambda unit: _assess(unit, found)))  # noqa: B023 - called at once
    return since


def _assess(unit: Unit, found: FoundClients) -> ChangesSince:
    """Assess clients, each when it is found by the first of its bookings: it may be found several times."""
    others = plan_unchanged(unit, found.about, found.client_ids, searches_all=False).others
    if not others:
        return ChangesSince()
    whole = RestoredGroup(unit, found.about, RestoreOptions(searches_all=False))
    whole.read(others)
    first = {
        key: min(id_key(raw) for raw in originals) for key, originals in whole.originals.items() if originals
    }
    found_by = found.found_by
    wanted = [each for each in others if first.get(sort_key(each)) in found_by]
    if len(wanted) == len(others):
        return whole.plan().since
    group = RestoredGroup(unit, found.about, RestoreOptions(searches_all=False))
    group.read(wanted)
    return group.plan().since


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
    regulator: Regulator | Unregulated = _UNREGULATED,
) -> UndoOutcome:
    """Undo a run in place whose collection's lock is held, or continue doing so.

    Args:
        run: the run.
        collection: where it was made.
        stores: where its life is kept.
        lock: that of the collection.
        listener: notified of the progress.
        signal_guard: defers a signal while clients are restored.
        discard_later: whether changes of the application are dropped.
        older: the run that is undone next; its report names the changes to both.
        regulator: holds groups of clients back by what others ask.

    Raises:
        OldBookingsLost, ArchiveNotOwn: the archive is not the run's any more; nothing was changed.
        ArchiveLostInRollback: it was dropped while the rollback was unfinished.
        LeaseLost: another run has taken the lock over.
        Contended: the application writes to a client continuously, so that it could not be restored.
        NotRestored: a booking is still missing at the end.
    """
    check_archive_of(run, collection, stores.journal)
    check_transition(run, RunState.ROLLING_BACK)
    lock.confirm()
    # The guard of a cut-over stays: taken off, it would let old bookings of others in, and a kill would leave it off.
    collection = collection.past_guard()
    if run.server_session is not None:
        collection.end_units(run.run_id, run.server_session)
    run = stores.journal.save(
        run.run_id,
        state=RunState.ROLLING_BACK.value,
        problem=None,
        server_session=collection.server_sessions(),
    )
    options = RestoreOptions(discards_changes=discard_later, counts_for_earlier_runs=older is not None)
    undoing = _Undo(run, collection, stores.journal, lock, listener, signal_guard, options, regulator)
    undoing.prepare()
    undoing.restore()
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
    options: RestoreOptions
    regulator: Regulator | Unregulated

    def __post_init__(self) -> None:
        """Begin with an empty outcome."""
        self.outcome = UndoOutcome(
            self.run, unit="booking", since=ChangesSince(), is_discarded=self.options.discards_changes
        )

    def prepare(self) -> None:
        """Create the index by which the sessions of a booking are found in any client document; it is dropped at the end."""
        lacking = self.collection.lacks_claims_index()
        if lacking is None:
            return
        self.lock.confirm()
        made = [*self.run.indexes_made, *({lacking} - {*self.run.indexes_made})]
        self.run = self.journal.save(self.run.run_id, indexes_made=made)
        self.collection.index_claims()

    def restore(self) -> None:
        """Restore every client.

        Raises:
            Contended: the application writes to one of them continuously.
        """
        total = self.run.tally.get("moved", {}).get("migrated")
        self.listener.notify(PhaseStarted(f"restoring bookings of {self.run.source}", total))
        notes = Notes.of(self.journal, [self.run.run_id])
        restorers = self._restorers()
        found = found_clients(self.journal, self.run, notes, self.collection)
        for count in restore_clients(self._regulated(found), restorers, self.signal_guard):
            self.listener.notify(Advanced(count))
        whole = restorers.whole
        self.outcome.restored, self.outcome.since = whole.restored, whole.since
        self.listener.notify(PhaseEnded())

    def _regulated(self, found: Iterable[FoundClients]) -> Iterator[FoundClients]:
        for each in found:
            self.regulator.wait()
            yield each

    def _restorers(self) -> Restorers:
        """Return the restorers, each with what its slot had restored before an interruption."""
        earlier = Restored.of(self.run.undone)
        saved = {each["slot"]: each.get("undone", {}) for each in self.journal.progress(self.run.run_id)}
        if not self.collection.has_transactions:
            saved, earlier = {0: self.run.undone}, Restored()
        slots = range(_SLOTS if self._is_large() else 1)
        several = [
            Restorer(
                self.collection,
                self.run.run_id,
                self.lock,
                self.options,
                slot,
                Restored.of(saved.pop(slot, {})),
            )
            for slot in slots
        ]
        for each in saved.values():
            earlier = earlier.plus(Restored.of(each))
        self.journal.save(self.run.run_id, server_session=self.collection.server_sessions(len(several)))
        return Restorers(several[0], several[1:], earlier)

    def _is_large(self) -> bool:
        return self.collection.has_transactions and self.collection.estimate_archived() >= WORTH_IT

    def prove(self) -> None:
        """Read again every booking that the run had moved.

        A booking that the application has deleted since, or has made a session again, is listed as kept.

        Raises:
            NotRestored: one is still in the archive.
            ArchiveLostInRollback: the archive was dropped meanwhile.
        """
        check_archive_of(self.run, self.collection, self.journal)
        # Each lookup of a key that was just deleted walks over index entries that are not cleaned up yet.
        is_archive_empty = self.collection.is_archive_empty()
        has_claims = self.collection.has_claims()
        for noted in self.journal.ranges(self.run.run_id, NoteKind.MOVED):
            remaining = iter(noted.notes)
            while some := list(islice(remaining, _BOOKINGS_PER_LOOKUP)):
                notes = {note.key: note for note in some}
                if not is_archive_empty:
                    self._prove_taken(notes)
                self._prove(notes, has_claims=has_claims)

    def _prove_taken(self, notes: Mapping[bytes, DocumentNote]) -> None:
        """Make sure that bookings are not in the archive any more.

        Raises:
            NotRestored: one is.
        """
        archived = self.collection.located([note.document_id for note in notes.values()], archived=True)
        left = [
            value_in(raw, b"_id")
            for raw in (self.collection.archived([each.document_id for each in archived]) if archived else ())
            if notes[id_key(raw)].before != raw
        ]
        if left:
            raise NotRestored(self.collection.name, len(left), display_id(left[0]), "booking")

    def _prove(self, notes: Mapping[bytes, DocumentNote], *, has_claims: bool) -> None:
        ids = [note.document_id for note in notes.values()]
        found = self.collection.present(ids)
        with_sessions = self._with_sessions_again(ids) if has_claims else set()
        if len(found) == len(notes) and not with_sessions:
            return
        for key, note in notes.items():
            if key not in found or key in with_sessions:
                self.outcome.keep(display_id(note.document_id))

    def _with_sessions_again(self, ids: Sequence[Any]) -> set[bytes]:
        """Return the bookings that their clients' documents have sessions of again."""
        claiming = self.collection.claiming(ids)
        if not claiming:
            return set()
        found = self.collection.located(ids)
        clients = {each.client_key for each in found if is_client_id(each.client_id)}
        with_sessions = claimed(raw for raw in claiming if client_key_of(raw) in clients)
        if with_sessions:
            # A conflict was decided for the booking.
            noted = self.journal.between(self.run.run_id, min(clients), max(clients))
            with_sessions -= claimed(
                note.before for part in noted for note in part.notes if note.before is not None
            )
        return with_sessions

    def finish(self, older: RunRecord | None) -> UndoOutcome:
        """Drop the indexes and the archive that the run created, and close the run. May be repeated."""
        run, outcome = self.run, self.outcome
        self.lock.confirm()
        own = [name for name in run.indexes_made if name != CLAIMED_BOOKINGS]
        outcome.index_removed = self.collection.drop_indexes(own)
        self.collection.drop_indexes([name for name in run.indexes_made if name not in own])
        if not run.archive_existed:
            self.journal.save(run.run_id, archive_emptied=True)
            outcome.target_dropped = self.collection.drop_archive(only_if_empty=True)
        self.lock.confirm()
        if older is not None and outcome.since is not None:
            self.journal.save(older.run_id, undone={"restored": 0, "since": asdict(outcome.since)})
        outcome.run = self.journal.save(run.run_id, state=RunState.ROLLED_BACK.value)
        self.journal.forget(run.run_id)
        return outcome
