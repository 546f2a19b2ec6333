"""Values at concrete paths of a document, in which arrays have positions: ``items.3.bookingId``; pure."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from bson import decode
from bson.errors import BSONError
from bson.objectid import ObjectId

from booking_migrate.bson.document import (
    ARRAY,
    CODEC,
    DOCUMENT,
    Element,
    element_of,
    elements,
    read_value,
    wrap,
)
from booking_migrate.stores.reference_journal import ABSENT, FieldChange

_UNKNOWN: Final = object()
"""What the decoded document does not say: a value that it has under other names, or not at all."""


class Places:
    """The values at concrete paths of one document, however many: no part of it is taken apart twice."""

    def __init__(self, raw: bytes) -> None:
        """Take the document, BSON."""
        self._raw = raw
        self._inside: dict[str, Mapping[bytes, Element]] = {}
        """The elements of the documents and arrays that were taken apart, by their paths."""

    def at(self, path: str) -> Any:
        """Return the value at a path, decoded (or `Opaque`); `ABSENT` if the document does not have it."""
        found = self._decoded(path)
        if found is ABSENT or type(found) in (ObjectId, str):
            # Ids and texts do not change when they are decoded.
            return found
        element = self._element(path)
        return ABSENT if element is None else read_value(element)

    def has(self, path: str) -> bool:
        """Return whether there is a value at a path."""
        found = self._decoded(path)
        return self._element(path) is not None if found is _UNKNOWN else found is not ABSENT

    def names_in(self, parts: Sequence[str]) -> list[int]:
        """Return which parts of a path that the document has are names of fields; the others are positions in arrays."""
        above = [self._element(".".join(parts[:at])) for at in range(1, len(parts))]
        kinds = [DOCUMENT, *(each.kind for each in above if each is not None)]
        return [at for at, kind in enumerate(kinds) if kind == DOCUMENT]

    @cached_property
    def _document(self) -> Any:
        try:
            return decode(self._raw, CODEC)
        except (BSONError, OverflowError, RecursionError, UnicodeError):
            return None

    def _decoded(self, path: str) -> Any:
        found = self._document
        for name in path.split("."):
            if type(found) is dict:
                found = found.get(name, ABSENT)
            elif type(found) is list and name.isdecimal() and name == str(int(name)):
                found = found[int(name)] if int(name) < len(found) else ABSENT
            else:
                return _UNKNOWN
        return found

    def _element(self, path: str) -> Element | None:
        parent, _, name = path.rpartition(".")
        if parent not in self._inside:
            self._inside[parent] = self._taken_apart(parent)
        return self._inside[parent].get(name.encode())

    def _taken_apart(self, path: str) -> Mapping[bytes, Element]:
        """Return the elements at a path by their names, of which the first one counts; none if another value is there."""
        above = self._element(path) if path else Element(DOCUMENT, b"", self._raw)
        if above is None or above.kind not in (DOCUMENT, ARRAY):
            return {}
        return {each.name: each for each in reversed([*elements(above.value)])}


def documents_at(raw: bytes, field: str) -> list[tuple[str, bytes]]:
    """Return the documents that a field has, also those within arrays, each with its path and in the document's order."""
    found = [("", raw)]
    for name in field.split("."):
        pending = [
            (f"{above}.{name}" if above else name, element)
            for above, document in found
            for element in elements(document)
            if element.name == name.encode()
        ][::-1]
        found = []
        while pending:
            path, element = pending.pop()
            if element.kind == DOCUMENT:
                found.append((path, element.value))
            elif element.kind == ARRAY:
                inner = [(f"{path}.{each.name.decode()}", each) for each in elements(element.value)]
                pending += reversed(inner)
    return found


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
