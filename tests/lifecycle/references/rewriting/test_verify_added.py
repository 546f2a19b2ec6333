"""What a rewrite has set beside references is proven with them."""

from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson.objectid import ObjectId
from pymongo.database import Database

from booking_migrate.bson.document import read_fields
from booking_migrate.references import decoded
from tests.lifecycle.conftest import Ended
from tests.lifecycle.references.rewriting.conftest import COUNT, REWRITE
from tests.lifecycle.references.rewriting.test_verify import ORDERS, counts, found, verified
from tests.support.references import new, old

Db = Database[dict[str, Any]]
Run = Callable[..., Ended]

pytestmark = pytest.mark.usefixtures("cut_over")


def test_an_added_field_that_leads_nowhere_is_found(database: Db, command: Run) -> None:
    """A client document's id that was set beside a reference is compared, and lost when the document is gone."""
    database.orders.insert_many({"_id": number, "b": old(number), "n": number} for number in range(6))
    command(*REWRITE, *ORDERS, "--add", "client=client-document")
    assert 6 == verified(command)["notes"]["identical"]
    gone = database.bookings.find_one_and_delete({"sessions.sessionId": new(2)}) or {}
    report = verified(command, code=4)

    assert {("client", str(gone["_id"])), ("b", str(new(2)))} == set(found(report)["lost"])
    assert {"lost"} == set(found(report))


@pytest.mark.parametrize(
    ("field", "added", "path", "below"),
    [
        ("orders.items.b", "client", "items.1.client", ""),
        ("orders.items.b", "items.of.client", "items.1.of", "client"),
        ("orders.ids", "clients", "clients", ""),
    ],
    ids=["in an array", "below a document that was missing", "of an array"],
)
def test_a_wrong_field_beside_is_found(
    database: Db, command: Run, field: str, added: str, path: str, below: str
) -> None:
    """What is set beside references in arrays is compared, one by one or as an array; a wrong one in document and note is found."""
    items = [{"b": old(1)}, {"b": old(2), "client": "x"}]
    database.orders.insert_one({"_id": 1, "items": items, "ids": [old(1), old(2)], "clients": ["x"]})
    command(*REWRITE, "--field", field, "--add", f"{added}=client-document")
    clean = verified(command)
    wrong: Any = ["x", ObjectId()] if path == "clients" else ObjectId()
    wrong = {below: wrong} if below else wrong
    database.orders.update_one({"_id": 1}, {"$set": {path: wrong}})
    note = database.booking_migrate_reference_notes.find_one() or {}
    (change,) = [each for each in note["documents"][0]["c"] if each["p"] == path]
    change["a"] = wrong
    database.booking_migrate_reference_notes.replace_one({"_id": note["_id"]}, note)
    report = verified(command, code=4)

    assert (1, 0) == (clean["notes"]["identical"], clean["looked_again"])
    assert 1 == report["notes"]["identical"]
    assert [("wrong", f"{path}.{below}" if below else path)] == [
        (each["kind"], each["path"]) for each in report["reference_mismatches"]
    ]


def test_a_document_is_not_decoded_for_each_of_its_references(
    database: Db, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many references a document has, with fields beside them, it is decoded a few times only."""
    database.orders.insert_one({"_id": 1, "items": [{"b": old(n % COUNT), "n": n} for n in range(300)]})
    command(*REWRITE, "--field", "orders.items.b", "--add", "items.of.doc=client-document")
    size, read = len(bson.encode(database.orders.find_one() or {})), []

    def counted(raw: bytes) -> Any:
        read.append(len(raw))
        return read_fields(raw)

    monkeypatch.setattr(decoded, "read_fields", counted)
    report = verified(command)

    assert (1, 300) == (report["notes"]["identical"], counts(report, "new"))
    assert 0 < sum(read) < 20 * size
