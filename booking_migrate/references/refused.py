"""Documents that are left since the server refuses them with their new ids, or another one has their new `_id`: each is counted once."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.references.changes import Planned, is_before
from booking_migrate.references.drain import Key
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.tally import REFUSED, TAKEN, Tally
from booking_migrate.references.writer import Place
from booking_migrate.stores.reference_journal import ABSENT, DocumentChange

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.reference_journal import MongoReferenceJournal

_REASONS = (REFUSED, TAKEN)
MOST = 100_000
"""How many of them are known by their `_id`. Of more, one that others write meanwhile counts each time it is refused."""


class RefusedDocuments:
    """Counts the references that are left because the server refuses their documents."""

    def __init__(self, tally: Tally, fields: Mapping[str, Sequence[ReferenceField]]) -> None:
        """Take where they are counted, and the fields of each collection."""
        self._tally, self._fields = tally, fields
        self._counted: dict[Key, tuple[str, Sequence[tuple[ReferenceField, int]]]] = {}
        """Why each is left, and how many references of each field."""

    def restore(
        self,
        journal: "MongoReferenceJournal",
        rewrite_id: str,
        places: Mapping[str, Place],
        replan: Callable[[str, Sequence[bytes]], Sequence[Planned]],
    ) -> None:
        """Count what a killed process has left: those of its notes that still are what was refused, by what would change in them."""
        for key in [key for key in self._tally.values if key[2] in _REASONS]:
            del self._tally.values[key]
        self._tally.samples = [each for each in self._tally.samples if each.reason not in _REASONS]
        for note in journal.refused(rewrite_id):
            refused = [(note.documents[at], why) for at, why in note.refused.items()]
            now = places[note.collection].writes.find([each.document_id for each, _why in refused])
            planned = {each.change.identity: each for each in replan(note.collection, list(now.values()))}
            for each, why in refused:
                again = planned.get(each.identity)
                if again is not None and is_before(again.raw, each.changes):
                    self.leave(note.collection, again.change, why)
                else:
                    self.forget(note.collection, [each.document_id])

    def leave(self, collection: str, change: DocumentChange, why: str) -> None:
        """Count a document that is left, by its references; why, as `Note.refused` has it."""
        self.forget(collection, [change.document_id])
        known = {each.field: each for each in self._fields[collection]}
        # Of one whose reference is its own new id, nothing but fields beside it changes.
        references = [each for each in change.changes if each.field in known] or change.changes[:1]
        first = next(iter(known.values()))
        reason = REFUSED if why else TAKEN
        counted: Counter[str] = Counter()
        for each in references:
            of = known.get(each.field, first)
            value = each.after if each.before is ABSENT else each.before
            self._tally.leave(of, change.identity, each.path, value, reason, detail=why)
            counted[of.field] += 1
        if len(self._counted) < MOST:
            numbers = [(known[name], number) for name, number in counted.items()]
            self._counted[collection, sort_key(change.document_id)] = reason, numbers

    def forget(self, collection: str, ids: Iterable[Any]) -> None:
        """Count some documents no more: they are looked at again."""
        if self._counted:
            for each in ids:
                self._forget((collection, sort_key(each)), display_id(each))

    def forget_all(self, collection: str) -> None:
        """Count no document of a collection any more: all of it is looked at again."""
        kept = {key: each for key, each in self._counted.items() if key[0] != collection}
        if len(kept) < len(self._counted):
            self._counted = kept
            for name in [key for key in self._tally.values if key[0] == collection and key[2] in _REASONS]:
                del self._tally.values[name]
            self._tally.samples = [
                each
                for each in self._tally.samples
                if each.collection != collection or each.reason not in _REASONS
            ]

    def _forget(self, key: Key, named: str) -> None:
        reason, numbers = self._counted.pop(key, ("", ()))
        for of, number in numbers:
            self._tally.count(of, reason, -number)
        if numbers:
            one = (key[0], named, reason)
            self._tally.samples = [
                each
                for each in self._tally.samples
                if (each.collection, each.document_id, each.reason) != one
            ]
