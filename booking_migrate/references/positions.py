"""Values at concrete paths of a document, in which arrays have positions: ``items.3.bookingId``; pure."""

from collections.abc import Sequence
from typing import Any

from booking_migrate.bson.document import ARRAY, DOCUMENT, Element, element_of, elements, read_value, wrap
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
    return _rebuilt(raw, [(each.path.split("."), each.after) for each in changes])


def _rebuilt(document: bytes, changes: Sequence[tuple[Sequence[str], Any]]) -> bytes:
    """Return a document, or an array, with changes made in one pass, each the names on a path and a value."""
    by_name: dict[bytes, list[tuple[Sequence[str], Any]]] = {}
    for (name, *rest), value in changes:
        by_name.setdefault(name.encode(), []).append((rest, value))
    parts = [
        part if (own := by_name.pop(part.name, None)) is None else _changed(part, part.name, own)
        for part in elements(document)
    ]
    parts += [_changed(None, name, own) for name, own in by_name.items()]
    return wrap([part for part in parts if part is not None])


def _changed(
    part: Element | None, name: bytes, changes: Sequence[tuple[Sequence[str], Any]]
) -> Element | None:
    """Return an element, or a new one, with changes made to it or within it; None if it is removed."""
    within: list[tuple[Sequence[str], Any]] = []
    for rest, value in changes:
        if rest:
            within.append((rest, value))
        else:
            part, within = None if value is ABSENT else element_of(name.decode(), value), []
    if part is not None and within:
        part = part._replace(value=_rebuilt(part.value, within))
    return part
