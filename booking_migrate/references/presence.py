"""Whether documents have a field at all: one that none has may be a slip of the pen."""

from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice

from booking_migrate.bson.document import ARRAY, DOCUMENT, elements
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.values import addressable
from booking_migrate.stores.references import ReferringCollection

_SAMPLED = 500
_MOST_PATHS = 5000


def missing_path(field: ReferenceField, collection: ReferringCollection) -> str | None:
    """Return the path of a field, or of its condition, that no document has; None: all are there, or the collection is empty.

    Raises:
        ConnectionProblem, NotPermitted, UnusablePlace: the collection cannot be read.
    """
    for path in (field.field, *field.when):
        if not _has(collection, path):
            is_empty = next(collection.sample(1), None) is None
            return None if is_empty else path
    return None


def nearest_path(path: str, collection: ReferringCollection) -> str:
    """Return the path that was probably meant, of those that some documents have; empty if none is near."""
    found: dict[str, str] = {}
    for raw in islice(collection.sample(_SAMPLED), _SAMPLED):
        found.update({_folded(each): each for each in _paths(raw, "")})
        if len(found) > _MOST_PATHS:
            break
    near = get_close_matches(_folded(path), found, n=1, cutoff=0.7)
    if not near:
        # The right name in another document.
        last = _folded(path).rpartition(".")[2]
        near = [each for each in found if each.rpartition(".")[2] == last]
    return found[near[0]] if near else ""


def _folded(path: str) -> str:
    return path.lower().replace("_", "") if path != "_id" else path


def _has(collection: ReferringCollection, path: str) -> bool:
    if not any(name.isdecimal() for name in path.split(".")):
        return collection.one_with(path) is not None
    # For the server a number is a position in an array, too.
    some = next(collection.scan(fields=[path]), [])
    return any(path in _paths(raw, "") for raw in some)


def _paths(document: bytes, prefix: str) -> Iterator[str]:
    """Yield the paths of all fields of a document, array positions left out."""
    for element in elements(document):
        name = addressable(element.name)
        if name is not None:
            yield f"{prefix}{name}"
            yield from _inner_paths(element.kind, element.value, f"{prefix}{name}.")


def _inner_paths(kind: int, value: bytes, prefix: str) -> Iterator[str]:
    if kind == DOCUMENT:
        yield from _paths(value, prefix)
    elif kind == ARRAY:
        for inner in elements(value):
            yield from _inner_paths(inner.kind, inner.value, prefix)
