"""Reading JSON lines files. A pool of workers parses large ones: all that lines have in common is what the first document settles."""

import codecs
import json
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple

from booking_migrate.errors import BrokenDocument
from booking_migrate.stores.files.extended_json import DocumentParser, Meaning
from booking_migrate.stores.files.json_files import LONGEST, encoding_problem, no_json, skip_blank
from booking_migrate.stores.files.opening import FileDocument
from booking_migrate.stores.files.spool import Row, row_of
from booking_migrate.stores.files.type_wrappers import NotADocument
from booking_migrate.stores.places import JsonFormat
from booking_migrate.stores.ports import StartPool

_BLOCK = 1 << 18
"""About how many bytes of lines are parsed at a time."""

_WORTH_IT = 8 << 20
"""A file of fewer bytes is parsed before workers have started."""

_CUT_OFF = "the line ends within a document; documents of several lines are read from a .json file"


class _Lines(NamedTuple):
    """Some whole lines of a file."""

    data: bytes
    first: int
    """The number of the first of them, counted from 1."""

    name: str
    """What to call the file."""

    meaning: Meaning


def read_line_rows(
    stream: BinaryIO, name: str, json_format: JsonFormat | None, start_pool: StartPool | None = None
) -> Iterator[Row]:
    """Yield the documents of a JSON lines file, in its order. Blank lines and a byte order mark are skipped.

    Arguments as of `json_arrays.read_array_rows`.

    Raises:
        BrokenDocument: with the line's number, counted from 1.
        WorkerLost: a worker ended before it had finished.
    """
    parser = DocumentParser(json_format)
    blocks = _blocks(stream)
    size = 0
    for first, data in blocks:
        yield from _rows(parser, data, first, name)
        size += len(data)
        meaning = parser.meaning
        if start_pool is not None and size >= _WORTH_IT and meaning is not None:
            parts = (_Lines(following, number, name, meaning) for number, following in blocks)
            for _, rows in start_pool().each(parse_lines, parts):
                yield from rows


def _blocks(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines, many at a time, with the number of the first of them."""
    number = 1
    while data := stream.read(_BLOCK):
        data += stream.readline(LONGEST)
        yield number, data
        number += data.count(b"\n")


def parse_lines(lines: _Lines) -> list[Row]:
    """Return the documents of some lines; a worker process may do this.

    Raises:
        BrokenDocument: as `read_line_rows`.
    """
    return list(_rows(DocumentParser.of(lines.meaning), lines.data, lines.first, lines.name))


def _rows(parser: DocumentParser, data: bytes, first: int, name: str) -> Iterator[Row]:
    number = first - 1
    for line in BytesIO(data):
        number += 1
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901 - it belongs to no document
        if line.isspace() or not line:
            continue
        try:
            yield row_of(_read_line(parser, line))
        except NotADocument as error:
            raise BrokenDocument(name, f"line {number}", str(error)) from None
        except json.JSONDecodeError as error:
            raise no_json(name, f"line {number}", error, _CUT_OFF, error.colno) from None
        except UnicodeDecodeError as error:
            raise BrokenDocument(name, f"line {number}", encoding_problem(error)) from None


def _read_line(parser: DocumentParser, line: bytes) -> FileDocument:
    if len(line) >= LONGEST:
        raise NotADocument("the line is longer than any document")
    fast = parser.read_line(line)
    if fast is not None:
        return fast
    text = line.decode("utf-8")
    document, end = parser.read(text, skip_blank(text, 0))
    end = skip_blank(text, end)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return document
