"""A cut-over beside an application, killed at every step: the next command leads to the right end, and no write is lost."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import WriteError

from booking_migrate.errors import FenceBlocked
from booking_migrate.stores.mongo.live_swap import LiveSwap
from tests.lifecycle.conftest import Command
from tests.support.application import sessions_of
from tests.support.booking_lines import booking, client
from tests.support.fail_commands import failing
from tests.support.failpoints import Step
from tests.support.killed import dies_at, stopped_at
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Command
Booking = dict[str, Any]

PLACES = ("--source", "bookings", "--target", "clients")
# No limit that a busy machine could pass.
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")
ABORT = ("cutover", *PLACES, "--abort", "--json")
ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")
BEFORE_SWAP = [Step.CUTOVER_NOTED, Step.COPIED, Step.FENCED, Step.DRAINED, Step.SETTLED]
SWAPPED = [Step.SWAPPED, Step.TAILED]
COMPLETE = [Step.CUT_OVER, Step.UNLOCKED]
_HISTORY_LOST = 286


class Ledger:
    """The old application: what it was told is stored, by booking."""

    def __init__(self, database: Db) -> None:
        self._bookings = database.bookings
        self.acknowledged: dict[Any, Booking | None] = {
            each["_id"]: each for each in database.bookings.find()
        }
        """The last acknowledged version of each booking; None: deleted."""

    def write(self, first: int) -> None:
        """Insert, change, move and delete one booking each, beginning with a number; note what is acknowledged."""
        self._insert({**booking(first), "_id": ObjectId(), "clientId": client(first)})
        self._change(booking(first)["_id"], notes=f"changed at {first}")
        self._change(booking(first + 1)["_id"], clientId=client(first + 1000))
        self.delete(first + 2)

    def delete(self, number: int) -> None:
        """Delete a booking; no fence keeps it from that."""
        key = booking(number)["_id"]
        if self._bookings.delete_one({"_id": key}).deleted_count:
            self.acknowledged[key] = None

    def _insert(self, new: Booking) -> None:
        try:
            self._bookings.insert_one(dict(new))
        except WriteError:
            return
        self.acknowledged[new["_id"]] = new

    def _change(self, key: Any, **changes: Any) -> None:
        try:
            matched = self._bookings.update_one({"_id": key}, {"$set": changes}).matched_count
        except WriteError:
            return
        known = self.acknowledged[key]
        if matched and known is not None:
            self.acknowledged[key] = {**known, **changes}

    @property
    def expected(self) -> dict[Any, tuple[Any, Any]]:
        """The client and the notes of each booking that is there, by its `_id`."""
        return {
            key: (each["clientId"], each["notes"])
            for key, each in self.acknowledged.items()
            if each is not None
        }


@pytest.fixture
def ledger(database: Db, command: Run) -> Ledger:
    """Sixty bookings, migrated and verified, to which the application has written since."""
    database.bookings.insert_many(map(booking, range(60)))
    known = Ledger(database)
    assert [0, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    known.write(0)
    return known


def copies(database: Db) -> list[str]:
    """The names of the kept copies."""
    return [name for name in database.list_collection_names() if "_legacy_" in name]


def check_cut_over(database: Db, command: Run, ledger: Ledger) -> None:
    """Assert that the client documents are live, hold what was acknowledged, and are what the one kept copy makes."""
    sessions, twice = sessions_of(database.bookings)
    (kept,) = copies(database)
    verified = command("verify", "--source", kept, "--target", "bookings", "--recheck", "0", "--quiet")

    assert 0 == twice
    assert ledger.expected == sessions
    assert ledger.expected == old_bookings(database[kept])
    assert 0 == verified.returncode
    assert "clients" not in database.list_collection_names()
    assert_free(database, allowed=lambda text: "booking_migrate_guard" in text)


def check_old(database: Db, ledger: Ledger) -> None:
    """Assert that the old bookings are live, as acknowledged, without a copy, and that they may be written."""
    assert ledger.expected == old_bookings(database.bookings)
    assert not copies(database)
    assert_free(database, allowed=lambda _: False)
    database.bookings.update_one({}, {"$set": {"notes": "written"}})


def old_bookings(collection: Any) -> dict[Any, tuple[Any, Any]]:
    """The client and the notes of each old booking; of anything else, what makes the comparison fail."""
    return {
        each["_id"]: (each.get("clientId"), each.get("notes", "no booking")) for each in collection.find()
    }


def assert_free(database: Db, *, allowed: Callable[[str], bool]) -> None:
    """Assert that no collection has a fence, or a guard that it should not have, and that no cut-over is open."""
    for each in database.list_collections():
        validator = str(each["options"].get("validator", {}))
        assert validator == "{}" or (each["name"] == "bookings" and allowed(validator)), each
    assert not database.booking_migrate_runs.count_documents(
        {"$or": [{"state": "cutting-over"}, {"fenced_at": {"$ne": None}}]}
    )
    assert not database.booking_migrate_locks.count_documents({"holder": {"$ne": None}})


@pytest.mark.parametrize("step", [*BEFORE_SWAP, *SWAPPED])
def test_the_same_command_completes_it(
    step: Step, database: Db, command: Run, killed: Callable[..., int], ledger: Ledger
) -> None:
    """Killed at any step and run again, a cut-over is complete, with the writes from before and after the kill."""
    assert -9 == killed(step.value, 1, *CUTOVER)
    ledger.write(20)
    done = command(*CUTOVER)

    assert 0 == done.returncode, done.stderr
    check_cut_over(database, command, ledger)


@pytest.mark.parametrize("step", COMPLETE)
def test_killed_when_it_was_complete(
    step: Step, database: Db, command: Run, killed: Callable[..., int], ledger: Ledger
) -> None:
    """Killed behind the last note, nothing is left to do: the same command says that it is live, and changes nothing."""
    assert -9 == killed(step.value, 1, *CUTOVER)
    again = command(*CUTOVER)

    assert 5 == again.returncode, again.stderr
    check_cut_over(database, command, ledger)


@pytest.mark.parametrize("step", BEFORE_SWAP)
def test_aborted_before_the_swap(
    step: Step, database: Db, command: Run, killed: Callable[..., int], ledger: Ledger
) -> None:
    """--abort makes the source live as before, with every write; a later cut-over brings them in."""
    assert -9 == killed(step.value, 1, *CUTOVER)
    ledger.write(20)
    aborted = command(*ABORT)

    assert 0 == aborted.returncode, aborted.stderr
    assert ledger.expected == old_bookings(database.bookings)
    assert not copies(database)
    assert_free(database, allowed=lambda _: False)
    ledger.write(40)
    assert 0 == command(*CUTOVER).returncode
    check_cut_over(database, command, ledger)


@pytest.mark.parametrize("step", SWAPPED)
def test_aborted_behind_the_swap(
    step: Step, database: Db, command: Run, killed: Callable[..., int], ledger: Ledger
) -> None:
    """What was swapped cannot be aborted: the cut-over is completed instead, and that is said."""
    assert -9 == killed(step.value, 1, *CUTOVER)
    refused = command(*ABORT)

    assert 5 == refused.returncode
    assert "already swapped" in refused.stderr
    assert "Stop the old application now, if it still runs, and start the new one." in refused.stderr
    assert "If the new application is not ready or misbehaves: stop it, then make the old" in refused.stderr
    check_cut_over(database, command, ledger)


@pytest.mark.parametrize("step", SWAPPED)
def test_seen_behind_the_swap(
    step: Step, database: Db, command: Run, killed: Callable[..., int], ledger: Ledger
) -> None:
    """What was swapped is only completed, or rolled back; where the collections are not looked at, nothing else is promised."""
    assert -9 == killed(step.value, 1, *CUTOVER)
    (run,) = json.loads(command("status", "--json").stdout)["runs"]
    beside = " ".join(command("migrate", *PLACES).stderr.split())

    assert ["cutover", "rollback"] == [each.split()[1] for each in run["possible"]]
    assert not any("--abort" in each for each in run["possible"])
    assert run["purposes"][0].startswith("Complete the cut-over. Stop the old application now")
    assert "if the collections were swapped already, this completes it instead" in beside
    assert 0 == command(*run["possible"][0].split()[1:], "--yes").returncode
    check_cut_over(database, command, ledger)


@pytest.mark.parametrize("step", [*BEFORE_SWAP, *SWAPPED, *COMPLETE])
def test_rolled_back(
    step: Step, database: Db, command: Run, killed: Callable[..., int], ledger: Ledger
) -> None:
    """Rolled back from any step, the old bookings are live as acknowledged, and nothing of the run is left."""
    assert -9 == killed(step.value, 1, *CUTOVER)
    ledger.write(20)
    undone = command(*ROLLBACK)

    assert 0 == undone.returncode, undone.stderr
    check_old(database, ledger)
    assert "clients" not in database.list_collection_names()
    assert not database.booking_migrate_dirty.count_documents({})


@pytest.mark.parametrize("next_command", [CUTOVER, ABORT, ROLLBACK], ids=["cutover", "abort", "rollback"])
def test_deletes_behind_the_fence_of_a_killed_cut_over(
    next_command: tuple[str, ...],
    database: Db,
    command: Run,
    environment: Mapping[str, str],
    tmp_path: Path,
    ledger: Ledger,
) -> None:
    """A delete between fence and swap is taken out by whichever command comes after the kill."""
    gate = tmp_path / "gate"
    process = stopped_at(Step.SETTLED, environment, gate, *CUTOVER)
    ledger.delete(30)
    ledger.delete(31)
    assert -9 == dies_at(process, gate, Step.SWAPPED)
    done = command(*next_command)

    assert (5 if next_command is ABORT else 0) == done.returncode, done.stderr
    if next_command is ROLLBACK:
        check_old(database, ledger)
    else:
        check_cut_over(database, command, ledger)


def test_the_kept_copy_is_the_recorded_one(
    database: Db, command: Run, environment: Mapping[str, str], tmp_path: Path, ledger: Ledger
) -> None:
    """What passed the fence is taken out of the copy that the record names, as another version may have called it."""
    gate = tmp_path / "gate"
    process = stopped_at(Step.SETTLED, environment, gate, *CUTOVER)
    ledger.delete(30)
    assert -9 == dies_at(process, gate, Step.SWAPPED)
    (kept,) = copies(database)
    database[kept].rename("bookings_before")
    database.booking_migrate_runs.update_one({"legacy": kept}, {"$set": {"legacy": "bookings_before"}})
    done = command(*CUTOVER)

    assert 0 == done.returncode, done.stderr
    assert not copies(database)
    assert ledger.expected == old_bookings(database.bookings_before)
    assert (ledger.expected, 0) == sessions_of(database.bookings)


@pytest.mark.parametrize("next_command", [CUTOVER, ABORT, ROLLBACK], ids=["cutover", "abort", "rollback"])
def test_history_lost_behind_the_swap(
    next_command: tuple[str, ...],
    server: Server,
    database: Db,
    command: Run,
    killed: Callable[..., int],
    ledger: Ledger,
) -> None:
    """Once the oplog has lost what passed the fence, the next command still completes the cut-over, and says what is not known."""
    assert -9 == killed(Step.SWAPPED.value, 1, *CUTOVER)
    what = {"namespace": f"{database.name}.$cmd.aggregate", "errorCode": _HISTORY_LOST}
    # Only at the second time: the first stream is opened to see whether that is possible.
    skip = 1 if next_command is CUTOVER else None
    with failing(server, ["aggregate"], what, skip=skip):
        done = command(*next_command)

    assert (5 if next_command is ABORT else 0) == done.returncode, done.stderr
    assert "what passed the fence is not known" in " ".join(done.stderr.split())
    if next_command is ROLLBACK:
        check_old(database, ledger)
    else:
        check_cut_over(database, command, ledger)
    if next_command is CUTOVER:
        assert "oplog" in json.loads(done.stdout)["cutover"]["tail_unread"]


@pytest.mark.parametrize("step", [Step.CARRIED, Step.SWAPPED])
def test_carried_bookings_of_a_killed_cut_over(
    step: Step, database: Db, command: Run, killed: Callable[..., int]
) -> None:
    """Rejected bookings that a killed cut-over had carried already are carried once, also if they are deleted meanwhile."""
    database.bookings.insert_many([*map(booking, range(20)), *(booking(n, duration=5) for n in (20, 21, 22))])
    assert [3, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    assert -9 == killed(step.value, 1, *CUTOVER, "--rejected", "carry")
    database.bookings.delete_one({"_id": booking(22)["_id"]})
    done = command(*CUTOVER, "--rejected", "carry")
    old = {each["_id"] for each in database.bookings.find({"sessions": {"$exists": False}})}

    assert 0 == done.returncode, done.stderr
    assert {booking(20)["_id"], booking(21)["_id"]} == old
    # What is deleted behind the swap is deleted from the new collection only.
    assert 22 + (step is Step.SWAPPED) == database[copies(database)[0]].count_documents({})


def test_carried_bookings_of_an_aborted_attempt(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that is aborted takes back what it carried; the next one is not stopped by that, and carries it."""
    database.bookings.insert_many([*map(booking, range(20)), booking(20, duration=5)])
    assert [3, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    swap, attempts = LiveSwap.swap, []

    def blocked_once(self: LiveSwap, seconds: float) -> Any:
        attempts.append(seconds)
        if len(attempts) == 1:
            raise FenceBlocked("bookings", "a transaction of the test")
        return swap(self, seconds)

    monkeypatch.setattr(LiveSwap, "swap", blocked_once)
    done = command(*CUTOVER, "--rejected", "carry")

    assert 0 == done.returncode, done.stderr
    assert 2 == len(attempts)
    assert 1 == database.bookings.count_documents({"sessions": {"$exists": False}})
    assert {"_id_", "clientId_1_every", "clientId_1_sessions"} <= set(database.bookings.index_information())
