"""Following in one terminal: status sees it, a signal ends it, the same command resumes it, a cut-over takes it over."""

import json
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bson.timestamp import Timestamp
from pymongo.database import Database

from booking_migrate.follow.engine import Engine
from booking_migrate.follow.run import _Following
from booking_migrate.runs import lock
from tests.lifecycle.conftest import ROOT, Ended
from tests.lifecycle.live.test_finalize import go_live
from tests.support.application import sessions_of
from tests.support.booking_lines import booking, client
from tests.support.forked import Forked
from tests.support.killed import waiting_behind

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

PLACES = ("--source", "bookings", "--target", "clients")
FOLLOW = ("migrate", *PLACES, "--follow")
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")
_PATIENCE = 120


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
    deadline = time.monotonic() + _PATIENCE
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
    _, errors = process.communicate(timeout=_PATIENCE)
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
    """A follower that was killed is said to be, and a cut-over brings in what came since."""
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        follower.kill()
        follower.wait(_PATIENCE)
    stopped = newest(command)
    bookings.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "since"}})
    done = command(*CUTOVER)

    assert (False, False, "killed", False) == (
        stopped["alive"],
        stopped["stale"],
        stopped["follow"]["state"],
        stopped["follow"]["ready"],
    )
    assert 0 == done.returncode, done.stderr
    assert "since" == notes_of(bookings, "bookings", 0)


def test_a_cutover_takes_over(bookings: Db, environment: dict[str, str], command: Run) -> None:
    """A cut-over in another terminal takes over from a follower; both say so, and nothing is lost."""
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        bookings.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "at the last moment"}})
        with started(environment, *CUTOVER) as cutover:
            _, said = cutover.communicate(timeout=_PATIENCE)
            _, handed = follower.communicate(timeout=_PATIENCE)

    assert (0, 0) == (cutover.returncode, follower.returncode), said + handed
    assert "taking over from migrate --follow" in " ".join(said.split())
    assert f"process {follower.pid}" in " ".join(said.split())
    assert "handed over to cutover" in " ".join(handed.split())
    assert f"process {cutover.pid}" in " ".join(handed.split())
    assert "at the last moment" == notes_of(bookings, "bookings", 0)


def test_a_cutover_that_is_refused_after_taking_over(
    bookings: Db, environment: dict[str, str], command: Run, tmp_path: Path
) -> None:
    """If the cut-over does not take place, it says that following has ended, with the command that continues it."""
    config = tmp_path / "config.toml"
    config.write_text('[hooks]\nbefore_cutover = "exit 1"\n', encoding="utf-8")
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        refused = command(*CUTOVER, "--config", str(config))
        follower.communicate(timeout=_PATIENCE)
    said = " ".join(refused.stderr.split())
    again = shlex.split(said.partition("To follow again: booking-migrate ")[2])
    with started(environment, *again[: again.index("--follow") + 1]) as follower:
        await_ready(follower, command)
        code, _ = ended_by(follower, signal.SIGINT)

    assert (5, 0, 0) == (refused.returncode, follower.returncode, code), said
    assert 40 == bookings.bookings.count_documents({"sessions": {"$exists": False}})


def test_what_is_refused_does_not_end_a_follower(
    bookings: Db, environment: dict[str, str], command: Run
) -> None:
    """A typo, other options, an open decision and a missing confirmation are refused beside the follower, which goes on.

    Its own words, those of status and those of its end are commands that decide what happens to rejected bookings. It ends
    with exit 0 although there are some.
    """
    bookings.bookings.insert_one(booking(40, duration=5))
    with started(environment, *FOLLOW) as follower:
        possible = await_ready(follower, command)["possible"]
        typo = command(
            "cutover", "--source", "bookngs", "--target", "clients", "--rejected", "leave", "--yes"
        )
        other = command(*CUTOVER, "--rejected", "leave", "--accept", "duration-too-short")
        refused = [
            typo,
            other,
            command(*CUTOVER),
            command("cutover", *PLACES, "--rejected", "leave"),
        ]
        is_at_work = newest(command)["alive"]
        busy = command(*FOLLOW)
        follower.send_signal(signal.SIGINT)
        page, said = (" ".join(each.split()) for each in follower.communicate(timeout=_PATIENCE))
    done = command(*shlex.split(possible[1])[1:], "--yes", "--max-outage", "60s")

    assert [5, 5, 5, 5] == [each.returncode for each in refused], [each.stderr for each in refused]
    assert is_at_work
    assert "is from the source bookings, not from bookngs" in " ".join(typo.stderr.split())
    assert "was made with other options" in " ".join(other.stderr.split())
    assert "bookings were rejected: 1" in " ".join(refused[2].stderr.split())
    assert "was not confirmed" in " ".join(refused[3].stderr.split())
    assert 11 == busy.returncode
    assert "follows the application until Ctrl-C" in " ".join(busy.stderr.split())
    assert 0 == follower.returncode, said
    assert ["--rejected carry", "--rejected leave"] == [each[-16:] for each in possible[1:]]
    assert "--rejected carry" in said.partition("ready to cut over (--rejected leave")[2]
    assert "--target clients --rejected leave" in page
    assert "--follow" in page.partition("Continue following:")[2]
    assert 0 == done.returncode, done.stderr


def test_a_follower_that_does_not_hand_over(
    bookings: Db, command: Run, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut-over that waits in vain exits 11 and withdraws its request: the follower continues when it can."""
    monkeypatch.setattr(lock, "_HAND_OVER_SECONDS", 0.5)
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        follower.send_signal(signal.SIGSTOP)
        refused = command(*CUTOVER)
        follower.send_signal(signal.SIGCONT)
        bookings.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "afterwards"}})
        await_notes(bookings, "afterwards")
        code, _ = ended_by(follower, signal.SIGINT)

    assert (11, 0) == (refused.returncode, code), refused.stderr


def await_notes(database: Db, notes: str) -> None:
    """Wait until the first booking's session has these notes."""
    deadline = time.monotonic() + _PATIENCE
    while notes_of(database, "clients", 0) != notes:
        assert time.monotonic() < deadline
        time.sleep(0.1)


_STEPS = {
    "copied": ("booking_migrate.stores.mongo.kept_copy", "KeptCopy", "create"),
    "fenced": ("booking_migrate.stores.mongo.live_swap", "LiveSwap", "raise_fence"),
    "swapped": ("booking_migrate.stores.mongo.live_swap", "LiveSwap", "swap"),
}
_VERIFIED = ("booking_migrate.cli.verify_inputs", "VerifyInputs", "verify")


@contextmanager
def at_a_gate(
    environment: Mapping[str, str], gate: Path, step: tuple[str, str, str], *arguments: str
) -> Iterator[Forked]:
    """The program as a process that waits behind a method; killed in the end if it still runs."""
    with Forked((str(gate), *step, *arguments), environment, main=waiting_behind, folder=ROOT) as process:
        try:
            while not Path(f"{gate}.reached").exists():
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            yield process
        finally:
            process.kill()


def test_a_cutover_takes_over_from_a_verification(
    bookings: Db, environment: dict[str, str], command: Run, tmp_path: Path
) -> None:
    """A follower that verifies the whole target hands over at once, and what it had read by then is brought in."""
    assert 0 == command("migrate", *PLACES, "--quiet").returncode
    assert 0 == command("verify", *PLACES, "--quiet").returncode
    # As if changes had been followed since that were not verified.
    bookings.booking_migrate_runs.update_many({}, {"$set": {"follow.unverified": Timestamp(2**32 - 1, 1)}})
    with at_a_gate(environment, tmp_path / "gate", _VERIFIED, *FOLLOW) as follower:
        bookings.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "meanwhile"}})
        await_kept(bookings)
        shown = " ".join(command("status").stdout.split())
        done = command(*CUTOVER)
        _, said = follower.communicate(timeout=_PATIENCE)

    assert (0, 0) == (done.returncode, follower.returncode), done.stderr + said
    assert "not ready to cut over: the whole target is not verified yet" in shown
    assert "handed over to cutover" in " ".join(said.split())
    assert "meanwhile" == notes_of(bookings, "bookings", 0)


def await_kept(database: Db) -> None:
    """Wait until a follower has durably kept a change that it has not handled."""
    deadline = time.monotonic() + _PATIENCE
    while not database.booking_migrate_dirty.count_documents({}):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
@pytest.mark.parametrize("step", _STEPS)
def test_signals_end_a_cutover(
    bookings: Db,
    environment: dict[str, str],
    command: Run,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
    step: str,
) -> None:
    """Before the swap a signal leaves the source live and unfenced; after it the cut-over is completed. Each has its exit code."""
    assert 0 == command("migrate", *PLACES, "--quiet").returncode
    assert 0 == command("verify", *PLACES, "--quiet").returncode
    with at_a_gate(environment, tmp_path / "gate", _STEPS[step], *CUTOVER) as process:
        ended, said = ended_by(process, number)
    run = newest(command)
    kept = [name for name in bookings.list_collection_names() if "_legacy_" in name]

    assert code == ended, said
    assert run["refuses_writes_since"] is None
    if step == "swapped":
        assert ("cut-over", 1, 0) == (run["state"], len(kept), command("verify", *PLACES).returncode)
        assert "The cut-over is complete" in said
    else:
        assert ("done", []) == (run["state"], kept)
        bookings.bookings.insert_one(booking(90))
        assert 0 == command(*CUTOVER).returncode
        assert booking(90)["_id"] in sessions_of(bookings.bookings)[0]


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
    assert 0 == command("migrate", *PLACES, "--quiet").returncode
    assert 0 == command("verify", *PLACES, "--quiet").returncode
    go_on = _Following.go_on

    def interrupt(*_arguments: Any, **_named: Any) -> Any:
        raise KeyboardInterrupt

    def change(following: _Following) -> Any:
        bookings.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "changed"}})
        with monkeypatch.context() as interrupted:
            interrupted.setattr(Engine, "handle", interrupt)
            return go_on(following)

    monkeypatch.setattr(_Following, "go_on", change)
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
