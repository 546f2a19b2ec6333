"""JSON files: what their values mean, and what is said about broken ones."""

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from bson import decode
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import CODEC
from booking_migrate.errors import BrokenDocument, PlaceNotFound, UnusablePlace
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.files.extended_json import DocumentParser, survives_extended_json, to_json
from booking_migrate.stores.files.json_files import WindowReader
from booking_migrate.stores.open import open_reader
from booking_migrate.stores.places import JsonFormat, parse_place
from tests.support.bson_samples import DEPRECATED, VALUES, deprecated_documents, document_of

HEX = "68b6134f8e21e1ae686349f7"


def read(path: Path, json_format: JsonFormat | None = None) -> list[dict[str, Any]]:
    """The decoded documents of a file."""
    reader = open_reader(parse_place(str(path)), Connection(), json_format=json_format)
    try:
        return [decode(document.raw, CODEC) for document in reader.scan_by_client()]
    finally:
        reader.close()


def lines(path: Path, *texts: str | bytes) -> Path:
    """Write a JSON lines file."""
    path.write_bytes(b"\n".join(text.encode() if isinstance(text, str) else text for text in texts))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A JSON lines file to be written."""
    return tmp_path / "bookings.jsonl"


def test_plain_ids_and_dates_are_read(path: Path) -> None:
    """In a plain file known ids and dates are values, also within sessions; nothing else is."""
    session = {"sessionId": HEX, "expertId": "short", "scheduledDate": "2025-08-29", "notes": HEX}
    plain = {
        "_id": HEX,
        "clientId": HEX.upper(),
        "other": HEX,
        "createdAt": "2025-09-01T22:19:03.359+00:00",
        "updatedAt": "2025-09-02T03:49:03.359+05:30",
        "cancellationTime": "2025-09-01T22:19:03Z",
        "scheduledDate": "soon",
        "sessions": [session],
        "nested": {"createdAt": "2025-08-29", "_id": HEX},
    }

    (document,) = read(lines(path, json.dumps(plain)))

    moment = DatetimeMS(1756765143359)
    assert {
        **plain,
        "_id": ObjectId(HEX),
        "clientId": ObjectId(HEX),
        "createdAt": moment,
        "updatedAt": moment,
        "cancellationTime": DatetimeMS(1756765143000),
        "sessions": [{**session, "sessionId": ObjectId(HEX), "scheduledDate": DatetimeMS(1756425600000)}],
    } == document


@pytest.mark.parametrize("text", ["2025-02-30", "0000-01-01", "20250829", "2025-08-29T25:00", "2025-W01-1"])
def test_what_is_no_date_stays_a_string(path: Path, text: str) -> None:
    """A date field that holds no date keeps its text, for the contract to reject."""
    (document,) = read(lines(path, json.dumps({"_id": 1, "createdAt": text})))

    assert text == document["createdAt"]


def test_plain_numbers_take_the_smallest_type(path: Path) -> None:
    """A whole number is an int32 if it fits, else an int64; one with a fraction is a double."""
    (document,) = read(lines(path, '{"_id":1,"a":2147483647,"b":2147483648,"c":1.0,"d":-0.0}'))

    assert [int, Int64, float] == [type(document[name]) for name in "abc"]
    assert "-0.0" == str(document["d"])


def test_strings_stay_strings_in_an_extended_file(path: Path) -> None:
    """One wrapper in the first document makes the file extended: strings are strings throughout."""
    documents = read(lines(path, '{"_id":1,"n":{"$numberLong":"5"}}', json.dumps({"_id": HEX})))

    assert [1, HEX] == [document["_id"] for document in documents]
    assert Int64 is type(documents[0]["n"])


def test_the_format_can_be_said(path: Path) -> None:
    """Said by hand, plain leaves wrappers alone and extended leaves strings alone."""
    text = json.dumps({"_id": HEX, "value": {"$numberInt": "5"}})

    plain = read(lines(path, text), JsonFormat.PLAIN)
    extended = read(path, JsonFormat.EXTENDED)

    assert [{"_id": ObjectId(HEX), "value": {"$numberInt": "5"}}] == plain
    assert [{"_id": HEX, "value": 5}] == extended


def test_relaxed_extended_json_is_read(path: Path) -> None:
    """Relaxed dates and numbers are read as what they are."""
    (document,) = read(
        lines(path, '{"_id":{"$oid":"' + HEX + '"},"d":{"$date":"1969-12-31T23:59:59.999Z"},"n":5}')
    )

    assert {"_id": ObjectId(HEX), "d": DatetimeMS(-1), "n": 5} == document


def test_blank_lines_and_a_byte_order_mark_are_skipped(path: Path) -> None:
    """They count as lines, and as nothing else."""
    lines(path, b'\xef\xbb\xbf{"_id":1}', "", "  \t", '{"_id":2}\r', "", '{"_id":')

    with pytest.raises(BrokenDocument) as caught:
        read(path)

    assert "line 6" == caught.value.position
    assert 2 == len(read(lines(path, b'\xef\xbb\xbf{"_id":1}', "", "  \t", '{"_id":2}\r', "")))


@pytest.mark.parametrize(
    "broken",
    [
        '{"_id":',
        '{"_id":1} {"_id":2}',
        "[1]",
        '"text"',
        "null",
        '{"a":NaN}',
        '{"a":-Infinity}',
        '{"a":1e999}',
        '{"a":9223372036854775808}',
        f'{{"a":{"9" * 5000}}}',
        '{"a":1,"a":2}',
        '{"a":"\\ud800"}',
        '{"a":"\\udce9"}',
        '{"\\udce9":1}',
        '{"a":{"\\udce9":1}}',
        '{"a\\u0000b":1}',
        '{"a":' * 100_000,
        '{"a":{"$oid":"x"}}',
        '{"a":{"$oid":"' + HEX + '","b":1}}',
        '{"a":{"$date":{"$numberLong":"99999999999999999999"}}}',
        '{"a":{"$binary":5}}',
        '{"a":{"$symbol":"x"}}',
        b'{"a":"caf\xe9"}',
        b"\xff\xfe{\x00}\x00",
        b"\x00\x01\x02",
    ],
)
def test_a_broken_line_is_named(path: Path, broken: str | bytes) -> None:
    """Whatever is wrong, the place and the line are named."""
    with pytest.raises(BrokenDocument) as caught:
        read(lines(path, '{"_id":1}', broken), JsonFormat.EXTENDED)

    assert (str(path), "line 2") == (caught.value.place, caught.value.position)


def test_a_late_wrapper_in_a_plain_file_is_refused(path: Path) -> None:
    """A file that was only guessed to be plain is not half read as extended; said to be plain, it is read."""
    lines(path, '{"_id":"a"}', '{"_id":{"$oid":"' + HEX + '"}}')

    with pytest.raises(BrokenDocument, match="--json-format"):
        read(path)
    assert 2 == len(read(path, JsonFormat.PLAIN))


def test_unusable_files_are_named(tmp_path: Path) -> None:
    """A missing file, a directory and a cut gzip stream each have their own message."""
    (tmp_path / "folder.jsonl").mkdir()
    whole = gzip.compress(b'{"_id":1}\n' * 1000)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-10])
    (tmp_path / "plain.jsonl.gz").write_bytes(b'{"_id":1}\n')

    with pytest.raises(PlaceNotFound):
        read(tmp_path / "missing.jsonl")
    for name in ("folder.jsonl", "cut.jsonl.gz", "plain.jsonl.gz"):
        with pytest.raises(UnusablePlace) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) == caught.value.place


@pytest.mark.parametrize("text", ["[]", " [ ] \n", "\ufeff[]\n"])
def test_an_empty_array_has_no_documents(tmp_path: Path, text: str) -> None:
    """An empty array holds nothing."""
    path = tmp_path / "bookings.json"
    path.write_text(text, encoding="utf-8")

    assert [] == read(path)


class Trickle:
    """A stream that gives one byte at a time, so that every document is cut at every place."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def read(self, _size: int) -> bytes:
        """The next byte."""
        self._position += 1
        return self._data[self._position - 1 : self._position]


def test_documents_are_read_wherever_they_are_cut() -> None:
    """In an array or one after the other, documents come whole, however the bytes arrive: wide characters, escapes and numbers included."""
    documents = [
        {"_id": 1, "text": 'čtyři \U0001f600 \\ " ]}', "n": [-1.5e-3, True, None]},
        {"_id": 2, "a": {"b": []}},
        {},
    ]
    for text in (json.dumps(documents, ensure_ascii=False, indent=1), json.dumps(documents)):
        stream = cast("BinaryIO", Trickle(text.encode()))
        assert documents == [
            decode(document.raw)
            for document in WindowReader(stream, "x.json", DocumentParser(None)).documents()
        ]
    for indent, between in ((None, "\n"), (1, "\n"), (None, "")):
        text = between.join(json.dumps(document, indent=indent) for document in documents)
        stream = cast("BinaryIO", Trickle(text.encode()))
        assert documents == [
            decode(document.raw)
            for document in WindowReader(stream, "x.json", DocumentParser(None)).documents()
        ]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", "line 1"),
        (" \n", "line 2"),
        ('"text"', "line 1"),
        ('{"_id":1}\n[{"_id":2}]', "document 2, line 2"),
        ('{"_id":1},\n{"_id":2}', "document 2, line 1"),
        ('{\n"_id":1\n}\n{\n"_id":', "document 2, line 5"),
        ('[{"_id":1},\n{"_id":2}', "document 2, line 2"),
        ('[{"_id":1},\n\n{"_id":}\n]', "document 2, line 3"),
        ('[{"_id":1}\n{"_id":2}]', "document 1, line 2"),
        ('[{"_id":1},\n5]', "document 2, line 2"),
        ('[{"_id":1},\n]', "document 2, line 2"),
        ('[{"_id":1}]\n[]', "document 1, line 2"),
        ('[{"_id":1},\n{"a":NaN}]', "document 2, line 2"),
        ("[", "document 1, line 1"),
        ('[{"_id":"' + "x" * 600_000, "document 1, line 1"),
    ],
)
def test_a_broken_array_is_named(tmp_path: Path, text: str, position: str) -> None:
    """The document's number and the line say where an array is broken."""
    path = tmp_path / "bookings.json"
    path.write_text(text)

    with pytest.raises(BrokenDocument) as caught:
        read(path)

    assert position == caught.value.position


class Repeated:
    """A stream of one line over and over, which is nowhere in memory as a whole."""

    def __init__(self, line: bytes, times: int) -> None:
        self._line = line
        self._left = times

    def read(self, size: int) -> bytes:
        """As many whole lines as fit."""
        taken = min(self._left, max(1, size // len(self._line)))
        self._left -= taken
        return self._line * taken


@pytest.mark.parametrize("line", [b'{"_id":1,"text":"%s"}\n', b'{\n"_id":1,\n"text":"%s"\n}\n'])
def test_memory_does_not_grow_with_the_documents(line: bytes) -> None:
    """Many documents one after the other take no more memory than a few."""
    line %= b"x" * 5000
    stream = cast("BinaryIO", Repeated(line, 4000))

    tracemalloc.start()
    try:
        count = sum(1 for _document in WindowReader(stream, "x.json", DocumentParser(None)).documents())
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 4000 == count
    assert peak < 4_000_000 < 4000 * len(line)


def test_a_wrong_encoding_in_an_array_is_named(tmp_path: Path) -> None:
    """A byte that is no UTF-8 is found on its line."""
    path = tmp_path / "bookings.json"
    path.write_bytes(b'[{"_id":1},\n{"a":"caf\xe9"}]')

    with pytest.raises(BrokenDocument) as caught:
        read(path)

    assert "line 2" == caught.value.position


def test_survival_is_told_for_every_type() -> None:
    """Every type that Extended JSON knows survives; deprecated ones and wrapper look-alikes do not."""
    look_alikes = [{"$date": "x"}, {"$numberInt": "5"}, {"$oid": HEX}]

    assert list(VALUES) == [
        name
        for n, (name, value) in enumerate(VALUES.items())
        if survives_extended_json(document_of(n, value))
    ]
    assert len(DEPRECATED) == sum(not survives_extended_json(raw) for raw in deprecated_documents())
    assert not any(survives_extended_json(document_of(1, value)) for value in look_alikes)


def test_written_json_is_canonical_on_one_line() -> None:
    """A document is written compactly, with types, in UTF-8 and without a raw line end."""
    assert (
        '{"_id":{"$numberInt":"1"},"clientId":{"$oid":"000000000000000000000000"},"value":"é\\n"}'
        == to_json(document_of(1, "é\n"))
    )
