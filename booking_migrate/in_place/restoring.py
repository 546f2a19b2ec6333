"""Restore clients group by group, in one transaction each; several at a time if the clients are unchanged."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from bson.objectid import ObjectId

from booking_migrate.bson.format import display_id
from booking_migrate.bson.order import id_key, sort_key
from booking_migrate.domain.carried_changes import ChangesSince
from booking_migrate.errors import Contended, DuplicateKeys
from booking_migrate.in_place.noted import NotedClients, Notes, moved_ranges
from booking_migrate.in_place.passes import bisect_on_conflict
from booking_migrate.in_place.restored_group import RestoredGroup, RestoreOptions, RestorePlan
from booking_migrate.in_place.unchanged_clients import Unchanged, plan_unchanged
from booking_migrate.runs.background import overlapped
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.in_place import Move, PendingDocument, Unit
from booking_migrate.stores.journal import DocumentNote, RunJournal, RunRecord

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace

_BOOKINGS_PER_LOOKUP = 2000
"""How many moved bookings are looked up at a time; the other bookings of their clients are restored with them."""

_ID_BYTES = 12
_MOST_BYTES = 2 * 1024 * 1024
"""The size of the bookings in one transaction; the last client may exceed it."""

_RECENT = 16
"""How many of the latest groups may still be in progress; a client of one of them is not restored twice."""

_CHANGED = 30
"""How many changed clients are restored in one transaction."""


class FoundClients(NamedTuple):
    """Clients with bookings in the archive that a run moved there."""

    client_ids: Sequence[Any]
    notes: Sequence[DocumentNote]
    """Notes about the bookings by which they were found; some may have left the archive already."""

    about: NotedClients

    @property
    def found_by(self) -> frozenset[bytes]:
        """Return the sort keys of these bookings."""
        return frozenset(note.key for note in self.notes)


def found_clients(
    journal: RunJournal, run: RunRecord, notes: Notes, collection: "MongoInPlace"
) -> Iterator[FoundClients]:
    """Yield the clients that have not been restored yet, in groups for one transaction each.

    Args:
        journal: has what the run noted.
        run: the run whose bookings are restored.
        notes: what is looked up of the clients.
        collection: the collection with its archive.
    """
    for noted, about in moved_ranges(journal, run, notes):
        if noted.clients:
            # They were moved in one transaction and fit into one. Of restored clients the archive does not have any booking.
            ids = [
                ObjectId(noted.clients[start : start + _ID_BYTES])
                for start in range(0, len(noted.clients), _ID_BYTES)
            ]
            yield FoundClients(ids, noted.notes, about)
            continue
        remaining = iter(noted.notes)
        while some := list(islice(remaining, _BOOKINGS_PER_LOOKUP)):
            superseded = {note.key: note.before for note in some if note.before is not None}
            left = collection.located([note.document_id for note in some], archived=True)
            for part in _parts(_not_back(left, superseded, collection)):
                clients = {each.client_key: each.client_id for each in part}
                yield FoundClients(list(clients.values()), some, about)


def _not_back(
    left: Sequence[PendingDocument], superseded: Mapping[bytes, bytes], collection: "MongoInPlace"
) -> list[PendingDocument]:
    """Return the bookings whose archived version is not the one from before the run."""
    doubtful = [each.document_id for each in left if each.key in superseded]
    if not doubtful:
        return list(left)
    back = {key for raw in collection.archived(doubtful) if superseded.get(key := id_key(raw)) == raw}
    return [each for each in left if each.key not in back]


def _parts(left: list[PendingDocument]) -> Iterator[Sequence[PendingDocument]]:
    """Yield bookings in client order, without splitting a client."""
    left.sort()
    part: list[PendingDocument] = []
    size = 0
    for each in left:
        if size >= _MOST_BYTES and each.client_key != part[-1].client_key:
            yield part
            part, size = [], 0
        part.append(each)
        size += each.size
    if part:
        yield part


@dataclass(frozen=True, slots=True)
class Restored:
    """How much was restored, and what the application had changed since the migration."""

    restored: int = 0
    since: ChangesSince = field(default_factory=ChangesSince)

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "Restored":
        """Return what was saved; nothing if that is empty."""
        return cls(saved["restored"], ChangesSince(**saved["since"])) if saved else cls()

    def saved(self) -> Mapping[str, Any]:
        """As values of BSON."""
        return {"restored": self.restored, "since": asdict(self.since)}

    def plus(self, other: "Restored | RestorePlan") -> "Restored":
        """Return both together."""
        since = ChangesSince(**asdict(self.since))
        since.merge(other.since)
        return Restored(self.restored + other.restored, since)


@dataclass(slots=True)
class Restorer:
    """Restores groups of clients, one after the other."""

    collection: "MongoInPlace"
    run_id: str
    lock: HeldLock
    options: RestoreOptions
    slot: int
    restored: Restored

    def unchanged(self, found: FoundClients) -> Sequence[Unchanged]:
        """Restore the clients that the application has not changed."""
        return [
            result
            for _some, result in self._each(
                found.client_ids, lambda some: self._restore_unchanged(some, found)
            )
        ]

    def changed(self, client_ids: Sequence[Any], about: NotedClients) -> int:
        """Restore clients, changed or not; return how many bookings were restored."""
        results = self._each(client_ids, lambda some: self._restore_changed(some, about))
        return sum(plan.restored for _some, plan in results)

    def _each(self, client_ids: Sequence[Any], attempt: Callable[[Sequence[Any]], Any]) -> Iterator[Any]:
        for some, result in bisect_on_conflict(client_ids, attempt):
            if result is None:
                raise Contended(self.collection.name, [display_id(each) for each in some])
            yield some, result

    def _restore_unchanged(self, client_ids: Sequence[Any], found: FoundClients) -> Unchanged:
        def take(unit: Unit) -> Unchanged:
            unchanged = plan_unchanged(unit, found.about, client_ids)
            if unchanged.plan.new:
                self._take(unit, unchanged.plan)
            return unchanged

        try:
            unchanged = self.collection.work(take)
        except DuplicateKeys:
            # The application has stored a booking again.
            return Unchanged(RestorePlan(), client_ids)
        self.restored = self.restored.plus(unchanged.plan)
        return unchanged

    def _restore_changed(self, client_ids: Sequence[Any], about: NotedClients) -> RestorePlan:
        def take(unit: Unit) -> RestorePlan:
            group = RestoredGroup(unit, about, self.options)
            group.read(client_ids)
            plan = group.plan()
            self._take(unit, plan)
            return plan

        plan = self.collection.work(take)
        self.restored = self.restored.plus(plan)
        return plan

    def _take(self, unit: Unit, plan: RestorePlan) -> None:
        undone = {"undone": self.restored.plus(plan).saved()}
        unit.take(Move(plan, self.run_id, self.lock.token, undone, self.lock.confirm, slot=self.slot))


class Restorers(NamedTuple):
    """All restorers of one rollback."""

    own: Restorer
    """The restorer of the main thread."""

    others: Sequence[Restorer]
    """The restorers of other threads; empty: the main thread does everything."""

    earlier: Restored
    """What earlier processes restored and these restorers do not count."""

    @property
    def whole(self) -> Restored:
        """Return the sum over all restorers."""
        whole = self.earlier
        for each in (self.own, *self.others):
            whole = whole.plus(each.restored)
        return whole


def restore_clients(
    found: Iterable[FoundClients], restorers: Restorers, signal_guard: SignalGuard
) -> Iterator[int]:
    """Restore clients; yield how many bookings were restored, group by group.

    Raises:
        Contended: the application writes to one of them continuously.
    """
    own, others = restorers.own, restorers.others
    if not others:
        for each in found:
            unchanged: Sequence[Unchanged] = (Unchanged(RestorePlan(), each.client_ids),)
            if own.collection.has_transactions:
                with signal_guard.critical_section():
                    unchanged = own.unchanged(each)
            yield _count(unchanged) + _restore_others(own, unchanged, each, signal_guard)
        return
    working = overlapped(
        _without_overlap(found), others, Restorer.unchanged, on_wait=signal_guard.announce_wait
    )
    with closing(working):
        for each, returning in working:
            with signal_guard.critical_section():
                unchanged = returning.result()
            yield _count(unchanged) + _restore_others(own, unchanged, each, signal_guard)


def _without_overlap(found: Iterable[FoundClients]) -> Iterator[FoundClients]:
    """Yield groups without clients of an earlier group, which may still be in progress."""
    recent: deque[frozenset[bytes]] = deque(maxlen=_RECENT)
    for each in found:
        keys = {sort_key(client_id): client_id for client_id in each.client_ids}
        new = [client_id for key, client_id in keys.items() if not any(key in earlier for earlier in recent)]
        recent.append(frozenset(keys))
        if new:
            yield each._replace(client_ids=new)


def _count(unchanged: Sequence[Unchanged]) -> int:
    return sum(each.plan.restored for each in unchanged)


def _restore_others(
    own: Restorer, unchanged: Sequence[Unchanged], found: FoundClients, signal_guard: SignalGuard
) -> int:
    """Restore the changed clients; return how many bookings were restored."""
    others = iter([client_id for each in unchanged for client_id in each.others])
    count = 0
    while some := list(islice(others, _CHANGED)):
        with signal_guard.critical_section():
            count += own.changed(some, found.about)
    return count
