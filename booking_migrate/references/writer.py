"""Note what changes, write it where the documents still are what was read, and look again where they are not."""

from collections.abc import Callable, Sequence
from time import sleep
from typing import TYPE_CHECKING, NamedTuple

from booking_migrate.bson.document import identity_of, value_in
from booking_migrate.bson.format import display_id
from booking_migrate.errors import ReferenceContended
from booking_migrate.references.changes import Planned, is_before, reversal
from booking_migrate.references.drain import OthersWrites
from booking_migrate.references.noting import noted_together
from booking_migrate.references.positions import rebuilt
from booking_migrate.runs.lock import HeldLock
from booking_migrate.stores.reference_journal import ABSENT, DocumentChange, Note
from booking_migrate.stores.references import ReferringCollection

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.reference_journal import MongoReferenceJournal
    from booking_migrate.stores.mongo.referring_writes import MongoReferringWrites, MovesDone

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
    taken: Sequence[Planned]
    """The documents that keep their `_id`, since another one has the new one already."""


class _Missed(NamedTuple):
    """What was not written, or perhaps not, by position."""

    void: Sequence[int]
    """The documents do not have any of these changes."""

    again: Sequence[int]
    """The documents to be read again, because others may have written them."""

    taken: Sequence[int]


class Writer:
    """Writes changes of one rewrite, under its lock."""

    def __init__(
        self,
        journal: "MongoReferenceJournal",
        lock: HeldLock,
        rewrite_id: str,
        others: OthersWrites | None,
        replan: Callable[[str, Sequence[bytes]], list[Planned]],
    ) -> None:
        """Take the parts.

        Args:
            journal: where changes are noted.
            lock: confirmed before each write.
            rewrite_id: the rewrite.
            others: notified of the writes of this process; None: the writes of others are not read.
            replan: returns what changes in documents of a collection, as they are now.
        """
        self._journal, self._lock, self._rewrite_id = journal, lock, rewrite_id
        self._others, self._replan = others, replan

    def write(self, place: Place, planned: Sequence[Planned]) -> Written:
        """Note and write changes of one collection; what has changed meanwhile is planned again.

        Raises:
            ReferenceContended: a document changes again and again.
            ReferencesRefused: the server refuses a document, or it cannot be noted; the others are written.
        """
        done = [self._write(place, group) for group in noted_together(place.writes.name, planned)]
        return Written(
            done[-1].name,
            [each for one in done for each in one.written],
            [each for one in done for each in one.taken],
        )

    def _write(self, place: Place, planned: Sequence[Planned]) -> Written:
        """Note and write what has its place in one note."""
        written: list[DocumentChange] = []
        taken: list[Planned] = []
        name, collection = "", place.writes.name
        for number in range(_MOST_ROUNDS):
            changes = tuple(each.change for each in planned)
            self._lock.confirm()
            name = self._journal.note(self._rewrite_id, self._lock.token, Note("", collection, changes))
            missed = self._send(place, planned, is_exact=number >= EXACT_FROM)
            without = sorted({*missed.void, *missed.taken})
            if without:
                self._journal.void(name, without)
            written += [each for position, each in enumerate(changes) if position not in set(without)]
            taken += [planned[position] for position in missed.taken]
            ids = [changes[position].document_id for position in missed.again]
            planned = self._replan(collection, list(place.writes.find(ids).values()))
            if not planned:
                return Written(name, written, taken)
            if number >= EXACT_FROM:
                sleep(_PAUSE_SECONDS)
        raise ReferenceContended(collection, display_id(planned[0].change.document_id))

    def _send(self, place: Place, planned: Sequence[Planned], *, is_exact: bool) -> _Missed:
        """Write changes, and return what was not written."""
        updated = [at for at, each in enumerate(planned) if each.change.new_id is ABSENT]
        moved = [at for at, each in enumerate(planned) if each.change.new_id is not ABSENT]
        missed = _Missed([], [], [])
        if updated and not self._update(place, [planned[at] for at in updated], is_exact=is_exact):
            missed = _Missed(self._absent(place, planned, updated), updated, [])
        if moved:
            done = self._move(place, [planned[at] for at in moved])
            changed = [moved[at] for at in done.changed]
            missed = _Missed(
                [*missed.void, *changed], [*missed.again, *changed], [moved[at] for at in done.taken]
            )
        return missed

    def _update(self, place: Place, planned: Sequence[Planned], *, is_exact: bool) -> bool:
        """Update documents; return whether all of them still were what was read."""
        from booking_migrate.stores.mongo.referring_writes import Update  # noqa: PLC0415

        ids = [each.change.document_id for each in planned]
        self._expect(place, ids)
        self._lock.confirm()
        updates = [
            Update(each.change.identity, each.change.changes, each.guard, each.raw if is_exact else None)
            for each in planned
        ]
        if place.writes.write(updates):
            return True
        # Which of them were written is not known: one may have its new values from an earlier write.
        self._forget(place, ids)
        return False

    def _absent(self, place: Place, planned: Sequence[Planned], updated: Sequence[int]) -> list[int]:
        """Return the positions of changes of which the documents do not have any part: an undo does not need their notes."""
        now = dict(place.writes.find([planned[at].change.document_id for at in updated]))
        return [at for at in updated if not _stands(planned[at].change, now)]

    def _move(self, place: Place, planned: Sequence[Planned]) -> "MovesDone":
        """Replace documents by such with another `_id`."""
        from booking_migrate.stores.mongo.referring_writes import Move  # noqa: PLC0415

        moves = [Move(each.raw, rebuilt(each.raw, each.change.changes)) for each in planned]
        ids = [[value_in(raw, b"_id") for raw in each] for each in moves]
        self._expect(place, [each for both in ids for each in both])
        self._lock.confirm()
        done = place.writes.move(moves)
        self._forget(place, [each for at in (*done.changed, *done.taken) for each in ids[at]])
        return done

    def _expect(self, place: Place, ids: Sequence[object]) -> None:
        if self._others is not None:
            self._others.expect(place.writes.name, ids)

    def _forget(self, place: Place, ids: Sequence[object]) -> None:
        if self._others is not None:
            self._others.forget(place.writes.name, ids)

    def settle(self, place: Place, note: Note) -> Sequence[DocumentChange]:
        """Look at the documents of a note that a killed process has left, and write those that are unchanged.

        Returns:
            The changes that stand. The others are void: the scan, or the feed, leads to their documents again.
        """
        from booking_migrate.stores.mongo.referring_writes import Update  # noqa: PLC0415

        documents = [each for at, each in enumerate(note.documents) if at not in note.void]
        now = self._now(place, documents)
        updates = [
            Update(each.identity, each.changes, ())
            for each in documents
            if each.new_id is ABSENT
            and (raw := now.get(each.identity)) is not None
            and is_before(raw, each.changes)
        ]
        if updates:
            self._lock.confirm()
            place.writes.write(updates)
            now = self._now(place, documents)
        existing = [each for each in documents if _stands(each, now)]
        void = [at for at, each in enumerate(note.documents) if at not in note.void and each not in existing]
        if void:
            self._journal.void(note.name, void)
        return existing

    def _now(self, place: Place, documents: Sequence[DocumentChange]) -> dict[bytes, bytes]:
        ids = [each.document_id for each in documents]
        ids += [each.new_id for each in documents if each.new_id is not ABSENT]
        return dict(place.writes.find(ids))


def _stands(change: DocumentChange, now: dict[bytes, bytes]) -> bool:
    """Return whether any of a change was made and is there: of one of `_id`, whether its document is under its new one."""
    if change.new_id is ABSENT:
        raw = now.get(change.identity)
        return raw is not None and bool(reversal(raw, change).changes)
    raw = next((each for each in now.values() if _has_id(each, change.new_id)), None)
    # Its other fields may be others already: the application writes.
    return change.identity not in now and raw is not None


def _has_id(raw: bytes, document_id: object) -> bool:
    found = value_in(identity_of(raw), b"_id")
    return type(found) is type(document_id) and bool(found == document_id)
