"""What a target held before its runs, as the journal says (DESIGN.md, section 2, small print on verify)."""

from booking_migrate.engine.journal import STANDING
from booking_migrate.engine.provenance import client_key_of
from booking_migrate.stores.earlier import EarlierDocuments
from booking_migrate.stores.journal import NoteKind, RunJournal


def collect_earlier(journal: RunJournal, kept: EarlierDocuments, *, source: str, target: str) -> None:
    """Collect the client documents that were in a target before the first run from a source that still stands.

    A document that an earlier one of these runs made was not there before them, whatever a later run found. Nothing is
    written.

    Args:
        journal: knows what each run found in the place of what it wrote.
        kept: where they are collected.
        source: the source as the user wrote it.
        target: the target likewise.

    Raises:
        JournalTooNew, ConnectionProblem, NotPermitted: the journal cannot be read.
    """
    for run in journal.runs(target):
        if run.state not in STANDING or run.source != source:
            continue
        # The newest first: what an older run noted of a document takes the place of what is known of it.
        for noted in journal.ranges(run.run_id, NoteKind.DOCUMENTS):
            for note in noted.notes:
                if note.before is None:
                    kept.drop(note.identity)
                else:
                    # In place a run may come back to a document; only its first note is about before the run.
                    kept.put(note.identity, client_key_of(note.before), note.before, run.run_id)
