"""A finalize that ended before it dropped anything: its runs keep their earlier states, and can be undone.

That is decided by the collection that keeps the old bookings, not by the state, which is saved just before the drop.
"""

from collections.abc import Callable, Sequence

from booking_migrate.runs.states import check_transition
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState

Exists = Callable[[str], bool]
"""Returns whether a collection of a name exists."""


def before_finalize(run: RunRecord, runs: Sequence[RunRecord], exists: Exists) -> RunRecord:
    """Return a run in its state before a finalize that has not dropped its old bookings; any other one unchanged.

    Args:
        run: the run.
        runs: all runs of its database.
        exists: asked only about a run whose finalize was begun.
    """
    if run.state is not RunState.FINALIZING or not exists(_kept(run, runs)):
        return run
    is_live = run.archive is None and run.legacy is not None
    return run.model_copy(update={"state": RunState.CUT_OVER if is_live else RunState.DONE})


def reopen(
    journal: RunJournal,
    source: str,
    exists: Exists,
    confirm: Callable[[], None],
    guard: Callable[[], None],
) -> None:
    """Restore the states of a source's runs after a finalize that has dropped nothing.

    Args:
        journal: has the runs.
        source: the collection that was cut over or migrated in place; a lock that its finalize needs is held.
        exists: asked about the collection that keeps the old bookings.
        confirm: checks that the lock is still held.
        guard: lets the live collection refuse old bookings again, which a finalize may have ended; called if a cut-over with that
            is among the runs.
    """
    runs = journal.runs()
    before = [
        (run, before_finalize(run, runs, exists))
        for run in runs
        if run.source == source and run.state is RunState.FINALIZING
    ]
    found = [(run, then) for run, then in before if then is not run]
    if any(then.state is RunState.CUT_OVER and run.is_guarded for run, then in found):
        # First of all: recorded as cut over without it, the run would stay so.
        confirm()
        guard()
    for run, then in found:
        check_transition(run, then.state)
        confirm()
        journal.save(run.run_id, state=then.state.value)


def _kept(run: RunRecord, runs: Sequence[RunRecord]) -> str:
    """Return the collection that a finalize of a run drops first."""
    swapped = (
        each.legacy
        for each in runs
        if each.source == run.source and each.archive is None and each.state is RunState.FINALIZING
    )
    # After a cut-over all runs of the live collection end together, and the kept copy goes before the archives.
    return next((name for name in swapped if name is not None), run.archive or "")
