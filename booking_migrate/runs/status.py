"""The state of every run, whether a process is working on it, and the commands that are possible next."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from booking_migrate.runs.commands import possible_commands
from booking_migrate.runs.outcome import Finding
from booking_migrate.runs.states import LIVE, RESUMABLE, STANDING
from booking_migrate.stores.journal import HeldLockView, LockStore, RunJournal, RunRecord, RunState

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.cutover import MongoLive

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
"""The states of a run while a process works on it; it stays in them if that process is killed."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The status of one run."""

    run: RunRecord
    heard_at: datetime
    """The time of its last sign of life: a heartbeat, or a renewal of its lease."""

    is_alive: bool
    """Whether a process is working on it."""

    is_stale: bool
    """Whether its process ended without recording that."""

    rate: float | None
    """Documents per second since it was started or last resumed; None if not known yet."""

    refuses_writes_since: datetime | None
    """Since when the live collection refuses writes for the run, even if its process has ended; None: it does not."""

    possible: tuple[str, ...]
    """The commands that are possible now, without the address of a server."""


LiveOf = Callable[[RunRecord], "MongoLive"]
"""Opens the live collection of a run, to check whether it refuses writes."""


def status(
    journal: RunJournal, locks: LockStore, live_of: LiveOf | None = None, *, target: str | None = None
) -> Sequence[RunStatus]:
    """Return all runs, or those into one target, the newest first.

    Args:
        journal: has the runs.
        locks: which show whether the process of a run is alive.
        live_of: opens the live collection of a run; None: what the journal says about refused writes is reported unchecked.
        target: the target; None: every target.

    Raises:
        JournalTooNew: a newer version of the program wrote the journal.
        ConnectionProblem, NotPermitted: the journal cannot be read.
    """
    runs = journal.runs(target)
    held = {name: locks.look(name) for name in {run.target for run in runs}}
    newest: dict[str, str] = {}
    for run in runs:
        if run.state in STANDING:
            newest.setdefault(run.target, run.run_id)
    live = {run.target for run in runs if run.state in LIVE}
    return [
        _standing(
            run,
            held[run.target],
            live_of,
            is_newest=newest.get(run.target) == run.run_id,
            # A cut-over has renamed its target, which only the run of the cut-over can undo now.
            is_renamed=run.state is RunState.DONE and run.target in live,
        )
        for run in runs
    ]


def unfinished_run(journal: RunJournal, locks: LockStore, *, target: str) -> Finding | None:
    """Return the finding for a run that has not finished writing its target; None without such a run.

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
            lacking = "What it has not written yet is missing."
            if run.state in {RunState.CUTTING_OVER, RunState.RESTORING}:
                lacking = f"Its process has ended, and {run.source} may refuse writes until it is continued."
            advice = f"{lacking} Continue it first: {each.possible[0]}"
            return Finding("run-not-finished", "run that is not finished", 1, (run.run_id,), advice)
    return None


def file_status(run: RunRecord, *, is_alive: bool) -> RunStatus:
    """Return the status of the run that wrote a target file.

    Args:
        run: its record in the sidecar of the file.
        is_alive: whether its process is still alive.
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
    run: RunRecord,
    held: HeldLockView | None,
    live_of: LiveOf | None,
    *,
    is_newest: bool,
    is_renamed: bool,
) -> RunStatus:
    is_open = run.state in _AT_WORK
    is_alive = is_open and held is not None and held.is_live
    heard_at = max(run.heartbeat_at, held.heard_at) if is_open and held is not None else run.heartbeat_at
    # A verification or a cut-over of a finished run does not change its rate.
    seconds = ((run.written_at or run.heartbeat_at) - run.worked_from).total_seconds()
    return RunStatus(
        run=run,
        heard_at=heard_at,
        is_alive=is_alive,
        is_stale=is_open and not is_alive and run.problem is None,
        rate=run.documents / seconds if run.documents and seconds > 0 else None,
        refuses_writes_since=_fenced_at(run, live_of),
        possible=() if is_alive or is_renamed else tuple(possible_commands(run, is_newest=is_newest)),
    )


def _fenced_at(run: RunRecord, live_of: LiveOf | None) -> datetime | None:
    """Return since when writes are refused: the time recorded before the fence is raised, as long as the fence exists."""
    if run.fenced_at is None or live_of is None:
        return run.fenced_at
    settings = run.successor_settings if run.state is RunState.RESTORING else run.live_settings
    return run.fenced_at if live_of(run).refuses_writes(settings or "") else None
