"""The end of a cut-over where the new application deletes sessions: refused, and with --allow-deleted counted."""

import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from booking_migrate.cli import finalize
from tests.lifecycle.conftest import Command, Ended, contents
from tests.lifecycle.live.test_finalize import FINALIZE, LATER, PLACES, go_live, names
from tests.support.booking_lines import booking, client
from tests.support.failpoints import Step

Db = Database[dict[str, Any]]
ALLOWING = (*FINALIZE, "--allow-deleted")
NOW = datetime(2039, 1, 1, tzinfo=UTC)


@pytest.fixture
def live(database: Db, command: Command) -> Db:
    """Eight bookings of four clients, two of which have a client document already, one of these without sessions; cut over."""
    database.bookings.insert_many([*map(booking, range(6)), booking(8), booking(9)])
    old = {"sessionId": 7, "price": 5, "createdAt": NOW, "updatedAt": NOW}
    both = {"createdAt": NOW, "updatedAt": NOW}
    database.bookings.insert_many(
        [
            {"_id": 1, "clientId": client(7), "sessions": [old], "totalSessions": 1, "totalSpent": 5, **both},
            {"_id": 2, "clientId": client(8), "sessions": [], "totalSessions": 0, "totalSpent": 0, **both},
        ]
    )
    go_live(command)
    return database


def delete(live: Db, of: int, *, count: int = 1, **more: Any) -> None:
    """What a new application does that deletes sessions: the last ones of a client go, and the totals follow."""
    document = live.bookings.find_one({"clientId": client(of)}) or {}
    kept = document["sessions"][:-count]
    spent = float(sum(each["price"] for each in kept))
    values = {"sessions": kept, "totalSessions": len(kept), "totalSpent": spent, "updatedAt": NOW, **more}
    live.bookings.update_one({"_id": document["_id"]}, {"$set": values})


def counted(done: Ended) -> tuple[int, int]:
    """How many sessions are gone, as the report of a finalize counts them: allowed, and not."""
    finalized = json.loads(done.stdout)["finalized"]
    return finalized["deleted_sessions"], finalized["missing_sessions"]


def test_what_leads_out(live: Db, command: Command, tmp_path: Path) -> None:
    """Without the option nothing is dropped, and the report says what is gone, whom to ask, and the commands for both answers."""
    delete(live, 0)
    delete(live, 1, count=3)
    before = contents(live)["bookings"]
    refused = command(*FINALIZE)
    report = json.loads(refused.stdout)
    steps = {each["command"]: each["text"] for each in report["next_steps"]}

    assert (4, before) == (refused.returncode, contents(live)["bookings"])
    assert (4, 4) == (report["mismatch_count"], report["finalized"]["missing_sessions"])
    looks, printed, back = steps
    assert steps[printed].startswith("4 sessions are gone: ask the developers")
    assert steps[back].startswith("If the new application does not delete sessions")
    file = tmp_path / "mismatches.jsonl"
    listed = command(*shlex.split(looks.replace("mismatches.jsonl", str(file)))[1:])
    assert (4, 4) == (listed.returncode, len(file.read_text().splitlines()))
    done = command(*shlex.split(printed)[1:], "--yes", "--json")

    assert 0 == done.returncode, done.stderr
    assert (4, 0) == counted(done)
    assert (before, set()) == (contents(live)["bookings"], names(live))


def gone_whole(live: Db) -> None:
    live.bookings.delete_one({"clientId": client(0)})


def gone_and_booked_again(live: Db) -> None:
    delete(live, 0, count=3, sessions=[LATER], totalSessions=1, totalSpent=5)


def gone_from_before(live: Db) -> None:
    delete(live, 7)


def gone_whole_from_before(live: Db) -> None:
    live.bookings.delete_one({"clientId": client(7)})


def gone_without_sessions(live: Db) -> None:
    live.bookings.delete_one({"clientId": client(8)})


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (gone_whole, 3),
        (gone_and_booked_again, 3),
        (gone_from_before, 1),
        (gone_whole_from_before, 1),
        (gone_without_sessions, 1),
    ],
)
def test_what_may_be_gone(live: Db, command: Command, change: Callable[[Db], None], missing: int) -> None:
    """Sessions and whole client documents, those from before the migration too, are counted with the option only."""
    change(live)
    refused, done = command(*FINALIZE), command(*ALLOWING)

    assert (4, 0) == (refused.returncode, done.returncode), done.stderr
    assert ((0, missing), (missing, 0)) == (counted(refused), counted(done))
    assert missing == json.loads(refused.stdout)["mismatch_count"]


def twice(live: Db) -> None:
    first = (live.bookings.find_one({"clientId": client(0)}) or {})["sessions"][0]
    change(live, {"$push": {"sessions": first}, "$inc": {"totalSessions": 1, "totalSpent": first["price"]}})


def another_booking(live: Db) -> None:
    change(live, {"$set": {"sessions.0.legacyBookingId": 5}})


def wrong_totals(live: Db) -> None:
    change(live, {"$inc": {"totalSessions": 1}})


def another_user(live: Db) -> None:
    change(live, {"$set": {"clientUserId": "another"}})


def change(live: Db, how: dict[str, Any]) -> None:
    live.bookings.update_one({"clientId": client(0)}, how)


@pytest.mark.parametrize("also", [twice, another_booking, wrong_totals, another_user])
def test_what_stays_a_mismatch(live: Db, command: Command, also: Callable[[Db], None]) -> None:
    """What is wrong beside the deletion prevents the end with the option, too, and only that is a mismatch then."""
    delete(live, 0)
    also(live)
    done = command(*ALLOWING)

    assert (4, (1, 0), 1) == (done.returncode, counted(done), len(names(live)))
    assert not any(
        "--allow-deleted" in (each["command"] or "") for each in json.loads(done.stdout)["next_steps"]
    )


def test_killed_before_the_drop(live: Db, command: Command, killed: Callable[..., int]) -> None:
    """The command that status prints has the option, too, and completes it."""
    delete(live, 0)
    assert -9 == killed(Step.FINALIZE_NOTED.value, 1, *ALLOWING)
    printed = json.loads(command("status", "--json").stdout)["runs"][0]["possible"][0]
    done = command(*shlex.split(printed)[1:], "--yes", "--json")

    assert "booking-migrate finalize --source bookings --allow-deleted" == printed
    assert (0, (1, 0)) == (done.returncode, counted(done)), done.stderr


def test_it_is_asked(live: Db, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question counts what is gone for good."""
    delete(live, 0)
    asked: list[str] = []
    refused = command("finalize", "--source", "bookings", "--allow-deleted")
    monkeypatch.setattr(finalize, "confirm_by_name", lambda what, _name: asked.append(what))
    monkeypatch.setattr(finalize, "is_interactive", lambda: True)
    done = command("finalize", "--source", "bookings", "--allow-deleted", "--json")

    assert 5 == refused.returncode
    assert "finalize --source bookings --allow-deleted --yes" in " ".join(refused.stderr.split())
    assert 0 == done.returncode, done.stderr
    (question,) = asked
    assert (
        "old bookings that are gone for good, since the application has deleted their sessions: 1" in question
    )


def test_in_place(database: Db, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place it is the same; the question comes when it is known how many are gone."""
    database.bookings.insert_many(map(booking, range(8)))
    assert 0 == command("migrate", "--in-place", "--source", "bookings", "--quiet").returncode
    delete(database, 0)
    refused = command(*FINALIZE)
    asked: list[str] = []
    monkeypatch.setattr(finalize, "confirm_by_name", lambda what, _name: asked.append(what))
    report = json.loads(refused.stdout)
    printed = next(
        each["command"] for each in report["next_steps"] if "--allow-deleted" in (each["command"] or "")
    )
    done = command(*shlex.split(printed)[1:], "--json")

    assert (4, 1) == (refused.returncode, report["mismatch_count"])
    assert 0 == done.returncode, done.stderr
    assert ["gone for good" in each for each in asked] == [False, True]
    assert (1, 0) == counted(done)
    assert "bookings_legacy" not in database.list_collection_names()


def test_verify_says_it(live: Db, command: Command) -> None:
    """After a cut-over, the mismatches of verify come with the same way out."""
    delete(live, 0)
    done = command("verify", *PLACES, "--json")

    assert 4 == done.returncode
    assert any("--allow-deleted" in (each["command"] or "") for each in json.loads(done.stdout)["next_steps"])
