"""A finished run whose target is written again, and the compaction of its notes.

The note of each write repeats what a rollback restores, so older ones may go once the write was carried out. They are written
once more in client order, under new names, and only then the old ones are dropped: a process that is killed before that leaves
some twice, which says the same.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from booking_migrate.runs.held_history import shared_with, weight_of
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.provenance import JournalHistory, runs_in_effect
from booking_migrate.runs.session import RunStores
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote, RunJournal, RunRecord

History = TypeVar("History", bound=JournalHistory)


class FinishedRun(Generic[History]):
    """A finished run whose target is written again; notes are made as in a `RunSession`, and nothing else is recorded."""

    def __init__(
        self,
        stores: RunStores,
        run: RunRecord,
        lock: HeldLock,
        history: type[History],
    ) -> None:
        """Take the run, whose target's lock is held; ``history`` is how its notes are looked up."""
        self._journal = stores.journal
        self._run_id = run.run_id
        self._lock = lock
        runs = [each.run_id for each in runs_in_effect(stores.journal, run.source, run.target)]
        self.history: History = history(stores.journal, runs, run.run_id)
        self._compaction = NoteCompaction(stores.journal, run.run_id)

    def lock(self) -> None:
        """Do nothing: the lock is held already."""

    def open(self) -> None:
        """Do nothing: the run is recorded already."""

    def note(self, noted: RangeNote) -> None:
        """Record durably what is about to be written."""
        names = self._journal.note(self._run_id, self._lock.token, noted)
        self.history.note(noted)
        self._compaction.add(names, noted)

    def confirm(self) -> None:
        """Check that this process still holds the lock.

        Raises:
            LeaseLost: another process has taken it over.
        """
        self._lock.confirm()

    def wrote_before(self) -> bool:
        """Return True: only a run that has written something can be cut over."""
        return True

    def checkpoint(self, _documents: int, _total: int | None) -> None:
        """Compact the notes, which were all carried out; the progress itself is not needed after a crash."""
        self._compaction.compact(self._lock.token, self.confirm)


_AT_LEAST = 20_000
"""With less noted than this, compaction does not pay; a note counts one, and more with an image (`weight_of`)."""

_AT_MOST = 200_000
"""How much is held in memory, where the notes of a document share their image; what was noted before that stays as it is."""

_LAST = 2
"""How many are kept of a document: if the last write is not carried out, the document is that of the one before."""

_TOGETHER = 250
"""How many documents a range has, so that it is narrow."""


class NoteCompaction:
    """The notes that this process has made of one run, and what of them is still needed."""

    def __init__(self, journal: RunJournal, run_id: str) -> None:
        self._journal = journal
        self._run_id = run_id
        self._names: list[str] = []
        self._notes: dict[bytes, list[DocumentNote]] = {}
        self._made = 0
        self._needed = 0
        self._held = 0

    def add(self, names: Sequence[str], noted: RangeNote) -> None:
        """Add a note, with the names of its parts in the journal."""
        if noted.kind is not NoteKind.DOCUMENTS:
            return
        self._names += names
        for note in noted.notes:
            notes = self._notes.setdefault(note.identity, [])
            self._held -= weight_of(notes)
            notes.append(shared_with(notes, note))
            self._made += weight_of([note])
            self._needed += weight_of([note])
            # If it was removed since, all of its notes are needed.
            if len(notes) > _LAST and all(
                each.after is not None and each.before == note.before for each in notes
            ):
                self._needed -= sum(weight_of([each]) for each in notes[:-_LAST])
                del notes[:-_LAST]
            self._held += weight_of(notes)
        if self._held > _AT_MOST:
            self._forget()

    def compact(self, token: int, confirm: Callable[[], None]) -> None:
        """Drop the notes that are not needed any more, if they are at least half. All that was noted has been carried out.

        Raises:
            LeaseLost: it is not; nothing was dropped.
        """
        if self._made < _AT_LEAST + 2 * self._needed:
            return
        old, kept = self._names, sorted(self._notes.values(), key=lambda notes: notes[-1].client)
        self._forget()
        for start in range(0, len(kept), _TOGETHER):
            some = kept[start : start + _TOGETHER]
            notes = [note for each in some for note in each]
            part = RangeNote(NoteKind.DOCUMENTS, some[0][-1].client, some[-1][-1].client, notes)
            confirm()
            self.add(self._journal.note(self._run_id, token, part), part)
        confirm()
        self._journal.drop(old)

    def _forget(self) -> None:
        self._names, self._notes, self._made, self._needed, self._held = [], {}, 0, 0, 0
