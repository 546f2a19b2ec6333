"""What a rewrite refuses, what it leaves, and what others refuse because of it."""

import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from bson import DBRef
from bson.binary import Binary, UuidRepresentation
from bson.codec_options import CodecOptions
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.database import Database

from booking_migrate.bson.document import STRING, Opaque, element_of, wrap
from booking_migrate.bson.format import display_id
from booking_migrate.domain.ids import session_id
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import REWRITE, UNDO
from tests.lifecycle.references.rewriting.test_pitfalls import between_read_and_write
from tests.lifecycle.references.rewriting.test_rewrite import hashes
from tests.support.booking_lines import booking
from tests.support.references import new, old

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]
FIELD = ("--field", "orders.b")


def message(done: Ended) -> str:
    """The message of the error that a command has ended with."""
    return str(json.loads(done.stdout)["error"]["message"])


def test_before_the_cut_over(database: Db, command: Run) -> None:
    """As long as the client documents are not live, a rewrite is refused, and names the cut-over."""
    database.bookings.insert_many(map(booking, range(5)))
    database.orders.insert_one({"b": old(1)})
    assert 0 == command("migrate", "--target", "clients", "--quiet").returncode
    done = command(*REWRITE, *FIELD)

    assert 5 == done.returncode
    assert "cutover" in json.loads(done.stdout)["error"]["hint"]
    assert old(1) == database.orders.find_one({}, {"_id": 0})["b"]  # type: ignore[index]


def test_after_a_migration_in_place(database: Db, command: Run) -> None:
    """A migration in place is live at once, so its references can be rewritten, once named, and have to be undone before it."""
    database.bookings.insert_many(map(booking, range(5)))
    database.orders.insert_one({"_id": 1, "b": old(1)})
    assert 0 == command("migrate", "--in-place", "--quiet").returncode
    unnamed = json.loads(command(*REWRITE).stdout)["error"]
    assert "references rewrite needs the fields" in unnamed["message"]
    assert "booking-migrate references find --output" in unnamed["hint"]
    assert 0 == command(*REWRITE, *FIELD).returncode
    refused = command("rollback", "--target", "bookings", "--yes", "--json")

    assert {"_id": 1, "b": new(1)} == database.orders.find_one()
    assert 5 == refused.returncode
    assert "rollback --references" in json.loads(refused.stdout)["error"]["hint"]
    assert 0 == command(*UNDO).returncode
    assert 0 == command("rollback", "--target", "bookings", "--yes", "--quiet").returncode


@pytest.mark.usefixtures("cut_over")
def test_a_rollback_waits_for_the_references(database: Db, command: Run) -> None:
    """While rewritten references stand, the cut-over cannot be rolled back, and status names first what is; then it can."""
    database.orders.insert_one({"_id": 1, "b": old(1)})
    assert 0 == command(*REWRITE, *FIELD).returncode
    rollback = ("rollback", "--target", "clients", "--yes", "--json")
    refused = command(*rollback)
    (run,) = json.loads(command("status", "--json").stdout)["runs"]
    ways = [each for each in run["possible"] if " rollback " in each]

    assert 5 == refused.returncode
    assert "1 reference was" in message(refused)
    assert "in orders.b" in message(refused)
    assert [
        f"booking-migrate rollback --references --run {run['run_id']}",
        f"booking-migrate rollback --run {run['run_id']}",
    ] == ways
    assert 0 == command(*UNDO).returncode
    assert 0 == command(*rollback).returncode
    assert {"_id": 1, "b": old(1)} == database.orders.find_one()


@pytest.mark.usefixtures("cut_over")
def test_rejected_and_unknown_ids_are_left_and_listed(database: Db, command: Run) -> None:
    """Ids of rejected bookings and of no booking stay as they are, and are counted and listed; the exit code is 3."""
    there = [{"_id": 1, "b": old(100)}, {"_id": 2, "b": str(old(101))}, {"_id": 3, "b": old(999)}]
    database.orders.insert_many([*there, {"_id": 4, "b": old(1)}])
    done = command(*REWRITE, *FIELD)
    report = json.loads(done.stdout)

    assert 3 == done.returncode
    assert there == list(database.orders.find({"_id": {"$lt": 4}}))
    assert {("1", "rejected"), ("2", "rejected"), ("3", "unknown")} == {
        (each["document_id"], each["reason"]) for each in report["left"]
    }
    assert (1, 2, 1) == tuple(report["fields"][0][name] for name in ("rewritten", "rejected", "unknown"))


@pytest.mark.usefixtures("cut_over")
def test_each_value_is_counted_as_what_it_is(database: Db, command: Run) -> None:
    """Old ids, new ids of either kind and origin, ids of rejected bookings and of nothing, and what is not an id count apart."""
    own, document = ObjectId(), database.bookings.find_one({}, {"_id": 1})
    assert document is not None
    database.bookings.update_one({}, {"$push": {"sessions": {"sessionId": own, "status": "pending"}}})
    values = {
        "rewritten": [old(1), str(old(2)), f"/b/{old(3)}"],
        "already": [new(4), str(new(5)), f"/s/{own}", own, document["_id"], old(0)],
        "rejected": [old(100)],
        "dangling": [old(999), str(ObjectId()), UUID(int=1)],
        "no_id": ["gift", 7, datetime(2026, 1, 1, tzinfo=UTC)],
    }
    orders = database.get_collection(
        "orders", codec_options=CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
    )
    orders.insert_many({"b": each} for some in values.values() for each in some)
    orders.insert_many([{"b": None}, {"b": []}, {"c": old(1)}])
    report = json.loads(command(*REWRITE, *FIELD).stdout)
    (field,) = report["fields"]
    proven = json.loads(command("references", "verify", "--json").stdout)["fields"][0]

    assert {name: len(some) for name, some in values.items()} == {name: field[name] for name in values}
    assert 6 == field["unknown"] == proven["dangling"] == proven["dangling_then"]
    assert field["already"] + field["rewritten"] == proven["new"]
    assert [3, 3] == [
        len([each for each in report["left"] if each["reason"] == reason]) for reason in ("unknown", "no-id")
    ]


@pytest.mark.usefixtures("cut_over")
def test_what_others_write_again_is_counted_once(database: Db, command: Run) -> None:
    """A document that others write ahead of the scan counts as rewritten, not as new before; one that is moved, too."""
    database.orders.insert_many({"_id": old(number), "b": old(number)} for number in range(1, 30))
    again = {"$set": {"b": old(2)}}
    with between_read_and_write(lambda: database.orders.update_one({"_id": old(29)}, again)):
        done = command(*REWRITE, *FIELD, "--field", "orders._id", "--batch-size", "3")
    report = json.loads(done.stdout)

    assert [(29, 0), (29, 0)] == [(each["rewritten"], each["already"]) for each in report["fields"]]


@pytest.mark.usefixtures("cut_over")
def test_names_that_occur_twice_are_left(database: Db, command: Run) -> None:
    """A document in which a name on the way to a reference occurs twice is left byte for byte, listed, and no proof passes it."""

    def twice(number: int, name: str, one: Any, other: Any) -> RawBSONDocument:
        parts = [element_of("_id", number), element_of(name, one), element_of(name, other)]
        return RawBSONDocument(wrap(parts))

    database.orders.insert_many(
        [
            twice(1, "b", old(1), "x"),
            twice(2, "b", "x", old(2)),
            twice(3, "items", {"b": old(3)}, 5),
            twice(4, "items", {"b": "x"}, [{"b": old(4)}]),
            RawBSONDocument(
                wrap([element_of("_id", 5), element_of("x", 1), element_of("b", old(5)), element_of("x", 2)])
            ),
            twice(6, "b", "x", "y"),
            RawBSONDocument(
                # A text that is not UTF-8, and the name of the field a second time, elsewhere.
                wrap(
                    [
                        element_of("_id", 7),
                        element_of("b", Opaque(STRING, b"\x02\0\0\0\xff\0")),
                        element_of("c", {"b": 1}),
                    ]
                )
            ),
        ]
    )
    before = raw_orders(database)
    done = command(*REWRITE, *FIELD, "--field", "orders.items.b")
    report = json.loads(done.stdout)
    after = raw_orders(database)

    assert 3 == done.returncode, done.stdout
    assert [5] == [number for number in before if before[number] != after[number]]
    assert before[5].replace(old(5).binary, new(5).binary) == after[5]
    assert {"1", "2", "3", "4"} == {
        each["document_id"] for each in report["left"] if each["reason"] == "duplicate-name"
    }
    assert [2, 2] == [each["duplicate_name"] for each in report["fields"]]
    proven = command("references", "verify", "--json")
    assert (4, 4) == (proven.returncode, json.loads(proven.stdout)["mismatch_count"])
    assert 0 == command(*UNDO).returncode
    assert before == raw_orders(database)


def raw_orders(database: Db) -> dict[int, bytes]:
    """The orders as bytes."""
    codec: CodecOptions[RawBSONDocument] = CodecOptions(
        document_class=RawBSONDocument, unicode_decode_error_handler="surrogateescape"
    )
    orders: Collection[RawBSONDocument] = Collection(
        database,  # type: ignore[arg-type]
        "orders",
        codec_options=codec,
    )
    return {each["_id"]: bytes(each.raw) for each in orders.find()}


@pytest.mark.usefixtures("cut_over")
def test_a_validator_is_asked_before_the_first_write(database: Db, command: Run) -> None:
    """A validator that refuses the added field is named before anything is written."""
    schema = {"bsonType": "object", "additionalProperties": False, "properties": {"_id": {}, "b": {}}}
    database.create_collection("orders", validator={"$jsonSchema": schema})
    database.orders.insert_many({"_id": number, "b": old(number)} for number in range(1, 5))
    before = hashes(database)
    done = command(*REWRITE, *FIELD, "--add", "document=client-document")

    assert 5 == done.returncode
    assert "orders" in message(done)
    assert before["orders"] == hashes(database)["orders"]
    assert 0 == database.booking_migrate_reference_notes.count_documents({})


@pytest.mark.usefixtures("cut_over")
def test_without_a_journal_old_ids_are_computed(database: Db, command: Run) -> None:
    """If the journal is lost, ObjectIds and their texts are restored in the fields that are named, byte for byte."""
    database.orders.insert_many(
        [
            {"_id": 1, "b": old(1)},
            {"_id": 2, "b": [str(old(2)), old(3)]},
            {"_id": 3, "b": session_id(old(999), 0)},
        ]
    )
    before = hashes(database)["orders"]
    assert 0 == command(*REWRITE, *FIELD).returncode
    database.booking_migrate_references.drop()
    database.booking_migrate_reference_notes.drop()

    assert 12 == command(*UNDO).returncode
    done = command(*UNDO, *FIELD)
    assert 0 == done.returncode, done.stderr
    assert before == hashes(database)["orders"]
    assert json.loads(done.stdout)["references"]["computed"]


@pytest.mark.usefixtures("cut_over")
def test_it_asks_and_names_the_numbers(database: Db, command: Run) -> None:
    """Without --yes and without a terminal nothing is written, and the question has the numbers."""
    database.orders.insert_many({"b": old(number)} for number in range(1, 5))
    done = command("references", "rewrite", *FIELD, "--json")

    assert 5 == done.returncode
    assert "about 4 documents" in message(done)
    assert 4 == database.orders.count_documents({"b": {"$in": [old(number) for number in range(1, 5)]}})


@pytest.mark.usefixtures("cut_over")
def test_excluded_fields_stay(database: Db, command: Run, tables: str) -> None:
    """Excluded collections and fields stay as they are; a name that excludes nothing is refused."""
    before = hashes(database)
    done = command(*REWRITE, "--config", tables, "--exclude", "payments", "--exclude", "notes._id")
    after = hashes(database)

    assert 0 == done.returncode, done.stderr
    assert before["payments"] == after["payments"]
    assert {each["_id"] for each in database.notes.find()} == {old(number) for number in range(30)}
    assert before["reviews"] != after["reviews"]
    assert 2 == command(*REWRITE, "--config", tables, "--exclude", "payment").returncode


@pytest.mark.usefixtures("cut_over")
def test_fields_that_no_document_has_are_refused(database: Db, command: Run) -> None:
    """A path, or a condition's, that no document has is refused before anything is written, with the one that was meant."""
    database.orders.insert_many(
        [
            {"_id": 1, "kind": "booking", "items": [{"b": old(1)}], "deep": [[{"b": old(2)}]]},
            {"_id": 2, "ref": {"$ref": "bookings", "$id": old(3)}},
            {"_id": {"booking": old(4)}},
        ]
    )
    database.create_collection("empty")
    before = hashes(database)
    wrong = {
        ("orders.item.b",): "Did you mean items.b?",
        ("orders.items.0.b",): "Did you mean items.b?",
        ("orders.ref.id",): "Did you mean ref.$id?",
        ("orders._id.bokking",): "Did you mean _id.booking?",
        ("orders.items.b", "--when", "knd=booking"): "Did you mean kind?",
        ("orders.nothingLikeIt",): "or leave",
    }
    verify = ("references", "verify", "--json")
    for given, hint in wrong.items():
        for done in (command(*each, "--field", *given) for each in (REWRITE, verify)):
            error = json.loads(done.stdout)["error"]
            assert 5 == done.returncode, done.stdout
            assert f"no document of orders in database {database.name} has the field " in error["message"]
            assert hint in error["hint"]
        if hint.startswith("Did"):
            # The last error is that of verify.
            done = command(*shlex.split(error["commands"][0])[1:])
            assert 0 == done.returncode, done.stdout
    absent = command(*verify, "--field", "ordrs.b")
    assert (5, True) == (absent.returncode, "orders" in json.loads(absent.stdout)["error"]["hint"])
    assert before == hashes(database)


@pytest.mark.usefixtures("cut_over")
def test_fields_that_no_document_has_any_more(database: Db, command: Run) -> None:
    """Arrays in arrays, fields of an _id and of a DBRef are found; when their documents are gone, nothing is refused for it."""
    documents: list[dict[str, Any]] = [
        {"_id": 1, "items": [{"b": old(1)}], "deep": [[{"b": old(2)}]]},
        {"_id": 2, "ref": DBRef("bookings", old(3))},
        {"_id": {"booking": old(4)}},
    ]
    database.orders.insert_many(documents)
    database.create_collection("empty")
    names = ("orders.items.b", "orders.deep.b", "orders.ref.$id", "orders._id.booking", "empty.b")
    fields = [word for field in names for word in ("--field", field)]
    done = command(*REWRITE, *fields)

    assert 0 == done.returncode, done.stdout
    first = {"_id": 1, "items": [{"b": new(1)}], "deep": [[{"b": new(2)}]]}
    assert first == database.orders.find_one({"_id": 1})
    database.orders.delete_many({})
    database.orders.insert_one({"_id": 9})
    for each in ((*REWRITE, *fields), ("references", "verify", "--json"), UNDO):
        done = command(*each)
        assert 0 == done.returncode, done.stdout


@pytest.mark.parametrize("dropped", [True, False])
def test_an_undo_after_finalize_needs_the_old_ids_in_the_sessions(
    dropped: bool, database: Db, command: Run
) -> None:
    """After finalize references can be restored, unless it has removed the old ids, which would lead nowhere then."""
    database.bookings.insert_many(map(booking, range(5)))
    database.orders.insert_one({"_id": 1, "b": old(1)})
    for name in ("migrate", "verify", "cutover"):
        yes = ["--yes"] if name == "cutover" else []
        assert 0 == command(name, "--target", "clients", "--quiet", *yes).returncode
    assert 0 == command(*REWRITE, *FIELD).returncode
    more = ["--drop-legacy-ids"] if dropped else []
    ended = command("finalize", "--source", "bookings", "--yes", "--json", *more)
    assert 0 == ended.returncode, ended.stderr
    report = json.loads(ended.stdout)
    assert {"booking_migrate_references", "booking_migrate_reference_notes"} <= set(
        report["finalized"]["records"]
    )
    assert "rollback --references needs these records" in report["next_steps"][-1]["text"]
    done = command(*UNDO)

    assert {"_id": 1, "b": new(1) if dropped else old(1)} == database.orders.find_one()
    assert (5 if dropped else 0) == done.returncode, done.stderr
    assert not dropped or "legacyBookingId" in message(done)


@pytest.mark.parametrize("in_place", [False, True])
def test_bookings_whose_ids_are_not_object_ids(in_place: bool, database: Db, command: Run) -> None:
    """References to UUIDs, numbers and words are rewritten, verified and undone; without a journal they are listed, and stay."""
    ids = [old(1), Binary.from_uuid(UUID(int=7)), 42, "booking seven"]
    database.bookings.insert_many(booking(number, _id=each) for number, each in enumerate(ids))
    database.orders.insert_many({"_id": number, "b": each} for number, each in enumerate(ids))
    before = hashes(database)["orders"]
    if in_place:
        assert 0 == command("migrate", "--in-place", "--quiet").returncode
    else:
        for name in ("migrate", "verify", "cutover"):
            yes = ["--yes"] if name == "cutover" else []
            assert 0 == command(name, "--target", "clients", "--quiet", *yes).returncode
    assert 0 == command(*REWRITE, *FIELD).returncode
    sessions = {
        display_id(each["legacyBookingId"]): each["sessionId"]
        for one in database.bookings.find()
        for each in one["sessions"]
    }
    # Text stays text.
    new_ids = [*(sessions[display_id(each)] for each in ids[:3]), str(sessions["booking seven"])]
    assert new_ids == [each["b"] for each in database.orders.find().sort("_id", 1)]
    verified = command("references", "verify", "--json", *FIELD)
    assert 0 == verified.returncode, verified.stdout + verified.stderr
    assert 0 == command(*UNDO).returncode
    assert before == hashes(database)["orders"]
    assert 0 == command(*REWRITE, *FIELD).returncode
    database.booking_migrate_references.drop()
    database.booking_migrate_reference_notes.drop()
    done = command(*UNDO, *FIELD)
    assert 3 == done.returncode, done.stdout + done.stderr
    undone = json.loads(done.stdout)["references"]
    assert (1, 3) == (undone["documents"], undone["left"])
    assert ["1", "2", "3"] == sorted(each["document_id"] for each in undone["left_samples"])
    assert "cannot be computed" in undone["left_samples"][0]["why"]
    assert [old(1), *new_ids[1:]] == [each["b"] for each in database.orders.find().sort("_id", 1)]
