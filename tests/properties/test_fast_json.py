"""Extended JSON by the fast parser and writer means what the plain ones mean, or is left to them."""

import json
from io import BytesIO
from typing import Any, BinaryIO, cast
from unittest.mock import patch

import pytest
from bson import decode, encode, json_util
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from booking_migrate.bson.document import CODEC
from booking_migrate.errors import BrokenDocument
from booking_migrate.stores.files.extended_json import _OPTIONS, DocumentParser, to_json
from booking_migrate.stores.files.fast_json import Declined, write_line
from booking_migrate.stores.files.json_files import WindowReader
from booking_migrate.stores.files.type_wrappers import NotADocument
from booking_migrate.stores.places import JsonFormat
from tests.benchmarks.data import bookings
from tests.properties.test_extended_json import APPLICATION_NAMES, SCALARS, nested

MANY = settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
NUMBERS = [
    *("0", "-0", "0.0", "7", "-12", "1.5", "-2.25", "1E2", "1e400", "5e-324", "1e-400", "NaN", "Infinity"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616"),
    *("9007199254740993", "9007199254740993.0", "123456789012345678901234567890"),
]
STRINGS = [
    *(
        '""',
        '"a:b"',
        '"::"',
        '"\\u003a"',
        '"\\u003A"',
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"é"',
        '"\\n"',
        '"\t"',
    ),
    *(
        '"6553f10062656e6368000000"',
        '"6553f10062656e636800000"',
        '"6553f10062656e63680 0000"',
        '"12"',
        '"012"',
    ),
    *(
        '"-5"',
        '"1.5"',
        '"NaN"',
        '"2147483648"',
        '"9223372036854775808"',
        '"6553f100 626e6568 0000aa"',
        '"9999999999"',
        '"\uff12"',
        '"1756425600000"',
    ),
    *('"2026-01-01T10:00:00Z"', '"2026-01-01T10:00:00.123+02:00"', '"2026-02-30"', '"2026-01-01"'),
]
NAMES = [
    *('"a"', '"\\u0061"', '"a:"', '"$set"', '"$oid"', '"$date"', '"$numberInt"', '"$numberLong"', '"$ref"'),
    *('"$numberDouble"', '"$numberDecimal"', '"$type"', '"$binary"', '"_id"', '"clientId"', '"createdAt"'),
    *('"sessions"', '"b\\u0000"', '""'),
]
COLONS = [":", " : ", ":\t", "  :"]


def texts() -> st.SearchStrategy[str]:
    """JSON texts of objects, with names that occur twice, wrappers sound and broken, and numbers at every border."""
    scalars = st.sampled_from([*NUMBERS, *STRINGS, "null", "true"])
    members = st.tuples(st.sampled_from(NAMES), st.sampled_from(COLONS))

    def grown(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        pairs = st.lists(st.tuples(members, values), max_size=3)
        return st.one_of(
            pairs.map(text_of), st.lists(values, max_size=3).map(lambda each: f"[{','.join(each)}]")
        )

    return st.lists(st.tuples(members, st.recursive(scalars, grown, max_leaves=6)), max_size=4).map(text_of)


def text_of(members: list[tuple[tuple[str, str], str]]) -> str:
    """An object of these members."""
    return "{" + ", ".join(f"{name}{colon}{value}" for (name, colon), value in members) + "}"


FIRST = {
    "extended": '{"_id": {"$oid": "6553f10062656e6368000000"}}',
    "plain": '{"_id": "6553f10062656e6368000000"}',
    "stringify": '{"createdAt": "2026-01-01T10:00:00Z", "price": {"$numberDecimal": "1"}}',
}


@MANY
@given(
    text=texts(),
    json_format=st.sampled_from([None, JsonFormat.EXTENDED, JsonFormat.PLAIN]),
    first=st.sampled_from(sorted(FIRST)),
)
@example(text='{"a":1,"a" :2}', json_format=JsonFormat.EXTENDED, first="extended")
@example(text='{"a":{"b":1,"b": ":"},"c":"\\u003a"}', json_format=JsonFormat.EXTENDED, first="extended")
def test_a_line_that_is_read_fast_means_the_same(
    text: str, json_format: JsonFormat | None, first: str
) -> None:
    """The same bytes and fields in each format, and never a document where the plain parser refuses one."""
    parser = DocumentParser(json_format)
    parser.read(FIRST[first], 0)
    check(parser, text)


def check(parser: DocumentParser, text: str) -> None:
    """Compare what the fast parser makes of a text, if anything, with what the plain one does."""
    fast = parser.read_line(text.encode())
    if fast is None:
        return
    try:
        slow, end = parser.read(text, 0)
    except (NotADocument, json.JSONDecodeError) as error:
        pytest.fail(f"{text} was read fast: {error}")

    assert end == len(text)
    assert (slow.raw, repr(slow.fields)) == (fast.raw, repr(fast.fields))


class Stream:
    """A file that is read a few bytes at a time, so that documents are cut at any place."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = BytesIO(data)
        self._size = size

    def read(self, _size: int) -> bytes:
        """Return the next bytes."""
        return self._data.read(self._size)


def outcome(data: bytes, size: int, json_format: JsonFormat | None) -> tuple[list[Any], str]:
    """Return what an array is read as: its documents up to an error, and the error."""
    found: list[Any] = []
    try:
        for raw, fields in WindowReader(
            cast("BinaryIO", Stream(data, size)), "a.json", DocumentParser(json_format)
        ).documents():
            found.append((raw, repr(fields)))
    except BrokenDocument as error:
        return found, f"{error.position}: {error.problem}"
    return found, ""


def check_array(data: bytes, size: int, json_format: JsonFormat | None) -> None:
    """Compare an array that is read fast where possible with the same one read by the plain parser alone."""
    fast = outcome(data, size, json_format)
    with patch.object(DocumentParser, "read_line", return_value=None):
        slow = outcome(data, size, json_format)

    assert slow == fast


ENDS = ["]", "\n]\n", "", ",]", "] ]", "]x", ",", "}]"]
BETWEEN = [",", ",\n", " ,\n ", "", "\n", ",,", "}"]


@MANY
@given(
    documents=st.lists(texts(), max_size=6),
    first=st.sampled_from(sorted(FIRST)),
    begin=st.sampled_from(["[", "[\n", "\ufeff [", ""]),
    between=st.sampled_from(BETWEEN),
    end=st.sampled_from(ENDS),
    size=st.sampled_from([7, 64, 1000, 1 << 18]),
    json_format=st.sampled_from([None, JsonFormat.EXTENDED, JsonFormat.PLAIN]),
    wrong=st.none()
    | st.tuples(st.floats(0, 1), st.sampled_from([b"", b"}", b"{", b'"', b"\xff", b",", b"\n"])),
)
def test_an_array_that_is_read_fast_means_the_same(
    documents: list[str],
    first: str,
    begin: str,
    between: str,
    end: str,
    size: int,
    json_format: JsonFormat | None,
    wrong: tuple[float, bytes] | None,
) -> None:
    """The same documents, and the same error at the same line, in arrays and in documents one after the other, sound or broken."""
    data = (begin + between.join([FIRST[first], *documents]) + end).encode()
    if wrong is not None:
        at = int(wrong[0] * len(data))
        data = data[:at] + wrong[1] + data[at + 1 :]
    check_array(data, size, json_format)


@pytest.mark.parametrize("depth", range(50, 1200, 50))
@pytest.mark.parametrize("form", ["object", "array"])
def test_what_nests_deep_means_the_same(depth: int, form: str) -> None:
    """A document nests too deep for both parsers, or for none."""
    begin, end = ('{"a":', "}") if form == "object" else ("[", "]")
    text = f'{{"_id":1,"a":{begin * depth}1{end * depth}}}'
    parser = DocumentParser(JsonFormat.EXTENDED)

    check(parser, text)
    check_array(f"[{text},{text},{text}]".encode(), 1 << 18, JsonFormat.EXTENDED)


def test_documents_of_an_array_are_read_fast() -> None:
    """All but the first and the last, however they are laid out: client documents with their sessions, strings with braces."""
    session = {"sessionId": 1, "notes": "}, {", "tags": [{}, {}]}
    documents = [
        {"_id": number, "sessions": [session, {**session, "a": [{"b": {}}]}]} for number in range(50)
    ]
    for text in (
        json.dumps(documents),
        json.dumps(documents, indent=2),
        "\n".join(map(json.dumps, documents)),
    ):
        with patch.object(DocumentParser, "read", autospec=True, side_effect=DocumentParser.read) as slow:
            found = list(
                WindowReader(
                    cast("BinaryIO", BytesIO(text.encode())), "a.json", DocumentParser(JsonFormat.EXTENDED)
                ).documents()
            )

        assert documents == [decode(document.raw) for document in found]
        assert slow.call_count == 1


def test_every_wrapper_with_every_value() -> None:
    """Digits, signs, blanks, sizes and types at every border of what a wrapper may hold."""
    parser = DocumentParser(JsonFormat.EXTENDED)
    for value in [*STRINGS, *NUMBERS, "null", "{}", "[]"]:
        check(parser, f'{{"a": {{"$date": {{"$numberLong": {value}}}}}}}')
        for name in NAMES:
            check(parser, f'{{"a": {{{name}: {value}}}}}')


@pytest.mark.parametrize("number", [-(1 << 31) - 1, -(1 << 31), (1 << 31) - 1, 1 << 31, (1 << 63) - 1])
def test_whole_numbers_have_their_size(number: int) -> None:
    """A number is written as what it is in BSON."""
    fields = decode(encode({"a": number}), CODEC)

    assert (
        json_util.dumps(fields, json_options=_OPTIONS, separators=(",", ":")) == write_line(fields).decode()
    )


@MANY
@given(nested(SCALARS, APPLICATION_NAMES))
def test_a_document_that_is_written_fast_is_the_same_text(value: Any) -> None:
    """Canonical Extended JSON byte for byte as the driver's own tools write it."""
    raw = encode({"_id": 1, "value": value}, codec_options=CODEC)
    fields = decode(raw, CODEC)
    expected = json_util.dumps(fields, json_options=_OPTIONS, ensure_ascii=False, separators=(",", ":"))
    try:
        written = write_line(fields)
    except Declined:
        return

    assert expected == written.decode()


def test_usual_bookings_are_read_and_written_fast() -> None:
    """Nothing of them is declined: a fast path that is never taken would be as right."""
    parser = DocumentParser(JsonFormat.EXTENDED)
    for raw in bookings(20):
        line = to_json(raw).encode()
        found = parser.read_line(line)

        assert found is not None
        assert raw == found.raw
        assert line == write_line(decode(raw, CODEC))


@pytest.mark.parametrize(
    "text", ['{"\\u0000x": 5, "_id": 1}', '{"a\\u0000b": 5, "_id": 1}', '{"_id": 1, "\\u0000": 5}']
)
def test_a_name_with_a_nul_character_is_refused(text: str) -> None:
    """BSON ends names with it; where `_id` stands makes no difference."""
    with pytest.raises(NotADocument, match="NUL character"):
        DocumentParser(JsonFormat.EXTENDED).read(text, 0)
