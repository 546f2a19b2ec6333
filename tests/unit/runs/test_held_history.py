"""A process that holds the lock knows the notes of documents without reading them each time."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, cast

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from booking_migrate.bson.document import identity_of
from booking_migrate.runs import held_history
from booking_migrate.runs.held_history import HeldHistory
from booking_migrate.runs.provenance import Authorship, PointHistory
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote, RunJournal

EARLIER, CURRENT = "earlier", "current"
IDS, VERSIONS = range(4), range(3)


class Journal:
    """A journal in memory, which counts how often it is read."""

    def __init__(self) -> None:
        self.noted: dict[str, list[RangeNote]] = {EARLIER: [], CURRENT: []}
        self.reads = 0

    def note(self, run: str, notes: Sequence[DocumentNote]) -> RangeNote:
        """Append a range of notes."""
        noted = RangeNote(NoteKind.DOCUMENTS, b"", b"", notes, f"{len(self.noted[run]):04}")
        self.noted[run].append(noted)
        return noted

    def of_documents(self, run_ids: Sequence[str], identities: Sequence[bytes]) -> Sequence[RangeNote]:
        """Return whole ranges, as the journal does."""
        self.reads += 1
        wanted = set(identities)
        return [
            each
            for run in run_ids
            for each in self.noted[run]
            if wanted & {note.identity for note in each.notes}
        ]

    def ranges(self, run: str, *_kinds: NoteKind) -> Iterator[RangeNote]:
        """Yield all of a run."""
        self.reads += 1
        yield from self.noted[run]


def document(number: int, version: int) -> bytes:
    """A version of a client document."""
    return bson.encode({"_id": number, "version": version})


def note(number: int, before: int | None, after: int | None, instead_of: int | None = None) -> DocumentNote:
    """A note of one write, which may take the place of a document with another `_id`."""
    old = number if instead_of is None else instead_of
    return DocumentNote(
        identity_of(document(number, 0)),
        None if after is None else sha256(document(number, after)).digest(),
        None if before is None else document(old, before),
    )


VERSION = st.none() | st.sampled_from(VERSIONS)
NOTE = st.builds(note, st.sampled_from(IDS), VERSION, VERSION, st.none() | st.sampled_from(IDS))
# One to a range: what else a range happens to have is read from the journal, too.
NOTES = st.lists(NOTE, min_size=1, max_size=1)
STEP = st.tuples(st.just("note"), NOTES) | st.tuples(
    st.just("look"), st.dictionaries(st.sampled_from(IDS), VERSION, min_size=1)
)


def histories(journal: Journal) -> tuple[HeldHistory, PointHistory]:
    """The history under test, and the one that reads everything anew."""
    known = cast("RunJournal", journal)
    return HeldHistory(known, [EARLIER, CURRENT], CURRENT), PointHistory(known, [EARLIER, CURRENT], CURRENT)


@pytest.mark.parametrize(("few", "at_most"), [(0, 1000), (2000, 1000), (0, 3)])
@given(
    before=st.lists(NOTES, max_size=6), resumed=st.lists(NOTES, max_size=4), steps=st.lists(STEP, max_size=12)
)
def test_answers_are_those_of_the_journal(
    few: int, at_most: int, before: Any, resumed: Any, steps: Any
) -> None:
    """Whatever was noted and asked, and however much is held in memory, the answers are those of the journal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_history, "_FEW", few)
        patch.setattr(held_history, "_AT_MOST", at_most)
        journal = Journal()
        for run, ranges in ((EARLIER, before), (CURRENT, resumed)):
            for notes in ranges:
                journal.note(run, notes)
        held, read = histories(journal)
        for kind, value in steps:
            if kind == "note":
                held.note(journal.note(CURRENT, value))
                continue
            found = {
                identity_of(document(number, 0)): None if version is None else document(number, version)
                for number, version in value.items()
            }
            assert read.authorship(found) == held.authorship(found)
            raws = [raw for raw in found.values() if raw is not None]
            assert list(read.trace(raws)) == list(held.trace(raws))


def test_known_documents_are_not_read_again() -> None:
    """However often a document is written and looked up, its notes are read once."""
    journal = Journal()
    journal.note(CURRENT, [note(1, None, 0)])
    held, _ = histories(journal)
    for version in (1, 2, 0, 1):
        held.trace([document(1, (version + 2) % 3)])
        held.note(journal.note(CURRENT, [note(1, None, version)]))
    reads = journal.reads

    authors = held.authorship({identity_of(document(1, 0)): document(1, 1)})

    assert ([Authorship.LATEST], reads) == (list(authors.values()), journal.reads)


def test_only_the_last_versions_of_a_document_are_held() -> None:
    """Memory does not grow with how often a document is written; its last version is known."""
    journal = Journal()
    held, _ = histories(journal)
    identity = identity_of(document(1, 0))
    for version in range(100):
        held.authorship({identity: None})
        held.note(journal.note(CURRENT, [note(1, None, version)]))

    assert held.held < 15
    assert {identity: Authorship.LATEST} == held.authorship({identity: document(1, 99)})


def test_what_another_process_noted_is_not_taken_for_a_change_of_others() -> None:
    """Before a document counts as changed by others, the journal is read: the lock may have been lost meanwhile."""
    journal = Journal()
    journal.note(CURRENT, [note(1, None, 0)])
    held, _ = histories(journal)
    identity = identity_of(document(1, 0))
    held.authorship({identity: document(1, 0)})

    journal.note(CURRENT, [note(1, None, 1)])

    assert {identity: Authorship.LATEST} == held.authorship({identity: document(1, 1)})
    assert not held.trace([document(1, 1)])[0].is_changed
