"""Commands that the program prints, completed with the database and the config file that the user named.

Advice is made in many places, most of which know neither. So it is completed in one place, where it is printed.
"""

import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import typer

from booking_migrate.reports.model import Report
from booking_migrate.runs.commands import CONFIG_PLACEHOLDER

_PROGRAM = "booking-migrate"
_VERBS = "dry-run|migrate|verify|cutover|rollback|finalize|view create|view drop|status|explain|service-indexes|serve"
_COMMAND = re.compile(rf"({_PROGRAM} (?:{_VERBS})(?![\w-]))((?:(?!{_PROGRAM} )[^\n])*)")
"""A command, and what follows it up to the next one or the end of the line."""

_PLACES = frozenset({"source", "target", "archive", "users", "experts", "rejects", "json-format"})
_RULES = frozenset({"accept", "max-document-size", "user-id-field", "user-email-field", "expert-user-field"})
_TAKEN = {
    "migrate": _PLACES | _RULES | {"on-conflict", "in-place"},
    "verify": _PLACES | _RULES | {"on-conflict", "in-place"},
    "explain": (_PLACES | _RULES) - {"archive"},
}
"""The options of one command that another one takes with the same meaning."""


@dataclass(frozen=True, slots=True)
class GivenOptions:
    """What the user gave, as far as other commands need it too."""

    database: str | None = None
    """From ``--db``; None if the environment, the config file or the connection string names the database."""

    config: Path | None = None

    @classmethod
    def of(cls, ctx: typer.Context) -> "GivenOptions":
        """Take the options of a command that was parsed."""
        named = _is_typed(ctx, "db")
        return cls(ctx.params.get("db") if named else None, ctx.params.get("config"))

    def complete(self, text: str) -> str:
        """Add what a text's commands lack: the database and the config file."""
        if self.database is None and self.config is None:
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
        findings = tuple(
            each.model_copy(update={"advice": self.complete(each.advice)}) for each in report.findings
        )
        changes: dict[str, object] = {"next_steps": steps, "findings": findings}
        runs = getattr(report, "runs", ())
        if runs:
            changes["runs"] = tuple(
                each.model_copy(update={"possible": tuple(map(self.complete, each.possible))})
                for each in runs
            )
        return report.model_copy(update=changes)

    def _completed(self, found: re.Match[str]) -> str:
        command, rest = found.groups()
        if self.config is not None:
            path = shlex.quote(str(self.config))
            rest = rest.replace(f"--config {CONFIG_PLACEHOLDER}", f"--config {path}")
            command += "" if "--config " in rest else f" --config {path}"
        if self.database is not None and "--db " not in rest:
            command += f" --db {shlex.quote(self.database)}"
        return f"{command}{rest}"


def similar_command(ctx: typer.Context, name: str, *words: str) -> str:
    """Return another command about the same places, by the same rules, as the command that runs.

    Args:
        ctx: has the options that were given to the command that runs.
        name: the other command's name.
        *words: what stands in front of the options.
    """
    options = [*_typed_words(ctx, _TAKEN[name])]
    return f"{_PROGRAM} {name} {' '.join([*words, *map(shlex.quote, options)])}".rstrip()


def _typed_words(ctx: typer.Context, wanted: Collection[str]) -> list[str]:
    words: list[str] = []
    for parameter in ctx.command.params:
        option = parameter.opts[0]
        name = parameter.name or ""
        if option.removeprefix("--") in wanted and _is_typed(ctx, name):
            words += _words(option, ctx.params[name])
    return words


def _words(option: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [option] if value else []
    values = value if isinstance(value, list | tuple) else [value]
    return [word for each in values for word in (option, str(getattr(each, "value", each)))]


def _is_typed(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
