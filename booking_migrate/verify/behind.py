"""Clients that the application has changed since the run derived them: their difference is one of time, and no mismatch."""

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any

from bson.timestamp import Timestamp

from booking_migrate.bson.document import identity_of
from booking_migrate.bson.order import element_key, sort_key
from booking_migrate.runs.provenance import Authorship, PointHistory
from booking_migrate.stores.changes import ChangeFeed, dirty_of
from booking_migrate.stores.scratch import Scratch
from booking_migrate.verify.expected import needs_people
from booking_migrate.verify.join import ClientPair, claimed_booking

_AT_MOST_EVERY = 0.5
"""Seconds between two readings of the feed."""


class BehindClients:
    """The clients and bookings that changed since the target was derived. What is remembered of them is on disk."""

    def __init__(self, feed: ChangeFeed, now: Callable[[], Timestamp], history: PointHistory | None) -> None:
        """Take the parts.

        Args:
            feed: the changes since the time as of which the run's result was derived.
            now: returns the cluster time of the newest write that the primary has taken.
            history: knows which documents of the target the runs wrote; None: the journal cannot be read.
        """
        self._feed = feed
        self._now = now
        self._history = history
        self._database = Scratch("CREATE TABLE dirty (key BLOB PRIMARY KEY) WITHOUT ROWID")
        self._read_at = 0.0
        self._has_people = False

    def update(self) -> None:
        """Read the changes up to now, unless that was just done."""
        if monotonic() - self._read_at < _AT_MOST_EVERY:
            return
        until = self._now()
        while True:
            batch = self._feed.read(0.0)
            dirty = dirty_of(batch.changes)
            self._has_people |= bool(dirty.users or dirty.experts)
            kinds = (b"b", dirty.bookings), (b"c", dirty.clients), (b"c", dirty.users)
            self._database.insert(
                "INSERT OR IGNORE INTO dirty VALUES (?)",
                [(kind + key,) for kind, entries in kinds for key in entries],
            )
            if batch.position.time >= until or not batch.changes:
                break
        self._read_at = monotonic()

    def covers(self, pair: ClientPair) -> bool:
        """Return whether the source of a client has changed, and its document is one that the runs wrote."""
        is_changed = self._holds(_keys_of(pair)) or (
            self._has_people and any(needs_people(document) for document in pair.source)
        )
        return is_changed and not self._is_foreign(pair)

    def covers_booking(self, booking_id: Any) -> bool:
        """Return whether a booking has changed."""
        return self._holds([b"b" + sort_key(booking_id)])

    def _is_foreign(self, pair: ClientPair) -> bool:
        """Return whether others changed a document of the target that a run wrote: that is wrong, and not behind."""
        if self._history is None or not pair.target:
            return False
        found: dict[bytes, bytes | None] = {identity_of(raw): raw for raw in pair.target_bytes}
        authors = self._history.authorship(found)
        return any(
            authors[identity] is Authorship.OTHERS and self._history.has_noted(identity) for identity in found
        )

    def _holds(self, keys: Iterable[bytes]) -> bool:
        return any(self._database.row("SELECT 1 FROM dirty WHERE key = ?", key) for key in keys)

    def close(self) -> None:
        """Release the feed and the file on disk."""
        self._feed.close()
        self._database.close()


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
