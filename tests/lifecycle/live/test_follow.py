"""Following in one terminal: status sees it, a signal ends it, the same command resumes it, a cut-over takes it over."""

import json
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.follow.engine import Engine
from booking_migrate.follow.run import _Following
from tests.lifecycle.conftest import ROOT, Command
from tests.lifecycle.live.test_finalize import go_live
from tests.support.application import sessions_of
from tests.support.booking_lines import booking, client
from tests.support.forked import Forked

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")
FOLLOW = ("migrate", *PLACES, "--follow")
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")
PATIENCE = 120


@contextmanager
def started(environment: Mapping[str, str], *arguments: str) -> Iterator[Forked]:
    """The program as a process; killed in the end if it still runs."""
    with Forked(arguments, environment, folder=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def newest(command: Run) -> Mapping[str, Any]:
    """The newest run that wrote something, as status shows it."""
    runs = json.loads(command("status", "--json").stdout)["runs"]
    return next((run for run in runs if run["state"] != "unchanged"), {})


def await_ready(process: Forked, command: Run) -> Mapping[str, Any]:
    """The run as status shows it, once a follower says that a cut-over is possible."""
    deadline = time.monotonic() + PATIENCE
    while True:
        run = newest(command)
        if run.get("alive") and (run.get("follow") or {}).get("ready"):
            return run
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, run
        time.sleep(0.1)


def ended_by(process: Forked, number: signal.Signals) -> tuple[int, str]:
    """The exit code and standard error of a process after a signal."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, " ".join(errors.split())


@pytest.fixture
def bookings(database: Db) -> Db:
    """Forty bookings of four clients."""
    database.bookings.insert_many(map(booking, range(40)))
    return database


def notes_of(database: Db, collection: str, number: int) -> Any:
    """The notes in a booking's session; None without one."""
    found = sessions_of(database[collection])[0].get(booking(number)["_id"])
    return None if found is None else found[1]


@pytest.mark.usefixtures("bookings")
def test_status_while_following(environment: dict[str, str], command: Run) -> None:
    """The run is alive, status has every figure, and offers the cut-over but not the rollback that would be refused."""
    with started(environment, *FOLLOW) as follower:
        run = await_ready(follower, command)
        shown = " ".join(command("status").stdout.split())
        verified = command("verify", *PLACES, "--json")
        ended_by(follower, signal.SIGINT)
    follow = run["follow"]

    assert ("done", True, False) == (run["state"], run["alive"], run["stale"])
    assert ("following", True) == (follow["state"], follow["ready"])
    assert follow["estimated_outage_ms"] > 0
    assert follow["oplog_seconds_left"] >= 0
    assert {"lag_seconds", "backlog"} <= set(follow)
    assert ["verify", "cutover"] == [each.split()[1] for each in run["possible"]]
    assert "changes of the application: following" in shown
    assert "ready to cut over" in shown
    assert 0 == verified.returncode, verified.stderr
    assert not json.loads(verified.stdout)["findings"]


def test_ctrl_c_and_the_same_command(bookings: Db, environment: dict[str, str], command: Run) -> None:
    """Ctrl-C ends following with exit 0; the same command resumes it, with what was changed in between."""
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        code, said = ended_by(follower, signal.SIGINT)
    stopped = newest(command)
    bookings.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "in between"}})
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        again, _ = ended_by(follower, signal.SIGINT)

    assert (0, 0) == (code, again), said
    assert "interrupted" in said
    assert (False, "interrupted", False) == (
        stopped["alive"],
        stopped["follow"]["state"],
        stopped["follow"]["ready"],
    )
    assert "in between" == notes_of(bookings, "clients", 0)
    assert 0 == command(*CUTOVER).returncode


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143)])
@pytest.mark.usefixtures("bookings")
def test_signals_that_are_no_wish(
    environment: dict[str, str], command: Run, number: signal.Signals, code: int
) -> None:
    """A closed terminal and a termination end following with their own exit codes, and free the target."""
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        ended, said = ended_by(follower, number)
    stopped = newest(command)

    assert code == ended, said
    assert (False, "interrupted") == (stopped["alive"], stopped["follow"]["state"])
    assert 0 == command(*CUTOVER).returncode


def test_a_killed_follower(bookings: Db, environment: dict[str, str], command: Run) -> None:
    """A follower that was killed is said to be, how far behind it is now too, and a cut-over brings in what came since."""
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        follower.kill()
        follower.wait(PATIENCE)
    stopped = newest(command)
    bookings.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "since"}})
    shown = " ".join(command("status").stdout.split())
    done = command(*CUTOVER)

    assert (False, False, "killed", False) == (
        stopped["alive"],
        stopped["stale"],
        stopped["follow"]["state"],
        stopped["follow"]["ready"],
    )
    assert "done, following ended (its process is gone)" in shown
    assert "behind the newest write of the server" in shown
    assert stopped["follow"]["unfollowed_seconds"] >= 0
    assert stopped["follow"]["oplog_seconds_left"] >= 0
    assert stopped["follow"]["history_lost"] is False
    assert 0 == done.returncode, done.stderr
    assert "since" == notes_of(bookings, "bookings", 0)


def test_a_follower_that_an_error_has_ended(bookings: Db, environment: dict[str, str], command: Run) -> None:
    """Status says which error, not that its process is gone; once the bookings make what others wrote, following goes on."""
    of_first = {"sessions.legacyBookingId": booking(0)["_id"]}
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        bookings.clients.update_one(of_first, {"$set": {"sessions.0.notes": "right"}})
        follower.wait(PATIENCE)
    stopped = newest(command)
    shown = " ".join(command("status").stdout.split())

    assert "failed" == stopped["follow"]["state"]
    assert "were changed by others: 1" in stopped["follow"]["problem"]
    assert "its process is gone" not in shown
    assert "were changed by others: 1" in shown
    assert any(each.startswith("booking-migrate verify") for each in stopped["possible"])
    bookings.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "right"}})
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        assert 0 == command(*CUTOVER).returncode
    assert "right" == notes_of(bookings, "bookings", 0)


def test_a_paused_follower_falls_behind(bookings: Db, environment: dict[str, str], command: Run) -> None:
    """What changes in a pause is kept, so nothing of it is lost; the target is behind, and status says how far."""
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        assert 0 == command("control", "pause").returncode
        await_figures(command, lambda figures: "paused" in (figures["not_ready"] or ""))
        bookings.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "in the pause"}})
        # The server's time goes on without a change, too, so that one alone does not show that the change was read.
        await_figures(command, lambda figures: figures["backlog"] == 1 and figures["lag_seconds"] > 0)
        shown = " ".join(command("status").stdout.split())
        ended_by(follower, signal.SIGINT)
    stopped = newest(command)["follow"]

    assert " 0 s behind" not in shown
    assert " as of " in shown
    assert "done, followed" in shown
    assert (1, True) == (stopped["backlog"], stopped["lag_seconds"] > 0)
    assert notes_of(bookings, "clients", 0) != "in the pause"


def await_figures(command: Run, is_there: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
    """The figures of following as status shows them, once they are as expected."""
    deadline = time.monotonic() + PATIENCE
    while True:
        figures: Mapping[str, Any] = newest(command)["follow"]
        if is_there(figures):
            return figures
        assert time.monotonic() < deadline, figures
        time.sleep(0.1)


@pytest.mark.usefixtures("bookings")
def test_another_migrate_is_refused(environment: dict[str, str], command: Run) -> None:
    """Only a cut-over takes over: a second follower exits 11 and names the first, which goes on."""
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        refused = command(*FOLLOW)
        is_at_work = newest(command)["alive"]
        ended_by(follower, signal.SIGINT)

    assert 11 == refused.returncode
    assert f"process {follower.pid}" in " ".join(refused.stderr.split())
    assert is_at_work


def test_interrupted_within_a_round(bookings: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while changes are being derived loses none of them: the position behind them is not kept."""
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    whole = _Following.run

    def interrupt(*_arguments: Any, **_named: Any) -> Any:
        raise KeyboardInterrupt

    def change(following: _Following) -> Any:
        bookings.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "changed"}})
        with monkeypatch.context() as interrupted:
            interrupted.setattr(Engine, "handle", interrupt)
            return whole(following)

    monkeypatch.setattr(_Following, "run", change)
    ended = command(*FOLLOW)
    done = command(*CUTOVER)

    assert (0, 0) == (ended.returncode, done.returncode), done.stderr
    assert "changed" == notes_of(bookings, "bookings", 0)


def test_old_bookings_after_the_cutover(bookings: Db, command: Run) -> None:
    """What an old application stores past the guard is counted apart from carried bookings; the command for it works."""
    bookings.bookings.insert_one(booking(40, duration=5))
    go_live(command, "--rejected", "carry")
    quiet = newest(command)
    bookings.bookings.insert_one({**booking(50), "clientId": client(50)}, bypass_document_validation=True)
    run = newest(command)
    shown = " ".join(command("status").stdout.split())
    convert = run["possible"][-1]
    converted = command(*shlex.split(convert)[1:])

    assert (1, 0) == tuple(quiet["old_bookings"][name] for name in ("carried", "later"))
    assert ["verify", "rollback", "finalize"] == [each.split()[1] for each in quiet["possible"]]
    assert (1, 1) == tuple(run["old_bookings"][name] for name in ("carried", "later"))
    assert f"written by an old application since: {booking(50)['_id']}" in shown
    assert convert.startswith("booking-migrate migrate --in-place --source bookings")
    assert 3 == converted.returncode, converted.stderr
    assert 1 == bookings.bookings.count_documents({"clientId": client(50), "sessions": {"$size": 1}})
