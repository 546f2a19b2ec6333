"""What a map of old ids is made of: a result that holds every booking already, or else the bookings."""

from typing import NamedTuple

from booking_migrate.runs.states import FINAL, LIVE, WITHOUT_RESULT
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState


class FinishedResult(NamedTuple):
    """A collection that holds what a finished run has made of a source."""

    run: RunRecord
    collection: str


def finished_result(journal: RunJournal, *, source: str, target: str) -> FinishedResult | None:
    """Return the result of the newest run from a source if it is whole, else None: it was undone, or is unfinished.

    Args:
        journal: has the runs.
        source: the source, as given.
        target: the target of a run side by side that has not been cut over.

    Raises:
        JournalTooNew, NotPermitted, ConnectionProblem: the journal cannot be read.
    """
    for run in journal.runs():
        is_live = run.archive is not None or run.state in LIVE | FINAL
        if run.source != source or run.state in WITHOUT_RESULT or not (is_live or run.target == target):
            continue
        if run.state is RunState.DONE:
            return FinishedResult(run, run.source if is_live else run.target)
        is_whole = run.state is RunState.CUT_OVER or run.state in FINAL
        return FinishedResult(run, run.source) if is_whole else None
    return None
