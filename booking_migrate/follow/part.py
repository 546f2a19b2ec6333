"""Some of the clients that are derived together: what is read of them, ahead and back, and what writes them."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from typing_extensions import override

from booking_migrate.follow.followed_target import FollowedTarget
from booking_migrate.follow.selection import LoadedReader, Selection, client_key, groups
from booking_migrate.runs.background import in_background
from booking_migrate.stores.ports import ComparedReader, TargetWriter


@dataclass(frozen=True, slots=True)
class BookingIds(Iterable[Any]):
    """The `_id` values of the bookings whose rejected records are replaced: those that changed, and all of some clients.

    They are decoded when they are asked for: most databases have no rejected records.
    """

    _selection: Selection
    _loaded: LoadedReader

    @override
    def __iter__(self) -> Iterator[Any]:
        return iter({**self._selection.bookings, **self._loaded.ids()}.values())


class Part:
    """Some clients with all their documents, which are derived together."""

    def __init__(
        self, selection: Selection, source: ComparedReader, target: TargetWriter | None = None
    ) -> None:
        """Read the documents.

        Args:
            selection: the clients, and the bookings that changed.
            source: where their bookings are.
            target: where the documents stand that are to be overwritten; None: nothing will be written.
        """
        self.selection = selection
        self.loaded = LoadedReader(source, selection, selection.bookings.values())
        self.booking_ids = BookingIds(selection, self.loaded)
        self.existing: dict[bytes, list[bytes]] = {}
        """The documents of these clients in the target, by the sort key of `clientId`."""

        if target is not None:
            for some in groups(selection.clients.values()):
                for raw in target.find_client_documents(some):
                    self.existing.setdefault(client_key(raw), []).append(raw)
        self.target: FollowedTarget | None = None
        self._is_finished = False
        self._result: Future[LoadedReader] | None = None

    @property
    def written(self) -> int:
        """Return how many client documents were written or removed."""
        return 0 if self.target is None else self.target.written

    @property
    def foreign(self) -> Sequence[Any]:
        """Return the `_id` values of documents that others changed: these were not overwritten."""
        return () if self.target is None else self.target.foreign

    def finish(self) -> None:
        """Wait until all is durable; it is done once."""
        if self.target is not None and not self._is_finished:
            self._is_finished = True
            self.target.finish()

    def abandon(self) -> None:
        """Stop writing; without effect on what is finished."""
        if self.target is not None:
            self.target.abandon()

    def read_back(self, written: ComparedReader) -> Future[LoadedReader]:
        """Begin to read what the target has of these clients now, once."""
        if self._result is None:
            self._result = in_background(partial(LoadedReader, written, self.selection), name="reader")
        return self._result
