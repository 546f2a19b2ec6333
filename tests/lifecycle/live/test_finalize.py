"""The end of a cut-over: verified once more, and what only a way back would need is dropped."""

import json
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import WriteError

from booking_migrate.cli import finalize
from tests.lifecycle.conftest import Command, contents
from tests.support.booking_lines import booking, client
from tests.support.fail_commands import failing
from tests.support.failpoints import Step
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Command
Killed = Callable[..., int]

PLACES = ("--source", "bookings", "--target", "clients")
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")
FINALIZE = ("finalize", "--source", "bookings", "--yes", "--json")
LATER = {"sessionId": ObjectId("68b61bd7a4c0bf9eaab38ef0"), "price": 5, "status": "pending"}


def go_live(command: Run, *more: str) -> None:
    """Migrate, verify and cut over."""
    done = command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"), (*CUTOVER, *more))
    assert done in ([0, 0, 0], [3, 0, 0])


@pytest.fixture
def live(database: Db, command: Run) -> Db:
    """Forty bookings of four clients, cut over."""
    database.bookings.insert_many(map(booking, range(40)))
    go_live(command)
    return database


def use(live: Db) -> None:
    """What a new application does: it books a session for one client, and changes one of another."""
    now = datetime(2039, 1, 1, tzinfo=UTC)
    live.bookings.update_one(
        {"clientId": client(0)},
        {
            "$push": {"sessions": LATER},
            "$inc": {"totalSessions": 1, "totalSpent": LATER["price"]},
            "$set": {"updatedAt": now},
        },
    )
    live.bookings.update_one(
        {"clientId": client(1)},
        {"$set": {"sessions.0.notes": "changed", "sessions.0.updatedAt": now, "updatedAt": now}},
    )


def names(database: Db) -> set[str]:
    """The names of the kept copies."""
    return {name for name in database.list_collection_names() if "_legacy" in name}


def validator(database: Db) -> Any:
    """The live collection's validator; None without one."""
    return database.bookings.options().get("validator") or None


def test_what_is_dropped(live: Db, command: Run) -> None:
    """The kept copy, the guard, the notes and the dirty set go; the client documents stay byte for byte, and no way back."""
    before = list(live.bookings.find().sort("_id", 1))
    live.booking_migrate_dirty.insert_one({"_id": f"{json_run(command)['run_id']}/clients/x", "version": 1})
    done = command(*FINALIZE)
    report = json.loads(done.stdout)

    assert 0 == done.returncode, done.stderr
    assert (True, 0) == (report["finalized"]["dropped"], report["mismatch_count"])
    assert report["finalized"]["archive"].startswith("bookings_legacy_")
    assert before == list(live.bookings.find().sort("_id", 1))
    assert (set(), None) == (names(live), validator(live))
    assert 0 == live.booking_migrate_ranges.count_documents({})
    assert 0 == live.booking_migrate_dirty.count_documents({})
    assert "finalized" == json_run(command)["state"]
    assert 12 == command("rollback", "--target", "clients", "--yes").returncode


def test_a_second_time(live: Db, command: Run) -> None:
    """It says that it is finalized already and that old ids stay, asks nothing and changes nothing; status offers no dropped archive."""
    assert 0 == command(*FINALIZE).returncode
    before = contents(live)
    again = command("finalize", "--source", "bookings", "--json")
    shown = command("finalize", "--source", "bookings", "--drop-legacy-ids")
    report, said = json.loads(again.stdout), " ".join(f"{shown.stdout} {shown.stderr}".split())

    assert (0, False) == (again.returncode, report["changed"]), again.stderr
    assert (True, True) == (report["finalized"]["already"], report["finalized"]["dropped"])
    assert [] == [each for each in ("Finalized already", "the old ids stay in bookings") if each not in said]
    assert before == contents(live)
    assert [] == json_run(command)["possible"]


def test_nothing_to_finalize(database: Db, command: Run) -> None:
    """Without a cut-over and without a run in place, both are named."""
    database.bookings.insert_many(map(booking, range(4)))
    command("migrate", *PLACES, "--quiet")
    done = command(*FINALIZE)

    assert 12 == done.returncode
    assert "no cut-over of bookings and no run in place in bookings" in " ".join(done.stderr.split())


def json_run(command: Run) -> Mapping[str, Any]:
    """The newest run as status shows it."""
    run: Mapping[str, Any] = json.loads(command("status", "--json").stdout)["runs"][0]
    return run


def test_the_own_validator_stays(database: Db, command: Run) -> None:
    """The user's own validator holds after the guard is gone."""
    database.bookings.insert_many(map(booking, range(8)))
    command("migrate", *PLACES, "--quiet")
    own = {"totalSessions": {"$gte": 0}}
    database.command("collMod", "clients", validator=own)
    go_live(command)
    guarded = validator(database)
    assert 0 == command(*FINALIZE).returncode
    database.bookings.insert_one({"_id": 1, "totalSessions": 1})

    assert own != guarded
    assert own == validator(database)
    with pytest.raises(WriteError, match="failed validation"):
        database.bookings.update_one({"_id": 1}, {"$set": {"totalSessions": -1}})


@pytest.mark.each_value
@pytest.mark.parametrize("level", ["strict", "moderate", "off"])
@pytest.mark.parametrize("action", ["error", "warn"])
@pytest.mark.parametrize("policy", ["carry", "leave"])
def test_the_own_validation_is_as_before(
    database: Db, command: Run, level: str, action: str, policy: str
) -> None:
    """A validator of the user's own, its level and its action are the same after finalize as before the cut-over."""
    database.bookings.insert_many([*map(booking, range(8)), booking(8, duration=5)])
    command("migrate", *PLACES, "--quiet")
    own: dict[str, Any] = {
        "validator": {"$jsonSchema": {"properties": {"totalSessions": {"minimum": 0}}}},
        "validationLevel": level,
        "validationAction": action,
    }
    database.command("collMod", "clients", **own)
    go_live(command, "--rejected", policy)
    with pytest.raises(WriteError, match="failed validation"):
        database.bookings.insert_one({**booking(60), "clientId": client(60)})
    assert 0 == command(*FINALIZE).returncode

    assert own == {name: database.bookings.options()[name] for name in own}


def test_what_the_new_application_did_is_counted(live: Db, command: Run) -> None:
    """Sessions booked and changed since are no obstacle, and stay."""
    use(live)
    done = command(*FINALIZE)

    assert 0 == done.returncode, done.stdout
    assert 1 == live.bookings.count_documents({"sessions.notes": "changed"})
    assert 1 == live.bookings.count_documents({"sessions.sessionId": LATER["sessionId"]})


def test_what_is_not_proven_is_kept(live: Db, command: Run) -> None:
    """With a mismatch nothing is dropped, the exit code is 4, and the rollback is still there."""
    live.bookings.update_one({"clientId": client(1)}, {"$pop": {"sessions": 1}})
    done = command(*FINALIZE)

    assert 4 == done.returncode
    assert 1 == len(names(live))
    assert validator(live) is not None
    assert "cut-over" == json_run(command)["state"]
    assert 3 == command("rollback", "--target", "clients", "--yes").returncode


def test_asked_for(live: Db, command: Run) -> None:
    """Without a terminal and --yes nothing is dropped, and what would be is named."""
    done = command("finalize", "--source", "bookings")

    assert 5 == done.returncode
    assert f"drops {names(live).pop()}" in " ".join(done.stderr.split())
    assert "cut-over" == json_run(command)["state"]


def test_carried_bookings_stay_and_are_named(database: Db, command: Run) -> None:
    """Rejected bookings that the cut-over carried along are named by finalize, and stand there afterwards."""
    database.bookings.insert_many([*map(booking, range(8)), booking(8, duration=5)])
    go_live(command, "--rejected", "carry")
    done = command(*FINALIZE)
    found = json.loads(done.stdout)["finalized"]["old_bookings"]

    assert 0 == done.returncode, done.stderr
    assert (1, 0, [str(booking(8)["_id"])]) == (found["carried"], found["later"], found["carried_ids"])
    assert [booking(8)["_id"]] == [
        each["_id"] for each in database.bookings.find({"sessions": {"$exists": False}})
    ]


@pytest.mark.parametrize(
    "step",
    [Step.ARCHIVE_DROPPED, Step.LEGACY_IDS_DROPPED, Step.NOTES_DROPPED],
    ids=lambda step: step.value,
)
def test_killed_at_every_step(live: Db, command: Run, killed: Killed, step: Step) -> None:
    """A finalize that is killed behind the drop is completed by the command that status prints; rollback and migrate are refused."""
    arguments = (*FINALIZE, "--drop-legacy-ids")
    assert -9 == killed(step.value, 1, *arguments)
    assert 12 == command("rollback", "--target", "clients", "--yes").returncode
    if step is not Step.NOTES_DROPPED:
        assert 5 == command("migrate", "--in-place", "--source", "bookings").returncode
        (printed,) = json_run(command)["possible"]
        assert "booking-migrate finalize --source bookings --drop-legacy-ids" == printed
    done = command(*arguments)

    assert 0 == done.returncode, done.stderr
    assert 0 == live.bookings.count_documents({"sessions.legacyBookingId": {"$exists": True}})
    assert (set(), None) == (names(live), validator(live))


def test_the_command_that_cutover_prints(database: Db, command: Run) -> None:
    """The report of a cut-over names the complete command that ends it, with the run's options."""
    database.bookings.insert_many([*map(booking, range(8)), booking(8, currency="CHF")])
    options = ("--accept", "currency-not-allowed")
    for each in (("migrate", *PLACES), ("verify", *PLACES), CUTOVER):
        done = command(*each, *options)
        assert 0 == done.returncode, done.stderr
    step = json.loads(done.stdout)["next_steps"][-1]["command"]
    assert step in json_run(command)["possible"]
    ended = command(*shlex.split(step)[1:], "--yes")

    assert 0 == ended.returncode, ended.stderr
    assert "--accept currency-not-allowed" in step
    assert set() == names(database)


def test_several_runs_are_ended_together(database: Db, command: Run) -> None:
    """Earlier runs into the same target are finalized with the one that was cut over."""
    database.bookings.insert_many(map(booking, range(8)))
    command("migrate", *PLACES, "--quiet")
    database.bookings.insert_one(booking(8))
    go_live(command)
    assert 0 == command(*FINALIZE).returncode
    runs = json.loads(command("status", "--json").stdout)["runs"]

    assert [("finalized", []), ("finalized", [])] == [(run["state"], run["possible"]) for run in runs]


@pytest.mark.parametrize("earlier", [False, True], ids=["one run", "an earlier run, too"])
def test_killed_before_the_drop_it_can_be_undone(
    database: Db, command: Run, killed: Killed, earlier: bool
) -> None:
    """As long as the kept copy exists, status offers the rollback beside finalize, and it gives everything back."""
    database.bookings.insert_many(map(booking, range(40)))
    if earlier:
        command("migrate", *PLACES, "--quiet")
        database.bookings.insert_one(booking(40))
    before = contents(database)["bookings"]
    go_live(command)
    assert -9 == killed(Step.FINALIZE_NOTED.value, 1 + earlier, *FINALIZE, "--drop-legacy-ids")
    run = json_run(command)
    undone = command("rollback", "--target", "clients", "--yes", "--json")
    runs = json.loads(command("status", "--json").stdout)["runs"]

    assert "finalizing" == run["state"]
    assert [
        "booking-migrate finalize --source bookings --drop-legacy-ids",
        f"booking-migrate rollback --run {run['run_id']}",
    ] == run["possible"]
    assert 0 == undone.returncode, undone.stderr
    assert {"rolled-back"} == {each["state"] for each in runs}
    assert (before, set()) == (contents(database)["bookings"], names(database))


def test_killed_before_the_drop_it_begins_anew(live: Db, command: Run, killed: Killed) -> None:
    """The next finalize asks and verifies again: a mismatch that has come since keeps the kept copy, the guard and the way back."""
    assert -9 == killed(Step.FINALIZE_NOTED.value, 1, *FINALIZE)
    assert 5 == command("finalize", "--source", "bookings").returncode
    sessions = live.bookings.find_one({"clientId": client(1)})["sessions"]  # type: ignore[index]
    live.bookings.update_one({"clientId": client(1)}, {"$pop": {"sessions": 1}})
    refused = command(*FINALIZE)
    state = json_run(command)["state"]
    live.bookings.update_one({"clientId": client(1)}, {"$set": {"sessions": sessions}})
    done = command(*FINALIZE)

    assert (4, "cut-over") == (refused.returncode, state)
    assert (0, 40) == (done.returncode, json.loads(done.stdout)["counts"]["scanned"])
    assert (set(), None) == (names(live), validator(live))


def test_killed_before_the_drop_with_a_later_run_in_place(database: Db, command: Run, killed: Killed) -> None:
    """The later run in place is undone first, then the cut-over, as without the finalize."""
    database.bookings.insert_many(map(booking, range(40)))
    before = list(database.bookings.find().sort("_id", 1))
    go_live(command)
    straggler = {**booking(50), "clientId": client(50)}
    database.bookings.insert_one(straggler, bypass_document_validation=True)
    assert 0 == command("migrate", "--in-place", "--source", "bookings", "--quiet").returncode
    before.append(database.bookings_legacy.find_one() or {})
    assert -9 == killed(Step.FINALIZE_NOTED.value, 2, *FINALIZE)
    too_early = command("rollback", "--target", "clients", "--yes")
    later = command("rollback", "--target", "bookings", "--yes")
    undone = command("rollback", "--target", "clients", "--yes")

    assert 5 == too_early.returncode
    assert 0 == later.returncode, later.stderr
    assert undone.returncode in (0, 3), undone.stderr
    assert 0 == database.bookings.count_documents({"sessions": {"$exists": True}})
    assert before == list(database.bookings.find().sort("_id", 1))


def stored_bypassing(database: Db, number: int) -> None:
    """An old booking that an old application stores beside the client documents, past the guard."""
    straggler = {**booking(number), "clientId": client(number)}
    database.bookings.insert_one(straggler, bypass_document_validation=True)


def without_guard(database: Db) -> None:
    """What a finalize has done when it is killed right before it drops the kept copy."""
    database.command("collMod", "bookings", validator={})


def test_an_archive_alone(live: Db, command: Run) -> None:
    """The archive of a run in place after a cut-over is not dropped alone; the command that is named ends both."""
    stored_bypassing(live, 50)
    assert 0 == command("migrate", "--in-place", "--source", "bookings", "--quiet").returncode
    before = contents(live)
    refused = command(*FINALIZE, "--archive", "bookings_legacy")
    assert (5, before) == (refused.returncode, contents(live))
    (named,) = (line for line in refused.stderr.splitlines() if line.startswith("  booking-migrate "))
    done = command(*shlex.split(named)[1:], "--yes", "--json")
    report = json.loads(done.stdout)

    assert 0 == done.returncode, done.stderr
    assert ["bookings_legacy"] == report["finalized"]["also_dropped"]
    assert {"booking_migrate_runs", "booking_migrate_locks"} <= set(report["finalized"]["records"])
    assert "booking_migrate_(runs|" in report["next_steps"][-1]["command"]


def test_killed_before_the_drop_the_guard_comes_back_with_any_command(
    live: Db, server: Server, command: Run, killed: Killed
) -> None:
    """What takes the begun finalize back lets the live collection refuse old bookings again, which are lost otherwise."""
    assert -9 == killed(Step.FINALIZE_NOTED.value, 1, *FINALIZE)
    without_guard(live)
    with failing(server, ["renameCollection"], {"errorCode": 96}):
        assert 5 == command("rollback", "--target", "clients", "--yes").returncode

    assert "cut-over" in {each["state"] for each in json.loads(command("status", "--json").stdout)["runs"]}
    with pytest.raises(WriteError, match="failed validation"):
        live.bookings.insert_one({**booking(99), "clientId": client(99)})


def test_an_unfinished_run_is_said_before_anything_is_asked(live: Db, command: Run, killed: Killed) -> None:
    """A later run in place that was killed has to be completed first: a finalize says so, and asks for no confirmation."""
    stored_bypassing(live, 50)
    assert -9 == killed(Step.BATCH_WRITTEN.value, 1, "migrate", "--in-place", "--source", "bookings")
    done = command("finalize", "--source", "bookings")

    assert 5 == done.returncode
    assert "is not finished" in done.stderr
    assert "migrate --in-place" in " ".join(done.stderr.split())
    assert "drops" not in done.stderr


def test_what_it_asks(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question counts the old bookings that stay, and names the command that converts them; so does the report."""
    database.bookings.insert_many([*map(booking, range(8)), booking(8, duration=5)])
    go_live(command, "--rejected", "carry")
    database.bookings.insert_many(map(booking, range(50, 52)), bypass_document_validation=True)
    asked: list[str] = []
    monkeypatch.setattr(finalize, "confirm_by_name", lambda what, _name: asked.append(what))
    converts = "booking-migrate migrate --in-place --source bookings --archive bookings_legacy"
    before = contents(database)
    refused = command("finalize", "--source", "bookings", "--quiet")
    assert (5, before) == (refused.returncode, contents(database))
    assert f"since 2; to convert them, once that is stopped: {converts}" in " ".join(refused.stderr.split())
    monkeypatch.setattr(finalize, "is_interactive", lambda: True)
    done = command("finalize", "--source", "bookings", "--json")
    report = json.loads(done.stdout)

    assert 0 == done.returncode, done.stderr
    (question,) = asked
    assert "carried along by the cut-over 1, written by an old application since 2" in question
    assert converts in question
    assert (1, 2) == tuple(report["finalized"]["old_bookings"][name] for name in ("carried", "later"))
    assert [converts] == [each["command"] for each in report["next_steps"]]
    assert 3 == command(*shlex.split(converts)[1:], "--quiet").returncode
    assert 1 == database.bookings.count_documents({"sessions": {"$exists": False}})
