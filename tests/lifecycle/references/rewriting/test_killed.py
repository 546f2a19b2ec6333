"""A rewrite or its undo, killed at every step: the same command completes it, with the result that it has without a kill."""

import json
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import bson
import pytest
from pymongo.database import Database

from booking_migrate.references import drain, rewrite
from booking_migrate.stores.mongo import sessions
from booking_migrate.stores.mongo.referring_writes import MongoReferringWrites
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import COUNT, REWRITE, UNDO
from tests.lifecycle.references.rewriting.test_rewrite import hashes
from tests.support.fail_commands import failing
from tests.support.forked import Forked
from tests.support.killed_calls import killed_around
from tests.support.references import expected, found, new, old
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

pytestmark = pytest.mark.usefixtures("cut_over")

JOURNAL = "booking_migrate.stores.mongo.reference_journal:MongoReferenceJournal"
WRITES = "booking_migrate.stores.mongo.referring_writes:MongoReferringWrites"
_CHANGED = 4 * COUNT - COUNT // 2 - 3
"""Every other event is no reference, and the id of the first booking is its own new id, so that three documents stay as they are."""

SMALL = ("--batch-size", "7")
STEPS = [
    (f"after {JOURNAL}.create", 1),
    (f"before {JOURNAL}.note", 3),
    (f"after {JOURNAL}.note", 1),
    (f"after {JOURNAL}.note", 6),
    (f"after {JOURNAL}.note", 12),
    (f"after {WRITES}.write", 1),
    (f"after {WRITES}.write", 7),
    (f"before {WRITES}.move", 2),
    (f"after {WRITES}.move", 1),
    (f"after {JOURNAL}.save", 1),
    (f"after {JOURNAL}.save", 5),
    (f"before {JOURNAL}.save", 9),
    ("before booking_migrate.runs.lock:HeldLock.release", 1),
]
LONGER = [(f"after {JOURNAL}.note", 6), (f"after {WRITES}.write", 1)]
"""Between two that are killed by default."""

UNDO_STEPS = [
    (f"after {JOURNAL}.save", 1),
    (f"after {WRITES}.write", 1),
    (f"after {WRITES}.move", 1),
    (f"before {JOURNAL}.save", 4),
    (f"after {JOURNAL}.save", 4),
    (f"after {JOURNAL}.drop", 3),
    (f"before {JOURNAL}.drop", 5),
]


def noted(database: Db) -> set[tuple[Any, ...]]:
    """The documents of all notes that stand, each as often as it is noted."""
    return {
        (note["collection"], document["i"], number)
        for number, note in enumerate(database.booking_migrate_reference_notes.find().sort("_id", 1))
        for position, document in enumerate(note["documents"])
        if position not in note.get("void", ())
    }


@pytest.mark.parametrize(
    ("place", "count"),
    [
        pytest.param(
            place,
            count,
            id=f"{place.rpartition('.')[2]}-{count}-{place[0]}",
            marks=pytest.mark.slow if (place, count) in LONGER else (),
        )
        for place, count in STEPS
    ],
)
def test_the_same_command_completes_a_rewrite(
    place: str,
    count: int,
    database: Db,
    command: Run,
    environment: Mapping[str, str],
    tables: str,
) -> None:
    """Killed anywhere and run again, a rewrite has the same result, each document is noted once, and its undo is whole."""
    before = hashes(database)
    assert -9 == killed_around(place, count, environment, *REWRITE, *SMALL, "--config", tables)
    done = command(*REWRITE, *SMALL, "--config", tables)
    report = json.loads(done.stdout)

    assert 0 == done.returncode, done.stderr
    assert expected(COUNT) == found(database)
    standing = noted(database)
    assert len(standing) == len({each[:2] for each in standing}) == _CHANGED
    if "release" not in place:
        assert len(standing) == report["documents"]
        assert COUNT - 1 == sum(each["rewritten"] for each in report["fields"] if each["field"] == "_id")
        # The id of the first booking in ten places; nothing that this rewrite has written itself.
        assert 10 == sum(each["already"] for each in report["fields"])
    undone = command(*UNDO)
    assert 0 == undone.returncode, undone.stderr
    assert before == hashes(database)


@pytest.mark.parametrize(
    ("place", "count"),
    UNDO_STEPS,
    ids=[f"{place.rpartition('.')[2]}-{count}-{place[0]}" for place, count in UNDO_STEPS],
)
def test_the_same_command_completes_an_undo(
    place: str, count: int, database: Db, command: Run, environment: Mapping[str, str], tables: str
) -> None:
    """Killed anywhere and run again, an undo restores every byte, and counts each document once."""
    before = hashes(database)
    assert 0 == command(*REWRITE, *SMALL, "--config", tables).returncode
    documents = len(noted(database))
    assert -9 == killed_around(place, count, environment, *UNDO)
    done = command(*UNDO)

    assert 0 == done.returncode, done.stderr
    assert before == hashes(database)
    assert documents == json.loads(done.stdout)["references"]["identical"]
    assert 0 == database.booking_migrate_reference_notes.count_documents({})


def test_other_fields_follow_a_rewrite_that_has_written_nothing(
    database: Db, command: Run, environment: Mapping[str, str], tables: str
) -> None:
    """A rewrite that was killed before its first note does not bind the next one to its fields; one with notes does."""
    one = ("--field", "payments.bookingId")
    assert -9 == killed_around(f"before {JOURNAL}.note", 1, environment, *REWRITE, "--config", tables)
    assert -9 == killed_around(f"after {JOURNAL}.note", 1, environment, *REWRITE, *one)
    refused = command(*REWRITE, "--field", "reviews.meta.booking.id")
    error = json.loads(refused.stdout)["error"]

    assert 5 == refused.returncode
    assert "payments.bookingId" in error["message"]
    assert "booking-migrate references rewrite" in error["hint"]
    assert 0 == command(*REWRITE).returncode
    assert 0 == command(*REWRITE, "--config", tables).returncode
    assert expected(COUNT) == found(database)


def test_status_names_the_command_that_continues(
    database: Db, command: Run, environment: Mapping[str, str], tables: str, tmp_path: Path
) -> None:
    """Status names an interrupted rewrite, and its command completes it whatever the config file names; so it does for an undo."""
    before = hashes(database)
    assert -9 == killed_around(f"after {JOURNAL}.note", 6, environment, *REWRITE, *SMALL, "--config", tables)
    page = command("status").stdout
    (rewritten,) = json.loads(command("status", "--json").stdout)["rewrites"]

    assert 5 == command("status", "--check", "--quiet").returncode
    assert "interrupted; " in page
    assert "rollback --references" in page
    assert ("interrupted", None) == (rewritten["state"], rewritten["problem"])
    assert 0 < rewritten["documents"] <= rewritten["looked_at"]
    assert "payments.bookingId" in rewritten["fields"]
    other = tmp_path / "other.toml"
    other.write_text('[[references]]\ncollection = "others"\nfield = "of"\n')
    done = command(*shlex.split(rewritten["possible"][0])[1:], "--yes", "--config", str(other))
    assert 0 == done.returncode, done.stderr
    assert "is continued; for the fields of the config file, run the same command again" in done.stderr
    assert expected(COUNT) == found(database)
    (rewritten,) = json.loads(command("status", "--json").stdout)["rewrites"]
    assert ("done", "booking-migrate references verify") == (rewritten["state"], rewritten["possible"][0])
    assert 0 == command("status", "--check", "--quiet").returncode
    assert -9 == killed_around(f"after {JOURNAL}.drop", 3, environment, *UNDO)
    (rewritten,) = json.loads(command("status", "--json").stdout)["rewrites"]
    assert "restoring-interrupted" == rewritten["state"]
    undone = command(*shlex.split(rewritten["possible"][0])[1:], "--yes")
    assert 0 == undone.returncode, undone.stderr
    assert before == hashes(database)


@pytest.mark.parametrize("ends_again", [False, True])
def test_lost_history_begins_again(
    ends_again: bool,
    database: Db,
    command: Run,
    environment: Mapping[str, str],
    tables: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the oplog no longer has what was written since a kill, all is read again, and counted once, also if that ends at once."""
    assert -9 == killed_around(f"after {JOURNAL}.note", 12, environment, *REWRITE, *SMALL, "--config", tables)
    assert new(1) == database.payments.find_one({"_id": 1}, {"bookingId": 1})["bookingId"]  # type: ignore[index]
    database.payments.update_one({"_id": 1}, {"$set": {"bookingId": old(1)}})
    follow, calls = drain.follow, iter(["lost", "ends"][: 1 + ends_again])

    def follow_first_in_vain(*given: Any) -> Any:
        call = next(calls, "")
        if call == "ends":
            raise RuntimeError("it ends before it reads anything")
        return None if call == "lost" else follow(*given)

    monkeypatch.setattr(rewrite, "follow", follow_first_in_vain)
    if ends_again:
        assert 0 != command(*REWRITE, *SMALL, "--config", tables).returncode
    done = command(*REWRITE, *SMALL, "--config", tables)
    report = json.loads(done.stdout)
    ids = next(each for each in report["fields"] if each["field"] == "bookingIds")

    assert 0 == done.returncode, done.stderr
    assert expected(COUNT) == found(database)
    # Each has one id of no booking.
    assert COUNT == ids["unknown"]


def test_a_note_is_completed_only_where_its_condition_still_holds(
    database: Db, command: Run, environment: Mapping[str, str]
) -> None:
    """A document noted before a kill, whose condition others have ended since, keeps its value; the rest is written and undone."""
    database.orders.insert_many({"_id": n, "b": old(n), "type": "booking"} for n in range(1, 4))
    before = hashes(database)
    words = (*REWRITE, "--field", "orders.b", "--when", "type=booking")
    assert -9 == killed_around(f"after {JOURNAL}.note", 1, environment, *words)
    database.orders.update_one({"_id": 2}, {"$set": {"type": "invoice"}})
    assert 0 == command(*words).returncode

    assert [new(1), old(2), new(3)] == [each["b"] for each in database.orders.find().sort("_id", 1)]
    assert {("orders", bson.encode({"_id": n}), 0) for n in (1, 3)} == noted(database)
    database.orders.update_one({"_id": 2}, {"$set": {"type": "booking"}})
    assert 0 == command(*UNDO).returncode
    assert before == hashes(database)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_a_rewrite_and_an_undo_which_continue(
    name: str, code: int, database: Db, command: Run, environment: Mapping[str, str], tables: str
) -> None:
    """Interrupted or terminated in the middle, a rewrite and its undo end in order, and the same command completes each."""
    before = hashes(database)
    stopped = (*REWRITE, *SMALL, "--config", tables)
    assert code == killed_around(f"{name} {WRITES}.write", 4, environment, *stopped)
    done = command(*stopped)
    assert 0 == done.returncode, done.stderr
    assert json.loads(done.stdout)["resumed"]
    assert expected(COUNT) == found(database)
    assert code == killed_around(f"{name} {WRITES}.write", 4, environment, *UNDO)
    done = command(*UNDO)
    assert 0 == done.returncode, done.stderr
    assert before == hashes(database)
    assert _CHANGED == json.loads(done.stdout)["references"]["identical"]


def test_a_lock_that_was_taken_over_ends_the_writing(database: Db, command: Run, tables: str) -> None:
    """A rewrite whose lock another process has taken over writes nothing more, and the same command completes it."""
    whole, writes, after = MongoReferringWrites.write, [0], [0]

    def write(own: MongoReferringWrites, updates: Any) -> Any:
        writes[0] += 1
        after[0] += writes[0] > 3
        done = whole(own, updates)
        if writes[0] == 3:
            taken = database.booking_migrate_locks.update_one(
                {"_id": "references"}, {"$inc": {"token": 1}, "$set": {"holder.pid": 1}}
            )
            assert 1 == taken.modified_count
        return done

    with mock.patch.object(MongoReferringWrites, "write", write):
        done = command(*REWRITE, *SMALL, "--config", tables)
    assert (11, 0) == (done.returncode, after[0]), done.stdout + done.stderr
    database.booking_migrate_locks.delete_one({"_id": "references"})
    assert 0 == command(*REWRITE, *SMALL, "--config", tables).returncode
    assert expected(COUNT) == found(database)


def hanging(database: Db, command: Mapping[str, Any]) -> bool:
    """Whether the server is still at a command of the program."""
    ours = {"appName": "booking-migrate", **{f"command.{name}": value for name, value in command.items()}}
    return bool(list(database.client.admin.aggregate([{"$currentOp": {}}, {"$match": ours}])))


@contextmanager
def killed_while_sent(
    server: Server, database: Db, environment: Mapping[str, str], sent: Mapping[str, Any], *words: str
) -> Iterator[None]:
    """Kill the program while the server is at its command, which is carried out ten seconds later unless something ends it."""
    blocked: dict[str, Any] = {"blockConnection": True, "blockTimeMS": 10_000}
    (name, of), *_ = sent.items()
    named = {"namespace": f"{database.name}.{of}"} if name == "update" else {}
    with (
        failing(server, [name], {**blocked, **named}, times=1),
        Forked(words, environment) as process,
    ):
        until = time.monotonic() + 30
        while not hanging(database, sent) and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(30)
        assert hanging(database, sent)
        # To take the fail point off waits for what it holds up.
        yield


@pytest.mark.parametrize("is_undone", [True, False], ids=["undone", "continued"])
@pytest.mark.parametrize(
    ("sent", "field"),
    [
        pytest.param({"update": "orders"}, "b", id="values"),
        pytest.param({"update": "booking_migrate_reference_notes"}, "b", id="note"),
        pytest.param({"commitTransaction": 1}, "_id", id="ids"),
    ],
)
def test_what_was_sent_before_a_kill_is_not_carried_out_after_it(
    sent: Mapping[str, Any],
    field: str,
    is_undone: bool,
    server: Server,
    database: Db,
    command: Run,
    environment: Mapping[str, str],
) -> None:
    """A command that the server still has when its process is killed is ended before its documents are looked at."""
    database.orders.insert_many({"_id": old(number), "b": old(number)} for number in range(1, 4))
    before = hashes(database)["orders"]
    words = (*REWRITE, "--field", f"orders.{field}")
    with killed_while_sent(server, database, environment, sent, *words):
        done = command(*(UNDO if is_undone else words))
        assert 0 == done.returncode, done.stderr
        assert not hanging(database, sent)
    if is_undone:
        assert 0 == json.loads(done.stdout)["references"]["values"]
    else:
        assert {new(1), new(2), new(3)} == set(database.orders.distinct(field))
        assert 3 == len(noted(database))
        assert 3 == json.loads(command(*UNDO).stdout)["references"]["identical"]
    assert before == hashes(database)["orders"]
    assert 0 == database.booking_migrate_reference_notes.count_documents({})


def test_an_undo_counts_what_was_written(database: Db, command: Run, environment: Mapping[str, str]) -> None:
    """Of a rewrite that was killed, an undo counts the documents that were written, not those that were only noted."""
    database.orders.insert_many({"_id": number, "b": old(number)} for number in range(1, 9))
    before = hashes(database)["orders"]
    words = (*REWRITE, "--field", "orders.b", "--batch-size", "3")
    assert -9 == killed_around(f"after {JOURNAL}.note", 2, environment, *words)
    assert -9 == killed_around(f"before {JOURNAL}.save", 3, environment, *UNDO)
    undone = json.loads(command(*UNDO).stdout)["references"]

    assert (3, 3, 3, 0) == tuple(undone[name] for name in ("documents", "identical", "values", "kept"))
    assert before == hashes(database)["orders"]


def test_an_error_that_ends_the_continuation_at_once_is_noted(
    server: Server, database: Db, command: Run, environment: Mapping[str, str], tables: str
) -> None:
    """If a rewrite cannot be continued, status says why, as of an error that ends it later."""
    assert -9 == killed_around(f"after {JOURNAL}.note", 2, environment, *REWRITE, *SMALL, "--config", tables)
    database.bookings.drop_indexes()
    with failing(server, ["createIndexes"], {"errorCode": 14031}):
        done = command(*REWRITE, *SMALL, "--config", tables)
    (rewritten,) = json.loads(command("status", "--json").stdout)["rewrites"]

    assert "failed" == rewritten["state"], done.stderr
    assert json.loads(done.stdout)["error"]["message"] == rewritten["problem"]
    assert 0 == command(*REWRITE, *SMALL, "--config", tables).returncode
    assert expected(COUNT) == found(database)


def test_what_does_not_end_is_named(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the server still carries out what a killed rewrite has sent, the next one says that it is about references, and is refused."""
    database.orders.insert_one({"b": old(1)})
    monkeypatch.setattr(sessions, "_WAIT_SECONDS", -1)
    monkeypatch.setattr(sessions.Sessions, "_ended", lambda *_given: [{"opid": 5}])
    done = command(*REWRITE, "--field", "orders.b")

    assert 5 == done.returncode
    assert json.loads(done.stdout)["error"]["message"].startswith(
        "a command about references that an earlier process has sent"
    )
