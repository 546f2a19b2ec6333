"""Which field beside a polymorphic reference says its type, and when there is none."""

from typing import Any

import pytest
from bson import encode
from bson.objectid import ObjectId

from booking_migrate.references.outcome import Condition
from booking_migrate.references.paths import PathTree
from booking_migrate.references.siblings import Siblings, is_looked_at

HITS = 6


def condition(documents: list[dict[str, Any]], hits: int = HITS) -> Condition | None:
    """The condition for the field `id` in these documents, of which the first ones refer to bookings."""
    tree, siblings = PathTree(), Siblings()
    for number, document in enumerate(documents):
        raw = encode(document)
        for candidate in tree.candidates(raw):
            if candidate[0].path.rpartition(".")[2] == "id":
                siblings.note(raw, candidate, is_hit=number < hits)
    return siblings.condition()


def made(*beside: dict[str, Any]) -> list[dict[str, Any]]:
    """One document with an id for each of these contents."""
    return [{"id": ObjectId(), **each} for each in beside]


def test_the_type_beside() -> None:
    """The text that stands beside every booking, and beside no other, is the type, in one spelling or several."""
    kinds = ["booking", "Booking"] * 3 + ["gift", "user", "gift"]
    documents = made(
        *({"kind": kind, "currency": "INR", "title": f"t{number}"} for number, kind in enumerate(kinds))
    )

    assert Condition("kind", ("booking", "Booking"), 3) == condition(documents)


def test_dangling_ids_of_the_type() -> None:
    """Ids of bookings that are gone have the type, too: it is the type still, and only the others are counted."""
    kinds = ["booking"] * (HITS + 1) + ["gift"] * 4

    assert Condition("kind", ("booking",), 4) == condition(made(*({"kind": kind} for kind in kinds)))


def test_the_type_of_each_element() -> None:
    """In an array of documents the type of the same element counts, or one of the root."""
    inner = [
        {"a": {"items": [each]}}
        for each in made(*({"kind": kind} for kind in ["booking"] * HITS + ["gift"] * 2))
    ]
    outer = [{"of": "b" if number < HITS else "g", "items": made({})} for number in range(HITS + 2)]

    assert Condition("a.items.kind", ("booking",), 2) == condition(inner)
    assert Condition("of", ("b",), 2) == condition(outer)


@pytest.mark.parametrize(
    "texts",
    [
        ["x"] * 9,
        [f"title {number}" for number in range(9)],
        ["x"] * HITS + ["x", "x", "gift"],
        [None] * 9,
    ],
    ids=["the same everywhere", "a title", "mostly the same", "no text"],
)
def test_no_type(texts: list[str | None]) -> None:
    """A text that is the same beside others, or another one beside each, does not say a type."""
    assert condition(made(*({"text": text} for text in texts))) is None


def test_titles_of_few() -> None:
    """Where few values are ids of bookings, a title beside each is not taken for a type."""
    assert condition(made(*({"title": f"t{number}"} for number in range(6))), hits=2) is None


def test_nothing_to_separate() -> None:
    """Where all values are ids of bookings, or none are, a condition is not needed."""
    documents = made(*({"kind": "booking"} for _ in range(HITS)))

    assert condition(documents) is None
    assert condition(documents, hits=0) is None


def test_some_of_very_many_are_looked_at() -> None:
    """The first thousand values are looked at, and about one in a hundred of those that follow."""
    looked_at = [number for number in range(1, 20_001) if is_looked_at(number)]

    assert list(range(1, 1001)) == looked_at[:1000]
    assert 150 < len(looked_at[1000:]) < 250


def test_a_text_that_separates_by_chance() -> None:
    """Of two texts that separate equally well, the one that is called a type, or is in the same document, is taken."""
    kinds = ["booking"] * HITS + ["expert"] * 3
    texts = ["hello"] * HITS + ["reminder"] * 3
    called = [
        {"body": text, "data": {"type": kind, "id": ObjectId()}}
        for kind, text in zip(kinds, texts, strict=True)
    ]
    beside = [
        {"body": text, "data": {"about": kind, "id": ObjectId()}}
        for kind, text in zip(kinds, texts, strict=True)
    ]

    assert Condition("data.type", ("booking",), 3) == condition(called)
    assert Condition("data.about", ("booking",), 3) == condition(beside)
