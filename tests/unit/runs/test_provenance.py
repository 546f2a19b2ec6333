"""What the journal's notes tell about the documents of a target."""

from hashlib import sha256
from typing import Any

import bson
import pytest

from booking_migrate.bson.document import identity_of
from booking_migrate.runs.provenance import JournalHistory, predecessors
from booking_migrate.stores.journal import DocumentNote, NoteKind, RangeNote, RunJournal


def document(version: str, document_id: int = 1) -> bytes:
    """A version of a client document."""
    return bson.encode({"_id": document_id, "clientId": 5, "sessions": [], "version": version})


def note(before: bytes | None, after: bytes | None) -> DocumentNote:
    """A note of one write."""
    raw = after if after is not None else before
    assert raw is not None
    return DocumentNote(identity_of(raw), None if after is None else sha256(after).digest(), before)


def traced(raw: bytes, *notes: DocumentNote) -> Any:
    """The first version that no run wrote, if the document is as a run left it; itself if others changed it."""
    known = predecessors([RangeNote(NoteKind.DOCUMENTS, b"", b"", [each]) for each in notes])
    return known.get(sha256(raw).digest(), raw)


THEIRS, FIRST, CHANGED, SECOND = map(document, ("theirs", "first", "changed by others", "second"))


@pytest.mark.parametrize(
    ("raw", "notes", "expected"),
    [
        (FIRST, [note(None, FIRST)], None),
        (FIRST, [note(THEIRS, FIRST)], THEIRS),
        (CHANGED, [note(None, FIRST)], CHANGED),
        (SECOND, [note(THEIRS, FIRST), note(FIRST, SECOND)], THEIRS),
        (SECOND, [note(None, FIRST), note(CHANGED, SECOND)], CHANGED),
        (FIRST, [note(THEIRS, FIRST), note(THEIRS, SECOND)], THEIRS),
        (THEIRS, [note(THEIRS, FIRST), note(THEIRS, THEIRS)], THEIRS),
        (SECOND, [note(THEIRS, FIRST), note(FIRST, None), note(None, SECOND)], THEIRS),
        (SECOND, [note(None, FIRST), note(FIRST, None), note(None, SECOND)], None),
        (document("moved", 2), [note(THEIRS, FIRST), note(FIRST, document("moved", 2))], THEIRS),
    ],
    ids=[
        "new",
        "in the place of one of others",
        "changed by others since",
        "through two runs",
        "changed by others between two runs",
        "an interrupted run wrote it twice",
        "put back",
        "removed and made again, over one of others",
        "removed and made again",
        "under another id",
    ],
)
def test_the_first_version_of_others(raw: bytes, notes: list[DocumentNote], expected: bytes | None) -> None:
    """The chain of notes leads back to the version that was there before any run, and stops where others wrote."""
    assert expected == traced(raw, *notes)


class Notes(RunJournal):
    """A journal of two runs that has only notes."""

    def __init__(self, **noted: list[DocumentNote]) -> None:
        self._noted = noted

    def between(self, run_id: str, first: bytes, last: bytes) -> list[RangeNote]:
        """Return all notes of a run."""
        return [RangeNote(NoteKind.DOCUMENTS, first, last, [each]) for each in self._noted[run_id]]


@pytest.mark.parametrize("current", [None, "second"])
@pytest.mark.parametrize(
    "second", [[], [note(None, SECOND)], [note(FIRST, SECOND)], [note(FIRST, SECOND), note(SECOND, FIRST)]]
)
@pytest.mark.parametrize("raw", [THEIRS, FIRST, SECOND, CHANGED])
def test_what_was_found(raw: bytes, second: list[DocumentNote], current: str | None) -> None:
    """What stood there before the current run is the same if only its own notes are read."""
    journal = Notes(first=[note(THEIRS, FIRST)], second=second)  # type: ignore[abstract]
    history = JournalHistory(journal, ["first", "second"], current)

    assert [each.found for each in history.trace([raw])] == list(history.found([raw]))
