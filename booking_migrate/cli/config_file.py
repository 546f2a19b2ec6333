"""The config file: TOML whose keys are the options' names with underscores, ``[contract]``, ``[hooks]``, ``[[references]]``.

Keys at the top are for all commands that have such an option, those in a table named as a command for that command
alone. Paths in it are relative to the folder in which the command runs. Values rank below options and environment.

Hooks are commands of the user's that run before or after a step. A hook is split into words as a shell would (`shlex`), and
run without one. It has the user's environment and the facts of the run in it, the JSON report on its standard input, and
standard error for everything that it says.
"""

import os
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import typer
from pydantic import ValidationError

from booking_migrate.cli.config_values import (
    contract_problem,
    line_in,
    line_of,
    near,
    problem_of,
    syntax_problem,
)
from booking_migrate.cli.signals import signals_deferred
from booking_migrate.cli.usage import commands_of
from booking_migrate.domain.contract import Contract
from booking_migrate.errors import BadConfiguration, HookFailed, StoppedByHook
from booking_migrate.reports.model import Report, render_json

_NOT_IN_FILE = frozenset({"config", "help"})
_STANDARD_ERROR = 2
_ADVICE = "A key is an option's name with underscores; --help of a command lists its options."
_SECONDS_TO_END = 10
"""How many seconds a hook has to end after SIGTERM."""

Redact = Callable[[str], str]
Table = Mapping[str, Any]


class OwnTable(StrEnum):
    """The tables that are not a command's: the code that needs one reads it from `ConfigFile.tables`."""

    heading: str

    CONTRACT = "contract", "[contract]"
    HOOKS = "hooks", "[hooks]"
    REFERENCES = "references", "[[references]]"

    def __new__(cls, name: str, heading: str) -> Self:
        """Make a name that knows its heading."""
        member = str.__new__(cls, name)
        member._value_, member.heading = name, heading
        return member

    @property
    def kind(self) -> type[dict[str, Any]] | type[list[Any]]:
        """Return what TOML makes of it: there may be several tables of a heading with two brackets."""
        return list if self.heading.startswith("[[") else dict


class HookName(StrEnum):
    """When a hook runs. The values are the keys of the config file."""

    BEFORE_CUTOVER = "before_cutover"
    AFTER_MIGRATE = "after_migrate"
    AFTER_VERIFY = "after_verify"
    AFTER_CUTOVER = "after_cutover"
    AFTER_ROLLBACK = "after_rollback"
    ON_FAILURE = "on_failure"


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks that a config file names."""

    commands: Mapping[HookName, Sequence[str]] = field(default_factory=dict)
    """The words of each one's command."""

    config: str = ""
    """The file that names them."""

    def run_before(self, report: Report, redact: Redact) -> None:
        """Run the hook before a step, if there is one.

        Raises:
            StoppedByHook: it failed, so the step must not be taken.
        """
        name = HookName(f"before_{report.command}")
        problem = self._run(name, report, redact, {})
        if problem is not None:
            command = redact(shlex.join(self.commands[name]))
            raise StoppedByHook(name, problem, command, redact(self.config))

    def run_after(self, report: Report, redact: Redact) -> None:
        """Run the hook after a step, if there is one.

        Raises:
            HookFailed: it failed; the step is done all the same.
        """
        name = f"after_{report.command}"
        if name not in set(HookName):
            return
        problem = self._run(HookName(name), report, redact, {"EXIT_CODE": str(int(report.exit_code))})
        if problem is not None:
            raise HookFailed(report.command, name, problem)

    def run_on_failure(self, report: Report, redact: Redact) -> str | None:
        """Run the hook for a command that was refused, failed or found mismatches; return what went wrong with the hook."""
        return self._run(HookName.ON_FAILURE, report, redact, {"EXIT_CODE": str(int(report.exit_code))})

    def _run(self, name: HookName, report: Report, redact: Redact, more: Mapping[str, str]) -> str | None:
        """Run a hook to its end; return what went wrong, None if nothing did."""
        command = self.commands.get(name)
        if command is None:
            return None
        facts = {
            "HOOK": name.value,
            "COMMAND": report.command,
            "RUN_ID": report.run_id,
            "SOURCE": redact(report.source),
            "TARGET": redact(report.target),
            **more,
        }
        environment = {**os.environ, **{f"BOOKING_MIGRATE_{key}": value for key, value in facts.items()}}
        sys.stderr.flush()
        process: subprocess.Popen[bytes] | None = None
        try:
            # A hook may be running before `Popen` returns: a signal in between would leave it without anything to end it.
            with signals_deferred():
                # Standard output is the program's own: with --json it is one report.
                process = subprocess.Popen(  # noqa: S603 - it is the user's own command
                    command, env=environment, stdin=subprocess.PIPE, stdout=_STANDARD_ERROR
                )
            # A hook that does not read is not a problem: the pipe it closes is not written any further.
            process.communicate(render_json(report).encode())
        except BaseException as error:
            if process is not None:
                _end(process)
            elif isinstance(error, OSError):
                return f"{command[0]} cannot be run ({error.strerror})"
            raise
        return _bad_ending(process.returncode)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a hook to end, and end it if it does not."""
    process.terminate()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _bad_ending(code: int) -> str | None:
    if code >= 0:
        return f"exit code {code}" if code else None
    return f"ended by {signal.Signals(-code).name}"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A config file that was read; the values of its options are in the context's ``default_map``."""

    path: Path
    text: str
    tables: Mapping[OwnTable, Any]
    """As they are written, and empty if they are not."""

    hooks: Hooks
    own: frozenset[str] = frozenset()
    """The parameters whose values come from the command's own table, which other commands do not read."""

    def problem(self, problem: str, *key: str, advice: str = "") -> BadConfiguration:
        """Return the error about a key, with its line."""
        return _problem(self.path, problem, line_of(self.text, *key), advice)

    def problem_in(
        self, table: str, number: int, problem: str, key: str = "", *, advice: str = ""
    ) -> BadConfiguration:
        """Return the error about a key of one of several tables of a name, counted from 0, with its line."""
        return _problem(self.path, problem, line_in(self.text, table, number, key), advice)


def read_config_option(ctx: typer.Context, path: Path | None) -> Path | None:
    """Read the config file as soon as ``--config`` is parsed, so that the other options take their defaults from it.

    A problem is kept for `hooks_of`: raised there, it appears in the JSON report like any other.
    """
    if path is not None and not ctx.resilient_parsing:
        try:
            ctx.default_map, ctx.obj = _load(path, ctx)
        except BadConfiguration as problem:
            ctx.obj = problem
    return path


def config_path(ctx: typer.Context) -> str | None:
    """Return where the config file is, so that it is found from any folder; None without one."""
    return str(ctx.obj.path.absolute()) if isinstance(ctx.obj, ConfigFile) else None


def hooks_of(ctx: typer.Context) -> Hooks:
    """Return the hooks that the config file names; none without one.

    Raises:
        BadConfiguration: the config file cannot be read or has a value that is not valid.
    """
    file = file_of(ctx)
    return Hooks() if file is None else file.hooks


def contract_of(ctx: typer.Context) -> Contract:
    """Return the contract with the new application: the default one, as far as the config file does not change it.

    Raises:
        BadConfiguration: the config file cannot be read or has a value that is not valid.
    """
    file = file_of(ctx)
    if file is None:
        return Contract()
    name, table = OwnTable.CONTRACT, file.tables[OwnTable.CONTRACT]
    for key in table:
        if key not in Contract.model_fields:
            meant = near(key, Contract.model_fields)
            advice = f"Did you mean {meant}?" if meant else f"It takes: {', '.join(Contract.model_fields)}."
            raise file.problem(f"{name.heading} {key} is not known", name, key, advice=advice)
    try:
        return Contract.model_validate(table)
    except ValidationError as error:
        key = str(error.errors(include_url=False)[0]["loc"][0])
        raise file.problem(f"{name.heading} {contract_problem(key, table[key])}", name, key) from error


def file_of(ctx: typer.Context) -> ConfigFile | None:
    """Return the config file; None without one.

    Raises:
        BadConfiguration: it cannot be read or has a value that is not valid.
    """
    if isinstance(ctx.obj, BadConfiguration):
        raise ctx.obj
    return ctx.obj if isinstance(ctx.obj, ConfigFile) else None


def _load(path: Path, ctx: typer.Context) -> tuple[dict[str, Any], ConfigFile]:
    """Return the options' values by the names of the command's parameters, and the rest of the file."""
    text, content = _read(path)
    tables: dict[OwnTable, Any] = {name: content.pop(name, name.kind()) for name in OwnTable}
    file = ConfigFile(path, text, tables, Hooks())
    for name, table in tables.items():
        _check_table(file, name, table)
    commands = commands_of(ctx)
    own = content.pop(ctx.command.name or "", {})
    others = {name: content.pop(name) for name in commands if name in content}
    for command, table in {**others, ctx.command.name or "": own}.items():
        _check_table(file, command, table)
        _check_keys(file, table, set(_parameters(commands.get(command, ctx.command))), commands, command)
    parameters = _parameters(ctx.command)
    if not parameters.keys() >= content.keys():
        # Only now, because it imports every command.
        known = {key for command in commands.values() for key in _parameters(command)}
        _check_keys(file, content, known, commands)
    values = {}
    names = frozenset(parameters[key].name for key in own)
    for table, where in ((content, ()), (own, (ctx.command.name or "",))):
        for key, value in table.items():
            if key not in parameters:
                continue
            if problem := problem_of(ctx, key, value, parameters[key]):
                raise file.problem(problem, *where, key)
            values[parameters[key].name] = value
    return values, replace(file, hooks=_hooks(file), own=names)


def _check_table(file: ConfigFile, name: str, table: object) -> None:
    """Refuse what is not a table where one belongs, or a single one where there may be several."""
    if isinstance(name, OwnTable) and name.kind is list:
        if not isinstance(table, list):
            advice = f"Write {name.heading} with two brackets: there is one such table for each field."
            raise file.problem(f"{name} is not a list of tables", name, advice=advice)
    elif not isinstance(table, dict):
        advice = f"Write [{name}] on a line of its own, and its keys below."
        raise file.problem(f"{name} is not a table", name, advice=advice)


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadConfiguration(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadConfiguration(str(path), "is not valid TOML: it is not UTF-8 text") from error
    try:
        return text, tomllib.loads(text)
    except ValueError as error:
        raise syntax_problem(str(path), text, str(error)) from error


def _parameters(command: Any) -> dict[str, Any]:
    """Return a command's options by their keys in the file: ``batch_size`` for ``--batch-size``."""
    keys = {parameter.opts[0].removeprefix("--").replace("-", "_"): parameter for parameter in command.params}
    return {key: parameter for key, parameter in keys.items() if key not in _NOT_IN_FILE}


def _check_keys(
    file: ConfigFile, table: Table, known: set[str], commands: Mapping[str, Any], name: str = ""
) -> None:
    """Refuse keys that nothing reads; those of the table of a command, or of the file's top if it has no name."""
    for key in table:
        if key in known:
            continue
        having = [each for each, command in commands.items() if name and key in _parameters(command)]
        meant = near(key, known if name else {*known, *commands, *OwnTable})
        if having or not meant:
            advice = f"It is an option of {', '.join(having)}: put it there." if having else _ADVICE
        elif meant in known:
            advice = f"Did you mean {meant}?"
        else:
            heading = next((each.heading for each in OwnTable if each == meant), f"[{meant}]")
            advice = f"Did you mean {heading}?"
        path = (name, key) if name else (key,)
        where = f"[{name}] " if name else ""
        what = "a table" if not name and isinstance(table[key], dict) else "an option"
        raise file.problem(f"{where}{key} is not {what}", *path, advice=advice)


def _hooks(file: ConfigFile) -> Hooks:
    """Read the hooks of the table ``[hooks]``.

    Raises:
        BadConfiguration: one of them is not a hook.
    """
    commands = {}
    for key, text in file.tables[OwnTable.HOOKS].items():
        if key not in set(HookName):
            meant = near(key, HookName)
            advice = f"Did you mean {meant}?" if meant else f"Those are: {', '.join(HookName)}."
            raise file.problem(f"[hooks] {key} is not a hook", OwnTable.HOOKS, key, advice=advice)
        commands[HookName(key)] = _words(file, key, text)
    return Hooks(commands, str(file.path))


def _words(file: ConfigFile, key: str, text: Any) -> Sequence[str]:
    if not isinstance(text, str):
        advice = f'A hook is one command in quotes: {key} = "./notify.sh now"'
        raise file.problem(f"[hooks] {key} is not a string", OwnTable.HOOKS, key, advice=advice)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise file.problem(f"[hooks] {key}: {str(error).lower()}", OwnTable.HOOKS, key) from error
    if not words or "\0" in text:
        raise file.problem(f"[hooks] {key} is not a command", OwnTable.HOOKS, key)
    return words


def _problem(path: Path, problem: str, line: int | None, advice: str) -> BadConfiguration:
    return BadConfiguration(str(path) if line is None else f"{path}, line {line}", problem, advice)
