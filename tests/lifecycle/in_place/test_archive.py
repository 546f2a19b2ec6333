"""An archive that was dropped, or whose name another collection has: named, with a way out, and nothing is written."""

import json
from collections.abc import Callable, Sequence

import pytest

from tests.lifecycle.conftest import Command, Db, contents
from tests.support.booking_lines import booking
from tests.support.failpoints import Step

Killed = Callable[..., int]
Undone = Callable[..., dict[str, str]]

ARCHIVE = "bookings_legacy"
COMMANDS = [
    ("migrate", "--in-place"),
    ("migrate", "--in-place", "--restart"),
    ("verify", "--in-place", "--recheck", "0"),
    ("rollback", "--target", "bookings", "--yes"),
    ("rollback", "--target", "bookings", "--yes", "--discard-later"),
    ("finalize", "--yes"),
]


@pytest.fixture
def migrated(database: Db, command: Command) -> None:
    database.bookings.insert_many(list(map(booking, range(12))))
    assert [0] == command.once(("migrate", "--in-place"))
    assert 12 == database[ARCHIVE].count_documents({})
    # One that came since, which another command would move.
    database.bookings.insert_one(booking(12))


@pytest.mark.parametrize("arguments", COMMANDS)
@pytest.mark.usefixtures("migrated")
def test_a_dropped_archive(database: Db, command: Command, arguments: Sequence[str]) -> None:
    """The only way back is named, and nothing is changed."""
    database[ARCHIVE].drop()
    before = contents(database)
    ended = command(*arguments)

    assert 5 == ended.returncode, ended.stdout
    assert f"{ARCHIVE}, which kept the old bookings, no longer exists" in ended.stderr
    assert f"Restore {ARCHIVE} from a backup" in ended.stderr
    assert before == contents(database)


@pytest.mark.parametrize("arguments", COMMANDS)
@pytest.mark.usefixtures("migrated")
def test_a_foreign_archive(database: Db, command: Command, arguments: Sequence[str]) -> None:
    """Another collection of the archive's name is not taken for it."""
    database[ARCHIVE].rename("put_aside")
    database[ARCHIVE].insert_one(booking(77))
    before = contents(database)
    ended = command(*arguments)

    assert 5 == ended.returncode, ended.stdout
    assert f"{ARCHIVE} holds none of the old bookings that run " in ended.stderr
    assert before == contents(database)


def test_going_on_names_the_collection(database: Db, command: Command) -> None:
    """The command that goes on without an archive is about the same collection, whatever its name is."""
    database.shows.insert_many(list(map(booking, range(4))))
    migrate = ("migrate", "--in-place", "--source", "shows")
    assert 0 == command(*migrate).returncode
    database.shows_legacy.drop()
    ended = command(*migrate)

    assert "booking-migrate migrate --in-place --source shows --archive OTHER" in ended.stderr


@pytest.mark.usefixtures("migrated")
def test_the_way_out(database: Db, command: Command) -> None:
    """With the archive back everything goes on; without it, new bookings are moved to another one."""
    database[ARCHIVE].rename("put_aside")
    other = command("migrate", "--in-place", "--archive", "other")
    database.put_aside.rename(ARCHIVE)

    assert (0, 1) == (other.returncode, database.other.count_documents({}))
    newest_first = database.booking_migrate_runs.find().sort("started_at", -1)
    for run in list(newest_first):
        assert 0 == command("rollback", "--run", run["_id"], "--yes").returncode
    assert 13 == database.bookings.count_documents({"sessions": {"$exists": False}})


def test_a_name_that_is_taken(database: Db, command: Command) -> None:
    """A collection that others use does not become the archive; an empty one may."""
    database.bookings.insert_many(list(map(booking, range(12))))
    database[ARCHIVE].insert_one({"_id": 1, "of": "others"})
    before = contents(database)
    refused = command("migrate", "--in-place")

    assert 5 == refused.returncode
    assert f"{ARCHIVE} holds documents that were not moved there by a run in place" in refused.stderr
    assert before == contents(database)
    database[ARCHIVE].delete_many({})
    assert [0] == command.once(("migrate", "--in-place"))


@pytest.mark.parametrize("kind", ["index", "collection"])
def test_an_archive_whose_documents_expire(database: Db, command: Command, kind: str) -> None:
    """A collection from which the server deletes documents by their age does not become the archive; the remedy is a command."""
    database.bookings.insert_many(list(map(booking, range(12))))
    if kind == "index":
        database[ARCHIVE].create_index("createdAt", expireAfterSeconds=60)
    else:
        clustered = {"key": {"_id": 1}, "unique": True}
        database.create_collection(ARCHIVE, clusteredIndex=clustered, expireAfterSeconds=60)
    refused = command("migrate", "--in-place")

    assert 5 == refused.returncode
    assert f"{ARCHIVE} cannot be used: " in refused.stderr
    assert "no rollback could restore them" in " ".join(refused.stderr.split())
    assert 12 == database.bookings.count_documents({"sessions": {"$exists": False}})
    if kind == "index":
        database[ARCHIVE].drop_index("createdAt_1")
    else:
        database.command("collMod", ARCHIVE, expireAfterSeconds="off")
    assert 0 == command("migrate", "--in-place").returncode


def test_a_dropped_copy_of_a_cut_over(database: Db, command: Command) -> None:
    """A rollback of a cut-over whose kept copy is gone says so at once, with the only way back, and changes nothing."""
    database.bookings.insert_many(list(map(booking, range(12))))
    assert 0 == command("migrate").returncode
    assert 0 == command("verify", "--recheck", "0").returncode
    assert 0 == command("cutover", "--yes").returncode
    kept = next(name for name in database.list_collection_names() if name.startswith("bookings_legacy_"))
    database[kept].drop()
    before = contents(database)

    for options in (("--yes",), ("--yes", "--discard-later"), ()):
        ended = command("rollback", *options)

        assert 5 == ended.returncode
        assert f"{kept}, which kept the old bookings, no longer exists" in ended.stderr
        assert "backup" in ended.stderr
    assert before == contents(database)


_MODES = pytest.mark.parametrize("mode", [(), ("--without-transactions",)], ids=["transactions", "steps"])
_ROLLBACK = ("rollback", "--target", "bookings", "--yes", "--json", "--quiet")


@pytest.fixture
def half_undone(database: Db, command: Command, killed: Killed) -> Callable[..., dict[str, str]]:
    """A function that leaves a rollback killed on its way, with the whole archive as a backup, and returns what was before the run."""

    def leave(*mode: str) -> dict[str, str]:
        database.bookings.insert_many(list(map(booking, range(12))))
        before = contents(database)
        migrate = ("migrate", "--in-place", "--batch-size", "1", "--quiet", *mode)
        assert 0 == command(*migrate).returncode
        database[ARCHIVE].aggregate([{"$out": "backup"}])
        assert -9 == killed(Step.MOVE_PREPARED.value, 3, *_ROLLBACK)
        # Its transaction is still open on the server, which would let the drop of the archive wait for a minute.
        database.client.admin.command("killAllSessions", [])
        assert 0 < database[ARCHIVE].count_documents({}) < 12
        return before

    return leave


@_MODES
@pytest.mark.parametrize("backup", ["put_aside", "backup"])
def test_dropped_while_a_rollback_is_unfinished(
    database: Db, command: Command, half_undone: Undone, mode: tuple[str, ...], backup: str
) -> None:
    """It is not called undone: nothing is changed, and with the archive back, as it was or from a backup, everything comes back."""
    before = half_undone(*mode)
    database[ARCHIVE].rename("put_aside")
    there = contents(database)
    refused = command(*_ROLLBACK)
    unchanged = contents(database)
    migrated = command("migrate", "--in-place", "--quiet", *mode)
    database[ARCHIVE].drop()
    database[backup].rename(ARCHIVE)
    done = command(*_ROLLBACK)
    for name in ("put_aside", "backup"):
        database[name].drop()

    assert 5 == refused.returncode, refused.stdout
    assert f"{ARCHIVE}, which kept the old bookings, no longer exists" in refused.stderr
    assert f"Restore {ARCHIVE} from a backup" in refused.stderr
    assert there == unchanged
    assert 5 == migrated.returncode
    assert 0 == done.returncode, done.stderr
    assert before == contents(database)


@_MODES
def test_no_backup_of_it(database: Db, command: Command, half_undone: Undone, mode: tuple[str, ...]) -> None:
    """With an empty one the rollback ends: what is not back stays a session, and is listed."""
    half_undone(*mode)
    lost = {each["_id"] for each in database[ARCHIVE].find({}, {"_id": 1})}
    database[ARCHIVE].drop()
    refused = command(*_ROLLBACK)
    database.create_collection(ARCHIVE)
    ended = command(*_ROLLBACK)
    report = json.loads(ended.stdout)
    sessions = {
        session["legacyBookingId"]
        for document in database.bookings.find({"sessions": {"$exists": True}})
        for session in document["sessions"]
    }

    assert f"db.createCollection('{ARCHIVE}')" in refused.stderr
    assert 3 == ended.returncode, ended.stderr
    assert lost == sessions
    assert len(lost) == report["undone"]["kept"]
    assert 12 - len(lost) == database.bookings.count_documents({"sessions": {"$exists": False}})
    assert 0 == command("migrate", "--in-place", "--quiet", *mode).returncode
