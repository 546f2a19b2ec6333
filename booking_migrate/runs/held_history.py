"""The provenance of documents for a process that holds the target's lock, and so makes all new notes itself.

A follower looks up the same documents again and again, and notes them each time: without this, each lookup would read all
notes since the beginning of following.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from threading import RLock

from typing_extensions import override

from booking_migrate.bson.document import identity_of
from booking_migrate.runs.provenance import Authorship, PointHistory, Trace, taken_over_in
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote, RunJournal

_AT_MOST = 200_000
"""How much is held in memory, as `weight_of` counts it."""

_IMAGE_BYTES = 250

_FEW = 2_000
"""This number of documents is read one by one, before all notes are read at once: most notes are in ranges with many others."""

_LATEST = 8
"""How many notes are held of a document that is written again and again, beside the first: older versions do not come back."""

_Notes = list[tuple[DocumentNote, ...]]
"""The notes of one document for each run of the history, in the order of noting: hundreds of thousands of these are held."""


class HeldHistory(PointHistory):
    """A `PointHistory` that looks up each document once, and is notified of what the process itself notes.

    That others wrote a document is never concluded from memory alone: if the lock was lost, another process may have noted it.
    """

    def __init__(self, journal: RunJournal, runs: Sequence[str], current: str | None = None) -> None:
        """Take what `JournalHistory` takes."""
        super().__init__(journal, runs, current)
        self._known: OrderedDict[bytes, _Notes] = OrderedDict()
        self._place = {run: number for number, run in enumerate(runs)}
        self.held = 0
        """How much is held, as `_AT_MOST` counts it."""

        self._is_whole: bool | None = None
        """Whether every document that was ever noted is known; None: too few were looked up for reading them all."""

        self._asked = 0
        """How many documents had to be read one by one."""

        self._lock = RLock()
        """Some clients are noted, on a thread, while others are looked up."""

    @override
    def note(self, noted: RangeNote) -> None:
        if noted.kind is not NoteKind.DOCUMENTS or self._current is None:
            return
        with self._lock:
            for note in noted.notes:
                known = self._known.get(note.identity)
                if known is None and self._is_whole:
                    known = self._known[note.identity] = self._nothing()
                if known is not None:
                    self._add(known, self._place[self._current], note)
            self._forget()

    @override
    def authorship(self, found: Mapping[bytes, bytes | None]) -> Mapping[bytes, Authorship]:
        authors = dict(super().authorship(found))
        doubtful = {key: found[key] for key, author in authors.items() if author is Authorship.OTHERS}
        if doubtful:
            self._drop(doubtful)
            authors.update(super().authorship(doubtful))
        return authors

    @override
    def trace(self, documents: Sequence[bytes]) -> Sequence[Trace]:
        traces = list(super().trace(documents))
        doubtful = [number for number, each in enumerate(traces) if each.is_changed]
        if doubtful:
            raws = [documents[number] for number in doubtful]
            self._drop({identity_of(raw) for raw in raws})
            for number, trace in zip(doubtful, super().trace(raws), strict=True):
                traces[number] = trace
        return traces

    @override
    def noted_of(self, wanted: set[bytes]) -> Mapping[str, Sequence[RangeNote]]:
        with self._lock:
            noted = self._held_notes(wanted)
        # The notes of several documents have no common order here.
        if any(identity != before for identity, before in taken_over_in(noted, wanted)):
            return super().noted_of(wanted)
        return noted

    def _held_notes(self, identities: set[bytes]) -> Mapping[str, Sequence[RangeNote]]:
        missing = set() if self._is_whole else identities - self._known.keys()
        if missing:
            self._asked += len(missing)
            if self._is_whole is None and self._asked > _FEW:
                self._is_whole = self._read_all()
            if not self._is_whole:
                self._read(missing - self._known.keys())
        noted: dict[str, list[DocumentNote]] = {run: [] for run in self.runs}
        for identity in identities & self._known.keys():
            self._known.move_to_end(identity)
            for run, notes in zip(self.runs, self._known[identity], strict=True):
                noted[run] += notes
        self._forget()
        return {run: [RangeNote(NoteKind.DOCUMENTS, b"", b"", notes)] for run, notes in noted.items()}

    def _read_all(self) -> bool:
        """Read all notes; return False if they are too many to be held."""
        self._drop(list(self._known))
        for place, run in enumerate(self.runs):
            for part in self._journal.ranges(run, NoteKind.DOCUMENTS):
                for note in part.notes:
                    known = self._known.get(note.identity)
                    if known is None:
                        known = self._known[note.identity] = self._nothing()
                    self._add(known, place, note)
                if self.held > _AT_MOST:
                    self._drop(list(self._known))
                    return False
        return True

    def _read(self, identities: set[bytes]) -> None:
        for identity in identities:
            self._known[identity] = self._nothing()
        for run, parts in self._from_journal(identities).items():
            for note in (note for part in parts for note in part.notes):
                if note.identity in identities:
                    self._add(self._known[note.identity], self._place[run], note)

    def _nothing(self) -> _Notes:
        return [()] * len(self.runs)

    def _add(self, known: _Notes, place: int, note: DocumentNote) -> None:
        notes = known[place]
        self.held -= weight_of(notes)
        notes = (*notes, shared_with(notes, note))
        if len(notes) > 1 + _LATEST and all(
            each.after is not None and each.before == note.before for each in notes
        ):
            notes = (notes[0], *notes[2:])
        self.held += weight_of(notes)
        known[place] = notes

    def _drop(self, identities: Iterable[bytes]) -> None:
        """Forget some documents, so that they are looked up in the journal."""
        with self._lock:
            self._is_whole = False
            for identity in identities:
                known = self._known.pop(identity, ())
                self.held -= sum(map(weight_of, known))

    def _forget(self) -> None:
        """Forget those that were not looked up for the longest time, beyond the limit."""
        if self.held > _AT_MOST:
            self._drop(list(islice(self._known, 1 + len(self._known) // 10)))


def shared_with(notes: Sequence[DocumentNote], note: DocumentNote) -> DocumentNote:
    """Return a further note of a document, which shares the bytes that are those of the first one."""
    if not notes:
        return note
    first = notes[0]
    return note._replace(
        identity=first.identity, before=first.before if note.before == first.before else note.before
    )


def weight_of(notes: Sequence[DocumentNote]) -> int:
    """Return how much memory the notes of a document take: one for each, and one for each `_IMAGE_BYTES` of an image that is not shared."""
    if not notes:
        return 0
    shared = notes[0].before
    images = len(shared) // _IMAGE_BYTES if shared is not None else 0
    others = (note.before for note in notes if note.before is not None and note.before is not shared)
    return len(notes) + images + sum(len(image) // _IMAGE_BYTES for image in others)
