"""Removing what a run wrote to its target, and only that, before its cut-over.

Every step is idempotent, so a rollback that was interrupted anywhere is continued by running it again. A document belongs
to the run if its bytes are those that the run recorded before it wrote them; any other has been changed by others since,
and is kept.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import id_key
from booking_migrate.domain.carried_changes import LISTED, ChangesSince
from booking_migrate.errors import NotRestored
from booking_migrate.events import Advanced, Listener, PhaseEnded, PhaseStarted
from booking_migrate.runs.background import overlapped
from booking_migrate.runs.histories import Finding, History, findings_of, histories_of
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.noted_ranges import NotedRanges
from booking_migrate.runs.regulator import Regulator, Unregulated
from booking_migrate.runs.session import RunStores
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.runs.states import check_transition
from booking_migrate.stores.cutover import IndexNote
from booking_migrate.stores.journal import NoteKind, RangeNote, RunRecord, RunState
from booking_migrate.stores.ports import Replacement

_AT_ONCE = 500
"""How many documents one question to the target names."""

_SLOTS = 3
"""How many ranges are undone at a time if they are many."""

_MANY_RANGES = 20

_UNREGULATED = Unregulated()

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
    """Units that were restored to their state before the run."""

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
    """What was done with the indexes of a restored collection."""

    followed: Any = None
    """What a rollback out of a reverse window did beside the application (`cutover.fencing.LiveReport`); None: any other."""

    def keep(self, document_id: str) -> None:
        """Count a unit that stays as others have made it."""
        self.kept += 1
        if len(self.kept_ids) < LISTED:
            self.kept_ids.append(document_id)


def undo(
    run: RunRecord,
    stores: RunStores,
    lock: HeldLock,
    listener: Listener,
    signal_guard: SignalGuard,
    *,
    regulator: Regulator | Unregulated = _UNREGULATED,
) -> UndoOutcome:
    """Undo a run whose target's lock is held: documents, index, rejected records, and the target if it is left empty.

    Raises:
        LeaseLost: another run has taken the lock over.
        NotRestored: the target is not in its former state, because another process writes to it.
    """
    check_transition(run, RunState.ROLLING_BACK)
    lock.confirm()
    if run.server_session is not None:
        stores.target.end_sessions(run.server_session)
    run = stores.journal.save(
        run.run_id,
        state=RunState.ROLLING_BACK.value,
        problem=None,
        server_session=stores.target.server_sessions(_SLOTS),
    )
    undoing = _Undo(run, stores, lock, listener, signal_guard, regulator=regulator)
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


class _Undone(NamedTuple):
    """How many documents were undone."""

    removed: int = 0
    restored: int = 0

    def plus(self, other: "_Undone") -> "_Undone":
        """Return how many both are."""
        return _Undone(self.removed + other.removed, self.restored + other.restored)


class _Undo:
    """One rollback in progress."""

    def __init__(
        self,
        run: RunRecord,
        stores: RunStores,
        lock: HeldLock,
        listener: Listener,
        signal_guard: SignalGuard,
        *,
        regulator: Regulator | Unregulated,
    ) -> None:
        self._run = run
        self._regulator = regulator
        self._journal = stores.journal
        self._target = stores.target
        self._lock = lock
        self._listener = listener
        self._shield = signal_guard
        self.outcome = UndoOutcome(run)
        self._is_plain = True
        """Whether all documents that the run noted were created by it."""

    def documents(self) -> None:
        """Undo the documents, then the joins that came before them; the index goes first, since it forbids the latter."""
        if not self._run.index_existed and self._target.has_client_index():
            self._lock.confirm()
            self._target.drop_client_index()
            self.outcome.index_removed = True
        self._target.drop_followed_index()
        # What is counted are notes. Following writes one each time that it derives a client again.
        total, unit = self._run.counts.get("clients"), "client document"
        if self._run.follow:
            total, unit = None, "change"
        self._listener.notify(PhaseStarted(f"rolling back {self._run.target}", total, unit))
        for documents, undone in self._undo_ranges():
            self._count(undone)
            self._listener.notify(Advanced(documents))
        for noted in reversed(list(self._journal.ranges(self._run.run_id, NoteKind.JOIN))):
            with self._shield.critical_section():
                self._count(self._undo_range(histories_of([noted])))
        self._listener.notify(PhaseEnded())

    def _undo_ranges(self) -> Iterator[tuple[int, _Undone]]:
        """Undo range after range, several at a time if they are many; yield how many notes each has, and what was done."""
        notes = NotedRanges(self._journal, [self._run.run_id], NoteKind.DOCUMENTS)
        ranges = self._regulated(self._journal.ranges(self._run.run_id, NoteKind.DOCUMENTS))
        parts = self._parts(notes, ranges)
        if len(notes) < _MANY_RANGES:
            for documents, histories in parts:
                with self._shield.critical_section():
                    undone = self._undo_range(histories)
                yield documents, undone
            return
        # Each document is in one part, so that two of them do not meet.
        working = overlapped(
            parts,
            range(_SLOTS),
            lambda _slot, part: self._undo_range(part[1]),
            on_wait=self._shield.announce_wait,
        )
        with closing(working):
            for (documents, _histories), undoing in working:
                with self._shield.critical_section():
                    undone = undoing.result()
                yield documents, undone

    def _regulated(self, ranges: Iterable[RangeNote]) -> Iterator[RangeNote]:
        for each in ranges:
            self._regulator.wait()
            yield each

    @staticmethod
    def _parts(
        notes: NotedRanges, ranges: Iterable[RangeNote]
    ) -> Iterator[tuple[int, Mapping[bytes, History]]]:
        """Yield for ranges how many notes each has, and the histories of the documents that were noted there first."""
        known: Sequence[str] = ()
        related: dict[bytes, History] = {}
        for noted in ranges:
            # A run that was continued may have noted some of these clients twice.
            names = notes.names(noted.first, noted.last)
            if names != known:
                known, related = names, histories_of(notes.read(names))
            keys = (note.key for note in noted.notes)
            yield (
                len(noted.notes),
                {key: related[key] for key in keys if related[key].noted_in == noted.name},
            )

    def _count(self, undone: _Undone) -> None:
        self.outcome.removed += undone.removed
        self.outcome.restored += undone.restored

    def _undo_range(self, histories: Mapping[bytes, History]) -> _Undone:
        plain = {key: history for key, history in histories.items() if history.is_plain}
        if len(plain) == len(histories):
            return _Undone(self._remove(plain), 0)
        self._is_plain = False
        others = self._undo_others({key: histories[key] for key in histories.keys() - plain.keys()})
        return _Undone(self._remove(plain) + others.removed, others.restored)

    def _remove(self, plain: Mapping[bytes, History]) -> int:
        """Delete documents that the run created, unless others have changed them."""

        def is_own(raw: bytes) -> bool:
            return sha256(raw).digest() in plain[id_key(raw)].versions

        ids = [history.document_id for history in plain.values()]
        parts = [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]
        return sum(self._target.remove_own(part, is_own, self._lock.confirm) for part in parts)

    def _undo_others(self, histories: Mapping[bytes, History]) -> _Undone:
        undone = _Undone()
        removed: list[bytes] = []
        restored: list[Replacement] = []
        inserted: list[bytes] = []
        size = 0
        for finding in findings_of(self._target.find, histories):
            match finding:
                case Finding(history=history, present=bytes() as present, is_ours=True):
                    before = history.versions[sha256(present).digest()]
                    if before is None:
                        removed.append(present)
                    else:
                        restored.append(Replacement(present, before))
                    size += len(present)
                case Finding(history=History(before=bytes() as before), present=None, is_ours=True):
                    inserted.append(before)
                    size += len(before)
                case _:
                    pass
            if size > _FLUSH_BYTES:
                undone = undone.plus(self._apply(removed, restored, inserted))
                removed, restored, inserted, size = [], [], [], 0
        return undone.plus(self._apply(removed, restored, inserted))

    def _apply(
        self, removed: Sequence[bytes], restored: Sequence[Replacement], inserted: Sequence[bytes]
    ) -> _Undone:
        if removed or restored or inserted:
            self._lock.confirm()
            self._target.remove(removed)
            self._target.restore(restored)
            self._target.insert(inserted)
        return _Undone(len(removed), len(restored) + len(inserted))

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
        if self._is_plain and not joins and self._target.holds_nothing():
            # All that it had noted is documents of its own.
            return
        is_gone = not self._target.exists()
        notes = NotedRanges(self._journal, [self._run.run_id], NoteKind.DOCUMENTS)
        for _documents, histories in self._parts(notes, self._of_kind(NoteKind.DOCUMENTS)):
            # A document that was joined before the run is restored to its state before that, not before the batch.
            self._prove(
                {key: history for key, history in histories.items() if key not in joins}, is_gone=is_gone
            )
        seen: set[bytes] = set()
        for noted in self._of_kind(NoteKind.JOIN):
            histories = histories_of([noted])
            self._prove(
                {key: history for key, history in histories.items() if key not in seen}, is_gone=is_gone
            )
            seen |= histories.keys()

    def _of_kind(self, kind: NoteKind) -> Iterator[RangeNote]:
        ranges = self._journal.ranges(self._run.run_id, NoteKind.DOCUMENTS, NoteKind.JOIN)
        return (noted for noted in ranges if noted.kind is kind)

    def _prove(self, histories: Mapping[bytes, History], *, is_gone: bool) -> None:
        for finding in findings_of(self._target.find, histories):
            if finding.is_ours:
                raise NotRestored(self._target.name, 1, display_id(finding.history.document_id))
            # What went with the whole target, as after the rollback of a later run's cut-over, others have not changed.
            if not finding.is_restored and not is_gone:
                self.outcome.keep(display_id(finding.history.document_id))
