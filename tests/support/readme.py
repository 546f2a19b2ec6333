"""Write the parts of the pages that the program itself knows, so that they cannot drift from it.

``python -m tests.support.readme`` renews them in all pages; `tests/test_readme.py` compares.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill
from typing import Any, NamedTuple

import typer.main
from bson import json_util
from bson.objectid import ObjectId
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from booking_migrate.cli.app import app
from booking_migrate.domain.contract import FIELDS, WAIVABLE, Contract, FieldRule
from booking_migrate.domain.rejection import Reason
from booking_migrate.errors import ExitCode
from booking_migrate.reports.model import (
    CountsReport,
    ExplanationReport,
    MismatchReport,
    Report,
    VerificationReport,
)
from booking_migrate.reports.model_dry_run import DryRunPart
from booking_migrate.runs.privileges import READS, TASKS, WRITES, Task
from booking_migrate.verify import Kind, Rule

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
EXAMPLES = ROOT / "examples" / "README.md"
DRY_RUN = ROOT / "examples" / "dry-run.md"
DOMAIN = ROOT / "booking_migrate" / "domain" / "README.md"
REPORTS = ROOT / "booking_migrate" / "reports" / "README.md"
BENCHMARKS = ROOT / "tests" / "benchmarks" / "README.md"

_STEPS = ("dry-run", "migrate", "verify", "cutover", "rollback")
_SPEEDS = ("the server's own copy ($out)", "dry-run", "migrate", "verify", "rollback", "migrate --in-place")
_WIDTH = 118
_NO_PAGES = {".venv", ".git", ".pytest_cache", "golden"}
"""Folders whose files are not pages; the golden ones are reports."""


class Block(NamedTuple):
    """A generated part of a page, between ``<!-- name -->`` and ``<!-- /name -->``."""

    page: Path
    name: str

    def __str__(self) -> str:
        """Name page and part, for the names of tests."""
        return f"{self.page.relative_to(ROOT)}: {self.name}"

    def text(self, content: str | None = None) -> str:
        """Return what the block holds, in the page or in a version of it."""
        content = self.page.read_text(encoding="utf-8") if content is None else content
        match = re.search(rf"<!-- {self.name} -->\n(.*?)<!-- /{self.name} -->", content, re.DOTALL)
        assert match, f"{self.page} has no block {self.name!r}"
        return match[1]

    def replace(self, text: str) -> None:
        """Write another text into the block."""
        content = self.page.read_text(encoding="utf-8")
        old = f"<!-- {self.name} -->\n{self.text(content)}<!-- /{self.name} -->"
        new = f"<!-- {self.name} -->\n{text}<!-- /{self.name} -->"
        self.page.write_text(content.replace(old, new), encoding="utf-8")


def fenced(name: str, page: Path = README) -> str:
    """Return the fenced text that follows ``<!-- name -->`` in a page."""
    match = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert match, f"{page} has no fenced block {name!r}"
    return match[1]


class Output(NamedTuple):
    """What a command in a page prints, or how that begins; both are fenced."""

    page: Path
    command: str
    name: str

    def run(self, folder: Path) -> "subprocess.CompletedProcess[str]":
        """Run the command, installation aside, in a folder that has the examples only."""
        shutil.copytree(ROOT / "examples", folder / "examples")
        _, *arguments = shlex.split(fenced(self.command, self.page).rpartition(" && ")[2])
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("BOOKING_", "MONGODB_"))
        }
        return subprocess.run(
            [sys.executable, "-m", "booking_migrate", *arguments],
            cwd=folder,
            env={**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
            capture_output=True,
            text=True,
            check=False,
        )

    def shown(self) -> list[str]:
        """Return the lines that the page shows, without durations."""
        return without_durations(fenced(self.name, self.page))

    def renew(self) -> None:
        """Show as many lines of what the command prints now, if they differ in more than durations."""
        with TemporaryDirectory() as folder:
            printed = self.run(Path(folder)).stdout
        before = fenced(self.name, self.page)
        count = len(before.splitlines()) if self.page == README else None
        after = "".join(f"{line.rstrip()}\n" for line in printed.strip().splitlines()[:count])
        if without_durations(after) != self.shown():
            content = self.page.read_text(encoding="utf-8")
            self.page.write_text(content.replace(f"\n{before}```", f"\n{after}```"), encoding="utf-8")


OUTPUTS = (
    Output(README, "first command", "first output"),
    Output(DRY_RUN, "dry-run command", "dry-run output"),
)


def without_durations(text: str) -> list[str]:
    """Return the lines without seconds, which differ from run to run, and without blanks at their ends."""
    seconds = re.compile(r"(?:about )?\d+(?:\.\d+)? s\b|under a second")
    return [seconds.sub("N s", line).rstrip() for line in text.strip().splitlines()]


def pages() -> list[Path]:
    """Return every page of the repository, sorted."""
    return sorted(path for path in ROOT.rglob("*.md") if _NO_PAGES.isdisjoint(path.relative_to(ROOT).parts))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, ["---"] * len(head), *rows])


def _before_and_after() -> str:
    """Migrate the reference booking with the program itself, and show both documents."""
    booking = ROOT / "examples" / "reference_booking.jsonl"
    with TemporaryDirectory() as folder:
        target = Path(folder) / "clients.jsonl"
        done = CliRunner().invoke(
            app, ["migrate", "--source", str(booking), "--target", str(target), "--quiet"]
        )
        assert done.exit_code == 0, done.output
        after = target.read_text(encoding="utf-8")
    before = booking.read_text(encoding="utf-8")
    return (
        f"```js\n// One booking of the old structure:\n{_shown(before)}"
        "// The client document that it becomes; other bookings of the client join it in `sessions`:\n"
        f"{_shown(after)}```\n"
    )


def _shown(line: str) -> str:
    """Show a document of one line as mongosh does, several fields a line, each session indented."""
    document = json_util.loads(line)
    if "sessions" not in document:
        return _wrapped(_fields(document), "{ ", " }")
    names = list(document)
    place = names.index("sessions")
    before, after = ({name: document[name] for name in some} for some in (names[:place], names[place + 1 :]))
    inner = "".join(_wrapped(_fields(session), "    { ", " }") for session in document["sessions"])
    return f"{_wrapped(_fields(before), '{ ', ',')}  sessions: [\n{inner}  ],\n{_wrapped(_fields(after), '  ', ' }')}"


def _fields(document: dict[str, Any]) -> str:
    # A blank within a value is not a place to break the line.
    return ", ".join(
        f"{name}: {_value(value)}".replace(": ", ":\0").replace(" ", "\0") for name, value in document.items()
    )


def _wrapped(fields: str, start: str, end: str) -> str:
    indent = " " * (len(start) - len(start.lstrip())) + ("  " if start.lstrip() else "")
    lines = fill(
        start + fields + end.replace(" ", "\0"), _WIDTH, subsequent_indent=indent, break_on_hyphens=False
    )
    return lines.replace("\0", " ") + "\n"


def _value(value: Any) -> str:
    if isinstance(value, ObjectId):
        return f'ObjectId("{value}")'
    if isinstance(value, datetime):
        return f'ISODate("{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03}Z")'
    return json.dumps(value, ensure_ascii=False)


def _steps() -> str:
    does = _commands()
    return _table(
        ("step", "command", "does"), [(str(n), f"`{name}`", does[name]) for n, name in enumerate(_STEPS, 1)]
    )


def _other_commands() -> str:
    return _table(
        ("command", "does"), [(f"`{name}`", text) for name, text in _commands().items() if name not in _STEPS]
    )


def _commands() -> dict[str, str]:
    """Return the first sentence of the help of every command."""
    commands: dict[str, object] = getattr(typer.main.get_command(app), "all_commands", {})
    return {name: _first_sentence(getattr(command, "help", "")) for name, command in commands.items()}


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n", maxsplit=1)[0].split()).split(". ")[0].rstrip(".")


def _exit_codes() -> str:
    return _table(("code", "means"), [(str(int(code)), code.meaning) for code in ExitCode])


def _privileges() -> str:
    rows = [
        (
            ", ".join(map(_task_name, task.names)),
            ", ".join(f"`{role}`" for role in task.roles),
            _actions(task),
        )
        for task in TASKS
    ]
    return _table(("command", "built-in roles that suffice", "actions that it needs"), rows)


def _task_name(name: str) -> str:
    command, after, circumstance = name.partition(" after ")
    return f"`{command}`{after}{circumstance}"


def _actions(task: Task) -> str:
    """Show the actions of a task, with the usual ones under one name."""
    for name, group in (("*write*", WRITES), ("*read*", READS)):
        if set(group) <= set(task.actions):
            shown = [name, *(f"`{action}`" for action in task.actions if action not in group)]
            break
    else:
        shown = [f"`{action}`" for action in task.actions]
    return ", ".join([*shown, *(f"cluster `{action}`" for action in task.cluster_actions)])


def _speed() -> str:
    """Take a few rows out of the table of all figures."""
    lines = Block(BENCHMARKS, "figures").text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    head = rows[0]
    chosen = [row for row in rows if row[0] in _SPEEDS]
    assert len(chosen) == len(_SPEEDS)
    return _table(
        [head[0], head[1], head[3], head[5]],
        [[row[0] if "$" in row[0] else f"`{row[0]}`", row[1], row[3], row[5] or "-"] for row in chosen],
    )


def _report_fields() -> str:
    rows: list[tuple[str, str]] = []
    for name, field in Report.model_fields.items():
        rows += (
            _described(CountsReport, "counts.") if name == "counts" else [(f"`{name}`", _description(field))]
        )
    return _table(("field", "is"), rows)


def _described(model: type[BaseModel], prefix: str) -> list[tuple[str, str]]:
    return [(f"`{prefix}{name}`", _description(field)) for name, field in model.model_fields.items()]


def _fields_of(model: type[BaseModel], prefix: str) -> str:
    """Make the table of the fields that have a description; the names of the others say it."""
    fields = model.model_fields.items()
    return _table(
        ("field", "is"),
        [(f"`{prefix}{name}`", field.description) for name, field in fields if field.description],
    )


def _description(field: FieldInfo) -> str:
    assert field.description, "every field of the report has a description"
    return field.description


def _kinds() -> str:
    return _table(("kind", "means"), [(f"`{kind}`", kind.meaning) for kind in Kind])


def _rules() -> str:
    return ", ".join(f"`{rule}`" for rule in Rule) + ".\n"


def _contract() -> str:
    return _table(("field", "must be"), [(f"`{rule.name}`", _rule(rule)) for rule in FIELDS])


def _rule(field: FieldRule) -> str:
    parts = [field.kind.text, *filter(None, map(Contract().expectation, field.rules))]
    return f"{', '.join(parts)} ({field.presence.value})"


def _reasons() -> str:
    waivable = ", ".join(f"`{reason}`" for reason in Reason if reason in WAIVABLE)
    others = ", ".join(f"`{reason}`" for reason in Reason if reason not in WAIVABLE)
    return f"Reasons that `--accept` waives: {waivable}.\n\nReasons that nothing waives: {others}.\n"


BLOCKS: dict[Block, Callable[[], str]] = {
    Block(README, "before and after"): _before_and_after,
    Block(README, "steps"): _steps,
    Block(README, "privileges"): _privileges,
    Block(README, "exit codes"): _exit_codes,
    Block(README, "speed"): _speed,
    Block(EXAMPLES, "other commands"): _other_commands,
    Block(DOMAIN, "contract"): _contract,
    Block(DOMAIN, "reasons"): _reasons,
    Block(REPORTS, "report fields"): _report_fields,
    Block(REPORTS, "mismatch kinds"): _kinds,
    Block(REPORTS, "mismatch fields"): lambda: _fields_of(MismatchReport, "mismatches[]."),
    Block(REPORTS, "rules"): _rules,
    Block(REPORTS, "verification fields"): lambda: _fields_of(VerificationReport, "verification."),
    Block(REPORTS, "explanation fields"): lambda: _fields_of(ExplanationReport, "explanation."),
    Block(REPORTS, "dry-run fields"): lambda: _table(("field", "is"), _described(DryRunPart, "dry_run.")),
}
"""Every generated block and what makes it; the one of the benchmarks' figures is written by `tests.benchmarks`."""


def renew() -> None:
    """Write every generated part into its page."""
    for block, make in BLOCKS.items():
        block.replace(make())
    for output in OUTPUTS:
        output.renew()


if __name__ == "__main__":
    renew()
