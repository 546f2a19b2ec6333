"""What an undo of references is asked for and has done, and how it writes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from booking_migrate.bson.document import identity_of, value_in
from booking_migrate.bson.format import display_id
from booking_migrate.events import Listener
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.positions import rebuilt
from booking_migrate.references.writer import Place
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.regulator import Regulator
from booking_migrate.stores.locks import Holder, LockStore
from booking_migrate.stores.reference_journal import DocumentChange, FieldChange, Move, RewriteRecord, Update
from booking_migrate.stores.references import OldIds

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.reference_journal import MongoReferenceJournal

MOST_ROUNDS = 30
SAMPLES = 100


@dataclass(slots=True)
class UndoCounts:
    """What an undo has done."""

    documents: int = 0
    """How many documents have old ids again."""

    identical: int = 0
    """How many of them are byte for byte what they were; the others were changed by others in other fields."""

    values: int = 0
    kept: int = 0
    """How many noted values others have changed since, so that they stay."""

    superseded: int = 0
    """How many others have replaced since by ids of old bookings, so that they stay, too, and lead somewhere."""

    gone: int = 0
    """How many documents others have deleted since."""

    def saved(self) -> dict[str, int]:
        """Return them as values of BSON."""
        return {
            name: getattr(self, name)
            for name in ("documents", "identical", "values", "kept", "superseded", "gone")
        }

    def restored(self, values: int) -> None:
        """Count a document that is byte for byte what it was."""
        self.documents += 1
        self.identical += 1
        self.values += values


class Stuck(NamedTuple):
    """A document that keeps new ids although others have not changed them, as text."""

    collection: str
    document_id: str
    why: str


class Kept(NamedTuple):
    """A value that an undo keeps, as text."""

    collection: str
    document_id: str
    path: str
    noted: str
    """The new id that the rewrite wrote."""


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What to undo, and where."""

    rewrites: Sequence[RewriteRecord]
    """The newest first; empty: the journal has none, and old ids are computed for `fields`."""

    fields: Sequence[ReferenceField]
    journal: "MongoReferenceJournal"
    open_place: Callable[[str], Place]
    old_ids: OldIds
    """What knows the old bookings."""

    locks: LockStore
    holder: Holder
    listener: Listener
    regulator: Regulator


@dataclass(slots=True)
class UndoOfReferences:
    """The result of an undo."""

    records: list[RewriteRecord] = field(default_factory=list)
    counts: UndoCounts = field(default_factory=UndoCounts)
    kept: list[Kept] = field(default_factory=list)
    left: int = 0
    """How many documents keep new ids although others have not changed them; their notes are kept, too."""

    stuck: list[Stuck] = field(default_factory=list)
    """The first of them."""

    is_computed: bool = False
    """Whether old ids were computed, because the journal has no notes."""

    def leave(self, collection: str, documents: Mapping[bytes, str]) -> None:
        """Count documents that keep new ids: why, by their identities."""
        self.left += len(documents)
        for identity, why in islice(documents.items(), max(SAMPLES - len(self.stuck), 0)):
            self.stuck.append(Stuck(collection, display_id(value_in(identity, b"_id")), why))


class NotDone(NamedTuple):
    """Documents that were not restored, by their noted identities."""

    taken: frozenset[bytes]
    """They keep their new `_id`, since another one has the old one now."""

    refused: Mapping[bytes, str]
    """Why the server refuses them as they would be."""


class Restorer:
    """Writes old ids, under the lock of references."""

    def __init__(self, open_place: Callable[[str], Place], lock: HeldLock) -> None:
        """Take how a collection is opened, and the lock, which is confirmed before each write."""
        self._open_place, self._lock = open_place, lock
        self._places: dict[str, Place] = {}

    def place(self, name: str) -> Place:
        """Return a collection, opened once."""
        if name not in self._places:
            self._places[name] = self._open_place(name)
        return self._places[name]

    def write(
        self,
        place: Place,
        pending: Sequence[tuple[DocumentChange, bytes, Sequence[FieldChange]]],
        *,
        is_exact: bool,
    ) -> "NotDone":
        """Write old ids where the documents still are what was read; the caller looks again."""
        updates, updated, moves, moved = [], [], [], []
        for noted, raw, changes in pending:
            if any(each.is_document_id for each in changes):
                moves.append(Move(raw, rebuilt(raw, changes)))
                moved.append(noted.identity)
            else:
                updates.append(Update(identity_of(raw), changes, (), raw if is_exact else None))
                updated.append(noted.identity)
        self._lock.confirm()
        refused: dict[bytes, str] = {}
        taken: list[bytes] = []
        if updates:
            refused |= {updated[at]: why for at, why in place.writes.write(updates).refused}
        if moves:
            done = place.writes.move(moves)
            refused |= {moved[at]: why for at, why in done.refused}
            taken = [moved[at] for at in done.taken]
        return NotDone(frozenset(taken), refused)
