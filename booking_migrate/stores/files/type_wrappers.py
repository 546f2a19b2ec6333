"""JSON objects as written in a text, and the type wrappers of Extended JSON: the BSON value that each stands for.

The rules are those of the specification (https://github.com/mongodb/specifications, extended-json): an object below the
top level that has a wrapper's key must have exactly the wrapper's keys, with values of its types. Anything else with
such a key is refused, because reading it as something similar would change a value. An unknown ``$`` name, a `DBRef`
and whatever resembles one are documents. Legacy forms of version 1 (https://www.mongodb.com/docs/manual/reference/
mongodb-extended-json-v1) are read too: dates in milliseconds, ``$binary`` beside ``$type``, ``$regex`` beside
``$options``. In a document with wrappers that only version 2 has they are not: there the last one is a document.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

HEX_ID = re.compile(r"[0-9a-fA-F]{24}")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_DOUBLE = re.compile(r"(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)(?:[eE][+-]?[0-9]+)?")
_DECIMAL = re.compile(
    r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|[+-]?inf(?:inity)?|nan", re.IGNORECASE
)
_DATE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,3})0*)?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}(?:\1[0-9a-fA-F]{4}){2}\1[0-9a-fA-F]{12}")
_SUBTYPE = re.compile(r"[0-9a-fA-F]{1,2}")
_LEGACY_SUBTYPE = re.compile(r"(?:[fF]{6}(?=[89a-fA-F]))?[0-9a-fA-F]{1,2}")
"""Old versions of mongoexport sign-extend the subtypes from 80 on."""

_REGEX_OPTIONS = "ilmsux"

_LONGEST_PATH = 200
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class NotADocument(ValueError):
    """A JSON text that is not a document; the message says why and where, and quotes no value."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self._problem = problem
        self._path: list[str | int] = []

    def within(self, part: str | int) -> None:
        """Note the field or the position in an array that the problem is in, from the inside out."""
        self._path.append(part)

    def __str__(self) -> str:
        if not self._path:
            return self._problem
        path = "$" + "".join(map(_step, reversed(self._path)))
        return f"{path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + '...'}: {self._problem}"


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN_NAME.fullmatch(part) else f"[{json.dumps(part)}]"


class JsonObject(list[tuple[str, Any]]):
    """A JSON object as written: names and values in order, an array being a list. See `type_wrappers.Values`."""


def named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object as a dict. JSON readers silently keep one of two equal names, which would lose a value.

    Raises:
        NotADocument: a name occurs twice.
    """
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise NotADocument("a field name occurs twice in one object")
    return fields


def finite(text: str) -> float | None:
    """Return the double nearest to a decimal number, or None if only infinity or zero would be near one that is neither."""
    number = float(text)
    if number - number != 0 or (number == 0 and re.search(r"[1-9]", re.split("[eE]", text, maxsplit=1)[0])):
        return None
    return number


def wrappers_in(value: Any) -> Iterator[str]:
    """Yield the names of all wrappers within a value, valid or not. The value itself counts as a top-level document."""
    pending = [value]
    while pending:
        value = pending.pop()
        parts = [part for _name, part in value] if type(value) is JsonObject else value
        for part in parts:
            if type(part) is JsonObject:
                name = _wrapper_name(dict(part))
                if name:
                    yield name
                pending.append(part)
            elif type(part) is list:
                pending.append(part)


def _wrapper_name(fields: Mapping[str, Any]) -> str | None:
    if not _READERS.keys().isdisjoint(fields):
        return next(name for name in fields if name in _READERS)
    if fields.keys() == {"$regex", "$options"} and set(map(type, fields.values())) == {str}:
        return "$regex"
    return None


class Values:
    """Reads the values of one document, all wrappers in it or some of them."""

    def __init__(self, root: JsonObject, wrappers: frozenset[str] | None = None) -> None:
        """Take the document.

        Args:
            root: the whole document.
            wrappers: the names of the wrappers that may occur, any other being refused; None: all.
        """
        self._root = root
        self._wrappers = wrappers
        self._known_version_2: bool | None = None

    def read(self) -> dict[str, Any]:
        """Return the document with BSON values; the document itself is never read as a wrapper, whatever its names.

        Raises:
            NotADocument: a wrapper is malformed or may not occur, or a name occurs twice in an object.
        """
        return self.read_fields(named(self._root))

    def read_fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Read the fields of a JSON object that is not a wrapper, in place."""
        for name, value in fields.items():
            kind = type(value)
            if kind is JsonObject or kind is list:
                # Without a call in between: the depth of documents is limited by that of calls.
                try:
                    fields[name] = self._value(value)
                except NotADocument as problem:
                    problem.within(name)
                    raise
        return fields

    def _value(self, value: Any) -> Any:
        kind = type(value)
        if kind is JsonObject:
            fields = named(value)
            name = _wrapper_name(fields)
            if name is None or (name == "$regex" and self._is_version_2()):
                return self.read_fields(fields)
            return self._unwrap(name, fields)
        if kind is list:
            return [self._element(number, part) for number, part in enumerate(value)]
        return value

    def _element(self, number: int, value: Any) -> Any:
        try:
            return self._value(value)
        except NotADocument as problem:
            problem.within(number)
            raise

    def _unwrap(self, name: str, fields: Mapping[str, Any]) -> Any:
        if self._wrappers is not None and name not in self._wrappers:
            raise NotADocument(
                f"a {name} wrapper in a file whose first document has plain ids and dates; "
                "say --json-format extended or plain"
            )
        is_legacy = "$type" in fields if name == "$binary" else type(fields[name]) is int
        if name in ("$binary", "$date") and is_legacy and self._is_version_2():
            _malformed(name, "it has the form of version 1, and the document is of version 2")
        if name == "$regex":
            return _read_regex("$regex", fields["$regex"], fields["$options"])
        return _READERS[name](fields, self)

    def _is_version_2(self) -> bool:
        """Return whether the document has a wrapper that Extended JSON has had since version 2."""
        if self._known_version_2 is None:
            self._known_version_2 = not _VERSION_2.isdisjoint(wrappers_in(self._root))
        return self._known_version_2


def _malformed(name: str, problem: str) -> NoReturn:
    raise NotADocument(f"a {name} wrapper is malformed: {problem}")


def _only(name: str, fields: Mapping[str, Any], *others: str) -> Any:
    """Return the value of a wrapper that has exactly these keys."""
    if fields.keys() != {name, *others}:
        _malformed(name, f"its keys must be {' and '.join([name, *others])}, and no others")
    return fields[name]


def _parts(name: str, fields: Mapping[str, Any], *keys: str) -> list[Any]:
    """Return the values of a wrapper's inner object that has exactly these keys."""
    inner = _only(name, fields)
    if type(inner) is not JsonObject or dict(inner).keys() != set(keys) or len(inner) != len(keys):
        _malformed(name, f"it must hold an object of {' and '.join(keys)}, and nothing else")
    by_name = dict(inner)
    return [by_name[key] for key in keys]


def _text(name: str, fields: Mapping[str, Any], pattern: re.Pattern[str], expected: str) -> str:
    text = _only(name, fields)
    if type(text) is not str or not pattern.fullmatch(text):
        _malformed(name, f"it must hold {expected}")
    return text


def _whole(name: str, fields: Mapping[str, Any], bits: int) -> int:
    expected = f"a whole number of {bits} bits as a string"
    number = int(_text(name, fields, _WHOLE, expected))
    if not -(1 << (bits - 1)) <= number < 1 << (bits - 1):
        _malformed(name, f"it must hold {expected}")
    return number


def _read_double(fields: Mapping[str, Any], _values: Values) -> float:
    text = _only("$numberDouble", fields)
    if text in ("NaN", "Infinity", "-Infinity"):
        return float(text)
    text = _text("$numberDouble", fields, _DOUBLE, "a decimal number, NaN, Infinity or -Infinity as a string")
    number = finite(text)
    if number is None:
        _malformed("$numberDouble", "the number is out of a double's range")
    return number


def _read_decimal(fields: Mapping[str, Any], _values: Values) -> Decimal128:
    text = _text("$numberDecimal", fields, _DECIMAL, "a decimal number, NaN or Infinity as a string")
    try:
        return Decimal128(text)
    except (ArithmeticError, ValueError):
        _malformed("$numberDecimal", "the number does not fit into a Decimal128 exactly")


def _read_date(fields: Mapping[str, Any], _values: Values) -> DatetimeMS:
    value = _only("$date", fields)
    if type(value) is int and -(1 << 63) <= value < 1 << 63:
        return DatetimeMS(value)
    if type(value) is JsonObject and [name for name, _value in value] == ["$numberLong"]:
        try:
            return DatetimeMS(_whole("$numberLong", dict(value), 64))
        except NotADocument as problem:
            problem.within("$date")
            raise
    moment = _moment(value) if type(value) is str else None
    if moment is None:
        _malformed(
            "$date", "it must hold $numberLong, or a date and time with its time zone, to the millisecond"
        )
    return DatetimeMS(moment)


def milliseconds(moment: datetime) -> int:
    """Return the milliseconds since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


def _moment(text: str) -> int | None:
    """Return the milliseconds since 1970 that an ISO 8601 text means, or None."""
    match = _DATE.fullmatch(text)
    if not match:
        return None
    seconds, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(seconds + zone)
    except ValueError:
        return None
    return milliseconds(moment) + int((fraction or "").ljust(3, "0"))


def _read_binary(fields: Mapping[str, Any], _values: Values) -> bytes | Binary:
    if "$type" in fields:
        data, subtype, pattern = _only("$binary", fields, "$type"), fields["$type"], _LEGACY_SUBTYPE
    else:
        (data, subtype), pattern = _parts("$binary", fields, "base64", "subType"), _SUBTYPE
    if type(subtype) is not str or not pattern.fullmatch(subtype):
        _malformed("$binary", "its subtype must be a string of one or two hex digits")
    try:
        content = base64.b64decode(data, validate=True) if type(data) is str else None
    except (binascii.Error, ValueError):
        content = None
    if content is None or base64.b64encode(content).decode() != data:
        _malformed("$binary", "it must hold base64 with its padding as a string")
    number = int(subtype[-2:], 16)
    return Binary(content, number) if number else content


def _read_code(fields: Mapping[str, Any], values: Values) -> Code:
    if "$scope" in fields:
        code, scope = _only("$code", fields, "$scope"), fields["$scope"]
        if type(scope) is not JsonObject:
            _malformed("$code", "its $scope must be a document")
    else:
        code, scope = _only("$code", fields), None
    if type(code) is not str:
        _malformed("$code", "it must hold a string")
    if scope is None:
        return Code(code)
    try:
        return Code(code, values.read_fields(named(scope)))
    except NotADocument as problem:
        problem.within("$scope")
        raise


def _read_timestamp(fields: Mapping[str, Any], _values: Values) -> Timestamp:
    time, increment = _parts("$timestamp", fields, "t", "i")
    if not all(type(part) is int and 0 <= part < 1 << 32 for part in (time, increment)):
        _malformed("$timestamp", "t and i must be whole numbers from 0 on, of 32 bits")
    return Timestamp(time, increment)


def _read_regex(name: str, pattern: Any, options: Any) -> Regex[str]:
    if type(pattern) is not str or "\x00" in pattern:
        _malformed(name, "its pattern must be a string without NUL characters")
    if type(options) is not str or len(set(options)) != len(options) or set(options) - set(_REGEX_OPTIONS):
        _malformed(name, f"its options must be a string of letters of {_REGEX_OPTIONS}, each at most once")
    return Regex(pattern, options)


def _key(name: str, kind: type) -> Callable[[Mapping[str, Any], Values], Any]:
    def read(fields: Mapping[str, Any], _values: Values) -> Any:
        value = _only(name, fields)
        if type(value) is not int or value != 1:
            _malformed(name, "it must hold the number 1")
        return kind()

    return read


def _deprecated(name: str, is_valid: Callable[[Any], bool], expected: str) -> Callable[..., NoReturn]:
    def read(fields: Mapping[str, Any], _values: Values) -> NoReturn:
        if not is_valid(_only(name, fields)):
            _malformed(name, f"it must hold {expected}")
        raise NotADocument(f"{name} is a deprecated type, which is kept by .bson files only")

    return read


def _is_pointer(value: Any) -> bool:
    if type(value) is not JsonObject or len(value) != 2:  # noqa: PLR2004 - $ref and $id
        return False
    parts = dict(value)
    target = parts.get("$id")
    return type(parts.get("$ref")) is str and type(target) is JsonObject and _is_object_id(target)


def _is_object_id(pairs: JsonObject) -> bool:
    fields = dict(pairs)
    text = fields.get("$oid")
    return len(pairs) == len(fields) == 1 and type(text) is str and bool(HEX_ID.fullmatch(text))


_READERS: dict[str, Callable[[Mapping[str, Any], Values], Any]] = {
    "$oid": lambda fields, _: ObjectId(_text("$oid", fields, HEX_ID, "a string of 24 hex digits")),
    "$numberInt": lambda fields, _: _whole("$numberInt", fields, 32),
    "$numberLong": lambda fields, _: Int64(_whole("$numberLong", fields, 64)),
    "$numberDouble": _read_double,
    "$numberDecimal": _read_decimal,
    "$date": _read_date,
    "$binary": _read_binary,
    "$uuid": lambda fields, _: Binary(
        UUID(_text("$uuid", fields, _UUID, "a UUID as a string of hex digits")).bytes, 4
    ),
    "$code": _read_code,
    "$timestamp": _read_timestamp,
    "$regularExpression": lambda fields, _: _read_regex(
        "$regularExpression", *_parts("$regularExpression", fields, "pattern", "options")
    ),
    "$minKey": _key("$minKey", MinKey),
    "$maxKey": _key("$maxKey", MaxKey),
    "$symbol": _deprecated("$symbol", lambda value: type(value) is str, "a string"),
    "$undefined": _deprecated("$undefined", lambda value: value is True, "true"),
    "$dbPointer": _deprecated("$dbPointer", _is_pointer, "an object of $ref, a string, and $id, an $oid"),
}

_VERSION_2 = frozenset({"$numberInt", "$numberDouble", "$regularExpression"})
