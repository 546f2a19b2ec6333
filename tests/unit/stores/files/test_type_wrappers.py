"""The type wrappers of Extended JSON: what is valid is read exactly, what resembles one survives, the rest is refused."""

import json
import struct
from typing import Any

import pytest
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

from booking_migrate.bson.document import CODEC
from booking_migrate.stores.files.extended_json import DocumentParser, survives_extended_json, to_json
from booking_migrate.stores.files.type_wrappers import NotADocument
from booking_migrate.stores.places import JsonFormat

HEX = "68b6134f8e21e1ae686349f7"
CANONICAL_ID = '"_id":{"$numberInt":"1"}'


def read(text: str, json_format: JsonFormat | None = JsonFormat.EXTENDED) -> bytes:
    """The BSON of one document's text."""
    return DocumentParser(json_format).read(text, 0)[0].raw


def refusal(text: str) -> str:
    """Why a document is refused."""
    with pytest.raises(NotADocument) as caught:
        read(text)
    return str(caught.value)


VALID: dict[str, tuple[str, Any]] = {
    "object id": ('{"$oid":"68b6134f8e21e1ae686349f7"}', ObjectId(HEX)),
    "object id in capitals": ('{"$oid":"68B6134F8E21E1AE686349F7"}', ObjectId(HEX)),
    "smallest int32": ('{"$numberInt":"-2147483648"}', -(1 << 31)),
    "largest int32": ('{"$numberInt":"2147483647"}', (1 << 31) - 1),
    "smallest int64": ('{"$numberLong":"-9223372036854775808"}', Int64(-(1 << 63))),
    "largest int64": ('{"$numberLong":"9223372036854775807"}', Int64((1 << 63) - 1)),
    "small int64": ('{"$numberLong":"7"}', Int64(7)),
    "double": ('{"$numberDouble":"-1.25E+2"}', -125.0),
    "double without a fraction": ('{"$numberDouble":"3"}', 3.0),
    "double zero": ('{"$numberDouble":"-0.0"}', -0.0),
    "double infinity": ('{"$numberDouble":"-Infinity"}', float("-inf")),
    "double not a number": ('{"$numberDouble":"NaN"}', float("nan")),
    "decimal": ('{"$numberDecimal":"20.00"}', Decimal128("20.00")),
    "decimal with an exponent": ('{"$numberDecimal":"+1.5e-3"}', Decimal128("0.0015")),
    "decimal infinity": ('{"$numberDecimal":"-inf"}', Decimal128("-Infinity")),
    "decimal not a number": ('{"$numberDecimal":"NaN"}', Decimal128("NaN")),
    "date in milliseconds": ('{"$date":{"$numberLong":"-62167219200000"}}', DatetimeMS(-62167219200000)),
    "date": ('{"$date":"2025-08-29T10:00:00Z"}', DatetimeMS(1756461600000)),
    "date with a tenth": ('{"$date":"2025-08-29T10:00:00.1Z"}', DatetimeMS(1756461600100)),
    "date with zero microseconds": ('{"$date":"2025-08-29T10:00:00.123000Z"}', DatetimeMS(1756461600123)),
    "date with a zone": ('{"$date":"2025-08-29T12:00:00.5+02:00"}', DatetimeMS(1756461600500)),
    "date with a zone without a colon": ('{"$date":"2025-08-29T04:00:00-0600"}', DatetimeMS(1756461600000)),
    "date before 1970": ('{"$date":"1969-12-31T23:59:59.999Z"}', DatetimeMS(-1)),
    "legacy date": ('{"$date":1756461600000}', DatetimeMS(1756461600000)),
    "binary": ('{"$binary":{"base64":"AP8=","subType":"00"}}', b"\x00\xff"),
    "empty binary": ('{"$binary":{"base64":"","subType":"0"}}', b""),
    "binary whose keys are swapped": ('{"$binary":{"subType":"80","base64":"YWJj"}}', Binary(b"abc", 128)),
    "old binary": ('{"$binary":{"base64":"YWJj","subType":"02"}}', Binary(b"abc", 2)),
    "legacy binary": ('{"$binary":"YWJj","$type":"05"}', Binary(b"abc", 5)),
    "legacy binary, extended sign": ('{"$type":"ffffff80","$binary":"YWJj"}', Binary(b"abc", 128)),
    "uuid": ('{"$uuid":"00010203-0405-0607-0809-0a0b0c0d0e0f"}', Binary(bytes(range(16)), 4)),
    "uuid without hyphens": ('{"$uuid":"000102030405060708090A0B0C0D0E0F"}', Binary(bytes(range(16)), 4)),
    "regular expression": ('{"$regularExpression":{"pattern":"^a","options":"ix"}}', Regex("^a", "ix")),
    "regular expression, options unsorted": (
        '{"$regularExpression":{"options":"xi","pattern":""}}',
        Regex("", "ix"),
    ),
    "legacy regular expression": ('{"$options":"i","$regex":"^a"}', Regex("^a", "i")),
    "timestamp": ('{"$timestamp":{"t":4294967295,"i":0}}', Timestamp((1 << 32) - 1, 0)),
    "code": ('{"$code":"return 1"}', Code("return 1")),
    "code with scope": (
        '{"$scope":{"a":{"$numberLong":"5"}},"$code":"return a"}',
        Code("return a", {"a": Int64(5)}),
    ),
    "code with an empty scope": ('{"$code":"","$scope":{}}', Code("", {})),
    "smallest key": ('{"$minKey":1}', MinKey()),
    "largest key": ('{"$maxKey":1}', MaxKey()),
}
"""What each wrapper may look like, and its value."""


@pytest.mark.parametrize("case", VALID)
def test_a_valid_wrapper_is_its_value(case: str) -> None:
    """A valid wrapper is read as exactly one BSON value: as a field, within a document and within an array."""
    text, value = VALID[case]

    expected = {"a": value, "b": {"c": [value]}}

    assert encode(expected, codec_options=CODEC) == read(f'{{"a":{text},"b":{{"c":[{text}]}}}}')


@pytest.mark.parametrize("case", VALID)
def test_what_was_read_is_written_and_read_again(case: str) -> None:
    """Whatever form a value was read from, its canonical form is read as the same bytes."""
    raw = read(f'{{"a":{VALID[case][0]}}}')

    assert survives_extended_json(raw)
    assert raw == read(to_json(raw))


DOCUMENTS = [
    '{"$regex":"^a"}',
    '{"$regex":"^a","$options":{"$numberInt":"5"}}',
    '{"$regex":"^a","$options":"i","more":"x"}',
    '{"$regex":{"$regularExpression":{"pattern":"^a","options":""}},"$options":"i"}',
    '{"$options":"i"}',
    '{"$set":{"$numberInt":"1"}}',
    '{"$type":"string"}',
    '{"$scope":{}}',
    '{"$numberint":"5"}',
    '{"$ref":"experts","$id":{"$oid":"68b6134f8e21e1ae686349f7"}}',
    '{"$ref":"experts","$id":"a","$db":"shop","more":{"$numberInt":"1"}}',
    '{"$id":"a","$ref":"experts"}',
    '{"$ref":"experts"}',
    '{"$ref":{"$numberInt":"5"},"$id":"a"}',
    '{"$ref":"experts","$id":"a","$db":{"$numberInt":"5"}}',
    '{"oid":"68b6134f8e21e1ae686349f7"}',
]
"""Documents that have a ``$`` name and are no wrapper, in canonical form."""


@pytest.mark.parametrize("text", DOCUMENTS)
def test_what_only_resembles_a_wrapper_survives(text: str) -> None:
    """An application's document with ``$`` names is read and written as it stands, byte for byte."""
    text = f'{{{CANONICAL_ID},"value":{text},"list":[{text}]}}'

    raw = read(text)

    assert text == to_json(raw)
    assert survives_extended_json(raw)


def test_a_canonical_document_has_no_legacy_wrappers() -> None:
    """Beside a wrapper that only version 2 has, ``$regex`` and ``$options`` are an application's document."""
    text = f'{{{CANONICAL_ID},"value":{{"$regex":"^a","$options":"i"}}}}'

    raw = read(text)

    assert encode({"_id": 1, "value": {"$regex": "^a", "$options": "i"}}) == raw
    assert text == to_json(raw)
    for legacy in ('{"$binary":"","$type":"00"}', '{"$date":1756461600000}'):
        assert "of version 2" in refusal(f'{{{CANONICAL_ID},"value":{legacy}}}')


def test_the_document_itself_is_no_wrapper() -> None:
    """A ``$`` name at the top level is a field like others."""
    assert encode({"$oid": HEX, "a": 1}) == read(f'{{"$oid":"{HEX}","a":1}}')


MALFORMED = {
    "$oid": ['"68b6"', f'"{HEX}0"', '"68b6134f8e21e1ae686349fg"', "5", "null", f'{{"$oid":"{HEX}"}}'],
    "$numberInt": [
        "5",
        '"2147483648"',
        '"1.0"',
        '"1e2"',
        '" 1"',
        '"+1"',
        '"01"',
        '"1_0"',
        '""',
        '"٣"',
        "true",
    ],
    "$numberLong": ["2000.7", "5", '"9223372036854775808"', '"-"', '"0x1"', '"5\\n"', '{"$numberInt":"5"}'],
    "$numberDouble": [
        "1.5",
        '"1e999"',
        '"1e-999"',
        '"inf"',
        '"nan"',
        '"-NaN"',
        '"1."',
        '".5"',
        '"1_0"',
        '" 1"',
    ],
    "$numberDecimal": ["1.5", '"1..5"', '"E1"', '"1E6145"', '"-NaN"', '"sNaN"', '"NaN1"', '"1_0"', '""'],
    "$date": [
        "true",
        "1.5",
        "null",
        "9223372036854775808",
        '"2025-08-29"',
        '"2025-08-29T10:00:00"',
        '"2025-08-29T10:00:00.1234Z"',
        '"2025-02-30T10:00:00Z"',
        '"2025-08-29T10:00:60Z"',
        '"2025-08-29 10:00:00Z"',
        '"0000-01-01T00:00:00Z"',
        '{"$numberInt":"5"}',
        '{"$numberLong":"5","a":1}',
        '"1756461600000"',
    ],
    "$binary": [
        "5",
        '"YWJj"',
        '{"base64":"YWJj"}',
        '{"base64":"YWJj","subType":0}',
        '{"base64":"YWJj","subType":"000"}',
        '{"base64":"YWJj","subType":"xy"}',
        '{"base64":"YWJ","subType":"00"}',
        '{"base64":"YW Jj","subType":"00"}',
        '{"base64":"YWJ_","subType":"00"}',
        '{"base64":"AB==","subType":"00"}',
        '{"base64":"YWJj","subType":"00","a":1}',
    ],
    "$uuid": [
        "5",
        '"00010203"',
        '"0001020304-05-0607-0809-0a0b0c0d0e0f"',
        '"{00010203-0405-0607-0809-0a0b0c0d0e0f}"',
    ],
    "$regularExpression": [
        '"a"',
        '{"pattern":"a"}',
        '{"pattern":"a","options":"gz"}',
        '{"pattern":"a","options":"ii"}',
        '{"pattern":"a","options":5}',
        '{"pattern":5,"options":""}',
        '{"pattern":"a\\u0000","options":""}',
        '{"pattern":"a","options":"","a":1}',
    ],
    "$timestamp": [
        "5",
        '{"t":1}',
        '{"t":1,"i":-1}',
        '{"t":1,"i":4294967296}',
        '{"t":1.0,"i":1}',
        '{"t":true,"i":1}',
        '{"t":"1","i":1}',
        '{"t":{"$numberInt":"1"},"i":1}',
        '{"t":1,"i":1,"a":1}',
    ],
    "$code": ["5", "null"],
    "$minKey": ['"1"', "true", "1.0", "0", '{"$numberInt":"1"}'],
    "$maxKey": ['"1"', "true", "2"],
    "$symbol": ["5"],
    "$undefined": ["false", "1"],
    "$dbPointer": [
        '"a"',
        '{"$ref":"a"}',
        '{"$ref":5,"$id":{"$oid":"' + HEX + '"}}',
        '{"$ref":"a","$id":"b"}',
    ],
}
"""What a wrapper may not hold."""


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in MALFORMED for value in MALFORMED[name]]
)
def test_a_malformed_wrapper_is_refused(name: str, value: str) -> None:
    """A wrapper with another value than its type allows is refused by path and name, wherever it stands."""
    wrapper = f'{{"{name}":{value}}}'

    assert refusal(f'{{"_id":1,"a":{wrapper}}}').startswith(f"$.a: a {name} wrapper is malformed: ")
    assert refusal(f'{{"_id":1,"a.b":[0,{{"c":{wrapper}}}]}}').startswith(f'$["a.b"][1].c: a {name} wrapper')


@pytest.mark.parametrize("case", sorted(VALID.keys() - {"legacy regular expression"}))
def test_a_wrapper_with_another_key_is_refused(case: str) -> None:
    """A wrapper's key beside any other is refused, before and behind it."""
    text = VALID[case][0]

    assert "wrapper is malformed" in refusal(f'{{"a":{text[:-1]},"more":1}}}}')
    assert "wrapper is malformed" in refusal(f'{{"a":{{"more":1,{text[1:]}}}')


@pytest.mark.parametrize(
    "text",
    [
        '{"$binary":"YWJj","$type":5}',
        '{"$binary":"YWJj","$type":"123"}',
        '{"$binary":"YWJj","$type":"ffffff05"}',
        '{"$binary":{"base64":"YWJj","subType":"00"},"$type":"00"}',
        '{"$regex":"a","$options":"gz"}',
        '{"$code":"a","$scope":5}',
        '{"$code":"a","$scope":{"$oid":"68b6134f8e21e1ae686349f7","a":{"$oid":5}}}',
        '{"$code":5,"$scope":{}}',
        '{"$oid":"68b6134f8e21e1ae686349f7","$numberInt":"5"}',
    ],
)
def test_a_wrapper_of_two_keys_is_checked_too(text: str) -> None:
    """Both values of a wrapper that has two are checked."""
    assert "wrapper is malformed" in refusal(f'{{"a":{text}}}')


@pytest.mark.parametrize(
    "text",
    ['{"$symbol":"a"}', '{"$undefined":true}', '{"$dbPointer":{"$ref":"a.b","$id":{"$oid":"' + HEX + '"}}}'],
)
def test_a_deprecated_type_is_refused_by_name(text: str) -> None:
    """A valid wrapper of a deprecated type is refused with the kind of file that keeps it."""
    name = next(iter(json.loads(text)))

    assert f"$.a: {name} is a deprecated type, which is kept by .bson files only" == refusal(
        f'{{"a":{text}}}'
    )


def test_a_wrapper_within_a_wrapper_is_named() -> None:
    """What is wrong within a wrapper is named there."""
    expected = '$.a["$date"]: a $numberLong wrapper is malformed: '

    assert refusal('{"a":{"$date":{"$numberLong":5}}}').startswith(expected)
    assert refusal('{"a":{"$code":"","$scope":{"b":{"$oid":5}}}}').startswith('$.a["$scope"].b: a $oid')


def test_a_name_that_occurs_twice_is_named_by_its_path() -> None:
    """Equal names are refused at any depth, within wrappers too."""
    assert refusal('{"a":[{"b":1,"b":1}]}').startswith("$.a[0]: ")
    assert refusal('{"a":{"$timestamp":{"t":1,"i":1,"t":1}}}').startswith("$.a: ")
    assert refusal('{"a":{"$oid":"' + HEX + '","$oid":"' + HEX + '"}}').startswith("$.a: ")


def test_a_number_that_would_vanish_is_refused() -> None:
    """A JSON number too small for a double is refused as one too large is; zero is read."""
    assert "range" in refusal('{"a":1e-999}')
    assert "range" in refusal('{"a":-1e999}')
    assert encode({"a": 0.0}) == read('{"a":0.000e-999}')


@pytest.mark.parametrize("depth", [170, 400])
def test_deep_documents_are_read(depth: int) -> None:
    """A document that nests deeper than MongoDB allows is read all the same: it is one booking that is rejected."""
    raw = read('{"a":' * depth + "1" + "}" * depth)

    assert struct.pack("<i", len(raw)) == raw[:4]
