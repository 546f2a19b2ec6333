"""One JSON text to one BSON document and back (MongoDB Extended JSON v2, and plain JSON).

Written is canonical Extended JSON, by `bson.json_util`. Read is canonical, relaxed or plain; `type_wrappers` says what a
wrapper is. A file is *plain* when its first document has no wrapper; then known ids and dates are strings. A file that
was only guessed to be plain and has a wrapper further down is refused, because either reading could be meant and one of
them would change every id of the file; ``--json-format`` settles it. Said to be plain by hand, ``$`` is a character like
others. One mixture is read: what JavaScript's ``JSON.stringify`` makes of documents, whose ids and dates are plain strings
beside ``$numberDecimal``.

Refused rather than changed: a name that occurs twice in an object, NaN and infinities as JSON literals, whole numbers
beyond 64 bits, malformed wrappers, and the deprecated types that `bson` cannot keep (``$symbol``, ``$undefined``,
``$dbPointer``).
"""

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from bson import decode, encode, json_util
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from bson.int64 import Int64
from bson.json_util import JSONMode, JSONOptions
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument

from booking_migrate.bson.document import CODEC, Document, read_exactly, write_fields
from booking_migrate.domain.contract import FIELDS
from booking_migrate.domain.kinds import Kind
from booking_migrate.stores.files.fast_json import READERS, Declined, FastParser, write_line
from booking_migrate.stores.files.opening import LARGEST_DOCUMENT, FileDocument
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
from booking_migrate.stores.places import JsonFormat

ID_FIELDS = frozenset(
    {
        "_id",
        "userId",
        "sessionId",
        "legacyBookingId",
        *(rule.name for rule in FIELDS if rule.kind is Kind.IDENTIFIER),
    }
)
"""The fields whose strings of 24 hex digits are ObjectIds in a plain file."""

DATE_FIELDS = frozenset(rule.name for rule in FIELDS if rule.kind is Kind.DATE)
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
_BEYOND_64_BITS = "a whole number does not fit into 64 bits"
_SURVIVING_AS_THEY_ARE = frozenset({ObjectId, str, int, Int64, bool, type(None), DatetimeMS})
_SURVIVING = _SURVIVING_AS_THEY_ARE | {float}


def to_json(raw: bytes) -> str:
    """Write a BSON document as canonical Extended JSON on one line, without a line end."""
    # Decoded as a whole, what resembles a DBRef would become one and change.
    document = decode(raw, CODEC) if b"$ref" not in raw else RawBSONDocument(raw, _RAW)
    if type(document) is dict:
        with suppress(Declined):
            return write_line(document).decode()
    return json_util.dumps(document, json_options=_OPTIONS, ensure_ascii=False, separators=(",", ":"))


def survives_extended_json(raw: bytes) -> bool:
    """Return whether a BSON document comes back from canonical Extended JSON byte for byte.

    Deprecated types, invalid UTF-8, names that occur twice, a NaN with a payload, and sub-documents that look like a
    ``$`` wrapper do not (https://www.mongodb.com/docs/manual/reference/mongodb-extended-json).
    """
    try:
        fields = read_exactly(raw)
        if fields is not None and _is_plain([fields]):
            return True
        return DocumentParser(JsonFormat.EXTENDED).read(to_json(raw), 0)[0].raw == raw
    except (BSONError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        return False


def _is_plain(values: Iterable[Any]) -> bool:
    """Return whether values are plain scalars, documents and arrays, so that no round trip is needed to know that they survive."""
    for value in values:
        kind = type(value)
        if kind is dict:
            # It might begin a name.
            if "$" in "".join(value) or not _is_plain_of(value.values()):
                return False
        elif kind is list:
            if not _is_plain_of(value):
                return False
        elif kind not in _SURVIVING or (kind is float and not math.isfinite(value)):
            return False
    return True


def _is_plain_of(values: Collection[Any]) -> bool:
    return _SURVIVING_AS_THEY_ARE.issuperset(map(type, values)) or _is_plain(values)


class Meaning(NamedTuple):
    """What the documents of a file mean. Goes to other processes."""

    is_plain: bool
    """Whether known ids and dates are strings."""

    is_literal: bool
    """Whether ``$`` is a character like others."""

    wrappers: frozenset[str] | None
    """The wrappers that may occur; None: all."""


class DocumentParser:
    """Reads the documents of one file; the first one may settle what the others mean."""

    def __init__(self, json_format: JsonFormat | None) -> None:
        self._is_settled = json_format is not None
        match json_format:
            case JsonFormat.PLAIN:
                self._plain = True
            case JsonFormat.EXTENDED | None:
                self._plain = False
        self._wrappers: frozenset[str] | None = None
        """The wrappers that may occur; None: all."""

        self._is_literal = self._plain
        """Whether ``$`` is a character like others."""

        self._fast: FastParser | None = None

    @classmethod
    @lru_cache(maxsize=1)
    def of(cls, meaning: Meaning) -> "DocumentParser":
        """Return the parser for further documents of a file whose first one was read."""
        parser = cls(JsonFormat.PLAIN if meaning.is_literal else JsonFormat.EXTENDED)
        parser._plain, parser._wrappers = meaning.is_plain, meaning.wrappers
        return parser

    @property
    def meaning(self) -> Meaning | None:
        """Return what documents mean; None: no document has settled that yet."""
        return Meaning(self._plain, self._is_literal, self._wrappers) if self._is_settled else None

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

    def read_line(self, line: bytes) -> FileDocument | None:
        """Read a line by the fast parser; None if it is left to `read`, which also says what is wrong with it."""
        fast = self._fast_parser()
        fields = None if fast is None else fast.read(line)
        return None if fields is None else self._encoded(fields)

    def read_array(self, text: bytes) -> list[FileDocument] | None:
        """Read a whole array by the fast parser; None if one of its documents is left to `read`."""
        fast = self._fast_parser()
        documents = None if fast is None else fast.read_array(text)
        if documents is None:
            return None
        encoded = [self._encoded(fields) for fields in documents]
        found = [document for document in encoded if document is not None]
        return found if len(found) == len(encoded) else None

    def _fast_parser(self) -> FastParser | None:
        if self._fast is None and self._is_settled:
            self._fast = FastParser(self._fast_wrappers())
        return self._fast

    def _encoded(self, fields: Document) -> FileDocument | None:
        if self._plain:
            _read_known_fields(fields)
        try:
            return FileDocument(_encode_plain(fields), fields)
        except NotADocument:
            return None

    def _fast_wrappers(self) -> Mapping[str, Callable[[Any], Any]] | None:
        if self._is_literal:
            return None
        return {
            name: reader
            for name, reader in READERS.items()
            if self._wrappers is None or name in self._wrappers
        }

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
        raise NotADocument(_BEYOND_64_BITS) from None
    except UnicodeError:
        raise NotADocument("a string holds half of a surrogate pair") from None
    except RecursionError:
        raise NotADocument("it nests too deep") from None
    except BSONError:
        raise NotADocument("it cannot be a BSON document: a field name holds a NUL character") from None
    if len(raw) > LARGEST_DOCUMENT:
        raise NotADocument("it is larger than any MongoDB document")
    return raw


def _encode_plain(fields: Document) -> bytes:
    """Encode what the fast parser has read: all of its values are plain ones, and nearly always `_id` comes first."""
    if next(iter(fields), None) == "_id":
        try:
            raw = encode(fields, codec_options=CODEC)
        except (BSONError, UnicodeError, OverflowError, RecursionError):
            return _encode(fields)
        if len(raw) <= LARGEST_DOCUMENT:
            return raw
    return _encode(fields)


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


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # Python takes some thousand digits.
        raise NotADocument(_BEYOND_64_BITS) from None


_WRAPPED = json.JSONDecoder(
    object_pairs_hook=JsonObject, parse_constant=_constant, parse_float=_finite, parse_int=_whole
)
_LITERAL = json.JSONDecoder(
    object_pairs_hook=named, parse_constant=_constant, parse_float=_finite, parse_int=_whole
)
