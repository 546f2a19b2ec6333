"""The provenance of documents for a process that reads the clients of a target in their order, while it holds the target's lock.

Nothing is noted any more of the runs before its own, so the spans of their ranges are read once. A run that was followed for
long has many ranges, and each of them may reach over all clients: then the notes of a batch's documents are looked up one by one.
"""

from collections.abc import Mapping, Sequence

from typing_extensions import override

from booking_migrate.bson.document import identity_of
from booking_migrate.runs.noted_ranges import NotedRanges
from booking_migrate.runs.provenance import JournalHistory, PointHistory, client_key_of
from booking_migrate.stores.journal import NoteKind, RangeNote, RunJournal

_MANY = 40
"""So many ranges that overlap a batch are those of following, whose notes have an index; a run itself makes a few there."""


class SettledHistory(JournalHistory):
    """A `JournalHistory` for which only the current run is noted in."""

    def __init__(self, journal: RunJournal, runs: Sequence[str], current: str | None = None) -> None:
        """Take what `JournalHistory` takes."""
        super().__init__(journal, runs, current)
        self._ranges: dict[str, NotedRanges] | None = None
        self._points = PointHistory(journal, runs, current)

    @override
    def _noted(self, documents: Sequence[bytes]) -> Mapping[str, Sequence[RangeNote]]:
        keys = [client_key_of(raw) for raw in documents]
        first, last = min(keys), max(keys)
        names = {run: ranges.names(first, last) for run, ranges in self._known().items()}
        if max(map(len, names.values()), default=0) > _MANY:
            return self._points.noted_of({identity_of(raw) for raw in documents})
        noted = {run: self._known()[run].read(some) for run, some in names.items()}
        if self._current is not None:
            noted[self._current] = self._journal.between(self._current, first, last)
        return noted

    def _known(self) -> Mapping[str, NotedRanges]:
        """Return the ranges of each run but the current one."""
        if self._ranges is None:
            settled = [run for run in self._runs if run != self._current]
            self._ranges = {run: NotedRanges(self._journal, [run], NoteKind.DOCUMENTS) for run in settled}
        return self._ranges
