"""Prove references after a rewrite, or before one: each value of the fields is looked up, and each note is compared.

```
scan of the fields --values--> what they stand for --those that nothing has--> sessions, notes
notes --documents as they are--> the values from before restored --> the digest that was noted
mismatches --documents as they are--> written since the verification began? then they are behind
```
"""

from collections.abc import Sequence
from hashlib import sha256
from itertools import groupby
from typing import Any, NamedTuple

from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from booking_migrate.bson.document import identity_of, value_in, write_fields
from booking_migrate.bson.order import id_key, sort_key
from booking_migrate.domain.ids import booking_of_session
from booking_migrate.errors import HistoryLost
from booking_migrate.events import Advanced, PhaseEnded, PhaseStarted, Warned
from booking_migrate.references.batches import ahead
from booking_migrate.references.decoded import Reference, Values, ids_of, is_same, references_in
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.meaning import Meaning, Meanings
from booking_migrate.references.noted import NotesCheck
from booking_migrate.references.proof import (
    Fate,
    FieldProof,
    Kind,
    Listed,
    Mismatch,
    Proof,
    VerifyPlan,
    fields_of_rewrites,
    shown,
)
from booking_migrate.stores.reference_journal import DOCUMENT_ID, in_effect

_PENDING = 20_000
"""How many values that no index finds are looked up together."""

_MOST_SUSPECTS = 10_000
"""How many mismatches are looked at again. Of more, some document that is written meanwhile is not what matters."""

_AT_ONCE = 1000
_READ_SECONDS = 0.5
_CHANGES_AT_ONCE = 10_000

_TELLING = (Meaning.OLD, Meaning.REJECTED, Meaning.NEW)
"""What a value counts as of which several ids are known: the first of these."""

_BAD = {Fate.UNREWRITTEN: Kind.UNREWRITTEN, Fate.LOST: Kind.LOST}


class _Found(NamedTuple):
    """One value of a field."""

    proof: FieldProof
    identity: bytes
    """The BSON of ``{_id}`` of its document."""

    digest: bytes
    """The SHA-256 of its document."""

    reference: Reference


class _Suspect(NamedTuple):
    """A value that looks like a mismatch."""

    proof: FieldProof | None
    """Where it is counted; None: nowhere."""

    field: ReferenceField
    document_id: Any
    digest: bytes
    path: str
    value: Any
    fate: Fate
    mismatch: Mismatch


def verify_references(plan: VerifyPlan) -> Proof:
    """Prove references, or list every mismatch; nothing is written.

    Raises:
        OldIdsNotIndexed: old ids cannot be looked up.
        ConnectionProblem, NotPermitted, UnusablePlace: a collection cannot be read.
    """
    return _Verifying(plan).run()


class _Verifying:
    """One verification."""

    def __init__(self, plan: VerifyPlan) -> None:
        self._plan = plan
        self._begin: Timestamp | None = None if plan.following is None else plan.following.now()
        stand = in_effect(plan.rewrites, live=plan.live)
        written = {(each.collection, each.field) for each in fields_of_rewrites(stand)}
        fields = [FieldProof(each, (each.collection, each.field) in written) for each in plan.fields]
        self._proof = Proof(fields, rewrites=stand, kept_index=plan.kept_index, cluster_time=self._begin)
        self._meanings = Meanings(plan.old_ids, has_old_ids=plan.has_old_ids)
        self._pending: list[_Found] = []
        self._suspects: list[_Suspect] = []

    def run(self) -> Proof:
        for collection in dict.fromkeys(each.collection for each in self._plan.fields):
            self._scan(collection)
        self._flush()
        notes = NotesCheck(self._plan, self._meanings, self._proof)
        for each in notes.run():
            field = ReferenceField(each.collection, each.change.field)
            reference = Reference(each.change.path, each.change.after, ())
            self._take(_suspect(each.raw, sha256(each.raw).digest(), field, reference, Fate.LOST))
        self._settle()
        return self._proof

    def _scan(self, name: str) -> None:
        """Read all documents of a collection that have one of its fields."""
        collection, listener = self._plan.referring(name), self._plan.listener
        facts = collection.facts()
        fields = [each for each in self._proof.fields if each.of.collection == name]
        listener.notify(
            PhaseStarted(f"reading {name}", None if facts is None else facts.documents, "document")
        )
        self._proof.collections[name] = 0
        for batch in ahead(collection.scan(fields=[each.of.field for each in fields])):
            self._judge([found for raw in batch for found in _values(raw, fields)])
            self._proof.collections[name] += len(batch)
            listener.notify(Advanced(len(batch)))
            if len(self._pending) >= _PENDING:
                self._flush()
        listener.notify(PhaseEnded())

    def _judge(self, values: Sequence[_Found]) -> None:
        """Count values by what they stand for; those that no index finds are pending."""
        meanings = self._meanings.look_up(each for one in values for each in one.reference.ids)
        for one in values:
            fate = self._fate(one.proof, {meanings[sort_key(each)] for each in one.reference.ids})
            if fate is None:
                self._pending.append(one)
            else:
                self._count(one, fate)

    def _fate(self, proof: FieldProof, meanings: set[Meaning]) -> Fate | None:
        """Return what a value is whose ids mean this; None if that is not known."""
        match next((each for each in _TELLING if each in meanings), Meaning.UNKNOWN):
            case Meaning.OLD:
                if proof.of.exclude:
                    return Fate.EXCLUDED
                is_kept = self._plan.kept_index is not None and not proof.is_rewritten
                return Fate.KEPT if is_kept else Fate.UNREWRITTEN
            case Meaning.REJECTED:
                return Fate.REJECTED
            case Meaning.NEW:
                return Fate.NEW
            case Meaning.UNKNOWN:
                return None

    def _flush(self) -> None:
        """Look the pending values up among all sessions, and in the notes."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        sessions = self._meanings.sessions_among(each for one in pending for each in one.reference.ids)
        left = []
        for one in pending:
            if sessions.isdisjoint(map(sort_key, one.reference.ids)):
                left.append(one)
            else:
                self._count(one, Fate.NEW)
        left.sort(key=lambda one: one.proof.of.collection)
        for collection, values in groupby(left, lambda one: one.proof.of.collection):
            some = list(values)
            written = self._written(collection, some)
            for one in some:
                is_lost = not written.isdisjoint(_written_keys(one))
                self._count(one, Fate.LOST if is_lost else Fate.DANGLING)

    def _written(self, collection: str, values: Sequence[_Found]) -> set[tuple[bytes, bytes]]:
        """Return which of some values rewrites have written, each with the document's identity in the note."""
        identities = {identity for one in values for identity, _key in _written_keys(one)}
        wanted = list(identities) if self._proof.rewrites else []
        found: set[tuple[bytes, bytes]] = set()
        for record in self._proof.rewrites:
            for start in range(0, len(wanted), _AT_ONCE):
                for note in self._plan.journal.notes_with(
                    record.rewrite_id, wanted[start : start + _AT_ONCE]
                ):
                    if note.collection == collection:
                        found |= {
                            (each.identity, sort_key(change.after))
                            for each in note.written
                            if each.identity in identities
                            for change in each.changes
                        }
        return found

    def _count(self, one: _Found, fate: Fate) -> None:
        """Count a value; a mismatch is looked at again in the end."""
        proof, (path, value, _ids) = one.proof, one.reference
        proof.counts[fate] += 1
        if fate in _BAD:
            suspect = _suspect(one.identity, one.digest, proof.of, one.reference, fate)
            self._take(suspect._replace(proof=proof))
        elif fate in (Fate.REJECTED, Fate.DANGLING):
            named = shown(_id_of(one.identity))
            listed = Listed(fate.value, proof.of.collection, proof.of.field, named, path, shown(value))
            self._proof.keep(listed, proof.counts[fate])

    def _take(self, suspect: _Suspect) -> None:
        """Keep a mismatch until its document is looked at again."""
        if len(self._suspects) < _MOST_SUSPECTS:
            self._suspects.append(suspect)
        else:
            self._proof.fail(suspect.mismatch)

    def _settle(self) -> None:
        """Look at the mismatches again: what was written since the verification began is not one."""
        if not self._suspects:
            return
        self._proof.looked_again = len(self._suspects)
        keys = {(each.field.collection, sort_key(each.document_id)) for each in self._suspects}
        changed = self._changed_since(keys)
        self._suspects.sort(key=lambda each: each.field.collection)
        for collection, suspects in groupby(self._suspects, lambda each: each.field.collection):
            all_of_it = list(suspects)
            for start in range(0, len(all_of_it), _AT_ONCE):
                self._settle_some(collection, all_of_it[start : start + _AT_ONCE], changed)

    def _settle_some(
        self, collection: str, suspects: Sequence[_Suspect], changed: set[tuple[str, bytes]]
    ) -> None:
        ids = {sort_key(each.document_id): each.document_id for each in suspects}
        found = {id_key(raw): raw for raw in self._plan.referring(collection).find(list(ids.values()))}
        now = {key: (sha256(raw).digest(), Values(raw)) for key, raw in found.items()}
        asked = {sort_key(each): each for one in suspects for each in _ids_in(one.value)}
        meanings = self._meanings.look_up(asked.values())
        unknown = [each for key, each in asked.items() if meanings[key] is Meaning.UNKNOWN]
        for key in self._meanings.sessions_among(unknown):
            meanings[key] = Meaning.NEW
        for one in suspects:
            digest, values = now.get(sort_key(one.document_id), (None, None))
            fate = None
            if values is not None and _has_value(values, one):
                fate = self._fate_again(one, {meanings[sort_key(each)] for each in _ids_in(one.value)})
            if fate in _BAD:
                document = (collection, sort_key(one.document_id))
                if document in changed or digest != one.digest:
                    fate = Fate.BEHIND
                else:
                    self._proof.fail(one.mismatch)
            if one.proof is not None and fate is not one.fate:
                one.proof.counts[one.fate] -= 1
                if fate is not None:
                    one.proof.counts[fate] += 1

    def _fate_again(self, one: _Suspect, meanings: set[Meaning]) -> Fate:
        if one.fate is Fate.UNREWRITTEN and one.proof is not None:
            # Nothing but its document makes an old id another one.
            return self._fate(one.proof, meanings) or Fate.DANGLING
        return Fate.LOST if meanings == {Meaning.UNKNOWN} else Fate.NEW

    def _changed_since(self, keys: set[tuple[str, bytes]]) -> set[tuple[str, bytes]]:
        """Return which of some documents, by collection and sort key of `_id`, were written since the verification began."""
        following, begin = self._plan.following, self._begin
        found: set[tuple[str, bytes]] = set()
        if following is None or begin is None:
            return found
        feed = following.open_feed(begin)
        try:
            feed.check()
            until, is_there = following.now(), False
            while not is_there:
                batch = feed.read(_READ_SECONDS, limit=_CHANGES_AT_ONCE, until=until)
                found |= keys & {
                    (each.collection, sort_key(each.document_id))
                    for each in batch.changes
                    if each.is_of_document and each.time > begin
                }
                is_there = batch.position.time >= until
        except HistoryLost:
            self._plan.listener.notify(
                Warned(
                    "the oplog no longer has all changes since the verification began: a document that was written between then "
                    "and when it was read counts as unchanged"
                )
            )
        finally:
            feed.close()
        return found


def _id_of(raw: bytes) -> Any:
    return value_in(raw, DOCUMENT_ID.encode())


def _suspect(raw: bytes, digest: bytes, of: ReferenceField, reference: Reference, fate: Fate) -> _Suspect:
    """Return a mismatch of a document, of which nothing but the `_id` is read; it is not counted anywhere."""
    document_id, (path, value, _ids) = _id_of(raw), reference
    named, found = shown(document_id), shown(value)
    mismatch = Mismatch(_BAD[fate], of.collection, of.field, named, path, None, found)
    return _Suspect(None, of, document_id, digest, path, value, fate, mismatch)


def _values(raw: bytes, fields: Sequence[FieldProof]) -> list[_Found]:
    """Return the values of a document; a place that two fields name counts for the first."""
    found: dict[str, _Found] = {}
    identity, digest = identity_of(raw), sha256(raw).digest()
    for each in fields:
        for reference in references_in(raw, each.of):
            found.setdefault(reference.path, _Found(each, identity, digest, reference))
    return list(found.values())


def _written_keys(one: _Found) -> list[tuple[bytes, bytes]]:
    """Return the documents of notes, by their identities, that would have a value, each with its sort key."""
    reference = one.reference
    if not reference.ids:
        # A text that is not UTF-8, which nothing writes.
        return []
    key = sort_key(reference.value)
    found = [(one.identity, key)]
    if reference.path == DOCUMENT_ID:
        # The note has the `_id` from before.
        olds = [booking_of_session(each) for each in reference.ids if type(each) is ObjectId]
        is_text = type(reference.value) is str
        found += [(write_fields({DOCUMENT_ID: str(old) if is_text else old}), key) for old in olds]
    return found


def _ids_in(value: Any) -> Sequence[Any]:
    """Return the ids of a value that may be an array, as that of an added field, or the `_id` of a document."""
    if isinstance(value, dict):
        return [found for each in value.values() for found in _ids_in(each)]
    values = value if isinstance(value, list) else [value]
    return [found for each in values for found in ids_of(each)]


def _has_value(values: Values, suspect: _Suspect) -> bool:
    """Return whether a document still has a value, at its path or wherever its arrays have it now."""
    if is_same(values.at(suspect.path), suspect.value):
        return True
    return values.has_anywhere(suspect.field, suspect.value)
