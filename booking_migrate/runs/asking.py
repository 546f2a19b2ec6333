"""Sending requests to a running command from another process."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from booking_migrate.errors import (
    NoRun,
    NotControllable,
    NothingAtWork,
    RunEnded,
    SettingNotTaken,
    SeveralAtWork,
)
from booking_migrate.runs.commands import abort_of, command_of
from booking_migrate.runs.control import (
    MIGRATE,
    NUMBERS,
    TAKES,
    Request,
    Setting,
    commands_of,
    in_force,
    limits_given,
    requests_of,
    running_beside,
    worker_of,
)
from booking_migrate.runs.lock import FOLLOW_COMMAND
from booking_migrate.runs.states import UNFINISHED, in_words
from booking_migrate.runs.status import RunStatus, status
from booking_migrate.stores.journal import RunJournal, RunRecord, RunState
from booking_migrate.stores.locks import LockStore

Values = Mapping[Setting, float | bool | None]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A run, and the commands that are running for it, or would continue it, and accept requests."""

    run: RunRecord
    commands: Sequence[str]
    is_alive: bool
    """Whether one of them is running."""

    is_followed: bool = False
    """Whether a process is following the source of the run."""

    process: str = ""
    """The process that holds the lock of the run, for people; empty: none does."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The requests that were recorded, and all that are in effect."""

    chosen: Chosen
    changed: Sequence[Request]
    """Empty: all of them were in effect already."""

    holds: Sequence[Request]


def choose(
    journal: RunJournal, locks: LockStore, *, where: str, target: str | None, run_id: str | None, asked: str
) -> Chosen:
    """Return the run that a request is for: the one that is named, or the only one with a running command.

    Args:
        journal: has the runs.
        locks: which show whether the process of a run is alive.
        where: the database or target, for messages.
        target: the target of the run; None: any.
        run_id: the run; None: the only one with a running command, or the only unfinished one.
        asked: the command line, without the program's name.

    Raises:
        NoRun, NothingAtWork, SeveralAtWork: it does not exist, or is not the only one.
        NotControllable, RunEnded: its command does not accept requests, or has ended.
    """
    found = status(journal, locks, target=target)
    now = journal.now()
    if run_id is not None:
        named = next((each for each in found if each.run.run_id == run_id), None)
        if named is None:
            raise NoRun(f"run {run_id}")
        commands = commands_of(named.run, now, is_followed=_is_followed(named, locks))
        return _chosen(named, locks, commands, now)
    known = [(each, commands_of(each.run, now, is_followed=_is_followed(each, locks))) for each in found]
    running = [(each, commands) for each, commands in known if each.is_alive or running_beside(each.run, now)]
    candidates = running or [
        (each, commands) for each, commands in known if commands or each.run.state in UNFINISHED
    ]
    if not candidates:
        raise NothingAtWork(where, bool(found))
    if len(candidates) > 1:
        raise SeveralAtWork([each.run.run_id for each, _ in candidates], asked)
    each, commands = candidates[0]
    return _chosen(each, locks, commands, now)


def _is_followed(each: RunStatus, locks: LockStore) -> bool:
    return each.is_alive and each.run.state is RunState.DONE and _holder(each.run, locks) == FOLLOW_COMMAND


def _holder(run: RunRecord, locks: LockStore) -> str:
    held = locks.look(run.target)
    return "" if held is None or not held.is_live else held.holder.command


def _chosen(each: RunStatus, locks: LockStore, commands: Sequence[str], now: datetime) -> Chosen:
    run = each.run
    if commands:
        is_followed = each.is_alive and _holder(run, locks) == FOLLOW_COMMAND
        is_alive = each.is_alive or bool(running_beside(run, now))
        process = (each.holder or "").rpartition(" by ")[2]
        return Chosen(run, commands, is_alive, is_followed, process)
    paused = [request.command for request in in_force(run, tuple(TAKES)) if request.setting is Setting.PAUSE]
    if each.is_alive:
        command = _holder(run, locks)
        advice = "Wait until it has ended: booking-migrate status --watch"
        if run.state is RunState.CUTTING_OVER:
            advice = f"It refuses writes for a limited time only (--max-outage). To abort it: stop it with Ctrl-C, or {abort_of(run)}"
        raise NotControllable(run.run_id, command or in_words(run.state), advice)
    if paused:
        # Its command ended in another way while it was paused; the next one is not to be held back by that.
        return Chosen(run, paused, is_alive=False)
    raise RunEnded(run.run_id, in_words(run.state))


def ask(journal: RunJournal, chosen: Chosen, values: Values, by: str) -> Asked:
    """Record requests for the commands of a run that support them.

    Raises:
        SettingNotTaken: none of the commands supports one of the settings; nothing is recorded.
    """
    takers = {setting: _takers(chosen, setting, value) for setting, value in values.items()}
    changed = list[tuple[str, Setting]]()
    for setting, value in values.items():
        for command in takers[setting]:
            before = {each.setting: each.value for each in requests_of(chosen.run.control, command)}
            # A limit that was never requested may come from an option of the command, and ``none`` is to remove that.
            holds = before[setting] == value if setting in before else setting is Setting.PAUSE and not value
            if not holds:
                journal.ask(chosen.run.run_id, command, setting.value, {"value": value, "by": by})
                changed.append((command, setting))
    if values.get(Setting.PAUSE) is False:
        _end_handed_down(journal, chosen, by)
    control = journal.control(chosen.run.run_id)
    now = replace(chosen, run=chosen.run.model_copy(update={"control": control}))
    done = [each for command in chosen.commands for each in requests_of(control, command)]
    return Asked(
        now,
        [each for each in done if (each.command, each.setting) in changed],
        in_force(now.run, chosen.commands),
    )


def _end_handed_down(journal: RunJournal, chosen: Chosen, by: str) -> None:
    """End the pauses of other runs into the target: one of them may be followed next, if this one changes nothing."""
    for other in journal.runs(chosen.run.target):
        asked = in_force(other, [MIGRATE])
        if other.run_id != chosen.run.run_id and any(each.setting is Setting.PAUSE for each in asked):
            journal.ask(other.run_id, MIGRATE, Setting.PAUSE.value, {"value": False, "by": by})


def _takers(chosen: Chosen, setting: Setting, value: float | bool | None) -> Sequence[str]:
    taken = {command: _taken(chosen.run, command) for command in chosen.commands}
    takers = [command for command, settings in taken.items() if setting in settings]
    if not takers:
        everything = [each for each in Setting if any(each in settings for settings in taken.values())]
        raise SettingNotTaken(
            chosen.run.run_id,
            " and ".join(taken),
            setting.value,
            [each.value for each in everything],
            _continuation(chosen, setting, value),
        )
    return takers


def _continuation(chosen: Chosen, setting: Setting, value: float | bool | None) -> str:
    """Return how migrate is continued with another number of processes, which has no influence on the result."""
    if setting is not Setting.WORKERS or value is None or MIGRATE not in chosen.commands:
        return ""
    follow = " --follow" if chosen.is_followed else ""
    limits = _limits(chosen.run)
    command = f"{command_of(chosen.run, MIGRATE)}{follow} --workers {value:g}"
    alone = "It works in one process"
    differs = f"the number of processes may differ when a run is continued, and {limits}"
    if not chosen.is_alive:
        return f"{alone}. Continue it with another number; {differs}: {command}"
    whose = f" (it was started by {chosen.process})" if chosen.process else ""
    number = chosen.process.rpartition(" ")[2]
    elsewhere = f" Or, on that machine: kill -INT {number}" if number.isdigit() else ""
    return (
        f"{alone}, which cannot change while it runs. Stop it with Ctrl-C in its terminal{whose}; what was written is kept.{elsewhere}\n"
        f"Then continue it; {differs}: {command}"
    )


def _limits(run: RunRecord) -> str:
    """Return what holds for the limits of migrate when it is continued by `command_of`."""
    given = limits_given(run, MIGRATE)
    if given is None:
        return "you have to add --max-rate and --max-lag if you had given them"
    stays = [
        f"{each.setting.value} {each.value:g}" for each in in_force(run, [MIGRATE]) if each.setting in NUMBERS
    ]
    said = [f"--{name} is as before" for name in given] + [f"{each}, set by control, stays" for each in stays]
    return " and ".join(said) or "no limits are in force"


def _taken(run: RunRecord, command: str) -> Collection[Setting]:
    worker = worker_of(run.control, command)
    return TAKES[command] if worker is None else worker.takes
