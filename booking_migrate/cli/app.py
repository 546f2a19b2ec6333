"""The program: its commands, what holds for all of them, and where it starts."""

import re
import sys
from collections import UserDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from shutil import get_terminal_size
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from booking_migrate import __version__
from booking_migrate.cli.parameters import BEGUN, WORDS, flatten_groups
from booking_migrate.cli.signals import signals_raise
from booking_migrate.cli.streams import (
    failure_of,
    ignore_impossible_sizes,
    make_tolerant,
    redact,
    secrets_among,
)
from booking_migrate.cli.usage import (
    named_by_variable,
    print_variable_error,
    refuse_undecodable,
    report_usage_error,
)
from booking_migrate.errors import ExitCode, exit_code_of
from booking_migrate.gc_tuning import keep_loaded, spare_collector
from booking_migrate.reports.text import continued

_SECRETS = "booking_migrate.secrets"

_LOOK = "Look"
_MIGRATE = "Migrate"
_GO_LIVE = "Go live"
_END = "Undo and end"

_COMMAND, _CONTINUED = " " * 4, " " * 6
"""How an example and its continuation are set in."""

_WIDTH = 72
"""How many columns a command may have so that help fits 80."""

_WIDE = 120
"""From how many columns on a flag and its negation have a column each in help."""

_LONGEST_NAME = 26
"""How many characters the name of an option may have so that help of 80 columns has it whole."""

_ROWS = [f"[bold]{code.value:>3}[/bold]  {code.meaning}" for code in ExitCode]
_EXIT_STATUS = "\n".join(["\b", "[bold]Exit status[/bold]", *_ROWS])
"""The table of exit codes, under each command's options."""


def _filled(text: str) -> str:
    """Return a help text whose paragraphs are one line each, for typer to wrap; those that begin with a backspace stay."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(
        _with_whole_commands(part) if part.startswith("\b") else " ".join(part.split()) for part in paragraphs
    )


def _with_whole_commands(paragraph: str) -> str:
    """Break its commands as a shell does it, before a terminal of the usual width breaks them in its own way."""
    lines = paragraph.replace(f" \\\n{_CONTINUED}", " ").split("\n")
    return "\n".join(
        _COMMAND + f"\n{_CONTINUED}".join(continued(line.strip(), _WIDTH))
        if line.startswith(_COMMAND)
        else line
        for line in lines
    )


_PROGRAM = _filled("""
Migrate a MongoDB database from one document per booking to one document per client.

\b
[bold]Examples[/bold]
  booking-migrate migrate --source bookings.jsonl --target clients.jsonl
  MONGODB_URI=mongodb://localhost booking-migrate migrate --db shop
  booking-migrate migrate --help
""")


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command as the help of the program lists it; its module is imported when more is needed.

    The function in the module is named as the command, with underscores, and its parameters are the options.
    """

    panel: str
    summary: str
    module: str = ""
    """The module's name; empty: the command's, with that of its group, and with underscores."""

    help: str = "HELP"
    """The text in the module that follows the summary; a paragraph that begins with a backspace keeps its lines, for typer."""

    @cache  # noqa: B019 - the entries are constants
    def load(self, name: str) -> TyperCommand:
        """Import the command's module, and make the command; the name of one in a group has that of the group before it.

        Once in a process, since that takes 4 ms, and tests call the program thousands of times in one.
        """
        function, own_module = name.rpartition(" ")[2].replace("-", "_"), re.sub("[ -]", "_", name)
        module = import_module(f"booking_migrate.cli.{self.module or own_module}")
        text = f"{self.summary}\n\n{_filled(getattr(module, self.help))}"
        single = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)
        single.command(name, cls=_Command, help=text, epilog=_EXIT_STATUS, rich_help_panel=self.panel)(
            flatten_groups(getattr(module, function))
        )
        keep_loaded()
        return cast(TyperCommand, typer.main.get_command(single))


class _Command(TyperCommand):
    """A command whose help shows both names of a flag in one column where the screen is narrow: four columns cut names off."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        flags = [each for each in self.params if each.secondary_opts] if _is_narrow() else []
        before = [(each, each.opts, each.secondary_opts) for each in flags]
        for each in flags:
            both = f"--[no-]{each.opts[0].removeprefix('--')}"
            each.opts, each.secondary_opts = [both if len(both) <= _LONGEST_NAME else each.opts[0]], []
        try:
            super().format_help(ctx, formatter)
        finally:
            for each, opts, secondary in before:
                each.opts, each.secondary_opts = opts, secondary


def _is_narrow() -> bool:
    return get_terminal_size().columns < _WIDE


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """Several commands about one thing, each named by a verb behind the group's name."""

    panel: str
    summary: str
    help: str
    """The text that follows the summary, as in `CommandEntry`."""

    verbs: Mapping[str, CommandEntry]
    """By their own names."""

    def load(self, name: str) -> "LazyGroup":
        """Make the group; none of its commands is imported."""
        return LazyGroup(
            self.verbs,
            name,
            help=f"{self.summary}\n\n{_filled(self.help)}",
            epilog=_EXIT_STATUS,
            no_args_is_help=True,
            rich_markup_mode="rich",
            rich_help_panel=self.panel,
        )


_REFERENCES = """
After a cut-over, other collections still hold ids of bookings that no longer are documents. These commands find the fields, and
work with those that the config file names in its tables called references.

\b
[bold]Examples[/bold]
    booking-migrate references find --db shop --output references.toml
"""

COMMANDS: Mapping[str, CommandEntry | GroupEntry] = {
    "init": CommandEntry(_LOOK, "Look at the database and write a commented config file."),
    "preflight": CommandEntry(_LOOK, "Show what prevents each command, in seconds."),
    "dry-run": CommandEntry(
        _LOOK, "Show what would be migrated, what would be rejected and why, and what it takes."
    ),
    "explain": CommandEntry(_LOOK, "Show where one old booking went.", "verify", "EXPLAIN_HELP"),
    "schema": CommandEntry(_LOOK, "Print the JSON Schema of all reports."),
    "migrate": CommandEntry(
        _MIGRATE, "Write one client document per client, side by side or within the source collection."
    ),
    "verify": CommandEntry(
        _MIGRATE, "Prove that the target is what the source had to become, or list every mismatch."
    ),
    "status": CommandEntry(_MIGRATE, "Show every run, its state and its next commands."),
    "control": CommandEntry(_MIGRATE, "Pause, resume or slow down a running command from another terminal."),
    "cutover": CommandEntry(_GO_LIVE, "Make the target the live collection."),
    "audit-code": CommandEntry(_GO_LIVE, "Find application code that still expects the old structure."),
    "references": GroupEntry(
        _GO_LIVE,
        "Find and follow ids of old bookings in other collections.",
        _REFERENCES,
        {
            "find": CommandEntry(_GO_LIVE, "Find the fields of other collections that hold ids of bookings."),
            "map": CommandEntry(_GO_LIVE, "Export where each old booking went, or will go."),
            "keep": CommandEntry(_GO_LIVE, "Keep the index by which old ids find their sessions."),
            "rewrite": CommandEntry(
                _GO_LIVE, "Write new ids in the place of old booking ids, beside the application."
            ),
            "verify": CommandEntry(
                _GO_LIVE, "Prove that references resolve, and that a rewrite has changed nothing else."
            ),
        },
    ),
    "view": CommandEntry(_GO_LIVE, "Create or drop a read-only view of a collection in the other shape."),
    "serve": CommandEntry(_GO_LIVE, "Serve bookings over HTTP, before, during and after the migration."),
    "service-indexes": CommandEntry(
        _GO_LIVE, "Create the indexes that the booking service works with.", "serve", "INDEXES_HELP"
    ),
    "rollback": CommandEntry(_END, "Undo runs, at any point of their life."),
    "finalize": CommandEntry(
        _END, "End a cut-over or a migration in place: verify once more, then drop the old bookings."
    ),
}


def all_commands() -> dict[str, Any]:
    """Return every command by its whole name, those of groups included."""
    return {
        name if verb is None else f"{name} {verb}": each
        for name, entry in COMMANDS.items()
        for verb, each in (entry.verbs.items() if isinstance(entry, GroupEntry) else [(None, entry)])
    }


class LazyCommands(UserDict[str, Any]):
    """The commands by name; each is loaded when it is asked for."""

    def __init__(self, entries: Mapping[str, Any], group: str = "") -> None:
        """Take the table of a group, and the group's name; empty: that of the program."""
        self._prefix = f"{group} " if group else ""
        super().__init__(entries)

    def __getitem__(self, name: str) -> Any:
        if isinstance(entry := self.data[name], CommandEntry | GroupEntry):
            self.data[name] = entry.load(self._prefix + name)
        return self.data[name]


class LazyGroup(TyperGroup):
    """A group that loads the command that is invoked, and lists the others by their summaries.

    Its usage errors repeat no password: a connection string may be where it does not belong.
    """

    def __init__(
        self, entries: Mapping[str, Any] | None = None, name: str | None = None, **settings: Any
    ) -> None:
        """Take the table of commands; None: that of the program."""
        super().__init__(name=name, **settings)
        self._entries = COMMANDS if entries is None else entries
        self._is_root = entries is None
        self.commands = LazyCommands(self._entries, "" if self._is_root else name or "")
        self.all_commands = LazyCommands(all_commands()) if self._is_root else None
        """Of the program: the commands by their whole names, those of groups included."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        return list(self._entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
        """Return a command as lists of commands and completions need it, without importing its module."""
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        return TyperCommand(
            name=cmd_name, help=entry.summary, rich_help_panel=entry.panel, rich_markup_mode="rich"
        )

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is invoked, or whose help is asked for, loaded."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else self.commands[name], rest

    def make_context(self, info_name: Any, args: Any, *rest: Any, **kwargs: Any) -> Any:
        """Make the context as typer does, with messages redacted."""
        if not self._is_root:
            return super().make_context(info_name, args, *rest, **kwargs)
        secrets = secrets_among(args)
        words = list(args)
        try:
            with _interruption_said({}):
                refuse_undecodable(words)
                context = super().make_context(info_name, args, *rest, **kwargs)
        except typer.TyperException as error:
            _report(error, secrets, words)
            raise
        context.meta[_SECRETS] = secrets
        context.meta[WORDS] = words
        return context

    def invoke(self, ctx: Any) -> Any:
        """Invoke the command as typer does, with messages redacted."""
        try:
            if not self._is_root:
                return super().invoke(ctx)
            with _interruption_said(ctx.meta):
                return super().invoke(ctx)
        except typer.TyperException as error:
            if self._is_root:
                _report(error, ctx.meta.get(_SECRETS, ()), ctx.meta.get(WORDS, ()))
                if print_variable_error(error, ctx):
                    raise typer.Exit(ExitCode.USAGE) from None
            raise


@contextmanager
def _interruption_said(meta: Mapping[str, Any]) -> Iterator[None]:
    """Say that a signal has ended the program before a command's work, or when its result was reported; typer exits without a word."""
    try:
        yield
    except KeyboardInterrupt as signalled:
        # Here and not above: it is needed for nothing else, and imports what reports errors.
        from booking_migrate.cli.error_output import translated  # noqa: PLC0415

        end, is_begun = translated(signalled), meta.get(BEGUN, False)
        what = " while the result was reported: the work itself had ended" if is_begun else ""
        sys.stderr.write(f"error: {end}{what}\n")
        if not is_begun:
            sys.stderr.write("Nothing was changed.\n")
        raise typer.Exit(exit_code_of(end)) from None


def _report(error: typer.TyperException, secrets: Iterable[str], words: Sequence[str]) -> None:
    """Take the secrets out of a usage error's message, and report it as JSON if that was asked for."""
    named_by_variable(error)
    error.message = redact(error.message, secrets)
    report_usage_error(error, words, COMMANDS)


app = typer.Typer(
    name="booking-migrate",
    cls=LazyGroup,
    help=_PROGRAM,
    epilog=_EXIT_STATUS,
    no_args_is_help=True,
    rich_markup_mode="rich",
    # Tracebacks are for --verbose, and cli/run.py takes secrets out of them.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"booking-migrate {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda value: _print_version(wanted=value),
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Hold the options of the program as a whole."""


def main() -> None:
    """Run the command line and exit with one of `booking_migrate.errors.ExitCode`."""
    # Before the command's module is imported: looking for cycles among what stays anyway took a third of that time.
    spare_collector()
    make_tolerant()
    ignore_impossible_sizes()
    try:
        # What a command does about signals counts while it works; this is for before and behind that.
        with signals_raise(None):
            app(prog_name="booking-migrate")
    except SystemExit as ended:
        # A command's own output is checked where it is written; this is about help and the version.
        problem = failure_of(sys.stdout)
        if problem is None or ended.code:
            raise
        sys.stderr.write(f"error: the output could not be written to standard output: {problem}\n")
        sys.exit(ExitCode.NOT_WRITTEN)
