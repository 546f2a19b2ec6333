"""Clients that the application has changed since the run derived them: their difference is not a mismatch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from time import monotonic
from typing import Any, Protocol

from bson.timestamp import Timestamp
from typing_extensions import override

from booking_migrate.bson.document import identity_of
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.errors import UnusablePlace
from booking_migrate.runs.provenance import Authorship, PointHistory
from booking_migrate.stores.changes import Change, ChangeFeed, Dirty, dirty_of
from booking_migrate.stores.ports import ComparedReader
from booking_migrate.stores.scratch import Scratch
from booking_migrate.verify.expected import needs_people
from booking_migrate.verify.join import ClientPair, SourceDocument, claimed_booking

_AT_MOST_EVERY = 0.5
"""Seconds between two readings of the feed."""

_CLIENTS_PER_QUERY = 200


class Behind(Protocol):
    """Knows the clients that changed since the run derived them."""

    is_complete: bool = True
    """Whether it knows all of them: then a mismatch has another cause than a change of its bookings."""

    def update(self, pairs: Sequence[ClientPair] = ()) -> None:
        """Learn of the changes up to now; `covers` is asked about these pairs next."""

    def covers(self, pair: ClientPair) -> bool:
        """Return whether the source of a client has changed, and its document is one that the runs wrote."""

    def covers_booking(self, booking_id: Any) -> bool:
        """Return whether a booking has changed."""

    def close(self) -> None:
        """Release what is held."""


class BothSides(Protocol):
    """Source and target as a majority had them at one cluster time; see `stores.open_follow.SnapshotSides`."""

    @property
    def source(self) -> ComparedReader:
        """Return the old bookings."""

    @property
    def target(self) -> ComparedReader:
        """Return the client documents."""

    def read_now(self) -> None:
        """Let both be read as they are now from here on."""

    def read_at(self, time: Timestamp) -> None:
        """Let both be read as they were at this time from here on."""


class _Known:
    """What is known to have changed, on disk."""

    def __init__(self, waiting: Callable[[], Iterable[Dirty]]) -> None:
        """Take a function that returns the entries that the run has not handled yet; they are read with the first query."""
        self._waiting = waiting
        self._is_filled = False
        self._database = Scratch("CREATE TABLE dirty (key BLOB PRIMARY KEY) WITHOUT ROWID")
        self._has_people = False

    def fill(self) -> None:
        """Read the waiting entries, once: its changes are before the run's position."""
        if not self._is_filled:
            self._is_filled = True
            for dirty in self._waiting():
                self.add(dirty)

    def add(self, dirty: Dirty) -> None:
        """Remember entries."""
        self._has_people |= bool(dirty.users or dirty.experts)
        kinds = (b"b", dirty.bookings), (b"c", dirty.clients), (b"c", dirty.users)
        self._database.insert(
            "INSERT OR IGNORE INTO dirty VALUES (?)",
            [(kind + key,) for kind, entries in kinds for key in entries],
        )

    def covers(self, pair: ClientPair) -> bool:
        """Return whether a client has changed."""
        return self.holds(_keys_of(pair)) or (
            self._has_people and any(needs_people(document) for document in pair.source)
        )

    def holds(self, keys: Iterable[bytes]) -> bool:
        """Return whether one of these has changed."""
        return any(self._database.row("SELECT 1 FROM dirty WHERE key = ?", key) for key in keys)

    def close(self) -> None:
        """Close the file on disk."""
        self._database.close()


class BehindClients(Behind):
    """The clients and bookings that changed since the target was derived. What is remembered of them is on disk."""

    def __init__(
        self,
        feed: ChangeFeed,
        now: Callable[[], Timestamp],
        history: PointHistory | None,
        waiting: Callable[[], Iterable[Dirty]],
        *,
        after: Timestamp | None = None,
    ) -> None:
        """Take the parts.

        Args:
            feed: the changes since the run's position.
            now: returns the cluster time of the newest write that the primary has taken.
            history: knows which documents of the target the runs wrote; None: the journal cannot be read.
            waiting: returns what changed before that position, and was noted and not handled yet.
            after: the cluster time at which the run began to read, if it has read no change yet: the feed begins with the writes of
                that very time, which the run has read. None: the feed begins later.
        """
        self._feed = feed
        self._after = after
        self._now = now
        self._history = history
        self._known = _Known(waiting)
        self._read_at = 0.0

    @override
    def update(self, pairs: Sequence[ClientPair] = ()) -> None:
        self._known.fill()
        # Many clients in a row cost one reading.
        if monotonic() - self._read_at < _AT_MOST_EVERY:
            return
        until = self._now()
        while True:
            batch = self._feed.read(0.0)
            self._known.add(dirty_of(filter(self._is_later, batch.changes)))
            if batch.position.time >= until or not batch.changes:
                break
        self._read_at = monotonic()

    def _is_later(self, change: Change) -> bool:
        return self._after is None or change.time > self._after

    @override
    def covers(self, pair: ClientPair) -> bool:
        return self._known.covers(pair) and not _is_foreign(pair, self._history)

    @override
    def covers_booking(self, booking_id: Any) -> bool:
        return self._known.holds([b"b" + sort_key(booking_id)])

    @override
    def close(self) -> None:
        self._feed.close()
        self._known.close()


class ChangedClients(Behind):
    """The same where the changes cannot be followed: clients whose bookings differ from those at the run's cluster time.

    Changed users and experts are not noticed, and the server keeps that time for minutes only: what it no longer has is a
    mismatch.
    """

    def __init__(
        self,
        sides: BothSides,
        began: Timestamp,
        history: PointHistory | None,
        waiting: Callable[[], Iterable[Dirty]],
        *,
        on_lost: Callable[[str], None],
    ) -> None:
        """Take the parts.

        Args:
            sides: reads the source at any cluster time.
            began: as of when the run's result was derived.
            history: as of `BehindClients`.
            waiting: likewise.
            on_lost: called once if the server no longer has the source of that time, with its words.
        """
        self._sides = sides
        self._began = began
        self._history = history
        self._known = _Known(waiting)
        self._on_lost = on_lost
        self._is_lost = False
        self._before: dict[bytes | None, list[bytes]] = {}

    @override
    def update(self, pairs: Sequence[ClientPair] = ()) -> None:
        self._known.fill()
        self._before = {pair.key: [] for pair in pairs if pair.is_client}
        ids = [pair.client_id for pair in pairs if pair.is_client]
        for start in range(0, len(ids), _CLIENTS_PER_QUERY):
            some = ids[start : start + _CLIENTS_PER_QUERY]
            for raw in self._at_began(partial(self._sides.source.find_by_client, some)):
                self._before.setdefault(SourceDocument(raw).client_key, []).append(raw)

    def _at_began(self, read: Callable[[], Iterator[bytes]]) -> list[bytes]:
        if self._is_lost:
            return []
        self._sides.read_at(self._began)
        try:
            return list(read())
        except UnusablePlace as error:
            self._is_lost = True
            self.is_complete = False
            self._on_lost(error.message)
            return []

    @override
    def covers(self, pair: ClientPair) -> bool:
        if self._known.covers(pair):
            return not _is_foreign(pair, self._history)
        before = self._before.get(pair.key)
        if self._is_lost or before is None:
            return False
        return sorted(before) != sorted(pair.source_bytes) and not _is_foreign(pair, self._history)

    @override
    def covers_booking(self, booking_id: Any) -> bool:
        if self._known.holds([b"b" + sort_key(booking_id)]):
            return True
        before = self._at_began(lambda: self._sides.source.find([booking_id]))
        self._sides.read_now()
        return not self._is_lost and before != list(self._sides.source.find([booking_id]))

    @override
    def close(self) -> None:
        """Release what is known."""
        self._known.close()


def _is_foreign(pair: ClientPair, history: PointHistory | None) -> bool:
    """Return whether others changed a document of the target that a run wrote: that is wrong, and not behind."""
    if history is None or not pair.target:
        return False
    found: dict[bytes, bytes | None] = {identity_of(raw): raw for raw in pair.target_bytes}
    authors = history.authorship(found)
    return any(authors[identity] is Authorship.OTHERS and history.has_noted(identity) for identity in found)


def _keys_of(pair: ClientPair) -> Iterator[bytes]:
    if pair.key is not None:
        yield b"c" + pair.key
    for document in pair.source:
        yield b"b" + sort_key(document.booking_id)
    for target in pair.target:
        for session in target.sessions():
            claim = claimed_booking(session)
            if claim is not None:
                yield b"b" + element_key(claim)
