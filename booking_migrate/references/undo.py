"""Restore old ids in references, from the journal of a rewrite; or, if that is lost, by computing them.

What others have changed since is kept, counted and listed. A note is dropped once its documents were read again.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from bson.dbref import DBRef

from booking_migrate.bson.document import value_in
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.errors import NoRewrite, OldIdsNotIndexed, ReferenceContended
from booking_migrate.events import Advanced, PhaseEnded, PhaseStarted
from booking_migrate.references.batches import ahead
from booking_migrate.references.changes import Found, reversal
from booking_migrate.references.computed import compute
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.lookup import look_up
from booking_migrate.references.positions import Places
from booking_migrate.references.record import problem_noted
from booking_migrate.references.restoring import (
    MOST_ROUNDS,
    SAMPLES,
    Kept,
    Restorer,
    UndoCounts,
    UndoOfReferences,
    UndoPlan,
)
from booking_migrate.references.rewrite import LOCK
from booking_migrate.references.values import Occurrence, form_of, old_ids_of
from booking_migrate.references.writer import EXACT_FROM, Place, void_unwritten
from booking_migrate.runs.lock import HeldLock
from booking_migrate.stores.reference_journal import (
    ABSENT,
    DocumentChange,
    FieldChange,
    Note,
    RewriteRecord,
    RewriteState,
    in_effect,
)
from booking_migrate.stores.references import BookingState, OldIds

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.reference_journal import MongoReferenceJournal


def choose_rewrites(
    journal: "MongoReferenceJournal", *, where: str, run_id: str | None, has_fields: bool, is_named: bool
) -> Sequence[RewriteRecord]:
    """Return the rewrites to undo, the newest first; none if old ids have to be computed.

    Args:
        journal: the journal.
        where: the database's name.
        run_id: a migration or a rewrite, if one is chosen.
        has_fields: whether fields are named, so that old ids can be computed.
        is_named: whether the command line names them: then they are computed after an undo by the journal, too.

    Raises:
        NoRewrite: nothing is known to undo.
    """
    known = journal.rewrites()
    found = [each for each in in_effect(known) if run_id in (None, each.run_id, each.rewrite_id)]
    if not found and not (is_named or (has_fields and not known)):
        raise NoRewrite(where)
    return found


def undo_references(plan: UndoPlan) -> UndoOfReferences:
    """Restore old ids; the same command continues what was killed.

    Raises:
        TargetBusy: another process rewrites or undoes references.
        ReferenceContended: a document changes again and again.
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it.
    """
    lock = HeldLock.acquire(plan.locks, LOCK, plan.holder)
    try:
        plan.regulator.check()
        if plan.rewrites:
            undoing = _Undoing(plan, lock)
            for record in plan.rewrites:
                with problem_noted(plan.journal, record.rewrite_id) as now:
                    undoing.undo(now)
            outcome = undoing.outcome
        else:
            outcome = compute(plan, lock)
    except BaseException as error:
        lock.release_after(error)
        raise
    lock.release()
    return outcome


class _Undoing:
    """One undo, whose lock is held."""

    def __init__(self, plan: UndoPlan, lock: HeldLock) -> None:
        self._plan = plan
        self._restorer = Restorer(plan.open_place, lock)
        self.outcome = UndoOfReferences()

    def undo(self, record: RewriteRecord) -> None:
        """Undo one rewrite, its newest note first."""
        plan, journal = self._plan, self._plan.journal
        if record.state is RewriteState.WRITING:
            for note in journal.notes(record.rewrite_id, after=record.settled):
                void_unwritten(journal, self._restorer.place(note.collection), note)
        record = journal.save(record.rewrite_id, state=RewriteState.UNDOING)
        counts = UndoCounts(**record.undo_counts)
        kept = [Kept(**each) for each in record.kept]
        plan.listener.notify(PhaseStarted("restoring references", record.documents or None, "document"))
        is_whole = True
        for note in ahead(journal.newest_first(record.rewrite_id)):
            if note.name == record.undone:
                # Its counts are saved; only the last step was lost.
                stuck = note.stuck
            else:
                plan.regulator.wait()
                stuck = self._undo_note(note, counts, kept)
                plan.regulator.took(len(note.documents))
                if stuck or note.stuck:
                    journal.stuck(note.name, stuck)
                saved = {
                    "undone": note.name,
                    "undo_counts": counts.saved(),
                    "kept": [each._asdict() for each in kept],
                }
                record = journal.save(record.rewrite_id, **saved)
            if stuck:
                is_whole = False
                self.outcome.leave(
                    note.collection, {note.documents[at].identity: why for at, why in stuck.items()}
                )
                journal.void(note.name, [at for at in range(len(note.documents)) if at not in stuck])
            else:
                journal.drop(note.name)
            plan.listener.notify(Advanced(len(note.documents)))
        state = RewriteState.UNDONE if is_whole else RewriteState.UNDOING
        # What is left is tried again by the next command.
        self.outcome.records.append(journal.save(record.rewrite_id, state=state, undone=""))
        for name, number in counts.saved().items():
            setattr(self.outcome.counts, name, getattr(self.outcome.counts, name) + number)
        self.outcome.kept += kept
        plan.listener.notify(PhaseEnded())

    def _undo_note(self, note: Note, counts: UndoCounts, kept: list[Kept]) -> Mapping[int, str]:
        """Restore the old ids of a note's documents, and read them again; counted is what the last look finds.

        Returns:
            Why the server refuses documents with their old ids, by their positions.
        """
        place = self._restorer.place(note.collection)
        left = note.written
        done: list[_Done] = []
        taken: set[bytes] = set()
        refused: dict[bytes, str] = {}
        for number in range(MOST_ROUNDS):
            now = _now(place, left)
            pending = []
            for each in left:
                raw = _document_of(each, now)
                if raw is None:
                    counts.gone += 1
                    continue
                if sha256(raw).digest() == each.digest:
                    counts.restored(len(each.changes))
                    continue
                stays = _own_id(each) if each.identity in taken else ()
                if back := [one for one in reversal(raw, each).changes if not (stays and one.is_document_id)]:
                    pending.append((each, raw, back))
                else:
                    changed = (*reversal(raw, each).kept, *stays)
                    done.append(_Done(raw, each, changed))
            if not pending:
                self._count(note.collection, done, counts, kept)
                return {
                    at: refused[each.identity]
                    for at, each in enumerate(note.documents)
                    if each.identity in refused
                }
            not_done = self._restorer.write(place, pending, is_exact=number >= EXACT_FROM)
            taken |= not_done.taken
            refused |= not_done.refused
            left = [each for each, _raw, _changes in pending if each.identity not in not_done.refused]
        raise ReferenceContended(note.collection, display_id(left[0].document_id))

    def _count(self, collection: str, done: Sequence["_Done"], counts: UndoCounts, kept: list[Kept]) -> None:
        """Count documents that others have changed, too, and that need no further change."""
        others = [(each.raw, change) for each in done for change in each.changed]
        positions, replaced = count(), _with_old_ids(self._plan.old_ids, collection, others)
        for raw, noted, changed in done:
            counts.values += len(noted.changes) - len(changed)
            counts.documents += len(changed) < len(noted.changes)
            stay = [each for each in changed if next(positions) not in replaced]
            counts.superseded += len(changed) - len(stay)
            counts.kept += len(stay)
            named = display_id(value_in(raw, b"_id"))
            kept += [
                Kept(collection, named, each.path, display_id(each.after))
                for each in stay[: max(SAMPLES - len(kept), 0)]
            ]


class _Done(NamedTuple):
    """A document that others have changed, too, and that needs no further change."""

    raw: bytes
    """The document as it is."""

    noted: DocumentChange
    changed: tuple[FieldChange, ...]
    """Those of its changes whose values others have changed since, and that of its `_id` if it has to stay."""


def _with_old_ids(old_ids: OldIds, collection: str, others: Sequence[tuple[bytes, FieldChange]]) -> set[int]:
    """Return the positions of changes in whose place there are ids of old bookings now, and no new ones: these lead somewhere."""
    places = {raw: Places(raw) for raw, _change in others}
    asked = [
        (position, raw, Occurrence(each.path, value, old_ids_of(value), form_of(each.path, value)))
        for position, (raw, each) in enumerate(others)
        if not each.is_document_id
        for value in [places[raw].at(each.path)]
        if value is not ABSENT and value is not None and not isinstance(value, bool | dict | list | DBRef)
    ]
    if not asked:
        return set()
    of = ReferenceField(collection, "")
    try:
        known = look_up(old_ids, [Found(raw, [(of, value)]) for _position, raw, value in asked])
    except OldIdsNotIndexed:
        # They are listed with the rest.
        return set()
    return {
        position
        for position, _raw, value in asked
        for keys in [list(map(sort_key, value.old_ids))]
        if known.new.isdisjoint(keys)
        and any(known.states.get(key, BookingState.UNKNOWN) is not BookingState.UNKNOWN for key in keys)
    }


def _own_id(noted: DocumentChange) -> tuple[FieldChange, ...]:
    return tuple(each for each in noted.changes if each.is_document_id)


def _now(place: Place, documents: Sequence[DocumentChange]) -> Mapping[bytes, bytes]:
    """Return documents as they are, under their old and their new `_id`, by its sort key."""
    ids = [each.document_id for each in documents]
    ids += [each.new_id for each in documents if each.new_id is not ABSENT]
    found = place.writes.find(ids)
    return {sort_key(value_in(identity, b"_id")): raw for identity, raw in found.items()}


def _document_of(change: DocumentChange, now: Mapping[bytes, bytes]) -> bytes | None:
    """Return a noted document as it is now; None if it is gone."""
    moved: Any = change.new_id
    there = None if moved is ABSENT else now.get(sort_key(moved))
    return there or now.get(sort_key(change.document_id))
