"""The provenance of the client documents of a target: what the runs of this tool wrote, and the earlier versions.

A document that a run wrote and that others have not changed since is derived again from the current bookings, so the
engine needs to know what the client had before any run. The journal has the digest of every document that a run
wrote and the document that it replaced, so the chain can be followed back, through several runs, to the first document
that the tool did not write: the baseline.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from hashlib import sha256
from typing import NamedTuple, Protocol

from typing_extensions import override

from booking_migrate.bson.document import elements, identity_of, read_value
from booking_migrate.bson.order import OBJECT_ID_KEY, sort_key
from booking_migrate.runs.states import IN_EFFECT, NOT_ENDED, UNDOABLE
from booking_migrate.stores.journal import RangeNote, RunJournal, RunRecord, RunState
from booking_migrate.stores.ports import Baseline

_WRITTEN = UNDOABLE | {RunState.CUTTING_OVER}
"""The states of a run whose documents are in its target."""


class Trace(NamedTuple):
    """The provenance of one client document of the target."""

    found: bytes | None
    """The document before the current run; None if it did not exist."""

    baseline: bytes | None
    """The document before any run of this tool wrote it; None if it did not exist.

    The document itself if others wrote it, or changed it since.
    """

    is_created: bool = False
    """Whether a run of this tool created the document; if others emptied it since, it may be removed."""

    is_changed: bool = False
    """Whether others changed the document after a run of this tool had written it."""


class TargetHistory(Protocol):
    """The history of the documents that a target already holds."""

    @property
    def has_runs(self) -> bool:
        """Return whether runs of this tool wrote documents here, so that clients may have lost all their bookings since."""

    def trace(self, documents: Sequence[bytes]) -> Sequence[Trace]:
        """Return the provenance of each of these documents, as read from the target; in their order."""

    def found(self, documents: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return only `Trace.found` of each of these documents, for which the notes of earlier runs are not needed."""


class NoHistory:
    """The history of a target without a journal: all its documents were written by others."""

    has_runs = False

    def trace(self, documents: Sequence[bytes]) -> Sequence[Trace]:
        """Return each document as its own baseline."""
        return [Trace(raw, raw) for raw in documents]

    def found(self, documents: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the documents themselves."""
        return documents


class SampledHistory(TargetHistory):
    """A history for a source that is only sampled: clients that are not in the sample have not lost their bookings."""

    has_runs = False

    def __init__(self, whole: TargetHistory) -> None:
        """Take the history for the whole source."""
        self._whole = whole

    @override
    def trace(self, documents: Sequence[bytes]) -> Sequence[Trace]:
        return self._whole.trace(documents)

    @override
    def found(self, documents: Sequence[bytes]) -> Sequence[bytes | None]:
        return self._whole.found(documents)


class JournalHistory(TargetHistory):
    """The history according to the notes in the journal."""

    def __init__(self, journal: RunJournal, runs: Sequence[str], current: str | None = None) -> None:
        """Take the parts.

        Args:
            journal: the journal.
            runs: the ids of the runs whose documents are in the target, the oldest first.
            current: the one of them that is being continued; None for a new run.
        """
        self._journal = journal
        self.runs = runs
        self._current = current

    @property
    @override
    def has_runs(self) -> bool:
        return bool(self.runs)

    @override
    def trace(self, documents: Sequence[bytes]) -> Sequence[Trace]:
        if not self.runs or not documents:
            return NoHistory().trace(documents)
        noted = self._noted(documents)
        baselines = predecessors(part for run in self.runs for part in noted[run])
        founds = predecessors(noted[self._current]) if self._current is not None else {}
        oldest = _oldest(part for run in self.runs for part in noted[run])
        # The version that is still there if the noted write was not carried out.
        images = (
            note.before for run in self.runs for part in noted[run] for note in part.notes if note.before
        )
        replaced = {sha256(image).digest() for image in images}
        traces = []
        for raw in documents:
            digest, identity = sha256(raw).digest(), identity_of(raw)
            is_created = oldest.get(identity, raw) is None
            is_changed = identity in oldest and digest not in baselines and digest not in replaced
            traces.append(Trace(founds.get(digest, raw), baselines.get(digest, raw), is_created, is_changed))
        return traces

    @override
    def found(self, documents: Sequence[bytes]) -> Sequence[bytes | None]:
        if self._current is None or not documents:
            return documents
        founds = predecessors(self._noted_now(documents, self._current))
        return [founds.get(sha256(raw).digest(), raw) for raw in documents] if founds else documents

    def note(self, noted: RangeNote) -> None:
        """Take what the current run has just noted. This does nothing: the journal is read each time."""

    def _noted(self, documents: Sequence[bytes]) -> Mapping[str, Sequence[RangeNote]]:
        """Return the notes of these documents, and perhaps of others, by run, in the order of noting."""
        keys = [client_key_of(raw) for raw in documents]
        return {run: self._journal.between(run, min(keys), max(keys)) for run in self.runs}

    def _noted_now(self, documents: Sequence[bytes], current: str) -> Sequence[RangeNote]:
        """Return the same notes, but of the current run only."""
        keys = [client_key_of(raw) for raw in documents]
        return self._journal.between(current, min(keys), max(keys))

    def baselines(self, documents: Sequence[bytes]) -> Mapping[bytes, Baseline]:
        """Return what the target had in place of documents before the runs, by the BSON of ``{_id}`` of each document.

        Unlike `trace` this does not check whether others have changed a document since a run wrote it: the caller derives
        what the document should be. Documents that no run wrote, or that did not exist before, are left out.
        """
        if not self.runs or not documents:
            return {}
        noted = [part for parts in self._noted(documents).values() for part in parts]
        known, latest, oldest = predecessors(noted), _latest(noted), _oldest(noted)
        before = {identity: known.get(latest.get(identity, b"")) for identity in map(identity_of, documents)}
        return {
            identity: Baseline(raw, oldest.get(identity))
            for identity, raw in before.items()
            if raw is not None
        }


class Authorship(Enum):
    """Who wrote a document of the target last."""

    LATEST = auto()
    """Runs of this tool: it is the version of their last note, or was removed as noted."""

    EARLIER = auto()
    """It is the version of an earlier note: the last note was not carried out, or was undone."""

    OTHERS = auto()
    """No note has its version."""


class PointHistory(JournalHistory):
    """The same for a few documents from anywhere, which are looked up one by one instead of by their range."""

    def authorship(self, found: Mapping[bytes, bytes | None]) -> Mapping[bytes, Authorship]:
        """Return who wrote documents last.

        Args:
            found: the documents as they are now, None if one is gone, by the BSON of ``{_id}``.
        """
        parts = (part for noted in self.noted_of(set(found)).values() for part in noted)
        written: dict[bytes, list[bytes | None]] = {}
        for note in (note for part in parts for note in part.notes if note.identity in found):
            written.setdefault(note.identity, []).append(note.after)
        return {identity: _authorship(raw, written.get(identity, [])) for identity, raw in found.items()}

    def has_noted(self, identity: bytes) -> bool:
        """Return whether a run noted a document of this ``{_id}``."""
        parts = (part for noted in self.noted_of({identity}).values() for part in noted)
        return any(note.identity == identity for part in parts for note in part.notes)

    @override
    def _noted(self, documents: Sequence[bytes]) -> Mapping[str, Sequence[RangeNote]]:
        return self.noted_of({identity_of(raw) for raw in documents})

    @override
    def _noted_now(self, documents: Sequence[bytes], current: str) -> Sequence[RangeNote]:
        return self._noted(documents)[current]

    def noted_of(self, wanted: set[bytes]) -> Mapping[str, Sequence[RangeNote]]:
        """Return the notes of documents by the BSON of ``{_id}``, and perhaps of others, by run, in the order of noting."""
        known = set(wanted)
        noted = self._from_journal(known)
        # A document that was replaced under another `_id` has notes of its own, which come before.
        while taken_over := {before for _, before in taken_over_in(noted, known)} - known:
            known |= taken_over
            noted = self._from_journal(known)
        return noted

    def _from_journal(self, identities: set[bytes]) -> Mapping[str, Sequence[RangeNote]]:
        """Return the notes of documents, and perhaps of others, by run, in the order of noting."""
        return {run: self._journal.of_documents([run], [*identities]) for run in self.runs}


class InPlaceHistory(JournalHistory):
    """What a collection held before it was migrated in place, while the application continues to change documents."""

    @override
    def baselines(self, documents: Sequence[bytes]) -> Mapping[bytes, Baseline]:
        # What the oldest note of each document says, even if it was changed since.
        if not self.runs or not documents:
            return {}
        oldest = _oldest(part for parts in self._noted(documents).values() for part in parts)
        wanted = ((identity, oldest.get(identity)) for identity in map(identity_of, documents))
        return {identity: Baseline(raw, raw) for identity, raw in wanted if raw is not None}


def verified_history(journal: RunJournal, *, source: str, target: str) -> JournalHistory:
    """Return the history of a target that is verified; source and target are the same place after a migration in place.

    Raises:
        JournalTooNew, ConnectionProblem, NotPermitted: the journal cannot be read.
    """
    if source != target:
        return history_of(journal, source=source, target=target)
    runs = [run for run in reversed(journal.runs(target)) if run.state in IN_EFFECT and run.source == source]
    return InPlaceHistory(journal, [run.run_id for run in runs])


def live_history(journal: RunJournal, run: RunRecord) -> InPlaceHistory:
    """Return the history of the collection that a run's cut-over made live, with that of later runs in place in it.

    Raises:
        JournalTooNew, ConnectionProblem, NotPermitted: the journal cannot be read.
    """
    return InPlaceHistory(journal, [each.run_id for each in reversed(runs_of_live(journal, run))])


def runs_of_live(journal: RunJournal, run: RunRecord) -> Sequence[RunRecord]:
    """Return the runs whose results are in the collection that a run's cut-over made live, the newest first.

    Raises:
        JournalTooNew, ConnectionProblem, NotPermitted: the journal cannot be read.
    """

    def is_in_it(each: RunRecord) -> bool:
        side_by_side = each.archive is None and each.target == run.target
        return side_by_side or (each.archive is not None and each.started_at > run.started_at)

    return [
        each
        for each in journal.runs()
        if each.source == run.source and each.state in NOT_ENDED and is_in_it(each)
    ]


def history_of(journal: RunJournal, *, source: str, target: str) -> JournalHistory:
    """Return the history of a target, limited to the runs from one source.

    Documents that a run from a different source wrote count as written by others: they hold bookings that this source
    does not have.

    Raises:
        JournalTooNew, ConnectionProblem, NotPermitted: the journal cannot be read.
    """
    return JournalHistory(journal, [run.run_id for run in runs_in_effect(journal, source, target)])


def history_in_place(journal: RunJournal, collection: str) -> JournalHistory:
    """Return the history of a collection as far as runs in place whose result still exists wrote it.

    Raises:
        JournalTooNew, ConnectionProblem, NotPermitted: the journal cannot be read.
    """
    runs = [run for run in reversed(journal.runs(collection)) if run.archive is not None]
    return JournalHistory(journal, [run.run_id for run in runs if run.state in IN_EFFECT])


def runs_in_effect(journal: RunJournal, source: str, target: str) -> Sequence[RunRecord]:
    """Return the runs from a source whose documents are in a target, the oldest first."""
    runs = [run for run in journal.runs(target) if run.source == source and run.archive is None]
    return [run for run in reversed(runs) if run.state in _WRITTEN]


def predecessors(noted: Iterable[RangeNote]) -> dict[bytes, bytes | None]:
    """Return what the target had in place of each document before all of these notes, by the document's digest.

    Args:
        noted: the notes that runs made before they wrote, in that order.
    """
    before: dict[bytes, bytes | None] = {}
    removed: dict[bytes, bytes | None] = {}
    for part in noted:
        for note in part.notes:
            image = note.before
            if image is not None:
                first = before.get(sha256(image).digest(), image)
            else:
                # A client whose document a run removed may have bookings again.
                first = removed.get(note.identity)
            if note.after is None:
                removed[note.identity] = first
            else:
                before[note.after] = first
    return before


def _authorship(raw: bytes | None, written: Sequence[bytes | None]) -> Authorship:
    digest = None if raw is None else sha256(raw).digest()
    if written and written[-1] == digest:
        return Authorship.LATEST
    return Authorship.EARLIER if digest in written else Authorship.OTHERS


def taken_over_in(
    noted: Mapping[str, Iterable[RangeNote]], known: Container[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    """Yield each of these ``{_id}`` that has replaced a document, with the ``{_id}`` of that one, which may be another."""
    for note in (note for parts in noted.values() for part in parts for note in part.notes):
        if note.before is not None and note.identity in known:
            yield note.identity, identity_of(note.before)


def _oldest(noted: Iterable[RangeNote]) -> dict[bytes, bytes | None]:
    """Return what the target had in place of each document before its first note, by the BSON of ``{_id}``."""
    oldest: dict[bytes, bytes | None] = {}
    for part in noted:
        for note in part.notes:
            oldest.setdefault(note.identity, note.before)
    return oldest


def _latest(noted: Iterable[RangeNote]) -> dict[bytes, bytes]:
    """Return the digest of each document as a run last wrote it, by the BSON of ``{_id}``."""
    return {note.identity: note.after for part in noted for note in part.notes if note.after is not None}


def client_key_of(raw: bytes) -> bytes:
    """Return the sort key of a client document's `clientId`, without decoding its sessions, which may be megabytes."""
    if raw[4:9] == b"\x07_id\x00" and raw[21:31] == b"\x07clientId\x00":
        return OBJECT_ID_KEY + raw[31:43]
    return sort_key(read_value(next(element for element in elements(raw) if element.name == b"clientId")))
