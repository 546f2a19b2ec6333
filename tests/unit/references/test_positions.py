"""Documents with changes made at concrete paths."""

from typing import Any

import bson
import pytest
from bson.objectid import ObjectId

from booking_migrate.bson.document import Element
from booking_migrate.bson.order import sort_key
from booking_migrate.references import positions
from booking_migrate.references.changes import find, is_after, is_before, plan_change, reversal
from booking_migrate.references.fields import NewId, ReferenceField
from booking_migrate.references.positions import rebuilt
from booking_migrate.references.tally import Known, Tally
from booking_migrate.stores.reference_journal import ABSENT, FieldChange
from booking_migrate.stores.references import NewIds
from tests.support.references import new, old


def changed(document: dict[str, Any], *values: tuple[str, Any]) -> dict[str, Any]:
    """A document with values at paths."""
    made = [FieldChange("", path, None, value) for path, value in values]
    return bson.decode(rebuilt(bson.encode(document), made))


@pytest.mark.parametrize(
    ("document", "changes", "expected"),
    [
        ({"_id": 1, "a": [5, {"b": 6}]}, [("a.1.b", 7), ("a.0", 8)], {"_id": 1, "a": [8, {"b": 7}]}),
        ({"_id": 1, "a": 5, "b": 6}, [("a", ABSENT), ("c", 7), ("b", 8)], {"_id": 1, "b": 8, "c": 7}),
        ({"_id": {"a": 5, "b": 6}}, [("_id.b", 7), ("_id.a", 8)], {"_id": {"a": 8, "b": 7}}),
        ({"_id": 1, "a": {"b": 5}}, [("a.b", 6), ("a", {"c": 7}), ("a.c", 8)], {"_id": 1, "a": {"c": 8}}),
        ({"_id": 1}, [("a.b", 6)], {"_id": 1}),
    ],
)
def test_changes_are_made_in_their_order(
    document: dict[str, Any], changes: list[tuple[str, Any]], expected: dict[str, Any]
) -> None:
    """Values are replaced where they are, fields that are added come last, and what has no parent is left out."""
    done = changed(document, *changes)
    assert expected == done
    assert list(expected) == list(done)


def test_many_changes_within_one_array() -> None:
    """Tens of thousands of changes of one document are made in one pass: one pass for each would take hours."""
    ids = [ObjectId() for _ in range(30_000)]
    done = changed({"_id": {"a": ids}}, *((f"_id.a.{at}", each) for at, each in enumerate(reversed(ids))))
    assert ids[::-1] == done["_id"]["a"]


@pytest.mark.parametrize(
    ("field", "beside"),
    [
        ("many.b", {"add": {"many.c": NewId.SESSION}}),
        ("many.b", {"add": {"many.c.d": NewId.CLIENT_DOCUMENT, "many.e.d": NewId.SESSION}}),
        ("many.b", {"when": {"many.t": (5,), "t": (5,)}}),
        ("many.0", {"add": {"many.c": NewId.SESSION}, "when": {"many.t": (5,)}}),
    ],
    ids=["added", "added within a document", "conditions", "a number as a name"],
)
def test_a_document_is_not_read_again_for_each_of_its_references(
    field: str, beside: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many elements of an array have references, to plan and to take back what is written beside them reads it a few times."""
    many = [{"b": old(number), "0": old(number), "t": 5, "e": {"f": number}} for number in range(300)]
    raw = bson.encode({"_id": 1, "many": many, "t": 5})
    known = Known(
        {sort_key(old(number)): NewIds(new(number), number, 1) for number in range(300)}, frozenset()
    )
    read = counted_bytes(monkeypatch)
    planned = plan_change(find(raw, [ReferenceField("orders", field, **beside)]), known, Tally())
    assert planned is not None
    after = rebuilt(raw, planned.change.changes)
    read.clear()
    plan_change(find(raw, [ReferenceField("orders", field, **beside)]), known, Tally())
    assert is_before(raw, planned.change.changes)
    assert is_after(after, planned.change.changes)
    assert raw == rebuilt(after, reversal(after, planned.change).changes)
    assert 30 * len(raw) > sum(read)


def counted_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list of the sizes of all BSON that is decoded or taken apart at paths from now on."""
    sizes: list[int] = []
    for name in ("elements", "decode", "read_value"):
        function = getattr(positions, name)

        def call(given: Any, *more: Any, function: Any = function) -> Any:
            sizes.append(len(given.value if isinstance(given, Element) else given))
            return function(given, *more)

        monkeypatch.setattr(positions, name, call)
    return sizes
