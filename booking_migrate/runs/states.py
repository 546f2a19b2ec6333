"""A run's states, what may follow what, and what has to be the same for a run to be continued."""

from collections.abc import Callable, Mapping, Sequence

from pydantic import JsonValue

from booking_migrate import __version__
from booking_migrate.errors import BookingMigrateError, IllegalTransition
from booking_migrate.runs.plan import MigrationPlan
from booking_migrate.runs.saved_plan import options_of
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState

TRANSITIONS: Mapping[RunState, frozenset[RunState]] = {
    RunState.PLANNED: frozenset(
        {
            RunState.RUNNING,  # What was there before is noted down, so writing may begin.
        }
    ),
    RunState.RUNNING: frozenset(
        {
            RunState.RUNNING,  # It was killed, and the next start goes on with it.
            RunState.INTERRUPTED,  # A signal ended it after a batch.
            RunState.FAILED,  # An error ended it.
            RunState.DONE,  # It came to its end.
            RunState.UNCHANGED,  # It came to its end and had found everything there.
            RunState.ROLLING_BACK,  # It was killed, and nobody wants it to go on.
        }
    ),
    RunState.INTERRUPTED: frozenset(
        {
            RunState.RUNNING,  # `migrate` again goes on with it.
            RunState.ROLLING_BACK,  # `rollback`, or `migrate --restart`.
        }
    ),
    RunState.FAILED: frozenset(
        {
            RunState.RUNNING,  # The cause is gone, and `migrate` again goes on with it.
            RunState.ROLLING_BACK,  # `rollback`, or `migrate --restart`.
        }
    ),
    RunState.DONE: frozenset(
        {
            RunState.CUTTING_OVER,  # `cutover` of a run that was verified.
            RunState.FINALIZING,  # `finalize` of a run in place, just verified.
            RunState.ROLLING_BACK,  # `rollback` of a run that came to its end.
        }
    ),
    RunState.CUTTING_OVER: frozenset(
        {
            RunState.CUTTING_OVER,  # It was killed, and the next `cutover` goes on with it.
            RunState.DONE,  # It failed or was given up: the source is live as it was.
            RunState.CUT_OVER,  # The target has the source's name.
        }
    ),
    RunState.CUT_OVER: frozenset(
        {
            RunState.RESTORING,  # `rollback` after the cut-over.
        }
    ),
    RunState.RESTORING: frozenset(
        {
            RunState.RESTORING,  # It was killed, and the next `rollback` goes on with it.
            RunState.CUT_OVER,  # It failed or was given up: the client documents are live as they were.
            RunState.ROLLED_BACK,  # The old bookings have their name back, and that was checked.
        }
    ),
    RunState.FINALIZING: frozenset(
        {
            RunState.FINALIZING,  # It was killed, and the next `finalize` goes on with it.
            RunState.FINALIZED,  # The archive is gone.
        }
    ),
    RunState.FINALIZED: frozenset(),  # Its old bookings are gone.
    RunState.UNCHANGED: frozenset(),  # There is nothing to undo.
    RunState.ROLLING_BACK: frozenset(
        {
            RunState.ROLLING_BACK,  # The rollback was cut off, and the next one goes on with it.
            RunState.ROLLED_BACK,  # What the run wrote is gone, and that was checked.
        }
    ),
    RunState.ROLLED_BACK: frozenset(),  # A new `migrate` is a new run.
}
"""Which states may follow which, with the reason for each edge."""

RESUMABLE = frozenset({RunState.RUNNING, RunState.INTERRUPTED, RunState.FAILED})
"""The states that `migrate` goes on from."""

UNDOABLE = RESUMABLE | {RunState.DONE, RunState.ROLLING_BACK}
"""The states that `rollback` has something to undo in."""

LIVE = frozenset({RunState.CUT_OVER, RunState.RESTORING})
"""The states of a run whose result is the live collection."""

FINAL = frozenset({RunState.FINALIZING, RunState.FINALIZED})
"""The states of a run in place that has no way back."""

STANDING = UNDOABLE | LIVE | {RunState.CUTTING_OVER}
"""The states of a run that has written something that still stands."""


def check_transition(run: RunRecord, state: RunState) -> None:
    """Make sure that a run may go to a state.

    Raises:
        IllegalTransition: it may not.
    """
    if state not in TRANSITIONS[run.state]:
        raise IllegalTransition(run.run_id, run.state.value, state.value)


def in_words(state: RunState) -> str:
    """Return what to call the state of a run that no process works on: one that is running there was interrupted."""
    return RunState.INTERRUPTED.value if state is RunState.RUNNING else state.value


def run_options(plan: MigrationPlan, places: Mapping[str, str | None]) -> dict[str, str]:
    """Return everything that decides the result of a run, for people and for comparing.

    The batch size and the engine are not in it: they have no influence on the result, and a run may be continued with others.

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
    """Return what is other now than when a run began, one line each."""
    return [
        f"{name} was {before.get(name) or 'not given'} and is {now.get(name) or 'not given'}"
        for name in {**before, **now}
        if before.get(name, "") != now.get(name, "")
    ]


def newest_result(journal: RunJournal, target: str) -> RunRecord | None:
    """Return the newest run into a target that wrote something and was not undone; None if there is none."""
    runs = journal.runs(target)
    return next((run for run in runs if run.state in STANDING), None)


class VerifiedRun:
    """The run whose result is being verified, to be told what came of it.

    It is for `cutover`, which asks for a clean verification that is newer than the last write. Whatever keeps it from being
    noted never costs anybody the verification itself: `problem` says what it was.
    """

    def __init__(
        self, journal: RunJournal, *, source: str, target: str, may_write: Callable[[], bool] = lambda: True
    ) -> None:
        """Find the run and what time it is, by the journal's clock; the verification begins now.

        Args:
            journal: has the run.
            source: the source as the user wrote it.
            target: the target likewise.
            may_write: tells whether this user may write to the journal, where nothing is sent otherwise.
        """
        self._journal = journal
        self._run: RunRecord | None = None
        self.problem: str | None = None
        try:
            run = newest_result(journal, target)
            if run is None or run.state is not RunState.DONE or run.source != source:
                return
            if may_write():
                self._run, self._began = run, journal.now()
            else:
                self.problem = "this user may only read the journal"
        except BookingMigrateError as error:
            self.problem = error.message

    def note(self, *, is_clean: bool) -> None:
        """Note in the journal that the whole result was verified, and whether nothing wrong was found."""
        if self._run is None:
            return
        try:
            self._journal.annotate(self._run.run_id, verified_at=self._began, verified_clean=is_clean)
        except BookingMigrateError as error:
            self.problem = error.message
