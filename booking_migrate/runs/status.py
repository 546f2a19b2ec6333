"""The state of every run, and what is refused because of a run.

A migration is side by side or in place; a run of one mode is not continued in the other.
"""

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from socket import gethostname
from typing import TYPE_CHECKING, Any

from booking_migrate.errors import CutOverAlready, OtherMode, TargetBusy, UnfinishedRun
from booking_migrate.quantities import moment
from booking_migrate.runs.advice import CONVERT_LATER, UNDO
from booking_migrate.runs.commands import (
    PossibleCommand,
    command_of,
    conversion_of,
    converting,
    going_back,
    possible_commands,
    resume_of,
    rollback_of,
)
from booking_migrate.runs.control import Request, Setting, commands_of, in_force, running_beside
from booking_migrate.runs.followed import Reach, follow_facts, window_facts
from booking_migrate.runs.lock import FOLLOW_COMMAND, WINDOW_COMMAND
from booking_migrate.runs.plan import Finding
from booking_migrate.runs.reopening import Exists, before_finalize
from booking_migrate.runs.states import IN_EFFECT, LIVE, NOT_ENDED, RESUMABLE, WORKING, in_words
from booking_migrate.stores.cutover import OldBookings
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState
from booking_migrate.stores.locks import HeldLockView, LockStore, birth_of

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.cutover import MongoLive


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

    possible: tuple[PossibleCommand, ...]
    """The commands that are possible now, without the address of a server."""

    follow: Mapping[str, Any] | None = None
    """How following its source goes, or went (`runs.followed`); None: it was not followed."""

    window: Mapping[str, Any] | None = None
    """How its reverse window goes, or went (`runs.followed`); None: it has none."""

    requests: Sequence[Request] = ()
    """What was asked of the commands that work on it, or continue it."""

    holder: str | None = None
    """The process that works on it, as messages about its lock name it; None: none does."""

    old_bookings: OldBookings | None = None
    """The old bookings in the collection that its cut-over made live; None: not cut over, or not counted."""

    is_swapped: bool = False
    """Whether its cut-over, which is not complete, has given the source's name to the target already."""

    has_ended: bool = False
    """Whether its process is known to have ended; of one on another machine, only its last sign of life is known."""


RUN_IS_WRITING, RUN_NOT_FINISHED, NOTHING_MIGRATED = "run-is-writing", "run-not-finished", "nothing-migrated"
UNFINISHED = frozenset({RUN_IS_WRITING, RUN_NOT_FINISHED, NOTHING_MIGRATED})
"""The kinds of findings about a run that has not finished its target, or has not begun."""

LiveOf = Callable[[RunRecord], "MongoLive"]
"""Opens the live collection of a run, to check whether it refuses writes."""


def status(
    journal: RunJournal,
    locks: LockStore,
    live_of: LiveOf | None = None,
    *,
    target: str | None = None,
    old_of: Callable[[RunRecord], OldBookings | None] = lambda _run: None,
    exists: Exists | None = None,
    reach: Reach = lambda: None,
) -> Sequence[RunStatus]:
    """Return all runs, or those into one target, the newest first.

    Args:
        journal: has the runs.
        locks: which show whether the process of a run is alive.
        live_of: opens the live collection of a run; None: what the journal says about refused writes is reported unchecked.
        target: the target; None: every target.
        old_of: finds the old bookings in the collection that a run's cut-over made live.
        exists: returns whether a collection exists; asked of what a finalize drops, and of the target of a cut-over; None: neither is known.
        reach: returns both ends of the server's oplog; asked once, if a run is not followed any more.

    Raises:
        JournalTooNew: a newer version of the program wrote the journal.
        ConnectionProblem, NotPermitted: the journal cannot be read.
    """
    runs = journal.runs(target)
    held = {name: locks.look(name) for name in {run.target for run in runs}}
    newest: dict[str, str] = {}
    for run in runs:
        if run.state in IN_EFFECT:
            newest.setdefault(run.target, run.run_id)
    live = {run.target for run in runs if run.state in LIVE}
    now = journal.now() if any(run.control for run in runs) else datetime.now(UTC)
    reach = cache(reach)
    undoable = (
        _undoable_again(journal, exists)
        if exists is not None and any(run.state is RunState.FINALIZING for run in runs)
        else ()
    )
    return [
        _status(
            run,
            held[run.target],
            live_of,
            is_newest=newest.get(run.target) == run.run_id,
            # A cut-over has renamed its target, which only the run of the cut-over can undo now.
            is_renamed=run.state in {RunState.DONE, RunState.ROLLED_BACK, RunState.UNCHANGED}
            and run.target in live,
            old_bookings=old_of(run) if run.state is RunState.CUT_OVER else None,
            can_go_back=run.run_id in undoable,
            is_swapped=None
            if exists is None
            else run.state is RunState.CUTTING_OVER and not exists(run.target),
            now=now,
            reach=reach,
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
        if each.is_alive and run.state in WORKING - {RunState.PLANNED}:
            advice = "See its progress: booking-migrate status --watch"
            title = f"run that is writing to {target} at this moment"
            return Finding(RUN_IS_WRITING, title, 1, (run.run_id,), advice)
        if run.state in WORKING | RESUMABLE and run.state is not RunState.PLANNED:
            lacking = "What it has not written yet is missing."
            if run.state in {RunState.CUTTING_OVER, RunState.RESTORING}:
                refused = (
                    f", and {run.source} may refuse writes until it is continued" if run.fenced_at else ""
                )
                lacking = f"No process works on it{refused}."
            advice = f"{lacking} {each.possible[0]}"
            return Finding(RUN_NOT_FINISHED, "run that is not finished", 1, (run.run_id,), advice)
    return None


def file_status(run: RunRecord) -> RunStatus:
    """Return the status of the run that wrote a target file; of a process on another machine nothing is known."""
    is_here, is_open = run.host == gethostname(), run.state in WORKING
    is_alive = is_here and bool(birth_of(run.pid))
    back = [PossibleCommand(UNDO, f"booking-migrate rollback {shlex.join(['--target', run.target])}")]
    possible = [*possible_commands(run, is_newest=False), *(back if run.state is RunState.DONE else [])]
    return RunStatus(
        run=run,
        heard_at=run.heartbeat_at,
        is_alive=is_open and is_alive,
        is_stale=is_open and not is_alive,
        rate=None,
        refuses_writes_since=None,
        possible=() if is_open and is_alive else tuple(possible),
        has_ended=is_here and not is_alive,
    )


def _status(
    run: RunRecord,
    held: HeldLockView | None,
    live_of: LiveOf | None,
    *,
    is_newest: bool,
    is_renamed: bool,
    old_bookings: OldBookings | None,
    can_go_back: bool,
    is_swapped: bool | None,
    now: datetime,
    reach: Reach,
) -> RunStatus:
    is_followed = run.state is RunState.DONE and is_newest and _is_held_for(held, FOLLOW_COMMAND)
    is_kept = run.state is RunState.CUT_OVER and bool(run.window) and _is_held_for(held, WINDOW_COMMAND)
    is_open = run.state in WORKING or is_followed or is_kept
    is_alive = is_open and held is not None and held.is_live
    heard_at = max(run.heartbeat_at, held.heard_at) if is_open and held is not None else run.heartbeat_at
    # A verification or a cut-over of a finished run does not change its rate.
    seconds = ((run.written_at or run.heartbeat_at) - run.worked_from).total_seconds()
    back = (_instead_of_finalize(run),) if can_go_back else ()
    requests = in_force(run, commands_of(run, now, is_followed=is_followed))
    resume = _resume(run, requests, is_alive=is_alive or bool(running_beside(run, now)))
    fenced_at = _fenced_at(run, live_of)
    as_it_is = run.model_copy(update={"fenced_at": fenced_at})
    return RunStatus(
        run=run,
        heard_at=heard_at,
        is_alive=is_alive,
        is_stale=is_open and not is_alive and run.problem is None,
        rate=run.documents / seconds if run.documents and seconds > 0 else None,
        refuses_writes_since=fenced_at,
        requests=requests,
        possible=(
            *resume,
            *_possible(
                as_it_is,
                old_bookings,
                is_newest=is_newest,
                is_swapped=is_swapped,
                is_followed=is_followed,
                is_kept=is_kept,
            ),
            *back,
        )
        if is_followed or is_kept or not (is_alive or is_renamed)
        else resume,
        follow=follow_facts(run, is_followed=is_followed, reach=reach),
        window=window_facts(run, is_kept=is_kept, reach=reach),
        holder=str(held.holder) if is_alive and held is not None else None,
        old_bookings=old_bookings,
        is_swapped=bool(is_swapped),
        has_ended=held is None or held.has_ended,
    )


def _instead_of_finalize(run: RunRecord) -> PossibleCommand:
    undropped = "finalize has not dropped anything yet"
    if run.archive is not None:
        return PossibleCommand(f"Or undo the run instead: {undropped}", rollback_of(run))
    back = going_back(run)
    return back._replace(purpose=f"{back.purpose}; {undropped}")


def _resume(run: RunRecord, requests: Sequence[Request], *, is_alive: bool) -> tuple[PossibleCommand, ...]:
    """Return the command that ends a pause, if there is one."""
    if not any(each.setting is Setting.PAUSE for each in requests):
        return ()
    killed = "First end the pause, or the run is paused again when it is continued"
    return (PossibleCommand("End the pause" if is_alive else killed, resume_of(run.run_id)),)


def _undoable_again(journal: RunJournal, exists: Exists) -> Collection[str]:
    """Return the runs that a rollback may begin with although their finalize was begun: it has dropped nothing."""
    runs = journal.runs()
    newest: dict[str, str] = {}
    for run in runs:
        if run.state in NOT_ENDED:
            newest.setdefault(run.source, run.run_id)
    return [
        run.run_id
        for run in runs
        if run.run_id in newest.values() and before_finalize(run, runs, exists) is not run
    ]


def _is_held_for(held: HeldLockView | None, command: str) -> bool:
    return held is not None and held.is_live and held.holder.command == command


def _possible(
    run: RunRecord,
    old_bookings: OldBookings | None,
    *,
    is_newest: bool,
    is_swapped: bool | None,
    is_followed: bool,
    is_kept: bool,
) -> Iterator[PossibleCommand]:
    """Yield the commands that are possible for a run that no process works on, or only follows."""
    # A follower hands over to a cut-over only, and a window that is kept needs no other process to keep it.
    without = rollback_of(run) if is_followed else command_of(run, "cutover") if is_kept else None
    possible = possible_commands(run, is_newest=is_newest, is_swapped=is_swapped)
    yield from (each for each in possible if each.command != without)
    # A migration in place is refused as long as a process keeps the window.
    if old_bookings is not None and old_bookings.later and not is_kept:
        yield converting(run)


def _fenced_at(run: RunRecord, live_of: LiveOf | None) -> datetime | None:
    """Return since when writes are refused: the time recorded before the fence is raised, as long as the fence exists."""
    if run.fenced_at is None or live_of is None:
        return run.fenced_at
    settings = run.successor_settings if run.state is RunState.RESTORING else run.live_settings
    return run.fenced_at if live_of(run).refuses_writes(settings or "") else None


def refuse_other_mode(journal: RunJournal, locks: LockStore, source: str, *, in_place: bool) -> None:
    """Refuse to begin or continue a run while one of the other mode exists for the same bookings.

    After a cut-over the source holds client documents and cannot be migrated side by side again; the bookings that an old
    application writes into it can be migrated in place.

    Raises:
        OtherMode: a run of the other mode exists and has not been undone.
        TargetBusy: a process works on it.
        CutOverAlready: the source was cut over.
        UnfinishedRun: the end of its cut-over is not finished.
    """
    for run in journal.runs():
        if run.source != source or run.state not in NOT_ENDED:
            continue
        if run.archive is None and run.legacy is not None and run.state is RunState.FINALIZING:
            raise not_finished(run)
        if run.archive is None and run.state is RunState.CUT_OVER:
            if in_place:
                return
            raise CutOverAlready(
                run.run_id,
                source,
                run.legacy or "",
                f"{CONVERT_LATER}: {conversion_of(run)}",
                str(going_back(run)),
            )
        if (run.archive is not None) != in_place:
            held = locks.look(run.target)
            if held is not None and held.is_live:
                does = "migrates it in place" if run.archive is not None else f"reads it into {run.target}"
                raise TargetBusy(source, f"{held.holder}, which {does}", locks.lease_seconds)
            raise other_mode(run)


def cut_over_run(journal: RunJournal, source: str, target: str) -> RunRecord | None:
    """Return the run by whose cut-over a target became the live collection under its source's name; None if none did."""
    return next((run for run in journal.runs(target) if run.source == source and run.state in LIVE), None)


def other_mode(run: RunRecord) -> OtherMode:
    """Return the refusal that names a run of the other mode and the commands that are possible for it."""
    commands = possible_commands(run, is_newest=True)
    if run.state is RunState.DONE and run.archive is not None:
        commands = [PossibleCommand("Bring in what has changed", command_of(run, "migrate")), *commands]
    return OtherMode(
        run.run_id, run.source, run.archive is not None, in_words(run.state), [str(each) for each in commands]
    )


def not_finished(run: RunRecord) -> UnfinishedRun:
    """Return the refusal that names a run to be finished or undone first, and the commands that are possible for it."""
    commands = [str(each) for each in possible_commands(run, is_newest=True)]
    return UnfinishedRun(
        run.run_id,
        in_words(run.state),
        commands,
        "" if run.fenced_at is None else f"{run.source} has refused writes since {moment(run.fenced_at)}",
    )


def refuse_readers(collection: str, journal: RunJournal, locks: LockStore) -> None:
    """Refuse to move bookings away under a run that reads them into another collection.

    Raises:
        TargetBusy: such a run is active.
    """
    targets = {run.target for run in journal.runs() if run.source == collection and run.archive is None}
    for target in sorted(targets - {collection}):
        held = locks.look(target)
        if held is not None and held.is_live:
            raise TargetBusy(collection, f"{held.holder}, which reads it into {target}", locks.lease_seconds)
