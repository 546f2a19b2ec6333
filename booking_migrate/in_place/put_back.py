"""Putting clients back, group by group, in one transaction each; several at a time where nothing has happened to the clients."""

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
from booking_migrate.in_place.give_back import Group, Manner, Return
from booking_migrate.in_place.noted import NotedClients, Notes, moved_ranges
from booking_migrate.in_place.passes import bisect_on_conflict
from booking_migrate.in_place.unchanged import Unchanged, give_back_unchanged
from booking_migrate.runs.background import overlapped
from booking_migrate.runs.lock import HeldLock
from booking_migrate.runs.signals import SignalGuard
from booking_migrate.stores.in_place import Move, Unit, Waiting
from booking_migrate.stores.journal import DocumentNote, RunJournal, RunRecord

if TYPE_CHECKING:
    from booking_migrate.stores.mongo.in_place import MongoInPlace

_AT_ONCE = 2000
"""How many bookings of the journal are looked up at a time; all others of their clients come with them."""

_ID_BYTES = 12
_MOST_BYTES = 2 * 1024 * 1024
"""Of bookings in one transaction, and the rest of the last client."""

_RECENT = 16
"""How many groups may be on their way at most, or be known only as they were before that."""

_CHANGED = 30
"""How many clients to which something has happened are put back in one transaction."""


class FoundClients(NamedTuple):
    """Clients of which the archive has bookings that a run moved there."""

    client_ids: Sequence[Any]
    notes: Sequence[DocumentNote]
    """About the bookings that they were found by, and perhaps others that the archive does not have any more."""

    about: NotedClients

    @property
    def found_by(self) -> frozenset[bytes]:
        """Return the sort keys of these bookings."""
        return frozenset(note.key for note in self.notes)


def found_clients(
    journal: RunJournal, run: RunRecord, notes: Notes, collection: "MongoInPlace"
) -> Iterator[FoundClients]:
    """Yield the clients that have not been put back, as many at a time as go into one transaction.

    Args:
        journal: has what the run noted.
        run: the run whose bookings are put back.
        notes: what is looked up of the clients.
        collection: the collection with its archive.
    """
    for noted, about in moved_ranges(journal, run, notes):
        if noted.clients:
            # They went in one transaction, and may come back in one. Of those that are back the archive does not have anything.
            ids = [
                ObjectId(noted.clients[start : start + _ID_BYTES])
                for start in range(0, len(noted.clients), _ID_BYTES)
            ]
            yield FoundClients(ids, noted.notes, about)
            continue
        remaining = iter(noted.notes)
        while some := list(islice(remaining, _AT_ONCE)):
            superseded = {note.key: note.before for note in some if note.before is not None}
            left = collection.located([note.document_id for note in some], archived=True)
            for part in _parts(_not_back(left, superseded, collection)):
                clients = {each.client_key: each.client_id for each in part}
                yield FoundClients(list(clients.values()), some, about)


def _not_back(
    left: Sequence[Waiting], superseded: Mapping[bytes, bytes], collection: "MongoInPlace"
) -> list[Waiting]:
    """Return those of some bookings in the archive that are not what was there before the run."""
    doubtful = [each.document_id for each in left if each.key in superseded]
    if not doubtful:
        return list(left)
    back = {key for raw in collection.archived(doubtful) if superseded.get(key := id_key(raw)) == raw}
    return [each for each in left if each.key not in back]


def _parts(left: list[Waiting]) -> Iterator[Sequence[Waiting]]:
    """Yield bookings in the order of their clients, those of one client together."""
    left.sort()
    part: list[Waiting] = []
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
class PutBack:
    """What was put back, and what had happened to it since."""

    restored: int = 0
    since: ChangesSince = field(default_factory=ChangesSince)

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "PutBack":
        """Return what was saved; nothing if that is empty."""
        return cls(saved["restored"], ChangesSince(**saved["since"])) if saved else cls()

    def saved(self) -> Mapping[str, Any]:
        """As values of BSON."""
        return {"restored": self.restored, "since": asdict(self.since)}

    def plus(self, other: "PutBack | Return") -> "PutBack":
        """Return both together."""
        since = ChangesSince(**asdict(self.since))
        since.merge(other.since)
        return PutBack(self.restored + other.restored, since)


@dataclass(slots=True)
class Returner:
    """Puts groups of clients back, one after the other."""

    collection: "MongoInPlace"
    run_id: str
    lock: HeldLock
    manner: Manner
    slot: int
    put_back: PutBack

    def unchanged(self, found: FoundClients) -> Sequence[Unchanged]:
        """Put those clients back that nothing has happened to."""
        return [
            result for _some, result in self._each(found.client_ids, lambda some: self._quickly(some, found))
        ]

    def changed(self, client_ids: Sequence[Any], about: NotedClients) -> int:
        """Put clients back, whatever has happened to them; return how many bookings come back."""
        results = self._each(client_ids, lambda some: self._carefully(some, about))
        return sum(returned.restored for _some, returned in results)

    def _each(self, client_ids: Sequence[Any], attempt: Callable[[Sequence[Any]], Any]) -> Iterator[Any]:
        for some, result in bisect_on_conflict(client_ids, attempt):
            if result is None:
                raise Contended(self.collection.name, [display_id(each) for each in some])
            yield some, result

    def _quickly(self, client_ids: Sequence[Any], found: FoundClients) -> Unchanged:
        def take(unit: Unit) -> Unchanged:
            unchanged = give_back_unchanged(unit, found.about, client_ids)
            if unchanged.returned.new:
                self._take(unit, unchanged.returned)
            return unchanged

        try:
            unchanged = self.collection.work(take)
        except DuplicateKeys:
            # A booking is in the collection again.
            return Unchanged(Return(), client_ids)
        self.put_back = self.put_back.plus(unchanged.returned)
        return unchanged

    def _carefully(self, client_ids: Sequence[Any], about: NotedClients) -> Return:
        def take(unit: Unit) -> Return:
            group = Group(unit, about, self.manner)
            group.read(client_ids)
            returned = group.give_back()
            self._take(unit, returned)
            return returned

        returned = self.collection.work(take)
        self.put_back = self.put_back.plus(returned)
        return returned

    def _take(self, unit: Unit, returned: Return) -> None:
        self.lock.confirm()
        undone = {"undone": self.put_back.plus(returned).saved()}
        unit.take(Move(returned, self.run_id, self.lock.token, undone, slot=self.slot))


class Returners(NamedTuple):
    """Those who put clients back."""

    own: Returner
    """That of the rollback's own thread."""

    others: Sequence[Returner]
    """Those of other threads; none: the former does everything."""

    earlier: PutBack
    """What was put back before, beside what these have."""

    @property
    def whole(self) -> PutBack:
        """Return what all of them have put back."""
        whole = self.earlier
        for each in (self.own, *self.others):
            whole = whole.plus(each.put_back)
        return whole


def put_back(found: Iterable[FoundClients], returners: Returners, signal_guard: SignalGuard) -> Iterator[int]:
    """Put clients back; yield how many bookings came back, group by group.

    Raises:
        Contended: the application writes to one of them continuously.
    """
    own, others = returners.own, returners.others
    if not others:
        for each in found:
            unchanged: Sequence[Unchanged] = (Unchanged(Return(), each.client_ids),)
            if own.collection.has_transactions:
                with signal_guard.critical_section():
                    unchanged = own.unchanged(each)
            yield _count(unchanged) + _put_back_others(own, unchanged, each, signal_guard)
        return
    working = overlapped(_apart(found), others, Returner.unchanged, on_wait=signal_guard.announce_wait)
    with closing(working):
        for each, returning in working:
            with signal_guard.critical_section():
                unchanged = returning.result()
            yield _count(unchanged) + _put_back_others(own, unchanged, each, signal_guard)


def _apart(found: Iterable[FoundClients]) -> Iterator[FoundClients]:
    """Yield groups of clients without those that an earlier group has, which may still be on its way."""
    recent: deque[frozenset[bytes]] = deque(maxlen=_RECENT)
    for each in found:
        keys = {sort_key(client_id): client_id for client_id in each.client_ids}
        new = [client_id for key, client_id in keys.items() if not any(key in earlier for earlier in recent)]
        recent.append(frozenset(keys))
        if new:
            yield each._replace(client_ids=new)


def _count(unchanged: Sequence[Unchanged]) -> int:
    return sum(each.returned.restored for each in unchanged)


def _put_back_others(
    own: Returner, unchanged: Sequence[Unchanged], found: FoundClients, signal_guard: SignalGuard
) -> int:
    """Put those clients back to which something has happened; return how many bookings come back."""
    others = iter([client_id for each in unchanged for client_id in each.others])
    count = 0
    while some := list(islice(others, _CHANGED)):
        with signal_guard.critical_section():
            count += own.changed(some, found.about)
    return count
