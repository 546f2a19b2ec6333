"""Random documents with references: what is planned is what the server makes of it, and an undo restores every byte."""

from collections.abc import Iterator
from typing import Any

import pytest
from bson import Binary, Code, Int64, Regex, decode, encode
from bson.codec_options import CodecOptions
from bson.dbref import DBRef
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from booking_migrate.bson.document import identity_of
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.ids import session_id
from booking_migrate.references import values
from booking_migrate.references.changes import Planned, find, plan_change, reversal
from booking_migrate.references.fields import NewId, ReferenceField
from booking_migrate.references.positions import rebuilt
from booking_migrate.references.tally import Known, Tally
from booking_migrate.references.values import Form, occurrences
from booking_migrate.stores.mongo.connection import open_collection
from booking_migrate.stores.mongo.referring_writes import MongoReferringWrites
from booking_migrate.stores.reference_journal import ABSENT, Move, Update
from booking_migrate.stores.references import NewIds

Db = Database[dict[str, Any]]

OLD = [ObjectId(f"65f1a00a0b{number:014x}") for number in range(1, 5)]
OTHER_OLD = Binary(b"y" * 16, 4)
"""The id of a booking that is not an ObjectId."""

_DOCUMENT = ObjectId("65f0c0000000000000000001")
_CLIENT = ObjectId("65f0a0000000000000000001")
KNOWN = Known(
    {sort_key(old): NewIds(session_id(old, 0), _DOCUMENT, _CLIENT) for old in [*OLD, OTHER_OLD]}, frozenset()
)

ids = st.sampled_from(OLD)


def spelled(form: Form) -> st.SearchStrategy[Any]:
    """Make values that spell an old id in one form; those of a document's own `_id` have it only there."""
    match form:
        case Form.OBJECT_ID:
            return ids
        case Form.TEXT:
            return st.one_of(ids.map(str), ids.map(lambda each: str(each).upper()))
        case Form.EMBEDDED:
            return ids.map(lambda each: f"/b/{each}?x={OLD[0]}")
        case Form.DBREF:
            whole = ids.map(lambda each: DBRef("bookings", each, "shop", more=1))
            return st.one_of(whole, ids.map(lambda each: DBRef("bookings", str(each))))
        case Form.VALUE:
            return st.just(OTHER_OLD)
        case Form.DOCUMENT_ID:
            return st.one_of(ids, ids.map(str))


references = st.one_of([spelled(form) for form in Form])
others = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(-5, 5).map(Int64),
    st.text("ab é", max_size=4),
    st.just(Binary(b"x" * 16, 4)),
    st.just(Regex("a", "i")),
    st.just(Code("x")),
    st.just(ObjectId("0" * 24)),
)
leaves = st.one_of(references, others, st.lists(st.one_of(references, others), max_size=4))
documents_inside = st.dictionaries(st.sampled_from(["b", "c", "0", "doc"]), leaves, max_size=4)
documents = st.fixed_dictionaries(
    {"_id": st.one_of(st.integers(1, 9), spelled(Form.DOCUMENT_ID))},
    optional={
        "b": leaves,
        "items": st.one_of(
            leaves, documents_inside, st.lists(st.one_of(documents_inside, others), max_size=4)
        ),
        "x": others,
    },
)
fields = st.lists(
    st.sampled_from(
        [
            ReferenceField("docs", "b"),
            ReferenceField("docs", "b", NewId.CLIENT_DOCUMENT),
            ReferenceField("docs", "items.b", add={"items.doc": NewId.CLIENT_DOCUMENT}),
            ReferenceField("docs", "items"),
            ReferenceField("docs", "items.0"),
            ReferenceField("docs", "_id"),
        ]
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda each: each.field,
)


@pytest.fixture(scope="module")
def collection(server: Any) -> Iterator[Any]:
    """A collection that is emptied for each document."""
    client = server.client()
    yield open_collection(client, "references_property", "docs")
    client.drop_database("references_property")


def _only(collection: Any) -> bytes:
    raw = collection.with_options(CodecOptions(document_class=RawBSONDocument)).find_one()
    assert raw is not None
    return bytes(raw.raw)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(document=documents, wanted=fields)
def test_the_server_makes_what_is_planned_and_an_undo_restores_every_byte(
    collection: Any, document: dict[str, Any], wanted: list[ReferenceField]
) -> None:
    """For any document, what the server has after the write is what was planned, and after the undo, the bytes from before."""
    planned = plan_change(find(encode(document), wanted), KNOWN, Tally())
    assume(planned is not None)
    assert isinstance(planned, Planned)
    raw, change = encode(document), planned.change
    writes = MongoReferringWrites(collection)
    collection.delete_many({})
    collection.insert_one(RawBSONDocument(raw))
    after = rebuilt(raw, change.changes)
    if change.new_id is ABSENT:
        assert writes.write([Update(change.identity, change.changes, planned.guard)]).is_all
    else:
        assert not any(writes.move([Move(raw, after)]))

    assert after == _only(collection)
    back = reversal(after, change)
    assert not back.kept
    if change.new_id is ABSENT:
        assert writes.write([Update(identity_of(after), back.changes, ())]).is_all
    else:
        assert not any(writes.move([Move(after, rebuilt(after, back.changes))]))
    assert raw == _only(collection)
    again = find(after, wanted)
    assert plan_change(again, KNOWN, Tally()) is None


@settings(max_examples=300)
@given(document=documents, wanted=fields)
def test_plain_values_are_read_as_by_the_definition(
    document: dict[str, Any], wanted: list[ReferenceField]
) -> None:
    """Reading a field from the decoded document finds the same as taking its bytes apart, or leaves it to that."""
    raw = encode(document)
    for each in wanted:
        plain = values._plain_occurrences(raw, each.field)
        defined: list[Any] = []
        values._follow(
            raw, [name.encode() for name in each.field.split(".")], "", lambda _document: True, defined
        )
        assert plain in (None, defined)
        assert occurrences(raw, each) == defined
    assert decode(raw) is not None
