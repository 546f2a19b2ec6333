"""Requests to a running command from another process: a pause, or a setting that applies from the next chunk.

A request is a value in the run's record, by command and setting, with the user and the time. It is never deleted, only
replaced. So it survives a kill: the same command, run again, is paused as before and says so, and any other command is not.
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
"""The commands that run without the lock of the target; so they record in the run that they are running."""

_WORKER = "worker"
"""The key beside the settings: the running process, and the settings that it supports."""

BEAT_SECONDS = 10.0
"""How often a process that holds no lock records that it is running."""

_SIGN_OF_LIFE_TIMEOUT = timedelta(seconds=60)
"""How long after its last record such a process counts as ended."""


class Setting(StrEnum):
    """What can be requested. The values are an API."""

    PAUSE = "pause"
    MAX_RATE = "max-rate"
    MAX_LAG = "max-lag"
    WORKERS = "workers"


@dataclass(frozen=True, slots=True)
class Number:
    """The valid numbers of a setting, and of the option of the same name."""

    unit: str
    """The unit, for messages."""

    least: int
    example: int
    most: int | None = None
    is_whole: bool = False
    """Whether only whole numbers are valid, and not ``none`` for no limit."""


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
"""The settings that each command supports from its start; `Regulator.offer` adds those that depend on its options."""


@dataclass(frozen=True, slots=True)
class Request:
    """A requested setting."""

    command: str
    setting: Setting
    value: float | bool | None
    """For `Setting.PAUSE` whether to pause; for the others a number, or None for no limit."""

    by: str
    """``user@host``."""

    at: datetime
    is_in_force: bool = field(default=False, compare=False)
    """For a pause: whether the process has recorded since the request that it is paused."""

    ignored: str = field(default="", compare=False)
    """Why the process ignores it; empty: it does not, or has not read it yet."""


@dataclass(frozen=True, slots=True)
class Worker:
    """The process that runs a command, or ran it last, as it has recorded itself."""

    pid: int
    birth: str
    takes: frozenset[Setting]
    """The settings that it supports."""

    at: datetime
    is_over: bool
    is_paused: bool = False
    """Whether it is paused."""

    ignored: Mapping[str, str] = field(default_factory=dict)
    """Why it ignores requested settings, by setting."""

    limits: Mapping[str, float] | None = None
    """The limits that it was started with, by setting; None: an earlier version has not recorded them."""

    def may_live(self, now: datetime) -> bool:
        """Return whether it may be running: it has not ended, and its last record is recent."""
        return (
            not self.is_over and now - self.at < _SIGN_OF_LIFE_TIMEOUT and not is_dead(self.pid, self.birth)
        )


def requests_of(control: Mapping[str, Any], command: str) -> Iterator[Request]:
    """Yield the requests to one command; settings of a newer version of the program are left out."""
    worker = worker_of(control, command)
    held_at = worker.at if worker is not None and worker.is_paused and not worker.is_over else None
    for name, asked in control.get(command, {}).items():
        if name in set(Setting):
            is_held = name == Setting.PAUSE and held_at is not None and held_at >= asked["at"]
            has_looked = worker is not None and not worker.is_over and worker.at >= asked["at"]
            ignored = worker.ignored.get(name, "") if worker is not None and has_looked else ""
            yield Request(command, Setting(name), asked["value"], asked["by"], asked["at"], is_held, ignored)


def worker_of(control: Mapping[str, Any], command: str) -> Worker | None:
    """Return the process that runs a command, or ran it last; None: it has not recorded itself."""
    there = control.get(command, {}).get(_WORKER)
    if there is None:
        return None
    takes = frozenset(Setting(name) for name in there["takes"] if name in set(Setting))
    is_paused = there.get("paused", False)
    ignored = there.get("ignored", {})
    limits = there.get("limits")
    return Worker(there["pid"], there["birth"], takes, there["at"], there["over"], is_paused, ignored, limits)


def worker_record(
    pid: int,
    birth: str,
    takes: Sequence[Setting],
    *,
    over: bool,
    paused: bool,
    ignored: Mapping[str, str],
    limits: Mapping[str, float],
) -> tuple[str, Mapping[str, Any]]:
    """Return name and value under which a process records itself."""
    named = [each.value for each in takes]
    there = {"pid": pid, "birth": birth, "takes": named, "over": over, "paused": paused}
    return _WORKER, {**there, "ignored": dict(ignored), "limits": dict(limits)}


def handed_down(control: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the requests that a run inherits when it continues to follow for another one: those to `migrate`, without its process."""
    asked = {name: value for name, value in control.get(MIGRATE, {}).items() if name in set(Setting)}
    return {MIGRATE: asked} if asked else {}


def commands_of(run: RunRecord, now: datetime, *, is_followed: bool) -> Sequence[str]:
    """Return the commands that are running for a run, or would continue it, and that accept requests."""
    beside = running_beside(run, now)
    unfinished = _unfinished_of_references(run)
    if unfinished is not None and unfinished not in beside:
        beside = [*beside, unfinished]
    if is_followed or run.state in RESUMABLE:
        return [MIGRATE, *beside]
    return [ROLLBACK, *beside] if run.state is RunState.ROLLING_BACK else beside


def running_beside(run: RunRecord, now: datetime) -> Sequence[str]:
    """Return the commands that are running without the lock of the run's target."""
    workers = ((command, worker_of(run.control, command)) for command in _BESIDE)
    return [command for command, worker in workers if worker is not None and worker.may_live(now)]


def _unfinished_of_references(run: RunRecord) -> str | None:
    """Return the last command that wrote references of a run, unless it has completed."""
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


def limits_given(run: RunRecord, command: str) -> Mapping[str, float] | None:
    """Return the limits that a command was started with and that nothing else was asked for since; None: not recorded."""
    worker = worker_of(run.control, command)
    if worker is None or worker.limits is None:
        return None
    asked = {each.setting.value for each in requests_of(run.control, command)}
    return {name: limit for name, limit in worker.limits.items() if name not in asked}


def in_force(run: RunRecord, commands: Sequence[str]) -> Sequence[Request]:
    """Return the requests to some commands that have an effect."""
    asked = [request for command in commands for request in requests_of(run.control, command)]
    return [each for each in asked if each.value is not None and each.value is not False]
