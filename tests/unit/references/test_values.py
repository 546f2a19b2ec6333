"""What a value spells, where a field has values, and what they become; and that the fast search finds the same ones."""

from typing import Any
from uuid import UUID

import pytest
from bson import encode
from bson.binary import Binary
from bson.dbref import DBRef
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.regex import Regex
from hypothesis import example, given
from hypothesis import strategies as st

from booking_migrate.bson.document import ARRAY, DOCUMENT, Element, element_of, elements, read_fields, wrap
from booking_migrate.bson.order import sort_key
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.paths import PathTree, form_at
from booking_migrate.references.values import Form, Occurrence, candidates, occurrences, replaced

OLD, OTHER = ObjectId("65f1a0000000000000000001"), ObjectId("65f1a0000000000000000002")
NEW = ObjectId("aaaaaaaaaaaaaaaaaaaaaaaa")
URL = f"https://shop.example/bookings/{OLD}?then={OTHER}"
UUID_ID = Binary.from_uuid(UUID(int=7))


def found(document: dict[str, Any], path: str, **more: Any) -> list[Occurrence]:
    """The occurrences of a field in a document."""
    return occurrences(encode(document), ReferenceField("payments", path, **more))


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ({"b": OLD}, "b", [("b", (OLD,), Form.OBJECT_ID)]),
        ({"b": str(OLD)}, "b", [("b", (OLD, str(OLD)), Form.TEXT)]),
        ({"b": [OLD, [OTHER]]}, "b", [("b.0", (OLD,), Form.OBJECT_ID), ("b.1.0", (OTHER,), Form.OBJECT_ID)]),
        (
            {"i": [{"b": 1}, {"b": OLD}]},
            "i.b",
            [("i.0.b", (1,), Form.VALUE), ("i.1.b", (OLD,), Form.OBJECT_ID)],
        ),
        ({"r": DBRef("bookings", OLD)}, "r", [("r.$id", (OLD,), Form.DBREF)]),
        ({"r": DBRef("bookings", OLD)}, "r.$id", [("r.$id", (OLD,), Form.DBREF)]),
        ({"_id": OLD, "b": OTHER}, "_id", [("_id", (OLD,), Form.DOCUMENT_ID)]),
        ({"_id": {"b": str(OLD)}}, "_id.b", [("_id.b", (OLD, str(OLD)), Form.DOCUMENT_ID)]),
        ({"b": UUID_ID}, "b", [("b", (UUID_ID,), Form.VALUE)]),
        ({"b": URL}, "b", [("b", (OLD, OTHER), Form.EMBEDDED)]),
        ({"b": "BK-1"}, "b", [("b", ("BK-1",), Form.VALUE)]),
        ({"b": f"a{OLD}"}, "b", [("b", (f"a{OLD}",), Form.VALUE)]),
        ({"b": None, "c": OLD}, "b", []),
        ({"b": {"x": OLD}}, "b", []),
    ],
)
def test_forms(document: dict[str, Any], path: str, expected: list[Any]) -> None:
    """Each form is recognised with its concrete path; null, a digit beside the others, and documents are not ids."""
    assert expected == [(each.path, each.old_ids, each.form) for each in found(document, path)]


def test_condition_beside_and_at_the_root() -> None:
    """A condition on a sibling counts for each element by itself, one on another path for the document as a whole."""
    items = [{"kind": "booking", "id": OLD}, {"kind": "gift", "id": OTHER}, {"id": NEW}]
    document = {"state": ["old", 7], "items": items}

    assert ["items.0.id"] == [
        each.path for each in found(document, "items.id", when={"items.kind": ("booking",)})
    ]
    either = {"items.kind": ("booking", "gift"), "state": (Int64(7),)}
    assert ["items.0.id", "items.1.id"] == [each.path for each in found(document, "items.id", when=either)]
    assert [] == found(document, "items.id", when={"state": ("new",)})


def test_replaced_keeps_the_form() -> None:
    """Text stays text, in capitals too; in a longer text each id is replaced by itself, and unknown ones stay."""
    mapping = {sort_key(OLD): NEW, sort_key(UUID_ID): NEW, sort_key("BK-1"): NEW}

    assert replaced(OLD, mapping) == NEW
    assert str(NEW) == replaced(str(OLD), mapping)
    assert str(NEW).upper() == replaced(str(OLD).upper(), mapping)
    assert URL.replace(str(OLD), str(NEW)) == replaced(URL, mapping)
    assert (NEW, str(NEW)) == (replaced(UUID_ID, mapping), replaced("BK-1", mapping))
    assert (OTHER, "BK-2") == (replaced(OTHER, mapping), replaced("BK-2", mapping))


IDS = st.integers(0, 5).map(lambda number: ObjectId(f"65f1a0{number:018x}"))
SPELLED = st.one_of(
    IDS,
    IDS.map(str),
    IDS.map(lambda each: f"/bookings/{each}/x"),
    st.tuples(IDS, IDS).map(lambda both: f'{{"a":"{both[0]}","b":"{both[1]}"}}'),
    IDS.map(lambda each: DBRef("bookings", each)),
    st.integers(0, 3).map(lambda number: Binary.from_uuid(UUID(int=number))),
    st.sampled_from([1, 2.5, None, True, "", "word", f"f{OLD}", b"\x07x\x00", Regex("a"), Binary(b"0" * 16)]),
)
NAMES = st.sampled_from(["a", "b", "kind", "$id", "a.b", "", "0", "_id", "é"])
NESTED = st.recursive(
    SPELLED,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(NAMES, NESTED, max_size=5).map(encode)
MARK = "\uf8ff"
"""Stands for three bytes that are not UTF-8, in names and texts."""

INVALID = st.recursive(
    st.one_of(
        SPELLED,
        IDS.map(lambda each: f"{MARK}{each}"),
        st.tuples(IDS, IDS).map(lambda both: MARK.join(map(str, both))),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(NAMES, st.just(MARK)), inner, max_size=3)
    ),
    max_leaves=6,
).map(lambda value: encode({"a": value}).replace(MARK.encode(), b"\xff\xed\xa0"))


@given(st.one_of(DOCUMENTS, INVALID))
@example(encode({"a": f"{MARK}{OLD}"}).replace(MARK.encode(), b"\xff\xed\xa0"))
def test_the_fast_search_finds_the_same(raw: bytes) -> None:
    """Walking over bytes yields the candidates of the definition: path, ids and form, in the same order."""
    tree = PathTree()
    fast = [(each[0].path, each[1], form_at(each)) for each in tree.candidates(raw)]

    assert fast == [(path, tuple(map(sort_key, each.old_ids)), each.form) for path, each in candidates(raw)]


@given(DOCUMENTS, st.sampled_from(["a", "b", "a.b", "b.a", "_id", "a.$id", "a.a.b"]))
def test_rewritten_and_back(raw: bytes, path: str) -> None:
    """What is replaced by new ids, and then those by the old ones, has the same bytes again; what has no id never changes."""
    old = [ObjectId(f"65f1a0{number:018x}") for number in range(6)]
    new = [ObjectId(f"77f1a0{number:018x}") for number in range(6)]
    there = {sort_key(one): other for one, other in zip(old, new, strict=True)}
    back = {sort_key(other): one for one, other in zip(old, new, strict=True)}
    field = ReferenceField("payments", path)

    rewritten = _rewritten(raw, field, there)

    assert raw == _rewritten(rewritten, field, back)
    had = any(sort_key(each) in there for one in occurrences(raw, field) for each in one.old_ids)
    assert had == (rewritten != raw)


def _rewritten(raw: bytes, field: ReferenceField, mapping: dict[bytes, ObjectId]) -> bytes:
    for each in occurrences(raw, field):
        raw = _with(raw, each.path.split("."), replaced(each.value, mapping))
    return raw


def _with(raw: bytes, names: list[str], value: Any) -> bytes:
    """A document with another value at a concrete path."""
    parts: list[Element] = []
    for element in elements(raw):
        if element.name.decode() != names[0]:
            parts.append(element)
        elif len(names) == 1:
            parts.append(element_of(names[0], value))
        else:
            assert element.kind in (DOCUMENT, ARRAY)
            parts.append(element._replace(value=_with(element.value, names[1:], value)))
    return wrap(parts)


def test_a_document_is_walked_to_its_end() -> None:
    """Values of every type before an id do not hide it."""
    document = {
        "a": Regex("x", "i"), "b": Binary(b"abc"), "c": [1, [2.0, {"d": "text"}]], "e": Int64(1), "f": {}, "id": OLD,
    }  # fmt: skip
    raw = encode(document)

    assert ["id"] == [node.path for node, *_ in PathTree().candidates(raw)]
    assert OLD == read_fields(raw)["id"]


def test_paths_are_bounded() -> None:
    """Documents whose field names are data do not make memory grow: beyond a bound, new paths are passed over."""
    tree = PathTree()
    counts = [len(tree.candidates(encode({f"k{number}": OLD, "id": OLD}))) for number in range(5100)]

    assert 5000 == len(tree.nodes)
    assert (2, 1) == (counts[0], counts[-1])
