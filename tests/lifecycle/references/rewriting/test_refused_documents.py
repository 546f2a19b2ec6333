"""Documents that the server does not take with their new ids, or with their old ones: they are left, listed, and tried again."""

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import bson
import pytest
from pymongo.database import Database

from booking_migrate.references import rewrite
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import REWRITE, UNDO
from tests.lifecycle.references.rewriting.test_pitfalls import between_read_and_write
from tests.lifecycle.references.rewriting.test_rewrite import hashes
from tests.support.booking_lines import booking
from tests.support.fail_commands import failing
from tests.support.killed_calls import killed_around
from tests.support.references import by_id, new, old
from tests.support.server import Server

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

pytestmark = pytest.mark.usefixtures("cut_over")

FIELD = ("--field", "orders.b")
SMALL = ("--batch-size", "3")
JOURNAL = "booking_migrate.stores.mongo.reference_journal:MongoReferenceJournal"


def ended(done: Ended, code: int) -> dict[str, Any]:
    """The report of a command that ended with this exit code."""
    assert code == done.returncode, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def steps(report: Mapping[str, Any]) -> list[str | None]:
    """The commands of the next steps."""
    return [each["command"] for each in report["next_steps"]]


def orders(database: Db, count: int = 8) -> None:
    """Insert documents with one reference each."""
    database.orders.insert_many({"_id": number, "b": old(number)} for number in range(1, count + 1))


def values(database: Db) -> list[Any]:
    """The references, in the order of the documents."""
    return [each["b"] for each in database.orders.find({"_id": {"$lt": 99}}).sort("_id", 1)]


def duplicate(database: Db) -> Callable[[], object]:
    """A document has a value that is unique and that another one is to get."""
    database.orders.create_index("b", unique=True)
    database.orders.insert_one({"_id": 99, "b": new(3)})
    return lambda: database.orders.delete_one({"_id": 99})


def validator(database: Db) -> Callable[[], object]:
    """A validator refuses one document's new id."""
    database.command("collMod", "orders", validator={"b": {"$ne": new(3)}})
    return lambda: database.command("collMod", "orders", validator={})


def large(database: Db) -> Callable[[], object]:
    """A document is as large as one may be, so that no field can be added to it."""
    document = {"_id": 3, "b": old(3), "text": ""}
    document["text"] = "x" * (16 * 1024 * 1024 - len(bson.encode(document)))
    database.orders.replace_one({"_id": 3}, document)

    def remove() -> None:
        database.orders.delete_one({"_id": 3})
        database.orders.insert_one({"_id": 3, "b": old(3)})

    return remove


CAUSES: list[tuple[Callable[[Db], Callable[[], object]], tuple[str, ...], str]] = [
    (duplicate, (), "b_1"),
    (validator, (), "b must"),
    (large, ("--add", "c=client-document"), "16777216"),
]


@pytest.mark.parametrize(("cause", "more", "fact"), CAUSES, ids=lambda each: getattr(each, "__name__", ""))
def test_one_is_left_and_listed_and_the_rest_goes_on(
    cause: Callable[[Db], Callable[[], object]], more: tuple[str, ...], fact: str, database: Db, command: Run
) -> None:
    """It is unchanged and listed with the server's facts, the others are written; the same command tries it again; an undo is exact."""
    orders(database)
    remove = cause(database)
    before = by_id(database.orders.find())[3]
    report = ended(command(*REWRITE, *SMALL, *FIELD, *more), 3)

    assert (7, 1) == (report["fields"][0]["rewritten"], report["fields"][0]["refused"])
    (left,) = [each for each in report["left"] if each["reason"] == "refused"]
    assert ("3", "b") == (left["document_id"], left["path"])
    assert fact in left["detail"]
    assert f"booking-migrate {shlex.join([*REWRITE, *SMALL, *FIELD, *more])}" == steps(report)[0]
    assert before == by_id(database.orders.find())[3]
    assert [old(3) if number == 3 else new(number) for number in range(1, 9)] == values(database)
    remove()
    report = ended(command(*REWRITE, *SMALL, *FIELD, *more), 0)
    assert (1, 0) == (report["fields"][0]["rewritten"], report["fields"][0]["refused"])
    assert [new(number) for number in range(1, 9)] == values(database)
    assert 0 == command("references", "verify", "--json", *FIELD).returncode
    ended(command(*UNDO), 0)
    assert [{"_id": number, "b": old(number)} for number in range(1, 9)] == list(
        database.orders.find({"_id": {"$lt": 99}}).sort("_id", 1)
    )


def test_an_id_is_refused_alone(database: Db, command: Run) -> None:
    """Of documents whose _id is to change, one that a unique index or validator refuses is left, and the others are replaced."""
    database.orders.insert_many({"_id": old(number), "n": number} for number in range(1, 9))
    database.command("collMod", "orders", validator={"_id": {"$nin": [new(3), new(6)]}})
    report = ended(command(*REWRITE, "--field", "orders._id"), 3)

    assert (6, 2) == (report["fields"][0]["rewritten"], report["fields"][0]["refused"])
    assert {old(3): 3, old(6): 6, **{new(each): each for each in (1, 2, 4, 5, 7, 8)}} == {
        each["_id"]: each["n"] for each in database.orders.find()
    }
    ended(command(*UNDO), 0)
    assert {old(each) for each in range(1, 9)} == set(database.orders.distinct("_id"))


@pytest.mark.parametrize("is_followed", [True, False])
def test_one_whose_new_id_is_taken_is_counted_once(
    is_followed: bool,
    database: Db,
    command: Run,
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of its references counts once, as often as it is looked at: in another pass, after a kill, or because others write it."""
    database.orders.insert_many({"_id": old(number), "b": old(number)} for number in range(1, 4))
    database.orders.insert_one({"_id": new(2), "b": None})
    words = (*REWRITE, *FIELD, "--field", "orders._id")
    assert -9 == killed_around(f"after {JOURNAL}.save", 3, environment, *words)
    whole = rewrite._Rewriting._settle

    def settle(own: Any) -> None:
        database.orders.update_one({"_id": old(2)}, {"$set": {"x": 1}})
        whole(own)

    monkeypatch.setattr(rewrite._Rewriting, "_settle", settle)
    if not is_followed:
        monkeypatch.setattr(rewrite, "follow", lambda *_given: None)
    report = ended(command(*words), 3)

    assert report["resumed"]
    assert [(2, 1), (2, 1)] == [(each["rewritten"], each["taken"]) for each in report["fields"]]
    assert f"booking-migrate {shlex.join(words)}" == steps(report)[0]
    assert ["_id", "b"] == sorted(each["path"] for each in report["left"] if each["reason"] == "taken")
    ended(command(*UNDO), 0)
    assert {old(1), old(2), old(3), new(2)} == set(database.orders.distinct("_id"))


def test_a_document_is_counted_once(database: Db, command: Run) -> None:
    """One that others write meanwhile is refused again, and counts once; one that becomes sound is written, and does not count."""
    orders(database)
    validator(database)
    with between_read_and_write(lambda: database.orders.update_one({"_id": 3}, {"$set": {"x": 1}})):
        report = ended(command(*REWRITE, *FIELD), 3)
    assert 1 == report["fields"][0]["refused"]

    whole = rewrite._Rewriting._end_beside_others

    def end(own: Any) -> Any:
        database.command("collMod", "orders", validator={})
        database.orders.update_one({"_id": 3}, {"$set": {"x": 2}})
        return whole(own)

    with mock.patch.object(rewrite._Rewriting, "_end_beside_others", end):
        report = ended(command(*REWRITE, *FIELD), 0)
    assert (0, 1, []) == (report["fields"][0]["refused"], report["fields"][0]["rewritten"], report["left"])


@pytest.mark.parametrize("place", [f"before {JOURNAL}.void", f"after {JOURNAL}.void"])
def test_a_killed_rewrite_counts_them_once(
    place: str, database: Db, command: Run, environment: Mapping[str, str]
) -> None:
    """Killed around the note of what was refused and run again, a rewrite lists each refused document once."""
    orders(database)
    database.command("collMod", "orders", validator={"b": {"$nin": [new(2), new(6)]}})
    assert -9 == killed_around(place, 2, environment, *REWRITE, *SMALL, *FIELD)
    report = ended(command(*REWRITE, *SMALL, *FIELD), 3)

    assert report["resumed"]
    assert (6, 2) == (report["fields"][0]["rewritten"], report["fields"][0]["refused"])
    assert ["2", "6"] == sorted(each["document_id"] for each in report["left"])
    database.command("collMod", "orders", validator={})
    ended(command(*UNDO), 0)
    assert [old(number) for number in range(1, 9)] == values(database)


def test_an_undo_leaves_one_and_tries_it_again(database: Db, command: Run) -> None:
    """A document that does not take its old id is left with its note, the others are restored; the same command restores it later."""
    orders(database)
    before = hashes(database)["orders"]
    ended(command(*REWRITE, *SMALL, *FIELD), 0)
    database.command("collMod", "orders", validator={"b": {"$nin": [old(3), old(7)]}})
    report = ended(command(*UNDO), 3)

    undone = report["references"]
    assert (6, 2, 0) == (undone["documents"], undone["left"], undone["kept"])
    assert ["3", "7"] == sorted(each["document_id"] for each in undone["left_samples"])
    assert all("b must" in each["why"] for each in undone["left_samples"])
    assert [new(number) if number in (3, 7) else old(number) for number in range(1, 9)] == values(database)
    assert f"booking-migrate {shlex.join(UNDO)}" == steps(report)[0]
    assert 2 == ended(command(*UNDO), 3)["references"]["left"]
    database.command("collMod", "orders", validator={"b": {"$nin": [old(3)]}})
    assert 1 == ended(command(*UNDO), 3)["references"]["left"]
    database.command("collMod", "orders", validator={})
    undone = ended(command(*UNDO), 0)["references"]
    assert (8, 8, 0) == (undone["documents"], undone["identical"], undone["left"])
    assert before == hashes(database)["orders"]
    assert 0 == database.booking_migrate_reference_notes.count_documents({})


@pytest.mark.parametrize(
    "step", ["before {}.stuck", "after {}.stuck", "after {}.save", "before {}.void", "after {}.void"]
)
def test_a_killed_undo_counts_once(
    step: str, database: Db, command: Run, environment: Mapping[str, str]
) -> None:
    """Killed at any step around a refused document and run again, an undo counts each document once and restores all in the end."""
    orders(database)
    before = hashes(database)["orders"]
    ended(command(*REWRITE, *SMALL, *FIELD), 0)
    database.command("collMod", "orders", validator={"b": {"$nin": [old(7)]}})
    count = 2 if "save" in step else 1
    assert -9 == killed_around(step.format(JOURNAL), count, environment, *UNDO)
    undone = ended(command(*UNDO), 3)["references"]
    assert (7, 7, 1) == (undone["documents"], undone["identical"], undone["left"])
    database.command("collMod", "orders", validator={})
    assert -9 == killed_around(f"before {JOURNAL}.drop", 1, environment, *UNDO)
    undone = ended(command(*UNDO), 0)["references"]
    assert (8, 8, 0) == (undone["documents"], undone["identical"], undone["left"])
    assert before == hashes(database)["orders"]


def test_one_too_large_to_be_noted(database: Db, command: Run, environment: Mapping[str, str]) -> None:
    """A document whose values before and after do not fit into a note is left, listed and tried again, also after a kill."""
    text = "x" * (9 * 1024 * 1024)
    database.orders.insert_many(
        [{"_id": 1, "b": old(1)}, {"_id": 2, "b": f"{text} {old(2)}"}, {"_id": 3, "b": old(3)}]
    )
    before = hashes(database)["orders"]
    words = (*REWRITE, *FIELD, "--batch-size", "1")
    assert -9 == killed_around(f"after {JOURNAL}.void", 1, environment, *words)
    report = ended(command(*words), 3)

    assert report["resumed"]
    assert (2, 1) == (report["fields"][0]["rewritten"], report["fields"][0]["refused"])
    (left,) = report["left"]
    assert ("2", "b", "refused") == (left["document_id"], left["path"], left["reason"])
    assert "too large to be noted" in left["detail"]
    assert [new(1), f"{text} {old(2)}", new(3)] == values(database)
    assert (0, 1) == tuple(ended(command(*words), 3)["fields"][0][name] for name in ("rewritten", "refused"))
    ended(command(*UNDO), 0)
    assert before == hashes(database)["orders"]
    database.orders.update_one({"_id": 2}, {"$set": {"b": f"x {old(2)}"}})
    ended(command(*words), 0)
    assert [new(1), f"x {new(2)}", new(3)] == values(database)


def test_what_was_left_has_a_next_step(database: Db, command: Run, environment: Mapping[str, str]) -> None:
    """The command that shows why a booking was rejected does so; one that tries again names the fields of the rewrite that it continued."""
    orders(database)
    validator(database)
    rejected = booking(100)["_id"]
    database.orders.insert_one({"_id": 9, "b": f"https://shop.example/{rejected}"})
    database.orders.update_many({}, {"$set": {"kind": "a b"}})
    words = (*REWRITE, *SMALL, *FIELD, "--when", "kind=a b", "--add", "c=client-document")
    assert -9 == killed_around(f"after {JOURNAL}.note", 1, environment, *words)
    report = ended(command(*REWRITE), 3)
    again, why, *_ = steps(report)

    named = (*FIELD, "--add", "c=client-document", "--when", "kind=a b")
    assert f"booking-migrate {shlex.join((*REWRITE, *named))}" == again
    assert "currency" in command(*shlex.split(str(why))[1:]).stdout
    database.command("collMod", "orders", validator={})
    ended(command(*shlex.split(str(again))[1:]), 3)
    assert new(3) == by_id(database.orders.find())[3]["b"]


def test_what_concerns_all_ends_it(server: Server, database: Db, command: Run) -> None:
    """An error that is not one document's ends the rewrite; it, and one of the undo, have the counts so far and what continues."""
    database.orders.insert_many([{"_id": 1, "b": old(2)}, {"_id": 2, "b": old(1)}])
    words = (*REWRITE, *FIELD, "--batch-size", "1")
    full = {"errorCode": 14031, "namespace": f"{database.name}.orders"}
    with failing(server, ["update"], full, skip=1):
        done = command(*words)
    error = ended(done, 5)["error"]
    again = f"booking-migrate {shlex.join(words)}"

    assert ("failed", 1, 1, 1) == tuple(
        error["rewrite"][name] for name in ("state", "documents", "looked_at", "values")
    )
    assert again == error["rewrite"]["possible"][0]
    assert again in done.stderr
    with failing(server, ["update"], full):
        done = command(*UNDO)
    error = ended(done, 5)["error"]
    assert ("restoring-failed", 1, 0) == tuple(
        error["rewrite"][name] for name in ("state", "documents", "restored")
    )
    assert [f"booking-migrate {shlex.join(UNDO)}"] == error["rewrite"]["possible"]
    assert f"booking-migrate {shlex.join(UNDO)}" in done.stderr
    other = ended(command(*REWRITE, "--field", "payments.hex"), 5)["error"]
    assert error["rewrite"]["rewrite_id"] == other["message"].split()[2]
    ended(command(*UNDO), 0)
