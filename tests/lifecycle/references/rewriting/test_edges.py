"""References in unusual places, and others that write where a rewrite or its undo does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from booking_migrate.cli import run
from booking_migrate.references import noting
from booking_migrate.runs.regulator import Regulator
from booking_migrate.runs.throttle import Pace
from booking_migrate.stores.mongo.referring_writes import MongoReferringWrites
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import REWRITE, UNDO
from tests.lifecycle.references.rewriting.test_pitfalls import between_read_and_write, rewritten
from tests.lifecycle.references.rewriting.test_rewrite import hashes
from tests.support.references import by_id, new, old, table

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

pytestmark = pytest.mark.usefixtures("cut_over")


def undone(command: Run, code: int = 0) -> None:
    """Undo, with this exit code."""
    done = command(*UNDO)
    assert done.returncode == code, done.stdout + done.stderr


def test_doc_to_array(database: Db, command: Run) -> None:
    """A document that becomes an array between read and write is read and planned again."""
    database.orders.insert_one({"_id": 1, "items": {"b": old(1)}})
    with between_read_and_write(
        lambda: database.orders.update_one({"_id": 1}, {"$set": {"items": [{"b": old(1)}]}})
    ):
        rewritten(command, "orders.items.b")
    assert by_id(database.orders.find())[1]["items"] == [{"b": new(1)}]


def test_many_ids_note(database: Db, command: Run) -> None:
    """References that need more room than one note has are noted in several, and are undone."""
    database.orders.insert_many([{"_id": n, "b": [old(1)] * 50} for n in range(20)])
    before = hashes(database)
    with mock.patch.object(noting, "_NOTE_BYTES", 20_000):
        rewritten(command, "orders.b")
    assert all(each["b"] == [new(1)] * 50 for each in database.orders.find())
    assert database.booking_migrate_reference_notes.count_documents({}) > 5
    undone(command)
    assert before == hashes(database)


def test_add_missing_parent(database: Db, command: Run) -> None:
    """A field added below a document that is missing is undone together with that document."""
    database.orders.insert_one({"_id": 1, "b": old(1)})
    before = hashes(database)
    command(*REWRITE, "--field", "orders.b", "--add", "meta.doc=client-document")
    verified = command("references", "verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    undone(command)
    assert before == hashes(database)


def test_add_array_self(database: Db, command: Run) -> None:
    """An array that is added has the new id of each reference, also of one that is its own new id."""
    database.orders.insert_one({"_id": 1, "b": [old(0), old(1)]})
    before = hashes(database)
    command(*REWRITE, "--field", "orders.b", "--add", "s=session")
    assert by_id(database.orders.find())[1]["s"] == [new(0), new(1)]
    undone(command)
    assert before == hashes(database)


def test_undo_taken(database: Db, command: Run) -> None:
    """If another document has the old _id now, an undo keeps the new one, lists it, and restores the others."""
    database.orders.insert_many([{"_id": old(1), "n": 1}, {"_id": old(2), "n": 2}])
    rewritten(command, "orders._id")
    database.orders.insert_one({"_id": old(1), "n": "app"})
    undone(command, 3)
    assert {old(1): "app", new(1): 1, old(2): 2} == {e["_id"]: e["n"] for e in database.orders.find()}


def test_two_fields_within_one_id(database: Db, command: Run) -> None:
    """Two fields within the _id of one document are rewritten together, counted each, verified and undone."""
    documents = [
        {"_id": {"a": old(number), "n": number, "b": str(old(number + 1))}, "c": old(2)}
        for number in range(1, 6)
    ]
    database.orders.insert_many([*documents, {"_id": {"a": old(7)}}, {"_id": {"b": old(8)}}])
    words = ("--field", "orders._id.a", "--field", "orders._id.b", "--field", "orders.c")
    report = json.loads(command(*REWRITE, *words).stdout)

    assert [6, 6, 5] == [each["rewritten"] for each in report["fields"]]
    assert {"_id": {"a": new(1), "n": 1, "b": str(new(2))}, "c": new(2)} == database.orders.find_one(
        {"_id.n": 1}
    )
    proven = command("references", "verify", "--json")
    assert 0 == proven.returncode, proven.stdout
    assert (7, 17) == tuple(json.loads(proven.stdout)["notes"][name] for name in ("identical", "values"))
    undone(command)
    assert documents == list(database.orders.find({"_id.n": {"$gt": 0}}).sort("_id.n", 1))


def test_move_answer_lost(database: Db, command: Run) -> None:
    """A transaction whose answer is lost has written: its note stands, and an undo restores it."""
    database.orders.insert_many([{"_id": old(1), "n": 1}, {"_id": old(2), "n": 2}])
    before = hashes(database)
    whole = MongoReferringWrites._in_transaction
    lost = [1]

    def flaky(own: MongoReferringWrites, moves: Any) -> Any:
        done = whole(own, moves)
        if lost:
            lost.pop()
            raise AutoReconnect("lost")
        return done

    with mock.patch.object(MongoReferringWrites, "_in_transaction", flaky):
        rewritten(command, "orders._id")
    assert {new(1): 1, new(2): 2} == {e["_id"]: e["n"] for e in database.orders.find()}
    undone(command)
    assert before == hashes(database)


def test_guards(database: Db, command: Run, tmp_path: Path) -> None:
    """Two fields with conditions of one path are each written only while their own condition holds."""
    database.orders.insert_one({"_id": 1, "a": old(1), "c": old(2), "type": "booking"})
    path = tmp_path / "x.toml"
    path.write_text(
        table("orders", "a", when='{ type = "booking" }')
        + table("orders", "c", when='{ type = ["booking", "invoice"] }')
    )
    with between_read_and_write(
        lambda: database.orders.update_one({"_id": 1}, {"$set": {"type": "invoice"}})
    ):
        command(*REWRITE, "--config", str(path))
    assert {"_id": 1, "a": old(1), "c": new(2), "type": "invoice"} == by_id(database.orders.find())[1]


def test_numeric_names(database: Db, command: Run) -> None:
    """Fields whose names are numbers, and arrays of arrays, are rewritten and restored."""
    database.orders.insert_many(
        [
            {
                "_id": 1,
                "a": [{"x": 1}, {"0": old(1)}, {"1": {"b": old(2)}}],
                "m": [[old(1), [old(2)]], [[old(3)]], old(4)],
            },
            {"_id": 2, "a": {"0": old(1), "1": [old(1), old(1)]}},
            {"_id": 3, "a": [{"0": old(1)}, {"0": old(2)}]},
        ]
    )
    before = hashes(database)
    rewritten(command, "orders.a.0", "orders.m", "orders.a.1.b", "orders.a.1")
    d = by_id(database.orders.find())
    assert d[1] == {
        "_id": 1,
        "a": [{"x": 1}, {"0": new(1)}, {"1": {"b": new(2)}}],
        "m": [[new(1), [new(2)]], [[new(3)]], new(4)],
    }
    assert d[2] == {"_id": 2, "a": {"0": new(1), "1": [new(1), new(1)]}}
    assert d[3] == {"_id": 3, "a": [{"0": new(1)}, {"0": new(2)}]}
    undone(command)
    assert before == hashes(database)


def test_numeric_add(database: Db, command: Run) -> None:
    """A field is added beside a reference whose name is a number, in its own document."""
    database.orders.insert_one({"_id": 3, "a": [{"0": old(1)}, {"0": old(2)}]})
    before = hashes(database)
    done = command(*REWRITE, "--field", "orders.a.0", "--add", "doc=session")
    assert done.returncode == 0
    assert by_id(database.orders.find())[3] == {
        "_id": 3,
        "a": [{"0": new(1), "doc": new(1)}, {"0": new(2), "doc": new(2)}],
    }
    undone(command)
    assert before == hashes(database)


def test_collation_text_ids(database: Db, command: Run) -> None:
    """In a collection that does not tell capitals apart, texts are written and restored as they were."""
    database.create_collection("orders", collation={"locale": "en", "strength": 1})
    database.orders.insert_many(
        [
            {
                "_id": "a",
                "b": str(old(1)).upper(),
                "t": f"x{old(1)} {str(old(1)).upper()}0 {str(old(2)).upper()}/",
            },
            {"_id": str(old(3)), "b": 1},
        ]
    )
    before = hashes(database)
    rewritten(command, "orders.b", "orders.t", "orders._id")
    undone(command)
    assert before == hashes(database)


def test_capped(database: Db, command: Run) -> None:
    """A capped collection is rewritten and restored; but not the `_id` of its documents, since the oldest would be lost."""
    database.create_collection("orders", capped=True, size=100000)
    database.orders.insert_many([{"_id": 1, "b": old(1)}, {"_id": old(2), "b": old(1)}])
    before = hashes(database)
    refused = command(*REWRITE, "--field", "orders.b", "--field", "orders._id")
    assert 5 == refused.returncode
    assert "Nothing was changed." in refused.stderr
    assert 5 == command(*UNDO, "--field", "orders._id").returncode
    assert before == hashes(database)
    assert 0 == command(*REWRITE, "--field", "orders.b").returncode
    undone(command)
    assert before == hashes(database)


def test_timeseries(database: Db, command: Run) -> None:
    """A time series is refused."""
    database.create_collection("orders", timeseries={"timeField": "t", "metaField": "m"})
    done = command(*REWRITE, "--field", "orders.m")
    assert done.returncode == 5


def test_two_in_a_second(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewrites whose names are of the same second are undone in the order in which they were made, the newest first."""
    database.orders.insert_many({"_id": old(number), "b": old(number)} for number in range(1, 4))
    before = hashes(database)
    names = iter(("20261129T100000Z-ffffff", "20261129T100000Z-000000"))
    with monkeypatch.context() as patched:
        patched.setattr(run, "new_run_id", lambda: next(names))
        rewritten(command, "orders.b")
        rewritten(command, "orders._id")
    undone(command)
    assert before == hashes(database)


def test_add_array_reordered(database: Db, command: Run) -> None:
    """Arrays that others have put into another order since: references are restored in that order, and the added array is removed."""
    database.orders.insert_one({"_id": 1, "b": [old(1), old(2)]})
    rewritten_both = command(*REWRITE, "--field", "orders.b", "--add", "s=session")
    assert 0 == rewritten_both.returncode
    database.orders.update_one({"_id": 1}, {"$set": {"b": [new(2), new(1)], "s": [new(2), new(1)]}})
    undone(command)
    assert [{"_id": 1, "b": [old(2), old(1)]}] == list(database.orders.find())


def test_deleted_meanwhile(database: Db, command: Run) -> None:
    """Documents that the server deletes between read and write are not missed, and an undo counts those that are gone since."""
    database.orders.insert_many({"_id": number, "b": old(number)} for number in range(1, 6))
    with between_read_and_write(lambda: database.orders.delete_many({"_id": {"$in": [2, 3]}})):
        report = rewritten(command, "orders.b")
    assert (3, 0) == (report["documents"], report["fields"][0]["refused"])
    database.orders.delete_one({"_id": 1})
    done = command(*UNDO)
    assert 0 == done.returncode, done.stderr
    counted = json.loads(done.stdout)["references"]
    assert (2, 1) == (counted["documents"], counted["gone"])
    assert {4: old(4), 5: old(5)} == {each["_id"]: each["b"] for each in database.orders.find()}


def test_rate(database: Db, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate is kept: batches are no larger than its share, all documents are counted against it, and it is waited for."""
    database.orders.insert_many({"_id": number, "b": old(number % 30)} for number in range(40))
    taken, delays = [], []
    take, wait = Pace.take, Regulator._delay

    def counted(own: Pace, number: int) -> None:
        take(own, number)
        taken.append(number)

    def waited(own: Regulator) -> float:
        delays.append(wait(own))
        return 0.0

    monkeypatch.setattr(Pace, "take", counted)
    monkeypatch.setattr(Regulator, "_delay", waited)
    done = command(*REWRITE, "--field", "orders.b", "--max-rate", "20")
    assert 0 == done.returncode, done.stderr
    assert 38 == sum(taken)
    assert max(taken) < 38
    assert max(delays) > 0
