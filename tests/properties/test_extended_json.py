"""Extended JSON: what is written is read as the same bytes, and what is read is written as something equal."""

import json
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
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from booking_migrate.bson.document import CODEC
from booking_migrate.stores.files.extended_json import DocumentParser, survives_extended_json, to_json
from booking_migrate.stores.files.type_wrappers import NotADocument
from booking_migrate.stores.places import JsonFormat

QUICK = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
WRAPPERS = (
    *(
        "$oid",
        "$symbol",
        "$numberInt",
        "$numberLong",
        "$numberDouble",
        "$numberDecimal",
        "$binary",
        "$uuid",
        "$code",
    ),
    *("$timestamp", "$regularExpression", "$dbPointer", "$date", "$minKey", "$maxKey", "$undefined"),
)
OTHER_NAMES = ("$ref", "$id", "$db", "$regex", "$options", "$type", "$scope", "$set", "base64", "subType")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
NAMES = TEXTS.filter(lambda name: "\x00" not in name)
INT64S = st.integers(-(1 << 63), (1 << 63) - 1)
WORDS = st.integers(0, (1 << 32) - 1)


@st.composite
def decimals(draw: st.DrawFn) -> Decimal128:
    """Any finite Decimal128 that a text can stand for, and the infinities."""
    digits = draw(st.integers(-(10**34) + 1, 10**34 - 1))
    exponent = draw(st.integers(-6176, 6111))
    return draw(
        st.sampled_from([Decimal128(f"{digits}E{exponent}"), Decimal128("-Infinity"), Decimal128("-0")])
    )


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 31), (1 << 31) - 1),
    INT64S.map(Int64),
    st.floats(allow_nan=False),
    decimals(),
    TEXTS,
    st.binary(max_size=5),
    st.builds(Binary, st.binary(max_size=5), st.integers(1, 255).filter(lambda subtype: subtype != 9)),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    INT64S.map(DatetimeMS),
    st.builds(Timestamp, WORDS, WORDS),
    st.builds(Regex, NAMES, st.sampled_from(["", "i", "imx", "ilmsux"])),
    TEXTS.map(Code),
    st.sampled_from([MinKey(), MaxKey(), float("nan")]),
)
APPLICATION_NAMES = st.one_of(st.sampled_from(OTHER_NAMES), NAMES.filter(lambda name: name not in WRAPPERS))


def nested(scalars: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Documents, arrays and code with scope over some scalars."""
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(names, inner, max_size=3),
            st.builds(Code, TEXTS, st.dictionaries(names, inner, max_size=2)),
        ),
        max_leaves=8,
    )


def read(text: str) -> bytes:
    """The BSON of one document's text."""
    return DocumentParser(JsonFormat.EXTENDED).read(text, 0)[0].raw


def refusal(text: str) -> str | None:
    """Why a document's text is refused, if it is."""
    try:
        read(text)
    except NotADocument as problem:
        return str(problem)
    return None


@QUICK
@given(
    st.dictionaries(NAMES.filter(lambda name: not name.startswith("$")), nested(SCALARS, NAMES), max_size=4)
)
def test_every_type_survives(fields: dict[str, Any]) -> None:
    """A document of any types is written and read byte for byte; one with a wrapper's name is known not to be."""
    raw = encode(fields, codec_options=CODEC)

    if survives_extended_json(raw):
        assert raw == read(to_json(raw))
    else:
        assert any(f'"{name}"' in to_json(raw) for name in (*WRAPPERS, "$regex"))


@QUICK
@given(st.dictionaries(NAMES, nested(SCALARS, APPLICATION_NAMES), max_size=4))
def test_an_applications_dollar_names_survive(fields: dict[str, Any]) -> None:
    """A document whose ``$`` names are those of no wrapper is written and read byte for byte."""
    raw = encode({"_id": 1, **fields}, codec_options=CODEC)

    assert raw == read(to_json(raw))
    assert survives_extended_json(raw)


WRAPPED_VALUES = st.one_of(
    st.sampled_from(
        ["5", "-0", "1.5", "1e3", "NaN", "AP8=", "00", "80", "ix", "0" * 24, "2025-08-29T10:00:00.5Z"]
    ),
    st.sampled_from([True, 1, 5, -1, 1.5, None]),
)


@st.composite
def likely_wrappers(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    """Objects that are wrappers, nearly are, or resemble them."""
    value = draw(st.one_of(WRAPPED_VALUES, inner))
    shapes: list[dict[str, Any]] = [
        *({name: value} for name in (*WRAPPERS, *OTHER_NAMES)),
        {"$date": {"$numberLong": value}},
        {"$timestamp": {"t": value, "i": 1}},
        {"$binary": value, "$type": "00"},
        {"$binary": {"base64": "AP8=", "subType": value}},
        {"$regex": "a", "$options": value},
        {"$regularExpression": {"pattern": "a", "options": value}},
        {"$code": "a", "$scope": value},
        {"$ref": value, "$id": 1},
        {"$ref": "a", "$db": value},
    ]
    more: list[dict[str, Any]] = [{}, {}, {}, {"more": 1}]
    return {**draw(st.sampled_from(shapes)), **draw(st.sampled_from(more))}


JSON_VALUES = st.recursive(
    WRAPPED_VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "$set", "$ref"]), inner, max_size=3),
        likely_wrappers(inner),
    ),
    max_leaves=6,
)


@QUICK
@given(st.dictionaries(st.sampled_from(["_id", "a", "b"]), JSON_VALUES, max_size=3))
def test_what_the_reader_accepts_is_written_as_an_equal_document(document: dict[str, Any]) -> None:
    """Whatever JSON the reader accepts, written canonically and read again it is the same bytes; or it is refused."""
    text = json.dumps(document)
    problem = refusal(text)
    event("accepted" if problem is None else "refused")

    assert problem is None or problem.startswith("$.")
    if problem is None:
        raw = read(text)
        assert raw == read(to_json(raw))
        assert survives_extended_json(raw)
