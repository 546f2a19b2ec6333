"""What others change, hold up or lift around the swap: nothing stale goes live, and what is left is said with its command."""

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Thread
from typing import Any

import pytest
from bson import Int64
from pymongo.database import Database

from booking_migrate.cutover import attempt, refusal
from booking_migrate.errors import FenceBlocked, NoMajority, WriteFailed
from booking_migrate.stores.mongo import fence
from booking_migrate.stores.mongo.cutover import MongoLive
from booking_migrate.stores.mongo.live_swap import LiveSwap
from booking_migrate.stores.mongo.retry import settled
from booking_migrate.stores.mongo.rollback import MongoRestored
from tests.lifecycle.conftest import Command, own_validator
from tests.support.booking_lines import booking
from tests.support.forked import ran

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")
CUTOVER = ("cutover", *PLACES, "--yes", "--json")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")


@pytest.fixture(autouse=True)
def migrated(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some bookings, migrated and verified; attempts follow each other at once."""
    monkeypatch.setattr(refusal, "_BACKOFF_SECONDS", 0.01)
    database.bookings.insert_many(map(booking, range(20)))
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))


def deleted(database: Db) -> None:
    """An application deletes a document, which a validator does not refuse."""
    database.bookings.delete_one({})


def lifted(database: Db) -> None:
    """An application that starts sets its own validator, and writes."""
    database.command("collMod", "bookings", validator={})
    database.bookings.update_one({}, {"$set": {"notes": "behind the fence"}})


@pytest.mark.parametrize(
    ("change", "said"), [(deleted, "were deleted"), (lifted, "the fence was lifted by others")]
)
@pytest.mark.parametrize("undone", [False, True], ids=["cutover", "rollback"])
def test_what_changes_between_two_attempts_at_the_swap(
    database: Db,
    command: Run,
    monkeypatch: pytest.MonkeyPatch,
    undone: bool,
    change: Callable[[Db], None],
    said: str,
) -> None:
    """At rest, what was proven may have changed while the swap is tried again: it is given up, and nothing stale goes live."""
    if undone:
        assert 0 == command(*CUTOVER).returncode
    owner: Any = MongoRestored if undone else MongoLive
    swap = owner.swap
    after: list[list[dict[str, Any]]] = []

    def blocked_once(self: Any, seconds: float) -> None:
        if after:
            swap(self, seconds)
            return
        try:
            with database.client.start_session() as session, session.start_transaction():
                database.bookings.find_one({}, session=session)
                swap(self, seconds)
        finally:
            change(database)
            after.append(list(database.bookings.find()))

    monkeypatch.setattr(owner, "swap", blocked_once)
    refused = command(*(ROLLBACK if undone else (*CUTOVER, "--at-rest")), "--max-outage", "300ms")

    assert 5 == refused.returncode, refused.stderr
    assert "attempt 1 of 10 aborted" in refused.stderr
    assert said in " ".join(refused.stderr.split())
    assert after == [list(database.bookings.find())]


@pytest.mark.parametrize("undone", [False, True], ids=["cutover", "rollback"])
def test_a_fence_that_is_lifted_while_it_is_raised(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, undone: bool
) -> None:
    """The belated lift of a process that was suspended is found before everything is read: at rest, the fence is raised again."""
    if undone:
        assert 0 == command(*CUTOVER).returncode
    lifted_by_others: list[bool] = []

    def lifted_once(collection: Any) -> None:
        if not lifted_by_others:
            lifted_by_others.append(True)
            lifted(database)
        settled(collection)

    monkeypatch.setattr(fence, "settled", lifted_once)
    done = command(*(ROLLBACK if undone else (*CUTOVER, "--at-rest")))

    assert done.returncode in (0, 3), done.stderr
    assert "attempt 1 of 10 aborted" in done.stderr
    assert undone or 1 == database.bookings.count_documents({"sessions.notes": "behind the fence"})


@pytest.mark.parametrize("undone", [False, True], ids=["cutover", "rollback"])
def test_a_swap_whose_answer_is_lost(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, undone: bool
) -> None:
    """A rename that still waits on the server when its command is aborted is ended: it is not carried out afterwards, nor before the fence is lifted."""
    database.command("collMod", "bookings", validator={"phone": {"$exists": False}})
    if undone:
        assert 0 == command(*CUTOVER).returncode
    owner: Any = MongoRestored if undone else LiveSwap
    live, rules = list(database.bookings.find()), database.bookings.options()
    admin, swap = database.client.admin, owner.swap

    def await_waiting(name: str) -> None:
        waiting = {"command." + name: {"$exists": True}, "waitingForLock": True}
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if list(admin.aggregate([{"$currentOp": {}}, {"$match": waiting}])):
                return
            time.sleep(0.01)

    def lost(self: Any, _seconds: float) -> None:
        session = database.client.start_session()
        session.start_transaction()
        database.bookings.find_one({}, session=session)

        def release() -> None:
            await_waiting("collMod")
            session.abort_transaction()

        def sent() -> None:
            with suppress(FenceBlocked, WriteFailed):
                swap(self, 20)

        for work in (sent, release):
            threads.append(Thread(target=work))
            threads[-1].start()
        await_waiting("renameCollection")
        raise FenceBlocked("bookings", "a lost connection")

    threads: list[Thread] = []
    monkeypatch.setattr(owner, "swap", lost)
    refused = command(*(ROLLBACK if undone else CUTOVER), "--attempts", "1")
    for each in threads:
        each.join()

    assert 5 == refused.returncode, refused.stderr
    assert live == list(database.bookings.find())
    assert rules == database.bookings.options()
    assert "live as before" in refused.stderr


def test_a_swap_whose_answer_comes_too_late(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A swap that is found to be carried out counts as refused until then; the report has its part and the events."""
    swap = LiveSwap.swap

    def late(self: LiveSwap, seconds: float) -> None:
        swap(self, seconds)
        time.sleep(0.1)
        raise FenceBlocked("bookings", "a lost connection")

    monkeypatch.setattr(LiveSwap, "swap", late)
    database.bookings.insert_one(booking(100))
    done = command(*CUTOVER)
    report = json.loads(done.stdout)["cutover"]
    followed = report["followed"]
    parts = sum(followed[f"{name}_ms"] for name in ("fence", "drain", "settle", "rename"))

    assert 0 == done.returncode, done.stderr
    assert 1 == followed["events"]["insert"]
    assert 100 <= followed["rename_ms"]
    assert parts == pytest.approx(report["refused_seconds"] * 1000, abs=4)


@pytest.mark.parametrize("undone", [False, True], ids=["cutover", "rollback"])
def test_what_is_blocked_behind_the_swap(command: Run, monkeypatch: pytest.MonkeyPatch, undone: bool) -> None:
    """What follows the rename at rest is tried again, too; it is not said then that writes are still refused, and that time does not count."""
    if undone:
        assert 0 == command(*CUTOVER).returncode
    owner, name = (MongoRestored, "begin_expiry") if undone else (MongoLive, "carry_validation")
    whole = getattr(owner, name)
    fenced: list[float] = []
    blocked: list[float] = []
    begin = refusal.RefusedTime.begin

    def begun(self: Any) -> None:
        fenced.append(time.monotonic())
        begin(self)

    def blocked_once(self: Any, settings: str) -> Any:
        if blocked:
            return whole(self, settings)
        blocked.append(time.monotonic())
        time.sleep(0.2)
        raise FenceBlocked("bookings", "checkout")

    monkeypatch.setattr(refusal.RefusedTime, "begin", begun)
    monkeypatch.setattr(owner, name, blocked_once)
    done = command(*(ROLLBACK if undone else (*CUTOVER, "--at-rest")))

    assert 0 == done.returncode, done.stderr
    assert "checkout; writes are accepted" in " ".join(done.stderr.split())
    report = json.loads(done.stdout)
    reported = report["undone" if undone else "cutover"]["refused_seconds"]
    assert 0 < reported < blocked[0] - fenced[0] + 0.01


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (("complete", "lift_fence"), "The fence could not be lifted"),
        (("complete", "drop"), "the rollback could not be cleaned up"),
        (("begin_expiry",), "holds the old bookings again"),
    ],
)
def test_what_a_rollback_leaves(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, refused: tuple[str, ...], said: str
) -> None:
    """What an aborted rollback leaves is said with the complete command that finishes it."""
    assert 0 == command(*CUTOVER).returncode
    drops: list[str] = []

    def fails(_self: Any, *_arguments: Any) -> None:
        raise WriteFailed("bookings", "for some reason")

    def fails_later(self: MongoRestored) -> None:
        if drops:
            fails(self)
        drops.append(self.name)

    with monkeypatch.context() as patched:
        for name in refused:
            owner = MongoLive if name == "lift_fence" else MongoRestored
            patched.setattr(owner, name, fails_later if name == "drop" else fails)
        failed = command(*ROLLBACK)
    finishing = re.search(rf"{said}.*: booking-migrate (rollback --run \S+)", " ".join(failed.stderr.split()))

    assert failed.returncode not in (0, 3)
    assert finishing is not None, failed.stderr
    assert 0 == command(*finishing[1].split(), "--yes").returncode
    assert 20 == database.bookings.count_documents({"sessions": {"$exists": False}})


def test_an_abort_without_a_majority(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no majority acknowledges that a cut-over is undone, its note has the command that finishes it later."""

    def fails(*_arguments: Any) -> None:
        raise WriteFailed("bookings", "for some reason")

    def unacknowledged(*_arguments: Any) -> None:
        raise NoMajority("127.0.0.1:1 DOWN")

    with monkeypatch.context() as patched:
        patched.setattr(LiveSwap, "swap", fails)
        patched.setattr(attempt, "recover", unacknowledged)
        failed = command(*CUTOVER)
    again = re.search(r"no majority .*:\n +booking-migrate (cutover --source.*)", failed.stderr)

    assert failed.returncode not in (0, 3)
    assert again is not None, failed.stderr
    assert 0 == command(*again[1].split(), "--yes").returncode
    assert 4 == database.bookings.count_documents({"sessions": {"$exists": True}})


@pytest.mark.parametrize(
    "way", [("--max-outage", "60s"), ("--at-rest",)], ids=["beside the application", "at rest"]
)
def test_a_fence_raised_after_the_lock_was_lost(
    database: Db,
    command: Run,
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    way: tuple[str, ...],
) -> None:
    """A process that was suspended until another one had aborted its cut-over lifts the fence that it raises then."""
    owner: Any = MongoLive if "--at-rest" in way else LiveSwap
    raise_fence = owner.raise_fence
    aborted: list[int] = []

    def late(self: Any, seconds: float) -> Any:
        database.booking_migrate_locks.update_many({}, [{"$set": {"until": {"$toDate": Int64(0)}}}])
        aborted.append(ran(("cutover", *PLACES, "--abort"), environment).returncode)
        return raise_fence(self, seconds)

    monkeypatch.setattr(owner, "raise_fence", late)
    ended = command(*CUTOVER, *way)

    assert [0] == aborted
    assert 11 == ended.returncode, ended.stderr
    assert {} == own_validator(database.bookings)
