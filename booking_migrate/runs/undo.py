"""Removing what a run wrote to its target, and only that, before its cut-over.

Every step is idempotent, so a rollback that was interrupted anywhere is continued by running it again. A document belongs
to the run if its bytes are those that the run recorded before it wrote them; any other has been changed by others since,
and is kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from booking_migrate.bson.document import identity_of, read_fields
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.carried_changes import LISTED, ChangesSince
from booking_migrate.errors import NotRestored
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.provenance import predecessors
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.states import check_transition
from booking_migrate.stores.cutover import IndexNote
from booking_migrate.stores.journal import NoteKind, RangeNote, RunRecord, RunState
from booking_migrate.stores.ports import Replacement

_AT_ONCE = 500
"""How many documents one question to the target names."""

_FLUSH_BYTES = 8 * 1024 * 1024
"""How many bytes of documents are undone at a time."""


@dataclass(slots=True)
class UndoOutcome:
    """What a rollback did."""

    run: RunRecord
    unit: str = "client document"
    """What is counted: client documents of a collection, or files."""

    was_rolled_back: bool = False
    """Whether an earlier rollback had already undone the run."""

    removed: int = 0
    """Units that the run had created."""

    restored: int = 0
    """Units that are again what they were before the run."""

    kept: int = 0
    """Units that others have changed since, and that are kept."""

    kept_ids: list[str] = field(default_factory=list)
    """The first of them, as text."""

    index_removed: bool = False
    target_dropped: bool = False
    since: ChangesSince | None = None
    """What the application had changed in a result that was live; None if it never was live."""

    earlier: Sequence["UndoOutcome"] = ()
    """The outcomes of the earlier runs into the same target that were undone after it, the newest first."""

    remaining: Sequence[str] = ()
    """The ids of the earlier runs into the same target that are not undone."""

    is_discarded: bool = False
    """Whether that was dropped, instead of kept and carried."""

    refused_seconds: float = 0.0
    """For how long writes were refused, as far as this process knows."""

    indexes: Sequence[IndexNote] = ()
    """What was done with the indexes of a collection that was put back."""

    followed: Any = None
    """What a rollback out of a reverse window did beside the application (`cutover.fencing.LiveReport`); None: any other."""

    def keep(self, document_id: str) -> None:
        """Count a unit that stays as others have made it."""
        self.kept += 1
        if len(self.kept_ids) < LISTED:
            self.kept_ids.append(document_id)


def undo(
    run: RunRecord, stores: RunStores, lock: HeldLock, listener: Listener, signal_guard: SignalGuard
) -> UndoOutcome:
    """Undo a run whose target's lock is held: documents, index, rejected records, and the target if it is left empty.

    Raises:
        LeaseLost: another run has taken the lock over.
        NotRestored: the target is not in its former state, because another process writes to it.
    """
    check_transition(run, RunState.ROLLING_BACK)
    lock.confirm()
    run = stores.journal.save(run.run_id, state=RunState.ROLLING_BACK.value, problem=None)
    undoing = _Undo(run, stores, lock, listener, signal_guard)
    undoing.documents()
    undo_rejects(run, stores, lock, signal_guard)
    undoing.target()
    undoing.prove()
    lock.confirm()
    run = stores.journal.save(run.run_id, state=RunState.ROLLED_BACK.value, kept=undoing.outcome.kept)
    # The kept documents belong to others now, and the rest is undone: the notes are not needed any more.
    stores.journal.forget(run.run_id)
    undoing.outcome.run = run
    return undoing.outcome


def undo_rejects(run: RunRecord, stores: RunStores, lock: HeldLock, signal_guard: SignalGuard) -> None:
    """Restore the rejected records that existed before a run. May be repeated.

    Raises:
        LeaseLost: another run has taken the lock over.
    """
    journal, target = stores.journal, stores.target
    before = {
        sha256(note.before).digest()
        for noted in journal.ranges(run.run_id, NoteKind.REJECTS)
        for note in noted.notes
        if note.before is not None
    }
    with signal_guard.critical_section():
        lock.confirm()
        target.remove_rejects(before)
        for noted in journal.ranges(run.run_id, NoteKind.REJECTS):
            target.insert_rejects([note.before for note in noted.notes if note.before is not None])
        target.drop_rejects_if_empty()


class _Undo:
    """One rollback in progress."""

    def __init__(
        self, run: RunRecord, stores: RunStores, lock: HeldLock, listener: Listener, signal_guard: SignalGuard
    ) -> None:
        self._run = run
        self._journal = stores.journal
        self._target = stores.target
        self._lock = lock
        self._listener = listener
        self._shield = signal_guard
        self.outcome = UndoOutcome(run)

    def documents(self) -> None:
        """Undo the documents, then the joins that came before them; the index goes first, since it forbids the latter."""
        if not self._run.index_existed and self._target.has_client_index():
            self._lock.confirm()
            self._target.drop_client_index()
            self.outcome.index_removed = True
        self._target.drop_followed_index()
        clients = self._run.counts.get("clients")
        self._listener.notify(PhaseStarted(f"rolling back {self._run.target}", clients))
        for noted in self._journal.ranges(self._run.run_id, NoteKind.DOCUMENTS):
            with self._shield.critical_section():
                self._undo_range(_histories(self._related(noted), noted))
            self._listener.notify(Advanced(len(noted.notes)))
        for noted in reversed(list(self._journal.ranges(self._run.run_id, NoteKind.JOIN))):
            with self._shield.critical_section():
                self._undo_range(_histories([noted], noted))
        self._listener.notify(PhaseEnded())

    def _related(self, noted: RangeNote) -> Sequence[RangeNote]:
        """Return all that was noted about these clients: a run that was continued may have noted some of them twice."""
        return self._journal.between(self._run.run_id, noted.first, noted.last)

    def _undo_range(self, histories: "Mapping[bytes, _History]") -> None:
        removed: list[bytes] = []
        restored: list[Replacement] = []
        inserted: list[bytes] = []
        size = 0
        for finding in _findings(self._target.find, histories):
            match finding:
                case _Finding(history=history, present=bytes() as present, is_ours=True):
                    before = history.versions[sha256(present).digest()]
                    if before is None:
                        removed.append(present)
                    else:
                        restored.append(Replacement(present, before))
                    size += len(present)
                case _Finding(history=_History(before=bytes() as before), present=None, is_ours=True):
                    inserted.append(before)
                    size += len(before)
            if size > _FLUSH_BYTES:
                self._apply(removed, restored, inserted)
                removed, restored, inserted, size = [], [], [], 0
        self._apply(removed, restored, inserted)

    def _apply(
        self, removed: Sequence[bytes], restored: Sequence[Replacement], inserted: Sequence[bytes]
    ) -> None:
        if removed or restored or inserted:
            self._lock.confirm()
            self._target.remove(removed)
            self._target.restore(restored)
            self._target.insert(inserted)
            self.outcome.removed += len(removed)
            self.outcome.restored += len(restored) + len(inserted)

    def target(self) -> None:
        """Drop the target if the run created it and nothing is left in it."""
        if not self._run.target_existed:
            self._lock.confirm()
            self.outcome.target_dropped = self._target.drop_if_empty()

    def prove(self) -> None:
        """Read again everything that the run touched.

        Raises:
            NotRestored: something of the run is still there, or something of before is not.
        """
        self.outcome.kept, self.outcome.kept_ids = 0, []
        joins = {
            note.key
            for noted in self._journal.ranges(self._run.run_id, NoteKind.JOIN)
            for note in noted.notes
        }
        seen: set[bytes] = set()
        for noted in self._journal.ranges(self._run.run_id, NoteKind.DOCUMENTS, NoteKind.JOIN):
            related = self._related(noted) if noted.kind is NoteKind.DOCUMENTS else [noted]
            histories = _histories(related, noted)
            if noted.kind is NoteKind.DOCUMENTS:
                # What was joined first is again what it was before that, not what it was before the batch.
                histories = {key: history for key, history in histories.items() if key not in joins}
            else:
                histories = {key: history for key, history in histories.items() if key not in seen}
                seen |= histories.keys()
            self._prove(histories)

    def _prove(self, histories: "Mapping[bytes, _History]") -> None:
        for finding in _findings(self._target.find, histories):
            if finding.is_ours:
                raise NotRestored(self._target.name, 1, display_id(finding.history.document_id))
            if not finding.is_restored:
                self.outcome.keep(display_id(finding.history.document_id))


@dataclass(slots=True)
class _History:
    """What the run noted about one document."""

    document_id: Any
    """Its `_id` as the run wrote it."""

    before: bytes | None
    """What it was before the run first touched it; None if it was not there."""

    versions: dict[bytes, bytes | None]
    """What the run may have made of it, as digests, and what to put back in the place of each.

    That is not always `before`: others may have changed the document between two writes of an interrupted run.
    """

    is_removed: bool = False
    """Whether the run may have removed it."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """How one of the run's documents stands now."""

    history: _History
    present: bytes | None
    is_ours: bool
    """Whether it is what the run made of it, and has to be undone."""

    is_restored: bool
    """Whether it is what it was before the run. If neither, others have changed it."""


def _histories(related: Sequence[RangeNote], noted: RangeNote) -> dict[bytes, _History]:
    """Return the histories of a range's documents, by the sort key of `_id`, out of everything related to it."""
    wanted = {note.key for note in noted.notes}
    histories: dict[bytes, _History] = {}
    versions = predecessors(related)
    for note in (note for each in related for note in each.notes):
        key = note.key
        if key in wanted:
            known = histories.setdefault(key, _History(note.document_id, note.before, {}))
            if note.after is None:
                known.is_removed = True
            else:
                known.versions[note.after] = versions[note.after]
    return histories


def _findings(find: Any, histories: Mapping[bytes, _History]) -> Iterator[_Finding]:
    """Yield how these documents stand now, each once."""
    keys = list(histories)
    for start in range(0, len(keys), _AT_ONCE):
        some = {key: histories[key] for key in keys[start : start + _AT_ONCE]}
        there: set[bytes] = set()
        for raw in find([history.document_id for history in some.values()]):
            key = sort_key(_id(raw))
            there.add(key)
            yield _judged(some[key], raw)
        absent = [history for key, history in some.items() if key not in there]
        yield from _absent(find, absent)


def _judged(history: _History, present: bytes) -> _Finding:
    is_restored = present == history.before
    is_ours = not is_restored and sha256(present).digest() in history.versions
    return _Finding(history, present, is_ours, is_restored)


def _absent(find: Any, histories: Sequence[_History]) -> Iterator[_Finding]:
    """Yield documents that are not there under the `_id` that the run gave them."""
    moved = {}
    for history in histories:
        if history.before is None:
            yield _Finding(history, None, is_ours=False, is_restored=True)
        elif sort_key(_id(history.before)) == sort_key(history.document_id):
            yield _Finding(history, None, is_ours=history.is_removed, is_restored=False)
        else:
            moved[sort_key(_id(history.before))] = history
    found = {sort_key(_id(raw)): raw for raw in find([_id(each.before or b"") for each in moved.values()])}
    for key, history in moved.items():
        yield _Finding(history, None, is_ours=False, is_restored=found.get(key) == history.before)


def _id(raw: bytes) -> Any:
    return read_fields(identity_of(raw))["_id"]
