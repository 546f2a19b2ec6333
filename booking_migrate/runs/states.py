"""A run's states, the transitions between them, and which options must be unchanged for a run to be continued."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from booking_migrate import __version__
from booking_migrate.errors import BookingMigrateError, IllegalTransition
from booking_migrate.runs.plan import MigrationPlan, options_of
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState

TRANSITIONS: Mapping[RunState, frozenset[RunState]] = {
    RunState.PLANNED: frozenset(
        {
            RunState.RUNNING,  # The state of the target before the run is recorded, so writing may begin.
        }
    ),
    RunState.RUNNING: frozenset(
        {
            RunState.RUNNING,  # It was killed, and the next start continues it.
            RunState.INTERRUPTED,  # A signal ended it after a batch.
            RunState.FAILED,  # An error ended it.
            RunState.DONE,  # It completed.
            RunState.UNCHANGED,  # It completed, and the target was already up to date.
            RunState.ROLLING_BACK,  # It was killed, and is undone instead of continued.
        }
    ),
    RunState.INTERRUPTED: frozenset(
        {
            RunState.RUNNING,  # `migrate` again continues it.
            RunState.ROLLING_BACK,  # `rollback`, or `migrate --restart`.
        }
    ),
    RunState.FAILED: frozenset(
        {
            RunState.RUNNING,  # The cause is gone, and `migrate` again continues it.
            RunState.ROLLING_BACK,  # `rollback`, or `migrate --restart`.
        }
    ),
    RunState.DONE: frozenset(
        {
            RunState.CUTTING_OVER,  # `cutover` of a run that was verified.
            RunState.FINALIZING,  # `finalize` of a run in place, just verified; or of a later run into the same target.
            RunState.ROLLING_BACK,  # `rollback` of a run that completed.
        }
    ),
    RunState.CUTTING_OVER: frozenset(
        {
            RunState.CUTTING_OVER,  # It was killed, and the next `cutover` continues it.
            RunState.DONE,  # It failed or was aborted: the source is still live, unchanged.
            RunState.CUT_OVER,  # The target has the source's name.
        }
    ),
    RunState.CUT_OVER: frozenset(
        {
            RunState.RESTORING,  # `rollback` after the cut-over.
            RunState.FINALIZING,  # `finalize` of a cut-over, just verified.
        }
    ),
    RunState.RESTORING: frozenset(
        {
            RunState.RESTORING,  # It was killed, and the next `rollback` continues it.
            RunState.CUT_OVER,  # It failed or was aborted: the client documents are still live, unchanged.
            RunState.ROLLED_BACK,  # The old bookings have their name back, and that was checked.
        }
    ),
    RunState.FINALIZING: frozenset(
        {
            RunState.FINALIZING,  # It was killed, and the next `finalize` continues it.
            RunState.CUT_OVER,  # It dropped nothing of a cut-over: `rollback` or the next `finalize` begins again.
            RunState.DONE,  # Likewise of a run in place, or of an earlier run into the target.
            RunState.FINALIZED,  # The archive, or the kept copy, is gone.
        }
    ),
    RunState.FINALIZED: frozenset(),  # Its old bookings are gone.
    RunState.UNCHANGED: frozenset(),  # It wrote nothing that could be undone.
    RunState.ROLLING_BACK: frozenset(
        {
            RunState.ROLLING_BACK,  # The rollback was interrupted, and the next one continues it.
            RunState.ROLLED_BACK,  # What the run wrote is gone, and that was checked.
        }
    ),
    RunState.ROLLED_BACK: frozenset(),  # A new `migrate` is a new run.
}
"""Which states may follow which, with the reason for each edge."""

RESUMABLE = frozenset({RunState.RUNNING, RunState.INTERRUPTED, RunState.FAILED})
"""The states from which `migrate` continues."""

UNDOABLE = RESUMABLE | {RunState.DONE, RunState.ROLLING_BACK}
"""The states in which `rollback` has something to undo."""

LIVE = frozenset({RunState.CUT_OVER, RunState.RESTORING})
"""The states of a run whose result is the live collection."""

FINAL = frozenset({RunState.FINALIZING, RunState.FINALIZED})
"""The states of a run that cannot be undone any more."""

IN_EFFECT = UNDOABLE | LIVE | {RunState.CUTTING_OVER}
"""The states of a run whose result still exists."""

NOT_ENDED = IN_EFFECT | {RunState.FINALIZING}
"""The states of a run that has begun to write, and is neither undone nor finalized."""

UNFINISHED = RESUMABLE | {RunState.ROLLING_BACK}
"""The states in which `migrate` or `rollback` has stopped halfway, if it does not work."""

FOLLOWED = frozenset({RunState.DONE, RunState.CUTTING_OVER})
"""The states of a run whose source is followed, or would be by the next command."""

WORKING = frozenset(
    {
        RunState.PLANNED,
        RunState.RUNNING,
        RunState.CUTTING_OVER,
        RunState.RESTORING,
        RunState.FINALIZING,
        RunState.ROLLING_BACK,
    }
)
"""The states of a run while a process works on it; it stays in them if that process is killed."""

SWITCHING = frozenset({RunState.CUTTING_OVER, RunState.RESTORING, RunState.FINALIZING})
"""The states in which what is live, or can become live again, is changed: `migrate` cannot end them."""

FINALIZABLE = frozenset({RunState.CUT_OVER, RunState.FINALIZING})
"""The states in which `finalize` has a cut-over to end."""

LASTING = frozenset({RunState.CUT_OVER, RunState.FINALIZED})
"""The states of a run side by side whose new ids are live, and stay so if no command is run."""

WITHOUT_ARCHIVE = frozenset({RunState.ROLLED_BACK, RunState.FINALIZED})
"""The states of a run in place whose bookings have left the archive."""

ENDED = frozenset({RunState.FINALIZED, RunState.ROLLED_BACK, RunState.UNCHANGED})
"""The states of a run of which only its record is left."""

VERIFIABLE = frozenset({RunState.DONE, RunState.CUT_OVER})
"""The states of a run whose record takes the result of a verification."""

WITHOUT_RESULT = frozenset({RunState.PLANNED, RunState.UNCHANGED, RunState.ROLLED_BACK})
"""The states of a run that left nothing of its own: an earlier one may have a result."""


def check_transition(run: RunRecord, state: RunState) -> None:
    """Check that a run may change to a state.

    Raises:
        IllegalTransition: the transition is not allowed.
    """
    if state not in TRANSITIONS[run.state]:
        raise IllegalTransition(run.run_id, run.state.value, state.value)


def has_live_ids(run: RunRecord) -> bool:
    """Return whether the new ids of a run can be written into references: they are those of the live collection."""
    return run.state in LASTING or (run.archive is not None and run.state is RunState.DONE)


def in_words(state: RunState) -> str:
    """Return the name of the state of a run without a process: one whose record says running was interrupted."""
    return RunState.INTERRUPTED.value if state is RunState.RUNNING else state.value


def run_options(plan: MigrationPlan, places: Mapping[str, str | None]) -> dict[str, str]:
    """Return everything that determines the result of a run, as text to show and to compare.

    The batch size and the engine are left out: they do not influence the result, and a run may be continued with others.

    Args:
        plan: what is to be done.
        places: the places and their kinds by the options that name them, such as ``source``; None for one not given.
    """
    return {
        "version": __version__,
        **{name: value for name, value in places.items() if value is not None},
        **options_as_text(plan),
    }


def options_as_text(plan: MigrationPlan) -> dict[str, str]:
    """Return the options of a plan by their names, as a run's record has them."""
    return {name: _text(value) for name, value in options_of(plan).items()}


def _text(value: JsonValue) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> Sequence[str]:
    """Return what has changed since a run began, one line each."""
    return [
        f"{name} was {before.get(name) or 'not given'}{f' and is {now[name]}' if now.get(name) else ', and is missing now'}"
        for name in {**before, **now}
        if before.get(name, "") != now.get(name, "")
    ]


def newest_result(journal: RunJournal, target: str) -> RunRecord | None:
    """Return the newest run into a target that wrote something and was not undone; None without one."""
    runs = journal.runs(target)
    return next((run for run in runs if run.state in IN_EFFECT), None)


class VerifiedRun:
    """Records the result of a verification with the run that was verified.

    `cutover` requires a clean verification that is newer than the last write. If the result cannot be recorded, the
    verification still succeeds, and `problem` has the reason.
    """

    def __init__(
        self,
        journal: RunJournal,
        *,
        source: str,
        target: str,
        may_write: Callable[[], bool] = lambda: True,
        cluster_time: Callable[[], Any] = lambda: None,
    ) -> None:
        """Find the run, and take the time of the journal's clock as the beginning of the verification.

        Args:
            journal: has the run.
            source: the source as the user wrote it.
            target: the target likewise.
            may_write: returns whether this user may write to the journal; if not, nothing is sent to it.
            cluster_time: returns the cluster time before anything is read; None if the server has none.
        """
        self._journal = journal
        self._run: RunRecord | None = None
        self.problem: str | None = None
        try:
            run = newest_result(journal, target)
            if run is None or run.state not in VERIFIABLE or run.source != source:
                return
            if may_write():
                self._run, self._began, self._time = run, journal.now(), cluster_time()
            elif run.state is RunState.DONE:
                self.problem = "this user may only read the journal"
        except BookingMigrateError as error:
            self.problem = error.message

    @property
    def run_id(self) -> str | None:
        """Return the run; None if nothing is recorded."""
        return None if self._run is None else self._run.run_id

    def note(self, *, is_clean: bool) -> None:
        """Record in the journal that the whole result was verified, and whether it was free of mismatches."""
        if self._run is None:
            return
        try:
            self._journal.annotate(
                self._run.run_id,
                verified_at=self._began,
                verified_time=self._time,
                verified_clean=is_clean,
            )
        except BookingMigrateError as error:
            self.problem = error.message
