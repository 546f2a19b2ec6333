"""References are proven after a rewrite and before one, and each kind of mismatch is found."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from bson import DBRef
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from booking_migrate.bson.document import ARRAY, DB_POINTER, SYMBOL, Element, element_of, wrap
from booking_migrate.references import changes
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import COUNT, REWRITE, UNDO
from tests.support.booking_lines import booking
from tests.support.references import FIELDS, new, old, table

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

pytestmark = pytest.mark.usefixtures("cut_over")

VERIFY = ("references", "verify", "--json")
REJECTED = booking(100)["_id"]
ORDERS = ("--field", "orders.b")


def verified(command: Run, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The report of a verification."""
    done = command(*VERIFY, *arguments)
    assert code == done.returncode, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def found(report: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """The mismatches by kind: path and value."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for each in report["reference_mismatches"]:
        kinds.setdefault(each["kind"], []).append((each["path"], each["found"]))
    return kinds


def counts(report: dict[str, Any], name: str) -> int:
    """The sum of a number over all fields."""
    return sum(each[name] for each in report["fields"])


@pytest.fixture
def rewritten(database: Db, command: Run, tables: str, cut_over: None) -> None:  # noqa: ARG001
    """All references are rewritten."""
    done = command(*REWRITE, "--config", tables)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert database.booking_migrate_reference_notes.count_documents({}) > 0


@pytest.fixture
def orders(database: Db, command: Run, cut_over: None) -> None:  # noqa: ARG001
    """Eight orders, the first six of bookings, whose references are rewritten, one of a rejected and one of no booking."""
    # The first booking's session has its own id.
    ids = enumerate([*map(old, range(1, 7)), REJECTED, ObjectId("0" * 24)], start=1)
    database.orders.insert_many({"_id": number, "b": each, "n": number} for number, each in ids)
    assert 3 == command(*REWRITE, *ORDERS).returncode


@pytest.mark.usefixtures("rewritten")
def test_after_a_rewrite_everything_is_proven(database: Db, command: Run, tables: str) -> None:
    """Every value is a new id or was dangling before, nothing else in a document has changed, and every sum is right."""
    report = verified(command)
    of_file = verified(command, "--config", tables)

    assert set(FIELDS) == {(each["collection"], each["field"]) for each in report["fields"]}
    assert dict.fromkeys(("payments", "reviews", "notes", "events"), COUNT) == {
        each["name"]: each["documents"] for each in report["read"]
    }
    kinds = ("new", "kept", "excluded", "rejected", "dangling", "lost", "unrewritten", "behind")
    assert all(each["values"] == sum(each[kind] for kind in kinds) for each in report["fields"])
    assert COUNT == counts(report, "dangling") == counts(report, "dangling_then")
    assert counts(report, "values") == counts(report, "new") + counts(report, "dangling")
    notes = report["notes"]
    changed = database.booking_migrate_references.find_one() or {}
    assert changed["documents"] == notes["documents"] == notes["identical"] > 0
    assert report["fields"] == of_file["fields"]
    assert report["cluster_time"] is not None


@pytest.mark.usefixtures("orders")
def test_what_was_left_is_listed(command: Run) -> None:
    """References to a rejected booking and to none are listed as they are, not as mismatches."""
    report = verified(command)
    (field,) = report["fields"]

    assert (6, 1, 1, 1, 1) == tuple(
        field[name] for name in ("new", "rejected", "dangling", "rejected_then", "dangling_then")
    )
    assert {("rejected", str(REJECTED)), ("dangling", "0" * 24)} == {
        (each["what"], each["value"]) for each in report["listed"]
    }


@pytest.mark.usefixtures("orders")
def test_an_old_id_in_a_rewritten_field_is_found(database: Db, command: Run) -> None:
    """An old id that is written after the rewrite is a mismatch, whatever index there is; a second rewrite removes it."""
    database.orders.insert_many([{"_id": 20, "b": [old(7)]}, {"_id": 21, "b": f"/b/{old(8)}"}])
    report = verified(command, code=4)

    assert {"unrewritten": [("b.0", str(old(7))), ("b", f"/b/{old(8)}")]} == found(report)
    assert 2 == report["mismatch_count"] == counts(report, "unrewritten")
    (step,) = [each["command"] for each in report["next_steps"] if "rewrite" in (each["command"] or "")]
    assert step.endswith("--field orders.b")
    command(*REWRITE, *ORDERS)
    verified(command)


@pytest.mark.usefixtures("orders")
def test_what_finalize_refuses_for_is_a_mismatch(database: Db, command: Run) -> None:
    """An old id that finalize --drop-legacy-ids refuses for is the one that verify finds, and without it both are content."""
    finalize = ("finalize", "--yes", "--json", "--drop-legacy-ids")
    for name in ("payments", "reviews", "notes", "events"):
        database[name].drop()
    database.orders.insert_one({"_id": 20, "b": str(old(7))})
    verified(command, code=4)
    refused = command(*finalize)
    database.orders.delete_one({"_id": 20})
    verified(command)

    assert 5 == refused.returncode
    assert "orders.b" in refused.stdout
    assert 0 == command(*finalize).returncode
    # The old ids are gone, and new ids are found all the same.
    assert 6 == counts(verified(command), "new")


@pytest.mark.usefixtures("orders")
def test_a_session_that_is_gone_is_found(database: Db, command: Run) -> None:
    """A new id that was written, and whose session was removed since, is lost; one that was never written dangles."""
    database.bookings.update_many({}, {"$pull": {"sessions": {"sessionId": new(3)}}})
    database.orders.insert_one({"_id": 20, "b": new(3)})
    report = verified(command, code=4)

    assert {"lost": [("b", str(new(3)))]} == found(report)
    assert (1, 2) == (counts(report, "lost"), counts(report, "dangling"))


FORMS: dict[str, tuple[str, str, Callable[[int], dict[str, Any]]]] = {
    "object-id": ("orders.b", "b", lambda number: {"_id": number, "b": old(number)}),
    "embedded": ("orders.b", "b", lambda number: {"_id": number, "b": f"/b/{old(number)}?from={old(7)}"}),
    "dbref": ("orders.b", "b.$id", lambda number: {"_id": number, "b": DBRef("bookings", old(number))}),
    "in-array": ("orders.b", "b.0", lambda number: {"_id": number, "b": [old(number), old(number + 1)]}),
    "document-id": ("orders._id.b", "_id", lambda number: {"_id": {"b": old(number), "n": number}}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_mutant_that_writes_another_session_is_found(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A rewrite that takes the id of another session of the same client is found in every form, and only there."""
    field, path, make = FORMS[form]
    database.orders.insert_many(map(make, range(1, 4)))
    chosen = changes._chosen

    def wrong(ids: Any, wanted: Any) -> Any:
        return new(5) if ids.session_id == new(1) else chosen(ids, wanted)

    with monkeypatch.context() as patched:
        patched.setattr(changes, "_chosen", wrong)
        command(*REWRITE, "--field", field)
    report = verified(command, code=4)
    (mismatch,) = report["reference_mismatches"]

    assert ("wrong", path) == (mismatch["kind"], mismatch["path"])
    assert str(new(1)) in mismatch["expected"]
    assert str(new(5)) in mismatch["found"]
    assert counts(report, "values") == counts(report, "new") == report["notes"]["values"]


def test_a_mutant_that_writes_another_client_is_found(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rewrite that takes the client document of another client is found."""
    database.orders.insert_many({"_id": number, "b": old(number)} for number in range(3))
    other = database.bookings.find_one({"sessions.sessionId": new(1)}) or {}
    with monkeypatch.context() as patched:
        patched.setattr(changes, "_chosen", lambda _ids, _wanted: other["_id"])
        command(*REWRITE, *ORDERS, "--to", "client-document")
    report = verified(command, code=4)

    assert {"0", "2"} == {each["document_id"] for each in report["reference_mismatches"]}
    assert {"wrong"} == set(found(report))


@pytest.mark.usefixtures("orders")
def test_numbers_that_are_not_those_of_the_notes_are_found(database: Db, command: Run) -> None:
    """A record whose numbers are not those of its notes is a mismatch."""
    database.booking_migrate_references.update_one({}, {"$inc": {"documents": 1}})

    assert {"count": [("", "6 documents")]} == found(verified(command, code=4))


def test_symbols_and_pointers_are_left_and_are_no_mismatches(database: Db, command: Run) -> None:
    """Old ids in values of types that nobody writes any more are left and listed with their types, and verified as that."""
    digits = str(old(1)).encode() + b"\0"
    symbol = Element(SYMBOL, b"b", len(digits).to_bytes(4, "little") + digits)
    pointer = Element(DB_POINTER, b"b", b"\x09\0\0\0bookings\0" + old(1).binary)
    listed = Element(
        ARRAY, b"b", wrap([each._replace(name=b"%d" % at) for at, each in enumerate((symbol, pointer))])
    )
    for number, each in enumerate((symbol, pointer, listed)):
        raw = wrap([element_of("_id", number), each])
        database.orders.insert_one(cast("Any", RawBSONDocument(raw)))
    database.orders.insert_one({"_id": 9, "b": str(old(1))})
    report = json.loads(command(*REWRITE, "--field", "orders.b").stdout)

    assert [("b", "no-id"), ("b", "no-id"), ("b.0", "no-id"), ("b.1", "no-id")] == [
        (each["path"], each["reason"]) for each in report["left"]
    ]
    assert ["symbol", "DBPointer"] == [each["value"].partition(":")[0] for each in report["left"]][:2]
    proven = verified(command)
    assert (4, 1, 0) == tuple(counts(proven, name) for name in ("dangling", "new", "unrewritten"))


@pytest.mark.usefixtures("orders")
def test_what_others_have_changed_since_is_counted(database: Db, command: Run) -> None:
    """A document that is changed by hand in another field, one with another reference, and one that is deleted are counted apart."""
    database.orders.update_one({"_id": 1}, {"$set": {"n": 99}})
    database.orders.update_one({"_id": 2}, {"$set": {"b": new(5)}})
    database.orders.delete_one({"_id": 3})
    report = verified(command)

    assert {"documents": 6, "values": 6, "identical": 3, "changed": 2, "gone": 1, "open": 0} == report[
        "notes"
    ]
    assert {("changed", "1"), ("changed", "2"), ("gone", "3")} == {
        (each["what"], each["document_id"])
        for each in report["listed"]
        if each["what"] in ("changed", "gone")
    }


def test_a_document_that_two_rewrites_changed_is_compared_with_both(database: Db, command: Run) -> None:
    """Documents whose fields, and whose _id, were rewritten one after the other are identical but for that."""
    database.orders.insert_many({"_id": old(number), "b": old(number), "n": number} for number in range(1, 7))
    for field in ("orders.b", "orders._id"):
        assert 0 == command(*REWRITE, "--field", field).returncode
    report = verified(command)

    assert (12, 12, 0) == tuple(report["notes"][name] for name in ("documents", "identical", "changed"))
    assert {"b": 6, "_id": 6} == {each["field"]: each["new"] for each in report["fields"]}
    assert 2 == len(report["rewrites"])


@pytest.mark.usefixtures("cut_over")
def test_a_field_that_several_rewrites_name_is_read_once(database: Db, command: Run) -> None:
    """A field has one entry with all its values, whatever each rewrite wrote, and under which condition."""
    for more in (
        ("--when", "n=1", "--add", "s=session"),
        ("--add", "d=client-document"),
        ("--to", "client-document"),
    ):
        # The bookings of the first two are rewritten before the next ones come.
        start = database.orders.count_documents({}) + 1
        database.orders.insert_many({"b": old(n), "n": n} for n in (start, start + 1))
        assert 0 == command(*REWRITE, *ORDERS, *more).returncode
    database.orders.insert_one({"b": old(9)})
    report = verified(command, code=4)

    assert [("b", 6, 1)] == [(each["field"], each["new"], each["unrewritten"]) for each in report["fields"]]
    assert 0 == command(*UNDO).returncode
    database.orders.insert_one({"b": new(1)})
    assert 3 == (done := command("rollback", "--target", "clients", "--yes", "--json")).returncode
    assert [("orders.b", 1)] == [
        (each["field"], each["values"]) for each in json.loads(done.stdout)["undone"]["stranded"]
    ]


@pytest.mark.usefixtures("rewritten")
def test_after_an_undo_old_ids_are_kept(command: Run) -> None:
    """When a rewrite is undone, its fields are read, their old ids are found by the index, and no note is left to compare."""
    assert 0 == command(*UNDO).returncode
    report = verified(command)

    assert not report["rewrites"]
    assert 0 == report["notes"]["documents"] == counts(report, "unrewritten")
    assert counts(report, "kept") > COUNT
    assert report["kept_index"]


def test_before_a_rewrite_the_index_decides(database: Db, command: Run, tables: str) -> None:
    """Old ids that an index finds are kept; without it they find nothing, and both ways out are named."""
    assert 0 == command("references", "keep", "--source", "bookings", "--quiet").returncode
    kept = verified(command, "--config", tables)
    database.bookings.drop_index(kept["kept_index"])
    report = verified(command, "--config", tables, code=4)
    commands = " ".join(each["command"] for each in report["next_steps"])

    assert counts(kept, "kept") == counts(report, "unrewritten") > COUNT
    assert 0 == counts(kept, "unrewritten") == counts(report, "kept")
    assert "references rewrite" in commands
    assert "references keep" in commands


def test_what_is_excluded_is_counted_apart(database: Db, command: Run, tmp_path: Any) -> None:
    """Old ids in a field that the config file excludes are counted, not mismatches, with or without an index."""
    database.orders.insert_one({"b": old(1)})
    config = tmp_path / "my.toml"
    config.write_text(
        '[[references]]\ncollection = "orders"\nfield = "b"\nexclude = true\n', encoding="utf-8"
    )
    report = verified(command, "--config", str(config))

    assert (1, 0) == (counts(report, "excluded"), counts(report, "kept"))


@pytest.mark.usefixtures("orders")
def test_sessions_of_the_new_application_are_found(database: Db, command: Run) -> None:
    """References to a session that the application has made itself, and to a client document, lead somewhere."""
    own = ObjectId()
    document = database.bookings.find_one_and_update({}, {"$push": {"sessions": {"sessionId": own}}}) or {}
    database.orders.insert_many([{"_id": 20, "b": own}, {"_id": 21, "b": document["_id"]}])

    assert 8 == counts(verified(command), "new")


@pytest.mark.usefixtures("orders")
def test_a_rewrite_that_is_not_complete_is_named(database: Db, command: Run) -> None:
    """What it has not written yet is counted, the verdict says so, and the command that completes it is named."""
    database.orders.update_one({"_id": 1}, {"$set": {"b": old(1)}})
    database.booking_migrate_references.update_one({}, {"$set": {"state": "writing"}})
    report = verified(command, code=4)

    assert (1, 5) == (report["notes"]["open"], report["notes"]["identical"])
    assert {"unrewritten": [("b", str(old(1)))]} == found(report)
    assert "A rewrite was interrupted. To complete it:" in [each["text"] for each in report["next_steps"]]


@pytest.mark.parametrize("state", ["done", "writing"])
def test_the_command_that_is_named_rewrites_what_is_left(
    state: str, database: Db, command: Run, tmp_path: Path
) -> None:
    """Without the config file, fields with different conditions are completed by the commands that a verification names."""
    path = tmp_path / "references.toml"
    path.write_text(table("orders", "b", when="{ active = true }") + table("payments", "bookingId"))
    database.orders.insert_many({"_id": n, "b": old(n), "active": n != 3} for n in range(1, 4))
    assert 0 == command(*REWRITE, "--config", str(path)).returncode
    database.orders.update_one({"_id": 1}, {"$set": {"b": old(1)}})
    database.booking_migrate_references.update_one({}, {"$set": {"state": state}})
    report = verified(command, code=4)

    for step in [each["command"] for each in report["next_steps"] if "rewrite" in (each["command"] or "")]:
        done = command(*shlex.split(step)[1:], "--yes")
        assert 0 == done.returncode, done.stdout + done.stderr
    assert [new(1), new(2), old(3)] == [each["b"] for each in database.orders.find().sort("_id", 1)]


def test_without_fields_it_is_refused(command: Run) -> None:
    """Where nothing was rewritten and nothing is named, the command that finds the fields is named."""
    done = command(*VERIFY)

    assert 5 == done.returncode
    assert "references find" in json.loads(done.stdout)["error"]["hint"]
