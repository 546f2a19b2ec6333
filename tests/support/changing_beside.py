"""An application that changes bookings while a run reads them, at a failpoint of the program."""

import os
import signal
import sys
import time
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from booking_migrate.cli import app
from booking_migrate.follow import backlog
from tests.support.booking_lines import booking, client
from tests.support.failpoints import Step, failpoints

Db = Database[dict[str, Any]]

CHANGED = 5
"""How many bookings are changed."""

_PATIENCE = 60


class Application:
    """A failpoint: bookings are changed when the first batch is written, and the program may be killed later."""

    def __init__(self, database: Db, *, waits: bool = True, dies_at: Step | None = None) -> None:
        self._database = database
        self._waits = waits
        self._dies_at = dies_at
        self._is_done = False
        self.kept: set[str] = set()
        """The kinds of the entries that were durable while the run read its source."""

    def __call__(self, step: Step) -> None:
        if step is Step.BATCH_WRITTEN and not self._is_done:
            self._is_done = True
            self._change()
            if self._waits:
                self._await_kept()
        if step is self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _change(self) -> None:
        bookings = self._database.bookings
        # The first client's documents are written already; one client comes, and one loses a booking to another.
        bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "meanwhile"}})
        bookings.update_one({"_id": booking(4)["_id"]}, {"$set": {"clientId": client(2)}})
        bookings.delete_one({"_id": booking(8)["_id"]})
        bookings.insert_many([booking(40, clientId=client(7)), booking(41, clientId=client(0))])

    def _await_kept(self) -> None:
        """Wait until the changes are in the durable set, and the position behind them is."""
        deadline = time.monotonic() + _PATIENCE
        dirty, runs = self._database.booking_migrate_dirty, self._database.booking_migrate_runs
        while dirty.count_documents({"kind": "booking"}) < CHANGED or not runs.count_documents(
            {"follow.token": {"$exists": True}}
        ):
            assert time.monotonic() < deadline, "the changes are not read"
            time.sleep(0.01)
        self.kept = set(dirty.distinct("kind"))


def killed_beside(step: str, *arguments: str) -> None:
    """Be the program that keeps at once what it reads, and is killed at a step."""
    backlog._IN_MEMORY = 0
    sys.argv = ["booking-migrate", *arguments]
    database: Db = MongoClient(os.environ["MONGODB_URI"])[os.environ["BOOKING_MIGRATE_DB"]]
    with failpoints(Application(database, dies_at=Step(step))):
        app.main()
