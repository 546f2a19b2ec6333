"""Values at concrete paths of a document, in which arrays have positions: ``items.3.bookingId``; pure."""

from collections.abc import Sequence
from typing import Any

from booking_migrate.bson.document import ARRAY, DOCUMENT, element_of, elements, read_value, wrap
from booking_migrate.stores.reference_journal import ABSENT, FieldChange


def names_in(raw: bytes, places: Sequence[str]) -> list[int]:
    """Return which parts of a concrete path are names of fields; the others are positions in arrays."""
    found, kind, inner = [], DOCUMENT, raw
    for at, place in enumerate(places):
        if kind == DOCUMENT:
            found.append(at)
        element = next(each for each in elements(inner) if each.name == place.encode())
        kind, inner = element.kind, element.value
    return found


def value_at(raw: bytes, path: str) -> Any:
    """Return the value at a concrete path, decoded (or `Opaque`); `ABSENT` if a document does not have it."""
    document = raw
    names = path.split(".")
    for number, name in enumerate(names):
        element = next((each for each in elements(document) if each.name == name.encode()), None)
        if element is None:
            return ABSENT
        if number == len(names) - 1:
            return read_value(element)
        if element.kind not in (DOCUMENT, ARRAY):
            return ABSENT
        document = element.value
    return ABSENT


def rebuilt(raw: bytes, changes: Sequence[FieldChange]) -> bytes:
    """Return a document with changes made to its `_id` and its other fields, byte for byte as the server would make them.

    Args:
        raw: the document.
        changes: what to change; fields that are added come last, `ABSENT` removes one.
    """
    for each in changes:
        raw = _with(raw, each.path.split("."), each.after)
    return raw


def _with(raw: bytes, names: Sequence[str], value: Any) -> bytes:
    name, *rest = names
    parts = list(elements(raw))
    position = next((at for at, part in enumerate(parts) if part.name == name.encode()), None)
    if rest:
        if position is None:
            return raw
        inner = _with(parts[position].value, rest, value)
        parts[position] = parts[position]._replace(value=inner)
    elif value is ABSENT:
        parts = [part for part in parts if part.name != name.encode()]
    elif position is None:
        parts.append(element_of(name, value))
    else:
        parts[position] = element_of(name, value)
    return wrap(parts)
