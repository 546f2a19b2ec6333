"""A database in memory for the simulator: collections with all their versions, an oplog, a cluster time, and faults.

Every call of an adapter goes through `World.step`. There the application may write, the process may be killed, the connection
may fail and time passes, as the seed has it.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from random import Random
from typing import Any, NamedTuple

import bson
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from booking_migrate.bson.document import CODEC
from booking_migrate.errors import ServerUnreachable
from booking_migrate.stores.journal import RangeNote, RunRecord

SOURCE, TARGET = "bookings", "clients"
FENCE, GUARD = "fence", "guard"

_WRITTEN = itemgetter(0)
ID, CLIENT = slice(9, 21), slice(31, 43)
"""Where every document has `_id` and `clientId`: both are ObjectIds, and stand first."""

_INCREMENTS = 3
"""How many writes have a cluster time of the same second."""


class Violation(AssertionError):
    """Something that must hold does not."""


class Killed(BaseException):
    """The process is dead: every later call of an adapter raises this as well."""


@lru_cache(maxsize=4096)
def timestamp(time: int) -> Timestamp:
    """The cluster time of a write's number."""
    return Timestamp(1000 + time // _INCREMENTS, 1 + time % _INCREMENTS)


def number_of(time: Timestamp) -> int:
    """The number of the write with a cluster time."""
    return (time.time - 1000) * _INCREMENTS + time.inc - 1


@lru_cache(maxsize=4096)
def object_id(value: bytes) -> ObjectId:
    """The ObjectId of twelve bytes."""
    return ObjectId(value)


@lru_cache(maxsize=16384)
def fields(raw: bytes) -> dict[str, Any]:
    """A document's fields; not to be changed."""
    return bson.decode(raw, CODEC)


class Entry(NamedTuple):
    """One entry of the oplog."""

    number: int
    name: str
    operation: str
    document_id: ObjectId | None = None
    clients: tuple[Any, ...] = ()
    document: bytes | None = None

    @property
    def time(self) -> Timestamp:
        """Return its cluster time."""
        return timestamp(self.number)


@dataclass(slots=True)
class Stored:
    """One collection."""

    uuid: int
    documents: dict[ObjectId, bytes] = field(default_factory=dict)
    versions: dict[ObjectId, list[tuple[int, bytes | None]]] = field(default_factory=dict)
    validator: str | None = None
    newest: int = -1
    """The number of the newest write."""

    def at(self, time: Timestamp) -> Iterator[bytes]:
        """Yield all documents as they were at a cluster time."""
        number = number_of(time)
        if number >= self.newest:
            yield from self.documents.values()
            return
        for versions in self.versions.values():
            before = bisect_right(versions, number, key=_WRITTEN)
            if before and (raw := versions[before - 1][1]) is not None:
                yield raw

    def put(self, document_id: ObjectId, raw: bytes | None, number: int) -> bytes | None:
        """Write one document, or delete it, at the cluster time of a number; return what was there."""
        before = self.documents.get(document_id)
        if raw is None:
            self.documents.pop(document_id, None)
        else:
            self.documents[document_id] = raw
        self.versions.setdefault(document_id, []).append((number, raw))
        self.newest = number
        return before

    def copied(self) -> "Stored":
        """Return a copy that may be changed."""
        return Stored(
            self.uuid,
            dict(self.documents),
            {key: list(versions) for key, versions in self.versions.items()},
            self.validator,
            self.newest,
        )


@dataclass(slots=True)
class Rates:
    """How probable what is at one step of a process."""

    write: float = 0.0
    write_fenced: float = 0.0
    kill: float = 0.0
    failure: float = 0.0
    foreign: float = 0.0
    slow: float = 0.0
    blocked: float = 0.0
    lost_fence: float = 0.0
    killed_command: float = 0.0
    """Of a process that has just sent a fence or a swap."""

    suspended: float = 0.0
    """Of a process that is about to send a fence: for so long that another one takes its lock over."""


@dataclass(slots=True)
class World:
    """The database, and what happens to it."""

    random: Random
    collections: dict[str, Stored] = field(default_factory=dict)
    oplog: list[Entry] = field(default_factory=list)
    runs: dict[str, RunRecord] = field(default_factory=dict)
    notes: list[RangeNote] = field(default_factory=list)
    noted: list[frozenset[bytes]] = field(default_factory=list)
    """The documents that each of the notes is about."""

    dirty: dict[tuple[str, bytes], tuple[Any, int]] = field(default_factory=dict)
    """The values and versions of what is dirty, by kind and sort key."""

    rejects: dict[str, bytes] = field(default_factory=dict)
    time: int = 0
    """The number of the newest write."""

    clock: float = 0.0
    rates: Rates = field(default_factory=Rates)
    application: Callable[[], None] = lambda: None
    stranger: Callable[[], None] = lambda: None
    successor: Callable[[], None] = lambda: None
    """What another process does that takes the lock over."""

    meanwhile: Callable[[], None] | None = None
    """What the process does while it waits for something long."""

    is_dead: bool = False
    is_calm: bool = True
    pending: list[Callable[[], None]] = field(default_factory=list)
    """Commands of a process that was killed, which the server may still carry out."""

    related: dict[bytes, dict[bytes, Any]] = field(default_factory=dict)
    """In a reverse window: the clients in whose documents a live document has ever had a part; keys are sort keys."""

    held: dict[bytes, dict[bytes, Any]] = field(default_factory=dict)
    """The bookings of other clients of which live documents have held a session, by the key of the document's `_id`."""

    owners: dict[bytes, Any] = field(default_factory=dict)
    """The clients whose own documents these are."""

    facts: dict[bytes, Mapping[str, Any]] = field(default_factory=dict)
    """What has happened to clients since the cut-over, by key."""

    copying: Callable[[], None] | None = None
    """The rest of a copy that the server makes, also if the process that asked for it is killed."""

    token: int = 0
    serial: int = 0
    trace: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    swapped_at: int | None = None
    problem: str | None = None
    """What must not have happened, as soon as it has."""

    @property
    def now(self) -> Timestamp:
        """Return the cluster time of the newest write."""
        return timestamp(self.time)

    @property
    def is_swapped(self) -> bool:
        """Return whether the target has the source's name."""
        return self.swapped_at is not None

    @property
    def is_fenced(self) -> bool:
        """Return whether the source refuses inserts and updates."""
        return self.collections[SOURCE].validator == FENCE

    def said(self, text: str) -> None:
        """Add a line to what a failure prints."""
        self.trace.append(f"{self.time:4} {text}")

    def number(self) -> int:
        """Return a number that was not used before."""
        self.serial += 1
        return self.serial

    def tick(self) -> Timestamp:
        """Let the next write have a cluster time of its own."""
        self.time += 1
        return self.now

    def step(self, name: str, *, fails: bool = True) -> None:
        """Let happen what may happen at a call of an adapter.

        Raises:
            Killed: the process is dead.
            ServerUnreachable: the answer is lost.
        """
        if self.is_dead:
            raise Killed
        if self.is_calm:
            self.clock += 0.0001
            return
        rates, random = self.rates, self.random.random
        self.clock += 0.2 * random() if rates.slow and random() < rates.slow else 0.0005
        if self.pending and random() < 0.1:
            self.carry_out_pending()
        writes = rates.write
        if writes != rates.write_fenced and (
            self.swapped_at is not None or self.collections[SOURCE].validator == FENCE
        ):
            writes = rates.write_fenced
        if writes and random() < writes:
            self.application()
        if self.meanwhile is not None and random() < 0.1:
            waiting, self.meanwhile = self.meanwhile, None
            waiting()
            self.meanwhile = waiting
        if rates.foreign and random() < rates.foreign:
            self.stranger()
        if rates.kill and random() < rates.kill:
            self.kill(name)
        if fails and rates.failure and random() < rates.failure:
            self.said(f"connection lost at {name}")
            raise ServerUnreachable("memory", "the connection was lost")

    def kill(self, name: str) -> None:
        """Kill the process.

        Raises:
            Killed: always.
        """
        self.said(f"killed at {name}")
        self.is_dead = True
        raise Killed

    def suspend(self, name: str) -> None:
        """Suspend some processes until another one has done its work; what they do then is undisturbed.

        Killed as well, they would leave what they have just done, and no other process knows of it.
        """
        suspended = self.rates.suspended
        if suspended and not self.is_calm and self.random.random() < suspended:
            self.said(f"suspended at {name}")
            self.is_calm = True
            self.successor()
            self.said("awake again")

    def carry_out_pending(self) -> None:
        """Carry out what a killed process has sent."""
        pending, self.pending = self.pending, []
        for command in pending:
            command()

    def put(self, name: str, document_id: ObjectId, raw: bytes | None, operation: str) -> None:
        """Write one document: insert, update, replace or delete it, at the cluster time of now."""
        before = self.collections[name].put(document_id, raw, self.time)
        clients: tuple[Any, ...] = ()
        if raw is not None:
            client = raw[CLIENT]
            if operation != "update" or before is None or before[CLIENT] != client:
                clients = (object_id(client),)
        whole = raw if operation in ("insert", "replace") else None
        self.oplog.append(Entry(self.time, name, operation, document_id, clients, whole))

    def modify(self, name: str, validator: str | None) -> Timestamp:
        """Set a collection's validator (collMod)."""
        self.tick()
        self.collections[name].validator = validator
        self.oplog.append(Entry(self.time, name, "modify"))
        self.said(f"{name} has the validator {validator}")
        return self.now

    def rename(self, name: str = TARGET) -> Timestamp:
        """Give the target, or another collection, the source's name."""
        self.tick()
        self.collections[SOURCE] = self.collections.pop(name)
        self.oplog.append(Entry(self.time, name, "rename"))
        self.swapped_at = self.time
        self.said("swapped")
        return self.now

    def create(self, name: str) -> None:
        """Create an empty collection."""
        self.collections[name] = Stored(self.number())
        self.tick()

    def drop(self, name: str) -> None:
        """Drop a collection, if it is there."""
        if self.collections.pop(name, None) is not None:
            self.tick()
            self.oplog.append(Entry(self.time, name, "drop"))

    def copied(self, random: Random) -> "World":
        """Return a copy with a history of its own from here on."""
        return World(
            random,
            {name: stored.copied() for name, stored in self.collections.items()},
            list(self.oplog),
            dict(self.runs),
            list(self.notes),
            list(self.noted),
            dict(self.dirty),
            dict(self.rejects),
            self.time,
            self.clock,
            token=self.token,
            serial=self.serial,
        )
