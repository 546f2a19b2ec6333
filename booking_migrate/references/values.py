"""How a value spells the id of a booking, where a document has such values, and what they become.

Values are read from raw BSON, so that a document is never re-typed. A field whose name is empty, has a dot or is not UTF-8
cannot be addressed by a path, and is passed over.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from bson import decode
from bson.binary import Binary
from bson.dbref import DBRef
from bson.errors import BSONError
from bson.objectid import ObjectId

from booking_migrate.bson.document import (
    ARRAY,
    CODEC,
    DOCUMENT,
    NULL,
    OBJECT_ID,
    STRING,
    Element,
    elements,
    read_exactly,
    read_value,
)
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.references.fields import ReferenceField

HEX_DIGITS = 24
"""How many digits an ObjectId has as text."""

UUID_HEADS = (b"\x10\x00\x00\x00\x03", b"\x10\x00\x00\x00\x04")
"""How the value of a binary that is a UUID begins: its length, and the old or the new subtype."""

_UUID_SUBTYPES = (3, 4)
_BINARY, _UNDEFINED, _BOOL = 0x05, 0x06, 0x08
_NO_ID = frozenset({NULL, _UNDEFINED, _BOOL, DOCUMENT})
"""The BSON types that do not count as an id; a document is taken apart, or not an id."""

_RUN = re.compile(rf"(?<![0-9a-fA-F])[0-9a-fA-F]{{{HEX_DIGITS}}}(?![0-9a-fA-F])")
"""The digits of an ObjectId in a text, with no digit beside them."""

_REF, _ID = b"$ref", b"$id"
_DOCUMENT_ID = "_id"


class Form(StrEnum):
    """How one value spells the id."""

    OBJECT_ID = "object-id"
    TEXT = "text"
    """Its 24 hexadecimal digits."""

    DBREF = "dbref"
    """The `$id` of a DBRef, whatever its own type."""

    DOCUMENT_ID = "document-id"
    """The document's own `_id`, or a field in it, whatever its type."""

    VALUE = "value"
    """Any other value that equals the `_id` of a booking, such as a UUID."""

    EMBEDDED = "embedded"
    """Its digits within a longer text, such as a URL or JSON."""

    @property
    def is_text(self) -> bool:
        """Return whether the value is a text for sure, before and after a rewrite."""
        match self:
            case Form.TEXT | Form.EMBEDDED:
                return True
            case Form.OBJECT_ID | Form.DBREF | Form.DOCUMENT_ID | Form.VALUE:
                return False

    @property
    def is_of_place(self) -> bool:
        """Return whether the place of the value decides it, whatever its type."""
        match self:
            case Form.DBREF | Form.DOCUMENT_ID:
                return True
            case Form.OBJECT_ID | Form.TEXT | Form.VALUE | Form.EMBEDDED:
                return False


class Occurrence(NamedTuple):
    """One value that may be the id of a booking."""

    path: str
    """The path with array positions: ``items.3.bookingId``. That of a DBRef ends with ``$id``."""

    value: Any
    """The value, decoded."""

    old_ids: tuple[Any, ...]
    """The ids that it may spell, decoded; several in a text."""

    form: Form


def old_ids_of(value: Any) -> tuple[Any, ...]:
    """Return the ids that a decoded value may spell.

    Text of 24 hexadecimal digits may stand for an ObjectId or be the `_id` itself; a longer one may hold several ObjectIds,
    each once; any other value can only be the `_id` itself.
    """
    if type(value) is not str:
        return (value,)
    found = tuple(dict.fromkeys(ObjectId(run) for run in _RUN.findall(value)))
    return found if found and len(value) > HEX_DIGITS else (*found, value)


def replaced(value: Any, mapping: Mapping[bytes, Any]) -> Any:
    """Return a value with new ids in the place of old ones, in the same form: text stays text.

    Args:
        value: a value as `Occurrence` has it.
        mapping: the new id for each old one, by the old one's sort key. Ids that are not in it stay.
    """
    if type(value) is not str:
        return mapping.get(sort_key(value), value)
    if (new := mapping.get(sort_key(value))) is not None:
        return str(new)
    return _RUN.sub(lambda run: _respelled(run[0], mapping), value)


def _respelled(digits: str, mapping: Mapping[bytes, Any]) -> str:
    new = mapping.get(sort_key(ObjectId(digits)))
    if new is None:
        return digits
    return str(new).upper() if digits.isupper() else str(new)


def occurrences(raw: bytes, field: ReferenceField) -> list[Occurrence]:
    """Return the values of a field of a document that may be ids, in the document's order.

    Arrays are entered at every level, as queries do. Null, booleans and documents other than DBRefs are not ids.

    Args:
        raw: the document's BSON.
        field: the field; what its condition does not meet is left out.
    """
    if not field.when and (plain := _plain_occurrences(raw, field.field)) is not None:
        return plain
    return all_occurrences(raw, field)


def all_occurrences(raw: bytes, field: ReferenceField) -> list[Occurrence]:
    """Return the same, in a document in which names occur twice: those of all fields of a name, with equal paths."""
    found: list[Occurrence] = []
    names = [name.encode() for name in field.field.split(".")]
    meets = _condition(raw, field)
    _follow(raw, names, "", meets, found)
    return found


def has_duplicates(raw: bytes, path: str) -> bool:
    """Return whether a name on a path occurs twice in a document that has it: the server and drivers take one of them."""
    for terminated in _terminated(path):
        if raw.count(terminated) > 1:
            break
    else:
        return False
    if read_exactly(raw) is not None:
        return False
    return _has_twice(Element(DOCUMENT, b"", raw), [*map(str.encode, path.split(".")), _ID])


@lru_cache(maxsize=1024)
def _terminated(path: str) -> tuple[bytes, ...]:
    """Return the names on a path as they are in a document."""
    return tuple(b"%b\x00" % name for name in (*map(str.encode, path.split(".")), _ID))


def _has_twice(element: Element, names: Sequence[bytes]) -> bool:
    if element.kind == ARRAY:
        return any(_has_twice(inner, names) for inner in elements(element.value))
    if element.kind != DOCUMENT or not names:
        return False
    found = [inner for inner in elements(element.value) if inner.name == names[0]]
    return len(found) > 1 or any(_has_twice(inner, names[1:]) for inner in found)


def is_id_like(value: Any) -> bool:
    """Return whether a decoded value has the form of an id: an ObjectId, a UUID, or a text with the digits of an ObjectId."""
    if type(value) is str:
        return _RUN.search(value) is not None
    return type(value) is ObjectId or (isinstance(value, Binary) and value.subtype in _UUID_SUBTYPES)


class _NotPlain(Exception):
    """A value that is read from its bytes."""


def _plain_occurrences(raw: bytes, path: str) -> list[Occurrence] | None:
    """Return the same as `occurrences` from the decoded document, where only ObjectIds and texts may be ids; otherwise None.

    The driver decodes a whole document faster than its fields can be passed over here.
    """
    try:
        document = decode(raw, CODEC)
    except (BSONError, OverflowError, RecursionError, UnicodeError):
        return None
    found: list[Occurrence] = []
    try:
        _follow_plain(document, path.split("."), "", raw, found)
    except _NotPlain:
        return None
    return found


def _follow_plain(
    document: Mapping[str, Any], names: Sequence[str], path: str, raw: bytes, found: list[Occurrence]
) -> None:
    name = names[0]
    if name not in document:
        return
    value = document[name]
    if len(names) == 1:
        _plain_values(value, f"{path}{name}", name, raw, found)
        return
    pending = [(value, f"{path}{name}")]
    while pending:
        each, where = pending.pop()
        if type(each) is dict:
            _follow_plain(each, names[1:], f"{where}.", raw, found)
        elif type(each) is list:
            pending += [(inner, f"{where}.{at}") for at, inner in enumerate(each)][::-1]
        elif type(each) is DBRef:
            # Decoded it has other fields than in the document.
            raise _NotPlain


def _plain_values(value: Any, path: str, name: str, raw: bytes, found: list[Occurrence]) -> None:
    kind = type(value)
    if kind is ObjectId:
        found.append(Occurrence(path, value, (value,), form_of(path, value)))
    elif kind is str:
        if b"\x0e%b\x00" % name.encode() in raw:
            # A symbol, perhaps, which is another type than a string, and decoded as one.
            raise _NotPlain
        found.append(Occurrence(path, value, old_ids_of(value), form_of(path, value)))
    elif kind is list:
        for at, each in enumerate(value):
            _plain_values(each, f"{path}.{at}", str(at), raw, found)
    elif value is not None and kind is not bool and kind is not dict:
        raise _NotPlain


Meets = Callable[[bytes], bool]


def _follow(
    document: bytes, names: Sequence[bytes], path: str, meets: Meets, found: list[Occurrence]
) -> None:
    """Collect what is behind a path that begins in this document."""
    if len(names) == 1 and not meets(document):
        return
    for element in elements(document):
        if element.name != names[0]:
            continue
        inner = f"{path}{element.name.decode()}"
        if len(names) == 1:
            found += _values(element, inner)
        else:
            for part, where in _documents(element, inner):
                _follow(part, names[1:], f"{where}.", meets, found)


def _documents(element: Element, path: str) -> Iterator[tuple[bytes, str]]:
    """Yield an element's document, or those in its array, each with its path."""
    if element.kind == DOCUMENT:
        yield element.value, path
    elif element.kind == ARRAY:
        for inner in elements(element.value):
            yield from _documents(inner, f"{path}.{inner.name.decode()}")


def _values(element: Element, path: str) -> Iterator[Occurrence]:
    """Yield what may be an id in a field: its value, those of its array, the `$id` of a DBRef."""
    if element.kind == ARRAY:
        for inner in elements(element.value):
            yield from _values(inner, f"{path}.{inner.name.decode()}")
    elif element.kind == DOCUMENT:
        if (inner_id := dbref_id(element.value)) is not None:
            yield from _values(inner_id, f"{path}.$id")
    elif element.kind not in _NO_ID:
        value = _value_of(element)
        yield Occurrence(path, value, old_ids_of(value), form_of(path, value))


def _value_of(element: Element) -> Any:
    return ObjectId(element.value) if element.kind == OBJECT_ID else read_value(element)


def form_of(path: str, value: Any) -> Form:
    """Return how a value at a path spells an id."""
    if path == _DOCUMENT_ID or path.startswith("_id."):
        return Form.DOCUMENT_ID
    if path.endswith(".$id") or ".$id." in path:
        return Form.DBREF
    if type(value) is ObjectId:
        return Form.OBJECT_ID
    if type(value) is str and _RUN.search(value):
        return Form.TEXT if len(value) == HEX_DIGITS else Form.EMBEDDED
    return Form.VALUE


def dbref_id(document: bytes) -> Element | None:
    """Return the `$id` of a document that is a DBRef: `$ref` comes first, `$id` next; None of any other."""
    first, second = [*elements(document), None, None][:2]
    if first is None or second is None or first.name != _REF or second.name != _ID:
        return None
    return second if first.kind == STRING else None


def _condition(root: bytes, field: ReferenceField) -> Meets:
    """Return the check of a field's condition; it takes the document that has the field."""
    if not field.when:
        return lambda _document: True
    prefix = f"{field.parent}." if field.parent else ""
    beside = {path[len(prefix) :]: keys for path, keys in _keys(field) if path.startswith(prefix)}
    elsewhere = {path: keys for path, keys in _keys(field) if not path.startswith(prefix)}
    holds = all(_has(root, path.split("."), keys) for path, keys in elsewhere.items())
    return lambda document: (
        holds and all(_has(document, path.split("."), keys) for path, keys in beside.items())
    )


def _keys(field: ReferenceField) -> Iterator[tuple[str, frozenset[bytes]]]:
    for path, values in field.when.items():
        yield path, frozenset(map(sort_key, values))


def _has(document: bytes, names: Sequence[str], keys: frozenset[bytes]) -> bool:
    """Return whether a field has one of some values, or an array with one; by sort keys."""
    name, *rest = names
    for element in elements(document):
        if element.name != name.encode():
            continue
        if rest:
            return any(_has(part, rest, keys) for part, _path in _documents(element, ""))
        values = [element, *(elements(element.value) if element.kind == ARRAY else ())]
        return any(element_key(each) in keys for each in values)
    return False


def candidates(raw: bytes) -> Iterator[tuple[str, Occurrence]]:
    """Yield every value of a document, at any path, that may be the id of a booking: for a search.

    Those are ObjectIds, UUIDs, and texts with 24 hexadecimal digits. Numbers and words are everywhere, and would be ids by
    chance.

    Yields:
        The path without array positions, and the value. That of a DBRef ends with ``$id``.
    """
    yield from _all(raw, "", "", in_array=False)


def _all(document: bytes, field: str, path: str, *, in_array: bool) -> Iterator[tuple[str, Occurrence]]:
    for element in elements(document):
        name = addressable(element.name)
        if name is None:
            continue
        inner_field, inner_path = (field[:-1] if in_array else f"{field}{name}"), f"{path}{name}"
        if element.kind in (DOCUMENT, ARRAY):
            yield from _all(
                element.value, f"{inner_field}.", f"{inner_path}.", in_array=element.kind == ARRAY
            )
        elif element.kind in (OBJECT_ID, STRING) or element.value.startswith(UUID_HEADS, 0, 5):
            value = _value_of(element)
            if element.kind == STRING and not (type(value) is str and _RUN.search(value)):
                continue
            if element.kind in (OBJECT_ID, STRING, _BINARY):
                yield (
                    inner_field,
                    Occurrence(inner_path, value, old_ids_of(value), form_of(inner_path, value)),
                )


def addressable(name: bytes) -> str | None:
    """Return a field's name as text; None if a path with dots cannot name it."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return None
    return text if text and "." not in text else None
