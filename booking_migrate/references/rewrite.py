"""Rewrite references to old bookings, beside an application that writes.

```
scan of a collection --documents--> what changes --note--> compare and set --checkpoint-->
feed --documents that others wrote--> the same, until nothing is left up to one cluster time
```
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from bson.timestamp import Timestamp

from booking_migrate.bson.document import identity_of
from booking_migrate.errors import ReferringCollectionGone
from booking_migrate.events import Advanced, Checkpointed, Listener, PhaseEnded, PhaseStarted, Warned
from booking_migrate.references.batches import ahead, regrouped
from booking_migrate.references.changes import Planned, find_all, has_any, plan_changes
from booking_migrate.references.drain import Key, OthersWrites, follow
from booking_migrate.references.fields import ReferenceField
from booking_migrate.references.lookup import look_up
from booking_migrate.references.record import (
    begun,
    counts_of,
    left_of,
    problem_noted,
    tally_of,
    unfinished,
    written_values,
)
from booking_migrate.references.refused import RefusedDocuments
from booking_migrate.references.tally import ADDED, REWRITTEN, Tally
from booking_migrate.references.writer import Place, Writer
from booking_migrate.runs.background import in_background
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.regulator import Regulator
from booking_migrate.stores.changes import Position
from booking_migrate.stores.locks import Holder, LockStore
from booking_migrate.stores.open_rewriting import ReferringChanges
from booking_migrate.stores.reference_journal import DOCUMENT_ID, RewriteRecord, RewriteState
from booking_migrate.stores.references import OldIds

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.reference_journal import MongoReferenceJournal

LOCK = "references"
"""The name of the lock: one process rewrites or undoes references of a database."""

_MOST_ROUNDS = 20
"""How often it is looked whether others have written old ids meanwhile."""


@dataclass(frozen=True, slots=True)
class RewritePlan:
    """What to rewrite, and where."""

    rewrite_id: str
    """The name of a new rewrite."""

    run_id: str
    """The migration whose new ids are written."""

    live: str
    fields: Sequence[ReferenceField]
    """Those that are not excluded, at least one."""

    places: Mapping[str, Place]
    """The collections of the fields, by name."""

    journal: "MongoReferenceJournal"
    old_ids: OldIds
    index_old_ids: Callable[[], None]
    """Makes the index by which they are looked up, if it is not there."""

    locks: LockStore
    holder: Holder
    following: ReferringChanges | None
    """None: the server has no change streams, so whole passes are repeated until one finds nothing."""

    listener: Listener
    regulator: Regulator
    batch_size: int

    def fields_of(self, collection: str) -> Sequence[ReferenceField]:
        """Return the fields of one collection."""
        return [each for each in self.fields if each.collection == collection]


@dataclass(slots=True)
class RewriteOutcome:
    """What a rewrite has done."""

    record: RewriteRecord
    tally: Tally = field(default_factory=Tally)
    documents: int = 0
    """How many documents were changed, by this command or the killed one that it continued."""

    scanned: int = 0
    passes: int = 1
    again: int = 0
    """How many documents were looked at again because others had written them."""

    resumed: bool = False
    is_calm: bool = True
    """Whether the last look found nothing that others had written with old ids."""


def rewrite(plan: RewritePlan) -> RewriteOutcome:
    """Rewrite references; a rewrite that was killed is continued.

    Raises:
        TargetBusy: another process rewrites or undoes references.
        OtherRewriteOpen: one with other fields is not complete.
        UniqueIndexInTheWay, DocumentIdToClient, DocumentIdInCapped: refused before the first write.
        ReferringCollectionGone: others dropped or replaced a collection as a whole; the next rewrite reads everything again.
        ReferencesRefused: the server refuses a document for a cause that may concern all; it is named, and what was written is recorded.
        ConnectionProblem, NotPermitted, WriteFailed: the server does not do it.
    """
    lock = HeldLock.acquire(plan.locks, LOCK, plan.holder)
    try:
        plan.regulator.check()
        known = unfinished(plan)
        record = known or begun(plan)
        with problem_noted(plan.journal, record.rewrite_id) as now:
            outcome = _Rewriting(plan, lock, now, is_resumed=known is not None).run()
    except BaseException as error:
        lock.release_after(error)
        raise
    lock.release()
    return outcome


class _Rewriting:
    """One rewrite whose lock is held, and that is recorded."""

    def __init__(self, plan: RewritePlan, lock: HeldLock, record: RewriteRecord, *, is_resumed: bool) -> None:
        """Take the parts. Nothing is contacted yet."""
        self._plan = plan
        self._fields = {name: plan.fields_of(name) for name in plan.places}
        self._outcome = RewriteOutcome(record, tally_of(record), resumed=is_resumed)
        self._outcome.documents, self._outcome.scanned = record.documents, record.looked_at
        self._reached = dict(record.reached)
        self._scanned = list(record.scanned)
        self._handled: Position | None = None
        """Up to where the writes of others are handled."""

        self._others: OthersWrites | None = None
        self._refused = RefusedDocuments(self._outcome.tally, self._fields)
        self._writer = Writer(plan.journal, lock, record.rewrite_id, self._replan)

    def _follow(self, record: RewriteRecord) -> OthersWrites | None:
        """Open the feed where an earlier process has left it, or where the rewrite began."""
        following = self._plan.following
        if following is None:
            reason = "the server has no change streams: all fields are read until nothing is found any more"
            self._plan.listener.notify(Warned(reason))
            return None
        now = following.now()
        begin = Position.of(record.position) or record.begun_time or now
        others = follow(following.open_feed, begin)
        if others is None:
            # What was written since the kill is not known: everything is looked at again.
            self._plan.listener.notify(
                Warned("the oplog no longer has all changes: all fields are read again")
            )
            self._start_over(now)
            others = follow(following.open_feed, now)
        return others

    def _start_over(self, now: Timestamp) -> None:
        """Record that everything is to be read again, and the feed from now on."""
        self._reached, self._scanned = {}, []
        # What was seen is seen again; what was written is not written again.
        self._outcome.tally.forget_seen()
        self._outcome.scanned = 0
        self._save(scanned=[], position={}, begun_time=now)

    def run(self) -> RewriteOutcome:
        plan, outcome = self._plan, self._outcome
        try:
            # It begins the scan again if what others wrote is not known.
            self._others = self._writer.others = self._follow(outcome.record)
            if outcome.resumed:
                plan.index_old_ids()
                self._refused.restore(plan.journal, outcome.record.rewrite_id, plan.places, self._replan)
            self._settle()
            for collection in self._fields:
                if collection not in self._scanned:
                    self._scan(collection)
            time = None
            if self._others is None:
                self._end_alone()
            else:
                time = self._end_beside_others()
        except ReferringCollectionGone:
            if plan.following is not None:
                # Which documents there are now the feed does not say.
                self._start_over(plan.following.now())
                # After that write: a feed repeats the changes of the time at which it begins.
                self._save(position={}, begun_time=plan.following.now())
            raise
        finally:
            if self._others is not None:
                self._others.close()
        if not plan.journal.names(outcome.record.rewrite_id):
            # Nothing stands that could be undone.
            plan.journal.remove(outcome.record.rewrite_id)
            outcome.record = outcome.record.model_copy(
                update={"cluster_time": time, "state": RewriteState.DONE}
            )
        else:
            outcome.record = self._save(state=RewriteState.DONE, cluster_time=time)
        return outcome

    def _settle(self) -> None:
        """Look at the documents of notes after the last checkpoint, and write those that are unchanged."""
        record = self._outcome.record
        for note in self._plan.journal.notes(record.rewrite_id, after=record.settled):
            written = self._writer.settle(self._plan.places[note.collection], note)
            self._count(note.collection, written)
            self._save(settled=note.name)

    def _scan(self, collection: str, *, is_first: bool = True) -> int:
        """Look at all documents of a collection; return how many were changed."""
        plan, before = self._plan, self._outcome.documents
        place, fields = plan.places[collection], self._fields[collection]
        if not is_first:
            self._refused.forget_all(collection)
        reached = self._reached.get(collection) if is_first else None
        size = partial(plan.regulator.size, plan.batch_size)
        batches = ahead(regrouped(place.reader.scan(reached, [each.field for each in fields]), size))
        plan.listener.notify(
            PhaseStarted(f"rewriting {collection}", place.documents if is_first else None, "document")
        )
        writing: Future[None] | None = None
        try:
            for batch in batches:
                plan.regulator.wait()
                counted = Tally()
                planned = self._planned(fields, batch, counted, is_counted=is_first)
                _finish(writing)
                writing = in_background(
                    partial(self._write, place, planned, batch, counted if is_first else None),
                    name="rewrite",
                )
                plan.regulator.took(len(planned))
                if self._others is not None and self._drain(writing):
                    writing = None
            _finish(writing)
            writing = None
        finally:
            if writing is not None:
                # What is in flight has ended before the lock is released.
                wait([writing])
        if is_first:
            self._scanned.append(collection)
            self._save(scanned=self._scanned)
        plan.listener.notify(PhaseEnded())
        return self._outcome.documents - before

    def _write(
        self, place: Place, planned: Sequence[Planned], batch: Sequence[bytes], counted: Tally | None
    ) -> None:
        """Note and write a batch, and save how far the scan is; without counts it is a repeated one."""
        collection, is_first = place.writes.name, counted is not None
        if counted is not None:
            self._outcome.tally.add(counted)
        settled = self._write_all(place, planned)
        if is_first:
            self._outcome.scanned += len(batch)
            self._reached[collection] = identity_of(batch[-1])
        self._save(**settled)
        self._plan.listener.notify(Advanced(len(batch)))
        self._plan.listener.notify(Checkpointed(self._outcome.scanned, None))

    def _write_all(self, place: Place, planned: Sequence[Planned]) -> Mapping[str, str]:
        """Note and write changes of one collection; return what is to be saved of it."""
        if not planned:
            return {}
        name = place.writes.name
        self._refused.forget(name, (each.change.document_id for each in planned))
        done = self._writer.write(place, planned)
        self._count(name, done.written)
        for change, why in done.refused:
            self._refused.leave(name, change, why)
        return {"settled": done.name}

    def _count(self, collection: str, written: Sequence[Any]) -> None:
        counted = Counter(change.field for each in written for change in each.changes)
        self._outcome.documents += len(written)
        names = {each.field for each in self._fields[collection]}
        for name, number in counted.items():
            what = REWRITTEN if name in names else ADDED
            self._outcome.tally.count(ReferenceField(collection, name), what, number)

    def _planned(
        self,
        fields: Sequence[ReferenceField],
        batch: Sequence[bytes],
        tally: Tally,
        *,
        is_counted: bool = False,
    ) -> list[Planned]:
        """Return what changes in documents; what they stand for is asked once for all of them."""
        found = find_all(batch, fields)
        known = look_up(self._plan.old_ids, found)
        if known.new and is_counted and self._may_meet_own(fields):
            raws = [each.raw for each in found if has_any(each, known.new)]
            rewrite_id = self._outcome.record.rewrite_id
            own = written_values(self._plan.journal, rewrite_id, fields[0].collection, raws)
            known = known._replace(own=own)
        return plan_changes(found, known, tally)

    def _may_meet_own(self, fields: Sequence[ReferenceField]) -> bool:
        """Return whether the scan may read documents that this rewrite has written before: to ask the journal takes its time."""
        outcome = self._outcome
        has_id = any(each.field.partition(".")[0] == DOCUMENT_ID for each in fields)
        # A document whose `_id` is new may be read before the first batch is counted.
        return has_id or (outcome.documents > 0 and (outcome.resumed or outcome.again > 0))

    def _replan(self, collection: str, raws: Sequence[bytes]) -> list[Planned]:
        """Return what changes in documents that were read again; their references were counted before."""
        return self._planned(self._fields[collection], raws, Tally())

    def _drain(self, writing: "Future[None] | None", until: Timestamp | None = None) -> bool:
        """Handle what others have written; return whether the write in flight was awaited."""
        if self._others is None:
            return False
        dirty = self._others.read(until)
        if dirty:
            _finish(writing)
            self._handle(dirty)
        self._handled = self._others.position
        return bool(dirty)

    def _handle(self, dirty: Mapping[Key, Any]) -> None:
        """Look again at documents that others have written."""
        by_collection: dict[str, list[Any]] = {}
        for (collection, _key), document_id in dirty.items():
            by_collection.setdefault(collection, []).append(document_id)
        self._outcome.again += len(dirty)
        for collection, ids in by_collection.items():
            place = self._plan.places[collection]
            self._refused.forget(collection, ids)
            for start in range(0, len(ids), self._plan.batch_size):
                parts = place.writes.find_in_parts(ids[start : start + self._plan.batch_size])
                for group in regrouped(parts, lambda: self._plan.batch_size):
                    settled = self._write_all(place, self._replan(collection, group))
                    if settled:
                        self._save(**settled)

    def _end_beside_others(self) -> Timestamp:
        """Read the feed until nothing with old ids was written up to one cluster time, and return that."""
        if self._plan.following is None:
            raise RuntimeError("nothing is followed")
        for _round in range(_MOST_ROUNDS):
            time, before = self._plan.following.now(), self._outcome.documents
            self._drain(None, time)
            if self._outcome.documents == before:
                return time
        self._outcome.is_calm = False
        return time

    def _end_alone(self) -> None:
        """Look at everything again until nothing is found."""
        for _round in range(_MOST_ROUNDS):
            self._outcome.passes += 1
            if not sum(self._scan(each, is_first=False) for each in self._fields):
                return
        self._outcome.is_calm = False

    def _save(self, **changes: Any) -> RewriteRecord:
        """Save how far the rewrite is."""
        tally, record = self._outcome.tally, self._outcome.record
        position = {} if self._handled is None else {"position": self._handled.saved()}
        facts = {
            "reached": self._reached,
            "documents": self._outcome.documents,
            "looked_at": self._outcome.scanned,
            "counts": counts_of(tally),
            "left": left_of(tally),
            **position,
            **changes,
        }
        self._outcome.record = self._plan.journal.save(record.rewrite_id, **facts)
        return self._outcome.record


def _finish(writing: "Future[None] | None") -> None:
    if writing is not None:
        writing.result()
