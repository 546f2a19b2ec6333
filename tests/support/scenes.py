"""A scene: a database and the program on it, with what the program prints in a situation.

A situation is a function of a `Scene`: what it sets up is not shown, what it passes to `Scene.show` is.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo.database import Database
from typer.testing import CliRunner

from booking_migrate.cli.app import app
from tests.support.booking_lines import booking
from tests.support.failpoints import Step
from tests.support.killed import killed_at, stopped_at
from tests.support.server import Server, environment_of

Db = Database[dict[str, Any]]
_RUN_ID = r"\d{8}T\d{6}Z-[0-9a-f]{6}"
_RUN_IDS = ("20261123T151100Z-ab12cd", "20261123T150900Z-9f8e7d", "20261123T150700Z-5a5b5c")
"""What stands for the ids of runs, the newest first."""

_SETTLED: tuple[tuple[str, str], ...] = (
    # On a slow machine.
    (r"(?m)^(waiting for|waited \d+ s for) .*\n", ""),
    (r"test_[0-9a-f]{16}", "shop"),
    (r"127\.0\.0\.1:(?!1\b)\d+", "127.0.0.1:27017"),
    # A line may end behind the day.
    (r"\d{4}-\d\d-\d\d(?=\n\d\d:)", "2026-11-23"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( UTC|Z)?", "2026-11-23 15:11:00 UTC"),
    (r"\d{4}-\d\d-\d\d(?=\n)", "2026-11-23"),
    (r"\b\d\d:\d\d:\d\d( UTC)?", "15:11:00 UTC"),
    (r"kill -INT \d+", "kill -INT 4711"),
    (r"by \S+@\S+ (since|at)", r"by ann@machine \1"),
    (r"by \S+ on \S+, process \d+", "by ann on machine, process 4711"),
    (r"\(\S+@\S+, process \d+\)|by \S+ on \S+ \(process \d+\)", "(ann@machine, process 4711)"),
    (r"\b\d+(\.\d+)? (s|ms)\b", "1 s"),
    (r"\b\d+(\.\d+)? (B|KiB|MiB|GiB)\b", r"1 \2"),
    (r"[\d,]+/s\b", "100/s"),
    (r"\b\d+ attempts?\b", "1 attempt"),
    (r"verify \d+ clients?\b", "verify 1 client"),
)
"""What is other each time, and what stands in its place."""


@dataclass
class Scene:
    """A database, and the program on it."""

    server: Server
    database: Db
    folder: Path
    uri: str = ""
    shown: list[str] = field(default_factory=list)
    begun: dict[str, Any] = field(default_factory=dict)
    """When each run and each rewrite of references in the journal was started."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that name the server and the database."""
        return {**environment_of(self.uri or self.server.uri, self.database.name), "COLUMNS": "120"}

    def run(self, *arguments: str, env: Mapping[str, str | None] | None = None) -> tuple[int, str]:
        """Run the program to its end; return its exit code and what is on the screen."""
        variables = {**dict.fromkeys(os.environ, None), **self.environment, **(env or {})}
        result = CliRunner().invoke(app, list(arguments), env=variables, prog_name="booking-migrate")
        return result.exit_code, result.output

    def done(self, *arguments: str) -> None:
        """Run a command that is only there to bring about the situation."""
        code, output = self.run(*arguments)
        assert code in (0, 3), output

    def show(self, *arguments: str, env: Mapping[str, str | None] | None = None) -> None:
        """Run a command whose output is the situation."""
        code, output = self.run(*arguments, env=env)
        runs = self.database.booking_migrate_runs.find({}, {"started_at": 1})
        self.begun.update({str(each["_id"]): each["started_at"] for each in runs})
        rewrites = self.database.booking_migrate_references.find({}, {"begun_at": 1})
        self.begun.update({str(each["_id"]): each["begun_at"] for each in rewrites if "begun_at" in each})
        self.shown.append(f"$ booking-migrate {' '.join(arguments)}\n{output.rstrip()}\n[exit code {code}]\n")

    def killed(self, step: Step, *arguments: str) -> None:
        """Kill the program at a step."""
        killed_at(step, 1, self.environment, *arguments)

    @contextmanager
    def at_work(self, step: Step, *arguments: str) -> Iterator[None]:
        """Have another process wait at a step while the context lasts."""
        gate = self.folder / "gate"
        process = stopped_at(step, self.environment, gate, *arguments)
        try:
            yield
        finally:
            process.kill()
            process.communicate()

    def settled(self) -> str:
        """The texts, with what is other each time made the same."""
        text = "\n".join(self.shown).replace(str(self.folder), "/home/ann")
        named = dict.fromkeys(re.findall(_RUN_ID, text))
        # Those that no journal has, such as that of a file, come last, in the order in which they are shown.
        begun = sorted(self.begun.keys() & named.keys(), key=lambda run: self.begun[run], reverse=True)
        runs = dict(zip([*begun, *(run for run in named if run not in begun)], _RUN_IDS, strict=False))
        text = re.sub(_RUN_ID, lambda found: runs[found[0]], text)
        for pattern, stands in _SETTLED:
            text = re.sub(pattern, stands, text)
        return text

    def bookings(self, count: int = 8, *more: dict[str, Any]) -> None:
        """Put bookings into the source."""
        self.database.bookings.insert_many([*map(booking, range(count)), *more])


Situation = Callable[[Scene], None]


def entering(table: dict[str, Situation]) -> Callable[[str], Callable[[Situation], Situation]]:
    """Return a decorator that enters situations in a table, by the name of their golden file."""

    def situation(name: str) -> Callable[[Situation], Situation]:
        def keep(found: Situation) -> Situation:
            table[name] = found
            return found

        return keep

    return situation
