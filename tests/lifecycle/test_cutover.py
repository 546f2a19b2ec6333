"""The target becomes the live collection: only when it is proven, whole or not at all, and nothing acknowledged is lost."""

import json
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import WriteError

from tests.lifecycle.conftest import Command, contents, own_validator
from tests.support.booking_lines import booking, client
from tests.support.fail_commands import fail_point, failing
from tests.support.failpoints import Step, failpoints
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Command
Killed = Callable[..., Any]

PLACES = ("--source", "bookings", "--target", "clients")
MIGRATE = ("migrate", *PLACES, "--batch-size", "5", "--quiet")
VERIFY = ("verify", *PLACES, "--recheck", "0", "--quiet")
CUTOVER = ("cutover", *PLACES, "--yes", "--json", "--max-outage", "60s")
FOLLOWED_INDEX = "booking_migrate_legacy_ids"
"""By this, following finds the clients of a booking; it stays until the run is rolled back."""

AT_REST = (*CUTOVER, "--at-rest")
STEPS = [
    Step.CUTOVER_NOTED,
    Step.FENCED,
    Step.CAUGHT_UP,
    Step.LEGACY_COPIED,
    Step.PROVEN_AGAIN,
    Step.CARRIED,
    Step.SWAPPED,
    Step.CUT_OVER,
    Step.UNLOCKED,
]


@pytest.fixture
def migrated(database: Db, command: Run) -> None:
    """Thirty sound bookings of four clients, migrated and verified."""
    database.bookings.insert_many(map(booking, range(30)))
    assert [0, 0] == command.once(MIGRATE, VERIFY)


@pytest.fixture
def partly_rejected(database: Db, command: Run) -> None:
    """Twenty bookings, of which two of one client are rejected."""
    database.bookings.insert_many(
        [*map(booking, range(18)), booking(20, duration=5), booking(24, duration=5)]
    )
    assert [3, 0] == command.once(MIGRATE, VERIFY)


def legacy_of(database: Db) -> str:
    """The name of the collection that keeps the old bookings."""
    (name,) = (name for name in database.list_collection_names() if name.startswith("bookings_legacy_"))
    return name


@pytest.mark.usefixtures("migrated")
def test_the_target_becomes_live(database: Db, command: Run) -> None:
    """The source's name holds what the target held, the copy what the source held, and no fence is left."""
    before = contents(database)
    database.bookings.create_index([("expertId", 1), ("status", 1)])
    database.bookings.create_index("scheduledDate", expireAfterSeconds=10**8)
    done = command(*CUTOVER)
    report = json.loads(done.stdout)["cutover"]
    after = contents(database)

    assert 0 == done.returncode, done.stderr
    assert (before["clients"], before["bookings"]) == (after["bookings"], after[legacy_of(database)])
    assert "clients" not in after
    assert report["refused_seconds"] > 0
    assert 0 == report["caught_up"]
    assert "sessions.expertId 1, sessions.status 1" in {each["recreated_as"] for each in report["indexes"]}
    assert any("expiry" in (each["reason"] or "") for each in report["indexes"])
    assert {} == own_validator(database.bookings)
    database.bookings.insert_one({"_id": 1, "clientId": client(9), "sessions": []})


@pytest.mark.usefixtures("migrated")
def test_what_changed_since_is_brought_in(database: Db, command: Run) -> None:
    """Bookings that were added, changed or deleted after the verification are as they are now in the live collection."""
    database.bookings.insert_one(booking(31))
    database.bookings.update_one({"_id": booking(0)["_id"]}, {"$set": {"status": "cancelled"}})
    database.bookings.delete_one({"_id": booking(5)["_id"]})
    database.bookings.delete_many({"clientId": client(2)})
    done = command(*CUTOVER)
    sessions = [each for document in database.bookings.find() for each in document["sessions"]]
    legacy = list(database[legacy_of(database)].find())

    assert 0 == done.returncode, done.stderr
    assert 4 == json.loads(done.stdout)["cutover"]["caught_up"]
    assert {each["_id"] for each in legacy} == {each["legacyBookingId"] for each in sessions}
    assert "cancelled" == next(
        each["status"] for each in sessions if each["legacyBookingId"] == booking(0)["_id"]
    )
    assert database.bookings.find_one({"clientId": client(2)}) is None


def test_only_what_is_proven(database: Db, command: Run) -> None:
    """Without a run, without a verification, after a bad one or after a later write it is refused, and nothing changes."""
    codes = [command(*CUTOVER).returncode]
    database.bookings.insert_many(map(booking, range(9)))
    command(*MIGRATE)
    before = contents(database)
    codes.append(command(*CUTOVER).returncode)
    kept = database.clients.find_one_and_update({}, {"$set": {"totalSessions": 9}})
    command(*VERIFY)
    codes.append(command(*CUTOVER).returncode)
    database.clients.replace_one({"_id": kept["_id"] if kept else None}, kept or {})
    command(*VERIFY)
    codes += [
        command("cutover", *PLACES).returncode,
        command(*CUTOVER, "--accept", "duration-too-short").returncode,
    ]

    assert [5] * 5 == codes
    assert before == contents(database)

    database.bookings.insert_one(booking(9))
    command(*MIGRATE)
    assert 5 == command(*CUTOVER).returncode


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("kind", ["view", "capped", "timeseries", "fenced", "absent"])
def test_odd_sources(database: Db, command: Run, kind: str) -> None:
    """A source that a rename cannot replace, or that another cut-over works on, is refused by what it is."""
    database.bookings.rename("elsewhere")
    match kind:
        case "view":
            database.create_collection("bookings", viewOn="elsewhere", pipeline=[])
        case "capped":
            database.create_collection("bookings", capped=True, size=4096)
        case "timeseries":
            database.create_collection("bookings", timeseries={"timeField": "createdAt"})
        case "fenced":
            fence = {"booking_migrate_fence": {"$eq": "another one's"}}
            database.create_collection("bookings", validator=fence)
        case _:
            pass
    before = database.list_collection_names()
    refused = command(*CUTOVER)

    assert 5 == refused.returncode
    assert "bookings cannot be replaced" in refused.stderr
    assert sorted(before) == sorted(database.list_collection_names())


@pytest.mark.parametrize(
    ("source", "target"), [("in.jsonl", "clients"), ("bookings", "out.jsonl"), ("-", "clients")]
)
def test_files_are_refused(command: Run, source: str, target: str) -> None:
    """Only collections can be cut over."""
    refused = command("cutover", "--source", source, "--target", target, "--yes")

    assert 5 == refused.returncode
    assert "is not a collection" in refused.stderr


@pytest.mark.usefixtures("partly_rejected")
@pytest.mark.parametrize(("policy", "old"), [("carry", 2), ("leave", 0)])
def test_rejected_bookings(database: Db, command: Run, policy: str, old: int) -> None:
    """Rejected bookings need a word: they go along as they are, or stay in the copy."""
    refused = command(*CUTOVER)
    done = command(*CUTOVER, "--rejected", policy)
    way = database.bookings.find({"clientId": client(1)}).explain()["queryPlanner"]["winningPlan"]

    assert "IXSCAN" == way["inputStage"]["stage"]
    assert (5, 0) == (refused.returncode, done.returncode), done.stderr
    assert old == database.bookings.count_documents({"sessions": {"$exists": False}})
    assert 20 == database[legacy_of(database)].count_documents({})
    assert old == json.loads(done.stdout)["cutover"]["carried"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.usefixtures("partly_rejected")
def test_killed_anywhere(database: Db, command: Run, killed: Killed, step: Step) -> None:
    """Killed at any step of the way at rest, the next one comes to what an undisturbed one comes to, and no fence is left."""
    database.bookings.create_index("expertId")
    source, target = contents(database)["bookings"], database.clients.count_documents({})
    arguments = (*AT_REST, "--rejected", "carry")
    assert -9 == killed(step.value, 1, *arguments)
    again = command(*arguments)
    is_done = step in {Step.CUT_OVER, Step.UNLOCKED}

    assert (5 if is_done else 0) == again.returncode, again.stderr
    assert source == contents(database)[legacy_of(database)]
    assert "sessions.expertId_1" in database.bookings.index_information()
    assert target + 2 == database.bookings.count_documents({})
    assert {} == own_validator(database.bookings)
    assert "clients" not in database.list_collection_names()


@pytest.mark.usefixtures("partly_rejected")
def test_a_copy_is_never_dropped_after_the_swap(database: Db, command: Run, killed: Killed) -> None:
    """Killed right after the rename, the next cutover knows it, though somebody has used the target's name again."""
    before = contents(database)["bookings"]
    killed(Step.SWAPPED.value, 1, *CUTOVER, "--rejected", "leave")
    shown = " ".join(command("status").stdout.split())
    database.clients.insert_one({"_id": "theirs", "sessions": []})
    done = command(*CUTOVER, "--rejected", "leave")

    assert "the client documents are live as bookings already" in shown
    assert 0 == done.returncode, done.stderr
    assert before == contents(database)[legacy_of(database)]
    assert {"_id": "theirs", "sessions": []} == database.clients.find_one()


@pytest.mark.parametrize("restart", [[], ["--restart"]])
@pytest.mark.usefixtures("partly_rejected")
def test_no_migration_beside_a_killed_cutover(
    database: Db, command: Run, killed: Killed, restart: list[str]
) -> None:
    """While a cut-over waits to be cleaned up, migrate is refused and names the way out."""
    killed(Step.FENCED.value, 1, *CUTOVER, "--rejected", "leave")
    before = contents(database)
    refused = command(*MIGRATE, *restart)

    assert 5 == refused.returncode
    assert "its cut-over is unfinished" in refused.stderr
    assert before == contents(database)


@pytest.mark.parametrize("step", [Step.CUTOVER_NOTED, Step.FENCED, Step.LEGACY_COPIED, Step.CARRIED])
def test_rollback_after_a_kill(database: Db, command: Run, killed: Killed, step: Step) -> None:
    """Killed before the rename, rollback lifts the fence, drops the copy and undoes the run."""
    database.bookings.insert_many([*map(booking, range(18)), booking(20, duration=5)])
    before = contents(database)
    command(*MIGRATE)
    command(*VERIFY)
    assert -9 == killed(step.value, 1, *AT_REST, "--rejected", "carry")
    undone = command("rollback", "--target", "clients", "--yes")

    assert 0 == undone.returncode, undone.stderr
    assert before == contents(database)
    assert {} == own_validator(database.bookings)


@pytest.mark.usefixtures("partly_rejected")
def test_killed_while_clearing_up(database: Db, command: Run, killed: Killed) -> None:
    """Clearing up can be cut off too: the next cutover goes on with it."""
    arguments = (*CUTOVER, "--rejected", "carry")
    killed(Step.CARRIED.value, 1, *arguments)
    assert -9 == killed(Step.FENCE_LIFTED.value, 1, *arguments)
    done = command(*arguments)

    assert 0 == done.returncode, done.stderr
    assert 2 == database.bookings.count_documents({"sessions": {"$exists": False}})


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize(
    ("refused", "said", "is_fenced"),
    [
        ("collMod", "The fence could not be lifted", True),
        ("drop", "bookings accepts writes again, but the cut-over could not be cleaned up", False),
    ],
)
def test_what_cannot_be_cleared_up_is_said(
    server: Server, database: Db, command: Run, refused: str, said: str, is_fenced: bool
) -> None:
    """What a failed cut-over leaves is said on the screen and in the report, above all whether writes are refused."""
    with fail_point(server) as point:

        def fail_from_now_on(step: Step) -> None:
            if step is Step.CAUGHT_UP:
                point.set(["dbHash", refused], {"errorCode": 96})

        with failpoints(fail_from_now_on):
            failed = command(*AT_REST)

    assert 5 == failed.returncode
    assert said in failed.stderr
    assert said in json.loads(failed.stdout)["error"]["hint"]
    assert is_fenced == ("validator" in database.bookings.options())
    assert 0 == command("cutover", *PLACES, "--abort").returncode
    assert {} == own_validator(database.bookings)


@pytest.mark.parametrize(
    ("refused", "way"), [("renameCollection", CUTOVER), ("renameCollection", AT_REST), ("dbHash", AT_REST)]
)
@pytest.mark.usefixtures("partly_rejected")
def test_a_failure_leaves_everything(
    database: Db, server: Server, command: Run, refused: str, way: tuple[str, ...]
) -> None:
    """When the server refuses a step, the source is live as it was and takes writes, and the target can be cut over later."""
    database.command("collMod", "bookings", validator={"price": {"$gte": 0}})
    before, options = contents(database), database.bookings.options()
    with failing(server, [refused], {"errorCode": 96}):
        failed = command(*way, "--rejected", "carry")
    state = database.booking_migrate_runs.find_one({"legacy": None, "written_at": {"$ne": None}})
    after = contents(database)

    assert 5 == failed.returncode, failed.stderr
    assert (before, options) == (after, database.bookings.options())
    assert state is not None
    assert "done" == state["state"]
    assert 0 == command(*way, "--rejected", "carry").returncode


@pytest.mark.usefixtures("partly_rejected")
@pytest.mark.parametrize("policy", ["carry", "leave"])
def test_what_others_put_into_the_target_stays(database: Db, command: Run, policy: str) -> None:
    """A document that is no client document ends the cut-over, and neither it nor anything else is removed."""
    database.clients.insert_one({"_id": "theirs", "clientId": "somebody", "note": "not from the run"})
    before = contents(database)
    failed = command(*CUTOVER, "--rejected", policy)

    assert 5 == failed.returncode, failed.stderr
    assert before == contents(database)


@pytest.mark.usefixtures("partly_rejected")
def test_what_others_put_there_stays_after_a_kill(database: Db, command: Run, killed: Killed) -> None:
    """Clearing up after a kill takes the carried bookings back, and only them, and the old index is there again."""
    before = contents(database)["clients"]
    arguments = (*CUTOVER, "--rejected", "carry")
    killed(Step.CARRIED.value, 1, *arguments)
    theirs = {"_id": "theirs", "clientId": "somebody"}
    database.clients.insert_one(theirs)
    failed = command(*arguments)
    kept = database.clients.find_one_and_delete({"_id": "theirs"})

    assert 5 == failed.returncode, failed.stderr
    assert theirs == kept
    assert before == contents(database)["clients"]
    assert {"_id_", "clientId_1", FOLLOWED_INDEX} == set(database.clients.index_information())


@pytest.mark.usefixtures("migrated")
def test_writers_lose_nothing(database: Db, command: Run) -> None:
    """Every write that was acknowledged while the cut-over worked is in the live collection or in the kept copy."""
    stop, acknowledged = Event(), []

    def write() -> None:
        for number in range(1000, 20_000):
            if stop.is_set():
                return
            try:
                database.bookings.insert_one(booking(number))
            except WriteError:
                continue
            acknowledged.append(booking(number)["_id"])

    writer = Thread(target=write)
    writer.start()
    try:
        done = command(*CUTOVER)
    finally:
        stop.set()
        writer.join()
    live = {each["_id"] for each in database.bookings.find({"sessions": {"$exists": False}})}
    sessions = {
        each["legacyBookingId"]
        for document in database.bookings.find({"sessions": {"$exists": True}})
        for each in document["sessions"]
    }

    assert 0 == done.returncode, done.stderr
    assert acknowledged
    assert set(acknowledged) <= live | sessions
