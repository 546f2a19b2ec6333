"""The ranges of notes of a run by the clients that they are about, once noting has ended.

The journal finds ranges that overlap some clients by looking at all that end behind them; for a rollback, which asks for every
range, that would be quadratic. Here the spans of all ranges are held, which is one of some hundred documents, and read notes
for a short while. A process that reads the clients of a target in their order, while it holds the target's lock, knows the provenance
of documents in this way (`SettledHistory`).
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import accumulate

from typing_extensions import override

from booking_migrate.bson.document import identity_of
from booking_migrate.runs.provenance import JournalHistory, PointHistory, client_key_of
from booking_migrate.stores.journal import NoteKind, RangeNote, RunJournal

_HELD = 16
"""How many ranges are kept as they were read: those of one batch are asked for one after the other."""


class NotedRanges:
    """The ranges of one kind that some runs have noted, the oldest run first."""

    def __init__(self, journal: RunJournal, run_ids: Sequence[str], kind: NoteKind) -> None:
        """Read which ranges there are."""
        self._journal = journal
        spans = [
            (span.first, span.last, (place, span.name))
            for place, run_id in enumerate(run_ids)
            for span in journal.spans(run_id, kind)
        ]
        spans.sort()
        self._firsts = [first for first, _last, _name in spans]
        self._lasts = [last for _first, last, _name in spans]
        self._names = [name for _first, _last, name in spans]
        # Of this range and all before it: where it begins to be too small, nothing ahead of it overlaps.
        self._reach = list(accumulate(self._lasts, max))
        self._places = {name: at for at, (_run, name) in enumerate(sorted(each for *_span, each in spans))}
        self._held: OrderedDict[str, RangeNote] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def place(self, name: str) -> int:
        """Return how many ranges were noted before the one of this name."""
        return self._places[name]

    def names(self, first: bytes, last: bytes) -> Sequence[str]:
        """Return the names of the ranges that overlap these sort keys, in the order of noting; some just outside may come too."""
        begin, end = bisect_left(self._reach, _cut(first)), bisect_right(self._firsts, last)
        found = [self._names[at] for at in range(begin, end) if self._lasts[at] >= _cut(first)]
        return [name for _run, name in sorted(found)]

    def read(self, names: Sequence[str]) -> Sequence[RangeNote]:
        """Return the ranges of these names, in this order."""
        lacking = [name for name in names if name not in self._held]
        if lacking:
            self._held.update((noted.name, noted) for noted in self._journal.named(lacking))
        found = [self._held[name] for name in names]
        for name in names:
            self._held.move_to_end(name)
        while len(self._held) > _HELD:
            self._held.popitem(last=False)
        return found

    def hold(self, noted: RangeNote) -> None:
        """Keep a range that was read by other means."""
        self._held[noted.name] = noted

    def between(self, first: bytes, last: bytes) -> Sequence[RangeNote]:
        """Return the ranges that overlap these sort keys, in the order of noting."""
        return self.read(self.names(first, last))


_KEY = 256
"""No journal keeps fewer bytes of a key."""


def _cut(key: bytes) -> bytes:
    return key[:_KEY]


_MANY = 40
"""This many ranges that overlap a batch are those of following, whose notes have an index; a run itself makes a few there."""


class SettledHistory(JournalHistory):
    """A `JournalHistory` for which only the current run is noted in.

    The spans of the earlier runs' ranges are read once. A run that was followed for long has many ranges, and each of them may reach over
    all clients: then the notes of a batch's documents are looked up one by one.
    """

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
            settled = [run for run in self.runs if run != self._current]
            self._ranges = {run: NotedRanges(self._journal, [run], NoteKind.DOCUMENTS) for run in settled}
        return self._ranges
