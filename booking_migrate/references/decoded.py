"""References in documents as the library of BSON decodes them, for verification: it shares nothing with the code that rewrites.

A property test compares what is read here with what a rewrite reads.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from bson import decode
from bson.code import Code
from bson.dbref import DBRef
from bson.objectid import ObjectId

from booking_migrate.bson.document import (
    ARRAY,
    CODEC,
    DB_POINTER,
    DOCUMENT,
    SYMBOL,
    Element,
    Opaque,
    element_of,
    read_exactly,
    read_fields,
    write_fields,
)
from booking_migrate.bson.order import sort_key
from booking_migrate.references.fields import ReferenceField
from booking_migrate.stores.reference_journal import ABSENT, FieldChange

_TOLERANT = CODEC.with_options(unicode_decode_error_handler="surrogateescape")
"""Texts that are not UTF-8 come with surrogates: nothing is looked for in them, and nothing is written back."""


class _Every(dict[str, Any]):
    """A document in which a name that occurs twice has the array of its values, so that none is passed over."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, [self[name], value] if name in self else value)


_EVERY = _TOLERANT.with_options(document_class=_Every)

_DIGITS = 24
_OBJECT_ID = re.compile(rf"(?<![0-9a-fA-F])([0-9a-fA-F]{{{_DIGITS}}})(?![0-9a-fA-F])")
_ID = "$id"
_DOCUMENT_ID = "_id"


class Reference(NamedTuple):
    """One value of a field that may be the id of a booking, a session or a client document."""

    path: str
    """With the positions in arrays; that of a DBRef ends with ``$id``."""

    value: Any
    ids: tuple[Any, ...]
    """The ids that it may spell, decoded."""


def references_in(raw: bytes, field: ReferenceField) -> list[Reference]:
    """Return the values of a field of a document, where its condition holds. Null, truth and plain documents are not ids."""
    names = field.field.split(".")
    document = decode(raw, _EVERY if _may_occur_twice(raw, [*names, _ID]) else _TOLERANT)
    prefix = f"{field.parent}." if field.parent else ""
    beside = {path.removeprefix(prefix): keys for path, keys in _keys(field) if path.startswith(prefix)}
    if not all(_meets(document, path, keys) for path, keys in _keys(field) if not path.startswith(prefix)):
        return []
    found = [
        Reference(path, value, ids_of(value))
        for parent, where in _parents(document, names[:-1], "")
        if names[-1] in parent and all(_meets(parent, path, keys) for path, keys in beside.items())
        for path, value in _leaves(parent[names[-1]], f"{where}{names[-1]}")
    ]
    return list(_as_stored(raw, names[-1], found)) if found else found


def _as_stored(raw: bytes, name: str, found: Sequence[Reference]) -> Iterator[Reference]:
    """Yield references, of which a symbol or a DBPointer, decoded as a text or a DBRef, is as stored: the ids in them are not rewritten."""
    fields: Mapping[str, Any] | None = None
    for each in found:
        at, _, last = each.path.rpartition(".")
        is_pointer = last == _ID
        path, kind = (at, DB_POINTER) if is_pointer else (each.path, SYMBOL)
        if b"%c%b\x00" % (kind, path.rpartition(".")[2].encode()) in raw:
            fields = read_fields(raw) if fields is None else fields
            stored = _value_at(fields, path)
            if isinstance(stored, Opaque) and stored.kind == kind:
                # A DBPointer does not have fields.
                if not (is_pointer and name == _ID):
                    yield Reference(path, stored, ids_of(stored))
                continue
        yield each


def _may_occur_twice(raw: bytes, names: Sequence[str]) -> bool:
    """Return whether one of some names may occur twice in one document of a document."""
    is_repeated = any(
        raw.find(name, raw.find(name) + 1) >= 0 for name in (b"%b\x00" % each.encode() for each in names)
    )
    return is_repeated and read_exactly(raw) is None


def _keys(field: ReferenceField) -> Iterator[tuple[str, frozenset[bytes]]]:
    for path, values in field.when.items():
        yield path, frozenset(map(sort_key, values))


def _parents(
    document: Mapping[str, Any], names: Sequence[str], path: str
) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the documents at a path, each with its own; arrays on the way are entered."""
    if not names:
        yield document, path
    elif names[0] in document:
        for inner, where in _documents(document[names[0]], f"{path}{names[0]}"):
            yield from _parents(inner, names[1:], f"{where}.")


def _documents(value: Any, path: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    if isinstance(value, list):
        for position, each in enumerate(value):
            yield from _documents(each, f"{path}.{position}")
    elif isinstance(value, DBRef):
        yield value.as_doc(), path
    elif isinstance(value, Mapping):
        yield value, path


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for position, each in enumerate(value):
            yield from _leaves(each, f"{path}.{position}")
    elif isinstance(value, DBRef):
        yield from _leaves(value.id, f"{path}.{_ID}")
    elif isinstance(value, Code):
        # Which passes for a string in Python.
        code = element_of("", value)
        yield path, Opaque(code.kind, code.value)
    elif value is not None and not isinstance(value, bool | Mapping):
        yield path, value


def _meets(document: Mapping[str, Any], path: str, keys: frozenset[bytes]) -> bool:
    """Return whether a field has one of some values, or an array that has one; by sort keys."""
    name, _, rest = path.partition(".")
    if name not in document:
        return False
    value = document[name]
    if rest:
        return any(_meets(inner, rest, keys) for inner, _where in _documents(value, ""))
    values = value if isinstance(value, list) else [value]
    return any(_is_plain(each) and sort_key(each) in keys for each in values)


def _is_plain(value: Any) -> bool:
    """Return whether a value may be that of a condition: conditions have no documents, arrays or invalid texts."""
    return not isinstance(value, Mapping | DBRef | list) and _is_text(value)


def _is_text(value: Any) -> bool:
    """Return whether a value is not a text, or one that is valid."""
    return not isinstance(value, str) or not any("\ud800" <= each <= "\udfff" for each in value)


def ids_of(value: Any) -> tuple[Any, ...]:
    """Return the ids that a value may spell: of a text, the ObjectIds whose digits it has, and itself if it is no longer than one."""
    if type(value) is not str:
        return (value,)
    if not _is_text(value):
        return ()
    found = tuple(dict.fromkeys(map(ObjectId, _OBJECT_ID.findall(value))))
    return found if found and len(value) > _DIGITS else (*found, value)


def with_ids(value: Any, new: Mapping[bytes, Any]) -> Any:
    """Return a value in which some ids, by their sort keys, are replaced, in the same form."""
    if type(value) is not str:
        return new.get(sort_key(value), value)
    whole = new.get(sort_key(value))
    if whole is not None:
        return str(whole)
    # Every other part is the digits of an id.
    parts = _OBJECT_ID.split(value)
    for position in range(1, len(parts), 2):
        found = new.get(sort_key(ObjectId(parts[position])))
        if found is not None:
            parts[position] = str(found).upper() if parts[position].isupper() else str(found)
    return "".join(parts)


def parts_of(change: FieldChange) -> Iterator[FieldChange]:
    """Yield the addition of a document as those of its fields, and any other change as it is."""
    if change.before is not ABSENT or not isinstance(change.after, dict):
        yield change
        return
    for name, value in change.after.items():
        yield from parts_of(FieldChange(f"{change.field}.{name}", f"{change.path}.{name}", ABSENT, value))


def within_id(change: FieldChange) -> list[Reference]:
    """Return the references of a change of a document's `_id`, of which they may be fields; before the change."""
    raw = write_fields({_DOCUMENT_ID: change.before})
    return references_in(raw, ReferenceField("", change.field))


class Values:
    """The values of one document, which is decoded once, however many are asked for."""

    def __init__(self, raw: bytes) -> None:
        """Take the document, BSON."""
        self._raw = raw
        self._in_fields: list[tuple[ReferenceField, set[Element]]] = []
        """The values of fields that were asked for."""

    @cached_property
    def _fields(self) -> Mapping[str, Any]:
        return read_fields(self._raw)

    def at(self, path: str) -> Any:
        """Return the value at a path with positions, decoded (or `Opaque`); `ABSENT` if the document does not have it."""
        return _value_at(self._fields, path)

    def has(self, change: FieldChange) -> bool:
        """Return whether what was written is still there."""
        return is_same(self.at(change.path), change.after)

    def has_anywhere(self, field: ReferenceField, value: Any) -> bool:
        """Return whether a field has a value where its condition holds, wherever its arrays have it."""
        found = next((each for of, each in self._in_fields if of == field), None)
        if found is None:
            found = {element_of("", each.value) for each in references_in(self._raw, field)}
            self._in_fields.append((field, found))
        return element_of("", value) in found


def _value_at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = _part(value, name)
        if value is ABSENT:
            break
    return value


def is_same(one: Any, other: Any) -> bool:
    """Return whether values are the same, with their types, as bytes would be; either may be `ABSENT`."""
    if one is ABSENT or other is ABSENT:
        return one is other
    return element_of("", one) == element_of("", other)


def _part(value: Any, name: str) -> Any:
    """Return a field of a document, or an element of an array."""
    if isinstance(value, Opaque) and value.kind in (DOCUMENT, ARRAY):
        value = read_fields(value.value)
    elif isinstance(value, DBRef):
        value = value.as_doc()
    if isinstance(value, list):
        return value[int(name)] if name.isdecimal() and int(name) < len(value) else ABSENT
    return value.get(name, ABSENT) if isinstance(value, Mapping) else ABSENT


def put_back(raw: bytes, changes: Sequence[Sequence[FieldChange]]) -> bytes | None:
    """Return a document with the values from before some changes, where it has those from after them; None if it has others.

    Args:
        raw: the document, BSON.
        changes: what was changed together, the first changes first.
    """
    fields = read_fields(raw)
    for made_together in reversed(changes):
        if not all(is_same(_value_at(fields, each.path), each.after) for each in made_together):
            return None
        fields = _with(fields, [(each.path.split("."), each.before) for each in made_together])
    return write_fields(fields)


def _with(value: Any, befores: Sequence[tuple[Sequence[str], Any]]) -> Any:
    """Return a document or an array with some values of it replaced, or removed; places that it does not have are passed over.

    Args:
        value: the document or the array.
        befores: the names on the path to each of them, and what it was.
    """
    if isinstance(value, Opaque) and value.kind in (DOCUMENT, ARRAY):
        return Opaque(value.kind, write_fields(_with(read_fields(value.value), befores)))
    if isinstance(value, DBRef):
        value = value.as_doc()
    by_name: dict[str, list[tuple[Sequence[str], Any]]] = {}
    for names, before in befores:
        if _part(value, names[0]) is not ABSENT:
            by_name.setdefault(names[0], []).append((names[1:], before))
    if not by_name:
        return value
    changed: Any = list(value) if isinstance(value, list) else dict(value)
    for name, inner in by_name.items():
        key: Any = int(name) if isinstance(changed, list) else name
        whole = [before for names, before in inner if not names]
        if whole and whole[-1] is ABSENT and not isinstance(changed, list):
            del changed[key]
        else:
            changed[key] = _packed(whole[-1] if whole else _with(changed[key], inner))
    return changed


def _packed(value: Any) -> Any:
    """Return a value in a form that can be encoded: a document or an array with a value that is `Opaque` becomes that, too."""
    if isinstance(value, Mapping) and Opaque in map(type, value.values()):
        return Opaque(DOCUMENT, write_fields(value))
    if isinstance(value, list) and Opaque in map(type, value):
        return Opaque(ARRAY, write_fields({str(position): each for position, each in enumerate(value)}))
    return value
