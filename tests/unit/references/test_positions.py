"""Documents with changes made at concrete paths."""

from typing import Any

import bson
import pytest
from bson.objectid import ObjectId

from booking_migrate.bson.order import sort_key
from booking_migrate.references import changes
from booking_migrate.references.changes import find, plan_change
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.positions import names_in, rebuilt
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


def test_a_condition_does_not_read_the_document_for_each_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which parts of a path are positions is plain unless the name of a field is a number, which is looked up."""
    calls: list[object] = []

    def counted(*given: Any) -> list[int]:
        calls.append(given)
        return names_in(*given)

    monkeypatch.setattr(changes, "names_in", counted)
    known = Known({sort_key(old(1)): NewIds(new(1), 1, 1)}, frozenset())
    raw = bson.encode({"_id": 1, "a": [[{"b": old(1), "t": 5}] * 9], "0": {"b": old(1)}, "t": 5})
    for field, condition, expected in [("a.b", "a.t", "a.0.8.t"), ("0.b", "t", "t")]:
        of = ReferenceField("orders", field, when={condition: (5,)})
        planned = plan_change(find(raw, [of]), known, Tally())
        assert planned is not None
        assert (expected, (5,)) == planned.guard[-1]
    assert 1 == len(calls)
