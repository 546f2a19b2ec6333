"""The pitfalls of references, each with the result that it must have, and with a mutant of the program that falls into it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
from bson import DBRef
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.references import changes, lookup, preconditions, rewrite
from booking_migrate.references.tally import Known
from booking_migrate.stores.mongo import referring_writes
from booking_migrate.stores.mongo.referring_writes import MongoReferringWrites
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import REWRITE
from tests.support.booking_lines import client
from tests.support.references import by_id, new, old

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
Check = Callable[[Db, Run], None]

OLD_IDS = "booking_migrate_legacy_ids"
"""The index of old ids."""

pytestmark = pytest.mark.usefixtures("cut_over")


@contextmanager
def between_read_and_write(act: Callable[[], object]) -> Iterator[None]:
    """Let the application do something once, when a batch was read and noted and is about to be written."""
    whole = MongoReferringWrites.write
    waiting = [act]

    def write(own: MongoReferringWrites, updates: Any) -> Any:
        while waiting:
            waiting.pop()()
        return whole(own, updates)

    with mock.patch.object(MongoReferringWrites, "write", write):
        yield


def rewritten(command: Run, *fields: str, code: int = 0) -> dict[str, Any]:
    """Rewrite fields; the report."""
    done = command(*REWRITE, *(word for field in fields for word in ("--field", field)))
    assert code == done.returncode, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def shifted_array(database: Db, command: Run) -> None:
    """An array that is shifted between read and write has the new ids of what is left, each once."""
    database.orders.insert_one({"_id": 1, "items": [{"b": old(1)}, {"b": old(2)}, {"b": old(3)}]})
    with between_read_and_write(lambda: database.orders.update_one({"_id": 1}, {"$pop": {"items": -1}})):
        rewritten(command, "orders.items.b")

    assert [{"b": new(2)}, {"b": new(3)}] == by_id(database.orders.find())[1]["items"]


def value_that_became_an_array(database: Db, command: Run) -> None:
    """A value that becomes an array with the old id between read and write stays an array, of new ids."""
    database.orders.insert_one({"_id": 1, "b": old(1)})
    both = {"$set": {"b": [old(1), old(2)]}}
    with between_read_and_write(lambda: database.orders.update_one({"_id": 1}, both)):
        rewritten(command, "orders.b")

    assert [new(1), new(2)] == by_id(database.orders.find())[1]["b"]


def changed_condition(database: Db, command: Run) -> None:
    """A reference whose document is about something else when it is written is left."""
    database.orders.insert_one({"_id": 1, "type": "booking", "item": old(1)})
    invoice = {"$set": {"type": "invoice"}}
    with between_read_and_write(lambda: database.orders.update_one({"_id": 1}, invoice)):
        done = command(*REWRITE, "--field", "orders.item", "--when", "type=booking")

    assert 0 == done.returncode, done.stderr
    assert {"_id": 1, "type": "invoice", "item": old(1)} == by_id(database.orders.find())[1]


def text_beside_object_id(database: Db, command: Run) -> None:
    """An id as text stays text, whether it stands alone or in a longer text, beside an ObjectId in the same field."""
    database.orders.insert_many(
        {"_id": number, "b": value}
        for number, value in enumerate((old(1), str(old(1)), f"/b/{old(1)}", [str(old(1)), old(1)]))
    )
    rewritten(command, "orders.b")

    assert [new(1), str(new(1)), f"/b/{new(1)}", [str(new(1)), new(1)]] == [
        each["b"] for each in database.orders.find().sort("_id", 1)
    ]


def reference_object(database: Db, command: Run) -> None:
    """A DBRef keeps its collection and its other fields, in their order."""
    database.orders.insert_one({"_id": 1, "ref": DBRef("bookings", old(1), "shop", note="x")})
    rewritten(command, "orders.ref")

    assert DBRef("bookings", new(1), "shop", note="x") == by_id(database.orders.find())[1]["ref"]


def document_id(database: Db, command: Run) -> None:
    """A document whose _id is a booking's gets the new one with all its fields; one whose new _id is taken stays, and is listed."""
    database.orders.insert_many(
        [{"_id": old(1), "n": 1}, {"_id": old(2), "n": 2}, {"_id": new(2), "n": "the application's"}]
    )
    report = rewritten(command, "orders._id", code=3)

    assert {new(1): 1, old(2): 2, new(2): "the application's"} == {
        each["_id"]: each["n"] for each in database.orders.find()
    }
    assert ["taken"] == [each["reason"] for each in report["left"]]


def compound_unique_index(database: Db, command: Run) -> None:
    """A unique index over a field that is to hold client documents is refused before the first write, and before the index of old ids; sessions fit into it."""
    database.bookings.drop_index(OLD_IDS)
    database.orders.create_index([("b", 1), ("kind", 1)], unique=True)
    before = [{"_id": number, "b": old(number), "kind": "x"} for number in range(1, 9)]
    database.orders.insert_many(before)
    done = command(*REWRITE, "--field", "orders.b", "--to", "client-document")

    assert 5 == done.returncode
    error = json.loads(done.stdout)["error"]
    assert "b_1_kind_1" in error["message"]
    assert ["--to session"] == [each[-12:] for each in error["commands"]]
    assert before == list(database.orders.find().sort("_id", 1))
    assert OLD_IDS not in database.bookings.index_information()
    rewritten(command, "orders.b")
    assert OLD_IDS in database.bookings.index_information()
    assert [new(number) for number in range(1, 9)] == [
        each["b"] for each in database.orders.find().sort("_id", 1)
    ]


def new_form(database: Db, command: Run) -> None:
    """A reference that the new application has made in the new form is left, and counted as such."""
    there = [{"_id": 1, "b": new(1)}, {"_id": 2, "b": str(new(2))}, {"_id": 3, "b": ObjectId()}]
    database.orders.insert_many(there)
    report = rewritten(command, "orders.b")

    assert there == list(database.orders.find().sort("_id", 1))
    assert (2, 1, 0) == tuple(report["fields"][0][name] for name in ("already", "unknown", "rewritten"))


@dataclass(frozen=True)
class Mutant:
    """A fault of the program."""

    owner: Any
    name: str
    replacement: Callable[..., Any]


def _by_id_only(whole: Any) -> Callable[..., Any]:
    return lambda update: {**whole(update), "q": {"_id": whole(update)["q"].get("_id", 1)}}


def _without_arrays(whole: Any) -> Callable[..., Any]:
    def operation(update: Any) -> Mapping[str, Any]:
        made = whole(update)
        asked = {
            name: value.get("$eq", value) if isinstance(value, dict) else value
            for name, value in made["q"].items()
        }
        return {**made, "q": asked}

    return operation


def _without_dollar(whole: Any) -> Callable[..., Any]:
    return lambda raw, fields: changes.Found(
        raw, [each for each in whole(raw, fields).values if "$" not in each[1].path]
    )


MUTANTS: list[tuple[Check, Mutant]] = [
    (shifted_array, Mutant(referring_writes, "_operation", _by_id_only(referring_writes._operation))),
    (
        value_that_became_an_array,
        Mutant(referring_writes, "_operation", _without_arrays(referring_writes._operation)),
    ),
    (changed_condition, Mutant(referring_writes, "_operation", _by_id_only(referring_writes._operation))),
    (
        text_beside_object_id,
        Mutant(changes, "replaced", lambda value, mapping: next(iter(mapping.values()), value)),
    ),
    (
        reference_object,
        Mutant(changes, "find", _without_dollar(changes.find)),
    ),
    (document_id, Mutant(referring_writes, "_sorted_out", lambda moves, _now: ([], [], list(moves)))),
    (compound_unique_index, Mutant(preconditions, "_check_unique", lambda _field, _facts: None)),
    (
        new_form,
        Mutant(rewrite, "look_up", lambda ids, found: Known(lookup.look_up(ids, found).states, frozenset())),
    ),
]
CHECKS = [check for check, _mutant in MUTANTS]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_pitfall_is_avoided(check: Check, database: Db, command: Run) -> None:
    """Each pitfall has the result that its check describes."""
    check(database, command)


@pytest.mark.parametrize(("check", "mutant"), MUTANTS, ids=lambda each: getattr(each, "__name__", ""))
def test_a_mutant_is_found(check: Check, mutant: Mutant, database: Db, command: Run) -> None:
    """Each check fails if the program has the fault that leads into its pitfall."""
    with mock.patch.object(mutant.owner, mutant.name, mutant.replacement), pytest.raises(AssertionError):
        check(database, command)


def test_ids_of_client_documents_and_both(database: Db, command: Run) -> None:
    """A reference may become the client document's id, and a field beside it may have the other one; both are undone."""
    database.orders.insert_one(
        {"_id": 1, "items": [{"b": old(1)}, {"b": old(2), "doc": "kept"}], "many": [old(1), old(5)]}
    )
    before = database.command("dbHash")["collections"]["orders"]
    given = ("--field", "orders.items.b", "--add", "doc=client-document")
    assert 0 == command(*REWRITE, *given).returncode
    documents = {each["clientId"]: each["_id"] for each in database.bookings.find()}
    assert (
        0
        == command(
            *REWRITE, "--field", "orders.many", "--to", "client-document", "--add", "sessions=session"
        ).returncode
    )

    assert {
        "_id": 1,
        "items": [{"b": new(1), "doc": documents[client(1)]}, {"b": new(2), "doc": documents[client(2)]}],
        "many": [documents[client(1)], documents[client(1)]],
        "sessions": [new(1), new(5)],
    } == by_id(database.orders.find())[1]
    undone = command("rollback", "--references", "--yes", "--json")
    assert 0 == undone.returncode, undone.stderr
    assert before == database.command("dbHash")["collections"]["orders"]
