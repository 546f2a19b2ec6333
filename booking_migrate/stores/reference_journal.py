"""What is recorded of a rewrite of references: which fields, how far it is, and each value before and after; and how it is sent."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from booking_migrate.bson.document import value_in

DOCUMENT_ID = "_id"
"""The field whose change is a new document in place of the old one."""


class Absent(Enum):
    """The value of a field that a document does not have."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


class FieldChange(NamedTuple):
    """One value of one document, before and after."""

    field: str
    """The dotted path as configured; of an added field, its own."""

    path: str
    """The path with the positions in arrays: ``items.3.bookingId``."""

    before: Any
    """The value that was read, decoded (or `Opaque`); `ABSENT` of a field that was added."""

    after: Any

    @property
    def is_document_id(self) -> bool:
        """Return whether it is in the `_id`, which cannot be updated."""
        return self.path == DOCUMENT_ID


class Update(NamedTuple):
    """One document's changes, as they are sent."""

    identity: bytes
    """The BSON of ``{_id}``."""

    changes: Sequence[FieldChange]
    guard: Sequence[tuple[str, tuple[Any, ...]]]
    """What else has to hold: a concrete path has one of these values."""

    whole: bytes | None = None
    """The document that it has to be still, BSON; None: only the values that are changed count."""


class Move(NamedTuple):
    """A document that gets another `_id`."""

    before: bytes
    """The document that was read, BSON."""

    after: bytes


class DocumentChange(NamedTuple):
    """What a rewrite changes in one document, all at once."""

    identity: bytes
    """The BSON of ``{_id}`` of the document that was read."""

    digest: bytes
    """The SHA-256 of the BSON of the document that was read."""

    changes: tuple[FieldChange, ...]

    @property
    def document_id(self) -> Any:
        """Return the `_id` that was read, decoded (or `Opaque`)."""
        return value_in(self.identity, b"_id")

    @property
    def new_id(self) -> Any:
        """Return the `_id` that it is to have; `ABSENT` if it keeps its own."""
        return next((each.after for each in self.changes if each.is_document_id), ABSENT)


class Note(NamedTuple):
    """What was about to be written together into one collection."""

    name: str
    """What the journal calls it, in the order of noting; empty before it is noted."""

    collection: str
    documents: tuple[DocumentChange, ...]
    void: frozenset[int] = frozenset()
    """The positions of documents of which nothing is to be undone: they had changed before they could be written, and a later
    note has them, if any; the server refused them; or they were restored."""

    refused: Mapping[int, str] = {}
    """Why the server refused documents with their new ids, by their positions, which are void; empty: another document has the new `_id`."""

    stuck: Mapping[int, str] = {}
    """Why the server refused documents with their old ids, by their positions: an undo has left them, and kept the note."""

    @property
    def written(self) -> list[DocumentChange]:
        """Return what was written."""
        return [each for position, each in enumerate(self.documents) if position not in self.void]


class RewriteState(StrEnum):
    """How far a rewrite is. The values are stored."""

    WRITING = "writing"
    """Running, or killed: the same command continues it."""

    DONE = "done"
    UNDOING = "undoing"
    """References are being restored; the same command continues."""

    UNDONE = "undone"


class RewriteRecord(BaseModel):
    """The record of one rewrite. It never has a connection string."""

    model_config = ConfigDict(frozen=True)

    rewrite_id: str
    run_id: str
    """The migration whose new ids were written."""

    live: str
    """The collection of client documents."""

    state: RewriteState = RewriteState.WRITING
    fields: tuple[Mapping[str, Any], ...] = ()
    """The fields as configured, for people and for the comparison with those of the next command."""

    begun_at: datetime | None = None
    ended_at: datetime | None = None
    reached: Mapping[str, bytes] = {}
    """By collection: the BSON of ``{_id}`` of the last document that the scan has completely handled."""

    scanned: tuple[str, ...] = ()
    """The collections that were read to their end."""

    position: Mapping[str, Any] = {}
    """How far the changes were read (`stores.changes.Position.saved`); empty: they are not read, or nothing was yet."""

    settled: str = ""
    """The name of the last note whose documents were all looked at after they were written."""

    begun_time: Any = None
    """The cluster time before the first document was read; None: the server has no change streams."""

    sessions: bytes = b""
    """The ids of the server sessions in which its last command has written, one behind the other."""

    problem: str | None = None
    """The error that ended its last command; None if that did not end with an error."""

    documents: int = 0
    """How many documents were changed."""

    looked_at: int = 0
    """How many documents the scan has handled."""

    counts: tuple[Mapping[str, Any], ...] = ()
    """How many values, by collection, field and what was done: {`collection`, `field`, `what`, `number`}."""

    left: tuple[Mapping[str, str], ...] = ()
    """Samples of the references that were left."""

    cluster_time: Any = None
    """Up to when the writes of others are handled; None: the server has no change streams, or it is not done."""

    undone: str = ""
    """The name of the last note of which an undo has saved the counts; empty once it has seen all."""

    undo_counts: Mapping[str, int] = {}
    """What an undo has done so far: the fields of `references.undo.UndoCounts`."""

    kept: tuple[Mapping[str, str], ...] = ()
    """Samples of what an undo kept, since others have changed it."""


IN_EFFECT = frozenset({RewriteState.WRITING, RewriteState.DONE, RewriteState.UNDOING})
"""The states in which references with new ids may be in documents."""


def in_effect(records: Sequence[RewriteRecord], *, live: str | None = None) -> list[RewriteRecord]:
    """Return the rewrites that were not undone, the newest first; of one live collection only, if it is named."""
    return [each for each in records if each.state in IN_EFFECT and live in (None, each.live)]
