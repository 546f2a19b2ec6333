"""What a verification of references proves, and what it found, as values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from bson.timestamp import Timestamp

from booking_migrate.bson.format import display_id
from booking_migrate.events import Listener
from booking_migrate.quantities import grouped
from booking_migrate.references.fields import NewId, ReferenceField
from booking_migrate.stores.open_rewriting import ReferringChanges
from booking_migrate.stores.reference_journal import RewriteRecord
from booking_migrate.stores.references import OldIds, ReferringCollection

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.reference_journal import MongoReferenceJournal

SAMPLES = 100
"""How many examples of each kind are kept."""


@dataclass(frozen=True, slots=True)
class VerifyPlan:
    """What to prove, and where it is."""

    live: str
    """The collection of client documents."""

    fields: Sequence[ReferenceField]
    """Those to read whole; of excluded ones, old ids are counted."""

    rewrites: Sequence[RewriteRecord]
    """All that the journal has, the newest first."""

    journal: "MongoReferenceJournal"
    referring: Callable[[str], ReferringCollection]
    old_ids: OldIds
    has_old_ids: bool
    """Whether sessions have the ids of their bookings."""

    kept_index: str | None
    """The name of the index on these; None: it is lacking."""

    following: ReferringChanges | None
    """None: the changes of the collections cannot be read."""

    listener: Listener


class Kind(StrEnum):
    """The kinds of mismatches. The values are an API."""

    UNREWRITTEN = "unrewritten"
    """The id of an old booking that has a session; it finds nothing, or a rewrite has passed it over."""

    LOST = "lost"
    """A new id that a rewrite wrote, and that neither a session nor a client document has now."""

    WRONG = "wrong"
    """A new id that a rewrite wrote, and that is not the one of that booking."""

    COUNT = "count"
    """The record of a rewrite has other numbers than its notes."""


class Fate(StrEnum):
    """What a value of a field stands for. The values are an API."""

    NEW = "new"
    """A session, or a client document, has this id."""

    KEPT = "kept"
    """The id of an old booking, which an index finds: the field was never rewritten."""

    EXCLUDED = "excluded"
    """The id of an old booking that has a session, in a field that is left as it is."""

    REJECTED = "rejected"
    """The id of a booking that has no session."""

    DANGLING = "dangling"
    """It is the id of nothing, and no rewrite wrote it."""

    LOST = "lost"
    UNREWRITTEN = "unrewritten"
    BEHIND = "behind"
    """A mismatch in a document that was written since the verification began."""


class Mismatch(NamedTuple):
    """One difference; the values are as text."""

    kind: Kind
    collection: str
    field: str
    document_id: str
    path: str
    expected: str | None
    found: str | None
    detail: str = ""


class Listed(NamedTuple):
    """A reference, or a document, that is worth knowing beside the mismatches; as text."""

    what: str
    """The value of a `Fate`; or ``changed``, ``gone``: of a document with rewritten references."""

    collection: str
    field: str
    document_id: str
    path: str
    value: str


@dataclass(slots=True)
class FieldProof:
    """What the values of one field stand for."""

    of: ReferenceField
    is_rewritten: bool
    """Whether a rewrite that stands has written this field."""

    counts: dict[Fate, int] = field(default_factory=lambda: dict.fromkeys(Fate, 0))

    @property
    def values(self) -> int:
        """Return how many values were judged."""
        return sum(self.counts.values())


@dataclass(slots=True)
class NotesProof:
    """What the notes of rewrites say, compared with the documents."""

    documents: int = 0
    """Documents that were changed together with what was noted; one that was changed twice counts twice."""

    values: int = 0
    identical: int = 0
    """Those that, but for the noted values, have the bytes that they had."""

    changed: int = 0
    """Those that others have changed since."""

    gone: int = 0
    """Those that others have deleted since."""

    open: int = 0
    """Those of a rewrite that is not complete which are not written yet."""


@dataclass(slots=True)
class Proof:
    """What a verification found."""

    fields: list[FieldProof] = field(default_factory=list)
    collections: dict[str, int] = field(default_factory=dict)
    """How many documents were read, by collection."""

    notes: NotesProof = field(default_factory=NotesProof)
    rewrites: Sequence[RewriteRecord] = ()
    """Those that stand, the newest first."""

    mismatches: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    examples: list[Mismatch] = field(default_factory=list)
    listed: list[Listed] = field(default_factory=list)
    kept_index: str | None = None
    """The index by which old ids find their sessions; None: it is lacking."""

    cluster_time: Timestamp | None = None
    """When the verification began; None: the server has no cluster times."""

    looked_again: int = 0
    """How many mismatches were looked at again, because others may have written the document meanwhile."""

    @property
    def mismatch_count(self) -> int:
        """Return how many mismatches there are."""
        return sum(self.mismatches.values())

    @property
    def behind(self) -> int:
        """Return how many values are mismatches in documents that were written since the verification began."""
        return sum(each.counts[Fate.BEHIND] for each in self.fields)

    def fail(self, mismatch: Mismatch) -> None:
        """Count a mismatch, and keep it as an example if there are few."""
        self.mismatches[mismatch.kind] += 1
        if self.mismatches[mismatch.kind] <= SAMPLES:
            self.examples.append(mismatch)

    def keep(self, listed: Listed, number: int) -> None:
        """Keep an example, the nth of its field and kind, if there are few."""
        if number <= SAMPLES:
            self.listed.append(listed)


def recorded_fields(record: RewriteRecord) -> tuple[ReferenceField, ...]:
    """Return the fields of a rewrite, from its record."""
    return tuple(
        ReferenceField(
            each["collection"],
            each["field"],
            NewId(each["to"]),
            {added["field"]: NewId(added["to"]) for added in each.get("add", ())},
            {asked["field"]: tuple(asked["values"]) for asked in each.get("when", ())},
        )
        for each in record.fields
    )


def fields_of_rewrites(records: Sequence[RewriteRecord]) -> tuple[ReferenceField, ...]:
    """Return the fields of some rewrites, each once."""
    found: list[ReferenceField] = []
    for record in records:
        found += [each for each in recorded_fields(record) if each not in found]
    return tuple(found)


def count_mismatches(
    record: RewriteRecord, noted: Mapping[tuple[str, str], int], documents: int
) -> list[Mismatch]:
    """Return where the numbers of a rewrite's record are not those of its notes.

    Args:
        record: the record.
        noted: the number of noted values by collection and field, those that were added included.
        documents: the number of noted documents.
    """
    counted: dict[tuple[str, str], int] = {}
    for each in record.counts:
        if each["what"] in ("rewritten", "added"):
            key = (each["collection"], each["field"])
            counted[key] = counted.get(key, 0) + each["number"]
    pairs = [(key, counted.get(key, 0), noted.get(key, 0), "values") for key in sorted({*counted, *noted})]
    pairs.append((("", ""), record.documents, documents, "documents"))
    return [
        Mismatch(
            Kind.COUNT, collection, path, "", "", f"{grouped(said)} {what}", f"{grouped(found)} {what}",
            f"rewrite {record.rewrite_id}: its record and its notes",
        )
        for (collection, path), said, found, what in pairs
        if said != found
    ]  # fmt: skip


def shown(value: Any) -> str:
    """Return a value as text."""
    return display_id(value)
