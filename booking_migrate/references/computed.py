"""Old ids where the journal of a rewrite is lost: of ObjectIds, whose mapping to session ids is a bijection."""

from collections.abc import Mapping, Sequence

from bson.objectid import ObjectId

from booking_migrate.bson.document import identity_of, value_in
from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import sort_key
from booking_migrate.domain.ids import booking_of_session
from booking_migrate.errors import ReferenceContended
from booking_migrate.events import Advanced, PhaseEnded, PhaseStarted, Warned
from booking_migrate.references.batches import ahead, regrouped
from booking_migrate.references.changes import find, with_whole_id
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.preconditions import check_capped
from booking_migrate.references.restoring import MOST_ROUNDS, Restorer, UndoOfReferences, UndoPlan
from booking_migrate.references.values import replaced
from booking_migrate.references.writer import EXACT_FROM, Place
from booking_migrate.runs.lock import HeldLock
from booking_migrate.stores.reference_journal import DocumentChange, FieldChange
from booking_migrate.stores.references import BookingState, NewIds

_BATCH = 5000
_PENDING = 20_000
"""How many documents with session ids of which no booking is known are looked at together."""

_NOT_COMPUTED = "it has the sessionId of a session whose booking cannot be computed: its _id is not an ObjectId, or it had none"
_TWICE = "a name on the way to its reference occurs twice in it, of which the server changes only one"
_TAKEN = "another document has its old _id now"


def compute(plan: UndoPlan, lock: HeldLock) -> UndoOfReferences:
    """Restore ids that follow from session ids, in the named fields; what cannot be computed is listed."""
    computing = _Computing(plan, lock)
    computing.run()
    return computing.outcome


class _Computing:
    """One undo without a journal, whose lock is held."""

    def __init__(self, plan: UndoPlan, lock: HeldLock) -> None:
        self._plan = plan
        self._restorer = Restorer(plan.open_place, lock)
        self._pending: list[tuple[str, bytes, Sequence[ObjectId]]] = []
        """Documents with ids that may be those of sessions: collection, identity and ids."""

        self.outcome = UndoOfReferences(is_computed=True)

    def run(self) -> None:
        """Restore what can be computed.

        Raises:
            DocumentIdInCapped: documents would be lost; nothing was written.
        """
        by_collection: dict[str, list[ReferenceField]] = {}
        for each in self._plan.fields:
            if each.to.is_shared:
                reason = f"{each.full_name} is left: the id of a client document does not lead to one booking"
                self._plan.listener.notify(Warned(reason))
            else:
                by_collection.setdefault(each.collection, []).append(each)
        for name, fields in by_collection.items():
            facts = self._restorer.place(name).reader.facts()
            if facts is not None:
                for each in fields:
                    check_capped(each, facts)
        for name, fields in by_collection.items():
            place = self._restorer.place(name)
            self._plan.listener.notify(
                PhaseStarted(f"restoring references of {name}", place.documents, "document")
            )
            paths = [each.field for each in fields]
            for batch in ahead(regrouped(place.reader.scan(None, paths), lambda: _BATCH)):
                self._plan.regulator.wait()
                self._compute(place, fields, batch)
                self._plan.listener.notify(Advanced(len(batch)))
            self._list_pending()
            self._plan.listener.notify(PhaseEnded())

    def _compute(self, place: Place, fields: Sequence[ReferenceField], raws: Sequence[bytes]) -> None:
        """Restore the ids in some documents."""
        left = list(raws)
        done: dict[bytes, int] = {}
        for number in range(MOST_ROUNDS):
            changes = self._changes(fields, left, is_first=number == 0)
            if not changes:
                self.outcome.counts.documents += len(done)
                self.outcome.counts.values += sum(done.values())
                return
            done.update({each.identity: len(each.changes) for each, _raw, _changes in changes})
            not_done = self._restorer.write(place, changes, is_exact=number >= EXACT_FROM)
            stay = {**not_done.refused, **dict.fromkeys(not_done.taken, _TAKEN)}
            self.outcome.leave(place.writes.name, stay)
            for identity in stay:
                del done[identity]
            ids = [each.document_id for each, _raw, _changes in changes if each.identity not in stay]
            left = list(place.writes.find(ids).values())
        raise ReferenceContended(place.writes.name, display_id(value_in(left[0], b"_id")))

    def _changes(
        self, fields: Sequence[ReferenceField], raws: Sequence[bytes], *, is_first: bool
    ) -> list[tuple[DocumentChange, bytes, Sequence[FieldChange]]]:
        """Return what changes in documents; session ids of which no booking is known are pending, the first time."""
        found = [find(raw, fields) for raw in raws]
        ids = [each for one in found for _of, value in one.values for each in value.old_ids]
        olds = self._olds([each for each in ids if type(each) is ObjectId])
        changes: list[tuple[DocumentChange, bytes, Sequence[FieldChange]]] = []
        for raw, values, is_ambiguous in found:
            made = [
                FieldChange(of.field, value.path, value.value, after)
                for of, value in values
                if (after := replaced(value.value, olds)) != value.value
            ]
            if made and is_ambiguous:
                self.outcome.leave(fields[0].collection, {identity_of(raw): _TWICE})
            elif made:
                whole = with_whole_id(raw, made)
                changes.append((DocumentChange(identity_of(raw), b"", whole), raw, whole))
            unknown = [each for _of, value in values for each in value.old_ids if sort_key(each) not in olds]
            if is_first and (new := [each for each in unknown if type(each) is ObjectId]):
                self._pending.append((fields[0].collection, identity_of(raw), new))
        if len(self._pending) >= _PENDING:
            self._list_pending()
        return changes

    def _olds(self, ids: Sequence[ObjectId]) -> Mapping[bytes, ObjectId]:
        """Return the old ids of those session ids whose booking is known, by the sort keys of the session ids."""
        asked = {sort_key(old): (each, old) for each in ids for old in [booking_of_session(each)]}
        states = self._plan.old_ids.resolve([old for _each, old in asked.values()])
        return {
            sort_key(each): old
            for key, (each, old) in asked.items()
            if _is_of(states.get(key, BookingState.UNKNOWN), sort_key(each))
        }

    def _list_pending(self) -> None:
        """List the documents whose ids are those of sessions, although no booking is known that they follow from."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        asked = {sort_key(each): each for _name, _identity, ids in pending for each in ids}
        sessions = self._plan.old_ids.existing(list(asked.values()), ())[0]
        for name, identity, ids in pending:
            if not sessions.isdisjoint(map(sort_key, ids)):
                self.outcome.leave(name, {identity: _NOT_COMPUTED})


def _is_of(state: NewIds | BookingState, session: bytes) -> bool:
    """Return whether a booking that is, or that was, a session has this session id, by its sort key."""
    if isinstance(state, NewIds):
        return sort_key(state.session_id) == session
    # After a rollback of its run it is an old booking again.
    return state is not BookingState.UNKNOWN
