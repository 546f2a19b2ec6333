"""Reading JSON files of one array, or of documents of several lines, in pieces that a pool of workers parses.

The reader divides the text where it takes a document to end, by counting braces. It need not be right: a piece that begins behind a
document and is, to its last byte, a sequence of documents and separators does end behind one, and its worker finds that out. If it
is not, this process reads everything from there on by `WindowReader`, which defines what a file means and what is wrong with it.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from booking_migrate.errors import BrokenDocument
from booking_migrate.stores.files.extended_json import DocumentParser, Meaning
from booking_migrate.stores.files.json_files import LONGEST, Place, WindowReader
from booking_migrate.stores.files.spool import Row, row_of
from booking_migrate.stores.places import JsonFormat
from booking_migrate.stores.ports import StartPool

_BLOCK = 1 << 18
"""About how many bytes are parsed at a time."""

_WORTH_IT = 8 << 20
"""A file of fewer bytes is parsed before workers have started."""

_BLANK = b" \t\r\n"
_NAME = rb'\{[ \t\r\n]*"[^"\\]*"[ \t\r\n]*:'
_IN_ARRAY = re.compile(rb"\}(?=[ \t\r\n]*,[ \t\r\n]*" + _NAME + rb")")
_IN_SEQUENCE = re.compile(rb"\}(?=[ \t\r\n]*" + _NAME + rb")")
"""Ends of objects behind which others follow; documents are among them. With the name that follows, what looks like one in a string
does not: the quote there ends the string, and a colon does not follow the next one."""

_STRING = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_QUOTE = b"\x00"


class _Piece(NamedTuple):
    """Some documents of a file, and the text before each of them."""

    data: bytes
    is_array: bool
    meaning: Meaning


def read_array_rows(
    stream: BinaryIO, name: str, json_format: JsonFormat | None, start_pool: StartPool | None = None
) -> Iterator[Row]:
    """Yield the documents of one JSON array, or those that follow one another without one, in the file's order.

    Args:
        stream: the file.
        name: what to call it.
        json_format: how it is to be understood; None: as its first document says.
        start_pool: starts a pool for a large file; None: this process parses all of it.

    Raises:
        BrokenDocument: as `WindowReader.documents`.
        WorkerLost: a worker ended before it had finished.
    """
    parser = DocumentParser(json_format)
    reader = WindowReader(stream, name, parser)
    for document in reader.documents():
        yield row_of(document)
        if start_pool is not None and reader.size >= _WORTH_IT and parser.meaning is not None:
            yield from _in_pieces(_Rest(reader, stream, name, parser.meaning), start_pool)
            return


class _Rest(NamedTuple):
    """What follows a document of a file."""

    reader: WindowReader
    stream: BinaryIO
    name: str
    meaning: Meaning

    def sequential(self, text: Iterator[bytes], behind: Place) -> Iterator[Row]:
        """Yield the documents of a text in this process."""
        reader = WindowReader(_Joined(text), self.name, DocumentParser.of(self.meaning), behind)
        return map(row_of, reader.further(is_array=self.reader.is_array))


class _Joined:
    """Some texts as one."""

    def __init__(self, texts: Iterator[bytes]) -> None:
        self._texts = texts

    def read(self, size: int, /) -> bytes:
        """Return the next of the texts that is not empty, whatever the size; nothing behind the last one."""
        return next(filter(None, self._texts), b"") if size else b""


def _in_pieces(rest: _Rest, start_pool: StartPool) -> Iterator[Row]:
    is_array = rest.reader.is_array
    behind = rest.reader.place
    division = _Division(rest.reader.rest(), rest.stream, is_array=is_array)
    pieces = (_Piece(data, is_array, rest.meaning) for data in division.pieces())
    results = start_pool().each(parse_piece, pieces)
    for piece, rows in results:
        if rows is None:
            texts = (each.data for each, _rows in results)
            yield from rest.sequential(_chained(piece.data, texts, division), behind)
            return
        yield from rows
        behind = _moved(behind, piece.data, len(rows))
    yield from rest.sequential(division.remainder(), behind)


def _moved(place: Place, text: bytes, documents: int) -> Place:
    """Return the place behind a text that follows a place and ends with a document."""
    _, line_end, line = text.rpartition(b"\n")
    column = len(line.decode()) + (0 if line_end else place.column)
    return Place(place.number + documents, place.lines + text.count(b"\n"), column)


def _chained(first: bytes, following: Iterator[bytes], division: "_Division") -> Iterator[bytes]:
    yield first
    yield from following
    yield from division.remainder()


class _Division:
    """Divides a text into pieces that end with a document, as far as counting can say."""

    def __init__(self, text: bytes, stream: BinaryIO, *, is_array: bool) -> None:
        self._text = text
        self._stream = stream
        self._ends = _IN_ARRAY if is_array else _IN_SEQUENCE

    def pieces(self) -> Iterator[bytes]:
        """Yield the pieces; what is left behind the last one is the `remainder`."""
        # Doubling what is read keeps the work linear for a document much longer than a block.
        while len(self._text) <= LONGEST and (data := self._stream.read(max(_BLOCK, len(self._text)))):
            self._text += data
            end = last_end(self._text, self._ends)
            if end:
                piece, self._text = self._text[:end], self._text[end:]
                yield piece

    def remainder(self) -> Iterator[bytes]:
        """Yield the text behind the last piece."""
        yield self._text
        while data := self._stream.read(_BLOCK):
            yield data


def last_end(text: bytes, ends: "re.Pattern[bytes]") -> int:
    """Return where a document ends for the last time in a text that begins behind one; 0 if no further one begins in it.

    Braces are counted, those in strings too, which nearly always come in pairs; where they do not, strings are left out.
    """
    return _last_balanced(text, ends) or _last_balanced(_without_strings(text), ends)


def _last_balanced(text: bytes, ends: "re.Pattern[bytes]") -> int:
    candidates = [found.end() for found in ends.finditer(text)]
    if not candidates:
        return 0
    until = candidates.pop()
    depth = text.count(b"{", 0, until) - text.count(b"}", 0, until)
    while depth and candidates:
        end = candidates.pop()
        depth -= text.count(b"{", end, until) - text.count(b"}", end, until)
        until = end
    return 0 if depth else until


def _without_strings(text: bytes) -> bytes:
    """Return a text with dashes in its strings; one that is cut off is left out, with what follows."""
    blanked = _STRING.sub(lambda found: _QUOTE + b"-" * len(found[1]) + _QUOTE, text)
    return blanked.partition(b'"')[0].replace(_QUOTE, b'"')


def parse_piece(piece: _Piece) -> list[Row] | None:
    """Return the documents of a piece; None: it does not end with a document, or something is wrong. Workers do this."""
    parser = DocumentParser.of(piece.meaning)
    if piece.is_array:
        text = piece.data.lstrip(_BLANK)
        documents = parser.read_array(b"[" + text[1:] + b"]") if text.startswith(b",") else None
        if documents is not None:
            return list(map(row_of, documents))
    reader = WindowReader(_Joined(iter((piece.data,))), "", parser, Place(0, 0, 0))
    try:
        return list(map(row_of, reader.piece(is_array=piece.is_array)))
    except BrokenDocument:
        return None
