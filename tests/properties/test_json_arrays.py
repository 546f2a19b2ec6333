"""A JSON array in pieces means what it means as a whole, wherever it is divided, sound or broken."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, BinaryIO, TypeVar, cast
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from booking_migrate.errors import BrokenDocument
from booking_migrate.stores.files import json_arrays
from booking_migrate.stores.files.json_arrays import _IN_ARRAY, _IN_SEQUENCE, last_end, read_array_rows
from booking_migrate.stores.files.spool import Row
from booking_migrate.stores.places import JsonFormat
from tests.properties.test_fast_json import BETWEEN, ENDS, FIRST, MANY, Stream, texts
from tests.support.examples import examples

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class OneProcess:
    """A pool whose work is done at once, in this process."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def each(
        self, work: Callable[[Piece], Result], chunks: Iterable[Piece]
    ) -> Iterator[tuple[Piece, Result]]:
        """Do the work for each piece."""
        for piece in chunks:
            result = work(piece)
            self.done.append(result)
            yield piece, result

    def submit(self, work: Callable[..., Result], *args: Any) -> Future[Result]:
        """Do some work."""
        future: Future[Result] = Future()
        future.set_result(work(*args))
        return future


def outcome(
    data: bytes, size: int, json_format: JsonFormat | None, pool: OneProcess | None
) -> tuple[list[Row], str]:
    """Return what an array is read as: its documents up to an error, and the error."""
    found: list[Row] = []
    stream = cast("BinaryIO", Stream(data, size))
    with ExitStack() as patched:
        patched.enter_context(patch.object(json_arrays, "_WORTH_IT", 1))
        try:
            found.extend(
                read_array_rows(stream, "a.json", json_format, None if pool is None else lambda: pool)
            )
        except BrokenDocument as error:
            return found, f"{error.position}: {error.problem} {error.hint}"
    return found, ""


def is_utf8(data: bytes) -> bool:
    """Whether data is text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def compare(data: bytes, size: int, json_format: JsonFormat | None) -> OneProcess:
    """Read an array in pieces and as a whole."""
    pool = OneProcess()
    whole, error = outcome(data, size, json_format, None)
    pieces, same_error = outcome(data, size, json_format, pool)

    if is_utf8(data):
        assert error == same_error
    # Of two faults either may be named where one is a wrong encoding: how far was read ahead decides.
    assert bool(error) == bool(same_error)
    # How many documents come before an error depends on how far was read ahead; a file with one is refused as a whole.
    common = min(len(whole), len(pieces)) if error else len(whole)
    assert whole[:common] == (pieces[:common] if error else pieces)
    return pool


@MANY
@given(
    documents=st.lists(texts(), max_size=8),
    first=st.sampled_from(sorted(FIRST)),
    begin=st.sampled_from(["[", "[\n", "\ufeff [", ""]),
    between=st.sampled_from(BETWEEN),
    end=st.sampled_from(ENDS),
    size=st.sampled_from([7, 64, 1000]),
    json_format=st.sampled_from([None, JsonFormat.EXTENDED, JsonFormat.PLAIN]),
    wrong=st.none()
    | st.tuples(st.floats(0, 1), st.sampled_from([b"", b"}", b"{", b'"', b"\xff", b",", b"\n", b"\\"])),
)
@example(["{}"] * 3, min(FIRST), "[", ",", "]", 7, None, None)
@example(['{"a":["\t",9223372036854775807]}'], "extended", "[", ",", "]", 7, None, None)
def test_pieces_mean_what_the_whole_means(
    documents: list[str],
    first: str,
    begin: str,
    between: str,
    end: str,
    size: int,
    json_format: JsonFormat | None,
    wrong: tuple[float, bytes] | None,
) -> None:
    """The same documents and the same error, with its line, its document's number and its hint."""
    data = (begin + between.join([FIRST[first], *documents]) + end).encode()
    if wrong is not None:
        at = int(wrong[0] * len(data))
        data = data[:at] + wrong[1] + data[at + 1 :]
    compare(data, size, json_format)


STRINGS = st.text(st.sampled_from('{}[],"\\:\n é'), max_size=12)
VALUES = st.recursive(
    STRINGS | st.integers(-9, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=12,
)


@settings(MANY, max_examples=examples(100, one_of=1), suppress_health_check=list(HealthCheck))
@given(
    documents=st.lists(st.dictionaries(st.just("notes") | STRINGS, VALUES, max_size=4), max_size=8),
    indent=st.sampled_from([None, 1]),
    is_array=st.booleans(),
    size=st.sampled_from([5, 40, 400]),
)
def test_strings_with_braces_and_escapes_divide_nothing(
    documents: list[dict[str, Any]], indent: int | None, is_array: bool, size: int
) -> None:
    """Whatever stands in strings and in nested arrays, documents come whole and in order."""
    some = [{"_id": 1, "clientId": 2}, *documents]
    text = json.dumps(some, indent=indent) if is_array else "\n".join(json.dumps(each) for each in some)
    compare(text.encode(), size, JsonFormat.PLAIN)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("notes", ["", "a: {b}", "} , {", "{ , {", '\\" } , { \\\\'])
def test_nearly_everything_is_left_to_workers(indent: int | None, notes: str) -> None:
    """Client documents with sessions, braces in strings and escapes are no reason to read in one process."""
    session = {"sessionId": 1, "notes": notes}
    documents = [{"_id": number, "sessions": [session, {}, session]} for number in range(200)]
    for text in (json.dumps(documents, indent=indent), "\n".join(map(json.dumps, documents))):
        pool = compare(text.encode(), 2000, JsonFormat.EXTENDED)

        assert None not in pool.done
        assert sum(map(len, pool.done)) > 150


def test_a_division_within_a_document_is_noticed() -> None:
    """Where a string deceives the division, this process reads on, and nothing is lost."""
    deceiving = '{"_id":2,"a":"},{",":b":1}'
    assert len(',{"_id":2,"a":"}') == last_end(f",{deceiving}".encode(), _IN_ARRAY)
    sound = ",".join(f'{{"_id":{number}}}' for number in range(10, 40))
    text = f'[{{"_id":1}},{sound},{deceiving},{sound},{deceiving}]'.encode()
    pool = compare(text, text.index(b'"},{"') + 8, JsonFormat.EXTENDED)

    assert None in pool.done
    assert 63 == len(outcome(text, 50, JsonFormat.EXTENDED, pool)[0])


def test_a_wrong_encoding_is_named_in_any_piece() -> None:
    """The line of a byte that is not UTF-8 counts from the beginning of the file."""
    lines = [f'{{"_id":{number},"a":"é"}}'.encode() for number in range(200)]
    lines[150] = b'{"_id":150,"a":"\xe9"}'
    text = b"[" + b",\n".join(lines) + b"]"

    whole, error = outcome(text, 100, JsonFormat.EXTENDED, None)
    pieces, same_error = outcome(text, 100, JsonFormat.EXTENDED, OneProcess())

    assert "line 151: not UTF-8: byte 0xe9" in error
    assert error == same_error
    assert 140 < min(len(whole), len(pieces))


@pytest.mark.parametrize("between", [",", ",\n", " , \r\n\t"])
@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_a_column_counts_from_the_beginning_of_the_line(between: str, size: int) -> None:
    """However a file is read, an error is at the column that Python's own parser names."""
    broken = '{"a":x,"b":[' + "1," * 30 + "1]}"
    text = "[" + between.join([*['{"_id":1,"a":"é"}'] * 40, broken]) + "]"
    with pytest.raises(json.JSONDecodeError) as wrong:
        json.loads(text)

    for pool in (None, OneProcess()):
        _, error = outcome(text.encode(), size, JsonFormat.EXTENDED, pool)
        assert (
            f"document 41, line {wrong.value.lineno}: no JSON: Expecting value at column {wrong.value.colno} "
            in error
        )


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (b',{"a":1},{"b":2}', 8),
        (b',{"a":1} ,\n{ "b" :2},{"c', 8),
        (b',{"a":[{"c":1},{"c":2}]},{"b":', 24),
        (b',{"a":[{"c":1},{"c":2}', 0),
        (b',{"a":"}"},{"b":[{', 10),
        (b',{"a":"},{"},{"b":', 12),
        (b',{"a":"{"},{"b":1},{"c":"}', 18),
        (b',{"a":"\\"{"},{"b":1},{"c":"}', 20),
        (b',{"a":"\\\\{"},{"b":"},{', 12),
        (b',{"a":1}', 0),
    ],
)
def test_ends_of_documents(text: bytes, end: int) -> None:
    """The last document behind which another one begins; strings with unpaired braces are left out where counting fails."""
    assert end == last_end(text, _IN_ARRAY)
    assert last_end(b'{"a":1}\n{"b":2} {"c":', _IN_SEQUENCE) == 15
