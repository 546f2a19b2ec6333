"""Usage errors: what is wrong with the command line or a variable, also as a JSON report, which ``--json`` promises."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import typer

_SWITCH = "--json"
_VARIABLE = "BOOKING_MIGRATE_JSON"
_ON = frozenset({"1", "true", "t", "yes", "y", "on"})
_STREAM = "-"
PREFIX = "BOOKING_MIGRATE_"
_OF_LIBRARY = "Input should be "
"""What a message begins with that the library words, and not the program."""

_OTHERS = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "HOOK",
        "COMMAND",
        "RUN_ID",
        "EXIT_CODE",
        "JWT_KEY",
        "JWT_ALGORITHM",
        "JWT_AUDIENCE",
        "JWT_ISSUER",
    )
)
"""The variables that are not options: those that hooks get, and those of the service."""


def refuse_undecodable(words: Iterable[str]) -> None:
    """Refuse what is not text on the command line or in a variable: reports and records of runs could not hold it.

    Raises:
        typer.BadParameter: a word or a variable has bytes that are not of the locale's encoding.
    """
    # Not repeated: it may hold a password.
    given = [(f"argument {number}", word) for number, word in enumerate(words, 1)]
    given += [(f"the value of {name}", text) for name, text in os.environ.items() if name.startswith(PREFIX)]
    for what, text in given:
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise typer.BadParameter(
                f"{what} is not text in {sys.getfilesystemencoding().upper()}; rename the file, or make a link to it."
            )


def named_by_variable(error: typer.TyperException) -> None:
    """Name the variable in the message of an error, if the value that is wrong comes from the environment."""
    ctx, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if ctx is None or parameter is None or getattr(error, "param_hint", None) is not None:
        return
    is_of_library = error.message.startswith(_OF_LIBRARY)
    if is_of_library:
        # Here, because help and completion do not need it.
        from booking_migrate.cli.config_values import wanted_of  # noqa: PLC0415

        error.message = f"must be {wanted_of(parameter)}."
    source = ctx.get_parameter_source(parameter.name)
    if source is None or source.name != "ENVIRONMENT":
        return
    names = parameter.envvar if isinstance(parameter.envvar, list) else [parameter.envvar]
    set_one = next((name for name in names if name and os.environ.get(name)), None)
    if set_one is not None and isinstance(error, typer.BadParameter):
        error.param_hint = f"{set_one} (environment variable of {parameter.opts[0]})"
        error.variable = set_one  # type: ignore[attr-defined]
        if is_of_library:
            error.message = f'is "{os.environ[set_one]}", and {error.message}'


def print_variable_error(error: typer.TyperException, ctx: typer.Context) -> bool:
    """Print an error about the value of a variable as any other error is printed; return whether it is one."""
    variable = getattr(error, "variable", None)
    if variable is None:
        return False
    # Here, because help and completion need none of it.
    from booking_migrate.cli.error_output import console_on  # noqa: PLC0415
    from booking_migrate.cli.next_steps import same_command  # noqa: PLC0415
    from booking_migrate.errors import UsageProblem  # noqa: PLC0415

    joined = " " if error.message.startswith("is ") else ": "
    console = console_on(sys.stderr)
    console.print("[bold red]error:[/] ", end="", soft_wrap=True)
    lines = [
        f"{variable}{joined}{error.message.removesuffix('.')}",
        UsageProblem.effect,
        f"hint: Correct it, or remove it for the default:\n  unset {variable}",
    ]
    if command := same_command(ctx, ""):
        lines.append(f"Then run the same command again:\n  {command}")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    return True


def misspelt_variables(ctx: typer.Context) -> Iterator[tuple[str, str]]:
    """Yield each variable that no command reads, and whose name is near that of one that is read, with that one."""
    own = _variables(ctx.command)
    unknown = [name for name in os.environ if name.startswith(PREFIX) and name not in own]
    if not unknown:
        return
    # Only now, because it imports every command.
    known = {*own, *_OTHERS, *(name for command in commands_of(ctx).values() for name in _variables(command))}
    for name in sorted(unknown):
        meant = None if name in known else next(iter(get_close_matches(name, known, n=1, cutoff=0.9)), None)
        if meant is not None:
            yield name, meant


def commands_of(ctx: typer.Context) -> Mapping[str, Any]:
    """Return the commands by their whole names; asking for one imports it."""
    root = ctx.find_root().command
    commands: Mapping[str, Any] = getattr(root, "all_commands", None) or getattr(root, "commands", {})
    return commands


def _variables(command: Any) -> set[str]:
    names = (parameter.envvar for parameter in command.params)
    return {name for each in names if each for name in (each if isinstance(each, list) else [each])}


def report_usage_error(error: typer.TyperException, words: Sequence[str], commands: Iterable[str]) -> None:
    """Print a usage error as a JSON report on standard output, if that was asked for; its text is the caller's to print.

    Args:
        error: the error, its message without secrets.
        words: the command line, without the program's name.
        commands: the names of the commands.
    """
    if not _wants_json(words) or getattr(error, "param_hint", None) == _SWITCH:
        return
    # Here, because help and completion import none of it.
    from booking_migrate.errors import ExitCode  # noqa: PLC0415
    from booking_migrate.reports.model import ErrorReport, Report, render_json  # noqa: PLC0415

    command = next((word for word in words if word in set(commands)), "")
    error_report = ErrorReport(
        kind=type(error).__name__,
        message=str(error.format_message()),
        hint=f"booking-migrate {command} --help".replace("  ", " ") + " lists every option.",
    )
    from booking_migrate.stores.own_collections import new_run_id  # noqa: PLC0415

    report = Report(
        command=command,
        run_id=new_run_id(),
        source="",
        target="",
        exit_code=ExitCode.USAGE,
        error=error_report,
    )
    sys.stdout.write(render_json(report))


def _wants_json(words: Sequence[str]) -> bool:
    """Return whether the result was asked for as JSON, and standard output is not taken by documents."""
    values = {word.rpartition("=")[2] for word in words}
    asked = _SWITCH in words or os.environ.get(_VARIABLE, "").lower() in _ON
    return asked and _STREAM not in values
