"""Hooks: commands of the user's that run before or after a step, named in the config file's table ``[hooks]``.

A hook is split into words as a shell would (`shlex`), and run without one. It has the user's environment and the facts of
the run in it, the JSON report on its standard input, and standard error for everything that it says.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from booking_migrate.errors import BadConfiguration, HookFailed, StoppedByHook
from booking_migrate.reports.model import Report, render_json

Redact = Callable[[str], str]

_STANDARD_ERROR = 2
_PATIENCE = 10
"""How many seconds a hook has to end after SIGTERM."""


class HookName(StrEnum):
    """When a hook runs. The values are the keys of the config file."""

    BEFORE_CUTOVER = "before_cutover"
    AFTER_MIGRATE = "after_migrate"
    AFTER_VERIFY = "after_verify"
    AFTER_CUTOVER = "after_cutover"
    AFTER_ROLLBACK = "after_rollback"


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks that a config file names."""

    commands: Mapping[HookName, Sequence[str]] = field(default_factory=dict)
    """The words of each one's command."""

    def run_before(self, report: Report, redact: Redact) -> None:
        """Run the hook before a step, if there is one.

        Args:
            report: what is about to be done, with the name of the command.
            redact: takes secrets out of a text.

        Raises:
            StoppedByHook: it failed, so the step must not be taken.
        """
        name = HookName(f"before_{report.command}")
        problem = self._run(name, report, redact, {})
        if problem is not None:
            raise StoppedByHook(name, problem)

    def run_after(self, report: Report, redact: Redact) -> None:
        """Run the hook after a step, if there is one.

        Args:
            report: the result of the step.
            redact: takes secrets out of a text.

        Raises:
            HookFailed: it failed; the step is done all the same.
        """
        name = f"after_{report.command}"
        if name not in set(HookName):
            return
        problem = self._run(HookName(name), report, redact, {"EXIT_CODE": str(int(report.exit_code))})
        if problem is not None:
            raise HookFailed(report.command, name, problem)

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
        try:
            # Standard output is the program's own: with --json it is one report.
            process = subprocess.Popen(  # noqa: S603 - it is the user's own command
                command, env=environment, stdin=subprocess.PIPE, stdout=_STANDARD_ERROR
            )
        except OSError as error:
            return f"{command[0]} cannot be run ({error.strerror})"
        try:
            # A hook that does not read is not a problem: the pipe it closes is not written any further.
            process.communicate(render_json(report).encode())
        except BaseException:
            _end(process)
            raise
        return _problem(process.returncode)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a hook to end, and end it if it does not."""
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _problem(code: int) -> str | None:
    if code >= 0:
        return f"exit code {code}" if code else None
    return f"ended by {signal.Signals(-code).name}"


def read_hooks(path: str, table: Any) -> Hooks:
    """Read the hooks of a config file's table ``[hooks]``.

    Args:
        path: the config file.
        table: its content.

    Raises:
        BadConfiguration: it is not a table of hooks.
    """
    if not isinstance(table, dict):
        raise BadConfiguration(path, "hooks is not a table")
    commands = {}
    for key, text in table.items():
        if key not in set(HookName):
            raise BadConfiguration(path, f"[hooks] {key} is not a hook; those are: {', '.join(HookName)}")
        commands[HookName(key)] = _words(path, key, text)
    return Hooks(commands)


def _words(path: str, key: str, text: Any) -> Sequence[str]:
    if not isinstance(text, str):
        raise BadConfiguration(path, f"[hooks] {key} is not a string")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadConfiguration(path, f"[hooks] {key}: {str(error).lower()}") from error
    if not words or "\0" in text:
        raise BadConfiguration(path, f"[hooks] {key} is not a command")
    return words
