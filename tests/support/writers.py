"""An application at work: it inserts, updates and deletes bookings as fast as it can, and remembers what it was promised."""

from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from pymongo.collection import Collection
from pymongo.errors import WriteError

from tests.support.booking_lines import booking

_ROUNDS = 100_000
"""More than anybody waits for."""


class Writers:
    """Three threads that write while the context lasts."""

    def __init__(self, bookings: Collection[dict[str, Any]], *, updated: range, deleted: range) -> None:
        """Take the collection, and which of its bookings are updated and deleted."""
        self._bookings = bookings
        self._numbers = updated
        self._doomed = iter(deleted)
        self._over = Event()
        self._threads = [Thread(target=self._repeat, args=(write,)) for write in self._writes()]
        self.inserted: set[Any] = set()
        """The `_id` of every booking whose insert was acknowledged."""

        self.updated: dict[Any, str] = {}
        """The notes of every booking, as the last acknowledged update set them."""

        self.deleted: set[Any] = set()
        """The `_id` of every booking whose delete was acknowledged."""

    def _writes(self) -> tuple[Callable[[int], None], ...]:
        return self._insert, self._update, self._delete

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, write: Callable[[int], None]) -> None:
        for count in range(_ROUNDS):
            if self._over.is_set():
                return
            try:
                write(count)
            except WriteError:
                # Refused, so nothing was promised.
                continue

    def _insert(self, count: int) -> None:
        new = booking(10_000 + count)
        self._bookings.insert_one(new)
        self.inserted.add(new["_id"])

    def _update(self, count: int) -> None:
        key = booking(self._numbers[count % len(self._numbers)])["_id"]
        notes = f"round {count}"
        if self._bookings.update_one({"_id": key}, {"$set": {"notes": notes}}).matched_count:
            self.updated[key] = notes

    def _delete(self, _count: int) -> None:
        number = next(self._doomed, None)
        if number is None:
            self._over.wait(0.01)
            return
        key = booking(number)["_id"]
        if self._bookings.delete_one({"_id": key}).deleted_count:
            self.deleted.add(key)
