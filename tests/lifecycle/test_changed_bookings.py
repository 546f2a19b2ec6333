"""Bookings that the application changes after `migrate`: nothing stale survives the next run or the cut-over."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.stores.mongo.raw import find_raw
from tests.lifecycle.conftest import Command, Ended, contents
from tests.support.booking_lines import booking, client
from tests.support.changed_bookings import (
    BEHIND,
    CLIENTS,
    EVERYTHING,
    SOUND,
    SPOILED,
    SPREAD,
    Change,
    change,
    delete_client,
    fill_for_each,
    insert,
    make_each,
    move,
    spoil,
)

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--target", "clients", "--quiet", "--json")
MIGRATE = ("migrate", *PLACES, "--batch-size", "5")
VERIFY = ("verify", *PLACES, "--recheck", "0")
CUTOVER = ("cutover", *PLACES, "--yes")
ROLLBACK = ("rollback", *PLACES, "--yes")
_SESSION = {"sessionId": ObjectId("6" * 24), "price": 12}


@pytest.fixture
def platform(database: Db) -> Db:
    """Twenty-four bookings of four clients."""
    database.bookings.insert_many(
        [booking(number, clientId=client(number % CLIENTS)) for number in range(24)]
    )
    return database


def counts(ended: Ended) -> dict[str, int]:
    """The counts of a report."""
    found: dict[str, int] = json.loads(ended.stdout)["counts"]
    return found


def kinds(ended: Ended) -> set[str]:
    """The kinds of the mismatches that verify found."""
    return {each["kind"] for each in json.loads(ended.stdout)["mismatches"]}


def of_each(database: Db, name: str, changes: Sequence[Change]) -> dict[str, list[bytes]]:
    """The documents of a collection as bytes, by the change whose clients they are of."""
    places = [
        {"$gte": client(number * SPREAD), "$lt": client((number + 1) * SPREAD)}
        for number in range(len(changes))
    ]
    return {
        act.__name__: sorted(find_raw(database[name], {"clientId": place}))
        for act, place in zip(changes, places, strict=True)
    }


def fresh(database: Db, command: Run, changes: Sequence[Change]) -> dict[str, list[bytes]]:
    """What a first migration of the source as it is now would write."""
    command("migrate", *PLACES, "--target", "fresh")
    documents = of_each(database, "fresh", changes)
    command("rollback", "--target", "fresh", "--yes")
    assert all(documents.values())
    return documents


def documents_of(database: Db, name: str) -> list[bytes]:
    """The documents of a collection as bytes, in client order."""
    found = database[name].aggregate_raw_batches([{"$sort": {"clientId": 1}}])
    return [bytes(batch) for batch in found]  # type: ignore[arg-type]


@pytest.mark.parametrize(("changes", "code"), [(SOUND, 0), (SPOILED, 3)], ids=["sound", "spoiled"])
def test_the_next_migrate_derives_again(
    database: Db, command: Run, changes: Sequence[Change], code: int
) -> None:
    """Whatever changed, the target becomes what a first migration of today's source would write; verify agrees."""
    fill_for_each(database, changes)
    command.once(MIGRATE)
    make_each(database, changes)
    behind = command(*VERIFY)
    expected = fresh(database, command, changes)
    again = command(*MIGRATE)
    verified = command(*VERIFY)

    assert 0 == behind.returncode
    assert sum(BEHIND[act] for act in changes) == json.loads(behind.stdout)["behind"]
    assert (code, 0) == (again.returncode, verified.returncode), again.stderr
    assert 0 == counts(again)["conflicts"]
    assert counts(again)["scanned"] == database.bookings.count_documents({})
    assert expected == of_each(database, "clients", changes)
    assert False is json.loads(command(*MIGRATE).stdout)["changed"]


def test_a_cutover_brings_the_truth_live(database: Db, command: Run) -> None:
    """Changes between migrate, verify and cut-over are live in the end; the order of commands does not matter."""
    fill_for_each(database, EVERYTHING)
    command.once(MIGRATE)
    make_each(database, EVERYTHING)
    command(*VERIFY)
    command(*MIGRATE)
    command(*VERIFY)
    latest = database.bookings.find_one({}, sort=[("_id", -1)]) or {}
    database.bookings.update_one({"_id": latest["_id"]}, {"$set": {"notes": "written before the fence"}})
    expected = fresh(database, command, EVERYTHING)
    ended = command(*CUTOVER, "--rejected", "leave")

    assert 0 == ended.returncode, ended.stderr
    assert expected == of_each(database, "bookings", EVERYTHING)


def test_counts_say_what_was_there(platform: Db, command: Run) -> None:
    """Of a second run only the bookings count as migrated whose sessions are new or other than before."""
    command.once(MIGRATE)
    change(platform)
    insert(platform)
    again = json.loads(command(*MIGRATE).stdout)

    assert (26, 3, 23, 0) == tuple(
        again["counts"][name] for name in ("scanned", "migrated", "already_migrated", "rejected")
    )
    assert (1, 1, 0) == tuple(again[f"documents_{name}"] for name in ("written", "changed", "removed"))
    delete_client(platform)
    assert 1 == json.loads(command(*MIGRATE).stdout)["documents_removed"]


def test_dry_run_foresees_it(platform: Db, command: Run) -> None:
    """A dry-run over a target of an earlier run counts what migrate will count."""
    command.once(MIGRATE)
    for act in (change, insert, move):
        act(platform)
    foreseen = command("dry-run", *PLACES)
    done = command(*MIGRATE)

    assert counts(foreseen) == counts(done)


def test_other_options_derive_again(platform: Db, command: Run) -> None:
    """A run with a waived rule takes in what the first one rejected, in its place; without it, it goes again."""
    spoil(platform)
    without = command(*MIGRATE)
    plain = documents_of(platform, "clients")
    waived = command(*MIGRATE, "--accept", "duration-too-short")

    assert (3, 0) == (without.returncode, waived.returncode), waived.stderr
    assert (1, 23) == (counts(waived)["migrated"], counts(waived)["already_migrated"])
    assert 0 == command(*VERIFY, "--accept", "duration-too-short").returncode
    assert 3 == command(*MIGRATE).returncode
    assert plain == documents_of(platform, "clients")


def test_a_document_of_the_application_comes_back(platform: Db, command: Run) -> None:
    """A client document that was there before keeps its sessions, and is restored when the bookings are gone."""
    own = {"_id": 1, "clientId": client(1), "sessions": [_SESSION], "totalSessions": 1}
    platform.clients.insert_one(own)
    command.once(MIGRATE)
    delete_client(platform)
    again = command(*MIGRATE)

    assert 0 == again.returncode, again.stderr
    assert own == platform.clients.find_one({"clientId": client(1)})
    assert 0 == command(*VERIFY, "--allow-later").returncode


def damage(database: Db) -> None:
    """Change a session in the target, as a hand or an application does."""
    database.clients.update_one({"clientId": client(1)}, {"$set": {"sessions.0.meetingLink": "elsewhere"}})


def test_a_changed_session_is_a_conflict(platform: Db, command: Run) -> None:
    """Damage in the target is never proven: a mismatch before migrate, a conflict after it, refused by cutover."""
    command.once(MIGRATE)
    damage(platform)
    before = command(*VERIFY)
    again = command(*MIGRATE)
    after = command(*VERIFY)
    refused = command(*CUTOVER, "--rejected", "carry")

    assert (4, {"content"}) == (before.returncode, kinds(before))
    assert (3, 1, 1) == (again.returncode, counts(again)["rejected"], counts(again)["conflicts"])
    assert (4, {"conflict"}) == (after.returncode, kinds(after))
    assert 5 == refused.returncode
    assert "--on-conflict" in refused.stderr + refused.stdout
    (mismatch,) = json.loads(after.stdout)["mismatches"]
    assert ("meetingLink", str(booking(1)["_id"])) == (mismatch["field"], mismatch["booking_id"])


def test_damage_behind_a_verification_stops_the_cutover(platform: Db, command: Run) -> None:
    """A target that is damaged after the last verify does not go live, whatever becomes of rejected bookings."""
    platform.bookings.insert_one(booking(70, duration=5))
    command.once(MIGRATE)
    assert 0 == command(*VERIFY).returncode
    damage(platform)
    source = contents(platform)["bookings"]
    refused = command(*CUTOVER, "--rejected", "carry")

    assert 5 == refused.returncode
    assert "changed by others" in refused.stdout
    assert source == contents(platform)["bookings"]
    platform.bookings.insert_one(booking(71))


@pytest.mark.parametrize("policy", ["source", "target"])
def test_a_conflict_is_decided(platform: Db, command: Run, policy: str) -> None:
    """With --on-conflict the session is derived again or kept for good; then verify and cutover pass."""
    command.once(MIGRATE)
    expected = documents_of(platform, "clients")
    damage(platform)
    damaged = documents_of(platform, "clients")
    command(*MIGRATE)
    decided = command(*MIGRATE, "--on-conflict", policy)
    verified = command(*VERIFY, "--on-conflict", policy)

    assert (0, 0, 0) == (decided.returncode, counts(decided)["conflicts"], verified.returncode), (
        verified.stdout
    )
    assert (expected if policy == "source" else damaged) == documents_of(platform, "clients")
    again = command(*MIGRATE, "--on-conflict", policy)
    assert (0, False) == (again.returncode, json.loads(again.stdout)["changed"])
    ended = command(*CUTOVER, "--on-conflict", policy, "--rejected", "carry")
    assert 0 == ended.returncode, ended.stderr
    assert (expected if policy == "source" else damaged) == documents_of(platform, "bookings")


def test_a_decision_is_recorded(platform: Db, command: Run) -> None:
    """The booking whose session was kept is kept whole with that decision, and is not carried beside the session."""
    command.once(MIGRATE)
    damage(platform)
    decided = json.loads(command(*MIGRATE, "--on-conflict", "target").stdout)
    (record,) = platform.booking_migrate_rejected.find()

    assert ("conflict", "target", booking(1)["_id"]) == (
        record["reason"],
        record["decision"],
        record["booking"]["_id"],
    )
    assert ["conflicts-kept-target"] == [each["kind"] for each in decided["findings"]]
    assert (0, 24) == (decided["counts"]["migrated"], decided["counts"]["already_migrated"])


def test_other_bookings_of_a_changed_document_go_on(platform: Db, command: Run) -> None:
    """In a document that others changed, what is new is still added, behind what is there."""
    command.once(MIGRATE)
    platform.clients.update_one({"clientId": client(1)}, {"$push": {"sessions": _SESSION}})
    platform.bookings.insert_one(booking(61, clientId=client(1)))
    again = command(*MIGRATE)
    sessions = (platform.clients.find_one({"clientId": client(1)}) or {})["sessions"]

    assert (0, 1) == (again.returncode, counts(again)["migrated"]), again.stderr
    assert _SESSION == sessions[-2]
    assert booking(61)["_id"] == sessions[-1]["legacyBookingId"]


def test_a_client_document_that_appears_in_the_source(platform: Db, command: Run) -> None:
    """A client document that the application writes into the source after a run takes over the run's document."""
    command.once(MIGRATE)
    own = {"_id": 7, "clientId": client(1), "sessions": [_SESSION], "totalSessions": 1, "totalSpent": 12}
    platform.bookings.insert_one(own)
    again = command(*MIGRATE)
    found = list(platform.clients.find({"clientId": client(1)}))

    assert 0 == again.returncode, again.stderr
    assert [7] == [each["_id"] for each in found]
    assert (_SESSION, 7) == (found[0]["sessions"][0], len(found[0]["sessions"]))
    assert 0 == command(*VERIFY).returncode


def test_runs_of_another_source_are_others(platform: Db, command: Run) -> None:
    """What a run from another source wrote is kept: its bookings are not in this one."""
    platform.second.insert_many([booking(200 + number, clientId=client(number)) for number in range(CLIENTS)])
    command.once(MIGRATE)
    first = command("migrate", *PLACES, "--source", "second")
    second = command("migrate", *PLACES, "--source", "second")

    assert (0, 4) == (first.returncode, counts(first)["migrated"])
    assert False is json.loads(second.stdout)["changed"]
    assert {7} == {len(each["sessions"]) for each in platform.clients.find()}


@pytest.mark.parametrize("names_run", [False, True])
def test_rollback_undoes_every_run(platform: Db, command: Run, names_run: bool) -> None:
    """Rollback undoes all runs into the target, the newest first; a run named alone says which ones remain."""
    own = {"_id": 1, "clientId": client(1), "sessions": [_SESSION], "totalSessions": 1}
    platform.clients.insert_one(own)
    before = contents(platform)
    first = json.loads(command(*MIGRATE).stdout)["run_id"]
    for act in (change, insert):
        act(platform)
    second = json.loads(command(*MIGRATE).stdout)["run_id"]
    delete_client(platform)
    third = json.loads(command(*MIGRATE).stdout)["run_id"]
    expected = {name: digest for name, digest in contents(platform).items() if name == "bookings"}
    ended = command(*ROLLBACK, *(("--run", third) if names_run else ()))
    undone = json.loads(ended.stdout)["undone"]

    assert 0 == ended.returncode, ended.stderr
    assert ([second, first], []) == (
        (undone["remaining"], undone["earlier"])
        if names_run
        else ([each["run_id"] for each in undone["earlier"]], undone["remaining"])
    )
    if names_run:
        assert 0 == command(*ROLLBACK).returncode
    assert {**expected, "clients": before["clients"]} == contents(platform)


def test_rollback_keeps_what_others_wrote_between_two_writes(platform: Db, command: Run) -> None:
    """What others changed between two runs is put back when the later one is undone, and is kept by the earlier one."""
    command.once(MIGRATE)
    platform.clients.update_one({"clientId": client(1)}, {"$push": {"sessions": _SESSION}})
    theirs = platform.clients.find_one({"clientId": client(1)})
    platform.bookings.insert_one(booking(61, clientId=client(1)))
    command(*MIGRATE)
    ended = command(*ROLLBACK)

    assert 3 == ended.returncode, ended.stderr
    assert [theirs] == list(platform.clients.find())


@pytest.mark.parametrize("names_run", [False, True])
def test_rollback_after_a_cutover_undoes_the_earlier_runs_too(
    platform: Db, command: Run, *, names_run: bool
) -> None:
    """After a cut-over of the second run, rollback leaves no run that stands, and a new migration begins afresh."""
    before = contents(platform)["bookings"]
    command.once(MIGRATE)
    platform.bookings.insert_one(booking(62))
    command(*MIGRATE)
    command(*VERIFY)
    cut_over = json.loads(command(*CUTOVER).stdout)["run_id"]
    ended = command(*ROLLBACK, *(("--run", cut_over) if names_run else ()))

    assert 0 == ended.returncode, ended.stderr
    assert [] == json.loads(ended.stdout)["undone"]["remaining"]
    platform.bookings.delete_one({"_id": booking(62)["_id"]})
    assert before == contents(platform)["bookings"]
    assert {"rolled-back"} == {run["state"] for run in platform.booking_migrate_runs.find()}
    assert 0 == command(*MIGRATE).returncode
    assert 0 == command(*VERIFY).returncode


def test_a_rejected_client_document_is_carried(platform: Db, command: Run) -> None:
    """A client document of the source that cannot be read as one goes along like a rejected booking."""
    strange = {"_id": 9, "clientId": client(1), "sessions": "none"}
    platform.bookings.insert_one(strange)
    assert 3 == command(*MIGRATE).returncode
    assert 0 == command(*VERIFY).returncode
    ended = command(*CUTOVER, "--rejected", "carry")

    assert 0 == ended.returncode, ended.stderr
    assert strange == platform.bookings.find_one({"_id": 9})
