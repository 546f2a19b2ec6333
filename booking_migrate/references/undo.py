"""Restore old ids in references, from the journal of a rewrite; or, if that is lost, by computing them.

What others have changed since is kept, counted and listed. A note is dropped once its documents were read again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from bson.objectid import ObjectId

from booking_migrate.bson.document import identity_of, value_in
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.session import booking_of_session
from booking_migrate.errors import NoRewrite, ReferenceContended
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.references.batches import ahead, regrouped
from booking_migrate.references.changes import find, reversal
from booking_migrate.references.fields import NewId, ReferenceField
from booking_migrate.references.positions import rebuilt
from booking_migrate.references.rewrite import LOCK
from booking_migrate.references.values import replaced
from booking_migrate.references.writer import EXACT_FROM, Place
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.regulator import Regulator
from booking_migrate.stores.locks import Holder, LockStore
from booking_migrate.stores.reference_journal import (
    ABSENT,
    DocumentChange,
    FieldChange,
    Note,
    RewriteRecord,
    RewriteState,
    in_effect,
)
from booking_migrate.stores.references import BookingState, NewIds, OldIds

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.reference_journal import MongoReferenceJournal

_MOST_ROUNDS = 30
_SAMPLES = 100
_BATCH = 5000


@dataclass(slots=True)
class UndoCounts:
    """What an undo has done."""

    documents: int = 0
    """How many documents have old ids again."""

    identical: int = 0
    """How many of them are byte for byte what they were; the others were changed by others in other fields."""

    values: int = 0
    kept: int = 0
    """How many noted values others have changed since, so that they stay."""

    gone: int = 0
    """How many documents others have deleted since."""

    def saved(self) -> dict[str, int]:
        """Return them as values of BSON."""
        return {name: getattr(self, name) for name in ("documents", "identical", "values", "kept", "gone")}

    def restored(self, values: int) -> None:
        """Count a document that is byte for byte what it was."""
        self.documents += 1
        self.identical += 1
        self.values += values


class Kept(NamedTuple):
    """A value that an undo keeps, as text."""

    collection: str
    document_id: str
    path: str
    noted: str
    """The new id that the rewrite wrote."""


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What to undo, and where."""

    rewrites: Sequence[RewriteRecord]
    """The newest first; empty: the journal has none, and old ids are computed for `fields`."""

    fields: Sequence[ReferenceField]
    journal: "MongoReferenceJournal"
    open_place: Callable[[str], Place]
    old_ids: OldIds | None
    """What knows the old bookings; None: it is not needed."""

    locks: LockStore
    holder: Holder
    listener: Listener
    regulator: Regulator


@dataclass(slots=True)
class UndoOfReferences:
    """The result of an undo."""

    records: list[RewriteRecord] = field(default_factory=list)
    counts: UndoCounts = field(default_factory=UndoCounts)
    kept: list[Kept] = field(default_factory=list)
    is_computed: bool = False
    """Whether old ids were computed, because the journal has no notes."""


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
        undoing = _Undoing(plan, lock)
        for record in plan.rewrites:
            undoing.undo(record)
        if not plan.rewrites:
            undoing.compute()
    except BaseException as error:
        lock.release_after(error)
        raise
    lock.release()
    return undoing.outcome


class _Undoing:
    """One undo, whose lock is held."""

    def __init__(self, plan: UndoPlan, lock: HeldLock) -> None:
        self._plan = plan
        self._lock = lock
        self._places: dict[str, Place] = {}
        self.outcome = UndoOfReferences()

    def _place(self, name: str) -> Place:
        if name not in self._places:
            self._places[name] = self._plan.open_place(name)
        return self._places[name]

    def undo(self, record: RewriteRecord) -> None:
        """Undo one rewrite, its newest note first."""
        plan, journal = self._plan, self._plan.journal
        record = journal.save(record.rewrite_id, state=RewriteState.UNDOING)
        counts = UndoCounts(**record.undo_counts)
        kept = [Kept(**each) for each in record.kept]
        plan.listener.notify(PhaseStarted("restoring references", record.documents or None, "document"))
        for note in ahead(journal.newest_first(record.rewrite_id)):
            if record.undone and note.name >= record.undone:
                # Its counts are saved; only the drop was lost.
                journal.drop(note.name)
                continue
            plan.regulator.wait()
            self._undo_note(note, counts, kept)
            plan.regulator.took(len(note.documents))
            saved = {
                "undone": note.name,
                "undo_counts": counts.saved(),
                "kept": [each._asdict() for each in kept],
            }
            record = journal.save(record.rewrite_id, **saved)
            journal.drop(note.name)
            plan.listener.notify(Advanced(len(note.documents)))
        self.outcome.records.append(journal.save(record.rewrite_id, state=RewriteState.UNDONE))
        for name, number in counts.saved().items():
            setattr(self.outcome.counts, name, getattr(self.outcome.counts, name) + number)
        self.outcome.kept += kept
        plan.listener.notify(PhaseEnded())

    def _undo_note(self, note: Note, counts: UndoCounts, kept: list[Kept]) -> None:
        """Restore the old ids of a note's documents, and read them again; counted is what the last look finds."""
        place = self._place(note.collection)
        left = note.written
        taken: set[bytes] = set()
        for number in range(_MOST_ROUNDS):
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
                    _count(note.collection, each, raw, counts, kept, stays=stays)
            if not pending:
                return
            taken |= self._write(place, pending, is_exact=number >= EXACT_FROM)
            left = [each for each, _raw, _changes in pending]
        raise ReferenceContended(note.collection, display_id(left[0].document_id))

    def _write(
        self,
        place: Place,
        pending: Sequence[tuple[DocumentChange, bytes, Sequence[FieldChange]]],
        *,
        is_exact: bool,
    ) -> frozenset[bytes]:
        """Write old ids where the documents still are what was read; the caller looks again.

        Returns:
            The identities of noted documents that keep their new `_id`, since another one has the old one now.
        """
        from booking_migrate.stores.mongo.referring_writes import Move, Update  # noqa: PLC0415

        updates, moves, moved = [], [], []
        for noted, raw, changes in pending:
            if any(each.is_document_id for each in changes):
                moves.append(Move(raw, rebuilt(raw, changes)))
                moved.append(noted.identity)
            else:
                updates.append(Update(identity_of(raw), changes, (), raw if is_exact else None))
        self._lock.confirm()
        if updates:
            place.writes.write(updates)
        if moves:
            return frozenset(moved[at] for at in place.writes.move(moves).taken)
        return frozenset()

    def compute(self) -> None:
        """Restore ids that follow from session ids, in the named fields: of ObjectIds, whose mapping is a bijection."""
        self.outcome.is_computed = True
        by_collection: dict[str, list[ReferenceField]] = {}
        for each in self._plan.fields:
            if each.to is NewId.SESSION:
                by_collection.setdefault(each.collection, []).append(each)
        for name, fields in by_collection.items():
            place = self._place(name)
            self._plan.listener.notify(
                PhaseStarted(f"restoring references of {name}", place.documents, "document")
            )
            paths = [each.field for each in fields]
            for batch in ahead(regrouped(place.reader.scan(None, paths), _BATCH)):
                self._plan.regulator.wait()
                self._compute(place, fields, batch)
                self._plan.listener.notify(Advanced(len(batch)))
            self._plan.listener.notify(PhaseEnded())

    def _compute(self, place: Place, fields: Sequence[ReferenceField], raws: Sequence[bytes]) -> None:
        """Restore the ids in some documents."""
        left = list(raws)
        done: dict[bytes, int] = {}
        for number in range(_MOST_ROUNDS):
            pending = [(raw, changes) for raw in left if (changes := self._computed(fields, raw))]
            if not pending:
                self.outcome.counts.documents += len(done)
                self.outcome.counts.values += sum(done.values())
                return
            known = self._known([each for _raw, changes in pending for each in changes])
            noted = [
                (DocumentChange(identity_of(raw), b"", ()), raw, good)
                for raw, changes in pending
                if (good := tuple(each.change for each in changes if each.is_known(known)))
            ]
            if not noted:
                self.outcome.counts.documents += len(done)
                self.outcome.counts.values += sum(done.values())
                return
            done.update({each.identity: len(changes) for each, _raw, changes in noted})
            self._write(place, noted, is_exact=number >= EXACT_FROM)
            ids = [each.document_id for each, _raw, _changes in noted]
            left = list(place.writes.find(ids).values())
        raise ReferenceContended(place.writes.name, display_id(value_in(left[0], b"_id")))

    def _computed(self, fields: Sequence[ReferenceField], raw: bytes) -> Sequence["_Computed"]:
        found = []
        for of, value in find(raw, fields).values:
            new = [each for each in value.old_ids if type(each) is ObjectId]
            olds = {sort_key(each): booking_of_session(each) for each in new}
            after = replaced(value.value, olds)
            path = "_id" if value.path == "_id" else value.path
            found.append(_Computed(FieldChange(of.field, path, value.value, after), new))
        # Few ids of bookings are those of their sessions, too: nothing changes there.
        return [each for each in found if each.new and each.change.after != each.change.before]

    def _known(self, found: Sequence["_Computed"]) -> frozenset[bytes]:
        """Return the sort keys of those session ids whose booking is known."""
        if self._plan.old_ids is None:
            return frozenset()
        asked = {sort_key(each): each for one in found for each in one.new}
        olds = {sort_key(old): key for key, each in asked.items() for old in [booking_of_session(each)]}
        states = self._plan.old_ids.resolve([booking_of_session(each) for each in asked.values()])
        return frozenset(olds[key] for key, state in states.items() if _is_of(state, olds[key]))


def _is_of(state: NewIds | BookingState, session: bytes) -> bool:
    """Return whether a booking that is, or that was, a session has this session id, by its sort key."""
    if isinstance(state, NewIds):
        return sort_key(state.session_id) == session
    # After a rollback of its run it is an old booking again.
    return state is not BookingState.UNKNOWN


class _Computed(NamedTuple):
    """A change that restores computed ids, and the session ids that it is made of."""

    change: FieldChange
    new: Sequence[ObjectId]

    def is_known(self, known: frozenset[bytes]) -> bool:
        """Return whether the bookings of all of them are known."""
        return all(sort_key(each) in known for each in self.new)


def _own_id(noted: DocumentChange) -> tuple[FieldChange, ...]:
    return tuple(each for each in noted.changes if each.is_document_id)


def _count(
    collection: str,
    noted: DocumentChange,
    raw: bytes,
    counts: UndoCounts,
    kept: list[Kept],
    *,
    stays: tuple[FieldChange, ...],
) -> None:
    """Count a document that others have changed, too, and that needs no further change; its `_id` may have to stay."""
    changed = (*reversal(raw, noted).kept, *stays)
    counts.kept += len(changed)
    counts.values += len(noted.changes) - len(changed)
    counts.documents += len(changed) < len(noted.changes)
    named = display_id(value_in(raw, b"_id"))
    kept += [
        Kept(collection, named, each.path, display_id(each.after))
        for each in changed[: max(_SAMPLES - len(kept), 0)]
    ]


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
