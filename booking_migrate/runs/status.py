"""Where every run stands, whether somebody is at work on it, and what can be done next."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from booking_migrate.runs.commands import possible_commands
from booking_migrate.runs.outcome import Finding
from booking_migrate.runs.states import RESUMABLE, STANDING
from booking_migrate.stores.cutover import LiveCollections
from booking_migrate.stores.journal import HeldLockView, LockStore, RunJournal, RunRecord, RunState

_AT_WORK = frozenset(
    {
        RunState.PLANNED,
        RunState.RUNNING,
        RunState.CUTTING_OVER,
        RunState.RESTORING,
        RunState.FINALIZING,
        RunState.ROLLING_BACK,
    }
)
"""The states that a run is in while a process is at work on it, and stays in when that process is killed."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run, as it stands."""

    run: RunRecord
    heard_at: datetime
    """When it was heard of last."""

    is_alive: bool
    """Whether a process is at work on it."""

    is_stale: bool
    """Whether its process has ended without saying so."""

    rate: float | None
    """Documents per second since it was started or resumed last; None if that is not known yet."""

    refuses_writes_since: datetime | None
    """Since when the live collection refuses writes for the run, also if its process is dead; None: it does not."""

    possible: tuple[str, ...]
    """The commands that make sense now. They name no server."""


LiveOf = Callable[[RunRecord], LiveCollections]
"""The live collection of a run, to be asked whether it refuses writes."""


def status(
    journal: RunJournal, locks: LockStore, live_of: LiveOf | None = None, *, target: str | None = None
) -> Sequence[RunStatus]:
    """Return all runs, or those into one target, the newest first.

    Args:
        journal: where runs are kept.
        locks: which tells whether a run's process lives.
        live_of: opens the live collection of a run; None: the journal's word about refused writes is taken.
        target: the target; None: every one.

    Raises:
        JournalTooNew: a newer version of the program wrote the journal.
        ConnectionProblem, NotPermitted: it cannot be read.
    """
    runs = journal.runs(target)
    held = {name: locks.look(name) for name in {run.target for run in runs}}
    newest: dict[str, str] = {}
    for run in runs:
        if run.state in STANDING:
            newest.setdefault(run.target, run.run_id)
    return [
        _standing(run, held[run.target], live_of, is_newest=newest.get(run.target) == run.run_id)
        for run in runs
    ]


def unfinished_run(journal: RunJournal, locks: LockStore, *, target: str) -> Finding | None:
    """Return what to say about a run that has not finished its target; None if there is none.

    Raises:
        JournalTooNew, ConnectionProblem, NotPermitted: the journal cannot be read.
    """
    for each in status(journal, locks, target=target):
        run = each.run
        if each.is_alive and run.state is not RunState.PLANNED:
            advice = "Verify again when it is done; booking-migrate status --watch shows how far it is."
            title = f"run that is writing to {target} at this moment"
            return Finding("run-is-writing", title, 1, (run.run_id,), advice)
        if run.state in _AT_WORK | RESUMABLE and run.state is not RunState.PLANNED:
            advice = f"What it has not written yet is missing. Continue it first: {each.possible[0]}"
            return Finding("run-not-finished", "run that is not finished", 1, (run.run_id,), advice)
    return None


def file_status(run: RunRecord, *, is_alive: bool) -> RunStatus:
    """Return how the run stands that wrote a target file.

    Args:
        run: as the file's sidecar has it.
        is_alive: whether its process still lives.
    """
    is_open = run.state in _AT_WORK
    back = [f"booking-migrate rollback {shlex.join(['--target', run.target])}"]
    possible = [*possible_commands(run, is_newest=False), *(back if run.state is RunState.DONE else [])]
    return RunStatus(
        run=run,
        heard_at=run.heartbeat_at,
        is_alive=is_open and is_alive,
        is_stale=is_open and not is_alive,
        rate=None,
        refuses_writes_since=None,
        possible=() if is_open and is_alive else tuple(possible),
    )


def _standing(
    run: RunRecord, held: HeldLockView | None, live_of: LiveOf | None, *, is_newest: bool
) -> RunStatus:
    is_open = run.state in _AT_WORK
    is_alive = is_open and held is not None and held.is_live
    heard_at = max(run.heartbeat_at, held.heard_at) if is_open and held is not None else run.heartbeat_at
    # A verification or a cut-over of a finished run does not move its rate.
    seconds = ((run.written_at or run.heartbeat_at) - run.worked_from).total_seconds()
    return RunStatus(
        run=run,
        heard_at=heard_at,
        is_alive=is_alive,
        is_stale=is_open and not is_alive and run.problem is None,
        rate=run.documents / seconds if run.documents and seconds > 0 else None,
        refuses_writes_since=_fenced_at(run, live_of),
        possible=() if is_alive else tuple(possible_commands(run, is_newest=is_newest)),
    )


def _fenced_at(run: RunRecord, live_of: LiveOf | None) -> datetime | None:
    """Return since when writes are refused: noted before the fence is raised, it is true while the fence stands."""
    if run.fenced_at is None or live_of is None:
        return run.fenced_at
    settings = run.successor_settings if run.state is RunState.RESTORING else run.live_settings
    return run.fenced_at if live_of(run).refuses_writes(settings or "") else None
