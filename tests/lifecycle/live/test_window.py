"""A reverse window: after the swap the way back is kept ready beside the new application, and a rollback is as brief as a cut-over."""

import json
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any, Self

import pytest
from bson import ObjectId
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import WriteError

from booking_migrate.cli import finalize, streams
from booking_migrate.domain.ids import booking_of_session
from booking_migrate.rollback.window import Window
from tests.lifecycle.conftest import Command, contents
from tests.lifecycle.live.test_follow import ended_by, newest, started
from tests.lifecycle.live.test_unavailable import streams_fail
from tests.lifecycle.test_convert_later import document, session
from tests.support.booking_lines import booking, client
from tests.support.failpoints import Step
from tests.support.forked import Forked
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")
# No limit that a busy machine could pass.
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")
WINDOW = (*CUTOVER, "--reverse-window", "2h")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json", "--max-outage", "60s")
FINALIZE = ("finalize", "--source", "bookings", "--yes", "--json")
STEPS = (Step.FENCED, Step.DRAINED, Step.SETTLED, Step.SWAPPED, Step.TAILED)
BOOKINGS = 40
_NO_REPLICA_SET = 40573
_PATIENCE = 120


def interrupt_when_built(window: Window) -> bool:
    """Stand in for the look at the clock: Ctrl-C, as soon as everything is ready."""
    if window._window.get("built") and window._follower is not None:
        raise KeyboardInterrupt
    return False


class NewApplication:
    """An application of the new shape at work, with a ledger of what it was told is stored."""

    def __init__(self, live: Collection[dict[str, Any]]) -> None:
        self._live = live
        self._over = Event()
        self._thread = Thread(target=self._work)
        self.booked: dict[ObjectId, tuple[Any, str]] = {}
        """The client and the notes of each session that it has booked and not cancelled, by the `_id` of the booking to come."""

        self.cancelled: set[ObjectId] = set()
        self.changed: dict[Any, str] = {}
        """The notes of migrated bookings that it has changed, by `_id`."""

        self.refused = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        number = 0
        while not self._over.wait(0.003):
            number += 1
            try:
                (self._change, self._book, self._begin, self._cancel)[number % 4](number)
            except WriteError:
                self.refused += 1

    def _change(self, number: int) -> None:
        key, notes = booking(number % BOOKINGS)["_id"], f"changed {number}"
        of_booking = {"sessions.legacyBookingId": key}
        if self._live.update_one(of_booking, {"$set": {"sessions.$.notes": notes}}).matched_count:
            self.changed[key] = notes

    def _book(self, number: int) -> None:
        new = session(number % 1000, notes=f"booked {number}")
        owner = client(number % 4)
        if self._live.update_one(
            {"clientId": owner, "sessions": {"$type": "array"}}, {"$push": {"sessions": new}}
        ).matched_count:
            self.booked[booking_of_session(new["sessionId"])] = owner, new["notes"]

    def _begin(self, number: int) -> None:
        new, owner = session(number % 1000, notes=f"first {number}"), client(10_000 + number)
        self._live.insert_one(document(ObjectId(), owner, new))
        self.booked[booking_of_session(new["sessionId"])] = owner, new["notes"]

    def _cancel(self, number: int) -> None:
        if number % 16 or not self.booked:
            return
        key = next(iter(self.booked))
        owner, notes = self.booked[key]
        if self._live.update_one(
            {"clientId": owner}, {"$pull": {"sessions": {"notes": notes}}}
        ).modified_count:
            del self.booked[key]
            self.cancelled.add(key)

    def check(self, old: Collection[dict[str, Any]]) -> None:
        """Assert that the old collection has every acknowledged write in the old shape, and nothing that was cancelled."""
        there = {each["_id"]: each for each in old.find()}
        assert not [key for key in there if "sessions" in there[key]]
        assert self.changed.items() <= {key: each["notes"] for key, each in there.items()}.items()
        assert self.booked == {
            key: (there[key]["clientId"], there[key]["notes"]) for key in self.booked if key in there
        }
        assert not self.cancelled & there.keys()
        assert {booking(number)["_id"] for number in range(BOOKINGS)} <= there.keys()
        expected = {*self.booked, *(booking(number)["_id"] for number in range(BOOKINGS))}
        assert expected == there.keys()


@pytest.fixture
def ready(database: Db, command: Run) -> Db:
    """Forty bookings, migrated and verified; the source has an index and a validator of its own."""
    database.create_collection("bookings", validator={"price": {"$gte": 0}})
    database.bookings.insert_many(map(booking, range(BOOKINGS)))
    database.bookings.create_index([("expertId", 1), ("scheduledDate", 1)], name="by_expert")
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    return database


def await_window(process: Forked, command: Run) -> Mapping[str, Any]:
    """The run as status shows it, once its window is ready."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        run = newest(command)
        facts = run.get("window") or {}
        # Resumed, it is ready as it was left, before its process follows again.
        if run.get("alive") and facts.get("ready") and facts["state"] == "following":
            return run
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, run
        time.sleep(0.1)


def own(database: Db) -> set[str]:
    """The collections of the database that are not bookkeeping of runs and rejected bookings."""
    return set(contents(database)) - {"booking_migrate_rejected"}


def test_a_rollback_beside_a_writer(ready: Db, environment: dict[str, str], command: Run) -> None:
    """What the new application was told is stored is in the old shape afterwards; both processes say who took over."""
    with started(environment, *WINDOW) as window:
        run = await_window(window, command)
        shown = " ".join(command("status").stdout.split())
        with NewApplication(ready.bookings) as application:
            time.sleep(1)
            back = command(*ROLLBACK)
        said, handed = window.communicate(timeout=_PATIENCE)
    undone = json.loads(back.stdout)["undone"]

    assert (3, 0) == (back.returncode, window.returncode), back.stderr + handed
    application.check(ready.bookings)
    assert application.booked
    assert application.changed
    assert 0 < undone["refused_seconds"] < 60
    assert undone["followed"]["attempts"] >= 1
    assert undone["since"]["converted"] == undone["since"]["later"] == len(application.booked)
    assert BOOKINGS == undone["restored"]
    assert "taking over from cutover --reverse-window" in " ".join(back.stderr.split())
    assert "handed over to rollback" in " ".join(handed.split())
    assert "handed-over" == json.loads(said)["cutover"]["window"]["end"]
    assert ("cut-over", "following") == (run["state"], run["window"]["state"])
    assert ["verify", "rollback", "finalize"] == [each.split()[1] for each in run["possible"]]
    assert "reverse window: following, ends at" in shown
    assert {"bookings"} == own(ready)
    assert {"_id_", "by_expert"} == set(ready.bookings.index_information())
    assert {"price": {"$gte": 0}} == ready.bookings.options()["validator"]
    assert not ready.booking_migrate_window.count_documents({})
    assert not ready.booking_migrate_dirty.count_documents({})


def test_ctrl_c_and_the_same_command(ready: Db, environment: dict[str, str], command: Run) -> None:
    """Ctrl-C ends the waiting with exit 0; the same command resumes it, and what is kept pristine is."""
    before = list(ready.bookings.find().sort("_id", 1))
    with started(environment, *WINDOW) as window:
        opened = await_window(window, command)
        code, said = ended_by(window, signal.SIGINT)
    stopped = newest(command)
    ready.bookings.update_one({"clientId": client(0)}, {"$set": {"sessions.0.notes": "in between"}})
    ready.bookings.insert_one(document(ObjectId(), client(98), session(98)))
    with started(environment, *WINDOW) as window:
        resumed = await_window(window, command)
        again, _ = ended_by(window, signal.SIGINT)
    (legacy,) = (name for name in ready.list_collection_names() if "_legacy_" in name)
    kept = list(ready[legacy].find().sort("_id", 1))
    back = command(*ROLLBACK)

    assert (0, 0) == (code, again), said
    assert "stop the new application right after it, since" in said
    assert "if a downtime until the old one has started is acceptable: booking-migrate rollback" in said
    assert (False, "interrupted") == (stopped["alive"], stopped["window"]["state"])
    assert ["verify", "cutover", "rollback", "finalize"] == [each.split()[1] for each in stopped["possible"]]
    assert opened["window"]["ends_at"] == resumed["window"]["ends_at"]
    assert before == kept
    assert 3 == back.returncode, back.stderr
    assert BOOKINGS + 1 == ready.bookings.count_documents({"sessions": {"$exists": False}})
    assert 1 == ready.bookings.count_documents({"notes": "in between"})


def test_killed_in_the_window(ready: Db, environment: dict[str, str], command: Run) -> None:
    """A rollback catches up itself from where a killed process had come to."""
    with started(environment, *WINDOW) as window:
        await_window(window, command)
        window.kill()
        window.wait(_PATIENCE)
    stopped = newest(command)
    ready.bookings.update_one({"clientId": client(0)}, {"$set": {"sessions.0.notes": "since"}})
    ready.bookings.update_one({"clientId": client(1)}, {"$push": {"sessions": session(77)}})
    shown = " ".join(command("status").stdout.split())
    back = command(*ROLLBACK)

    assert (False, "killed") == (stopped["alive"], stopped["window"]["state"])
    assert "reverse window no longer kept (its process is gone)" in shown
    assert (True, False) == (
        stopped["window"]["unfollowed_seconds"] >= 0,
        stopped["window"]["history_lost"],
    )
    assert 3 == back.returncode, back.stderr
    assert json.loads(back.stdout)["undone"]["followed"]
    assert BOOKINGS + 1 == ready.bookings.count_documents({})
    assert 1 == ready.bookings.count_documents({"notes": "since"})
    assert {"bookings"} == own(ready)


def test_finalize_drops_what_was_kept_ready(
    ready: Db, environment: dict[str, str], command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finalize takes over from a window, once it is confirmed, and drops the restored collection with the kept copy."""
    with started(environment, *WINDOW) as window:
        await_window(window, command)
        refused = command("finalize", "--source", "bookings", "--quiet")
        with monkeypatch.context() as at_a_terminal:
            for module in (streams, finalize):
                at_a_terminal.setattr(module, "is_interactive", lambda: True)
            unanswered = command("finalize", "--source", "bookings", "--quiet")
        is_at_work = newest(command)["alive"]
        done = command(*FINALIZE)
        _, handed = window.communicate(timeout=_PATIENCE)

    assert (5, 130, True) == (refused.returncode, unanswered.returncode, is_at_work), refused.stderr
    for asked in (refused, unanswered):
        assert "its reverse window, open until" in " ".join(asked.stderr.split())
    assert (0, 0) == (done.returncode, window.returncode), done.stderr
    assert "handed over to finalize" in " ".join(handed.split())
    assert {"bookings"} == own(ready)
    assert newest(command)["window"] is None


def test_the_end_of_a_window(
    ready: Db, command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """When its time is over, what was kept ready is dropped and the command ends; a rollback works as without it.

    The same command says that it opens a new window, and status names the length of that one. The hook after the cut-over has
    run at the swap, once.
    """
    hooked, config, seen = tmp_path / "hooked", tmp_path / "config.toml", set()
    code = shlex.join([sys.executable, "-c", f"open({str(hooked)!r}, 'a').write('x')"])
    config.write_text(f"[hooks]\nafter_cutover = {json.dumps(code)}\n", encoding="utf-8")

    def is_over(self: Window) -> bool:
        seen.add(hooked.exists())
        return bool(self._window.get("built"))

    monkeypatch.setattr(Window, "_is_over", is_over)
    done = command(*WINDOW, "--config", str(config))
    left = own(ready)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(Window, "_is_over", interrupt_when_built)
        opened = command("cutover", *PLACES, "--reverse-window", "1h", "--config", str(config))
    printed = [each for each in newest(command)["possible"] if " cutover " in each]
    ended = command(*WINDOW, "--config", str(config))
    back = command(*ROLLBACK)

    assert (0, 0) == (opened.returncode, ended.returncode), opened.stderr + ended.stderr
    assert "the reverse window of 2h has ended; a new one is opened for 1h" in " ".join(opened.stderr.split())
    assert "has ended; a new one" not in " ".join(ended.stderr.split())
    # Only while a brief rollback is kept ready may the new application run until it is done.
    assert "misbehaves: stop it, then make" in " ".join(done.stdout.split())
    assert "misbehaves: make the old bookings live again" in " ".join(opened.stdout.split())
    assert ["--reverse-window 1h"] == [re.findall("--reverse-window [0-9]+h", each)[0] for each in printed]
    assert 0 == done.returncode, done.stderr
    assert "expired" == json.loads(done.stdout)["cutover"]["window"]["end"]
    assert ({True}, "x") == (seen, hooked.read_text(encoding="utf-8"))
    assert 2 == len(left)
    assert (0, None) == (back.returncode, json.loads(back.stdout)["undone"]["followed"])
    assert BOOKINGS == ready.bookings.count_documents({"sessions": {"$exists": False}})


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(each, marks=pytest.mark.slow) for each in range(2, 60))]
)
def test_ledger_of_the_way_back(
    ready: Db, command: Run, killed: Callable[..., int], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Beside a writer, a rollback that is killed twice anywhere loses, doubles and revives nothing."""
    random = Random(seed)
    monkeypatch.setattr(Window, "_is_over", interrupt_when_built)
    assert 0 == command(*WINDOW).returncode
    with NewApplication(ready.bookings) as application:
        time.sleep(0.3)
        for _ in range(2):
            killed(random.choice(STEPS).value, random.randint(1, 2), *ROLLBACK)
        back = command(*ROLLBACK)

    assert back.returncode in {0, 3}, back.stderr
    application.check(ready.bookings)
    assert application.booked
    assert {"bookings"} == own(ready)


def test_a_server_without_change_streams(server: Server, ready: Db, command: Run) -> None:
    """Where changes cannot be followed, a window is refused before anything is changed."""
    with streams_fail(server, ready, _NO_REPLICA_SET):
        refused = command(*WINDOW)

    assert 5 == refused.returncode
    assert "it takes a replica set" in " ".join(refused.stderr.split())
    assert "done" == newest(command)["state"]


@pytest.mark.usefixtures("ready")
def test_at_rest(command: Run) -> None:
    """A cut-over at rest follows nothing, so it cannot have a window; nothing is changed."""
    refused = command(*WINDOW, "--at-rest")

    assert 5 == refused.returncode
    assert "--reverse-window is not possible" in " ".join(refused.stderr.split())
    assert "done" == newest(command)["state"]
