"""How the changes of one document are taken back, however many there are."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import bson
import pytest

from booking_migrate.references import changes
from booking_migrate.references.changes import reversal
from booking_migrate.stores.reference_journal import DocumentChange, FieldChange
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
