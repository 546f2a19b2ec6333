"""`bson.order` agrees with a real server on order and equality, for values of every type."""

from typing import Any

from bson import encode
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from booking_migrate.bson.document import CODEC
from booking_migrate.bson.order import sort_key

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-3, 3)
TEXT = st.text(st.characters(codec="utf-8"), max_size=4)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=2)
PATTERNS = st.text("ab.", max_size=3)

NUMBERS = st.one_of(
    SMALL,
    SMALL.map(Int64),
    SMALL.map(float),
    SMALL.map(lambda number: Decimal128(f"{number}.00")),
    INT32,
    INT64.map(Int64),
    st.floats(),
    st.decimals(allow_nan=True, places=3, min_value=-(10**12), max_value=10**12).map(Decimal128),
    st.sampled_from(["Infinity", "-Infinity", "NaN", "-0", "0E+3", "1E+6000", "1E-6000", "0.1"]).map(
        Decimal128
    ),
    st.sampled_from([2**53 + 1, -(2**53) - 1, 2**63 - 1]).map(Int64),
    st.sampled_from([float(2**53), 2.0**63, 0.1, -0.0, 5e-324]),
)
SCALARS = st.one_of(
    NUMBERS,
    TEXT,
    st.none(),
    st.booleans(),
    st.binary(max_size=3),
    st.builds(Binary, st.binary(max_size=3), st.sampled_from([0, 4, 5, 128])),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    INT64.map(DatetimeMS),
    st.builds(Timestamp, st.integers(0, 3), st.integers(1, 2**32 - 1)),
    st.builds(Regex, PATTERNS, st.sampled_from(["", "i", "ix"])),
    TEXT.map(Code),
    st.builds(Code, TEXT, st.dictionaries(NAMES, SMALL, max_size=1)),
    st.just(MinKey()),
    st.just(MaxKey()),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=5,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(values=st.lists(VALUES, min_size=2, max_size=40))
def test_keys_sort_and_equal_as_the_server_does(
    database: Database[dict[str, Any]], values: list[Any]
) -> None:
    """Documents sorted by key stand as the server sorts them, and share a key exactly when the server groups them."""
    collection = database.get_collection("values", CODEC)
    collection.delete_many({})
    # An array sorts by its least element, so that each value is sorted within a document.
    collection.insert_many([{"_id": n, "v": {"v": value}} for n, value in enumerate(values)])

    by_server = [document["_id"] for document in collection.find(sort=[("v", 1), ("_id", 1)])]
    groups = collection.aggregate([{"$group": {"_id": "$v", "ids": {"$push": "$_id"}}}])
    groups_of_server = sorted(sorted(group["ids"]) for group in groups)

    keys = [sort_key({"v": value}) for value in values]
    by_key = sorted(range(len(values)), key=lambda n: (keys[n], n))
    groups_of_keys = sorted([n for n, key in enumerate(keys) if key == shared] for shared in set(keys))
    assert by_server == by_key
    assert groups_of_server == groups_of_keys


@given(value=VALUES)
def test_a_key_depends_on_the_value_alone(value: Any) -> None:
    """A value has the same key wherever its bytes come from."""
    assert sort_key(value) == sort_key(value)
    assert encode({"v": value}, codec_options=CODEC)
