"""The ports of following and of a cut-over over a `World`."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from booking_migrate.domain.rejection import Rejection
from booking_migrate.errors import DuplicateKeys, TargetChanged
from booking_migrate.stores.changes import Change, ChangeBatch, Dirty, Position, Role
from booking_migrate.stores.chunks import Chunk, block_of
from booking_migrate.stores.ports import Replacement, ScannedDocument, stores_any_bson
from booking_migrate.stores.rejects import RejectedRecord, RejectedRecords, record_of
from tests.simulation.world import CLIENT, ID, SOURCE, TARGET, World, fields, number_of, object_id, timestamp

_ROLES = {SOURCE: Role.SOURCE, TARGET: Role.TARGET}
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

_NUMBER = attrgetter("number")
_LEGACY_ID = b"\x07legacyBookingId\x00"


def id_of(raw: bytes) -> ObjectId:
    """The `_id` of a document."""
    return object_id(raw[ID])


@lru_cache(maxsize=8192)
def _held(raw: bytes) -> frozenset[ObjectId]:
    """The bookings that a document has sessions of."""
    return frozenset(object_id(part[:12]) for part in raw.split(_LEGACY_ID)[1:])


class Reader:
    """A collection that is read: as it is, or as it was at a cluster time."""

    is_live = True
    is_loaded = False

    def __init__(self, world: World, name: str, time: Callable[[], Timestamp | None]) -> None:
        """Take the world, the collection's name, and what returns the time; None stands for now."""
        self._world, self.name, self._time = world, name, time

    def _all(self) -> Iterator[bytes]:
        self._world.step(f"read {self.name}")
        stored = self._world.collections.get(self.name)
        if stored is None:
            return iter(())
        time = self._time()
        return iter(list(stored.documents.values() if time is None else stored.at(time)))

    def check(self) -> None:
        """Do nothing."""

    def estimate_count(self) -> int | None:
        """Return how many there are."""
        return len(self._world.collections[self.name].documents)

    def scan_by_client(self) -> Iterator[ScannedDocument]:
        """Yield all documents by client."""
        for raw in sorted(self._all(), key=lambda raw: raw[CLIENT]):
            yield ScannedDocument(raw)

    def scan_chunks(self, documents: int, *, apart: bool) -> Iterator[Chunk]:  # noqa: ARG002 - the port has it
        """Yield all documents by client in one piece."""
        yield block_of(list(self.scan_by_client()))

    def scan_client_documents(self) -> Iterator[bytes]:
        """Yield nothing: the source has none."""
        return iter(())

    def find(self, ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the documents of these ids."""
        wanted = {value.binary for value in ids}
        return (raw for raw in self._all() if raw[ID] in wanted)

    def find_by_client(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the documents of these clients."""
        wanted = {value.binary for value in client_ids}
        return (raw for raw in self._all() if raw[CLIENT] in wanted)

    def partition(self) -> None:
        """Return None: one piece is enough."""

    def close(self) -> None:
        """Do nothing."""


class Target:
    """The target, under one of its two names."""

    can_store = staticmethod(stores_any_bson)
    rejects_name = "rejected"

    def __init__(self, world: World, name: str) -> None:
        """Take the world and the collection's name."""
        self._world, self.name = world, name
        self._selected: list[ObjectId] = []
        self._records: dict[str, bytes] = {}

    def prepare(self) -> None:
        """Do nothing."""

    def scan_client_documents(self) -> Iterator[bytes]:
        """Yield all documents."""
        return iter(list(self._world.collections[self.name].documents.values()))

    def scan_clients(self) -> Iterator[ObjectId]:
        """Yield the clients of all documents."""
        documents = self._world.collections[self.name].documents.values()
        return (ObjectId(key) for key in sorted(raw[CLIENT] for raw in documents))

    def may_repeat_clients(self) -> bool:
        """Return False: the test writes each client once."""
        return False

    def find_client_documents(self, client_ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the documents of these clients."""
        return Reader(self._world, self.name, lambda: None).find_by_client(client_ids)

    def join(self, changed: Replacement, removed: Sequence[bytes]) -> None:
        """Refuse: no client has several documents here."""
        raise NotImplementedError

    def select(self, booking_ids: Iterable[Any]) -> None:
        """Name the bookings whose records `finish` replaces."""
        self._selected, self._records = list(booking_ids), {}

    def write(
        self,
        new: Sequence[bytes],
        changed: Sequence[Replacement],
        rejected: Sequence[Rejection],
        removed: Sequence[bytes] = (),
    ) -> None:
        """Write one batch, document by document."""
        world = self._world
        for each in rejected:
            record = record_of(each, SOURCE, TARGET, 0)
            self._records[record.record_id] = record.raw
        for change in changed:
            self._one(change.before, change.after, "replace")
        for raw in removed:
            self._one(raw, None, "delete")
        for raw in new:
            world.step("write target")
            client = raw[CLIENT]
            if any(there[CLIENT] == client for there in self._documents().values()):
                raise DuplicateKeys(self.name, 1, str(object_id(client)))
            world.tick()
            world.put(self.name, id_of(raw), raw, "insert")
        world.step("target written")

    def _documents(self) -> dict[ObjectId, bytes]:
        return self._world.collections[self.name].documents

    def _one(self, before: bytes, after: bytes | None, operation: str) -> None:
        self._world.step("write target")
        if self._documents().get(id_of(before)) != before:
            raise TargetChanged(self.name, str(id_of(before)))
        self._world.tick()
        self._world.put(self.name, id_of(before), after, operation)

    def finish(self) -> bool:
        """Replace the records of the selected bookings."""
        self._world.step("write rejects")
        rejects, selected = self._world.rejects, set(self._selected)
        for name in [name for name, raw in rejects.items() if fields(raw)["bookingId"] in selected]:
            del rejects[name]
        rejects.update(self._records)
        self._world.tick()
        self._world.step("rejects written")
        return True

    def abandon(self) -> None:
        """Do nothing."""

    def rejects(self) -> Iterator[bytes]:
        """Yield all records."""
        return iter(list(self._world.rejects.values()))


class Rejected(RejectedRecords):
    """Rejected records in memory: the real ones are in a database on disk, which takes longer than a whole schedule."""

    def __init__(self, read: Callable[[], Iterable[bytes]]) -> None:
        """Take what yields the records."""
        super().__init__("rejected", read)
        self._left: list[bytes] | None = None

    def _open(self) -> list[bytes]:
        if self._left is None:
            self._left = list(self._read())
        return self._left

    @staticmethod
    def _of(raw: bytes) -> RejectedRecord:
        values = fields(raw)
        reasons = frozenset({values["reason"], *(fault["reason"] for fault in values["faults"])})
        return RejectedRecord(values["bookingId"], values["reason"], reasons)

    def find(self, booking: bytes) -> RejectedRecord | None:
        """Return the record of a booking."""
        found = next((raw for raw in self._open() if booking in raw), None)
        return None if found is None else self._of(found)

    def claim(self, booking: bytes) -> RejectedRecord | None:
        """Return the record of a booking, and claim it."""
        found = self.find(booking)
        self._left = [raw for raw in self._open() if booking not in raw]
        return found

    def unclaimed(self) -> Iterator[RejectedRecord]:
        """Yield the records that no booking has claimed."""
        return map(self._of, self._open())


@dataclass
class Places:
    """See `follow.engine.TimedPlaces`; it answers the questions of `stores.changes.Links` too."""

    world: World
    read: str = SOURCE
    write: str = TARGET
    users: None = None
    experts: None = None
    time: Timestamp = field(default_factory=lambda: timestamp(0))

    def __post_init__(self) -> None:
        """Open the places."""
        self.source = Reader(self.world, self.read, lambda: self.time)
        self.written = Reader(self.world, self.write, lambda: None)
        self.target = Target(self.world, self.write)
        self._timed = Reader(self.world, self.write, lambda: self.time)
        self.links = self

    def read_at(self, time: Timestamp) -> None:
        """Set the time."""
        self.time = time

    def written_at(self, time: Timestamp) -> Reader:
        """Return the target at a time."""
        return Reader(self.world, self.write, lambda: time)

    def now(self) -> Timestamp:
        """Return the cluster time."""
        self.world.step("now")
        return self.world.now

    def select(self, booking_ids: Iterable[Any]) -> None:
        """Pass on."""
        self.target.select(booking_ids)

    def rejected_of(self, booking_ids: Iterable[Any]) -> RejectedRecords:
        """Return the records of these bookings."""
        wanted = set(booking_ids)
        return Rejected(
            lambda: [raw for raw in self.world.rejects.values() if fields(raw)["bookingId"] in wanted]
        )

    def prepare(self) -> None:
        """Do nothing: there are no indexes."""

    def documents_of_bookings(self, booking_ids: Sequence[Any]) -> Iterator[bytes]:
        """Yield the documents with a session of one of these bookings."""
        wanted = set(booking_ids)
        for raw in self._timed._all():
            if not wanted.isdisjoint(_held(raw)):
                yield raw

    def clients_of_bookings(self, booking_ids: Sequence[Any]) -> Iterator[Any]:
        """Yield their clients, and those of rejected bookings."""
        for raw in self.documents_of_bookings(booking_ids):
            yield fields(raw)["clientId"]
        for raw in self.world.rejects.values():
            if fields(raw)["bookingId"] in set(booking_ids):
                yield fields(raw)["booking"]["clientId"]

    def clients_of_experts(self, expert_ids: Sequence[Any]) -> Iterator[Any]:  # noqa: ARG002 - the port has it
        """Yield nothing: experts do not change."""
        return iter(())

    def experts_of_users(self, user_ids: Sequence[Any]) -> Iterator[Any]:  # noqa: ARG002 - the port has it
        """Yield nothing: users do not change."""
        return iter(())


class Feed:
    """The change stream: it reads any number of entries of the oplog at a time, and may be behind."""

    def __init__(
        self,
        world: World,
        begin: Position | Timestamp,
        *,
        is_whole: bool = False,
        is_prompt: bool = False,
        copy: str | None = None,
        roles: Mapping[str, Role] = _ROLES,
    ) -> None:
        """Take the world, where to begin, whether it is never behind, and the kept copy if that is watched; a time is inclusive."""
        self._world, self._is_whole, self._is_prompt = world, is_whole, is_prompt
        self._roles = roles if copy is None else {**roles, copy: Role.COPY}
        if isinstance(begin, Position):
            self._next = int(begin.token["_data"])
        else:
            self._next = bisect_left(world.oplog, number_of(begin), key=_NUMBER)

    def check(self) -> None:
        """Do nothing: the oplog has everything."""

    def read(self, seconds: float, *, limit: int = 5000, until: Timestamp | None = None) -> ChangeBatch:  # noqa: ARG002 - batches are small
        """Return what some entries of the oplog are."""
        world = self._world
        world.step("read feed")
        rates = world.rates
        if not world.is_calm and world.is_fenced and world.random.random() < rates.lost_fence:
            world.modify(SOURCE, None)
        last = len(world.oplog)
        if seconds and self._next == last:
            world.tick()  # The server writes an entry without meaning when nothing else is written.
        if not world.is_calm and not self._is_prompt and last > self._next:
            last = world.random.randint(self._next, last)
        some = world.oplog[self._next : last]
        self._next = last
        is_end = last == len(world.oplog)
        time = world.now if is_end else timestamp(world.oplog[last - 1].number) if last else timestamp(0)
        changes = [
            Change(
                self._roles[each.name],
                each.operation,
                each.document_id,
                each.clients,
                each.time,
                each.document if self._is_whole else None,
            )
            for each in some
            if each.name in self._roles
        ]
        return ChangeBatch(changes, Position({"_data": str(last)}, time))

    def close(self) -> None:
        """Do nothing."""


class Store:
    """The durable set of what is dirty."""

    def __init__(self, world: World) -> None:
        """Take the world."""
        self._world = world
        self._taken: dict[tuple[str, bytes], int] = {}

    def add(self, dirty: Dirty) -> None:
        """Add entries, each with a new version."""
        for kind, entries in dirty.parts().items():
            for key, value in entries.items():
                self._world.step("add dirty")
                self._world.dirty[kind, key] = (value, self._world.number())
        self._world.step("dirty added")

    def take(self, limit: int) -> Dirty:
        """Return some entries."""
        self._world.step("take dirty")
        dirty = Dirty()
        parts = dirty.parts()
        for (kind, key), (value, version) in list(self._world.dirty.items())[:limit]:
            parts[kind][key] = value
            self._taken[kind, key] = version
        return dirty

    def remove(self, dirty: Dirty) -> None:
        """Remove entries in the version that was taken."""
        for kind, entries in dirty.parts().items():
            for key in entries:
                version = self._taken.pop((kind, key), None)
                if version is not None and self._world.dirty.get((kind, key), (None, None))[1] == version:
                    self._world.step("remove dirty")
                    self._world.dirty.pop((kind, key), None)

    def scan(self) -> Iterator[Dirty]:
        """Yield all entries."""
        dirty = Dirty()
        parts = dirty.parts()
        for (kind, key), (value, _) in self._world.dirty.items():
            parts[kind][key] = value
        yield dirty

    def clear(self) -> None:
        """Remove all."""
        self._world.dirty.clear()
