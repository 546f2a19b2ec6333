"""What rewrites have noted, compared with the documents as they are: the new ids are right, and nothing else was changed."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import accumulate, product
from typing import Any, NamedTuple

from booking_migrate.bson.document import write_fields
from booking_migrate.bson.order import id_key, sort_key
from booking_migrate.events import Advanced, PhaseEnded, PhaseStarted
from booking_migrate.references.decoded import (
    Values,
    ids_of,
    is_same,
    parts_of,
    put_back,
    with_ids,
    within_id,
)
from booking_migrate.references.fields import NewId, ReferenceField
from booking_migrate.references.meaning import Meaning, Meanings
from booking_migrate.references.proof import (
    Kind,
    Listed,
    Mismatch,
    Proof,
    VerifyPlan,
    count_mismatches,
    recorded_fields,
    shown,
)
from booking_migrate.stores.reference_journal import (
    ABSENT,
    DOCUMENT_ID,
    DocumentChange,
    FieldChange,
    Note,
    RewriteRecord,
    RewriteState,
)
from booking_migrate.stores.references import NewIds

_CHANGED, _GONE = "changed", "gone"


class Gone(NamedTuple):
    """A noted new id that nothing has, in a field that is not read as a whole."""

    raw: bytes
    """The document as it is."""

    collection: str
    change: FieldChange


class NotesCheck:
    """Compares the notes of rewrites with documents; memory holds one note."""

    def __init__(self, plan: VerifyPlan, meanings: Meanings, proof: Proof) -> None:
        """Take the parts; the proof has the rewrites that stand, and takes what is found."""
        self._journal, self._referring, self._listener = plan.journal, plan.referring, plan.listener
        self._meanings, self._proof = meanings, proof
        self._rewrites = list(reversed(proof.rewrites))
        self._read = {(each.of.collection, each.of.field) for each in proof.fields}

    def run(self) -> Iterator[Gone]:
        """Compare all of them, and yield new ids that are gone, of fields that are not read as a whole."""
        for position, record in enumerate(self._rewrites):
            documents = 0
            values: Counter[tuple[str, str]] = Counter()
            self._listener.notify(
                PhaseStarted(f"notes of rewrite {record.rewrite_id}", record.documents, "document")
            )
            for note in self._journal.notes(record.rewrite_id):
                yield from self._note(position, note)
                documents += len(note.written)
                values.update((note.collection, each.field) for one in note.written for each in one.changes)
                self._listener.notify(Advanced(len(note.written)))
            self._listener.notify(PhaseEnded())
            self._proof.notes.documents += documents
            self._proof.notes.values += values.total()
            if record.state is RewriteState.DONE:
                for each in count_mismatches(record, values, documents):
                    self._proof.fail(each)

    def _note(self, position: int, note: Note) -> Iterator[Gone]:
        """Compare one note."""
        record, notes = self._rewrites[position], self._proof.notes
        now = self._now(note.collection, note.written)
        others: list[DocumentChange] = []
        there: list[tuple[DocumentChange, bytes]] = []
        for each in note.written:
            raw = _document_of(each, now)
            if raw is None:
                others.append(each)
                continue
            there.append((each, raw))
            if record.state is not RewriteState.DONE and sha256(raw).digest() == each.digest:
                notes.open += 1
            elif _is_restored(raw, [each.changes], each.digest):
                notes.identical += 1
            else:
                others.append(each)
        there += self._look_at(position, note, others, now)
        yield from self._check_ids(record, note.collection, there)

    def _now(self, collection: str, documents: Sequence[DocumentChange]) -> dict[bytes, bytes]:
        """Return documents as they are, by the sort keys of their `_id`."""
        ids = {sort_key(each.document_id): each.document_id for each in documents}
        moved = {sort_key(each.new_id): each.new_id for each in documents if each.new_id is not ABSENT}
        return {id_key(raw): raw for raw in self._referring(collection).find([*{**ids, **moved}.values()])}

    def _look_at(
        self, position: int, note: Note, left: Sequence[DocumentChange], now: Mapping[bytes, bytes]
    ) -> list[tuple[DocumentChange, bytes]]:
        """Count documents that are not what the note alone says: a later rewrite has changed them, or others have.

        Returns:
            Those that have another `_id` by a later note.
        """
        if not left:
            return []
        later = self._later(position, note, left)
        moved = [each for one in later.values() for each in one if each.new_id is not ABSENT]
        now = {**now, **self._now(note.collection, moved)} if moved else now
        moved_since = []
        for each in left:
            after = later.get(each.identity, [])
            raw = next((raw for one in reversed([each, *after]) if (raw := _document_of(one, now))), None)
            made = [each.changes, *(one.changes for one in after)]
            if raw is None:
                self._proof.notes.gone += 1
                self._list(_GONE, self._proof.notes.gone, note.collection, each)
            elif after and _is_restored(raw, made, each.digest):
                self._proof.notes.identical += 1
            else:
                self._proof.notes.changed += 1
                self._list(_CHANGED, self._proof.notes.changed, note.collection, each)
            if raw is not None and any(one.new_id is not ABSENT for one in after):
                moved_since.append((each, raw))
        return moved_since

    def _later(
        self, position: int, note: Note, left: Sequence[DocumentChange]
    ) -> dict[bytes, list[DocumentChange]]:
        """Return what later notes have of some documents, by their identities in this one, the oldest first."""
        named = {each.identity: each.identity for each in left}
        named |= {_identity(each.new_id): each.identity for each in left if each.new_id is not ABSENT}
        found: dict[bytes, list[DocumentChange]] = {}
        for record in self._rewrites[position:]:
            after = note.name if record is self._rewrites[position] else ""
            for later in self._journal.notes_with(record.rewrite_id, list(named), after=after):
                if later.collection != note.collection:
                    continue
                for each in later.written:
                    first = named.get(each.identity)
                    if first is not None:
                        found.setdefault(first, []).append(each)
                        if each.new_id is not ABSENT:
                            named[_identity(each.new_id)] = first
        return found

    def _list(self, what: str, number: int, collection: str, of: DocumentChange) -> None:
        self._proof.keep(Listed(what, collection, "", shown(of.document_id), "", ""), number)

    def _check_ids(
        self, record: RewriteRecord, collection: str, there: Sequence[tuple[DocumentChange, bytes]]
    ) -> Iterator[Gone]:
        """Compare what was written with the ids that the bookings have, and look for what is gone."""
        fields = [each for each in recorded_fields(record) if each.collection == collection]
        new = self._meanings.resolved(
            old for one, _raw in there for each in one.changes for old in _ids_before(each)
        )
        unknown: list[tuple[FieldChange, bytes, Values]] = []
        for one, raw in there:
            values, beside = Values(raw), _by_place(one.changes)
            for each in (part for change in one.changes for part in parts_of(change)):
                expected = list(_expected(each, one.changes, beside, fields, new))
                if not expected:
                    unknown.append((each, raw, values))
                elif not any(is_same(each.after, value) for value in expected) and values.has(each):
                    self._proof.fail(
                        Mismatch(
                            Kind.WRONG,
                            collection,
                            each.field,
                            shown(one.document_id),
                            each.path,
                            shown(expected[0]),
                            shown(each.after),
                        )
                    )
        yield from self._gone(collection, unknown)

    def _gone(self, collection: str, unknown: Sequence[tuple[FieldChange, bytes, Values]]) -> Iterator[Gone]:
        """Yield what nothing has any more, of fields that are not read as a whole."""
        asked = [
            (each, raw)
            for each, raw, values in unknown
            if (collection, each.field) not in self._read and values.has(each)
        ]
        meanings = self._meanings.look_up(found for each, _raw in asked for found in _ids_after(each))
        known = {key for key, meaning in meanings.items() if meaning is not Meaning.UNKNOWN}
        rest = [found for each, _raw in asked for found in _ids_after(each) if sort_key(found) not in known]
        known |= self._meanings.sessions_among(rest) if rest else set()
        for each, raw in asked:
            if known.isdisjoint(map(sort_key, _ids_after(each))):
                yield Gone(raw, collection, each)


def _document_of(change: DocumentChange, now: Mapping[bytes, bytes]) -> bytes | None:
    """Return the document of a note as it is now, under its new `_id` if it has one; None if it is gone."""
    moved = None if change.new_id is ABSENT else now.get(sort_key(change.new_id))
    return moved or now.get(sort_key(change.document_id))


def _is_restored(raw: bytes, made: Sequence[Sequence[FieldChange]], digest: bytes) -> bool:
    """Return whether a document without some changes has this digest."""
    before = put_back(raw, made)
    return before is not None and sha256(before).digest() == digest


def _identity(document_id: Any) -> bytes:
    return write_fields({DOCUMENT_ID: document_id})


_Beside = Mapping[tuple[str, str], Sequence[FieldChange]]
"""The changes of a document, by their fields and every place that they are in or at."""


def _by_place(changes: Sequence[FieldChange]) -> _Beside:
    found: dict[tuple[str, str], list[FieldChange]] = {}
    for each in changes:
        for place in accumulate(each.path.split("."), "{}.{}".format):
            found.setdefault((each.field, place), []).append(each)
    return found


def _ids_before(change: FieldChange) -> Sequence[Any]:
    if change.is_document_id and change.field != DOCUMENT_ID:
        return [found for each in within_id(change) for found in each.ids]
    return () if change.before is ABSENT or isinstance(change.before, dict | list) else ids_of(change.before)


def _ids_after(change: FieldChange) -> Sequence[Any]:
    if change.is_document_id:
        return _ids_before(change._replace(before=change.after))
    values = change.after if isinstance(change.after, list) else [change.after]
    return [found for each in values if not isinstance(each, dict) for found in ids_of(each)]


def _expected(
    change: FieldChange,
    together: Sequence[FieldChange],
    by_place: _Beside,
    fields: Sequence[ReferenceField],
    new: Mapping[bytes, NewIds],
) -> Iterator[Any]:
    """Yield what a noted value may be; nothing if that is not known any more.

    Args:
        change: what was noted.
        together: everything that was changed in the document.
        by_place: the same, by where it is.
        fields: the rewrite's fields of the collection.
        new: the new ids of old bookings, by the sort keys of the old ones.
    """
    olds = {key: new[key] for each in _ids_before(change) if (key := sort_key(each)) in new}
    if olds and _is_inside_id(change):
        inside = [each for each in together if _is_inside_id(each)]
        by_change = ([field for field in fields if field.field == each.field] for each in inside)
        for chosen in product(*by_change):
            yield _whole_id(list(zip(inside, chosen, strict=True)), new)
        return
    for field in fields:
        if field.field == change.field and olds:
            yield with_ids(change.before, {key: _chosen(ids, field.to) for key, ids in olds.items()})
    adding = [field for field in fields if change.field in field.add]
    for field in adding:
        beside = by_place.get((field.field, _place(field, change)), ())
        found = [_first(each, new) for each in beside]
        ids = [_chosen(each, field.add[change.field]) for each in found if each is not None]
        if not ids or len(ids) < len(found):
            continue
        if any(part.isdecimal() for each in beside for part in _behind(each, field, change)):
            if len(adding) == 1:
                yield [*(change.before if isinstance(change.before, list) else ()), *ids]
        else:
            yield from ids


def _chosen(ids: NewIds, to: NewId) -> Any:
    match to:
        case NewId.SESSION:
            return ids.session_id
        case NewId.CLIENT_DOCUMENT:
            return ids.document_id


def _first(change: FieldChange, new: Mapping[bytes, NewIds]) -> NewIds | None:
    return next((new[key] for each in _ids_before(change) if (key := sort_key(each)) in new), None)


def _is_inside_id(change: FieldChange) -> bool:
    return change.is_document_id and change.field != DOCUMENT_ID


def _whole_id(inside: Sequence[tuple[FieldChange, ReferenceField]], new: Mapping[bytes, NewIds]) -> Any:
    """Return an `_id` that is a document, with the references of all its fields replaced."""
    before = inside[0][0].before
    # The inverse of the changes: its values from before are what has to be there afterwards.
    back = []
    for change, field in inside:
        mapping = {key: _chosen(ids, field.to) for key, ids in new.items()}
        back += [
            FieldChange("", each.path, with_ids(each.value, mapping), each.value)
            for each in within_id(change)
        ]
    changed = put_back(write_fields({DOCUMENT_ID: before}), [back])
    return before if changed is None else Values(changed).at(DOCUMENT_ID)


def _place(field: ReferenceField, added: FieldChange) -> str:
    """Return the path at which a reference would be beside an added field, which may be deeper."""
    parent, _, name = field.field.rpartition(".")
    below = added.field.removeprefix(f"{parent}.").count(".") + 1
    return ".".join([*added.path.split(".")[:-below], name])


def _behind(reference: FieldChange, field: ReferenceField, added: FieldChange) -> Sequence[str]:
    """Return the names in a reference's path behind its field: positions in arrays, ``$id``."""
    return reference.path[len(_place(field, added)) :].split(".")
