"""Every format of the reports of status, rollback and cutover, byte for byte, as made of what real runs reported."""

import json
import math
import re
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from bson.objectid import ObjectId
from pymongo.database import Database
from rich.console import Console
from typer.testing import CliRunner

from booking_migrate.cli.app import app
from booking_migrate.reports.files import render_report
from booking_migrate.reports.lifecycle import LifeReport
from booking_migrate.reports.terminal import render_terminal
from booking_migrate.runs import session
from tests.support.booking_lines import booking
from tests.support.server import Server

Check = Callable[[str, str], None]
Db = Database[dict[str, Any]]
FORMATS = ["json", "md", "html", "xml"]
NAMES = [
    "status",
    "status-stale",
    "status-paused",
    "status-none",
    "rollback",
    "rollback-kept",
    "rollback-already",
    "rollback-restored",
    "cutover",
]

_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_SETTLED: dict[str, Any] = {
    "tool_version": "1.2.3",
    "seconds": 1.2,
    "refused_seconds": 0.4,
    "own_refused_seconds": 0.4,
    "rate": 12.5,
    "heard_at": "2026-11-23T15:11:30Z",
    "started_at": "2026-11-23T15:11:00Z",
    "ended_at": "2026-11-23T15:11:05Z",
    "database": "shop",
    "user": "ann",
    "host": "machine",
    "pid": 4711,
    "by": "ann@machine",
    "at": "2026-11-23T15:11:20Z",
    "fence_ms": 2,
    "drain_ms": 25,
    "settle_ms": 12,
    "rename_ms": 3,
    "fenced_at": "2026-11-23T15:11:06Z",
    "swapped_at": "2026-11-23T15:11:06Z",
    "attempts": 1,
    "lag_seconds": 1,
    "estimated_outage_ms": 50,
    "oplog_seconds_left": 60,
    "as_of": "2026-11-23T15:11:20Z",
    "unfollowed_seconds": 10,
}
"""What is other each time: in its place stands this, if there is anything."""


_MAY_BE_NOTHING = frozenset(
    {
        "lag_seconds",
        "oplog_seconds_left",
        "unfollowed_seconds",
        "fence_ms",
        "drain_ms",
        "settle_ms",
        "rename_ms",
    }
)
"""What a quick machine has 0 of."""


def settled(value: Any, key: str = "") -> Any:
    """A report as JSON, with what is other each time made the same."""
    if isinstance(value, dict):
        return {name: settled(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [settled(part) for part in value]
    if key in _SETTLED and value is not None and (value != 0 or key in _MAY_BE_NOTHING):
        return _SETTLED[key]
    return _RUN_ID.sub("20261123T151100Z-ab12cd", value) if isinstance(value, str) else value


class _Life:
    """A database, and the program at work on it."""

    def __init__(self, server: Server) -> None:
        self.name = f"test_{uuid4().hex[:16]}"
        self.database: Db = server.client()[self.name]
        self._environment = {"MONGODB_URI": server.uri, "BOOKING_MIGRATE_DB": self.name}

    def run(self, *arguments: str) -> Any:
        """The report of one command."""
        done = CliRunner().invoke(app, [*arguments, "--json", "--quiet"], env=self._environment)
        return json.loads(done.stdout)

    def rolled_back(self) -> Iterator[tuple[str, Any]]:
        """The reports of rollbacks."""
        yield "status-none", self.run("status")
        self.database.bookings.insert_many(map(booking, range(12)))
        self.run("migrate")
        yield "rollback", self.run("rollback", "--yes")
        yield "rollback-already", self.run("rollback", "--yes", "--run", self._run_id())
        self.run("migrate")
        self.database.bookings_consolidated.update_one({}, {"$set": {"clientEmail": "new@example.com"}})
        yield "rollback-kept", self.run("rollback", "--yes")

    def cut_over(self) -> Iterator[tuple[str, Any]]:
        """The reports up to a cut-over."""
        self.database.bookings.insert_many([*map(booking, range(12)), booking(12, duration=5)])
        self.database.bookings.create_index("expertId")
        self.database.bookings.create_index("scheduledDate", expireAfterSeconds=10**8)
        self.run("migrate")
        # A second's work, so that there is a rate.
        began = {"$subtract": ["$heartbeat_at", 1000]}
        self.database.booking_migrate_runs.update_one(
            {}, [{"$set": {"state": "running", "worked_from": began}}]
        )
        yield "status-stale", self.run("status")
        self.run("control", "pause")
        self.run("control", "set", "max-rate=2000")
        yield "status-paused", self.run("status")
        self.run("control", "resume")
        self.database.booking_migrate_runs.update_one({}, {"$set": {"state": "done"}})
        yield "status", self.run("status")
        self.run("verify")
        self.database.bookings.insert_one(booking(13))
        # No limit that a busy machine could pass: an attempt that was given up is in the report.
        yield "cutover", self.run("cutover", "--yes", "--rejected", "carry", "--max-outage", "60s")
        self._work()
        yield "rollback-restored", self.run("rollback", "--yes")

    def _work(self) -> None:
        """What an application does after the cut-over."""
        changed, gone = booking(3)["_id"], booking(4)["_id"]
        later = {"sessionId": ObjectId("68b61bd7a4c0bf9eaab38ef0"), "price": 5, "status": "pending"}
        sessions = self.database.bookings
        sessions.update_one(
            {"sessions.legacyBookingId": changed},
            {"$set": {"sessions.$.status": "cancelled", "sessions.$.cancelledBy": "client"}},
        )
        sessions.update_one({"sessions.legacyBookingId": changed}, {"$push": {"sessions": later}})
        sessions.update_one(
            {"sessions.legacyBookingId": gone}, {"$pull": {"sessions": {"legacyBookingId": gone}}}
        )

    def _run_id(self) -> str:
        run: Any = self.database.booking_migrate_runs.find_one()
        return str(run["_id"])


@pytest.fixture(scope="module")
def reports(server: Server) -> dict[str, LifeReport]:
    """A report of each kind."""
    found: dict[str, LifeReport] = {}
    with pytest.MonkeyPatch.context() as patched:
        # A slow machine would add a checkpoint, and with it a total.
        patched.setattr(session, "CHECKPOINT_SECONDS", math.inf)
        for reported in (_Life.rolled_back, _Life.cut_over):
            life = _Life(server)
            for name, report in reported(life):
                found[name] = LifeReport.model_validate(settled(report))
            server.client().drop_database(life.name)
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", FORMATS)
def test_report_file(reports: dict[str, LifeReport], name: str, suffix: str, check_golden: Check) -> None:
    """A report file is the golden one."""
    check_golden(f"life-{name}.{suffix}", render_report(reports[name], f".{suffix}"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [40, 100])
def test_terminal_text(reports: dict[str, LifeReport], name: str, width: int, check_golden: Check) -> None:
    """The text on a terminal is the golden one, wide and narrow."""
    screen = StringIO()
    Console(file=screen, width=width).print(render_terminal(reports[name], width))

    check_golden(f"life-{name}.{width}.txt", screen.getvalue())
