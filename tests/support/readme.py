"""The parts of README.md that the program itself knows, so that they cannot drift from it.

``python -m tests.support.readme`` writes them; `tests/test_readme.py` compares.
"""

import re
from pathlib import Path

import typer.main
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from booking_migrate.cli.app import app
from booking_migrate.domain.contract import FIELDS, Contract, FieldRule
from booking_migrate.domain.rejection import WAIVABLE, Reason
from booking_migrate.errors import EXIT_CODE_MEANINGS
from booking_migrate.reports.dry_run.model import DryRunPart
from booking_migrate.reports.model import CountsReport, Report

README = Path(__file__).parents[2] / "README.md"


def block(name: str, text: str | None = None) -> str:
    """What stands in README.md between ``<!-- name -->`` and ``<!-- /name -->``."""
    content = README.read_text(encoding="utf-8") if text is None else text
    match = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", content, re.DOTALL)
    assert match, f"README.md has no block {name!r}"
    return match[1]


def fenced(name: str) -> str:
    """The fenced text that follows ``<!-- name -->`` in README.md."""
    match = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert match, f"README.md has no fenced block {name!r}"
    return match[1]


def blocks() -> dict[str, str]:
    """Every generated block of README.md as it must be."""
    return {
        "commands": _commands(),
        "help": _help(),
        "exit codes": _table(
            ("code", "means"), [(str(int(code)), text) for code, text in EXIT_CODE_MEANINGS.items()]
        ),
        "report fields": _table(("field", "is"), _report_fields()),
        "dry-run fields": _table(
            ("field", "is"),
            [(f"`dry_run.{name}`", _described(field)) for name, field in DryRunPart.model_fields.items()],
        ),
        "contract": _table(("field", "must be"), [(f"`{rule.name}`", _rule(rule)) for rule in FIELDS]),
        "reasons": _reasons(),
    }


def _commands() -> str:
    group = typer.main.get_command(app)
    commands: dict[str, object] = getattr(group, "commands", {})
    rows = [
        (f"`{name}`", _first_sentence(getattr(command, "help", ""))) for name, command in commands.items()
    ]
    return _table(("command", "does"), rows)


def _help() -> str:
    """What ``booking-migrate --help`` prints, on a terminal of 100 columns."""
    result = CliRunner().invoke(
        app, ["--help"], prog_name="booking-migrate", env={"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    )
    lines = [line.rstrip() for line in result.stdout.strip().splitlines()]
    return "\n".join(["```text", *lines, "```", ""])


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    return "".join(f"| {left} | {right} |\n" for left, right in [head, ("---", "---"), *rows])


def _report_fields() -> list[tuple[str, str]]:
    rows = []
    for name, field in Report.model_fields.items():
        if name == "counts":
            rows += [
                (f"`counts.{inner}`", _described(info)) for inner, info in CountsReport.model_fields.items()
            ]
        else:
            rows.append((f"`{name}`", _described(field)))
    return rows


def _described(field: FieldInfo) -> str:
    assert field.description, "every field of the report has a description"
    return field.description


def _rule(rule: FieldRule) -> str:
    parts = [rule.kind.value]
    if rule.reason is not None and rule.name != "clientId":
        parts.append(Contract().expectation(rule))
    return f"{', '.join(parts)} ({rule.presence.value})"


def _reasons() -> str:
    waivable = ", ".join(f"`{reason}`" for reason in Reason if reason in WAIVABLE)
    others = ", ".join(f"`{reason}`" for reason in Reason if reason not in WAIVABLE)
    return f"Reasons that `--accept` waives: {waivable}.\n\nReasons that nothing waives: {others}.\n"


def with_block(name: str, text: str, content: str | None = None) -> str:
    """README.md, or a version of it, with another text in one of its blocks."""
    before = README.read_text(encoding="utf-8") if content is None else content
    old = f"<!-- {name} -->\n{block(name, before)}<!-- /{name} -->"
    return before.replace(old, f"<!-- {name} -->\n{text}<!-- /{name} -->")


def renewed() -> str:
    """README.md with every generated block as it must be."""
    content = README.read_text(encoding="utf-8")
    for name, text in blocks().items():
        content = with_block(name, text, content)
    return content


if __name__ == "__main__":
    README.write_text(renewed(), encoding="utf-8")
