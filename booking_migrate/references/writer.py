"""Note what changes, write it where the documents still are what was read, and look again where they are not."""

from collections.abc import Callable, Mapping, Sequence
from time import sleep
from typing import TYPE_CHECKING, NamedTuple

from booking_migrate.bson.document import value_in, write_fields
from booking_migrate.bson.format import display_id
from booking_migrate.errors import ReferenceContended
from booking_migrate.references.changes import Planned, is_after, is_before, reversal
from booking_migrate.references.drain import OthersWrites
from booking_migrate.references.noting import TOO_LARGE, fits, noted_together
from booking_migrate.references.positions import rebuilt
from booking_migrate.runs.lock import HeldLock
from booking_migrate.stores.reference_journal import (
    ABSENT,
    DOCUMENT_ID,
    DocumentChange,
    Move,
    Note,
    Update,
)
from booking_migrate.stores.references import ReferringCollection

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.reference_journal import MongoReferenceJournal
    from booking_migrate.stores.mongo.referring_writes import MongoReferringWrites

_MOST_ROUNDS = 30
EXACT_FROM = 3
"""From which round on documents are compared as a whole: a path that is a number may mean two things in a query."""

_PAUSE_SECONDS = 0.05


class Place(NamedTuple):
    """A collection with references."""

    reader: ReferringCollection
    writes: "MongoReferringWrites"
    documents: int | None = None
    """How many documents it has, roughly."""


class Written(NamedTuple):
    """The result of writing changes."""

    name: str
    """The name of the last note."""

    written: Sequence[DocumentChange]
    refused: Sequence[tuple[DocumentChange, str]]
    """What is left, and why the server refuses it; see `Note.refused`."""


class _Missed(NamedTuple):
    """What was not written, or perhaps not, by position."""

    void: Sequence[int]
    """The documents do not have any of these changes."""

    again: Sequence[int]
    """The documents to be read again, because others may have written them."""

    refused: Mapping[int, str]

    def of(self, positions: Sequence[int]) -> "_Missed":
        """Return the same of changes that have these positions among others."""
        void, again = ([positions[at] for at in some] for some in (self.void, self.again))
        return _Missed(void, again, {positions[at]: why for at, why in self.refused.items()})

    def beside(self, other: "_Missed") -> "_Missed":
        """Return what this one or another one has."""
        return _Missed(
            [*self.void, *other.void], [*self.again, *other.again], {**self.refused, **other.refused}
        )


class Writer:
    """Writes changes of one rewrite, under its lock."""

    def __init__(
        self,
        journal: "MongoReferenceJournal",
        lock: HeldLock,
        rewrite_id: str,
        replan: Callable[[str, Sequence[bytes]], list[Planned]],
    ) -> None:
        """Take the parts.

        Args:
            journal: where changes are noted.
            lock: confirmed before each write.
            rewrite_id: the rewrite.
            replan: returns what changes in documents of a collection, as they are now.
        """
        self._journal, self._lock, self._rewrite_id = journal, lock, rewrite_id
        self._replan = replan
        self.others: OthersWrites | None = None
        """Notified of the writes of this process; None: the writes of others are not read."""

    def write(self, place: Place, planned: Sequence[Planned]) -> Written:
        """Note and write changes of one collection; what has changed meanwhile is planned again.

        Raises:
            ReferenceContended: a document changes again and again.
            ReferencesRefused: the server refuses a document for a cause that may concern all.
        """
        done = [self._write(place, group) for group in noted_together(planned)]
        return Written(
            done[-1].name,
            [each for one in done for each in one.written],
            [each for one in done for each in one.refused],
        )

    def _write(self, place: Place, planned: Sequence[Planned]) -> Written:
        """Note and write what has its place in one note."""
        written: list[DocumentChange] = []
        refused: list[tuple[DocumentChange, str]] = []
        name, collection = "", place.writes.name
        for number in range(_MOST_ROUNDS):
            changes = tuple(each.change for each in planned)
            self._lock.confirm()
            large = {at: TOO_LARGE for at, each in enumerate(planned) if not fits(each)}
            noted = tuple(
                each._replace(changes=()) if position in large else each
                for position, each in enumerate(changes)
            )
            note = Note("", collection, noted, frozenset(large), large)
            name = self._journal.note(self._rewrite_id, self._lock.token, note)
            missed = self._send(place, planned, large, is_exact=number >= EXACT_FROM)
            without = sorted({*missed.void, *missed.refused})
            if without:
                self._journal.void(name, without, missed.refused)
            written += [each for position, each in enumerate(changes) if position not in set(without)]
            refused += [(changes[position], why) for position, why in missed.refused.items()]
            ids = [changes[position].document_id for position in missed.again]
            planned = self._replan(collection, list(place.writes.find(ids).values()))
            if not planned:
                return Written(name, written, refused)
            if number >= EXACT_FROM:
                sleep(_PAUSE_SECONDS)
        raise ReferenceContended(collection, display_id(planned[0].change.document_id))

    def _send(
        self, place: Place, planned: Sequence[Planned], large: Mapping[int, str], *, is_exact: bool
    ) -> _Missed:
        """Write changes but for those that are too large, and return what was not written."""
        moved = [
            at for at, each in enumerate(planned) if at not in large and each.change.new_id is not ABSENT
        ]
        updated = [at for at, each in enumerate(planned) if at not in large and each.change.new_id is ABSENT]
        missed = _Missed([], [], large)
        if updated:
            missed = missed.beside(
                self._update(place, [planned[at] for at in updated], is_exact=is_exact).of(updated)
            )
        if moved:
            missed = missed.beside(self._move(place, [planned[at] for at in moved]).of(moved))
        return missed

    def _update(self, place: Place, planned: Sequence[Planned], *, is_exact: bool) -> _Missed:
        """Update documents; return what was not written."""
        ids = [each.change.document_id for each in planned]
        self._expect(place, ids)
        self._lock.confirm()
        done = place.writes.write(
            [
                Update(each.change.identity, each.change.changes, each.guard, each.raw if is_exact else None)
                for each in planned
            ]
        )
        if done.is_all:
            return _Missed([], [], {})
        if self.others is not None and done.time is not None:
            self.others.ended(place.writes.name, ids, done.time)
        refused = {each.position: each.why for each in done.refused}
        self._forget(place, [ids[at] for at in refused])
        # What has all its new values is written, by this command or an earlier one whose answer was lost; or others have done it,
        # with more than that perhaps, which was read as an own write.
        now = dict(place.writes.find(ids))
        left = [at for at, each in enumerate(planned) if not _is_made(each.change, now)]
        self._forget(place, [ids[at] for at in left if at not in refused])
        void = [at for at in left if not _stands(planned[at].change, now)]
        again = [at for at, each in enumerate(planned) if not _is_exact(each, now)]
        return _sorted_out(planned, now, _Missed(void, again, refused))

    def _move(self, place: Place, planned: Sequence[Planned]) -> _Missed:
        """Replace documents by such with another `_id`; return what was not written."""
        moves = [Move(each.raw, rebuilt(each.raw, each.change.changes)) for each in planned]
        ids = [[value_in(raw, b"_id") for raw in each] for each in moves]
        self._expect(place, [each for both in ids for each in both])
        self._lock.confirm()
        done = place.writes.move(moves)
        refused = {each.position: each.why for each in done.refused} | dict.fromkeys(done.taken, "")
        self._forget(place, [each for at in (*done.changed, *refused) for each in ids[at]])
        now = dict(place.writes.find([ids[at][0] for at in refused]))
        missed = _Missed(done.changed, [*done.changed, *refused], refused)
        return _sorted_out(planned, now, missed)

    def _expect(self, place: Place, ids: Sequence[object]) -> None:
        if self.others is not None:
            self.others.expect(place.writes.name, ids)

    def _forget(self, place: Place, ids: Sequence[object]) -> None:
        if self.others is not None:
            self.others.forget(place.writes.name, ids)

    def settle(self, place: Place, note: Note) -> Sequence[DocumentChange]:
        """Look at the documents of a note that a killed process has left, and write those whose changes are still planned.

        Returns:
            The changes that stand. The others are void: the scan, or the feed, leads to their documents again.
        """
        documents = note.written
        now = _now(place, documents)
        # Others may have ended a condition since: what is still planned has the guard of it.
        planned = {each.change.identity: each for each in self._replan(place.writes.name, list(now.values()))}
        updates = [
            Update(each.identity, each.changes, again.guard)
            for each in documents
            if each.new_id is ABSENT
            and (again := planned.get(each.identity)) is not None
            and is_before(again.raw, each.changes)
            and _has_all(again.change, each)
        ]
        if updates:
            self._lock.confirm()
            place.writes.write(updates)
            now = _now(place, documents)
        return _void_others(self._journal, note, now)


def void_unwritten(journal: "MongoReferenceJournal", place: Place, note: Note) -> None:
    """Void what a killed process has noted and not written, so that an undo does not count it."""
    _void_others(journal, note, _now(place, note.written))


def _void_others(
    journal: "MongoReferenceJournal", note: Note, now: Mapping[bytes, bytes]
) -> Sequence[DocumentChange]:
    """Return the changes of a note that documents have now; the others become void."""
    there, void = [], []
    for at, each in enumerate(note.documents):
        if at not in note.void:
            if _stands(each, now):
                there.append(each)
            else:
                void.append(at)
    if void:
        journal.void(note.name, void)
    return there


def _now(place: Place, documents: Sequence[DocumentChange]) -> Mapping[bytes, bytes]:
    """Return documents as they are, under their old and their new `_id`, by their identities."""
    ids = [each.document_id for each in documents]
    ids += [each.new_id for each in documents if each.new_id is not ABSENT]
    return place.writes.find(ids)


def _sorted_out(planned: Sequence[Planned], now: dict[bytes, bytes], missed: _Missed) -> _Missed:
    """Return what was not written with refused documents that are still what was refused; others have changed the rest."""
    refused = {
        at: why
        for at, why in missed.refused.items()
        if now.get(planned[at].change.identity) == planned[at].raw
    }
    void = sorted({*missed.void, *missed.refused})
    return missed._replace(void=void, again=[at for at in missed.again if at not in refused], refused=refused)


def _is_exact(planned: Planned, now: dict[bytes, bytes]) -> bool:
    """Return whether a document is what the change alone makes of what was read."""
    raw = now.get(planned.change.identity)
    return raw is not None and raw == rebuilt(planned.raw, planned.change.changes)


def _is_made(change: DocumentChange, now: dict[bytes, bytes]) -> bool:
    raw = now.get(change.identity)
    return raw is not None and is_after(raw, change.changes)


def _stands(change: DocumentChange, now: Mapping[bytes, bytes]) -> bool:
    """Return whether any of a change was made and is there: of one of `_id`, whether its document is under its new one."""
    if change.new_id is ABSENT:
        raw = now.get(change.identity)
        return raw is not None and bool(reversal(raw, change).changes)
    # Its other fields may be others already: the application writes.
    return change.identity not in now and write_fields({DOCUMENT_ID: change.new_id}) in now


def _has_all(change: DocumentChange, noted: DocumentChange) -> bool:
    """Return whether a change of a document has all that was noted of it before."""
    planned = {each.path: each for each in change.changes}
    return all(planned.get(each.path) == each for each in noted.changes)
