"""What other processes ask of a command that works on a run: a pause, or another setting from the next chunk on.

A request is a value in the run's record, by command and setting, with who asked and when. It is never deleted, only asked
otherwise. So it survives a kill: the same command, run again, is paused as before and says so, and any other command is not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from booking_migrate.runs.states import RESUMABLE
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.locks import is_dead

MIGRATE, VERIFY, ROLLBACK = "migrate", "verify", "rollback"
REWRITE, RESTORE = "references rewrite", "rollback --references"
"""The commands that write references to the ids of a run, or to its old ones again."""

_BESIDE = (VERIFY, REWRITE, RESTORE)
"""The commands that work for a run without the lock of its target; so they record that they are running."""

_WORKER = "worker"
"""The key beside the settings: the process that works, and what it takes."""

BEAT_SECONDS = 10.0
"""How often a process that holds no lock records that it is running."""

_SIGN_OF_LIFE_TIMEOUT = timedelta(seconds=60)
"""After what time without a record of such a process it counts as ended."""


class Setting(StrEnum):
    """What can be asked. The values are an API."""

    PAUSE = "pause"
    MAX_RATE = "max-rate"
    MAX_LAG = "max-lag"
    WORKERS = "workers"


@dataclass(frozen=True, slots=True)
class Number:
    """Which numbers a setting may have, and the option of the same name."""

    unit: str
    """What it counts."""

    least: int
    example: int
    most: int | None = None
    is_whole: bool = False
    """Whether only whole numbers make sense, of which none, for no limit, is not one."""


NUMBERS: Mapping[Setting, Number] = {
    Setting.MAX_RATE: Number("bookings per second", 1, example=2000),
    Setting.MAX_LAG: Number("seconds that a secondary may be behind", 0, example=10),
    Setting.WORKERS: Number("processes", 1, most=64, example=4, is_whole=True),
}
"""The settings that are numbers."""

TAKES: Mapping[str, Sequence[Setting]] = {
    MIGRATE: (Setting.PAUSE, Setting.MAX_RATE, Setting.MAX_LAG),
    VERIFY: (Setting.PAUSE, Setting.MAX_RATE),
    ROLLBACK: (Setting.PAUSE, Setting.MAX_LAG),
    REWRITE: (Setting.PAUSE, Setting.MAX_RATE, Setting.MAX_LAG),
    RESTORE: (Setting.PAUSE, Setting.MAX_RATE, Setting.MAX_LAG),
}
"""What can be asked of each command from its beginning on; `Regulator.offer` adds what depends on how it works."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that was asked."""

    command: str
    setting: Setting
    value: float | bool | None
    """Of `Setting.PAUSE` whether to pause; of the others None for no limit."""

    by: str
    """``user@host``."""

    at: datetime
    is_in_force: bool = field(default=False, compare=False)
    """Of a pause: whether the process that works, or did last, has recorded since that it is held by it."""

    ignored: str = field(default="", compare=False)
    """Why the process that works, or did last, does not do it; empty: it does, or has not looked yet."""


@dataclass(frozen=True, slots=True)
class Worker:
    """The process that works on a run, or did last, as it has recorded itself."""

    pid: int
    birth: str
    takes: frozenset[Setting]
    """What can be asked of it."""

    at: datetime
    is_over: bool
    is_paused: bool = False
    """Whether it is held by a pause."""

    ignored: Mapping[str, str] = field(default_factory=dict)
    """Why it ignores settings that were asked for, by setting."""

    def may_live(self, now: datetime) -> bool:
        """Return whether it may be running: it has not ended, and has recorded itself lately."""
        return (
            not self.is_over and now - self.at < _SIGN_OF_LIFE_TIMEOUT and not is_dead(self.pid, self.birth)
        )


def requests_of(control: Mapping[str, Any], command: str) -> Iterator[Request]:
    """Yield what is asked of one command; what a newer version of the program knows is left out."""
    worker = worker_of(control, command)
    held_at = worker.at if worker is not None and worker.is_paused and not worker.is_over else None
    for name, asked in control.get(command, {}).items():
        if name in set(Setting):
            is_held = name == Setting.PAUSE and held_at is not None and held_at >= asked["at"]
            has_looked = worker is not None and not worker.is_over and worker.at >= asked["at"]
            ignored = worker.ignored.get(name, "") if worker is not None and has_looked else ""
            yield Request(command, Setting(name), asked["value"], asked["by"], asked["at"], is_held, ignored)


def worker_of(control: Mapping[str, Any], command: str) -> Worker | None:
    """Return the process that works for a command, or did last; None: it has not recorded itself."""
    there = control.get(command, {}).get(_WORKER)
    if there is None:
        return None
    takes = frozenset(Setting(name) for name in there["takes"] if name in set(Setting))
    is_paused = there.get("paused", False)
    ignored = there.get("ignored", {})
    return Worker(there["pid"], there["birth"], takes, there["at"], there["over"], is_paused, ignored)


def worker_record(
    pid: int,
    birth: str,
    takes: Sequence[Setting],
    *,
    over: bool,
    paused: bool,
    ignored: Mapping[str, str],
) -> tuple[str, Mapping[str, Any]]:
    """Return name and value under which a process records itself."""
    named = [each.value for each in takes]
    there = {"pid": pid, "birth": birth, "takes": named, "over": over, "paused": paused}
    return _WORKER, {**there, "ignored": dict(ignored)}


def handed_down(control: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a run takes over that continues following another one: what is asked of `migrate`, without who works on it."""
    asked = {name: value for name, value in control.get(MIGRATE, {}).items() if name in set(Setting)}
    return {MIGRATE: asked} if asked else {}


def commands_of(run: RunRecord, now: datetime, *, is_followed: bool) -> Sequence[str]:
    """Return the commands that work on a run, or continue it, and that can be asked something.

    Args:
        run: the run.
        now: the time by the journal's clock.
        is_followed: whether a process follows its source.
    """
    beside = at_work_beside(run, now)
    unfinished = _unfinished_of_references(run)
    if unfinished is not None and unfinished not in beside:
        beside = [*beside, unfinished]
    if is_followed or run.state in RESUMABLE:
        return [MIGRATE, *beside]
    return [ROLLBACK, *beside] if run.state is RunState.ROLLING_BACK else beside


def at_work_beside(run: RunRecord, now: datetime) -> Sequence[str]:
    """Return the commands that are running for a run without the lock of its target."""
    workers = ((command, worker_of(run.control, command)) for command in _BESIDE)
    return [command for command, worker in workers if worker is not None and worker.may_live(now)]


def _unfinished_of_references(run: RunRecord) -> str | None:
    """Return the command that was the last one to write references of a run, unless that has completed."""
    workers = [
        (worker.at, command, worker)
        for command in (REWRITE, RESTORE)
        for worker in [worker_of(run.control, command)]
        if worker is not None
    ]
    if not workers:
        return None
    _at, command, worker = max(workers, key=lambda each: each[0])
    return None if worker.is_over else command


def in_force(run: RunRecord, commands: Sequence[str]) -> Sequence[Request]:
    """Return what is asked of some commands and makes a difference."""
    asked = [request for command in commands for request in requests_of(run.control, command)]
    return [each for each in asked if each.value is not None and each.value is not False]
