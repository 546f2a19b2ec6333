"""What others write while references are rewritten: the documents to look at again, without those of this process."""

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from bson.timestamp import Timestamp

from booking_migrate.bson.order import sort_key
from booking_migrate.errors import HistoryLost, ReferringCollectionGone
from booking_migrate.stores.changes import ChangeFeed, Position

_MANY = 1000
"""From how many changes on the feed is asked for more at once."""

_AT_ONCE = 10_000
_READ_SECONDS = 0.5

Key = tuple[str, bytes]
"""A document: its collection, and the sort key of its `_id`."""


class OthersWrites:
    """Reads the feed, and hands out which documents others have written.

    Each write of this process comes back as one change. A document with more changes than that was written by others,
    too. So memory has what was written since the feed was read last, and no more.
    """

    def __init__(self, feed: ChangeFeed) -> None:
        """Take the feed, opened before the first document was read."""
        self._feed = feed
        self._own: dict[Key, int] = {}
        self._ends: dict[Key, Timestamp] = {}
        """Until when some of the expected writes can have been made, if at all."""

        self._lock = Lock()
        self.position: Position | None = None
        """Up to where changes were handed out; None: nothing was read yet."""

    def expect(self, collection: str, ids: Iterable[Any]) -> None:
        """Take note that these documents are about to be written once each; may be called on another thread."""
        with self._lock:
            for each in ids:
                key = (collection, sort_key(each))
                self._own[key] = self._own.get(key, 0) + 1

    def forget(self, collection: str, ids: Iterable[Any]) -> None:
        """Take note that these documents were not written after all, or that it is not known.

        An expectation that was left would hide a later change of others. One that was met already may have hidden one: so
        the documents are to be read again after this.
        """
        with self._lock:
            for each in ids:
                self._take((collection, sort_key(each)))

    def ended(self, collection: str, ids: Iterable[Any], time: Timestamp) -> None:
        """Take note that these documents were written up to this cluster time, or not at all: no later change is an own one."""
        with self._lock:
            self._ends.update(dict.fromkeys(((collection, sort_key(each)) for each in ids), time))

    def _expire(self, until: Timestamp) -> None:
        """Expect no more what would have been written before this cluster time, up to which everything was read."""
        for key in [key for key, time in self._ends.items() if time < until]:
            del self._ends[key]
            self._own.pop(key, None)

    def _take(self, key: Key, time: Timestamp | None = None) -> bool:
        """Return whether a write of this process was expected, up to this cluster time, and count it."""
        if time is not None and key in self._ends and time > self._ends[key]:
            del self._ends[key]
            self._own.pop(key, None)
        left = self._own.get(key, 0)
        if left > 1:
            self._own[key] = left - 1
        elif left:
            del self._own[key]
        return left > 0

    def read(self, until: Timestamp | None = None) -> dict[Key, Any]:
        """Return the `_id` of the documents that others have written, each once.

        Args:
            until: the cluster time up to which to read at least; None: what is there.

        Raises:
            ReferringCollectionGone: a collection was dropped or renamed.
            HistoryLost: the server no longer has the changes.
        """
        found: dict[Key, Any] = {}
        while True:
            batch = self._feed.read(0.0 if until is None else _READ_SECONDS, limit=_AT_ONCE)
            self.position = batch.position
            with self._lock:
                for change in batch.changes:
                    if change.is_end:
                        raise ReferringCollectionGone(change.collection, change.operation)
                    if not change.is_of_document:
                        continue
                    key = (change.collection, sort_key(change.document_id))
                    if not self._take(key, change.time):
                        found[key] = change.document_id
                self._expire(batch.position.time)
            is_there = until is None or batch.position.time >= until
            if is_there and (until is not None or len(batch.changes) < _MANY):
                return found

    def close(self) -> None:
        """Release the feed. May be called twice."""
        self._feed.close()


def follow(
    open_feed: Callable[[Position | Timestamp], ChangeFeed], begin: Position | Timestamp
) -> OthersWrites | None:
    """Return what others write from a place in the feed on; None if the server no longer has all of it."""
    feed = open_feed(begin)
    try:
        feed.check()
    except HistoryLost:
        feed.close()
        return None
    return OthersWrites(feed)
