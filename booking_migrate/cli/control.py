"""The command ``control``: pause, resume, or change a running command from another terminal."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, NamedTuple

import typer

from booking_migrate.cli import run
from booking_migrate.cli.open import current_process
from booking_migrate.cli.options import ConnectionOptions, OutputOptions, RunOptions
from booking_migrate.errors import BadSetting, UnusablePlace
from booking_migrate.quantities import alternatives
from booking_migrate.reports.control import report_of_control
from booking_migrate.reports.model import Report
from booking_migrate.runs.asking import Values, ask, choose
from booking_migrate.runs.control import NUMBERS, Setting
from booking_migrate.stores.connection import open_journal
from booking_migrate.stores.places import CollectionPlace, parse_place

HELP = f"""
It acts on migrate (also with --follow and --in-place), verify, rollback, references rewrite and rollback --references, from
their next chunk on. The command that is running says it, status shows it with who asked and since when, and its lock is kept. Meant is the only run that is worked on,
or that of --run.

A SETTING is {alternatives([f"{name}=N ({number.unit})" for name, number in NUMBERS.items()])}; none in place of N removes a
limit. One that does not apply to the command is refused.

What is asked stays with the run: a paused command that is killed and run again is paused still, and says so. Another command
for the same run, such as rollback, is not. While migrate --follow is paused, what the application changes is kept; a cut-over
takes over at once. A cut-over cannot be paused.

\b
[bold]Examples[/bold]
  Before the evening's peak, and after it:
    MONGODB_URI=mongodb://localhost booking-migrate control pause --db shop
    booking-migrate control resume --db shop
  Slower from now on, and never with secondaries that are 10 s behind:
    booking-migrate control set max-rate=2000 max-lag=10 --db shop
  Without a limit again:
    booking-migrate control set max-rate=none --run 20261123T151100Z-ab12cd
"""

_NONE = "none"
_SET = "booking-migrate control set"


class _Fault(NamedTuple):
    """What is wrong with a setting."""

    problem: str
    advice: str


class Action(StrEnum):
    """What is asked."""

    PAUSE = "pause"
    RESUME = "resume"
    SET = "set"


def control(
    ctx: typer.Context,
    action: Annotated[Action, typer.Argument(help="What to ask.", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SETTING=N]...", help="With set: what to change.", show_default=False),
    ] = None,
    *,
    chosen: RunOptions,
    connection: ConnectionOptions,
    output: OutputOptions,
) -> None:
    def body(context: run.RunContext) -> Report:
        values = _values(action, settings or ())
        if chosen.target is not None and not isinstance(parse_place(chosen.target), CollectionPlace):
            raise UnusablePlace(
                chosen.target, "a run into a file cannot be controlled", "Stop it with Ctrl-C instead."
            )
        with connection.open() as opened:
            journal, locks, _ = open_journal(opened)
            where = chosen.target or str(context.asked.server.get("database") or "this database")
            asked = " ".join(("control", action.value, *(settings or ())))
            found = choose(
                journal, locks, where=where, target=chosen.target, run_id=chosen.run_id, asked=asked
            )
            process = current_process("control", context.run_id)
            done = ask(journal, found, values, f"{process.user}@{process.host}")
        return report_of_control(
            done, pauses=None if action is Action.SET else action is Action.PAUSE, seconds=context.seconds
        )

    run.execute(run.Invocation(ctx, output, connection.uri, target=chosen.target or ""), body)


def _values(action: Action, settings: Sequence[str]) -> Values:
    """Return what is asked, by setting.

    Raises:
        BadSetting: a setting or its value cannot be used.
    """
    match action:
        case Action.SET:
            pass
        case Action.PAUSE | Action.RESUME:
            if settings:
                advice = f"To change settings: booking-migrate control set {' '.join(settings)}"
                raise BadSetting("control", f"{action} takes no settings: {' '.join(settings)}", advice)
            return {Setting.PAUSE: action is Action.PAUSE}
    if not settings:
        advice = f"Name what to change: {_named_settings()}. Such as: {_SET} {_example(Setting.MAX_RATE)}"
        raise BadSetting("control set", "no setting is named", advice)
    if faults := [fault for text in settings for fault in _faults(text)]:
        problems = "; ".join(dict.fromkeys(fault.problem for fault in faults))
        *others, last = dict.fromkeys(fault.advice for fault in faults)
        corrected = " ".join(dict.fromkeys(map(_corrected, settings)))
        advice = "\n".join([*others, f"{last} Such as: {_SET} {corrected}"])
        sound = [text for text in settings if not any(_faults(text))]
        raise BadSetting("control set", problems, advice, sound=sound)
    return {setting: _number(value) for setting, _, value in map(_parts, settings) if setting is not None}


def _named_settings() -> str:
    return ", ".join(f"{setting.value} ({number.unit})" for setting, number in NUMBERS.items())


def _example(setting: Setting) -> str:
    return f"{setting.value}={NUMBERS[setting].example}"


def _parts(text: str) -> tuple[Setting | None, str, str]:
    """Return the setting that is meant, None if that is not clear, and name and value as typed."""
    name, _, value = text.partition("=")
    near = get_close_matches(name.lower().replace("_", "-"), [each.value for each in NUMBERS], n=1)
    return Setting(near[0]) if near else None, name, value


def _number(value: str) -> float | None:
    return None if value == _NONE else float(value)


def _is_allowed(setting: Setting, value: str) -> bool:
    allowed = NUMBERS[setting]
    if value == _NONE:
        return not allowed.is_whole
    try:
        number = float(value)
    except ValueError:
        return False
    most = float("inf") if allowed.most is None else allowed.most
    # What is not a number fails every comparison.
    is_within = allowed.least <= number <= most and number < float("inf")
    return is_within and (not allowed.is_whole or number == int(number))


def _faults(text: str) -> Iterator[_Fault]:
    """Yield what is wrong with a setting: its name, its value, or both."""
    setting, name, value = _parts(text)
    if setting is None or setting.value != name:
        meant = "" if setting is None else f"Did you mean {setting.value}? "
        yield _Fault(f"unknown setting {name!r}", f"{meant}Settings are {_named_settings()}.")
    if setting is not None and not _is_allowed(setting, value):
        allowed = NUMBERS[setting]
        span = (
            f"of at least {allowed.least}"
            if allowed.most is None
            else f"from {allowed.least} to {allowed.most}"
        )
        numbers = (
            f"a whole number {span}"
            if allowed.is_whole
            else f"a number {span}, or the word {_NONE} (no limit)"
        )
        yield _Fault(
            f"{setting.value} cannot be {value!r}",
            f"For {setting.value} ({allowed.unit}), use {numbers}.",
        )


def _corrected(text: str) -> str:
    """Return a setting as it may be meant, with a usual value if its own is wrong."""
    setting, _, value = _parts(text)
    if setting is None or not _is_allowed(setting, value):
        return _example(setting or Setting.MAX_RATE)
    return f"{setting.value}={value}"
