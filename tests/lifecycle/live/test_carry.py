"""Rejected bookings are carried along within the limit: what takes long for many clients is done before writes are refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bson import decode, encode
from pymongo import MongoClient, monitoring
from pymongo.database import Database
from pymongo.errors import WriteError

from booking_migrate.stores.mongo.live_swap import LiveSwap
from tests.lifecycle.conftest import Command
from tests.support.booking_lines import booking, client
from tests.support.failpoints import Step, failpoints
from tests.support.killed import dies_at, stopped_at
from tests.support.sent_commands import SentCommands

Db = Database[dict[str, Any]]
Run = Command

PLACES = ("--source", "bookings", "--target", "clients")
DOCUMENT_VALIDATION_FAILURE = 121
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--rejected", "carry", "--max-outage", "60s")
INDEXES = ["_id_", "booking_migrate_legacy_ids", "clientId_1_every", "clientId_1_sessions"]


class Sent(SentCommands):
    """The names of commands, in order, with the steps of the cut-over."""

    def __init__(self) -> None:
        self.seen: list[str | Step] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.seen.append(event.command_name)

    def behind_fences(self) -> list[str]:
        """What was sent while writes were refused."""
        found: list[str] = []
        is_fenced = False
        for each in self.seen:
            if isinstance(each, Step):
                is_fenced = (is_fenced or each is Step.FENCED) and each is not Step.SWAPPED
            elif is_fenced:
                found.append(each)
                # An attempt that was aborted lifts its fence by the first of these.
                is_fenced = each != "collMod"
        return found


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What the program sends from here on."""
    listener = Sent()

    def listening(uri: str) -> MongoClient[dict[str, Any]]:
        return MongoClient(uri, event_listeners=[listener])

    monkeypatch.setattr("booking_migrate.stores.mongo.connection.make_client", listening)
    return listener


@pytest.mark.parametrize("aborted", [0, 1])
def test_no_index_is_built_behind_the_fence(
    database: Db, command: Run, sent: Sent, monkeypatch: pytest.MonkeyPatch, aborted: int
) -> None:
    """The indexes are there before writes are refused, in a repeated attempt too; nothing is left of one that was aborted."""
    database.bookings.insert_many([*map(booking, range(20)), booking(20, duration=5)])
    assert [3, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    swap, left = LiveSwap.swap, [TimeoutError] * aborted

    def late(self: LiveSwap, seconds: float) -> Any:
        if left:
            raise left.pop()
        return swap(self, seconds)

    monkeypatch.setattr(LiveSwap, "swap", late)
    with failpoints(sent.seen.append):
        done = command(*CUTOVER)
    behind = sent.behind_fences()

    assert 0 == done.returncode, done.stderr
    assert "createIndexes" in sent.seen
    assert "insert" in behind
    assert 1 == behind.count("dropIndexes")
    assert "createIndexes" not in behind
    assert INDEXES == sorted(database.bookings.index_information())
    assert [booking(20)["_id"]] == [each["_id"] for each in database.bookings.find({"duration": 5})]
    with pytest.raises(Exception, match="E11000"):
        database.bookings.insert_one({"clientId": client(1), "sessions": []})


def test_a_cut_over_that_fails_leaves_the_targets_indexes(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When all attempts were in vain, the target has its unique index again, and only that."""
    database.bookings.insert_many([*map(booking, range(20)), booking(20, duration=5)])
    assert [3, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    before = database.clients.index_information()

    def late(_self: LiveSwap, _seconds: float) -> Any:
        raise TimeoutError

    monkeypatch.setattr(LiveSwap, "swap", late)
    failed = command(*CUTOVER, "--attempts", "2")
    after = database.clients.index_information()

    assert 5 == failed.returncode
    assert {**before, "booking_migrate_legacy_ids": after["booking_migrate_legacy_ids"]} == after
    assert 0 == database.clients.count_documents({"sessions": {"$exists": False}})


@pytest.mark.parametrize("aborted", [0, 1])
def test_old_writers_at_the_moment_of_the_swap(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, aborted: int
) -> None:
    """The guard is on when the rename happens; a booking rejected just before the fence is carried, and no change by others."""
    database.bookings.insert_many([*map(booking, range(20)), booking(20, duration=5)])
    assert [3, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    raise_fence, swap = LiveSwap.raise_fence, LiveSwap.swap
    left, numbers, refused = [TimeoutError] * aborted, iter(range(30, 40)), []

    def fence(self: LiveSwap, seconds: float) -> Any:
        database.bookings.insert_one(booking(next(numbers), duration=5))
        return raise_fence(self, seconds)

    def rename(self: LiveSwap, seconds: float) -> Any:
        if left:
            raise left.pop()
        swapped = swap(self, seconds)
        with pytest.raises(WriteError) as caught:
            database.bookings.insert_one({**booking(50), "clientId": client(77)})
        refused.append(caught.value.code)
        return swapped

    monkeypatch.setattr(LiveSwap, "raise_fence", fence)
    monkeypatch.setattr(LiveSwap, "swap", rename)
    done = command(*CUTOVER)
    report = json.loads(done.stdout)["cutover"]
    expected = sorted(booking(number)["_id"] for number in (20, *range(30, 31 + aborted)))

    assert 0 == done.returncode, done.stderr
    assert [DOCUMENT_VALIDATION_FAILURE] == refused
    assert [] == report["followed"]["kept_changed_by_others"]
    assert expected == sorted(each["_id"] for each in database.bookings.find({"duration": 5}))
    # Those that were carried can be written to by the application that has them.
    assert 1 == database.bookings.update_one({"_id": expected[0]}, {"$set": {"notes": "x"}}).modified_count


LATE = {
    "delete of one with a session": (16, None),
    "delete where none is carried": (19, None),
    "delete of the carried one": (20, None),
    "change of one with a session": (16, {"notes": "late"}),
    "change of the carried one": (20, {"notes": "late", "duration": 5}),
    "correction of the carried one": (20, {"notes": "late"}),
}
"""The number of a booking, and what it has beside its usual fields after a change; None: it is deleted."""


@pytest.mark.parametrize("case", LATE)
def test_what_passes_the_fence_of_a_client_with_a_carried_booking(
    database: Db, command: Run, case: str
) -> None:
    """It is taken out of the live collection or brought in, as a session or as a carried booking."""
    number, change = LATE[case]
    database.bookings.insert_many([*map(booking, range(20)), booking(20, duration=5)])
    assert [3, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))

    def act(step: Step) -> None:
        own = {"_id": booking(number)["_id"]}
        if step is Step.SETTLED and change is None:
            database.bookings.delete_one(own)
        elif step is Step.SETTLED and change is not None:
            new = booking(number, **change)
            database.bookings.replace_one(own, new, bypass_document_validation=True)

    with failpoints(act):
        done = command(*CUTOVER)
    (kept,) = (name for name in database.list_collection_names() if "_legacy_" in name)
    documents = list(database.bookings.find())
    sessions = {each["legacyBookingId"]: each for one in documents for each in one.get("sessions", ())}
    carried = {one["_id"]: one for one in documents if "sessions" not in one}
    bookings = {**dict(zip(range(20), map(booking, range(20)), strict=True)), 20: booking(20, duration=5)}
    if change is None:
        del bookings[number]
    else:
        bookings[number] = booking(number, **change)
    expected = {each["_id"]: decode(encode(each)) for each in bookings.values()}
    sound = {key for key, value in expected.items() if value["duration"] != 5}

    assert 0 == done.returncode, done.stderr
    assert expected == {one["_id"]: one for one in database[kept].find()}
    assert sound == set(sessions)
    assert {key: value for key, value in expected.items() if key not in sound} == carried
    if change is not None and number in (16, 20) and booking(number)["_id"] in sound:
        assert "late" == sessions[booking(number)["_id"]]["notes"]


@pytest.mark.parametrize("verb", ["cutover", "abort", "rollback"])
def test_deletes_behind_the_fence_of_a_killed_cut_over_with_carried_bookings(
    database: Db, command: Run, environment: Mapping[str, str], tmp_path: Path, verb: str
) -> None:
    """Whichever command comes after the kill takes them out: of clients with carried bookings, and these themselves."""
    database.bookings.insert_many([*map(booking, range(20)), *(booking(n, duration=5) for n in (20, 21))])
    assert [3, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    gone = [booking(number)["_id"] for number in (16, 17, 20)]
    gate = tmp_path / "gate"
    process = stopped_at(Step.SETTLED, environment, gate, *CUTOVER)
    database.bookings.delete_many({"_id": {"$in": gone}})
    assert -9 == dies_at(process, gate, Step.SWAPPED)
    ways = {
        "cutover": CUTOVER,
        "abort": ("cutover", *PLACES, "--abort"),
        "rollback": ("rollback", "--target", "clients", "--yes"),
    }
    done = command(*ways[verb])
    live = list(database.bookings.find())
    sessions = {each["legacyBookingId"] for one in live for each in one.get("sessions", ())}
    old = {one["_id"] for one in live if "sessions" not in one}
    left = {booking(number)["_id"] for number in range(22)} - set(gone)
    expected = (left, set()) if verb == "rollback" else ({booking(21)["_id"]}, left - {booking(21)["_id"]})

    # An abort behind the swap completes the cut-over, which is not what it was asked for.
    assert (5 if verb == "abort" else 0) == done.returncode, done.stderr
    assert expected == (old, sessions)
