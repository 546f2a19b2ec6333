"""What a reverse window keeps ready is what a rollback would restore, whatever happens; and a rollback out of it can be killed anywhere."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import bson
import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import WriteError

from booking_migrate.cli.following import FollowContext
from booking_migrate.cli.window import open_window
from booking_migrate.cutover import refusal
from booking_migrate.domain.carried_changes import ChangesSince
from booking_migrate.domain.ids import booking_of_session
from booking_migrate.rollback.relocations import id_of
from booking_migrate.rollback.restored_clients import restored_clients
from booking_migrate.rollback.window import Window
from booking_migrate.rollback.window_parts import WindowParts, begin_of, changes_in, follower_of
from booking_migrate.stores.connection import Connection, open_journal
from booking_migrate.stores.journal import RunRecord, RunState
from booking_migrate.stores.mongo.journal import MongoJournal
from booking_migrate.stores.mongo.live_swap import LiveSwap
from tests.lifecycle.conftest import Command
from tests.lifecycle.live.random_application import RandomApplication
from tests.lifecycle.live.test_follow import newest
from tests.lifecycle.live.test_window import PLACES, ROLLBACK, WINDOW, interrupt_when_built, own
from tests.lifecycle.test_convert_later import document, session
from tests.support.booking_lines import booking, client
from tests.support.fail_commands import failing
from tests.support.failpoints import Step
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Command

BOOKINGS = 24
BEFORE_SWAP = [Step.FENCED, Step.DRAINED, Step.SETTLED]
BEHIND_SWAP = [Step.SWAPPED, Step.TAILED]
_HISTORY_LOST = 286


@pytest.fixture
def window(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> Db:
    """Bookings of four clients and one that is rejected and carried; cut over, with a window whose process was interrupted."""
    database.bookings.insert_many([*map(booking, range(BOOKINGS - 1)), booking(BOOKINGS - 1, duration=5)])
    database.bookings.create_index("clientId")
    monkeypatch.setattr(Window, "_is_over", interrupt_when_built)
    assert [3, 0] == command.once(("migrate", *PLACES, "--quiet"), ("verify", *PLACES, "--quiet"))
    done = command(*WINDOW, "--rejected", "carry")
    assert 0 == done.returncode, done.stderr
    assert "interrupted" == newest(command)["window"]["state"]
    return database


@pytest.fixture
def kept(server: Server, window: Db) -> Iterator[tuple[RunRecord, WindowParts]]:
    """The run that was cut over, and what its window keeps ready."""
    connection = Connection(server.uri, window.name)
    (run,) = (each for each in open_journal(connection).journal.runs() if each.window)
    yield run, open_window(connection, run)
    connection.close()


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 200))]
)
def test_what_is_kept_ready_is_what_would_be_restored(
    window: Db, kept: tuple[RunRecord, WindowParts], seed: int
) -> None:
    """Followed a few changes at a time, the restored collection is that of a restoration of the whole; so is what is counted."""
    run, parts = kept
    begin = begin_of(run.window, parts)
    assert begin is not None
    follower = follower_of(
        parts, parts.feed(begin), confirm=lambda: None, save=lambda _: None, on_replaced=lambda _: None
    )
    application = RandomApplication(window.bookings, BOOKINGS, seed)
    restored = window[parts.whole.restored.name]
    done: list[str] = []
    for _ in range(12):
        done += [application.act() for _ in range(application.random.randrange(1, 5))]
        follower.round(0.0)
        since = ChangesSince()
        documents = []
        for each in restored_clients(parts.whole):
            each.count_in(since)
            documents += each.documents
        expected = {str(id_of(raw)): raw for raw in documents}
        found = {str(id_of(raw)): raw for raw in raw_of(restored)}
        unlike = [key for key in {**expected, **found} if expected.get(key) != found.get(key)]
        assert not unlike, (done, [(shown(expected.get(key)), shown(found.get(key))) for key in unlike])
        counted = changes_in(parts)
        names = ("changed", "later", "missing", "converted")
        assert [getattr(since, name) for name in names] == [getattr(counted, name) for name in names], done


def raw_of(collection: Collection[dict[str, Any]]) -> list[bytes]:
    """The documents of a collection as bytes."""
    options = CodecOptions(document_class=RawBSONDocument)
    return [bytes(each.raw) for each in collection.with_options(codec_options=options).find()]


def shown(raw: bytes | None) -> Any:
    """What a test says of a document that is not what it has to be."""
    return None if raw is None else bson.decode(raw)


def change(database: Db, notes: str) -> None:
    """Change a migrated session, and book one with a client that has bookings and one with a new client."""
    legacy = booking(0)["_id"]
    database.bookings.update_one({"sessions.legacyBookingId": legacy}, {"$set": {"sessions.$.notes": notes}})
    database.bookings.update_one(
        {"clientId": client(1), "sessions": {"$type": 4}}, {"$push": {"sessions": BOOKED}}
    )
    database.bookings.insert_one(document("new", client(98), FIRST))


BOOKED, FIRST = session(300, notes="booked"), session(301, notes="first")


def check_old(database: Db, notes: str) -> None:
    """Assert that the old bookings are there with what `change` has done, and nothing else."""
    there = {each["_id"]: each for each in database.bookings.find()}
    later = {booking_of_session(each["sessionId"]): each["notes"] for each in (BOOKED, FIRST)}
    assert {*(booking(number)["_id"] for number in range(BOOKINGS)), *later} == there.keys()
    assert notes == there[booking(0)["_id"]]["notes"]
    assert later == {key: there[key]["notes"] for key in later}
    assert not [key for key in there if "sessions" in there[key]]
    assert {"bookings"} == own(database)
    assert {"_id_", "clientId_1"} == set(database.bookings.index_information())


@pytest.mark.parametrize("step", [*BEFORE_SWAP, *BEHIND_SWAP])
def test_killed_at_every_step(window: Db, command: Run, killed: Callable[..., Any], step: Step) -> None:
    """A rollback that was killed is continued by the same command; until then status says whether writes are refused."""
    change(window, "changed")
    killed(step.value, 1, *ROLLBACK)
    run = newest(command)
    if step in BEFORE_SWAP:
        with pytest.raises(WriteError, match="failed validation"):
            change(window, "refused")
    done = command(*ROLLBACK)

    assert ("restoring", step in BEFORE_SWAP) == (run["state"], run["refuses_writes_since"] is not None)
    assert 3 == done.returncode, done.stderr
    check_old(window, "changed")
    assert 2 == json.loads(done.stdout)["undone"]["since"]["converted"]
    assert 0 == command("migrate", *PLACES, "--accept", "duration-too-short", "--quiet").returncode


def test_what_passes_the_fence(window: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client document that is deleted, or written by bypassing validation, between fence and rename is taken back or in."""
    late = session(400, notes="late")
    swap = LiveSwap.swap

    def act(self: LiveSwap, seconds: float) -> Any:
        window.bookings.delete_one({"_id": "new"})
        window.bookings.delete_one({"clientId": client(2), "sessions": {"$type": 4}})
        window.bookings.insert_one(document("late", client(99), late), bypass_document_validation=True)
        swapped = swap(self, seconds)
        # The old application is back at once.
        window.bookings.update_one({"_id": booking(2)["_id"]}, {"$set": {"notes": "by the old application"}})
        window.bookings.insert_one({**booking(500), "clientId": client(98)})
        return swapped

    change(window, "changed")
    window.bookings.update_one(
        {"sessions.legacyBookingId": booking(2)["_id"]},
        {"$set": {"sessions.$[].notes": "before it was deleted"}},
    )
    monkeypatch.setattr(LiveSwap, "swap", act)
    done = command(*ROLLBACK)
    there = {each["_id"]: each for each in window.bookings.find()}
    undone = json.loads(done.stdout)["undone"]

    assert 3 == done.returncode, done.stderr
    assert (2, 1) == (undone["followed"]["late_deletes"], undone["followed"]["late_writes"])
    assert booking_of_session(FIRST["sessionId"]) not in there
    assert "late" == there[booking_of_session(late["sessionId"])]["notes"]
    assert "by the old application" == there[booking(2)["_id"]]["notes"]
    assert booking(6)["notes"] == there[booking(6)["_id"]]["notes"]
    assert booking(500)["_id"] in there
    assert {booking(number)["_id"] for number in range(BOOKINGS)} < there.keys()


def test_what_passed_the_fence_is_handled_before_anything_is_dropped(
    window: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback that ends when the kept copy is dropped is continued without deriving what passed the fence again, from nothing."""
    swap, save = LiveSwap.swap, MongoJournal.save

    def act(self: LiveSwap, seconds: float) -> Any:
        window.bookings.delete_one({"clientId": client(2), "sessions": {"$type": 4}})
        return swap(self, seconds)

    def end(self: MongoJournal, run_id: str, **changes: Any) -> RunRecord:
        if changes.get("state") == RunState.ROLLED_BACK.value:
            raise MemoryError
        return save(self, run_id, **changes)

    with monkeypatch.context() as patch:
        patch.setattr(LiveSwap, "swap", act)
        patch.setattr(MongoJournal, "save", end)
        killed = command(*ROLLBACK)
    there = list(window.bookings.find().sort("_id"))
    done = command(*ROLLBACK)

    assert 1 == killed.returncode
    assert {booking(number)["_id"] for number in range(BOOKINGS)} == {each["_id"] for each in there}
    assert 0 == done.returncode, done.stderr
    assert 1 == json.loads(done.stdout)["undone"]["followed"]["late_deletes"]
    assert there == list(window.bookings.find().sort("_id"))
    assert {"bookings"} == own(window)


def test_what_passes_the_fence_is_not_about_what_stands_with_others(
    window: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client document that is deleted between fence and rename takes back what it holds, not what has moved to another one."""

    def move(number: int, owner: int) -> None:
        """Move a session into the document of another client."""
        legacy = booking(number)["_id"]
        there = window.bookings.find_one({"sessions.legacyBookingId": legacy})
        assert there is not None
        (found,) = (each for each in there["sessions"] if each["legacyBookingId"] == legacy)
        window.bookings.update_one(
            {"clientId": client(owner), "sessions": {"$type": 4}},
            {"$push": {"sessions": {**found, "notes": "moved"}}},
        )
        window.bookings.update_one(
            {"_id": there["_id"]}, {"$pull": {"sessions": {"legacyBookingId": legacy}}}
        )

    # Out of the document that is deleted, into it, and between two others.
    for number, owner in ((2, 1), (1, 2), (3, 1)):
        move(number, owner)
    swap = LiveSwap.swap

    def act(self: LiveSwap, seconds: float) -> Any:
        window.bookings.delete_one({"clientId": client(2), "sessions": {"$type": 4}})
        return swap(self, seconds)

    monkeypatch.setattr(LiveSwap, "swap", act)
    done = command(*ROLLBACK)
    there = {each["_id"]: (each["clientId"], each["notes"]) for each in window.bookings.find()}
    before = {booking(each)["_id"]: booking(each) for each in range(BOOKINGS)}
    moved = {booking(each)["_id"]: (client(1), "moved") for each in (2, 3)}

    assert 3 == done.returncode, done.stderr
    assert 1 == json.loads(done.stdout)["undone"]["followed"]["late_deletes"]
    assert {key: (each["clientId"], each["notes"]) for key, each in before.items()} | moved == there


@contextmanager
def lost(server: Server, database: Db, times: int) -> Iterator[None]:
    """Let the server say so many times that the oplog no longer has what a change stream begins with."""
    what = {"namespace": f"{database.name}.$cmd.aggregate", "errorCode": _HISTORY_LOST}
    with failing(server, ["aggregate"], what, times=times):
        yield


def test_lost_history(server: Server, window: Db, command: Run) -> None:
    """Where the oplog has lost what has happened since, a rollback restores everything behind the fence, and says so."""
    change(window, "changed")
    with lost(server, window, 1):
        done = command(*ROLLBACK)

    assert 3 == done.returncode, done.stderr
    assert "writes are refused while everything is restored" in " ".join(done.stderr.split())
    assert json.loads(done.stdout)["undone"]["followed"] is None
    check_old(window, "changed")


def test_lost_history_of_a_window(
    server: Server, window: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command reads everything again where the oplog has lost what has happened since, and since the cut-over."""
    monkeypatch.setattr(FollowContext, "unavailable", lambda _: None)
    change(window, "changed")
    with lost(server, window, 2):
        resumed = command(*WINDOW)
    done = command(*ROLLBACK)

    assert (0, 3) == (resumed.returncode, done.returncode), resumed.stderr
    assert "everything is read again" in " ".join(resumed.stderr.split())
    assert json.loads(done.stdout)["undone"]["followed"]
    check_old(window, "changed")


def test_a_restored_collection_that_others_dropped(window: Db, command: Run) -> None:
    """What is not there any more is not made live: a rollback restores everything behind the fence, and says so."""
    change(window, "changed")
    (restored,) = (name for name in window.list_collection_names() if "_restored_" in name)
    window.drop_collection(restored)
    done = command(*ROLLBACK)

    assert 3 == done.returncode, done.stderr
    assert "is not complete: writes are refused" in " ".join(done.stderr.split())
    check_old(window, "changed")


def test_a_limit_that_is_passed(window: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback that would refuse writes for too long is aborted: the new application goes on, and the window stays."""
    monkeypatch.setattr(refusal, "_BACKOFF_SECONDS", 0.01)
    refused = command(
        "rollback", "--target", "clients", "--yes", "--json", "--max-outage", "1ms", "--attempts", "2"
    )
    run = newest(command)
    change(window, "changed")
    done = command(*ROLLBACK)

    assert 5 == refused.returncode
    assert "the client documents are live as before" in " ".join(refused.stderr.split())
    assert ("cut-over", None) == (run["state"], run["refuses_writes_since"])
    assert 3 == done.returncode, done.stderr
    assert json.loads(done.stdout)["undone"]["followed"]
    check_old(window, "changed")


@pytest.mark.parametrize(
    ("option", "left"), [("--discard-later", BOOKINGS), ("--no-convert-later", BOOKINGS + 2)]
)
def test_what_a_window_does_not_serve(window: Db, command: Run, option: str, left: int) -> None:
    """What is to be dropped, or to stay in the new shape, is restored as without a window, and that is said."""
    change(window, "changed")
    done = command(*ROLLBACK, option)

    assert done.returncode in {0, 3}, done.stderr
    assert "writes are refused while everything is restored" in " ".join(done.stderr.split())
    assert left == window.bookings.count_documents({})
    assert {"bookings"} == own(window)
