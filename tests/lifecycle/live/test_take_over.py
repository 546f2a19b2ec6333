"""A cut-over takes over from a follower, or is refused beside one; signals end it without loss."""

import json
import shlex
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bson.timestamp import Timestamp
from pymongo.database import Database

from booking_migrate.runs import lock
from tests.lifecycle.conftest import ROOT, Command
from tests.lifecycle.live.test_follow import (
    CUTOVER,
    FOLLOW,
    PATIENCE,
    PLACES,
    await_ready,
    ended_by,
    newest,
    notes_of,
    started,
)
from tests.lifecycle.live.test_window import await_window
from tests.support.application import sessions_of
from tests.support.booking_lines import booking
from tests.support.forked import Forked
from tests.support.killed import waiting_behind

Db = Database[dict[str, Any]]
Run = Command


@pytest.fixture
def bookings(database: Db) -> Db:
    """Forty bookings of four clients."""
    database.bookings.insert_many(map(booking, range(40)))
    return database


def test_a_cutover_takes_over(bookings: Db, environment: dict[str, str], command: Run) -> None:
    """A cut-over in another terminal takes over from a follower; both say so, and nothing is lost."""
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        bookings.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "at the last moment"}})
        with started(environment, *CUTOVER) as cutover:
            _, said = cutover.communicate(timeout=PATIENCE)
            page, handed = follower.communicate(timeout=PATIENCE)

    assert (0, 0) == (cutover.returncode, follower.returncode), said + handed
    assert_only_step(page, f"process {cutover.pid} has taken over; cutover makes the client documents live.")
    assert "taking over from migrate --follow" in " ".join(said.split())
    assert f"process {follower.pid}" in " ".join(said.split())
    assert "handed over to cutover" in " ".join(handed.split())
    assert f"process {cutover.pid}" in " ".join(handed.split())
    assert "at the last moment" == notes_of(bookings, "bookings", 0)


def assert_only_step(page: str, said: str) -> None:
    """Assert that a page says who took over and what that command does, and names no command but a look at that."""
    words = " ".join(page.split())

    assert said in words
    assert ["status"] == [each.split()[0] for each in words.split("booking-migrate ")[1:]], page
    assert "new application" not in words


@pytest.mark.parametrize(
    ("by", "does"),
    [
        (("rollback", "--target", "clients"), "rollback makes the old bookings live again."),
        (("finalize", "--source", "bookings"), "finalize ends the migration and drops the old bookings."),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.usefixtures("bookings")
def test_what_a_window_says_that_was_handed_over(
    environment: dict[str, str],
    command: Run,
    by: tuple[str, ...],
    does: str,
    form: str,
) -> None:
    """A reverse window names who took over and what that command does; it suggests neither an application nor itself."""
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    given = [each for each in CUTOVER if each != "--json" or form == "json"]
    with started(environment, *given, "--reverse-window", "2h") as window:
        await_window(window, command)
        taken = command(*by, "--yes", "--json")
        page, handed = window.communicate(timeout=PATIENCE)

    assert (0, 0) == (taken.returncode, window.returncode), taken.stderr + handed
    if form == "text":
        assert_only_step(page, f" has taken over; {does}")
        assert f"reverse window: handed over to {by[0]} " in " ".join(page.split())
        return
    report = json.loads(page)
    assert report["cutover"]["window"]["taken_by"].startswith(f"{by[0]} ")
    assert ["booking-migrate status"] == [each["command"] for each in report["next_steps"]]
    assert report["next_steps"][0]["text"].startswith(report["cutover"]["window"]["taken_by"])
    assert does in report["next_steps"][0]["text"]


def test_a_cutover_that_is_refused_after_taking_over(
    bookings: Db, environment: dict[str, str], command: Run, tmp_path: Path
) -> None:
    """If the cut-over does not take place, it says that following has ended, with the command that continues it."""
    config = tmp_path / "config.toml"
    config.write_text('[hooks]\nbefore_cutover = "exit 1"\n', encoding="utf-8")
    with started(environment, *FOLLOW) as follower:
        await_ready(follower, command)
        refused = command(*CUTOVER, "--config", str(config))
        follower.communicate(timeout=PATIENCE)
    said = " ".join(refused.stderr.split())
    again = shlex.split(said.partition("To follow again: booking-migrate ")[2].partition(" hint: ")[0])
    with started(environment, *again) as follower:
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
        page, said = (" ".join(each.split()) for each in follower.communicate(timeout=PATIENCE))
    done = command(*shlex.split(possible[1])[1:], "--yes", "--max-outage", "60s")

    assert [5, 5, 5, 5] == [each.returncode for each in refused], [each.stderr for each in refused]
    assert is_at_work
    assert "is from the source bookings, not from bookngs" in " ".join(typo.stderr.split())
    assert "was made with other options" in " ".join(other.stderr.split())
    assert "1 booking was rejected" in " ".join(refused[2].stderr.split())
    assert "not confirmed: " in " ".join(refused[3].stderr.split())
    assert 11 == busy.returncode
    assert "follows the application until Ctrl-C" in " ".join(busy.stderr.split())
    assert 0 == follower.returncode, said
    assert ["--rejected carry", "--rejected leave"] == [each[-16:] for each in possible[1:]]
    assert "--rejected carry" in said.partition("ready to cut over (--rejected leave")[2]
    assert "--target clients --rejected leave" in page
    assert (
        "--follow"
        in " ".join(page.split()).partition(
            "Continue following, which a cut-over does not need; it reads the source once more first:"
        )[2]
    )
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
    deadline = time.monotonic() + PATIENCE
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
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    # As if changes had been followed since that were not verified.
    bookings.booking_migrate_runs.update_many({}, {"$set": {"follow.unverified": Timestamp(2**32 - 1, 1)}})
    with at_a_gate(environment, tmp_path / "gate", _VERIFIED, *FOLLOW) as follower:
        bookings.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"notes": "meanwhile"}})
        await_kept(bookings)
        shown = " ".join(command("status").stdout.split())
        done = command(*CUTOVER)
        _, said = follower.communicate(timeout=PATIENCE)

    assert (0, 0) == (done.returncode, follower.returncode), done.stderr + said
    assert "not ready to cut over: this process has not verified the whole target itself yet" in shown
    assert "handed over to cutover" in " ".join(said.split())
    assert "meanwhile" == notes_of(bookings, "bookings", 0)


def await_kept(database: Db) -> None:
    """Wait until a follower has durably kept a change that it has not handled."""
    deadline = time.monotonic() + PATIENCE
    while not database.booking_migrate_dirty.count_documents({}):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.each_value
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
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
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
