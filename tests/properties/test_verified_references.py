"""Random documents with references: verification reads what a rewrite reads, and restores what it changed, by code of its own."""

from typing import Any

from bson import Code, encode
from bson.objectid import ObjectId
from hypothesis import example, given
from hypothesis import strategies as st

from booking_migrate.bson.order import sort_key
from booking_migrate.domain.ids import session_id
from booking_migrate.references.changes import find, plan_change
from booking_migrate.references.decoded import put_back, references_in, with_ids
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.positions import rebuilt
from booking_migrate.references.tally import Tally
from booking_migrate.references.values import Form, occurrences, replaced
from tests.properties.test_rewritten_references import (
    KNOWN,
    OLD,
    OTHER_OLD,
    documents,
    fields,
    references,
    spelled,
)

conditions: st.SearchStrategy[dict[str, tuple[int, ...]]] = st.one_of(
    st.just({}),
    st.sampled_from(["x", "items.x", "b", "items.c"]).flatmap(
        lambda path: st.lists(st.integers(-5, 5), min_size=1, max_size=2).map(
            lambda values: {path: tuple(values)}
        )
    ),
)
ids = st.one_of(references, st.text("0123456789abcdefgAF", max_size=60))


@given(documents, fields, conditions)
@example({"_id": 1, "b": [Code("x"), Code("x", {"y": 1})]}, [ReferenceField("docs", "b")], {})
@example({"_id": 1, "b": 1, "x": Code("x")}, [ReferenceField("docs", "b")], {"x": ("x",)})
def test_it_reads_what_a_rewrite_reads(
    document: dict[str, Any], named: list[ReferenceField], when: dict[str, tuple[Any, ...]]
) -> None:
    """Paths, values and the ids in them are the same, under any condition."""
    raw = encode(document)
    for each in named:
        field = ReferenceField(each.collection, each.field, when=when)
        read = [(path, value, ids) for path, value, ids, _form in occurrences(raw, field)]

        assert read == [tuple(found) for found in references_in(raw, field)]


@given(st.sampled_from(Form).flatmap(lambda form: st.tuples(st.just(form), spelled(form))))
def test_every_form_is_known_to_both(spelling: tuple[Form, Any]) -> None:
    """A rewrite recognises each form, and verification reads the same old ids in it."""
    form, value = spelling
    field = ReferenceField("docs", "_id" if form is Form.DOCUMENT_ID else "b")
    raw = encode({"_id": 1, field.field: value})

    [found] = occurrences(raw, field)

    assert form is found.form
    assert [found[:3]] == [tuple(each) for each in references_in(raw, field)]
    assert any(sort_key(each) in KNOWN.states for each in found.old_ids)


@given(ids)
def test_it_replaces_ids_in_the_same_form(value: Any) -> None:
    """What a value has to become is what a rewrite makes of it."""
    new: dict[bytes, ObjectId] = {sort_key(old): session_id(old, 0) for old in [*OLD, OTHER_OLD]}

    if not hasattr(value, "as_doc"):
        assert replaced(value, new) == with_ids(value, new)


@given(documents, fields)
def test_it_restores_what_a_rewrite_changed(document: dict[str, Any], named: list[ReferenceField]) -> None:
    """With the noted values restored, a rewritten document has the bytes that it had."""
    raw = encode(document)
    planned = plan_change(find(raw, named), KNOWN, Tally())
    if planned is not None:
        written = rebuilt(raw, planned.change.changes)

        assert raw == put_back(written, [planned.change.changes])


@given(documents, fields)
def test_what_others_have_changed_is_not_restored(
    document: dict[str, Any], named: list[ReferenceField]
) -> None:
    """A document in which one of the new values is another one by now is not taken for what was written."""
    planned = plan_change(find(encode(document), named), KNOWN, Tally())
    if planned is not None:
        changes = planned.change.changes
        others = rebuilt(planned.raw, [*changes[:-1], changes[-1]._replace(after="another")])

        assert put_back(others, [changes]) is None
