"""One JSON text to one BSON document and back (MongoDB Extended JSON v2, and plain JSON).

Written is canonical Extended JSON, by `bson.json_util`. Read is canonical, relaxed or plain. A file is *plain* when its
first document has no name that begins with ``$``; then known ids and dates are strings (DESIGN.md, section 4). A file
that was only guessed to be plain and has such a name further down is refused, because either reading could be meant and
one of them would change every id of the file; ``--json-format`` settles it. Said to be plain by hand, ``$`` is a
character like others.

Refused rather than changed: a name that occurs twice in an object, NaN and infinities as JSON literals, whole numbers
beyond 64 bits, and the deprecated types that `bson` cannot keep (``$symbol``, ``$undefined``, ``$dbPointer``).
"""

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import decode, json_util
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from bson.int64 import Int64
from bson.json_util import JSONMode, JSONOptions
from bson.objectid import ObjectId

from booking_migrate.domain.bson_document import CODEC, MAXIMUM_SIZE, Document, read_exactly, write_fields
from booking_migrate.stores.files import FileDocument
from booking_migrate.stores.places import JsonFormat

ID_FIELDS = frozenset({"_id", "clientId", "expertId", "userId", "sessionId", "legacyBookingId"})
"""The fields whose strings of 24 hex digits are ObjectIds in a plain file."""

DATE_FIELDS = frozenset({"scheduledDate", "createdAt", "updatedAt", "cancellationTime"})
"""The fields whose ISO 8601 strings are dates in a plain file."""

SIZE_LIMIT = MAXIMUM_SIZE + 16 * 1024
"""The largest BSON document read from a file, in bytes: what a server may send, with its own overhead."""

_OPTIONS: JSONOptions = JSONOptions(
    json_mode=JSONMode.CANONICAL,
    datetime_conversion=CODEC.datetime_conversion,
    document_class=dict,
    tz_aware=False,
)
_DEPRECATED = frozenset({"$symbol", "$undefined", "$dbPointer"})
_HEX_ID = re.compile(r"[0-9a-fA-F]{24}")
_ISO_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SURVIVING = frozenset({ObjectId, str, int, Int64, bool, type(None), DatetimeMS, float})


class NotADocument(ValueError):
    """A JSON text that is no document; the text says why and quotes nothing of it."""


def to_json(raw: bytes) -> str:
    """Write a BSON document as canonical Extended JSON on one line, without a line end."""
    return json_util.dumps(
        decode(raw, CODEC), json_options=_OPTIONS, ensure_ascii=False, separators=(",", ":")
    )


def survives_extended_json(raw: bytes) -> bool:
    """Whether a BSON document comes back from canonical Extended JSON byte for byte.

    Deprecated types, invalid UTF-8, names that occur twice, a NaN with a payload, and sub-documents that look like a
    ``$`` wrapper do not (https://www.mongodb.com/docs/manual/reference/mongodb-extended-json).
    """
    fields = read_exactly(raw)
    if fields is not None and _is_flat(fields):
        return True
    try:
        return write_fields(_EXTENDED.decode(to_json(raw))) == raw
    except (BSONError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        return False


def _is_flat(fields: Document) -> bool:
    """Whether a document is of plain scalars only, so that no round trip is needed to know that it survives."""
    values = fields.values()
    return (
        set(map(type, values)) <= _SURVIVING
        and not any(name.startswith("$") for name in fields)
        and all(math.isfinite(value) for value in values if type(value) is float)
    )


class DocumentParser:
    """Reads the documents of one file; the first one may settle what the others mean."""

    def __init__(self, json_format: JsonFormat | None) -> None:
        self._decoder = _DECODERS.get(json_format) if json_format else None
        self._plain = json_format is JsonFormat.PLAIN

    def read(self, text: str, start: int) -> tuple[FileDocument, int]:
        """Read the document that begins at ``start``; return it and where it ends.

        Raises:
            json.JSONDecodeError: the text is no JSON, or ends too early; it knows where.
            NotADocument: it is JSON, but no document.
        """
        try:
            if self._decoder is None:
                self._settle(text, start)
            decoder = self._decoder or _PLAIN
            fields, end = decoder.raw_decode(text, start)
        except RecursionError:
            raise NotADocument("it nests too deep") from None
        if not isinstance(fields, dict):
            raise NotADocument(f"a document is expected here, not {_kind(fields)}")
        if self._plain:
            _read_known_fields(fields)
        return FileDocument(_encode(fields), fields), end

    def _settle(self, text: str, start: int) -> None:
        value, _end = _PLAIN.raw_decode(text, start)
        self._plain = not _has_wrapper(value)
        self._decoder = _GUESSED_PLAIN if self._plain else _EXTENDED


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
    if len(raw) > SIZE_LIMIT:
        raise NotADocument("it is larger than any MongoDB document")
    return raw


def _has_wrapper(value: Any) -> bool:
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if any(name.startswith("$") for name in value):
                return True
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    return False


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
            if isinstance(part[name], str) and _HEX_ID.fullmatch(part[name]):
                part[name] = ObjectId(part[name])
        for name in part.keys() & DATE_FIELDS:
            if isinstance(part[name], str) and _ISO_DATE.fullmatch(part[name]):
                part[name] = _date(part[name])


def _date(text: str) -> DatetimeMS | str:
    """The date that an ISO 8601 text means, UTC unless it says otherwise; the text itself if there is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # The 30th of February, or the year 0: the contract rejects the string it stays.
        return text
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return DatetimeMS((moment - _EPOCH) // _MILLISECOND)


def _unique(pairs: list[tuple[str, Any]]) -> Document:
    """An object as a dict. JSON readers silently keep one of two equal names, which would lose a value."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise NotADocument("a field name occurs twice in one object")
    return fields


def _extended(pairs: list[tuple[str, Any]]) -> Any:
    fields = _unique(pairs)
    try:
        value = json_util.object_hook(fields, _OPTIONS)
    except (BSONError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
        wrapper = next(name for name in fields if name.startswith("$"))
        raise NotADocument(f"a {wrapper} wrapper is malformed") from None
    if value is not fields and not _DEPRECATED.isdisjoint(fields):
        raise NotADocument("a deprecated type ($symbol, $undefined, $dbPointer) is kept by .bson files only")
    return value


def _guessed_plain(pairs: list[tuple[str, Any]]) -> Document:
    fields = _unique(pairs)
    if any(name.startswith("$") for name in fields):
        raise NotADocument(
            "a $ wrapper in a file whose first document has none; say --json-format extended or plain"
        )
    return fields


def _constant(name: str) -> Any:
    raise NotADocument(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise NotADocument("a number is too large for a double")
    return number


def _decoder(hook: Callable[[list[tuple[str, Any]]], Any]) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=hook, parse_constant=_constant, parse_float=_finite)


_EXTENDED = _decoder(_extended)
_PLAIN = _decoder(_unique)
_GUESSED_PLAIN = _decoder(_guessed_plain)
_DECODERS = {JsonFormat.EXTENDED: _EXTENDED, JsonFormat.PLAIN: _PLAIN}
