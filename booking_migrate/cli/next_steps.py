"""What to suggest when a command is done, and the commands in it, completed for the user's database and config file.

Advice is made in many places, most of which know neither of the two. So it is completed in one place, where it is printed.
"""

import json
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from booking_migrate.cli.app import all_commands
from booking_migrate.cli.config_file import ConfigFile
from booking_migrate.cli.parameters import WORDS, is_from
from booking_migrate.domain.contract import WAIVABLE
from booking_migrate.domain.rejection import NOT_FOUND, Reason
from booking_migrate.errors import SAME_COMMAND
from booking_migrate.reports.model import NextStep, Report
from booking_migrate.runs.commands import CONFIG_PLACEHOLDER
from booking_migrate.runs.plan import RejectionGroup
from booking_migrate.stores.places import StreamPlace
from booking_migrate.stores.readers import Absence

_PROGRAM = "booking-migrate"

_URI = "'URI'"
"""Stands for the connection string, which may hold a password; a real one needs the quotes."""

_LOCAL = frozenset({"audit-code", "schema"})
"""The commands that have no database to be completed with."""

_NAMES = "|".join(sorted(all_commands().keys() - _LOCAL))
_COMMAND = re.compile(rf"({_PROGRAM} (?:{_NAMES})(?: create| drop)?(?![\w-]))((?:(?!{_PROGRAM} )[^\n])*)")
"""A command, and what follows it up to the next one or the end of the line."""

_PLACES = frozenset({"source", "target", "archive", "users", "experts", "rejects", "json-format"})
_RULES = frozenset({"accept", "max-document-size", "user-id-field", "user-email-field", "expert-user-field"})
_TAKEN = {
    "dry-run": (_PLACES | _RULES | {"on-conflict", "overwrite"}) - {"archive", "rejects"},
    "migrate": _PLACES | _RULES | {"on-conflict", "in-place", "merge-client-documents", "max-lag"},
    "verify": _PLACES | _RULES | {"on-conflict", "in-place"},
    "cutover": (_PLACES | _RULES | {"on-conflict", "rejected", "block-all-writes"})
    - {"archive", "json-format", "rejects"},
    "rollback": frozenset({"target"}),
    "finalize": frozenset({"source", "keep-index"}),
    "control": frozenset({"target"}),
    "explain": (_PLACES | _RULES) - {"archive"},
}
"""The options of one command that another one takes with the same meaning."""

_STREAM = StreamPlace().name
_KEPT_IN = {
    "--source": "bookings.jsonl",
    "--users": "users.jsonl",
    "--experts": "experts.jsonl",
    "--target": "clients.jsonl",
}
"""What a file is called in a suggested command that keeps what came from a stream, or went into one."""

_READS_TARGET = frozenset({"verify", "explain"})
"""The commands for which a target that is a stream is standard input."""

_ONLY_IN_PLACE = frozenset({"--archive", "--passes", "--without-transactions"})
"""What is refused without ``--in-place``."""

_SAME = re.compile(
    rf"{re.escape(SAME_COMMAND)}(?P<more>(?: (?!without )\S+)*)(?: without (?P<without>.+))?$", re.MULTILINE
)
"""The mark of the command that runs, with what is added and what is left out."""

_SHELL = re.compile(r"(?<![\w.])db\.(?=getCollection|runCommand)")
"""Where a line for mongosh takes the database that is in use there."""

_NAMESPACE = re.compile(r"(?<=')\*\.(?=[^'\n]*' )")
"""Where a line for mongorestore takes any database of a dump."""


@dataclass(frozen=True, slots=True)
class GivenOptions:
    """What the user gave, as far as other commands need it too."""

    database: str | None = None
    """From ``--db``; None if the environment, the config file or the connection string names the database."""

    config: Path | None = None
    names_server: bool = False
    """Whether ``--uri`` was given: then other commands need it, too, or would work on another server."""

    shell_database: str | None = None
    """The database in use: in mongosh another one may be."""

    @classmethod
    def of(cls, ctx: typer.Context, shell_database: str | None) -> "GivenOptions":
        """Take the options of a command that was parsed, and the database that it works on, if any."""
        is_named = is_from(ctx, "db", "COMMANDLINE")
        return cls(
            ctx.params.get("db") if is_named else None,
            ctx.params.get("config"),
            is_from(ctx, "uri", "COMMANDLINE"),
            shell_database,
        )

    def complete(self, text: str) -> str:
        """Add what a text's commands lack: the database and the config file."""
        if self.shell_database is not None:
            text = _SHELL.sub(lambda _: f"db.getSiblingDB({json.dumps(self.shell_database)}).", text)
            text = _NAMESPACE.sub(lambda _: f"{self.shell_database}.", text)
        if self.database is None and self.config is None and not self.names_server:
            return text
        return _COMMAND.sub(self._completed, text)

    def complete_report(self, report: Report) -> Report:
        """Complete the commands of a report; data that it quotes stays as it is."""
        steps = tuple(
            step.model_copy(
                update={
                    "text": self.complete(step.text),
                    "command": None if step.command is None else self.complete(step.command),
                }
            )
            for step in report.next_steps
        )
        findings = tuple(replace(each, advice=self.complete(each.advice)) for each in report.findings)
        changes: dict[str, object] = {"next_steps": steps, "findings": findings}
        for name in ("runs", "rewrites"):
            parts = getattr(report, name, ())
            # Those of a verification have no commands.
            if parts and hasattr(parts[0], "possible"):
                changes[name] = tuple(
                    each.model_copy(update={"possible": tuple(map(self.complete, each.possible))})
                    for each in parts
                )
        return report.model_copy(update=changes)

    def _completed(self, found: re.Match[str]) -> str:
        command, rest = found.groups()
        if self.config is not None:
            path = shlex.quote(str(self.config))
            rest = rest.replace(f"--config {CONFIG_PLACEHOLDER}", f"--config {path}")
            # The record of a run has the absolute path.
            recorded = re.escape(shlex.quote(str(self.config.absolute())))
            rest = re.sub(rf"--config {recorded}(?!\S)", lambda _: f"--config {path}", rest)
            command += "" if "--config " in rest else f" --config {path}"
        if self.database is not None and "--db " not in rest:
            command += f" --db {shlex.quote(self.database)}"
        if self.names_server and "--uri " not in rest:
            command += f" --uri {_URI}"
        return f"{command}{rest}"


def same_command(ctx: typer.Context, more: str, without: str = "") -> str | None:
    """Return the command line that runs, as typed, with some options added or replaced, and without others; None if it is not known.

    The connection string is left out: it belongs into the environment, and may hold a password.
    """
    if not ctx.meta.get(WORDS):
        return None
    left_out = set(without.split())
    if "--in-place" in left_out:
        left_out |= _ONLY_IN_PLACE
    dropped = {"--uri", *left_out, *(word for word in shlex.split(more) if word.startswith("--"))}
    words = typed_words(ctx, dropped)
    # What is added are options, which belong before what ends them.
    end = words.index("--") if "--" in words else len(words)
    return " ".join(filter(None, (_PROGRAM, shlex.join(words[:end]), more, shlex.join(words[end:]))))


def typed_words(ctx: typer.Context, dropped: Collection[str]) -> list[str]:
    """Return the words of the command line without some options and their values; the command's name is the first."""
    kept: list[str] = []
    is_value = False
    for word in ctx.meta.get(WORDS, ()):
        is_value = is_value and not word.startswith("--")
        if word.partition("=")[0] in dropped:
            is_value = "=" not in word
        elif is_value:
            is_value = False
        else:
            kept.append(word)
    return kept


def written_out(hint: str, command: Callable[[str, str], str | None]) -> tuple[str, Sequence[str]]:
    """Return a hint with the command written out that it is about, and these commands.

    Args:
        hint: in which `SAME_COMMAND` marks it.
        command: returns it, from what is added and what is left out; None if it is not known.
    """
    found: list[str] = []

    def complete(match: re.Match[str]) -> str:
        text = command(match["more"].strip(), match["without"] or "")
        if text is None:
            return match[0]
        found.append(text)
        return text

    return _SAME.sub(complete, hint), found


def written_out_for(ctx: typer.Context, name: str, hint: str) -> str:
    """Return a hint for another command than the one that runs, with that command written out; see `similar_command`."""
    verb, *mode = name.split()

    def command(more: str, without: str) -> str:
        left_out = without.split()
        words = [word for word in mode if word not in left_out]
        return similar_command(ctx, verb, *words, *filter(None, [more]), without=left_out)

    return written_out(hint, command)[0]


def similar_command(ctx: typer.Context, name: str, *words: str, without: Collection[str] = ()) -> str:
    """Return another command about the same places, by the same rules, as the command that runs.

    Args:
        ctx: has the options that were given to the command that runs.
        name: the other command's name.
        *words: the words before the options, which replace those given.
        without: the options to leave out.
    """
    typed: list[str] = []
    # What a table of the config file says for this command alone, another one does not read.
    own = ctx.obj.own if isinstance(ctx.obj, ConfigFile) and name != ctx.command.name else frozenset[str]()
    replaced = {*without, *(word for each in words for word in shlex.split(each) if word.startswith("--"))}
    for parameter in ctx.command.params:
        option, field = parameter.opts[0], parameter.name or ""
        if option in replaced:
            continue
        sources = ("COMMANDLINE", "DEFAULT_MAP") if field in own else ("COMMANDLINE",)
        if option.removeprefix("--") in _TAKEN[name] and is_from(ctx, field, *sources):
            typed += _words(option, ctx.params[field])
    fed = _fed(name, typed)
    return f"{_PROGRAM} {name} {' '.join([*words, *map(shlex.quote, typed)])}".rstrip() + fed


def _fed(name: str, typed: list[str]) -> str:
    """Return the end of a command line that feeds a file to standard input, if the command reads that; otherwise nothing.

    Args:
        name: the command's name.
        typed: its options with their values; where several are standard input, all but the last become files.
    """
    read = _KEPT_IN.keys() - (set() if name in _READS_TARGET else {"--target"})
    found = [at for at, word in enumerate(typed) if word == _STREAM and typed[at - 1] in read]
    for at in found[:-1]:
        typed[at] = _KEPT_IN[typed[at - 1]]
    return f" < {_KEPT_IN[typed[found[-1] - 1]]}" if found else ""


def _words(option: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [option] if value else []
    values = value if isinstance(value, list | tuple) else [value]
    return [word for each in values for word in (option, str(getattr(each, "value", each)))]


def steps_about_people(absences: Sequence[Absence]) -> Iterator[NextStep]:
    """Yield the steps about users or experts who were needed and whose place does not exist."""
    for absence in absences:
        yield NextStep(text=f"{absence.problem[0].upper()}{absence.problem[1:]}. {absence.advice}")


def is_for_source(rejections: Sequence[RejectionGroup], absences: Sequence[Absence]) -> bool:
    """Return whether some bookings were rejected for a reason that is to be removed in the source."""
    not_there = NOT_FOUND if absences else frozenset()
    return any(group.reason not in {*not_there, Reason.CONFLICT} for group in rejections)


def accepting(rejections: Sequence[RejectionGroup], ctx: typer.Context) -> list[str]:
    """Return the options that let bookings pass that were rejected for reasons which may be waived; empty if none was.

    Those that were accepted already are among them: options replace what was typed before, a variable and the config file.
    """
    waivable = [group.reason.value for group in rejections if group.reason in WAIVABLE]
    accepted = [reason.value for reason in ctx.params.get("accept") or ()]
    return [part for reason in (*accepted, *waivable) for part in ("--accept", reason)] if waivable else []
