"""What a run notes before it writes, so that an interrupted run can be continued and a run can be undone."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from booking_migrate.bson.document import elements, read_fields, wrap
from booking_migrate.bson.order import sort_key


class NoteKind(StrEnum):
    """What a range of notes is about."""

    JOIN = "join"
    """Several client documents of one client that are made one, before anything else."""

    DOCUMENTS = "documents"
    """The client documents of one batch."""

    REJECTS = "rejects"
    """The rejected records of this source and target that were there before the run."""

    MOVED = "moved"
    """In place: the old bookings of one batch that go to the archive."""


class DocumentNote(NamedTuple):
    """One document that is about to be written, changed or removed."""

    identity: bytes
    """The BSON of ``{_id}``, as it will be."""

    after: bytes | None
    """The SHA-256 of its BSON as it will be; None if it will be gone."""

    before: bytes | None
    """Its BSON as it is; None if it is not there yet."""

    @property
    def document_id(self) -> Any:
        """Return its `_id`, decoded."""
        return read_fields(self.identity)["_id"]

    @property
    def key(self) -> bytes:
        """Return the sort key of its `_id`."""
        return sort_key(self.document_id)


_OBJECT_ID_FIRST = b"\x07_id\x00"
"""How nearly every document continues behind its length: an ObjectId of twelve bytes follows."""

_SIZE_WITH_OBJECT_ID = (22).to_bytes(4, "little")


def identity_of(raw: bytes) -> bytes:
    """Return the BSON of ``{_id}`` of a document. Its other fields, which may be megabytes, are not decoded."""
    if raw[4:9] == _OBJECT_ID_FIRST:
        return b"%b%b\x00" % (_SIZE_WITH_OBJECT_ID, raw[4:21])
    return wrap([next(element for element in elements(raw) if element.name == b"_id")])


class RangeNote(NamedTuple):
    """What is about to happen to a range of clients."""

    kind: NoteKind
    first: bytes
    """The sort key of the first client's id."""

    last: bytes
    """The sort key of the last client's id."""

    notes: Sequence[DocumentNote]
    name: str = ""
    """What the journal calls it, in the order of noting; empty before it is noted."""
