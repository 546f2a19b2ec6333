"""Reading whole JSON files of one array, or of documents that take several lines each. None of them is ever held in memory as a whole."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from booking_migrate.errors import BrokenDocument
from booking_migrate.stores.files.extended_json import DocumentParser
from booking_migrate.stores.files.opening import LARGEST_DOCUMENT, FileDocument, is_shell_syntax
from booking_migrate.stores.files.type_wrappers import NotADocument
from booking_migrate.stores.places import export_advice

LONGEST = 12 * LARGEST_DOCUMENT
"""No text of a document is longer, in bytes: canonical wrappers take at most that much more than BSON."""

_CHUNK = 1 << 18
_NEAR_END = 16
"""A text that is merely cut off fails at its end; a cut ``-Infinity`` or ``\\uXXXX`` fails some characters before."""

_IN_A_STRING = "Unterminated string"
_BLANK = re.compile(r"[ \t\r\n]*")
_PERHAPS_NEXT = re.compile(r"\}[ \t\r\n]*,?[ \t\r\n]*\{")
"""Between two documents, and between two objects of an array within one, too."""


def skip_blank(text: str, position: int) -> int:
    """Return the index of the next character that is not blank, or the text's end."""
    match = _BLANK.match(text, position)
    return match.end() if match else position


def no_json(
    name: str, position: str, error: json.JSONDecodeError, cut_off: str, column: int
) -> BrokenDocument:
    """Return the error for a text that is not JSON; its message is ``cut_off`` if the text ends inside a value."""
    if is_shell_syntax(error):
        return BrokenDocument(name, position, "it is in mongo shell syntax, not JSON", export_advice(name))
    if error.msg.startswith(_IN_A_STRING) or error.pos >= len(error.doc.rstrip()):
        return BrokenDocument(name, position, cut_off, export_advice(name))
    return BrokenDocument(name, position, f"no JSON: {error.msg} at column {column}")


def encoding_problem(error: UnicodeDecodeError) -> str:
    """Return what is wrong with bytes that are not UTF-8."""
    return f"not UTF-8: byte 0x{error.object[error.start]:02x}"


def is_pretty_printed(head: bytes) -> bool:
    """Return whether a file that begins like this has documents of several lines: its first line is a mere brace."""
    first, end, _rest = head.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")
    return bool(end) and first.rstrip() == b"{"


class Readable(Protocol):
    """Bytes that are read from the front."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes, about this number; none at the end."""


class Place(NamedTuple):
    """The end of a document within a file."""

    number: int
    """How many documents end there or before."""

    lines: int
    """How many lines end before."""

    column: int
    """How many characters its last line has up to there."""


class WindowReader:
    """A window over the text of a file, moved along from document to document."""

    def __init__(
        self, stream: Readable, name: str, parser: DocumentParser, behind: Place | None = None
    ) -> None:
        """Take a stream.

        Args:
            stream: the file, or what follows a document in it.
            name: what to call the file.
            parser: reads its documents.
            behind: where the stream begins; None: at the file's start.
        """
        self._stream = stream
        self._name = name
        self._parser = parser
        self._decoder = codecs.getincrementaldecoder("utf-8" if behind else "utf-8-sig")()
        self._text = ""
        self._position = 0
        self._number, self._lines_before, self._column_before = behind or Place(0, 0, 0)
        """The number of the current document; of the text that has left the window, the line ends and the characters behind the last."""

        self._at_end = False
        self.is_array = True
        """Whether the file is an array, once its first document was read."""

        self.size = 0
        """How many bytes were read."""

    @property
    def place(self) -> Place:
        """Return where the document ends that was yielded last."""
        return Place(
            self._number,
            self._lines_before + self._text.count("\n", 0, self._position),
            self._column_at(self._position),
        )

    def rest(self) -> bytes:
        """Return what was read of the stream and follows the document that was yielded last."""
        undecoded, _state = self._decoder.getstate()
        return self._text[self._position :].encode() + undecoded

    def documents(self) -> Iterator[FileDocument]:
        """Yield the documents of one JSON array, or those that follow one another without one, one at a time.

        The first character decides which of the two is read. Documents may take several lines.

        Raises:
            BrokenDocument: with the document's number and line, both counted from 1; or there is neither.
        """
        opening = self._next_character()
        if opening == "{":
            self.is_array = False
            yield from self.further(is_array=False)
            return
        if opening != "[":
            raise self._broken(
                "an array or a document is expected here"
                if opening
                else "the file is empty: it holds no array"
            )
        self._position += 1
        if self._next_character() == "]":
            self._end_array()
            return
        self._number += 1
        yield self._read_document()
        yield from self.further(is_array=True)

    def further(self, *, is_array: bool) -> Iterator[FileDocument]:
        """Yield the documents that follow one, until the file ends."""
        while (separator := self._next_character()) != ("]" if is_array else ""):
            if is_array:
                if separator != ",":
                    raise self._broken(
                        "a comma or the array's end is expected" if separator else "the array has no end"
                    )
                self._position += 1
            self._number += 1
            yield self._read_document()
        if is_array:
            self._end_array()

    def piece(self, *, is_array: bool) -> Iterator[FileDocument]:
        """Yield the documents that follow one within a text that ends with a document."""
        while separator := self._next_character():
            if is_array:
                if separator != ",":
                    raise self._broken("a comma is expected")
                self._position += 1
            yield self._read_document()

    def _end_array(self) -> None:
        self._position += 1
        if self._next_character():
            raise self._broken("something follows the array")

    def _read_document(self) -> FileDocument:
        if self._next_character() != "{":
            raise self._broken("the array has no end" if self._at_end else "a document is expected here")
        while True:
            fast = self._read_fast()
            if fast is not None:
                return fast
            try:
                document, self._position = self._parser.read(self._text, self._position)
            except NotADocument as error:
                raise self._broken(str(error)) from None
            except json.JSONDecodeError as error:
                if self._at_end or not self._is_cut_off(error):
                    where = self._broken("", error.pos).position
                    column = self._column_at(error.pos) + 1
                    raise no_json(self._name, where, error, self._cut_off(), column) from None
                if len(self._text) - self._position > LONGEST:
                    raise self._broken("longer than any document") from None
                # Doubling what is read keeps the work linear for a document much longer than the window.
                self._read_more(max(_CHUNK, len(self._text) - self._position))
            else:
                return document

    def _read_fast(self) -> FileDocument | None:
        """Read a document by the fast parser; None if that declines it, or if it is the last one of the window.

        Any end that is tried will do: of all texts that begin here, only one is an object.
        """
        text, start = self._text, self._position
        opened = closed = 0
        counted = start
        for found in _PERHAPS_NEXT.finditer(text, start):
            end = found.start() + 1
            opened += text.count("{", counted, end)
            closed += text.count("}", counted, end)
            counted = end
            if opened == closed:
                document = self._parser.read_line(text[start:end].encode())
                if document is not None:
                    self._position = end
                return document
        return None

    def _cut_off(self) -> str:
        is_pretty = "\n" in self._text[self._position :].rstrip()
        return f"the file ends within this {'pretty-printed ' if is_pretty else ''}document"

    def _is_cut_off(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith(_IN_A_STRING) or error.pos >= len(self._text) - _NEAR_END

    def _next_character(self) -> str:
        """Return the next character that is not blank, where the window then begins; empty at the file's end."""
        while True:
            self._position = skip_blank(self._text, self._position)
            if self._position < len(self._text):
                return self._text[self._position]
            if self._at_end:
                return ""
            self._read_more(_CHUNK)

    def _read_more(self, size: int) -> None:
        self._column_before = self._column_at(self._position)
        self._lines_before += self._text.count("\n", 0, self._position)
        self._text = self._text[self._position :]
        self._position = 0
        data = self._stream.read(size)
        self.size += len(data)
        self._at_end = not data
        try:
            self._text += self._decoder.decode(data, final=self._at_end)
        except UnicodeDecodeError as error:
            line = self._lines_before + self._text.count("\n") + error.object.count(b"\n", 0, error.start) + 1
            raise BrokenDocument(self._name, f"line {line}", encoding_problem(error)) from None

    def _column_at(self, position: int) -> int:
        """Return how many characters of its line are before a position of the window."""
        line_end = self._text.rfind("\n", 0, position)
        return self._column_before + position if line_end < 0 else position - line_end - 1

    def _broken(self, problem: str, position: int | None = None) -> BrokenDocument:
        until = self._position if position is None else position
        line = self._lines_before + self._text.count("\n", 0, until) + 1
        where = f"document {self._number}, line {line}" if self._number else f"line {line}"
        return BrokenDocument(self._name, where, problem)
