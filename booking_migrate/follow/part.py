"""Some of the clients that are derived together: what is read of them, ahead and back, and what writes them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

from bson.timestamp import Timestamp
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


class Kept(Protocol):
    """The kept copy of the source."""

    def update(self, booking_ids: Sequence[Any], documents: Sequence[bytes]) -> None:
        """Write these documents of the source into the copy."""

    def differing(
        self, booking_ids: Sequence[Any], documents: Sequence[bytes], time: Timestamp | None = None
    ) -> list[Any]:
        """Return the `_id` values under which the copy differs, as of a cluster time; None: as it is."""


class ReadBack(Protocol):
    """The target, to be read back."""

    def now(self) -> Timestamp:
        """Return the cluster time of the newest write that the primary has taken."""

    def written_at(self, time: Timestamp) -> ComparedReader:
        """Return the target at this cluster time, or at a later one that is asked for before it is read."""


class KeptPart(NamedTuple):
    """The bookings of a part in the kept copy, after it was brought up to date."""

    time: Timestamp
    """The cluster time as of which they were read back."""

    differing: Sequence[Any]
    """Under which `_id` values the copy differs all the same."""


def _kept(
    kept: Kept, now: Callable[[], Timestamp], booking_ids: Sequence[Any], documents: Sequence[bytes]
) -> KeptPart:
    kept.update(booking_ids, documents)
    time = now()
    return KeptPart(time, kept.differing(booking_ids, documents, time))


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
        existing = None if target is None else in_background(partial(self._existing, target), name="reader")
        self.loaded = LoadedReader(source, selection, selection.bookings)
        self.booking_ids = BookingIds(selection, self.loaded)
        self.existing: Mapping[bytes, Sequence[bytes]] = {} if existing is None else existing.result()
        """The documents of these clients in the target, by the sort key of `clientId`."""

        self.target: FollowedTarget | None = None
        self._is_finished = False
        self._result: Future[tuple[Timestamp, LoadedReader]] | None = None
        self._in_copy: Future[KeptPart] | None = None

    def _existing(self, target: TargetWriter) -> Mapping[bytes, Sequence[bytes]]:
        existing: dict[bytes, list[bytes]] = {}
        for some in groups(self.selection.clients.values()):
            for raw in target.find_client_documents(some):
                existing.setdefault(client_key(raw), []).append(raw)
        return existing

    @property
    def written(self) -> int:
        """Return how many client documents were written or removed."""
        return 0 if self.target is None else self.target.written

    @property
    def foreign(self) -> Sequence[Any]:
        """Return the `_id` values of documents that others changed: these were not overwritten."""
        return () if self.target is None else self.target.foreign

    def finish(self, places: ReadBack | None = None) -> None:
        """Wait until all is durable; it is done once.

        Args:
            places: the target, if it is to be read back as soon as its documents are durable; None: it is not.
        """
        if self.target is not None and not self._is_finished:
            self._is_finished = True
            if places is not None:
                self.target.begin()
                self.target.settle()
                self.read_back(places)
            self.target.finish()

    def abandon(self) -> None:
        """Stop writing; without effect on what is finished."""
        if self._in_copy is not None:
            # It must not write into a copy that was dropped because of the error: that would create it again.
            self._in_copy.exception()
        if self.target is not None:
            self.target.abandon()

    def keep(self, kept: Kept, now: Callable[[], Timestamp]) -> None:
        """Begin to bring the kept copy up to date, and to read it back: nothing of it depends on the target.

        Args:
            kept: the copy.
            now: returns the cluster time of the newest write that the primary has taken.
        """
        bookings = self.selection.bookings
        if bookings:
            changed, documents = list(bookings.values()), self.loaded.of(bookings)
            self._in_copy = in_background(partial(_kept, kept, now, changed, documents), name="copy")

    def kept(self) -> KeptPart | None:
        """Return what the kept copy has of the bookings, once it is up to date; None: nothing was to be brought in."""
        return None if self._in_copy is None else self._in_copy.result()

    def read_back(self, places: ReadBack) -> Future[tuple[Timestamp, LoadedReader]]:
        """Begin to read what the target has of these clients now, once; the result has the cluster time as of which it is."""
        if self._result is None:
            self._result = in_background(partial(self._read, places), name="reader")
        return self._result

    def _read(self, places: ReadBack) -> tuple[Timestamp, LoadedReader]:
        time = places.now()
        return time, LoadedReader(places.written_at(time), self.selection)
