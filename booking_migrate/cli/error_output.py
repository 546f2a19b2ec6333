"""How an error appears: what happened and where, the hint, and the command that helps, complete."""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, TextIO

from booking_migrate.cli.next_steps import same_command, written_out
from booking_migrate.cli.parameters import is_from
from booking_migrate.cli.signals import HangUp, Termination
from booking_migrate.cli.usage import PREFIX, misspelt_variables
from booking_migrate.domain.rules import DEFAULT_PEOPLE_FIELDS
from booking_migrate.errors import (
    GO_ON,
    GOES_ON,
    LIVE_AS_BEFORE,
    SAME_COMMAND,
    STARTS_OVER,
    UNANSWERED,
    BookingMigrateError,
    DuplicateClientDocuments,
    FieldNotFound,
    HungUp,
    Interrupted,
    MissingUri,
    OutputExists,
    OutputProblem,
    PlaceNotFound,
    Terminated,
    UniqueIndexViolated,
    UsageProblem,
    effect_of,
)
from booking_migrate.reports.model import ErrorReport, RewriteStatusReport
from booking_migrate.reports.text import split_command
from booking_migrate.stores.places import DEFAULT_USERS, uses_files_only

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from booking_migrate.cli.run import Invocation

_DETAIL = "  "
"""What lines of a hint begin with that are details of what happened, and the lines of commands."""

_CONTINUED = frozenset({"migrate", "cutover", "rollback", "finalize", "rewrite"})
"""The commands that continue what was interrupted; `rewrite` is ``references rewrite``."""

_UNDONE = (
    "Nothing is urgent, and the migration is kept. When the new application is ready to start, run the same command again, which starts the "
    "cut-over over; until then leave it as it is."
)
"""What is said of a cut-over that was stopped and undone: who reads it may not be the one who began it."""

_EXPORT = "export MONGODB_URI="
"""How a hint gives the connection string: the commands in it then need no ``--uri``."""

_NAMING = frozenset({"source", "target", "users", "experts", "archive", "db", "uri"})
"""The parameters that name a place, or where it is."""

_URI_OPTION = " --uri 'URI'"
_URI_EXPLAINED = "URI stands for the connection string: it may hold a password, and is not repeated."


def translated(error: BaseException) -> BaseException:
    """Return the error that stands for a signal; another error as it is."""
    if isinstance(error, Termination):
        return Terminated()
    if isinstance(error, HangUp):
        return HungUp()
    return Interrupted() if isinstance(error, KeyboardInterrupt) else error


def print_error(
    asked: Invocation, raised: BaseException, stopped: RewriteStatusReport | None = None
) -> ErrorReport:
    """Print an error on standard error, and return the same for the report, with the rewrite of references, or its undo, that it has ended."""
    error = _located(asked, translated(raised))
    inline: Sequence[str] = ()
    if isinstance(error, BookingMigrateError):
        message = error.message
        hint = _hint(asked, error)
        if stopped is not None and "same command" not in hint:
            hint = "\n".join(filter(None, (hint, f"To continue: {SAME_COMMAND}")))
        hint, inline = written_out(hint, lambda more, without: same_command(asked.ctx, more, without))
    else:
        message = f"unexpected error: {type(error).__name__}: {error}".removesuffix(": ")
        hint = "" if asked.output.verbose else "--verbose shows the traceback."
    # What else went wrong on the way out may matter more than the cause: a lock or a fence that stayed.
    notes: Sequence[str] = getattr(raised, "__notes__", ())
    if not notes and (effect := effect_of(error)):
        notes = (effect,)
    hint = _with_what_follows(asked, notes, hint)
    if _EXPORT in hint:
        asked = replace(asked, repeats_uri=False)
    commands = tuple(_commands(asked, error))
    shown = ErrorReport(
        kind=type(error).__name__,
        message=asked.printable(message),
        hint=asked.printable("\n".join(filter(None, [*notes, hint]))),
        commands=tuple(map(asked.printable, (*inline, *commands))),
        rewrite=None if stopped is None else _continued(asked, stopped),
    )
    if asked.output.verbose:
        trace = "".join(traceback.format_exception(raised))
        sys.stderr.write(asked.redact(trace))
    console = console_on(sys.stderr)
    console.print("[bold red]error:[/] ", end="", soft_wrap=True)
    console.print(f"{shown.message}{_where(asked, error, shown.message)}", markup=False, soft_wrap=True)
    for line in _lines(asked, notes, hint):
        console.print(line, markup=False, soft_wrap=True)
    for command in shown.commands[len(inline) :]:
        console.print(f"{_DETAIL}{command}", markup=False, soft_wrap=True)
    if asked.given.names_server and any(_URI_OPTION in line for line in (shown.hint, *shown.commands)):
        console.print(_URI_EXPLAINED, markup=False, soft_wrap=True)
    return shown


def _with_what_follows(asked: Invocation, notes: Sequence[str], hint: str) -> str:
    """Return a hint that says what the same command does when it is run again."""
    is_undone = any(LIVE_AS_BEFORE in note for note in notes)
    if UNANSWERED in notes:
        follows = "it asks again"
    elif asked.command in _CONTINUED and not is_undone:
        follows = GOES_ON
    elif asked.command == "cutover":
        hint = hint.replace(GO_ON, _UNDONE)
        follows = "the cut-over starts over; the migration is kept"
    else:
        follows = STARTS_OVER
    return hint.replace(GOES_ON, follows)


def _continued(asked: Invocation, stopped: RewriteStatusReport) -> RewriteStatusReport:
    """Return a rewrite whose first command, which continues it, is the one that runs, with its fields and options."""
    first, *others = stopped.possible
    commands = (same_command(asked.ctx, "") or first, *others)
    return stopped.model_copy(update={"possible": tuple(map(asked.printable, commands))})


def console_on(stream: TextIO) -> Console:
    """Return a console on a stream, without escape codes where colours are switched off."""
    # Imported when something is printed: with --json or --quiet nothing may be.
    from rich.console import Console  # noqa: PLC0415

    console = Console(file=stream, highlight=False, emoji=False)
    # rich takes NO_COLOR to the letter and keeps bold; users who set it expect no escape codes at all.
    return (
        Console(file=stream, highlight=False, emoji=False, color_system=None) if console.no_color else console
    )


def _lines(asked: Invocation, notes: Sequence[str], hint: str) -> Iterator[str]:
    """Yield what comes below the message: details, then the hint, whose first line is marked."""
    for note in "\n".join(notes).splitlines():
        yield from _with_command_below(asked.printable(note))
    is_marked = False
    for line in filter(None, asked.printable(hint).split("\n")):
        text, *command = _with_command_below(line)
        yield text if is_marked or text.startswith(_DETAIL) else f"hint: {text}"
        is_marked = is_marked or not text.startswith(_DETAIL)
        yield from command


def _with_command_below(line: str) -> Sequence[str]:
    """Return a line, and the command at its end on a line of its own: there it can be copied whole."""
    text, command = split_command(line)
    return (line,) if command is None or line.startswith(_DETAIL) else (text, f"{_DETAIL}{command}")


def _hint(asked: Invocation, error: BookingMigrateError) -> str:
    """Return the hint of an error, behind how to rename a misspelt variable that may have led to it."""
    renaming = list(_renaming(asked, error))
    return (
        "\n".join([*renaming, f"Otherwise {error.hint[:1].lower()}{error.hint[1:]}"])
        if renaming
        else error.hint
    )


def _renaming(asked: Invocation, error: BaseException) -> Iterator[str]:
    """Yield how to rename a misspelt variable, if the place that does not exist, or is not named, may be due to it."""
    if not isinstance(error, PlaceNotFound | MissingUri):
        return
    for name, meant in misspelt_variables(asked.ctx):
        parameter = meant.removeprefix(PREFIX).lower()
        if parameter not in _NAMING or is_from(asked.ctx, parameter, "COMMANDLINE"):
            continue
        # The value may be a connection string: it is not repeated.
        rename = f'export {meant}="${name}"; unset {name}'
        yield f"The environment variable {name} is not read, which may be why. If {meant} was meant, rename it: {rename}"
        yield f"Then run the same command again: {SAME_COMMAND}"


def _located(asked: Invocation, error: BaseException) -> BaseException:
    """Return an error with what the command names, in which its cause can be looked for."""
    if isinstance(error, DuplicateClientDocuments):
        return replace(error, source=asked.source)
    options = asked.ctx.params
    if isinstance(error, FieldNotFound):
        return replace(error, named=options.get("field") or (), when=options.get("when") or ())
    if isinstance(error, UniqueIndexViolated):
        users = options.get("users") or DEFAULT_USERS
        return replace(
            error,
            source="" if uses_files_only(asked.source) else asked.source,
            users="" if uses_files_only(users) else users,
            user_id_field=options.get("user_id_field") or DEFAULT_PEOPLE_FIELDS.user_id,
            user_email_field=options.get("user_email_field") or DEFAULT_PEOPLE_FIELDS.email,
        )
    return error


def _commands(asked: Invocation, error: BaseException) -> Iterator[str]:
    """Yield the command that runs with what helps, complete, for each way out that the error knows."""
    if isinstance(error, PlaceNotFound) and (more := _meant(asked, error)):
        yield same_command(asked.ctx, more) or ""
    if not isinstance(error, BookingMigrateError) or error.again is None:
        return
    for more in error.again.split("\n"):
        command = same_command(asked.ctx, more, error.again_without)
        if command is not None:
            yield command


def _meant(asked: Invocation, error: PlaceNotFound) -> str:
    """Return the option that names what the user meant instead of a place that does not exist; empty if that is not certain."""
    if error.near_database:
        return f"--db {quote(error.near_database)}"
    is_source = error.near and error.place == asked.source
    return f"--source {quote(error.near)}" if is_source else ""


def _where(asked: Invocation, error: BaseException, message: str) -> str:
    """Return database and host in brackets, as far as the message does not name them and the error is about them."""
    if not isinstance(error, BookingMigrateError) or isinstance(
        error, UsageProblem | OutputProblem | OutputExists
    ):
        return ""
    if uses_files_only(str(getattr(error, "place", "")) or "-") and hasattr(error, "place"):
        return ""
    host, database = asked.server.get("host"), asked.server.get("database")
    if host is None or database is None or host in message or hasattr(error, "hosts"):
        return ""
    is_named = f" {database}." in message or f"database {database}" in message
    return f" (at {host})" if is_named else f" (database {database} at {host})"
