"""Extended JSON by a fast parser and writer, for documents of usual values; all others are left to `extended_json`.

What is read or written here is what `extended_json` would read or write, which property tests compare. The parser keeps one of two
equal names in silence and makes floats of whole numbers beyond 64 bits; both are noticed here, and such a line is declined.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from booking_migrate.bson.document import Document
from booking_migrate.stores.files.type_wrappers import JsonObject, NotADocument, Values

_EXACT = 1 << 53
"""From here on, a float may stand for a whole number with more digits."""

_ESCAPED_COLON = b"\\u003"
_INT = re.compile(r"0|[1-9][0-9]{0,8}").fullmatch
_INT64 = re.compile(r"0|[1-9][0-9]{0,17}").fullmatch
"""This number of digits fits into 32 and 64 bits, whatever they are."""

_DEEPEST = 100
"""How deep documents may nest here, so that the other parser can read what this one can; that one gets what is deeper."""

_ID_BYTES = 12
_DATE, _LONG = "$date", "$numberLong"


class Declined(Exception):
    """A document with unusual values."""


@lru_cache(maxsize=1 << 14)
def _object_id(text: Any) -> ObjectId:
    try:
        # It takes blanks between digits, and then there are fewer of these.
        raw = bytes.fromhex(text)
    except (TypeError, ValueError):
        raise Declined from None
    if len(raw) != _ID_BYTES or len(text) != 2 * _ID_BYTES:
        raise Declined
    return ObjectId(raw)


@lru_cache(maxsize=1 << 12)
def _int(text: Any) -> int:
    if type(text) is not str or _INT(text) is None:
        raise Declined
    return int(text)


def _long(text: Any) -> int:
    if type(text) is not str or _INT64(text) is None:
        raise Declined
    return int(text)


def _date(value: Any) -> DatetimeMS:
    if type(value) is dict and len(value) == 1 and _LONG in value:
        return DatetimeMS(_long(value[_LONG]))
    if type(value) is not str:
        raise Declined
    date: DatetimeMS = _other(_DATE)(value)
    return date


def _other(name: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        try:
            return Values(JsonObject()).read_fields({"": JsonObject([(name, value)])})[""]
        except NotADocument:
            raise Declined from None

    return read


READERS: Mapping[str, Callable[[Any], Any]] = {
    "$oid": _object_id,
    "$numberInt": _int,
    _LONG: lambda text: Int64(_long(text)),
    "$numberDecimal": _other("$numberDecimal"),
    "$numberDouble": _other("$numberDouble"),
    _DATE: _date,
}
"""The usual wrappers, with what reads the value of one that is alone in its object."""


class FastParser:
    """Reads lines whose meaning is settled."""

    def __init__(self, wrappers: Mapping[str, Callable[[Any], Any]] | None) -> None:
        """Take the wrappers that are read; a line with any other is declined. None: ``$`` is a character like others."""
        self._readers = wrappers or {}
        self._is_literal = wrappers is None
        self._colons = 0

    def read(self, line: bytes) -> Document | None:
        """Return the document of a line with BSON values; None if the line is declined, whatever the reason."""
        read = self._read(line)
        return read if type(read) is dict and self._takes(line, (read,)) else None

    def read_array(self, text: bytes) -> list[Document] | None:
        """Return the documents of an array with BSON values; None if one of them is declined."""
        read = self._read(text)
        return read if type(read) is list and self._takes(text, read) else None

    def _read(self, text: bytes) -> Any:
        try:
            return orjson.loads(text)
        except (orjson.JSONDecodeError, RecursionError):
            return None

    def _takes(self, text: bytes, documents: Sequence[Any]) -> bool:
        """Read the values of a text's documents in place; return False if one of them is declined."""
        self._colons = 0
        try:
            for fields in documents:
                if type(fields) is not dict:
                    return False
                self._read_fields(fields, _DEEPEST)
        except (Declined, RecursionError):
            return False
        # Each name is followed by a colon, also one that occurs twice and is lost. Few lines have any escape.
        return self._colons == text.count(b":") and not (b"\\" in text and _ESCAPED_COLON in text)

    def _read_fields(self, fields: Document, levels: int) -> None:
        """Read the values of an object in place, and count the colons that belong to it; this number of levels may be below it."""
        colons, readers = len(fields), self._readers
        for name, value in fields.items():
            kind = type(value)
            if kind is str:
                if ":" in value:
                    colons += value.count(":")
            elif kind is dict:
                wrapper = next(iter(value)) if len(value) == 1 else ""
                reader = readers.get(wrapper)
                if reader is None:
                    self._read_object(value, levels)
                    continue
                inner = value[wrapper]
                if type(inner) is str:
                    colons += 1 if wrapper != _DATE else 1 + inner.count(":")
                    fields[name] = reader(inner)
                elif wrapper == _DATE:
                    colons += 2
                    fields[name] = _date(inner)
                else:
                    raise Declined
            elif kind is list:
                fields[name] = self._read_list(value, levels)
            elif kind is float:
                _check_float(value)
        self._colons += colons

    def _read_object(self, fields: Document, levels: int) -> None:
        if not levels or (not self._is_literal and any(name[:1] == "$" for name in fields)):
            raise Declined
        self._read_fields(fields, levels - 1)

    def _read_list(self, values: list[Any], levels: int) -> list[Any]:
        """Return the elements of an array, read as the fields of an object are."""
        if not levels:
            raise Declined
        fields = {str(number): value for number, value in enumerate(values)}
        self._read_fields(fields, levels - 1)
        self._colons -= len(fields)
        return list(fields.values())


def _check_float(number: float) -> None:
    if not 0 < abs(number) < _EXACT:
        raise Declined


def write_line(fields: Document) -> bytes:
    """Return a decoded document as canonical Extended JSON without a line end.

    Raises:
        Declined: it has unusual values.
    """
    try:
        return orjson.dumps(_written(fields))
    except (KeyError, orjson.JSONEncodeError, RecursionError):
        raise Declined from None


def _written(fields: Document) -> Document:
    return {
        name: value if type(value) is str else _WRITERS[type(value)](value) for name, value in fields.items()
    }


def _written_list(values: list[Any]) -> list[Any]:
    return [_WRITERS[type(value)](value) for value in values]


def _same(value: Any) -> Any:
    return value


def _written_float(number: float) -> Document:
    if not math.isfinite(number):
        raise Declined
    return {"$numberDouble": repr(number)}


_WRITERS: Mapping[type, Callable[[Any], Any]] = {
    str: _same,
    bool: _same,
    type(None): _same,
    ObjectId: lambda value: {"$oid": str(value)},
    int: lambda value: {"$numberInt": str(value)},
    Int64: lambda value: {"$numberLong": str(value)},
    DatetimeMS: lambda value: {"$date": {"$numberLong": str(int(value))}},
    Decimal128: lambda value: {"$numberDecimal": str(value)},
    float: _written_float,
    dict: _written,
    list: _written_list,
}
