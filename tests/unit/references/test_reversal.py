"""How the changes of one document are taken back, however many there are."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import bson
import pytest

from booking_migrate.references import changes
from booking_migrate.references.changes import reversal
from booking_migrate.references.positions import rebuilt
from booking_migrate.stores.reference_journal import ABSENT, DocumentChange, FieldChange
from tests.support.references import new, old

COUNT = 500


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[list[object]]:
    """A list, which has an entry for each call of a function from now on."""
    calls: list[object] = []
    function = getattr(changes, name)

    def call(*given: Any) -> Any:
        calls.append(given)
        return function(*given)

    monkeypatch.setattr(changes, name, call)
    return [calls]


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("spelled", [lambda value: value, str], ids=["ids", "texts"])
def test_the_document_is_not_read_again_for_each_reference(
    shift: int, spelled: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays of references are restored whole, also shifted, and the bytes are taken apart a few times only."""
    read = [*counted(monkeypatch, "Places"), *counted(monkeypatch, "occurrences")]
    before = bson.encode({"_id": 1, "many": [{"b": spelled(old(number))} for number in range(COUNT)]})
    now = bson.encode({"_id": 1, "many": [{"b": spelled(new(number))} for number in range(shift, COUNT)]})
    noted = tuple(
        FieldChange("many.b", f"many.{number}.b", spelled(old(number)), spelled(new(number)))
        for number in range(1, COUNT)
    )
    back = reversal(now, DocumentChange(bson.encode({"_id": 1}), sha256(before).digest(), noted))

    assert {(f"many.{number - shift}.b", spelled(old(number))) for number in range(1, COUNT)} == {
        (each.path, each.after) for each in back.changes
    }
    assert () == back.kept
    assert 2 >= sum(map(len, read))


def test_a_restored_document_needs_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that has its old references again is recognized without reading it for each of them."""
    (read,) = counted(monkeypatch, "occurrences")
    restored = bson.encode({"_id": 1, "many": [old(number) for number in range(COUNT)]})
    noted = tuple(
        FieldChange("many", f"many.{number}", old(number), new(number)) for number in range(1, COUNT)
    )
    back = reversal(restored, DocumentChange(bson.encode({"_id": 1}), b"", noted))

    assert ((), ()) == (back.changes, back.kept)
    assert 1 == len(read)


@pytest.mark.parametrize("doc", [lambda _number: 7, lambda number: number], ids=["equal", "different"])
def test_documents_that_were_added_are_removed_wherever_they_are(doc: Callable[[int], int]) -> None:
    """A document that a rewrite has added to an element is gone after the undo, also in another position, and no other one is."""
    many = [{"b": old(number), "n": number} for number in range(4)]
    now = [{"b": new(number), "n": number, "more": {"doc": doc(number)}} for number in range(4)]
    noted = [FieldChange("many.b", f"many.{number}.b", old(number), new(number)) for number in range(4)]
    noted += [
        FieldChange("many.more", f"many.{number}.more", ABSENT, {"doc": doc(number)}) for number in range(4)
    ]
    other: list[dict[str, Any]] = [{"x": 1}, {"x": {"doc": 7}}]
    raw = bson.encode({"_id": 1, "many": [*other, *now]})
    back = reversal(raw, DocumentChange(bson.encode({"_id": 1}), b"", tuple(noted)))

    assert {"_id": 1, "many": [*other, *many]} == bson.decode(rebuilt(raw, back.changes))
    assert () == back.kept
    assert len(noted) == len({each.path for each in back.changes})


def test_a_document_that_others_have_added_to_keeps_what_is_theirs() -> None:
    """Of a document that a rewrite has added, an undo removes its own fields, in another position too."""
    change = FieldChange("many.more", "many.0.more", ABSENT, {"doc": 7, "s": {"id": new(0)}})
    raw = bson.encode({"_id": 1, "many": [{"x": 1}, {"more": {"doc": 7, "s": {"id": new(0)}, "own": 1}}]})
    back = reversal(raw, DocumentChange(bson.encode({"_id": 1}), b"", (change,)))

    assert {"many.1.more.doc", "many.1.more.s"} == {each.path for each in back.changes}
    assert () == back.kept
