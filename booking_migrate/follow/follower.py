"""Follow a source: read the feed, keep the dirty set durably, handle it, and save the position."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Protocol

from bson.timestamp import Timestamp

from booking_migrate.bson.order import sort_key
from booking_migrate.follow.backlog import Backlog
from booking_migrate.follow.engine import Handled
from booking_migrate.follow.part import Kept
from booking_migrate.runs.plan import FENCE_SECONDS
from booking_migrate.stores.changes import (
    Change,
    ChangeBatch,
    ChangeFeed,
    Dirty,
    DirtyStore,
    Position,
    Role,
    dirty_of,
)

_ENTRIES_PER_GROUP = 50_000
"""How many dirty entries are handled at a time: a client with several of them is derived once. It bounds memory."""

_BEHIND_FENCE = 500
"""How many are handled behind a fence between two checks of the deadline."""

_IDLE_SECONDS = 0.2

_WRITTEN = frozenset({Role.TARGET, Role.COPY})
"""Where this program writes, too."""


class Handler(Protocol):
    """Handles dirty entries: the engine of following, or that of a reverse window."""

    def handle(self, dirty: Dirty, time: Timestamp, *, verified: bool, kept: Kept | None = None) -> Handled:
        """Derive again what the entries concern, as of one cluster time. It is durable when it returns, and idempotent."""

    def is_settled(self, change: Change) -> bool:
        """Return whether a change need not be handled: what it concerns was verified as of a later time.

        Changes are asked about in the order of their times.
        """


@dataclass(frozen=True, slots=True)
class Round:
    """One round of reading and handling everything that the feed had."""

    changes: int
    clients: int
    seconds: float

    @property
    def estimated_outage(self) -> float:
        """Return for how many seconds a cut-over behind it would refuse writes, about."""
        return self.seconds + FENCE_SECONDS


@dataclass(slots=True)
class Progress:
    """The progress of following."""

    changes: int = 0
    """How many changes were read, without those of the copy."""

    events: Counter[str] = field(default_factory=Counter)
    """How many changes of the source, by kind."""

    clients: int = 0
    """How many clients were derived again, each as often as that happened."""

    written: int = 0
    """How many client documents were written or removed."""

    verified: int = 0
    """How many clients were verified after they had been derived."""


@dataclass(slots=True)
class Drained:
    """The changes that were read behind a fence; they are in memory only."""

    dirty: Dirty = field(default_factory=Dirty)
    is_handled: bool = False
    """Whether they were handled as of the fence's time; if the attempt failed, they have to be handled again."""


class Follower:
    """Follows the changes of one run's collections."""

    def __init__(
        self,
        engine: Handler,
        feed: ChangeFeed,
        store: DirtyStore,
        *,
        now: Callable[[], Timestamp],
        save: Callable[[Position], None],
        on_wrong: Callable[[Handled], None],
        prepare: Callable[[], None],
        on_replaced: Callable[[Change], None] = lambda _: None,
        copied: Timestamp | None = None,
        begun: Backlog | None = None,
    ) -> None:
        """Take the parts.

        Args:
            engine: handles what is dirty.
            feed: the changes, opened before or at the time as of which everything was derived.
            store: keeps what is dirty until it is handled.
            now: returns the cluster time of the newest write that the primary has taken.
            save: records the position durably; earlier changes are handled, or in the store.
            on_wrong: called with what has mismatches, documents of others, or a kept copy that differs; it may raise.
            prepare: called before anything is handled, and only then: creates indexes.
            on_replaced: called with the change by which a collection, other than the copy, was dropped, renamed or replaced by
                another one; unless it raises, what that did to its documents remains unknown.
            copied: after when changes of the copy count; None: not before `watch_copy`.
            begun: what was read before the position at which the feed was opened, and not handled.
        """
        self._engine = engine
        self._feed = feed
        self._store = store
        self._backlog = Backlog(store, save, begun)
        self._now = now
        self._save = save
        self._on_wrong = on_wrong
        self._prepare = prepare
        self._on_replaced = on_replaced
        self._is_prepared = False
        self.kept: Kept | None = None
        """The kept copy, once there is one."""

        self._copied = copied
        self._suspects: dict[bytes, tuple[Any, Timestamp]] = {}
        """The documents of the kept copy that differ from the source as of a time; the source may have changed up to then."""

        self.is_verified = False
        """Whether the whole target was verified, so that each client that changes is verified again."""

        self.progress = Progress(changes=self._backlog.changes)
        self._handled: int | None = None
        """How many changes had been read at the end of the last round; None: before the first."""

    @property
    def position(self) -> Position | None:
        """Return the position of the feed; None: nothing was read."""
        return self._backlog.position

    @property
    def waiting(self) -> int | None:
        """Return how many changes are read and not handled; None: an earlier process may have left some."""
        return None if self._handled is None else self.progress.changes - self._handled

    def watch_copy(self, feed: ChangeFeed, since: Timestamp) -> None:
        """Read another feed from now on, with the kept copy.

        Args:
            feed: it begins at the position of this one.
            since: after when changes of the copy count; earlier ones are this program's own.
        """
        self._feed.close()
        self._feed = feed
        self._copied = since

    def _read(self, seconds: float, until: Timestamp | None = None) -> tuple[ChangeBatch, bool]:
        """Return the next changes that have to be handled, and whether the feed had any at all."""
        batch = self._feed.read(seconds, until=until)
        return batch._replace(changes=list(filter(self._concerns, batch.changes))), bool(batch.changes)

    def _concerns(self, change: Change) -> bool:
        if change.role is Role.COPY and (self._copied is None or change.time <= self._copied):
            return False
        return change.role not in _WRITTEN or not self._engine.is_settled(change)

    def mark(self, dirty: Dirty) -> None:
        """Add entries to the next round."""
        if dirty:
            self._store.add(dirty)

    def round(self, seconds: float = _IDLE_SECONDS) -> Round:
        """Read everything that the feed has, handle it, and save the position after that.

        Very many changes are kept in the durable store first, so that neither memory nor the distance to the end of the
        oplog grows with them.

        Args:
            seconds: how long to wait for a first change.
        """
        began = monotonic()
        before = self.progress.changes, self.progress.clients
        until = self._now()
        wait, waited = seconds, began
        while True:
            # Where nothing is awaited, as before a fence, the round is to be as short as possible: later changes are not collected.
            batch, goes_on = self._read(wait, None if seconds else until)
            wait = 0.0
            self._count(batch)
            self._backlog.add(batch)
            # Later changes belong to the next round; otherwise a round would never end beside a busy application.
            if not goes_on or batch.position.time >= until:
                break
        if self.progress.changes == before[0]:
            # Waiting without a change is not counted.
            waited = monotonic()
        dirty = self._backlog.take()
        # Several changes may have one cluster time, and some of them may still have to be read.
        suspected = {key: each for key, each in self._suspects.items() if each[1] < batch.position.time}
        dirty.copies.update((key, value) for key, (value, _) in self._suspects.items())
        self._handle_all(dirty)
        # All changes up to their time are handled, and none of them was one of that booking.
        wrong = [
            value for key, (value, time) in suspected.items() if self._suspects.get(key) == (value, time)
        ]
        if wrong:
            self._on_wrong(Handled(differing=tuple(wrong)))
        self._save(batch.position)
        self._handled = self.progress.changes
        return Round(
            self.progress.changes - before[0], self.progress.clients - before[1], monotonic() - waited
        )

    def keep(self, seconds: float = _IDLE_SECONDS) -> None:
        """Read the next changes into the durable store without handling them, during another long action.

        Args:
            seconds: how long to wait for a first change.
        """
        batch, _ = self._read(seconds)
        self._count(batch)
        self._backlog.add(batch)
        self._backlog.keep()

    def _handle_all(self, dirty: Dirty) -> None:
        """Handle entries, and those of the store, many at a time."""
        derived: set[bytes] = set()
        for part in dirty.groups(_ENTRIES_PER_GROUP):
            derived |= self._handle_rest(part, derived)
        while part := self._store.take(_ENTRIES_PER_GROUP):
            derived |= self._handle_rest(part, derived)
            self._store.remove(part)

    def _handle_rest(self, dirty: Dirty, derived: set[bytes]) -> frozenset[bytes]:
        if not self._is_prepared:
            self._is_prepared = True
            self._prepare()
        # A client that was already derived in this round, and so after all these changes, is done.
        clients = {key: value for key, value in dirty.clients.items() if key not in derived}
        return self._handle(replace(dirty, clients=clients), self._now()).clients

    def _count(self, batch: ChangeBatch) -> None:
        # Those of the copy are nearly all this program's own.
        self.progress.changes += sum(change.role is not Role.COPY for change in batch.changes)
        for change in batch.changes:
            if change.is_end and change.role is Role.COPY:
                self._on_wrong(Handled(differing=(None,)))
            elif change.is_end:
                self._on_replaced(change)
        self.progress.events.update(
            change.operation
            for change in batch.changes
            if change.role is Role.SOURCE and change.is_of_document
        )

    def drain(self, until: Timestamp, deadline: float, into: Drained) -> None:
        """Read until the feed has passed a cluster time.

        The position is not saved: after a crash the changes are read again.

        Args:
            until: the time. The feed's own token has to be past it, since several changes may have one cluster time.
            deadline: when to stop, by the monotonic clock.
            into: gets what was read, also if the deadline passes.

        Raises:
            TimeoutError: the deadline has passed.
        """
        into.dirty.add(self._backlog.take())
        into.dirty.copies.update((key, value) for key, (value, _) in self._suspects.items())
        while self.position is None or self.position.time <= until:
            if monotonic() > deadline:
                raise TimeoutError
            batch, _ = self._read(0.0, until)
            into.dirty.add(dirty_of(batch.changes))
            self._count(batch)
            self._backlog.position = batch.position

    def handle_at(self, dirty: Dirty, time: Timestamp, deadline: float) -> int:
        """Handle dirty entries as of one cluster time; return how many clients were derived.

        Raises:
            TimeoutError: the deadline has passed, by the monotonic clock, and not all of them are handled.
        """
        clients: set[bytes] = set()
        for part in dirty.groups(_BEHIND_FENCE):
            if monotonic() > deadline:
                raise TimeoutError
            clients |= self._handle(part, time).clients
        # The source is fenced: a difference cannot be due to lag.
        if self._suspects:
            self._on_wrong(Handled(differing=tuple(value for value, _ in self._suspects.values())))
        return len(clients)

    def _handle(self, dirty: Dirty, time: Timestamp) -> Handled:
        handled = self._engine.handle(dirty, time, verified=self.is_verified, kept=self.kept)
        self._suspect(dirty, handled, time)
        self.progress.clients += len(handled.clients)
        self.progress.written += handled.written
        if handled.verification is not None:
            self.progress.verified += handled.verification.clients_checked
        if handled.is_wrong:
            self._on_wrong(handled)
        return handled

    def _suspect(self, dirty: Dirty, handled: Handled, time: Timestamp) -> None:
        """Remember which documents of the kept copy differ from the source, without those that were written again."""
        for key in dirty.bookings:
            self._suspects.pop(key, None)
        differing = {sort_key(value): value for value in handled.suspects}
        for key in dirty.copies.keys() - differing.keys():
            self._suspects.pop(key, None)
        for key, value in differing.items():
            self._suspects.setdefault(key, (value, time))
