"""JSON texts to BSON documents and back (MongoDB Extended JSON v2, and plain JSON), one by one and by the file.

Written is canonical Extended JSON, by `bson.json_util`. Read is canonical, relaxed or plain; `type_wrappers` says what a
wrapper is. A file is *plain* when its first document has no wrapper; then known ids and dates are strings. A file that
was only guessed to be plain and has a wrapper further down is refused, because either reading could be meant and one of
them would change every id of the file; ``--json-format`` settles it. Said to be plain by hand, ``$`` is a character like
others. One mixture is read: what JavaScript's ``JSON.stringify`` makes of documents, whose ids and dates are plain strings
beside ``$numberDecimal``.

Refused rather than changed: a name that occurs twice in an object, NaN and infinities as JSON literals, whole numbers
beyond 64 bits, malformed wrappers, and the deprecated types that `bson` cannot keep (``$symbol``, ``$undefined``,
``$dbPointer``).

A file has one document a line, or one array, or documents that take several lines each. None is ever held in memory whole.
"""

import codecs
import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO

from bson import decode, json_util
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from bson.int64 import Int64
from bson.json_util import JSONMode, JSONOptions
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument

from booking_migrate.bson.document import CODEC, Document, read_exactly, write_fields
from booking_migrate.errors import BrokenDocument
from booking_migrate.stores.files.opening import LARGEST_DOCUMENT, FileDocument, is_shell_syntax
from booking_migrate.stores.files.type_wrappers import (
    HEX_ID,
    JsonObject,
    NotADocument,
    Values,
    finite,
    milliseconds,
    named,
    wrappers_in,
)
from booking_migrate.stores.places import JsonFormat, export_advice

ID_FIELDS = frozenset({"_id", "clientId", "expertId", "userId", "sessionId", "legacyBookingId"})
"""The fields whose strings of 24 hex digits are ObjectIds in a plain file."""

DATE_FIELDS = frozenset({"scheduledDate", "createdAt", "updatedAt", "cancellationTime"})
"""The fields whose ISO 8601 strings are dates in a plain file."""

_OPTIONS: JSONOptions = JSONOptions(
    json_mode=JSONMode.CANONICAL,
    datetime_conversion=CODEC.datetime_conversion,
    document_class=dict,
    tz_aware=False,
)
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument, datetime_conversion=CODEC.datetime_conversion
)
_NUMERIC = frozenset({"$numberInt", "$numberLong", "$numberDouble", "$numberDecimal"})
_OF_STRINGIFY = frozenset({"$numberDecimal", "$numberLong"})
"""The wrappers that documents have whose ids, dates and other numbers are plain."""

_ISO_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)
_SURVIVING = frozenset({ObjectId, str, int, Int64, bool, type(None), DatetimeMS, float})

_LONGEST = 12 * LARGEST_DOCUMENT
"""No text of a document is longer, in bytes: canonical wrappers take at most that much more than BSON."""

_CHUNK = 1 << 18
_NEAR_END = 16
"""A text that is merely cut off fails at its end; a cut ``-Infinity`` or ``\\uXXXX`` fails some characters before."""

_IN_A_STRING = "Unterminated string"
_BLANK = re.compile(r"[ \t\r\n]*")


def to_json(raw: bytes) -> str:
    """Write a BSON document as canonical Extended JSON on one line, without a line end."""
    # Decoded as a whole, what resembles a DBRef would become one and change.
    document = decode(raw, CODEC) if b"$ref" not in raw else RawBSONDocument(raw, _RAW)
    return json_util.dumps(document, json_options=_OPTIONS, ensure_ascii=False, separators=(",", ":"))


def survives_extended_json(raw: bytes) -> bool:
    """Return whether a BSON document comes back from canonical Extended JSON byte for byte.

    Deprecated types, invalid UTF-8, names that occur twice, a NaN with a payload, and sub-documents that look like a
    ``$`` wrapper do not (https://www.mongodb.com/docs/manual/reference/mongodb-extended-json).
    """
    fields = read_exactly(raw)
    if fields is not None and _is_flat(fields):
        return True
    try:
        return DocumentParser(JsonFormat.EXTENDED).read(to_json(raw), 0)[0].raw == raw
    except (BSONError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        return False


def _is_flat(fields: Document) -> bool:
    """Return whether a document is of plain scalars only, so that no round trip is needed to know that it survives."""
    values = fields.values()
    return (
        set(map(type, values)) <= _SURVIVING
        and not any(name.startswith("$") for name in fields)
        and all(math.isfinite(value) for value in values if type(value) is float)
    )


class DocumentParser:
    """Reads the documents of one file; the first one may settle what the others mean."""

    def __init__(self, json_format: JsonFormat | None) -> None:
        self._is_settled = json_format is not None
        self._plain = json_format is JsonFormat.PLAIN
        self._wrappers: frozenset[str] | None = None
        """The wrappers that may occur; None: all."""

        self._is_literal = self._plain
        """Whether ``$`` is a character like others."""

    def read(self, text: str, start: int) -> tuple[FileDocument, int]:
        """Read the document that begins at ``start``; return it and where it ends.

        Raises:
            json.JSONDecodeError: the text is not JSON, or ends too early; the error has the position.
            NotADocument: it is JSON, but not a document.
        """
        try:
            value, end = (_LITERAL if self._is_literal else _WRAPPED).raw_decode(text, start)
            fields = self._fields(value)
        except RecursionError:
            raise NotADocument("it nests too deep") from None
        if self._plain:
            _read_known_fields(fields)
        return FileDocument(_encode(fields), fields), end

    def _fields(self, value: Any) -> Document:
        if type(value) is dict:
            return value
        if type(value) is not JsonObject:
            raise NotADocument(f"a document is expected here, not {_kind(value)}")
        if not self._is_settled:
            self._settle(value)
        return Values(value, self._wrappers).read()

    def _settle(self, document: JsonObject) -> None:
        found = set(wrappers_in(document))
        has_plain_dates = found <= _NUMERIC and _has_plain_dates(dict(document))
        if found - _OF_STRINGIFY and has_plain_dates:
            raise NotADocument(
                f"plain dates beside {min(found - _OF_STRINGIFY)} wrappers; say --json-format extended or plain"
            )
        self._plain = not found or has_plain_dates
        if self._plain:
            self._wrappers = _OF_STRINGIFY if has_plain_dates else frozenset()
        self._is_settled = True


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "an array (a file of one array is named .json)"
    return "a single value"


def _encode(fields: Document) -> bytes:
    try:
        # In a document from BSON half a pair in a name stands for a byte, and would be written as one.
        "".join(fields).encode()
        raw = write_fields(fields)
    except OverflowError:
        raise NotADocument("a whole number does not fit into 64 bits") from None
    except UnicodeError:
        raise NotADocument("a string holds half of a surrogate pair") from None
    except RecursionError:
        raise NotADocument("it nests too deep") from None
    except BSONError:
        raise NotADocument("it cannot be a BSON document: a field name holds a NUL character") from None
    if len(raw) > LARGEST_DOCUMENT:
        raise NotADocument("it is larger than any MongoDB document")
    return raw


def _has_plain_dates(fields: Document) -> bool:
    return any(
        isinstance(fields.get(name), str) and _ISO_DATE.fullmatch(fields[name]) for name in DATE_FIELDS
    )


def _read_known_fields(fields: Document) -> None:
    """Turn known ids and dates from strings into values, in a plain document and in its sessions."""
    sessions = fields.get("sessions")
    parts = (
        [fields, *(part for part in sessions if isinstance(part, dict))]
        if type(sessions) is list
        else [fields]
    )
    for part in parts:
        for name in part.keys() & ID_FIELDS:
            if isinstance(part[name], str) and HEX_ID.fullmatch(part[name]):
                part[name] = ObjectId(part[name])
        for name in part.keys() & DATE_FIELDS:
            if isinstance(part[name], str) and _ISO_DATE.fullmatch(part[name]):
                part[name] = _date(part[name])


def _date(text: str) -> DatetimeMS | str:
    """Return the date that an ISO 8601 text means, UTC unless it has an offset; the text itself if it is not a date."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # The 30th of February, or the year 0: the contract rejects the string it stays.
        return text
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return DatetimeMS(milliseconds(moment))


def _constant(name: str) -> Any:
    raise NotADocument(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = finite(text)
    if number is None:
        raise NotADocument("a number is out of a double's range")
    return number


def _named(pairs: list[tuple[str, Any]]) -> Document:
    return named(JsonObject(pairs))


_WRAPPED = json.JSONDecoder(object_pairs_hook=JsonObject, parse_constant=_constant, parse_float=_finite)
_LITERAL = json.JSONDecoder(object_pairs_hook=_named, parse_constant=_constant, parse_float=_finite)


def read_lines(stream: BinaryIO, name: str, json_format: JsonFormat | None) -> Iterator[FileDocument]:
    """Yield the documents of a JSON lines file. Blank lines and a byte order mark are skipped.

    Raises:
        BrokenDocument: with the line's number, counted from 1.
    """
    parser = DocumentParser(json_format)
    number = 0
    while line := stream.readline(_LONGEST):
        number += 1
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.isspace() or not line:
            continue
        try:
            yield _read_line(parser, line)
        except NotADocument as error:
            raise BrokenDocument(name, f"line {number}", str(error)) from None
        except json.JSONDecodeError as error:
            cut_off = "the line ends within a document; documents of several lines are read from a .json file"
            raise _no_json(name, f"line {number}", error, cut_off) from None
        except UnicodeDecodeError as error:
            raise BrokenDocument(name, f"line {number}", _encoding_problem(error)) from None


def _read_line(parser: DocumentParser, line: bytes) -> FileDocument:
    if len(line) >= _LONGEST:
        raise NotADocument("the line is longer than any document")
    text = line.decode("utf-8")
    document, end = parser.read(text, _skip_blank(text, 0))
    end = _skip_blank(text, end)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return document


def _skip_blank(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _no_json(name: str, position: str, error: json.JSONDecodeError, cut_off: str) -> BrokenDocument:
    """Return the error for a text that is not JSON; its message is ``cut_off`` if the text ends inside a value."""
    if is_shell_syntax(error):
        return BrokenDocument(name, position, "it is in mongo shell syntax, not JSON", export_advice(name))
    if error.msg.startswith(_IN_A_STRING) or error.pos >= len(error.doc.rstrip()):
        return BrokenDocument(name, position, cut_off, export_advice(name))
    return BrokenDocument(name, position, f"no JSON: {error.msg} at column {error.colno}")


def _encoding_problem(error: UnicodeDecodeError) -> str:
    return f"not UTF-8: byte 0x{error.object[error.start]:02x}"


def is_pretty_printed(head: bytes) -> bool:
    """Return whether a file that begins like this has documents of several lines: its first line is a mere brace."""
    first, end, _rest = head.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")
    return bool(end) and first.rstrip() == b"{"


def read_array(stream: BinaryIO, name: str, json_format: JsonFormat | None) -> Iterator[FileDocument]:
    """Yield the documents of one JSON array, or those that follow one another without one, one at a time.

    The first character decides which of the two is read. Documents may take several lines.

    Raises:
        BrokenDocument: with the document's number and line, both counted from 1; or there is neither.
    """
    return _WindowReader(stream, name, DocumentParser(json_format)).documents()


class _WindowReader:
    """A window over the text of a file, moved along from document to document."""

    def __init__(self, stream: BinaryIO, name: str, parser: DocumentParser) -> None:
        self._stream = stream
        self._name = name
        self._parser = parser
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._position = 0
        self._lines_before = 0
        """Line ends in the text that has left the window."""

        self._number = 0
        self._at_end = False

    def documents(self) -> Iterator[FileDocument]:
        opening = self._next_character()
        if opening == "{":
            yield from self._one_after_the_other()
            return
        if opening != "[":
            raise self._broken(
                "an array or a document is expected here"
                if opening
                else "the file is empty: it holds no array"
            )
        self._position += 1
        if self._next_character() != "]":
            yield from self._elements()
        self._position += 1
        if self._next_character():
            raise self._broken("something follows the array")

    def _one_after_the_other(self) -> Iterator[FileDocument]:
        while self._next_character():
            self._number += 1
            yield self._read_document()

    def _elements(self) -> Iterator[FileDocument]:
        while True:
            self._number += 1
            yield self._read_document()
            separator = self._next_character()
            if separator == "]":
                return
            if separator != ",":
                raise self._broken(
                    "a comma or the array's end is expected" if separator else "the array has no end"
                )
            self._position += 1

    def _read_document(self) -> FileDocument:
        if self._next_character() != "{":
            raise self._broken("the array has no end" if self._at_end else "a document is expected here")
        while True:
            try:
                document, self._position = self._parser.read(self._text, self._position)
            except NotADocument as error:
                raise self._broken(str(error)) from None
            except json.JSONDecodeError as error:
                if self._at_end or not self._is_cut_off(error):
                    where = self._broken("", error.pos).position
                    raise _no_json(self._name, where, error, self._cut_off()) from None
                if len(self._text) - self._position > _LONGEST:
                    raise self._broken("longer than any document") from None
                # Doubling what is read keeps the work linear for a document much longer than the window.
                self._read_more(max(_CHUNK, len(self._text) - self._position))
            else:
                return document

    def _cut_off(self) -> str:
        is_pretty = "\n" in self._text[self._position :].rstrip()
        return f"the file ends within this {'pretty-printed ' if is_pretty else ''}document"

    def _is_cut_off(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith(_IN_A_STRING) or error.pos >= len(self._text) - _NEAR_END

    def _next_character(self) -> str:
        """Return the next character that is not blank, where the window then stands; empty at the file's end."""
        while True:
            self._position = _skip_blank(self._text, self._position)
            if self._position < len(self._text):
                return self._text[self._position]
            if self._at_end:
                return ""
            self._read_more(_CHUNK)

    def _read_more(self, size: int) -> None:
        self._lines_before += self._text.count("\n", 0, self._position)
        self._text = self._text[self._position :]
        self._position = 0
        data = self._stream.read(size)
        self._at_end = not data
        try:
            self._text += self._decoder.decode(data, final=self._at_end)
        except UnicodeDecodeError as error:
            line = self._lines_before + self._text.count("\n") + error.object.count(b"\n", 0, error.start) + 1
            raise BrokenDocument(self._name, f"line {line}", _encoding_problem(error)) from None

    def _broken(self, problem: str, position: int | None = None) -> BrokenDocument:
        until = self._position if position is None else position
        line = self._lines_before + self._text.count("\n", 0, until) + 1
        where = f"document {self._number}, line {line}" if self._number else f"line {line}"
        return BrokenDocument(self._name, where, problem)
