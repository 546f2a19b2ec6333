"""Which changes are noted together: a note is one document."""

from collections.abc import Iterator, Sequence
from typing import Any

from bson.objectid import ObjectId

from booking_migrate.bson.document import element_of
from booking_migrate.references.changes import Planned
from booking_migrate.stores.chunks import by_size
from booking_migrate.stores.reference_journal import ABSENT

_NOTE_BYTES = 8 * 1024 * 1024
_MOST_NOTE_BYTES = 15 * 1024 * 1024
"""A note is one document, and the update of one document is one, too: 16 MiB at most."""

TOO_LARGE = "its references, before and after, are too large to be noted: a note has 15 MiB"

_CHANGE_BYTES = 80
_DOCUMENT_BYTES = 120
"""About how many bytes a change and a document have in a note beside names and values, which an update has twice."""


def noted_together(planned: Sequence[Planned]) -> Iterator[Sequence[Planned]]:
    """Yield changes in groups of which each has its place in one note: many ids in an array take more of it than of the array."""

    def size(each: Planned) -> int:
        own = _noted_bytes(each)
        return own if own <= _MOST_NOTE_BYTES else _DOCUMENT_BYTES

    yield from by_size(planned, size, _NOTE_BYTES)


def fits(planned: Planned) -> bool:
    """Return whether a note can have the changes of a document; if not, it has the document without them, which is left."""
    return _noted_bytes(planned) <= _MOST_NOTE_BYTES


def _noted_bytes(planned: Planned) -> int:
    """Return about how many bytes the changes of a document have, in a note or in the command that writes them."""
    size = _DOCUMENT_BYTES + len(planned.change.identity)
    for name, path, before, after in planned.change.changes:
        size += _CHANGE_BYTES + len(name) + 2 * len(path) + _bytes_of(before) + _bytes_of(after)
    return size


def _bytes_of(value: Any) -> int:
    if type(value) is ObjectId:
        return len(value.binary)
    return 0 if value is ABSENT else len(element_of("", value).value)
