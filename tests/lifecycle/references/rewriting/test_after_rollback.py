"""References that the new application wrote, after the rollback of the run: counted, named, and restored by the printed command."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from bson import Int64
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from booking_migrate.bson.document import element_of, wrap
from booking_migrate.domain.ids import client_document_id
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import COUNT, REWRITE, UNDO
from tests.lifecycle.references.rewriting.test_rewrite import hashes
from tests.support.booking_lines import booking, client
from tests.support.references import new, old

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

pytestmark = pytest.mark.usefixtures("cut_over")

ROLLBACK = ("rollback", "--target", "clients", "--yes", "--json")


def legacy(database: Db) -> str:
    """The name of the kept copy."""
    (name,) = [each for each in database.list_collection_names() if each.startswith("bookings_legacy")]
    return name


def test_references_of_the_new_application_are_named_and_restored(
    database: Db, command: Run, tables: str
) -> None:
    """A rollback is refused until the rewrite is undone; then it counts what the application wrote, and its command restores that."""
    before = hashes(database)
    assert 0 == command(*REWRITE, "--config", tables).returncode
    refused = command(*ROLLBACK)
    written = [
        {"_id": f"new {number}", "bookingId": new(number), "hex": str(new(number))} for number in (3, 4)
    ]
    database.payments.insert_many(written)
    first = json.loads(refused.stdout)["error"]["hint"].splitlines()[1].split(": ")[-1]
    undone = command(*shlex.split(first)[1:], "--yes", "--json")
    done = command(*ROLLBACK)
    report = json.loads(done.stdout)
    page = " ".join(command("rollback", "--target", "clients", "--yes").stdout.split())
    (step,) = [each["command"] for each in report["next_steps"] if each["command"]]
    restored = command(*shlex.split(step)[1:], "--yes", "--json")
    again = command(*ROLLBACK)

    assert 5 == refused.returncode
    assert first.startswith("booking-migrate rollback --references --run ")
    assert 0 == undone.returncode, undone.stderr
    assert 3 == done.returncode, done.stderr
    assert [
        ("payments.bookingId", 2, ["new 3", "new 4"], True),
        ("payments.hex", 2, ["new 3", "new 4"], True),
    ] == [
        (each["field"], each["values"], each["samples"], each["can_restore"])
        for each in report["undone"]["stranded"]
    ]
    assert "2 references in the new form in payments.bookingId" in page
    assert "Rolled back, but references lead nowhere" in page
    assert 0 == restored.returncode, restored.stderr + restored.stdout
    assert (0, 4) == (restored.returncode, json.loads(restored.stdout)["references"]["values"])
    assert [(old(number), str(old(number))) for number in (3, 4)] == [
        (each["bookingId"], each["hex"]) for each in database.payments.find({"_id": {"$regex": "new"}})
    ]
    assert [] == json.loads(again.stdout)["undone"]["stranded"]
    assert 0 == again.returncode
    database.payments.delete_many({"_id": {"$regex": "new"}})
    assert {name: before[name] for name in ("payments", "reviews", "notes", "events")} == {
        name: digest
        for name, digest in hashes(database).items()
        if name in ("payments", "reviews", "notes", "events")
    }


def test_references_in_fields_that_nothing_names(database: Db, command: Run) -> None:
    """Without a config file and a rewrite, samples show the fields; one that has new ids only is found too, and its command restores all.

    Copies of client documents, and of their sessions within other documents, are not taken for references.
    """
    database.bookings.aggregate([{"$out": "copied"}])
    documents = list(database.bookings.find({"sessions": {"$exists": True}}))
    database.audit.insert_many({"client": each, "last": {"seen": each["sessions"][:2]}} for each in documents)
    database.payments.insert_many([{"_id": f"new {each}", "bookingId": new(each)} for each in (3, 4)])
    database.invites.insert_one({"_id": "new", "to": {"session": str(new(5))}})
    done = command(*ROLLBACK)
    report = json.loads(done.stdout)
    (step,) = [each["command"] for each in report["next_steps"] if each["command"]]
    restored = command(*shlex.split(step)[1:], "--yes", "--json")

    assert 3 == done.returncode, done.stderr
    assert [("invites.to.session", 1, ["new"]), ("payments.bookingId", 2, ["new 3", "new 4"])] == [
        (each["field"], each["values"], each["samples"]) for each in report["undone"]["stranded"]
    ]
    run_id = report["run_id"]
    fields = "--field invites.to.session --field payments.bookingId"
    assert f"booking-migrate rollback --references --run {run_id} {fields}" == step
    assert 0 == restored.returncode, restored.stderr + restored.stdout
    assert [old(3), old(4)] == [
        each["bookingId"] for each in database.payments.find({"_id": {"$regex": "new"}})
    ]
    assert [{"_id": "new", "to": {"session": str(old(5))}}] == list(database.invites.find())
    assert [] == json.loads(command(*ROLLBACK).stdout)["undone"]["stranded"]


def test_client_documents_and_later_sessions(database: Db, command: Run) -> None:
    """A reference to a client document that is gone is counted, and has no command; other ids in its field are not counted."""
    field = ("--field", "orders.client", "--to", "client-document")
    database.orders.insert_one({"client": old(5)})
    assert 0 == command(*REWRITE, *field).returncode
    (order,) = database.orders.find()
    assert 0 == command(*UNDO).returncode
    database.orders.insert_many(
        [
            {"_id": "new", "client": order["client"]},
            {"_id": "other", "client": ObjectId()},
            {"_id": "client", "client": client(1)},
            {"_id": "word", "client": client_document_id("word")},
            {"_id": "number", "client": str(client_document_id(7))},
        ]
    )
    database[legacy(database)].insert_many(
        {**booking(200 + number), "clientId": each} for number, each in enumerate((7, Int64(7)))
    )
    done = json.loads(command(*ROLLBACK).stdout)

    assert [("orders.client", 2, ["new", "number"], False)] == [
        (each["field"], each["values"], each["samples"], each["can_restore"])
        for each in done["undone"]["stranded"]
        if each["field"] == "orders.client"
    ]
    assert not any(each["command"] for each in done["next_steps"])
    assert COUNT + 9 == database.bookings.count_documents({})


def test_computing_in_a_field_that_is_not_there_is_refused(database: Db, command: Run) -> None:
    """A misspelt field is named, with the one that was probably meant; the sessions of client documents keep their ids."""
    before = hashes(database)
    misspelt = command(*UNDO, "--field", "payments.bookingid")
    own = command(*UNDO, "--field", "bookings.sessions.sessionId")

    assert (5, 2) == (misspelt.returncode, own.returncode), own.stderr
    assert "--field payments.bookingId" in json.loads(misspelt.stdout)["error"]["hint"]
    assert "holds the bookings themselves" in json.loads(own.stdout)["error"]["message"]
    assert before == hashes(database)


def test_what_is_computed_within_an_id_and_beside_names_that_occur_twice(database: Db, command: Run) -> None:
    """Without a journal, an id within the `_id` of a document is restored; a document with a name twice is left, and listed."""
    twice = [element_of("_id", 1), element_of("b", new(1)), element_of("b", new(2))]
    hidden = [element_of("_id", 2), element_of("b", "x"), element_of("b", new(3))]
    within: list[Any] = [{"_id": {"b": old(n), "d": 1}, "b": old(n), "n": n} for n in (4, 5)]
    database.orders.insert_many([RawBSONDocument(wrap(twice)), RawBSONDocument(wrap(hidden)), *within])
    before = hashes(database)["orders"]
    fields = ("--field", "orders._id.b", "--field", "orders.b")
    command(*REWRITE, *fields)
    assert [new(4), new(5)] == [each["b"] for each in database.orders.find({"_id.d": 1}).sort("n", 1)]
    database.booking_migrate_references.drop()
    database.booking_migrate_reference_notes.drop()
    done = command(*UNDO, *fields)

    assert 3 == done.returncode, done.stderr
    assert before == hashes(database)["orders"]
    counted = json.loads(done.stdout)["references"]
    assert (2, 2) == (counted["documents"], counted["left"])
    assert {"1", "2"} == {each["document_id"] for each in counted["left_samples"]}
